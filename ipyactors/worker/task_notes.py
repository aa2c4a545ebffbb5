"""What a task takes from outside, kept by its owner: an attempt after a crash is given the same.

A task has no log. What it takes is sent to the process that submitted it, and only given to the task when that has it,
so that whatever the task makes of it leaves later. That costs a round trip each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from ipyactors.durable.record import Answer, Value, ValueKind
from ipyactors.owner.current import CurrentCall, Submission
from ipyactors.owner.objects import Entry
from ipyactors.wire.codec import Message
from ipyactors.wire.specs import Payload, RemoteError
from ipyactors.wire.worker_messages import ValueTaken
from ipyactors.worker.turn import Turn

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Value).decode


class OwnerSession(Protocol):
    """The part of a worker's session that leads to the task's owner."""

    def answer(self, peer: bytes, *messages: Message) -> None:
        """Queue messages for a caller."""
        ...

    def flush(self) -> None:
        """Send what is queued."""
        ...

    def wait(self, is_done: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Block until ``is_done()``."""
        ...


def notes_of(session: OwnerSession, running: CurrentCall) -> Turn:
    """Return what notes what a task takes, and gives it what an earlier attempt has taken."""
    past = [_decode(data) for data in running.given or ()]
    return Turn(_OwnerJournal(session, running), 0, running.name, past, is_over=False)


class _OwnerJournal:
    """See :class:`ipyactors.worker.row.Journal`. A task's own calls are known by their place, and not noted."""

    def __init__(self, session: OwnerSession, running: CurrentCall) -> None:
        self.actor_id = b""
        self._session = session
        self._running = running

    def add_value(self, lsn: int, value: Value) -> None:  # noqa: ARG002
        """Have the owner keep a value; return when it has it."""
        running = self._running
        self._session.answer(running.caller, ValueTaken(running.seq, value.index, _encode(value)))
        self._session.flush()
        self._session.wait(lambda: running.kept > value.index)

    def add_received(self, lsn: int, index: int, kind: ValueKind, payloads: Sequence[Payload]) -> None:
        """Have the owner keep what a function has returned."""
        self.add_value(lsn, Value(index, kind, _encode(Answer(tuple(payloads)))))

    def read_received(self, answer: Answer) -> Sequence[Payload]:
        """Return what a function has returned."""
        return answer.results

    def payload_of(self, entry: Entry) -> Payload:
        """Not asked for: results of a task's own calls are not noted."""
        raise NotImplementedError

    def secure(self) -> None:
        """Do nothing: what was noted is with the owner."""

    def oldest_open(self) -> int:
        """Return 0: a task's calls have no lsn."""
        return 0

    def register(self, submission: Submission, call: Any, entries: tuple[Any, ...]) -> None:
        """Do nothing: a task's own calls are not noted."""

    def note_received(self, entries: Sequence[Entry], given: Sequence[Payload] | RemoteError | None = None) -> None:
        """Do nothing: nor are their results."""

    def release(self, lsn: int) -> None:
        """Do nothing: none is kept back."""
