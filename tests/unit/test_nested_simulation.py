"""Durable actors that call each other, in thousands of small worlds: each call has effect exactly once."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator

import pytest

from ipyactors.durable import blobs
from tests.support import simulations
from tests.support.nested_world import World

WORLDS = 1000


@pytest.fixture(autouse=True, scope="module")
def _small_segments() -> Iterator[None]:
    with simulations.small_segments() as patch:
        patch.setattr(blobs, "OUT_OF_BAND_BYTES", 512)
        yield


def live(seed: int) -> World:
    world = World(seed)
    with contextlib.redirect_stderr(io.StringIO()):  # actors tell of checkpoints that could not be made
        for _ in range(world.random.randrange(10, 80)):
            world.step()
        world.heal()
    world.check()
    return world


def test_each_nested_call_has_effect_exactly_once_whatever_dies() -> None:
    incarnations = calls = checkpoints = 0
    for world in simulations.lived(live, file=__file__, worlds=WORLDS):
        incarnations += sum(actor.incarnation + 1 for actor in world.actors)
        calls += len(world.asked)
        checkpoints += world.checkpoints
    print(f"{calls} calls, {incarnations} incarnations, {checkpoints} checkpoints")
