"""What happened lately, and who has been told how much of it.

Events are numbered from 0 for the life of this head. A watcher is a cursor into that numbering, so that a new
watcher gets the backlog and nobody gets an event twice, whatever the order in which things happen in one turn.
"""

from __future__ import annotations

from collections import deque
from itertools import islice

from ipyactors.wire.events import Event

#: How many events are kept for those who start to watch later.
KEPT_EVENTS = 10_000


class EventLog:
    """The last events, and a cursor for each watcher."""

    def __init__(self, kept: int = KEPT_EVENTS) -> None:
        self._events: deque[Event] = deque(maxlen=kept)
        self._count = 0
        self._cursors: dict[bytes, int] = {}

    def add(self, event: Event) -> None:
        """Record ``event``; the oldest one is forgotten when the log is full."""
        self._events.append(event)
        self._count += 1

    def watch(self, owner_id: bytes) -> None:
        """Report to ``owner_id`` from now on, beginning with all that is kept. Harmless if it watches already."""
        self._cursors.setdefault(owner_id, 0)

    def unwatch(self, owner_id: bytes) -> None:
        """Forget a watcher."""
        self._cursors.pop(owner_id, None)

    def take_unreported(self) -> list[tuple[bytes, tuple[Event, ...]]]:
        """Return for each watcher that is behind the events it has not had, oldest first, and move its cursor on."""
        first_kept = self._count - len(self._events)
        reports = []
        for owner_id, cursor in self._cursors.items():
            if cursor < self._count:
                reports.append((owner_id, tuple(islice(self._events, max(0, cursor - first_kept), None))))
                self._cursors[owner_id] = self._count
        return reports
