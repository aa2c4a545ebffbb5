"""Which calls of this process may still be run again: durable actors keep what they have answered to those.

A call that may be retried makes its calls to durable actors under ids of its own, so that they are recognised when it
makes them again. Their answers have to be kept for as long as that may happen: until all calls that were submitted
before it, and it, are over.
"""

from __future__ import annotations

from collections import OrderedDict


class Retriable:
    """The calls that may be retried and are not over, by their number in the order of submission, from 1."""

    def __init__(self) -> None:
        self._open: OrderedDict[int, None] = OrderedDict()
        self._count = 0

    def add(self) -> int:
        """Take a call that is submitted; return its number."""
        self._count += 1
        self._open[self._count] = None
        return self._count

    def remove(self, number: int) -> None:
        """The call is over; harmless if it was already."""
        self._open.pop(number, None)

    def below(self) -> int:
        """Return the number below which all are over."""
        return next(iter(self._open), self._count + 1)
