"""Which calls of a durable actor may start, where several run side by side.

Of calls that took turns while they ran nobody can tell what each has done; so no checkpoint may hold half of one. They
run in rounds: any number of calls that change the actor start, until the first of them has ended. That closes the gate.
Those that run go on to their ends; when the last one is there, one checkpoint ends them all, and the gate opens.

One of them may wait for what only a later call brings. So the gate can be opened again before (:meth:`Gate.reopen`):
the round grows, until the next of its calls has ended. What is in the round stays there, and is answered with it.

What a call sees that changes nothing may be undone until then, so its answer waits for the checkpoint as well; but it
may start at any time. Pure: no lock, no clock.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Kind(enum.Enum):
    """How a call gets on with others."""

    READING = enum.auto()
    """It changes nothing: it starts whenever there is room."""
    CHANGING = enum.auto()
    """It starts while the gate is open, in its turn."""
    ALONE = enum.auto()
    """It starts in its turn when all that has changed it is in a checkpoint, and nothing else changes it meanwhile."""


class Gate(Generic[Key]):
    """Up to ``limit`` calls run at a time, each known by a key that no other has."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._came = 0
        self._readers: deque[tuple[int, Key]] = deque()
        self._others: deque[tuple[int, Key, Kind]] = deque()
        self._reading: set[Key] = set()
        self._changing: set[Key] = set()
        self._resumed: deque[Key] = deque()
        self._alone: Key | None = None
        self._ended: list[Key] = []
        self._is_reopened = False
        self._is_saving = False

    # -- coming -------------------------------------------------------------------------------------------------

    def resume(self, keys: Iterable[Key]) -> None:
        """These had begun before this process: they start before all others, and are one round."""
        self._resumed.extend(keys)

    def join(self, key: Key, kind: Kind) -> None:
        """A call waits for its turn."""
        self._came += 1
        if kind is Kind.READING:
            self._readers.append((self._came, key))
        else:
            self._others.append((self._came, key, kind))

    def drop(self, keys: set[Key]) -> None:
        """These do not wait any more."""
        self._readers = deque(one for one in self._readers if one[1] not in keys)
        self._others = deque(one for one in self._others if one[1] not in keys)

    def start(self) -> Key | None:
        """Return the call that starts now, the one that came first of all that may; None if there is none."""
        if len(self._reading) + len(self._changing) + (self._alone is not None) >= self._limit:
            return None
        if self._resumed:
            self._changing.add(self._resumed[0])
            return self._resumed.popleft()
        may_next = bool(self._others) and self._may_start(self._others[0][2])
        if self._readers and not (may_next and self._others[0][0] < self._readers[0][0]):
            _, key = self._readers.popleft()
            self._reading.add(key)
            return key
        if not may_next:
            return None
        _, key, kind = self._others.popleft()
        if kind is Kind.ALONE:
            self._alone = key
        else:
            self._changing.add(key)
        return key

    def _may_start(self, kind: Kind) -> bool:
        if self._is_saving or self._alone is not None:
            return False
        if kind is Kind.ALONE:
            return self.is_settled
        return not self._ended or (self._is_reopened and bool(self._changing))

    # -- ending -------------------------------------------------------------------------------------------------

    def end(self, key: Key) -> bool:
        """A call has ended; if it has changed the actor, the gate is closed. Return whether that has closed it."""
        if key not in self._changing:
            self.forget(key)
            return False
        has_closed = self._is_reopened or not self._ended
        self._changing.remove(key)
        self._ended.append(key)
        self._is_reopened = False
        return has_closed

    def forget(self, key: Key) -> None:
        """A call that was started has not run."""
        self._reading.discard(key)
        self._changing.discard(key)
        if self._alone == key:
            self._alone = None

    def reopen(self) -> None:
        """Let others into a round that is held, until the next of its calls has ended."""
        self._is_reopened = self.is_held

    def take_ended(self) -> list[Key]:
        """Return the calls that a checkpoint is to end now, until :meth:`saved`; none if it is not time."""
        if self._changing or self._resumed or not self._ended or self._is_saving:
            return []
        self._is_saving = True
        return list(self._ended)

    def saved(self) -> None:
        """The checkpoint is there: the gate opens."""
        self._ended.clear()
        self._is_reopened = self._is_saving = False

    # -- what is so now -----------------------------------------------------------------------------------------

    @property
    def is_settled(self) -> bool:
        """Whether no crash can undo what is to be seen of the actor."""
        return not self._changing and not self._resumed and not self._ended and self._alone is None

    @property
    def is_held(self) -> bool:
        """Whether calls have ended that cannot be answered, because others of their round have not."""
        return bool(self._ended) and bool(self._changing or self._resumed)

    @property
    def is_wanted(self) -> bool:
        """Whether a round is held and closed, and one that could be in it waits for it to end."""
        is_closed = self.is_held and not self._is_reopened
        return is_closed and bool(self._others) and self._others[0][2] is Kind.CHANGING

    @property
    def held(self) -> tuple[list[Key], list[Key]]:
        """The calls that have ended and are not over, and those that they wait for."""
        return list(self._ended), [*self._changing, *self._resumed]

    @property
    def may_look_up(self) -> bool:
        """Whether nothing is being done to the tables of calls but here."""
        return not self._is_saving and self._alone is None

    def check_invariants(self) -> None:
        """Raise AssertionError unless it agrees with itself."""
        assert not self._is_saving or (self._ended and not self._changing and not self._resumed)
        assert self._alone is None or not (self._changing or self._resumed or self._ended)
        waiting = [key for _, key in self._readers] + [key for _, key, _ in self._others]
        begun = [
            *self._resumed,
            *self._reading,
            *self._changing,
            *self._ended,
            *([] if self._alone is None else [self._alone]),
        ]
        assert len({*waiting, *begun}) == len(waiting) + len(begun), (waiting, begun)
