"""Was everything done exactly once, and in one order that all can agree on? A checker for what callers have seen.

The actor that is checked appends what it is given to a list, and answers with the index and with a hash of the whole
list. Of such an actor, a history is strictly linearizable exactly if the checks here pass; that takes O(n log n)
steps, where general checkers are exponential. (The idea is that of Jepsen's append workloads; the checks are listed at
:class:`Report`.)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Literal


@dataclasses.dataclass
class Operation:
    """One call as its caller saw it. Times are of one clock that all callers share, in any unit.

    ``number`` counts the calls of ``caller`` in the order in which they were submitted; ``uid`` is what was appended,
    once in the whole history. ``outcome`` is ``ok`` (it returned, or the user's code raised), ``failed`` (an error that
    says that there was no effect), or ``unknown`` (an error that says that nobody knows, or no answer yet). ``index``
    and ``digest`` are what an ``ok`` call returned; None and empty where it returned nothing.
    """

    caller: str
    number: int
    uid: str
    invoked: float
    completed: float | None = None
    outcome: Literal["ok", "failed", "unknown"] = "unknown"
    index: int | None = None
    digest: str = ""


@dataclasses.dataclass
class Report:
    """What is wrong, each as a list of uids; ``unknown`` is not wrong, only counted."""

    lost: list[str] = dataclasses.field(default_factory=list)
    """``ok``, and not in the list."""
    duplicated: list[str] = dataclasses.field(default_factory=list)
    """More than once in the list."""
    effective: list[str] = dataclasses.field(default_factory=list)
    """``failed``, and in the list all the same."""
    misplaced: list[str] = dataclasses.field(default_factory=list)
    """Not at the index that its caller was told."""
    reordered: list[str] = dataclasses.field(default_factory=list)
    """Before a call that the same caller had submitted earlier, or that was over before this one began."""
    diverged: list[str] = dataclasses.field(default_factory=list)
    """Answered with another hash than that of the list up to it."""
    unasked: list[str] = dataclasses.field(default_factory=list)
    """In the list, and submitted by nobody."""
    unknown: int = 0
    total: int = 0

    @property
    def is_valid(self) -> bool:
        """Whether nothing is wrong."""
        return not any((self.lost, self.duplicated, self.effective, self.misplaced, self.reordered)) and not (
            self.diverged or self.unasked
        )

    def __str__(self) -> str:
        """Return it in words, with a few examples of what is wrong."""
        if self.is_valid:
            return (
                f"{self.total} calls, each exactly once or not at all, in one order; {self.unknown} of unknown outcome"
            )
        wrong = {name: uids for name, uids in dataclasses.asdict(self).items() if isinstance(uids, list) and uids}
        return "; ".join(f"{len(uids)} {name}: {', '.join(uids[:3])}" for name, uids in wrong.items())


def check_history(
    operations: Iterable[Operation], final: Sequence[str], *, roll: Callable[[str, str], str] | None = None
) -> Report:
    """Return what is wrong with a history, given what the actor's list holds in the end.

    The actor is one of yours that appends what it is given, and the callers note each call as an :class:`Operation`::

        began = time.monotonic()
        index = ipyactors.get(journal.append.remote("a1"))
        history.append(Operation("driver", 0, "a1", began, time.monotonic(), "ok", index))
        ...
        report = check_history(history, ipyactors.get(journal.read.remote()))
        assert report.is_valid, report

    ``roll(hash, uid)`` is how the actor makes the hash of a list that has one more entry, from ``""`` on; without it,
    hashes are not looked at.
    """
    history = list(operations)
    at = {uid: index for index, uid in enumerate(final)}
    report = Report(total=len(history), unknown=sum(one.outcome == "unknown" for one in history))
    report.unasked = sorted(at.keys() - {one.uid for one in history})
    report.duplicated = sorted({uid for index, uid in enumerate(final) if at[uid] != index})
    hashes = _hashes(final, roll)
    for one in history:
        index = at.get(one.uid)
        if one.outcome == "ok" and index is None:
            report.lost.append(one.uid)
        elif one.outcome == "failed" and index is not None:
            report.effective.append(one.uid)
        if index is not None and one.index is not None:
            if one.index != index:
                report.misplaced.append(one.uid)
            elif hashes and one.digest and one.digest != hashes[index]:
                report.diverged.append(one.uid)
    effective = [(at[one.uid], one) for one in history if one.uid in at]
    report.reordered = sorted({*_out_of_submission_order(effective), *_out_of_real_time(effective)})
    return report


def _hashes(final: Sequence[str], roll: Callable[[str, str], str] | None) -> list[str]:
    hashes: list[str] = []
    if roll is not None:
        last = ""
        for uid in final:
            last = roll(last, uid)
            hashes.append(last)
    return hashes


def _out_of_submission_order(effective: list[tuple[int, Operation]]) -> list[str]:
    """Return who stands before a call that its caller had submitted earlier."""
    found: list[str] = []
    last: dict[str, int] = {}
    for index, one in sorted(effective, key=lambda pair: (pair[1].caller, pair[1].number)):
        if index < last.get(one.caller, -1):
            found.append(one.uid)
        last[one.caller] = max(index, last.get(one.caller, -1))
    return found


def _out_of_real_time(effective: list[tuple[int, Operation]]) -> list[str]:
    """Return who stands before a call that was over before it began."""
    found: list[str] = []
    earliest_end = float("inf")
    for _, one in sorted(effective, key=lambda pair: pair[0], reverse=True):
        if earliest_end < one.invoked:
            found.append(one.uid)
        if one.completed is not None:
            earliest_end = min(earliest_end, one.completed)
    return found
