"""How many seeded worlds a test lives through, and which: so that one that has failed is told by its number alone."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from ipyactors.durable import log, segment

_W = TypeVar("_W")


def lived(live: Callable[[int], _W], *, file: str, worlds: int) -> Iterator[_W]:
    """Yield world after world, as ``live(seed)`` returns them; of one that fails, print how to see it again."""
    first = int(os.environ.get("IPYACTORS_SEED", "0"))
    for seed in range(first, first + int(os.environ.get("IPYACTORS_SIMULATIONS", worlds))):
        try:
            world = live(seed)
        except BaseException:
            print(f"\nto see it again: IPYACTORS_SEED={seed} IPYACTORS_SIMULATIONS=1 pytest {file}")
            raise
        yield world


@contextlib.contextmanager
def small_segments() -> Iterator[pytest.MonkeyPatch]:
    """Have logs of short segments, so that a short life has several."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segment, "SEGMENT_BYTES", 4096)
        patch.setattr(log, "RESERVE_BYTES", 512)
        yield patch
