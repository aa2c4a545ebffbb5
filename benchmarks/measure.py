"""Sampling: how long one call takes, and how many pass in a second.

The length of a measurement is set in seconds, not in calls: peers differ by a factor of a thousand, and a fixed count
would give one too few samples and keep the other busy for minutes. ``time.perf_counter`` is the clock throughout.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple


class Effort(NamedTuple):
    """How long to measure, after ``warm_up`` calls: until ``budget_s`` has passed, but ``least`` to ``most`` calls."""

    budget_s: float
    least: int
    most: int
    warm_up: int

    def goes_on(self, done: int, started_s: float) -> bool:
        """Return whether another sample is wanted, after ``done`` of them since ``started_s``."""
        return done < self.least or (done < self.most and time.perf_counter() - started_s < self.budget_s)


class Scale(NamedTuple):
    """All sizes of a run. The short one shows that a benchmark works; its figures mean nothing."""

    calls: Effort
    kills: Effort
    crashes: Effort
    creations: Effort
    transfers: Effort
    puts: Effort
    round_s: float
    rounds: int
    first_count: int
    array_bytes: int
    replayed_calls: int
    settle_s: float


FULL = Scale(
    calls=Effort(1.5, 30, 5000, 50),
    kills=Effort(5.0, 5, 60, 1),
    crashes=Effort(5.0, 5, 60, 1),
    creations=Effort(8.0, 3, 8, 1),
    transfers=Effort(1.5, 5, 50, 2),
    puts=Effort(2.0, 10, 60, 30),  # a store of several GB is once around only then, and its memory warm
    round_s=0.5,
    rounds=3,
    first_count=1000,
    array_bytes=100 * 1024 * 1024,
    replayed_calls=1000,
    settle_s=1.0,
)

SHORT = Scale(
    calls=Effort(0.0, 5, 5, 1),
    kills=Effort(0.0, 2, 2, 0),
    crashes=Effort(0.0, 2, 2, 0),
    creations=Effort(0.0, 1, 1, 0),
    transfers=Effort(0.0, 2, 2, 1),
    puts=Effort(0.0, 2, 2, 1),
    round_s=0.0,
    rounds=1,
    first_count=50,
    array_bytes=1024 * 1024,
    replayed_calls=20,
    settle_s=0.0,
)


def sample(call: Callable[[], object], effort: Effort, pause_s: float = 0.0) -> list[float]:
    """Return the seconds that each of many calls took, after the warm-up.

    Before each there is a pause, off the clock, for calls that leave work behind which is not to be measured.
    """
    for _ in range(effort.warm_up):
        call()
    times: list[float] = []
    started_s = time.perf_counter()
    while effort.goes_on(len(times), started_s):
        time.sleep(pause_s)
        before_s = time.perf_counter()
        call()
        times.append(time.perf_counter() - before_s)
    return times


async def sample_async(call: Callable[[], Awaitable[object]], effort: Effort) -> list[float]:
    """Return the same for a peer whose calls are awaited, without the cost of entering an event loop for each."""
    for _ in range(effort.warm_up):
        await call()
    times: list[float] = []
    started_s = time.perf_counter()
    while effort.goes_on(len(times), started_s):
        before_s = time.perf_counter()
        await call()
        times.append(time.perf_counter() - before_s)
    return times


def rate(submit_all: Callable[[int], object], scale: Scale) -> float:
    """Return how many calls pass per second when all are submitted before the first result is read.

    The count is doubled until one round takes ``round_s``; those rounds are the warm-up. Then the median of ``rounds``.
    """
    count = scale.first_count
    while _seconds(submit_all, count) < scale.round_s:
        count *= 2
    return count / median([_seconds(submit_all, count) for _ in range(scale.rounds)])


def _seconds(submit_all: Callable[[int], object], count: int) -> float:
    before_s = time.perf_counter()
    submit_all(count)
    return time.perf_counter() - before_s


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least ``share`` of the values do not exceed; ``values`` must not be empty."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def median(values: Sequence[float]) -> float:
    """Return the middle value: the lower one of two, so that it is one that was measured."""
    return percentile(values, 0.5)
