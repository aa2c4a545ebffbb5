"""What this process has freed on other machines, for the case that one of them is lost before it has passed that on.

Who else has a copy is known to the store that has served it, and to nobody else; it tells the others when the value is
freed. If it is gone by then, or goes before all have heard it, the copies would stay as long as this process lives. So
the latest of what was freed there is remembered, and removed wherever it may be once the machine is known to be lost.
"""

from __future__ import annotations

from collections import deque

from ipyactors.wire.specs import Stored

#: So many freed segments are remembered of each machine: more than a store can be behind with its messages.
_KEPT = 4096


class FreedElsewhere:
    """See the head of this file. What is noted may come from any thread."""

    def __init__(self) -> None:
        self._latest: dict[bytes, deque[bytes]] = {}
        self._lost: set[bytes] = set()

    def note(self, node_id: bytes, segment_id: bytes) -> None:
        """Note that a machine was told that a segment is freed."""
        self._latest.setdefault(node_id, deque(maxlen=_KEPT)).append(segment_id)

    def was_lost(self, stored: Stored) -> bool:
        """Return whether one of the places is gone where a segment was: it cannot tell anybody."""
        return bool(self._lost) and any(place.node_id in self._lost for place in stored.locations)

    def lose(self, node_id: bytes) -> tuple[bytes, ...]:
        """Note that a machine is gone; return what it may not have passed on."""
        self._lost.add(node_id)
        return tuple(self._latest.pop(node_id, ()))
