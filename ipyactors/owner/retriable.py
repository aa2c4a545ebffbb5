"""Which calls of this process may still be run again: durable actors keep what they have answered to those.

A call that may be retried makes its calls to durable actors under ids of its own, so that they are recognised when it
makes them again. Their answers have to be kept for as long as that may happen: until all calls that were submitted
before it, and it, are over. It may return before the calls that it has made are answered, or sent: they belong to it
still, and may be sent again by its process after the death of an actor.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

_HERE = (b"", 0)


class Unanswered:
    """The calls to durable actors that a call has made, if it may be retried, and that have no answer. Any thread."""

    __slots__ = ("_calls", "_then")

    def __init__(self) -> None:
        self._calls: set[object] = set()
        self._then: Callable[[], None] | None = None

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, call: object) -> None:
        """Take a call that was made."""
        self._calls.add(call)

    def remove(self, call: object) -> None:
        """A call has its answer, or will have none."""
        self._calls.discard(call)
        if self._then is not None and not self._calls:
            self._then()

    def when_none(self, then: Callable[[], None]) -> None:
        """Call ``then`` as soon as there is none, now perhaps; it may be called more than once."""
        self._then = then
        if not self._calls:
            then()


class Retriable:
    """The calls that may be retried and are not over, by their number in the order of submission, from 1.

    Each with those whose word has to come before it is: the process here (empty), and processes that have run it and
    have calls of it left, with their numbers for it.
    """

    def __init__(self) -> None:
        self._open: OrderedDict[int, set[tuple[bytes, int]]] = OrderedDict()
        self._left: dict[bytes, dict[int, int]] = {}
        self._count = 0

    def add(self) -> int:
        """Take a call that is submitted; return its number."""
        self._count += 1
        self._open[self._count] = {_HERE}
        return self._count

    def remove(self, number: int) -> None:
        """The call is over; harmless if it was already."""
        self._discard(number, _HERE)

    def keep(self, number: int, process_id: bytes, seq: int) -> None:
        """A process that runs the call, as its ``seq``, will have calls of it left when it is over."""
        if number in self._open:
            self._open[number].add((process_id, seq))
            self._left.setdefault(process_id, {})[seq] = number

    def let_go(self, process_id: bytes, seq: int) -> None:
        """Nothing is left of a call there; harmless if nothing was."""
        left = self._left.get(process_id, {})
        self._discard(left.pop(seq, 0), (process_id, seq))
        if not left:
            self._left.pop(process_id, None)

    def forget_process(self, process_id: bytes) -> None:
        """A process is gone, and with it what it had left."""
        for seq in tuple(self._left.get(process_id, ())):
            self.let_go(process_id, seq)

    def _discard(self, number: int, holder: tuple[bytes, int]) -> None:
        holders = self._open.get(number)
        if holders is not None:
            holders.discard(holder)
            if not holders:
                del self._open[number]

    def below(self) -> int:
        """Return the number below which all are over."""
        return next(iter(self._open), self._count + 1)
