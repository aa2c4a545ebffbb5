"""The work that every peer is given: next to nothing, so that what is measured is the way there and back.

Peers that pickle functions by reference import this module in their workers; it needs only the standard library.
"""

from __future__ import annotations

import os
import pathlib
import time
from collections.abc import Sequence


def echo(value: int) -> int:
    """Return the argument."""
    return value


def occupy(seconds: float) -> int:
    """Keep one worker busy, so that the next task needs another; return the worker's pid."""
    time.sleep(seconds)
    return os.getpid()


def touch(array: Sequence[float]) -> float:
    """Look at one element: what it costs to hand over an array, not to read it."""
    return float(array[0])


def crash_once(marker: str) -> int:
    """End the process without a word at the first attempt, which leaves ``marker`` behind; return 1 at the second."""
    path = pathlib.Path(marker)
    if not path.exists():
        path.touch()
        os._exit(1)
    return 1


class Echo:
    """An actor without state worth saving."""

    def echo(self, value: int) -> int:
        """Return the argument."""
        return value

    def touch(self, array: Sequence[float]) -> float:
        """Look at one element."""
        return touch(array)

    def pid(self) -> int:
        """Return the process that hosts the actor."""
        return os.getpid()


class Reader(Echo):
    """An actor that keeps an array that it has read."""

    def __init__(self) -> None:
        self._kept: Sequence[float] = ()

    def read(self, array: Sequence[float]) -> float:
        """Read all of it and keep it; return the sum."""
        self._kept = array
        return float(array.sum())  # type: ignore[attr-defined]  # this module needs no numpy


class Counter(Echo):
    """An actor whose state a recovery must bring back."""

    def __init__(self) -> None:
        self.total = 0

    def add(self, amount: int) -> int:
        """Add to the total and return it."""
        self.total += amount
        return self.total
