"""Conditions that a wait asks again and again; each is cheap however many objects it is about."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence

from ipyactors.ground.exceptions import GetTimeoutError
from ipyactors.owner import stranded
from ipyactors.owner.objects import Entry, ObjectTable
from ipyactors.owner.session import Session
from ipyactors.wire.interrupts import deferred


class AllDoneOrFailed:
    """Whether all entries are done, or one of them has failed. Once it is over, it stays so."""

    def __init__(self, objects: ObjectTable, entries: list[Entry]) -> None:
        self._objects = objects
        self._entries = entries
        self._next = 0
        self._failures_seen = -1
        self._has_failed = False

    def __call__(self) -> bool:
        """Return whether the wait is over."""
        entries, index, count = self._entries, self._next, len(self._entries)
        while index < count and entries[index].done:
            index += 1
        self._next = index
        if index == count or self._has_failed:
            return True
        failures = self._objects.failures
        if failures != self._failures_seen:
            self._failures_seen = failures
            self._has_failed = any(entry.failure is not None for entry in entries)
        return self._has_failed


class Countdown:
    """Whether enough entries are done; ``count`` is called back by each."""

    def __init__(self, left: int) -> None:
        self._left = left

    def count(self, _entry: Entry) -> None:
        """Take one off."""
        self._left -= 1

    def __call__(self) -> bool:
        """Return whether the wait is over."""
        return self._left <= 0


class Completions:
    """Entries one by one in the order in which they are done; those that are done already first, as given.

    Each entry is asked once to call back, however often somebody waits for the next. :meth:`watch` and
    :meth:`unwatch` are called under the session's lock. ``wake`` is called, if it is set, when another one is done.
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = entries
        self._done: deque[Entry] = deque()
        self.wake: Callable[[], object] | None = None

    def watch(self) -> None:
        """Have every entry call back."""
        for entry in self._entries:
            entry.when_done(self._note)

    def unwatch(self) -> None:
        """Take the callbacks of the entries that are not done back."""
        for entry in self._entries:
            entry.forget(self._note)

    def _note(self, entry: Entry) -> None:
        self._done.append(entry)
        wake = self.wake  # another thread may take it away meanwhile
        if wake is not None:
            wake()

    def take(self) -> Entry:
        """Return the next entry; there is one."""
        return self._done.popleft()

    def __call__(self) -> bool:
        """Return whether the wait for the next one is over."""
        return bool(self._done)


def left_until(deadline_s: float | None) -> float | None:
    """Return how many seconds are left until ``deadline_s`` on the monotonic clock, not below 0; None for no limit."""
    return None if deadline_s is None else max(0.0, deadline_s - time.monotonic())


def not_in_time(session: Session, entries: Sequence[Entry], timeout_s: float | None) -> GetTimeoutError:
    """Return the error for a ``get`` that took too long."""
    missing = sum(not entry.done for entry in entries)
    what = f"{missing} of {len(entries)} values were" if missing else "the data of the values was"
    with deferred(), session.lock:
        why = "".join(f"{reason}. " for reason in stranded.reasons(session.state, entries))
    return GetTimeoutError(
        f"{what} not there within {timeout_s:g} s. {why}Nothing is lost: get the same references again, or ask "
        "ipyactors.explain(ref) what they wait for."
    )
