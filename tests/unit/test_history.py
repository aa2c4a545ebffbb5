"""The checker of histories finds what is wrong, and nothing else."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import pytest

from ipyactors.testing.history import Operation, Report, check_history


def roll(before: str, uid: str) -> str:
    return before + uid


def op(uid: str, number: int, at: float, index: int | None = None, **changes: Any) -> Operation:
    """Return a call that took from ``at`` to ``at + 1``, and was told ``index``."""
    made = Operation("driver", number, uid, at, at + 1, "ok", index)
    return dataclasses.replace(made, **changes)


def wrong(report: Report) -> dict[str, list[str]]:
    return {name: found for name, found in dataclasses.asdict(report).items() if isinstance(found, list) and found}


GOOD = [op("a", 1, 0, 0, digest="a"), op("b", 2, 2, 1, digest="ab"), op("c", 3, 4, 2, digest="abc")]


def test_a_history_in_order_is_valid() -> None:
    report = check_history(GOOD, ["a", "b", "c"], roll=roll)
    assert report.is_valid
    assert str(report) == "3 calls, each exactly once or not at all, in one order; 0 of unknown outcome"


@pytest.mark.parametrize(
    ("history", "final", "found"),
    [
        (GOOD, ["a", "b"], {"lost": ["c"]}),
        (GOOD, ["a", "b", "c", "c"], {"duplicated": ["c"], "misplaced": ["c"]}),
        ([*GOOD, op("d", 4, 6, outcome="failed")], ["a", "b", "c", "d"], {"effective": ["d"]}),
        (GOOD, ["a", "c", "b"], {"misplaced": ["b", "c"], "reordered": ["c"]}),
        (GOOD, ["a", "b", "c", "z"], {"unasked": ["z"]}),
        ([op("a", 1, 0, 0, digest="x")], ["a"], {"diverged": ["a"]}),
        # Submitted in one order, and in the list in another; both are under way at the same time.
        ([op("a", 1, 0, 1), op("b", 2, 0, 0)], ["b", "a"], {"reordered": ["b"]}),
        # Of two callers: one was over before the other began.
        ([op("a", 1, 0, 1), op("b", 1, 5, 0, caller="other")], ["b", "a"], {"reordered": ["b"]}),
    ],
)
def test_what_is_wrong_is_found(history: list[Operation], final: list[str], found: dict[str, list[str]]) -> None:
    report = check_history(history, final, roll=roll)
    assert {name: sorted(uids) for name, uids in wrong(report).items()} == found
    assert not report.is_valid
    assert next(iter(found)) in str(report)


def test_an_unknown_outcome_may_have_had_effect_or_not() -> None:
    for final in (["a"], []):
        report = check_history([op("a", 1, 0, outcome="unknown", completed=None)], final)
        assert report.is_valid
        assert report.unknown == 1


def test_calls_that_were_under_way_together_may_be_in_any_order() -> None:
    history = [op("a", 1, 0, 1), op("b", 1, 0.5, 0, caller="other")]
    assert check_history(history, ["b", "a"]).is_valid


def test_every_single_change_of_a_long_history_is_found() -> None:
    """Two neighbours exchanged, one left out, one doubled: at any place."""
    uids = [f"u{number}" for number in range(200)]
    history = [op(uid, number, number * 2.0, number) for number, uid in enumerate(uids)]
    assert check_history(history, uids).is_valid
    chance = random.Random(7)
    for _ in range(100):
        at = chance.randrange(len(uids) - 1)
        exchanged = [*uids[:at], uids[at + 1], uids[at], *uids[at + 2 :]]
        for final in (exchanged, uids[:at] + uids[at + 1 :], [*uids[:at], uids[at], *uids[at:]]):
            assert not check_history(history, final).is_valid
