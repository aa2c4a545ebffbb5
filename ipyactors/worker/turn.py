"""One call of a durable actor, and what it takes from outside: noted when it runs, given again when it is replayed.

What a method does depends on the actor's state, on its arguments, and on what it asks for while it runs: the time, a
random number, the result of another call. The last kind is noted in the log, each piece as a VALUE with its place in
the row (``row.py``); a replay is given the same row.
"""

from __future__ import annotations

import random
import struct
import time
import uuid
from collections.abc import Callable, Sequence
from types import CoroutineType
from typing import Any

import msgspec

from ipyactors.durable.record import Answer, Value, ValueKind
from ipyactors.ground import faultpoints
from ipyactors.ground.exception_parts import is_a
from ipyactors.ground.exceptions import NotReplayableError, TaskError
from ipyactors.owner.current import CALL_INSIDE_ONCE, Submission
from ipyactors.owner.objects import Entry
from ipyactors.wire import serialize
from ipyactors.wire.specs import RemoteError
from ipyactors.worker.errors import describe_error
from ipyactors.worker.exit import ActorExit
from ipyactors.worker.row import Journal, Row, Taken, loaded

_FLOAT = struct.Struct("<d")

_encode = msgspec.msgpack.Encoder().encode
_decode_count = msgspec.msgpack.Decoder(int).decode
_decode_choice = msgspec.msgpack.Decoder(list[int]).decode


class Turn:
    """See :class:`ipyactors.owner.current.Turn`. ``past`` is what the log has of the row; of a call that is over, all.

    ``wants_checkpoint`` is set by :meth:`request_checkpoint`, ``has_acted`` by what may have had an effect outside. A
    call that ``may_overlap`` may wait for several results side by side, and cannot be done again then. ``start`` and
    ``after`` are as in :class:`~ipyactors.worker.row.Row`.
    """

    __slots__ = (
        "_asked",
        "_is_canceled",
        "_made",
        "_row_of",
        "has_acted",
        "is_inside_once",
        "wants_checkpoint",
    )

    def __init__(
        self,
        journal: Journal,
        lsn: int,
        name: str,
        past: Sequence[Value] = (),
        *,
        is_over: bool,
        may_overlap: bool = False,
        start: int = 0,
        after: int = 0,
    ) -> None:
        self._row_of = journal, lsn, name, past, is_over, may_overlap, start, after
        self._made: Row | None = None
        self._is_canceled = False
        self._asked = 0
        self.is_inside_once = False
        self.wants_checkpoint = False
        self.has_acted = False

    def check_end(self, raised: str = "") -> None:
        """Raise ReplayDivergenceError if the call, which has ended, has not done again what it did before.

        ``raised`` is the exception that has ended it, in words, if one did. Raises NotReplayableError if nobody could
        do again what it did, RecoveryFailedError if it could not be given what it had.
        """
        has_past = bool(self._row_of[3])
        if has_past or self._made is not None:  # else it took nothing, and never had
            self._row.check_end(raised)

    @property
    def _row(self) -> Row:
        """The row; most calls take nothing from outside, and need none."""
        row = self._made
        if row is None:
            journal, lsn, name, past, is_over, may_overlap, start, after = self._row_of
            row = self._made = Row(
                journal, lsn, name, past, is_over=is_over, may_overlap=may_overlap, start=start, after=after
            )
        return row

    # -- what the user's code asks for ---------------------------------------------------------------------------

    @property
    def is_replaying(self) -> bool:
        """Whether what happens now is what the log says."""
        return self._row.is_given

    def now(self) -> float:
        """Return the time, in seconds since the epoch."""
        return float(_FLOAT.unpack(self._take(ValueKind.NOW, lambda: _FLOAT.pack(time.time())))[0])

    def random(self) -> float:
        """Return a random number, uniform in [0, 1)."""
        return float(_FLOAT.unpack(self._take(ValueKind.RANDOM, lambda: _FLOAT.pack(random.random())))[0])

    def uuid4(self) -> uuid.UUID:
        """Return a random UUID."""
        return uuid.UUID(bytes=self._take(ValueKind.UUID4, lambda: uuid.uuid4().bytes))

    def _take(self, kind: ValueKind, make: Callable[[], bytes]) -> bytes:
        """Return the next value; what a function takes that is called once is part of what that returns."""
        return make() if self.is_inside_once else self._row.take(kind, make)

    def once(self, function: Callable[[], Any]) -> Any:
        """Return what ``function()`` returns, or raise what it raises; a replay does not call it.

        What it gives is a copy from the first: what is changed of it later must not change what the function has kept.
        """
        __tracebackhide__ = True
        if self.is_inside_once:
            return function()
        row = self._row
        self.has_acted = True
        past = row.next(ValueKind.ONCE)
        taken = _run_once(self, row, function) if past is None else row.outcome(past)
        if isinstance(taken, list):
            return taken[0]
        try:
            raise taken  # here in either case: so its traceback is the same
        finally:
            del taken  # or this frame, which the traceback has, would keep it alive

    def is_canceled(self, *, is_flagged: bool) -> bool:
        """Return whether the call is cancelled, which it stays; ``is_flagged``: somebody has asked for that by now.

        Only the first yes is noted, with how many asked in vain before: a loop may ask any number of times.
        """
        if self._is_canceled or self.is_inside_once:
            return self._is_canceled or is_flagged
        row = self._row
        past = row.peek()
        if past is not None:
            if past.kind is ValueKind.CANCELED and _decode_count(past.data) == self._asked:
                row.next(ValueKind.CANCELED)
                self._is_canceled = True
        elif is_flagged and not row.is_over:
            row.add(ValueKind.CANCELED, _encode(self._asked))
            self._is_canceled = True
        self._asked += not self._is_canceled
        return self._is_canceled

    def request_checkpoint(self) -> None:
        """Have a checkpoint made when the call is over."""
        self.wants_checkpoint = True

    # -- nested calls ---------------------------------------------------------------------------------------------

    def submitting(self, digest: bytes) -> Submission:
        """Note that the call submits another one; it may be sent, unless it is replayed."""
        if self.is_inside_once:
            raise self.refuse(*CALL_INSIDE_ONCE)
        row = self._row
        self.has_acted = True
        index = row.index
        past = row.next(ValueKind.SUBMITTED)
        if past is None:
            row.add(ValueKind.SUBMITTED, digest)
            row.journal.secure()  # what it is called with may come from values that were noted
            faultpoints.hit("durable.nested.noted")
        elif past.data != digest:
            raise row.diverge(f"value {index} of it submitted another call, or with other arguments")
        return row.submission(index, is_replayed=past is not None)

    def refuse(self, what: str, instead: str) -> NotReplayableError:
        """Return the error for what the call does, in words, which no log could give again."""
        return self._row.refuse(what, instead)

    def submitted(self, submission: Submission, call: object, entries: tuple[object, ...]) -> None:
        """Take a nested call that was made; it was not sent if it is replayed."""
        faultpoints.hit("durable.nested.submitted")
        self._row.journal.register(submission, call, entries)

    def receive(self, entries: Sequence[Entry], take: Callable[[], list[Any]]) -> list[Any]:
        """Return the values of objects, or raise what the first of them has failed with."""
        __tracebackhide__ = True
        taken = self.given(entries)
        if taken is None:
            try:
                taken = take()
            except Exception as error:
                taken = self.failed(entries, error)
            except BaseException:
                self._row.is_waiting = False
                raise
            else:
                self.received(entries)
        if isinstance(taken, list):
            return taken
        try:
            raise taken  # here in either case: so its traceback is the same
        finally:
            del taken

    def given(self, entries: Sequence[Entry]) -> Taken | None:
        """Return the values of objects as the log has them, or what to raise; None if they are to be waited for."""
        if self.is_inside_once:
            return None
        row = self._row
        past = row.next(ValueKind.RECEIVED)
        if past is None:
            row.is_waiting = True
            return None
        return row.outcome(past, entries)

    def received(self, entries: Sequence[Entry]) -> None:
        """Note the values of objects, which are there."""
        if self.is_inside_once:
            return
        row = self._row
        row.is_waiting = False
        row.check_order()
        faultpoints.hit("durable.nested.received")
        row.add_payloads(ValueKind.RECEIVED, [row.journal.payload_of(entry) for entry in entries])
        faultpoints.hit("durable.nested.kept")
        row.journal.note_received(entries)

    def failed(self, entries: Sequence[Entry], error: Exception) -> BaseException:
        """Note what the first of some objects has failed with; return it as a replay will have it, to be raised."""
        if self.is_inside_once:
            return error
        row = self._row
        row.is_waiting = False
        row.check_order()
        failures = (entry.failure for entry in entries if is_a(error, TaskError))
        failure = next((one for one in failures if isinstance(one, RemoteError)), None)
        if failure is None:
            failure = _described(error, row.name, is_local=not is_a(error, TaskError))
        return row.add_error(ValueKind.RECEIVED, failure)

    def cancelled(self) -> None:
        """Note that the code was cancelled while it waited, by a time limit of its own, say."""
        row = self._row
        row.is_waiting = False
        if row.may_go_on and not self.is_inside_once:
            row.add(ValueKind.RECEIVED, _encode(Answer(is_cancelled=True)))

    def choose(self, choose: Callable[[], list[int]]) -> list[int]:
        """Return which of several came first, by their index."""
        return _decode_choice(self._take(ValueKind.CHOSEN, lambda: _encode(choose())))


def _run_once(turn: Turn, row: Row, function: Callable[[], Any]) -> Taken:
    """Call a function, and note what it returns or raises; return that as a replay will have it."""
    turn.is_inside_once = True
    taken: Taken
    try:
        payload = serialize.owned(serialize.dumps(_plain(function()), what="what once() has called"))
    except BaseException as error:
        if _ends_the_call(error, is_task=not row.journal.actor_id):
            raise
        taken = row.add_error(ValueKind.ONCE, _described(error, row.name, is_local=True))
    else:
        row.add_payloads(ValueKind.ONCE, [payload])
        taken = loaded([payload])
    finally:
        turn.is_inside_once = False
    row.journal.secure()  # it had an effect outside, perhaps: it must not happen twice
    return taken


def _plain(value: Any) -> Any:
    """Return what a function has returned that ``once()`` has called. Raises TypeError for a coroutine."""
    if type(value) is CoroutineType:
        value.close()
        raise TypeError("once() takes a plain function, and was given an async one, which was not run")
    return value


def _described(error: BaseException, name: str, *, is_local: bool) -> RemoteError:
    return msgspec.structs.replace(describe_error(error, function_name=name), is_local=is_local)


def _ends_the_call(error: BaseException, *, is_task: bool) -> bool:
    """Return whether an exception is no outcome of a function, but the end of the process, or of a task."""
    return is_a(error, (SystemExit, ActorExit)) or (is_task and is_a(error, KeyboardInterrupt))
