"""The row of values that one call of a durable actor takes from outside: given from the log, then from the world.

A call that is over gives nothing but what the log has. One that was interrupted has the beginning of its row there, and
from its end on runs for real.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from ipyactors.durable.blobs import BlobDamagedError
from ipyactors.durable.record import Answer, Value, ValueKind
from ipyactors.ground import faultpoints
from ipyactors.ground.exceptions import (
    ActorDeadlockError,
    GetTimeoutError,
    NotReplayableError,
    RecoveryFailedError,
    ReplayDivergenceError,
)
from ipyactors.owner import values
from ipyactors.owner.current import Submission, WasCancelled
from ipyactors.owner.objects import Entry
from ipyactors.wire import serialize
from ipyactors.wire.specs import Payload, RemoteError

_encode = msgspec.msgpack.Encoder().encode
_decode_answer = msgspec.msgpack.Decoder(Answer).decode

#: What was asked for, or the exception to be raised instead.
Taken = list[Any] | BaseException

#: The errors of a wait that was given up: what it was for may still come.
_OF_WAITS = frozenset({GetTimeoutError.__qualname__, ActorDeadlockError.__qualname__})

_WORDS = {
    ValueKind.NOW: "the time",
    ValueKind.RANDOM: "a random number",
    ValueKind.UUID4: "a UUID",
    ValueKind.ONCE: "what a function returns once",
    ValueKind.SUBMITTED: "a nested call",
    ValueKind.RECEIVED: "a result",
    ValueKind.CHOSEN: "which of several results is first",
    ValueKind.CANCELED: "the word that it is cancelled",
    ValueKind.OVERLAP: "several results side by side",
}


class NotGivenError(BaseException):
    """Ends a call that cannot be given what it had. Its code must not make anything of that, so it is no Exception."""


class Journal(Protocol):
    """What a row needs of the log and of the process that it is in."""

    actor_id: bytes

    def add_value(self, lsn: int, value: Value) -> None:
        """Note a value; :meth:`secure` before anything that depends on it leaves."""
        ...

    def add_received(self, lsn: int, index: int, kind: ValueKind, payloads: Sequence[Payload]) -> None:
        """Note values that have come from elsewhere as one :class:`Answer`, the large ones in files."""
        ...

    def read_received(self, answer: Answer) -> Sequence[Payload]:
        """Return values that were noted, with their bytes. Raises BlobDamagedError."""
        ...

    def payload_of(self, entry: Entry) -> Payload:
        """Return the value of an object that is done, with its bytes."""
        ...

    def secure(self) -> None:
        """Make what was noted as safe as the actor's level asks."""
        ...

    def oldest_open(self) -> int:
        """Return the lowest lsn of the calls that are not over; 0 if there is none."""
        ...

    def register(self, submission: Submission, call: object, entries: tuple[object, ...]) -> None:
        """Take a nested call that was made; one that a replay makes may have to be sent after all."""
        ...

    def note_received(self, entries: Sequence[Entry], given: Sequence[Payload] | RemoteError | None = None) -> None:
        """The values of these objects are in the log. ``given``: what it says of them, where that is replayed."""
        ...

    def release(self, lsn: int) -> None:
        """Send the nested calls of the call ``lsn`` that were kept back and must be sent."""
        ...


def diverged(name: str, lsn: int, what: str, actor_id: bytes) -> ReplayDivergenceError:
    """Return the error for a call that does not do again what it did before; of a task, if there is no ``actor_id``."""
    depends = "only on the actor's state, its arguments," if actor_id else "only on its arguments"
    otherwise = (
        " Or the state was another: a call before it did something else, or a method marked 'readonly' has changed the "
        "state, which no replay does again. Mark a method that changes nothing, and only looks (at os.getpid(), say), "
        "@method(effect='readonly'); one that cannot be done again, @method(effect='persist')."
        if actor_id
        else ""
    )
    return ReplayDivergenceError(
        f"{name}{f' (lsn {lsn})' if lsn else ''} does not do again what it did before: {what}. What it does may depend "
        f"{depends} and what get_runtime_context() gives: now(), random(), uuid4(), once(function).{otherwise}",
        lsn=lsn,
        actor_id=actor_id.hex(),
    )


def loaded(payloads: Sequence[Payload]) -> Taken:
    """Return values that were noted, or the exception of one that cannot be unpickled."""
    try:
        return [serialize.loads(payload) for payload in payloads]
    except Exception as error:  # the user's unpickling
        return error.with_traceback(None)


class Row:
    """The row of the call ``lsn``, called ``name``. ``past`` is what the log has of it; if the call ``is_over``, all.

    ``divergence`` is what was raised for not doing the same again, should the user's code have caught it; ``damage``
    tells in words what it could not be given again, empty if it could.
    ``is_waiting`` while the call waits for a result, which is the next value. A call that ``may_overlap`` may take
    others meanwhile: it cannot be done again then, and notes that first. Of a constructor, ``start`` values of other
    classes are before this row (see :mod:`~ipyactors.durable.constructions`), which runs ``after`` calls up to a lsn.
    """

    __slots__ = (
        "_after",
        "_is_live",
        "_may_overlap",
        "_overlaps",
        "_past",
        "_start",
        "damage",
        "divergence",
        "index",
        "is_over",
        "is_waiting",
        "journal",
        "lsn",
        "name",
    )

    def __init__(
        self,
        journal: Journal,
        lsn: int,
        name: str,
        past: Sequence[Value],
        *,
        is_over: bool,
        may_overlap: bool = False,
        start: int = 0,
        after: int = 0,
    ) -> None:
        self._start, self._after = start, after
        self.is_waiting = False
        self._may_overlap = may_overlap
        self._overlaps = False
        self.journal = journal
        self.lsn = lsn
        self.name = name
        self.is_over = is_over
        self.index = 0
        self.damage = ""
        self.divergence: ReplayDivergenceError | None = None
        self._past = past
        self._is_live = not past

    @property
    def is_given(self) -> bool:
        """Whether the next value comes from the log."""
        return self.is_over or self.index < len(self._past)

    def check_order(self) -> None:
        """Raise NotReplayableError if what is taken now comes before or after a result in no certain order."""
        if self.is_waiting and not self._overlaps:
            self._overlaps = True
            self.add(ValueKind.OVERLAP, b"")
        if not self.may_go_on:
            raise self._overlapping()

    @property
    def may_go_on(self) -> bool:
        """Whether the call may take more: not once it has overlapped, and may not."""
        return self._may_overlap or not self._overlaps

    def next(self, kind: ValueKind) -> Value | None:
        """Return the next value that the log has; None if it has no more and the call runs for real from here on.

        Raises ReplayDivergenceError if the log has another kind of value there, or none; NotReplayableError.
        """
        self.check_order()
        index = self.index
        if index < len(self._past):
            past = self._past[index]
            if past.kind is not kind:
                raise self.diverge(
                    f"value {index} of it was {_WORDS[past.kind]}, and now it asks for {_WORDS[kind]} there"
                )
            self.index = index + 1
            return past
        if self.is_over:
            raise self.diverge(f"it asks for {_WORDS[kind]} (value {index}), and had ended there")
        self._go_live()
        return None

    def peek(self) -> Value | None:
        """Return the next value that the log has, and leave it there; None if it has no more.

        A call that is not over runs for real from here on, then. Raises NotReplayableError.
        """
        self.check_order()
        if self.index < len(self._past):
            return self._past[self.index]
        if not self.is_over:
            self._go_live()
        return None

    def take(self, kind: ValueKind, make: Callable[[], bytes]) -> bytes:
        """Return the next value; if the log has none, what ``make()`` returns."""
        past = self.next(kind)
        if past is not None:
            return past.data
        data = make()
        self.add(kind, data)
        return data

    def add(self, kind: ValueKind, data: bytes) -> None:
        """Note a value."""
        self.journal.add_value(self.lsn, Value(self._start + self.index, kind, data))
        faultpoints.hit("durable.value.noted")
        self.index += 1

    def add_payloads(self, kind: ValueKind, payloads: Sequence[Payload]) -> None:
        """Note values that have come from elsewhere."""
        self.journal.add_received(self.lsn, self._start + self.index, kind, payloads)
        self.index += 1

    def submission(self, index: int, *, is_replayed: bool) -> Submission:
        """Return which nested call it is that is noted as value ``index``."""
        journal = self.journal
        index += self._start
        return Submission(journal.actor_id, self.lsn, index, is_replayed, self._after, journal.oldest_open())

    def outcome(self, past: Value, entries: Sequence[Entry] = ()) -> Taken:
        """Return the values that were noted, of these objects if any, or the exception that was, to be raised.

        That is WasCancelled for code that was cancelled there. Raises NotGivenError where they cannot be read any more.
        """
        answer = _decode_answer(past.data)
        if answer.is_cancelled:
            return WasCancelled()
        if answer.error is not None:
            if not (answer.error.is_local and answer.error.type_name in _OF_WAITS):
                self.journal.note_received(entries, answer.error)  # the others tell nothing of the objects
            return values.exception_of(answer.error)
        try:
            payloads = self.journal.read_received(answer)
        except BlobDamagedError as error:
            self.damage = self.damage or f"what {self._named} had got is gone: {error}"
            raise NotGivenError(self.damage) from error
        self.journal.note_received(entries, payloads)
        return loaded(payloads)

    def add_error(self, kind: ValueKind, error: RemoteError) -> BaseException:
        """Note an exception, and return it as a replay will have it."""
        error = error.without_details()
        self.add(kind, _encode(Answer(error=error)))
        return values.exception_of(error)

    def check_end(self, raised: str = "") -> None:
        """Raise ReplayDivergenceError if the call, which has ended, has not taken all that it took before.

        ``raised`` is the exception that has ended it, in words, if one did. Raises NotReplayableError if it has taken
        what nobody could give it again, RecoveryFailedError if it could not be given what it had.
        """
        if self.damage:
            raise RecoveryFailedError(self.damage, actor_id=self.journal.actor_id.hex())
        if not self.may_go_on:
            raise self._overlapping()
        if self.divergence is not None:
            raise self.divergence
        if self.index < len(self._past):
            left = self._past[self.index]
            ended = f"it raised {raised}" if raised else "it ended"
            raise self.diverge(f"{ended} without asking for {_WORDS[left.kind]} (value {self.index}), and did before")
        if not self.is_over:
            self._go_live()

    def diverge(self, what: str) -> ReplayDivergenceError:
        """Return the error, and keep it: the user's code may catch it, and must not go on from there."""
        error = diverged(self.name, self.lsn, what, self.journal.actor_id)
        self.divergence = self.divergence or error
        return error

    def refuse(self, what: str, instead: str) -> NotReplayableError:
        """Return the error for what the call does (``asks for a future``), which was not done."""
        return NotReplayableError(
            f"{self.name} {what}, and nobody could do that again after a crash as it was. Nothing was done. {instead}",
            lsn=self.lsn,
            actor_id=self.journal.actor_id.hex(),
        )

    @property
    def _named(self) -> str:
        return f"{self.name} (lsn {self.lsn})" if self.lsn else self.name

    def _overlapping(self) -> NotReplayableError:
        return self.refuse(
            "takes something from outside in one coroutine while another one waits for a result",
            "Await one result after the other (the calls themselves run side by side once they are submitted), or "
            "get() or wait() for several at once; or mark the method @method(effect='persist').",
        )

    def _go_live(self) -> None:
        """From here on nothing is given: calls that were kept back, and whose results the log lacks, are sent now."""
        if not self._is_live:
            self._is_live = True
            self.journal.release(self.lsn)
