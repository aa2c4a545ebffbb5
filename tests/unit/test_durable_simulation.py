"""The protocol of durable actors in thousands of small worlds: whatever dies, each call has effect exactly once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ipyactors.testing.history import check_history
from tests.support import simulations
from tests.support.durable_world import World

WORLDS = 10000


@pytest.fixture(autouse=True, scope="module")
def _small_segments() -> Iterator[None]:
    with simulations.small_segments():
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
    for world in simulations.lived(live, file=__file__, worlds=WORLDS):
        incarnations += world.actor.incarnation + 1
        calls += len(world.history)
    print(f"{calls} calls, {incarnations} incarnations")
