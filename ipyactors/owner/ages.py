"""When things were made, without asking the clock at each: objects are numbered, and now and then a number is timed."""

from __future__ import annotations

import bisect

#: Marks are this far apart at least, so an age is right to that.
RESOLUTION_S = 0.1

_MARKS_AT_MOST = 10_000


class Ages:
    """Times of some of the numbers that this process has given out; a number in between is as old as the one before.

    That is right because the first thing made after a pause is always marked. Marking takes no lock: two threads at
    once may leave two marks in the wrong order, a few milliseconds apart.
    """

    def __init__(self) -> None:
        self._numbers: list[int] = []
        self._times: list[float] = []
        self._next_s = float("-inf")

    def mark(self, number: int, now_s: float) -> None:
        """Note that ``number`` was given out at ``now_s`` (monotonic), unless one was timed a moment ago."""
        if now_s < self._next_s:
            return
        self._next_s = now_s + RESOLUTION_S
        if len(self._numbers) >= _MARKS_AT_MOST:
            del self._times[::2], self._numbers[::2]
        self._times.append(now_s)
        self._numbers.append(number)

    def made_s(self, number: int) -> float | None:
        """Return when ``number`` was given out (monotonic); None if nothing that old was marked."""
        index = bisect.bisect_right(self._numbers, number) - 1
        return self._times[index] if index >= 0 else None
