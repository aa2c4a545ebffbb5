"""What a durable actor's calls take from outside, on its way into the log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ipyactors.durable import constructions
from ipyactors.durable.constructions import Stretch
from ipyactors.durable.record import Answer, Value, ValueKind
from ipyactors.owner.current import Submission
from ipyactors.owner.objects import Entry
from ipyactors.wire.specs import Payload, RemoteError
from ipyactors.worker.guarded_log import Bringer, GuardedLog
from ipyactors.worker.nested import Nested

_encode = msgspec.msgpack.Encoder().encode


class LogJournal:
    """See :class:`ipyactors.worker.row.Journal`."""

    def __init__(self, guarded: GuardedLog, values: Bringer, nested: Nested) -> None:
        self.actor_id = guarded.actor_id
        self._guarded = guarded
        self._values = values
        self._nested = nested

    def add_value(self, lsn: int, value: Value) -> None:
        """Note what a call takes from outside."""
        self._guarded.do(self._guarded.log.add_value, lsn, value)

    def add_received(self, lsn: int, index: int, kind: ValueKind, payloads: Sequence[Payload]) -> None:
        """Note values as one answer, the large ones in files."""
        self._guarded.do(self._add_received, lsn, index, kind, payloads)

    def _add_received(self, lsn: int, index: int, kind: ValueKind, payloads: Sequence[Payload]) -> None:
        kept, made = self._guarded.put_aside(payloads, lsn)
        self._guarded.log.add_value(lsn, Value(index, kind, _encode(Answer(kept, blobs=made))))

    def oldest_open(self) -> int:
        """Return the lowest lsn of the calls that are not over; 0 if there is none."""
        return self._guarded.do(self._oldest_open)

    def _oldest_open(self) -> int:
        return next((lsn for lsn, _ in self._guarded.log.tables.open.values()), 0)

    def construct(self, definition_id: bytes) -> Stretch | None:
        """Return what the constructor of a class has taken so far; None if nothing is known of constructors.

        Of a class that the actor was upgraded to, and whose constructor has never run, it is noted that it does.
        """
        log = self._guarded.log
        made = log.construction
        if made is None:
            return None
        if made.definition_id == definition_id:
            return constructions.first_of(made.values)
        found = constructions.find(made.values, definition_id)
        if found is None:
            begun = constructions.beginning(made.values, definition_id, log.tables.last_lsn)
            self.add_value(0, begun)
            found = constructions.find((*made.values, begun), definition_id)
        return found

    def constructed(self) -> None:
        """Note that the constructor has returned whose values were noted last."""
        made = self._guarded.log.construction
        if made is not None:
            self.add_value(0, constructions.end(made.values))

    def read_received(self, answer: Answer) -> Sequence[Payload]:
        """Return the values of an answer, with their bytes. Raises BlobDamagedError."""
        return self._guarded.read_answer(answer)

    def payload_of(self, entry: Entry) -> Payload:
        """Return the value of an object that is done, with its bytes; may wait for another machine."""
        assert entry.payload is not None
        return self._values.bring((entry.payload,))[0]

    def secure(self) -> None:
        """Make what was noted as safe as the actor's level asks."""
        self._nested.secure(self._guarded.secure)

    def register(self, submission: Submission, call: Any, entries: tuple[Any, ...]) -> None:
        """Take a nested call that was made."""
        self._nested.register(submission, call, entries)

    def note_received(self, entries: Sequence[Entry], given: Sequence[Payload] | RemoteError | None = None) -> None:
        """The values of these objects are in the log. ``given``: what it says of them, where that is replayed."""
        self._nested.note_received(entries, given)

    def release(self, lsn: int) -> None:
        """Send the nested calls of the call ``lsn`` that were kept back and must be sent."""
        self._nested.release(lsn)
