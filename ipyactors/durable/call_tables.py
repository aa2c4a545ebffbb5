"""Which calls a durable actor has taken, which it has done, and what to make of one that comes (again).

A call is known by its id, which is the same however often it is sent and whichever incarnation it reaches. The
tables follow from the log alone: :func:`begin`, :func:`finish` and :func:`abort` are applied when a record is written,
and again when it is read. What callers have acknowledged is not in the log; it only frees memory.
"""

from __future__ import annotations

import dataclasses
import enum
import itertools
from collections.abc import Sequence

import msgspec

from ipyactors.durable.record import Abort, Call, Done, Outcome

#: What the id of a later attempt of a call has behind that of the first.
ATTEMPT_BYTES = 4

#: So many callers that are gone are known, and up to where their calls had come.
GONE_KEPT = 1000


class Recorded(msgspec.Struct, array_like=True, frozen=True):
    """A call that is over, kept until its caller has the answer. ``digest`` tells what was called with what.

    ``answer`` is what the caller is told; of an aborted call, the reason in words.
    """

    call_id: bytes
    caller_id: bytes
    counter: int
    lsn: int
    outcome: Outcome
    answer: bytes
    digest: bytes
    key: str = ""

    @property
    def is_keyed(self) -> bool:
        """Whether its key answers for it, for good; that of an aborted call is free again."""
        return bool(self.key) and self.outcome is not Outcome.ABORTED


class Snapshot(msgspec.Struct, array_like=True, frozen=True):
    """The tables between two calls, as a checkpoint keeps them."""

    last_lsn: int
    settled: dict[bytes, int] = {}
    recorded: tuple[Recorded, ...] = ()
    gone: tuple[bytes, ...] = ()


class Verdict(enum.Enum):
    """What is to be done with a call that has come."""

    NEW = enum.auto()
    """Log it and run it."""
    RUNNING = enum.auto()
    """It is in the log and not over: answer when it is."""
    RECORDED = enum.auto()
    """It is over: send the recorded answer."""
    SETTLED = enum.auto()
    """Its caller has had the answer: a late duplicate, to be dropped."""
    DIVERGED = enum.auto()
    """Its id or key is that of a call of another method, or with other arguments."""


@dataclasses.dataclass(slots=True)
class CallTables:
    """The tables. ``open`` holds the calls that are in the log and not over, by id, in the order of their lsns.

    ``settled`` tells of each caller up to which counter (exclusive) it has all answers; ``keys`` maps an idempotency
    key to the call that had it first, which is kept for good, or to its last attempt if that has raised and is tried
    again. ``gone`` are callers whose process is gone, the last one last: see :func:`forget_process`.
    """

    last_lsn: int = 0
    open: dict[bytes, tuple[int, Call]] = dataclasses.field(default_factory=dict)
    recorded: dict[bytes, Recorded] = dataclasses.field(default_factory=dict)
    settled: dict[bytes, int] = dataclasses.field(default_factory=dict)
    keys: dict[str, bytes] = dataclasses.field(default_factory=dict)
    gone: dict[bytes, None] = dataclasses.field(default_factory=dict)
    _by_caller: dict[bytes, dict[bytes, int]] = dataclasses.field(default_factory=dict)
    """By caller: its recorded calls with their counters, in the order in which they ended."""

    def snapshot(self, ended: Sequence[Done] = ()) -> Snapshot:
        """Return what a checkpoint keeps; no call may be open but those that are over by the checkpoint."""
        assert self.open.keys() == {done.call_id for done in ended}, "a checkpoint is taken between calls"
        recorded = list(self.recorded.values())
        for done in ended:
            lsn, call = self.open[done.call_id]
            recorded.append(_record(call, lsn, done.outcome, done.answer))
        return Snapshot(self.last_lsn, dict(self.settled), tuple(recorded), tuple(self.gone))

    def check_invariants(self) -> None:
        """Raise AssertionError unless the tables agree with each other."""
        lsns = [lsn for lsn, _ in self.open.values()]
        assert lsns == sorted(lsns), lsns
        assert not lsns or lsns[-1] <= self.last_lsn
        assert not self.open.keys() & self.recorded.keys()
        kept = {call_id for ids in self._by_caller.values() for call_id in ids}
        assert kept == {one.call_id for one in self.recorded.values() if not one.is_keyed}
        assert all(one.lsn <= self.last_lsn for one in self.recorded.values())
        assert len(self.gone) <= GONE_KEPT


def restore(snapshot: Snapshot) -> CallTables:
    """Return the tables as a checkpoint has kept them."""
    tables = CallTables(snapshot.last_lsn, settled=dict(snapshot.settled), gone=dict.fromkeys(snapshot.gone))
    for recorded in snapshot.recorded:
        _keep(tables, recorded)
    return tables


def judge(tables: CallTables, call: Call, *, may_be_known: bool = True) -> Verdict:
    """Return what is to be done with a call that has come; changes nothing.

    One that was never sent before may not be known: it is new, whatever its caller has said of others.
    """
    call_id = id_of(tables, call)
    opened = tables.open.get(call_id)
    if opened is not None:
        return Verdict.RUNNING if opened[1].digest == call.digest else Verdict.DIVERGED
    recorded = tables.recorded.get(call_id)
    if recorded is not None:
        # An aborted call that never was in the log has no digest.
        return Verdict.RECORDED if recorded.digest in (call.digest, b"") else Verdict.DIVERGED
    is_settled = may_be_known and call.counter < tables.settled.get(call.caller_id, 0)
    return Verdict.SETTLED if is_settled else Verdict.NEW


def find(tables: CallTables, call: Call) -> Recorded:
    """Return the record of a call that was judged RECORDED."""
    return tables.recorded[id_of(tables, call)]


def id_of(tables: CallTables, call: Call) -> bytes:
    """Return the id under which a call that has come is known: with a key, that of the call that the key stands for.

    A key stands for the last attempt of its call. Of a call that has raised, a later attempt is none that is known.
    """
    if not call.key:
        return call.call_id
    holder = tables.keys.get(call.key, call.call_id)
    if not call.attempt:
        return holder
    recorded = tables.recorded.get(holder)
    has_raised = recorded is not None and recorded.outcome is Outcome.RAISED
    is_own = holder.startswith(first_attempt(call.call_id, call.attempt))
    is_known = call.call_id in tables.open or call.call_id in tables.recorded
    return call.call_id if is_known or (has_raised and is_own) else holder


def first_attempt(call_id: bytes, attempt: int) -> bytes:
    """Return the id of the first attempt of a call, with which the ids of the others begin."""
    return call_id[:-ATTEMPT_BYTES] if attempt else call_id


def begin(tables: CallTables, lsn: int, call: Call) -> None:
    """The call is in the log at ``lsn``."""
    tables.last_lsn = lsn
    tables.open[call.call_id] = lsn, call
    if call.key:
        before = tables.keys.get(call.key)
        tables.keys[call.key] = call.call_id
        if before is not None:  # an attempt that has raised: its record is one as any other now
            _keep(tables, msgspec.structs.replace(tables.recorded[before], key=""))


def finish(tables: CallTables, done: Done) -> Recorded:
    """The call was executed, and the log says how it ended. Return what its callers are told."""
    lsn, call = tables.open.pop(done.call_id)
    return _keep(tables, _record(call, lsn, done.outcome, done.answer))


def abort(tables: CallTables, lsn: int, message: Abort) -> Recorded:
    """The call has no effect, and the log says so; it may never have been there. Return what its callers are told."""
    tables.last_lsn = max(tables.last_lsn, lsn)
    _, call = tables.open.pop(message.call_id, (lsn, None))
    reason = message.reason.encode()
    if call is None:
        never_begun = Recorded(message.call_id, message.caller_id, message.counter, lsn, Outcome.ABORTED, reason, b"")
        return _keep(tables, never_begun)
    if tables.keys.get(call.key) == call.call_id:
        del tables.keys[call.key]
    return _keep(tables, _record(call, lsn, Outcome.ABORTED, reason))


def settle(tables: CallTables, caller_id: bytes, below: int) -> None:
    """The caller has the answers to all its calls with a counter lower than ``below``: forget them."""
    if below <= tables.settled.get(caller_id, 0):
        return
    tables.settled[caller_id] = below
    kept = tables._by_caller.get(caller_id)
    if kept is None:
        return
    # Calls end in the order of their counters, but for a few that were tried again: those are forgotten a bit later.
    settled = list(itertools.takewhile(lambda call_id: kept[call_id] < below, kept))
    for call_id in settled:
        del kept[call_id], tables.recorded[call_id]
    if not kept:
        del tables._by_caller[caller_id]


def forget_process(tables: CallTables, process_id: bytes) -> None:
    """A process is gone, and calls no more; what comes of it late must not be judged after this.

    Its calls that may be retried have the id of the process behind a word. Those may still be sent again by whoever
    runs one of them, so they count as settled from now on: none is run a second time.
    """
    for caller_id in sorted(tables._by_caller.keys() | tables.settled.keys()):
        if caller_id.endswith(process_id):
            below = max(tables._by_caller.get(caller_id, {}).values(), default=0) + 1
            below = max(below, tables.settled.get(caller_id, 0))
            _forget(tables, caller_id)
            tables.gone[caller_id] = None
            if caller_id != process_id:
                tables.settled[caller_id] = below
    while len(tables.gone) > GONE_KEPT:
        _forget(tables, next(iter(tables.gone)))


def _forget(tables: CallTables, caller_id: bytes) -> None:
    for call_id in tables._by_caller.pop(caller_id, ()):
        del tables.recorded[call_id]
    tables.settled.pop(caller_id, None)
    tables.gone.pop(caller_id, None)


def _record(call: Call, lsn: int, outcome: Outcome, answer: bytes) -> Recorded:
    return Recorded(call.call_id, call.caller_id, call.counter, lsn, outcome, answer, call.digest, call.key)


def _keep(tables: CallTables, recorded: Recorded) -> Recorded:
    tables.recorded[recorded.call_id] = recorded
    if recorded.is_keyed:
        tables.keys.setdefault(recorded.key, recorded.call_id)
    else:
        kept = tables._by_caller.get(recorded.caller_id)
        if kept is None:
            kept = tables._by_caller[recorded.caller_id] = {}
        kept[recorded.call_id] = recorded.counter
    return recorded
