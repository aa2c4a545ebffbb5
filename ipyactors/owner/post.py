"""Words that leave at once, past the mail: to this machine's agent, and to the stores of others."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ipyactors.ground import ids
from ipyactors.owner.doors import Doors
from ipyactors.wire.codec import Message
from ipyactors.wire.interrupts import deferred
from ipyactors.wire.leader import LeaderFollowers
from ipyactors.wire.specs import Location


class Post:
    """Sends under the session's ``lock``; callable from any thread, in a turn too. Says nothing once it is closed."""

    def __init__(self, lock: threading.RLock, doors: Doors, leader: LeaderFollowers) -> None:
        self._lock = lock
        self._doors = doors
        self._leader = leader
        self.is_closed = False

    def tell_agent(self, *messages: Message, news: Callable[[], tuple[Message, ...]] = tuple) -> None:
        """Send to this machine's agent, now, and with it what ``news`` returns: whatever is sent later is newer."""
        with deferred(), self._lock:
            if self.is_closed:
                return
            messages += news()
            if messages:
                self._doors.outbound.send(ids.AGENT_ID, messages)
                self.wake_if_arrived()

    def tell_agent_at(self, location: Location, *messages: Message) -> None:
        """Send to another machine's agent, now."""
        with deferred(), self._lock:
            if not self.is_closed:
                self._doors.outbound.connect(location.node_id, location.address)
                self._doors.outbound.send(location.node_id, messages)
                self.wake_if_arrived()

    def tell_head(self, *messages: Message) -> None:
        """Send to the head, now."""
        with deferred(), self._lock:
            if messages and not self.is_closed:
                self._doors.outbound.send(ids.HEAD_ID, messages)
                self.wake_if_arrived()

    def wake_if_arrived(self) -> None:
        """Wake a sleeping leader if sending has used up the edge that would have woken it; under the lock."""
        if self._leader.is_sleeping and self._doors.has_arrived():
            self._leader.wake()
