"""The two sockets of a process: one from which it calls, one where others call it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import zmq

from ipyactors.ground.ids import HEAD_ID
from ipyactors.wire.census_messages import CensusToOwner
from ipyactors.wire.channel import RECEIVE_AT_MOST, Batch, Channel
from ipyactors.wire.chaos_messages import ChaosToOwner
from ipyactors.wire.creator_messages import ActorToCreator, CreatorToActor
from ipyactors.wire.head_messages import HeadToOwner
from ipyactors.wire.kv_messages import KvToOwner
from ipyactors.wire.node_messages import NodeToProcess
from ipyactors.wire.store_messages import StoresToOwner, StoreToProcess
from ipyactors.wire.worker_messages import BorrowerToOwner, CallerToWorker, OwnerToBorrower, WorkerToCaller
from ipyactors.wire.zmq_channel import ZmqChannel

#: What is queued when the process ends gets this long to leave.
_LINGER_MS = 500

#: After so many full rounds the head is heard, and something else is done, however fast the others talk.
_ROUNDS_AT_MOST = 100

_TO_OUTBOUND = (
    HeadToOwner
    | StoresToOwner
    | CensusToOwner
    | KvToOwner
    | ChaosToOwner
    | NodeToProcess
    | StoreToProcess
    | WorkerToCaller
    | OwnerToBorrower
    | CreatorToActor
)
_TO_INBOUND = CallerToWorker | BorrowerToOwner | ActorToCreator


class Doors:
    """Both channels of ``process_id``, which listens at ``address``. Guarded by the session's lock."""

    def __init__(self, process_id: bytes, address: str) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.inbound = ZmqChannel(self._context, process_id, _TO_INBOUND, bind=address, linger_ms=_LINGER_MS)
        self.is_behind = False
        """Whether the last :meth:`receive` has left something, because there was so much."""
        self.outbound = ZmqChannel(self._context, process_id, _TO_OUTBOUND, linger_ms=_LINGER_MS)

    @property
    def descriptors(self) -> tuple[int, int]:
        """What to sleep on; edge-triggered, see :class:`ipyactors.wire.channel.Channel`."""
        return self.inbound.fileno(), self.outbound.fileno()

    def receive(self) -> Iterable[tuple[bytes, Any]]:
        """Yield each message that has arrived, with its sender, until nothing is left; the head's come last."""
        self.is_behind = False
        return messages_of(self.outbound, self.inbound, on_behind=self._note_behind)

    def _note_behind(self) -> None:
        self.is_behind = True

    def has_arrived(self) -> bool:
        """Return whether :meth:`receive` would yield something."""
        return self.outbound.has_arrived() or self.inbound.has_arrived()

    def close(self) -> None:
        """Close both; what is queued to leave gets half a second."""
        self.inbound.close()
        self.outbound.close()
        self._context.term()


def messages_of(*channels: Channel, on_behind: Callable[[], None] = lambda: None) -> Iterable[tuple[bytes, Any]]:
    """Return what has arrived on all channels, one by one, the head's messages after those of all others.

    Somebody may talk faster than this process listens. Then the rest is left, and ``on_behind`` called: whoever wanted
    to make him stop must get to say so.

    What the head says may be that a worker died. Answers that the worker gave before have arrived by then, on a
    connection of their own, and must be heard first: else an answered call would pass for an interrupted one.
    """
    arrived = [(channel, batches) for channel in channels if (batches := channel.receive())]
    return _head_last(arrived, on_behind) if arrived else ()


def _head_last(
    arrived: list[tuple[Channel, list[Batch]]], on_behind: Callable[[], None]
) -> Iterator[tuple[bytes, Any]]:
    from_head: deque[Any] = deque()
    for channel, batches in arrived:
        rounds = 0
        while batches:
            rounds += 1
            for peer, messages in batches:
                if peer == HEAD_ID:
                    from_head += messages
                    continue
                for message in messages:
                    yield peer, message
            # A receive that is not full has emptied the channel; asking again would cost as much as a message.
            is_full = len(batches) == RECEIVE_AT_MOST
            if is_full and rounds == _ROUNDS_AT_MOST:
                on_behind()
                break
            batches = channel.receive() if is_full else []
    while from_head:
        yield HEAD_ID, from_head.popleft()
