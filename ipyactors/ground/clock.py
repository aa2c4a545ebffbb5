"""The two clocks, behind one small interface so that tests can hold time still."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What a shell reads before it hands ``now`` to a reactor."""

    def monotonic(self) -> float:
        """Return seconds that only rise; for intervals and deadlines."""
        ...

    def wall(self) -> float:
        """Return seconds since the epoch; for what people and other processes read."""
        ...


class SystemClock:
    """The machine's clocks."""

    def monotonic(self) -> float:
        """Return ``time.monotonic()``."""
        return time.monotonic()

    def wall(self) -> float:
        """Return ``time.time()``."""
        return time.time()


class FakeClock:
    """A clock that moves only when told to; both readings share one value."""

    def __init__(self, now_s: float = 1_000.0) -> None:
        self.now_s = now_s

    def monotonic(self) -> float:
        """Return the set time."""
        return self.now_s

    def wall(self) -> float:
        """Return the set time."""
        return self.now_s

    def advance(self, seconds: float) -> None:
        """Move both readings on by ``seconds``."""
        self.now_s += seconds
