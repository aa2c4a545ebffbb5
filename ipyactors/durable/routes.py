"""How far an actor's state can be had from what is left of its folder: which checkpoint, how much of the log.

What the log says, and where it contradicts itself, is :mod:`~ipyactors.durable.recovery`'s to tell; here all
checkpoints are tried, each is held against the log before it, and what a replay would lack is found before it runs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence

from ipyactors.durable import blobs, call_tables, recovery, stretches
from ipyactors.durable.call_tables import CallTables, Recorded, Snapshot
from ipyactors.durable.manifest import Manifest
from ipyactors.durable.record import Abort, Blob, Call, Value
from ipyactors.durable.recovery import History, HistoryError, Past
from ipyactors.durable.stretches import Reading, Stretch

#: Says what is wrong with a blob; empty if nothing is.
BlobProblem = Callable[[Blob], str]


@dataclasses.dataclass(slots=True)
class Route:
    """One way to a state: from ``base`` (None: the constructor) through ``stretch`` up to position ``end``.

    All calls up to ``lsn`` are over then; those in ``again`` have no end. ``error`` is where the log contradicts
    itself, ``blocked`` the lsn of a call that cannot be replayed because a large value of it is gone (0: none).
    """

    base: Manifest | None
    stretch: Stretch
    end: int
    history: History
    error: HistoryError | None = None
    blocked: int = 0

    @property
    def again(self) -> list[Past]:
        """The calls that are executed for real."""
        return [past for past in self.history.past.values() if past.end is None]

    @property
    def lsn(self) -> int:
        """The last call of which, and of all before it, the end is known."""
        return min((past.lsn - 1 for past in self.again), default=self.history.tables.last_lsn)

    @property
    def replayed(self) -> int:
        """How many calls are replayed."""
        return sum(past.end is not None and not isinstance(past.end, Abort) for past in self.history.past.values())

    def is_all(self, reading: Reading, manifests: Iterable[Manifest]) -> bool:
        """Return whether nothing is lost by it, as far as can be known."""
        if self.error is not None or self.blocked or self.end != reading.end:
            return False
        if any(one.position > self.end for one in manifests):
            return False
        highest = max((one.lsn for _, _, one in reading.located()), default=0)
        return highest <= self.history.tables.last_lsn


def find(reading: Reading, base: Manifest | None, problem_of: BlobProblem) -> Route | None:
    """Return the way from a checkpoint, None if there is none: not even the constructor can be run again."""
    stretch = stretches.choose(reading, base)
    if base is None and (stretch.start or (reading.pieces and not stretch.reads)):
        return None
    history, error = recovery.trace(base, stretch.contents)
    if any(map(problem_of, blobs.of_values(history.construction))):
        return None
    end = stretch.end if error is None else error.position
    blocked = next((past.lsn for past in history.past.values() if not can_be_run(past, problem_of)), 0)
    if blocked:
        end = _position_of(stretch, blocked)
        error = None
    if end < stretch.end:
        history, _ = recovery.trace(base, stretch.contents, end)
    return Route(base, stretch, end, history, error, blocked)


def choose(found: Sequence[Route]) -> Route | None:
    """Return the way that leads furthest, and of these the one with the shortest replay."""
    return max(found, key=_merit, default=None)


def _merit(route: Route) -> tuple[int, int, int]:
    return route.lsn, route.end, route.base.lsn if route.base is not None else -1


def blobs_of_call(call: Call, values: Sequence[Value] = ()) -> list[Blob]:
    """Return the blobs that a replay of a call needs."""
    return [*call.blobs, *blobs.of_values(values)]


def can_be_run(past: Past, problem_of: BlobProblem) -> bool:
    """Return whether a call can be replayed; one that has no effect need not."""
    return isinstance(past.end, Abort) or not any(map(problem_of, blobs_of_call(past.call, past.values)))


def _position_of(stretch: Stretch, lsn: int) -> int:
    """Return where the call with this lsn begins in a stretch that has it."""
    return next(at for at, one in stretch.contents.positioned() if one.lsn == lsn and isinstance(one.body, Call))


# -- checkpoints against the log -------------------------------------------------------------------------------


def judge(reading: Reading, manifests: Iterable[Manifest]) -> dict[int, str]:
    """Return what does not fit between checkpoints and the log, by their numbers; those that fit are not there."""
    problems: dict[int, str] = {}
    agreed: list[Manifest] = []
    for one in sorted(manifests, key=lambda manifest: (manifest.position, manifest.number)):
        problem = _problem_of(one) or _misfit(reading, one, agreed)
        if problem:
            problems[one.number] = problem
        else:
            agreed.append(one)
    return problems


def _problem_of(one: Manifest) -> str:
    if min(one.position, one.lsn, one.incarnation) < 0:
        return "its numbers make no sense"
    if one.tables.last_lsn != one.lsn:
        return f"it is of lsn {one.lsn}, and its tables are of lsn {one.tables.last_lsn}"
    return ""


def _misfit(reading: Reading, one: Manifest, agreed: list[Manifest]) -> str:
    stretch = reading.around(one.position)
    if stretch is None:
        return ""  # nothing there can be read, so nothing contradicts it
    if not stretch.is_between_records(one.position):
        return f"no record begins at its position {one.position:,}"
    before = [record for at, record in stretch.contents.positioned() if at < one.position]
    if before and before[-1].incarnation != one.incarnation:
        return f"it is of incarnation {one.incarnation}, and incarnation {before[-1].incarnation} wrote just before it"
    base = next((other for other in reversed(agreed) if stretch.start <= other.position), None)
    if base is None and stretch.start:
        return ""
    history, error = recovery.trace(base, stretch.contents, one.position)
    if error is not None:
        return ""  # it is the log that is wrong
    for done in one.ended:
        if done.call_id in history.tables.open:
            call_tables.finish(history.tables, done)
    return compare(one.tables, history.tables)


def compare(kept: Snapshot, told: CallTables) -> str:
    """Return in what a checkpoint's tables are not those that the log tells of; empty if they agree.

    The log does not tell what callers have acknowledged, nor which of them are gone, so either side may have forgotten
    such calls.
    """
    forgotten = set(kept.gone)
    if told.open:
        lsn, call = next(iter(told.open.values()))
        return f"the log says that lsn {lsn} {call.method}() was not over when it was made"
    if kept.last_lsn != told.last_lsn:
        return f"it is of lsn {kept.last_lsn}, and the log has come to lsn {told.last_lsn} at its position"
    ours, theirs = {one.call_id: one for one in kept.recorded}, told.recorded
    for call_id in ours.keys() & theirs.keys():
        if ours[call_id] != theirs[call_id]:
            return f"its record of lsn {theirs[call_id].lsn} is not what the log says"
    if len(forgotten) == call_tables.GONE_KEPT:  # there may have been more
        forgotten.update(one.caller_id for one in theirs.values())
    for call_id in theirs.keys() - ours.keys():
        is_forgotten = theirs[call_id].caller_id in forgotten and not theirs[call_id].is_keyed
        if not is_forgotten and not _is_settled(theirs[call_id], kept.settled):
            return f"it lacks the call with lsn {theirs[call_id].lsn}"
    for call_id in ours.keys() - theirs.keys():
        if not _is_settled(ours[call_id], told.settled):
            return f"it has a call with lsn {ours[call_id].lsn} that the log does not have"
    return ""


def _is_settled(recorded: Recorded, settled: dict[bytes, int]) -> bool:
    return not recorded.is_keyed and recorded.counter < settled.get(recorded.caller_id, 0)
