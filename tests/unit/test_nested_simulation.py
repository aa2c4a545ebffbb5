"""Durable actors that call each other, in thousands of small worlds: each call has effect exactly once."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator

import pytest

from ipyactors.durable import blobs, log, segment
from tests.support.nested_world import World

SEEDS = int(os.environ.get("IPYACTORS_SIMULATIONS", "1000"))

#: A world that has failed is told by its number alone.
FIRST = int(os.environ.get("IPYACTORS_SEED", "0"))


@pytest.fixture(autouse=True, scope="module")
def small_segments() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segment, "SEGMENT_BYTES", 4096)
        patch.setattr(log, "RESERVE_BYTES", 512)
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
    for seed in range(FIRST, FIRST + SEEDS):
        try:
            world = live(seed)
        except BaseException:
            print(f"\nto see it again: IPYACTORS_SEED={seed} IPYACTORS_SIMULATIONS=1 pytest {__file__}")
            raise
        incarnations += sum(actor.incarnation + 1 for actor in world.actors)
        calls += len(world.asked)
        checkpoints += world.checkpoints
    print(f"{SEEDS} worlds, {calls} calls, {incarnations} incarnations, {checkpoints} checkpoints")
