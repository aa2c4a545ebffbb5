"""The protocol of durable actors in thousands of small worlds: whatever dies, each call has effect exactly once."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from ipyactors.durable import log, segment
from ipyactors.testing.history import check_history
from tests.support.durable_world import World

SEEDS = int(os.environ.get("IPYACTORS_SIMULATIONS", "10000"))

#: A world that has failed is told by its number alone.
FIRST = int(os.environ.get("IPYACTORS_SEED", "0"))


@pytest.fixture(autouse=True, scope="module")
def small_segments() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segment, "SEGMENT_BYTES", 4096)
        patch.setattr(log, "RESERVE_BYTES", 512)
        yield


def live(seed: int) -> World:
    world = World(seed)
    for _ in range(world.random.randrange(10, 60)):
        world.step()
    final = world.heal()
    report = check_history(world.history, final)
    assert report.is_valid, report
    assert report.unknown == 0
    return world


def test_each_call_has_effect_exactly_once_whatever_dies() -> None:
    incarnations = calls = 0
    for seed in range(FIRST, FIRST + SEEDS):
        try:
            world = live(seed)
        except BaseException:
            print(f"\nto see it again: IPYACTORS_SEED={seed} IPYACTORS_SIMULATIONS=1 pytest {__file__}")
            raise
        incarnations += world.actor.incarnation + 1
        calls += len(world.history)
    print(f"{SEEDS} worlds, {calls} calls, {incarnations} incarnations")
