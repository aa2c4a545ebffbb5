"""A channel without sockets, for tests: a switchboard in memory that can delay, drop and cut.

Messages pass through the real codec, so a test that uses it also proves that the words can travel.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from ipyactors.wire.channel import RECEIVE_AT_MOST, Batch
from ipyactors.wire.codec import Codec, Message, encode


class Switchboard:
    """Carries batches between :class:`MemoryChannel` objects; ``deliver`` moves them, so a test decides when."""

    def __init__(self) -> None:
        self._bound: dict[str, MemoryChannel] = {}
        self._in_flight: deque[tuple[MemoryChannel, bytes, bytes]] = deque()
        self.drop: Callable[[bytes, bytes], bool] = lambda _sender, _receiver: False

    def channel(self, process_id: bytes, words: Any, *, bind: str | None = None) -> MemoryChannel:
        """Return a new channel of ``process_id`` that admits ``words``."""
        made = MemoryChannel(self, process_id, words, bind or "")
        if bind:
            self._bound[bind] = made
        return made

    def find(self, address: str) -> MemoryChannel | None:
        """Return what is bound at ``address``."""
        return self._bound.get(address)

    def cut(self, address: str) -> None:
        """Take the channel bound at ``address`` away, as the death of its process would."""
        self._bound.pop(address, None)

    def post(self, receiver: MemoryChannel, sender: bytes, frame: bytes) -> None:
        """Put one frame on its way."""
        if not self.drop(sender, receiver.process_id):
            self._in_flight.append((receiver, sender, frame))

    def deliver(self, at_most: int | None = None) -> int:
        """Move frames to their receivers, oldest first; return how many."""
        moved = 0
        while self._in_flight and (at_most is None or moved < at_most):
            receiver, sender, frame = self._in_flight.popleft()
            receiver.arrive(sender, frame)
            moved += 1
        return moved


class MemoryChannel:
    """See :class:`ipyactors.wire.channel.Channel`; made by :meth:`Switchboard.channel`."""

    def __init__(self, board: Switchboard, process_id: bytes, words: Any, address: str) -> None:
        self.process_id = process_id
        self.address = address
        self._board = board
        self._codec = Codec(words)
        self._peers: dict[bytes, MemoryChannel] = {}
        self._inbox: deque[tuple[bytes, bytes]] = deque()

    def arrive(self, sender: bytes, frame: bytes) -> None:
        """Take one frame from the switchboard."""
        self._inbox.append((sender, frame))

    def send(self, peer: bytes, messages: Sequence[Message]) -> bool:
        """Queue one batch for ``peer``."""
        target = self._peers.get(peer)
        if target is None:
            return False
        self._board.post(target, self.process_id, encode(messages))
        return True

    def connect(self, peer: bytes, address: str) -> None:
        """Make ``peer`` reachable; the other side can answer from then on."""
        target = self._board.find(address)
        if target is not None:
            self._peers[peer] = target
            target._peers[self.process_id] = self

    def disconnect(self, peer: bytes) -> None:
        """Forget ``peer``."""
        self._peers.pop(peer, None)

    def receive(self, at_most: int = RECEIVE_AT_MOST) -> list[Batch]:
        """Return what has been delivered."""
        frames = [self._inbox.popleft() for _ in range(min(at_most, len(self._inbox)))]
        return [(sender, self._codec.decode(frame)) for sender, frame in frames]

    def fileno(self) -> int:
        """Return -1: there is nothing to wait on."""
        return -1

    def has_arrived(self) -> bool:
        """Return whether something was delivered."""
        return bool(self._inbox)

    def close(self) -> None:
        """Forget everything."""
        self._peers.clear()
        self._inbox.clear()
