"""The storm of ``make chaos``, for as long as a test may take, and what it publishes."""

from __future__ import annotations

import pathlib
from typing import Any

from ipyactors.testing import Operation
from tests.chaos import durable_storm
from tests.chaos.durable_storm import Totals
from tests.support import durable_load
from tests.support.seeds import SEED

#: However fast the machine is, so many are killed.
KILLED_AT_LEAST = 30


def test_nothing_is_lost_in_a_short_storm(runtime: Any) -> None:
    print(f"IPYACTORS_SEED={SEED}")
    totals, _ = durable_storm.run(SEED, lasts_s=10.0, length=60, at_least=KILLED_AT_LEAST)
    print(durable_storm.describe(totals, SEED, 10.0))
    assert totals.problems == []
    assert not totals.wrong
    assert totals.killed >= KILLED_AT_LEAST
    assert totals.calls["ok"] > 1000


def test_the_load_tells_of_each_way_of_going_wrong() -> None:
    """The checker is not blind to what this load does: a list with one entry lost, doubled, out of order."""
    digests = [""]
    for uid in "abcd":
        digests.append(durable_load.roll(digests[-1], uid))
    history = [Operation("one", n, uid, n, n + 0.5, "ok", n, digests[n + 1]) for n, uid in enumerate("abcd")]
    assert durable_load.check(history, list("abcd")).is_valid
    for final in ("abc", "abcdd", "abdc", "abcde"):
        assert not durable_load.check(history, list(final)).is_valid
    history[3].digest = digests[3]
    assert durable_load.check(history, list("abcd")).diverged == ["d"]


def test_what_is_published(tmp_path: pathlib.Path) -> None:
    totals = Totals(rounds=2, recoveries_s=[0.012, 0.031, 0.031, 0.2])
    totals.kills.update({"actor": 1200, "stopped and continued": 9})
    totals.calls.update(ok=5000, failed=3)
    totals.wrong.update(lost=1)
    table = durable_storm.describe(totals, 7, 600.0)
    for row in (
        "| killed in all | 1,200 |",
        "| calls returned | 5,000 |",
        "| lost | **1** |",
        "| done twice | **0** |",
    ):
        assert row in table
    assert "seed 7, 10.0 minutes in 2 rounds" in table
    assert "| recovery, median | 31 ms |" in table
    lines = durable_storm.histogram(totals.recoveries_s).splitlines()
    assert [line.split()[-1] for line in lines if not line.endswith(" 0")] == ["1", "2", "1"]
    durable_storm.draw(totals.recoveries_s, tmp_path / "storm.png")
    assert (tmp_path / "storm.png").read_bytes()[:4] == b"\x89PNG"
