"""A durable actor's calls on their way into the log and out of it: large values into files, ends into checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from ipyactors.durable import blobs
from ipyactors.durable.call_tables import Recorded, Verdict
from ipyactors.durable.manifest import CheckpointData, Manifest
from ipyactors.durable.record import Abort, Answer, Blob, Call, Done, Outcome
from ipyactors.wire.specs import Payload
from ipyactors.worker.guarded_log import Bringer, GuardedLog

_encode = msgspec.msgpack.Encoder().encode


class End(NamedTuple):
    """How the call at ``lsn`` has ended."""

    lsn: int
    call_id: bytes
    answer: Answer
    outcome: Outcome


class CallLog:
    """Used by the thread that runs calls. ``guarded`` is the log."""

    def __init__(self, guarded: GuardedLog, values: Bringer) -> None:
        self.guarded = guarded
        self.actor_id = guarded.actor_id
        self._log = guarded.log
        self._values = values
        self._ends: dict[int, Done] = {}
        self._read_to = -1

    @property
    def last_lsn(self) -> int:
        """The place of the last call in the order."""
        return self._log.tables.last_lsn

    @property
    def position(self) -> int:
        """Where the log ends."""
        return self._log.position

    # -- coming -------------------------------------------------------------------------------------------------

    def settle(self, caller_id: bytes, below: int) -> None:
        """The caller has the answers to all its calls with a counter lower than ``below``."""
        self._log.settle(caller_id, below)

    def forget_process(self, process_id: bytes) -> None:
        """A process is gone, and will never ask for the answers to its calls."""
        self._log.forget_process(process_id)

    def take(self, call: Call, large: Sequence[Payload], *, may_be_known: bool = True) -> Verdict:
        """Judge a call, and note it if it is new; :meth:`GuardedLog.write` before it runs.

        ``large`` are its arguments with their bytes, ``args`` first, if any may belong into a file. Raises
        StorageFullError: the call is not in the log.
        """
        return self.guarded.do(self._take, call, large, may_be_known)

    def _take(self, call: Call, large: Sequence[Payload], may_be_known: bool) -> Verdict:
        if large:
            verdict = self._log.judge(call, may_be_known=may_be_known)
            if verdict is not Verdict.NEW:
                return verdict
            kept, made = self.guarded.put_aside(large, self.last_lsn + 1, may_be_refused=True)
            aside = tuple(msgspec.structs.replace(blob, index=blob.index - 1) for blob in made)
            call = msgspec.structs.replace(call, args=kept[0], arg_values=kept[1:], blobs=aside)
        return self._log.take(call, may_be_known=may_be_known)

    def is_new(self, call: Call, *, may_be_known: bool = True) -> bool:
        """Return whether a call that has come is not in the log; changes nothing."""
        verdict = self.guarded.do(lambda: self._log.judge(call, may_be_known=may_be_known))
        return verdict is Verdict.NEW

    def id_of(self, call: Call) -> bytes:
        """Return the id under which a call that has come is known."""
        return self._log.id_of(call)

    def is_over(self, call_id: bytes) -> bool:
        """Return whether it is recorded how a call has ended."""
        return call_id in self._log.tables.recorded

    def recorded(self, call: Call) -> Recorded:
        """Return the record of a call that was judged RECORDED."""
        return self._log.recorded(call)

    def arguments(self, call: Call) -> Sequence[Payload]:
        """Return a logged call's arguments, ``args`` first, with their bytes. Raises BlobDamagedError."""
        return blobs.arguments_of(self.guarded.disk, call)

    def find_end(self, lsn: int) -> Done | None:
        """Return how a call has ended, as far back as the log reaches. Reads all of it, so it is kept for the next.

        Raises LogDamagedError.
        """
        if lsn not in self._ends or self._read_to != self.position:
            self.guarded.write()
            self._ends = self.guarded.do(self._log.read_ends)
            self._read_to = self.position
        return self._ends.get(lsn)

    # -- ending -------------------------------------------------------------------------------------------------

    def finish(self, lsn: int, call_id: bytes, answer: Answer, outcome: Outcome) -> Recorded:
        """Note how a call has ended; its answer may leave after :meth:`GuardedLog.secure`.

        Raises StorageFullError if there is no room for a large result: then it is not over.
        """
        return self.guarded.do(self._log.finish, self._make_done(lsn, call_id, answer, outcome))

    def _make_done(self, lsn: int, call_id: bytes, answer: Answer, outcome: Outcome) -> Done:
        for payload in answer.results:
            if payload.stored is not None or payload.buffers:
                brought = self._values.bring(answer.results)  # may wait, and so not under the lock
                results, made = self.guarded.do(self._put_result_aside, brought, lsn)
                answer = msgspec.structs.replace(answer, results=results, blobs=made)
                break
        return Done(call_id, outcome, _encode(answer), answer.duration_s)

    def _put_result_aside(self, results: Sequence[Payload], lsn: int) -> tuple[tuple[Payload, ...], tuple[Blob, ...]]:
        return self.guarded.put_aside(results, lsn, is_result=True)

    def abort(self, call_id: bytes, reason: str) -> Recorded:
        """Note that a call has and will have no effect."""
        return self.guarded.do(self._log.abort, Abort(call_id, reason))

    # -- checkpoints --------------------------------------------------------------------------------------------

    def add_checkpoint(self, data: CheckpointData, keep: int, *, drops_log: bool) -> list[Manifest]:
        """Make a checkpoint of data that is safe; return those that are no longer kept. Raises OSError."""
        return self.guarded.do(self._add_checkpoint, data, keep, drops_log, ())

    def finish_with_checkpoint(
        self, ends: Sequence[End], data: CheckpointData, keep: int, *, drops_log: bool
    ) -> tuple[list[Recorded], list[Manifest]]:
        """Note how calls have ended by a checkpoint of the state after them; return their records, and what expired.

        Raises OSError: then none of the calls is over.
        """
        made = [self._make_done(*end) for end in ends]
        expired = self.guarded.do(self._add_checkpoint, data, keep, drops_log, made)
        return [self._log.tables.recorded[done.call_id] for done in made], expired

    def _add_checkpoint(
        self, data: CheckpointData, keep: int, drops_log: bool, ended: Sequence[Done]
    ) -> list[Manifest]:
        return self._log.add_checkpoint(data, keep, drops_log=drops_log, ended=ended)
