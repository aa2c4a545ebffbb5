"""The agent's two doors, and what waits to leave by them: one batch for each peer and turn.

Drivers, workers and other agents connect to the *bound* door; by the *connecting* one the agent talks to the head.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import zmq

from ipyactors.ground import ids
from ipyactors.ground.config import AgentConfig
from ipyactors.wire.census_messages import CensusToNode, NodeToCensus
from ipyactors.wire.channel import Batch
from ipyactors.wire.codec import Message
from ipyactors.wire.node_messages import HeadToNode, NodeToHead, NodeToProcess, ProcessToNode
from ipyactors.wire.store_messages import HeadToStore, ProcessToStore, StoreToHead, StoreToProcess, StoreToStore
from ipyactors.wire.zmq_channel import ZmqChannel

_log = logging.getLogger(__name__)

#: What is queued when the session ends has this long to leave.
_LINGER_MS = 50


class Mail:
    """See the head of this file. Makes the process's ZeroMQ context, so nothing may be forked any more."""

    def __init__(self, config: AgentConfig) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._config = config
        self._to_head: list[Message] = []
        self._to_processes: dict[bytes, list[Message]] = {}
        words = ProcessToNode | ProcessToStore | StoreToStore
        address = config.paths.agent_address
        self._bound = ZmqChannel(self.context, ids.AGENT_ID, words, bind=address, linger_ms=_LINGER_MS)
        self._outbound: ZmqChannel | None = None

    def connect_head(self) -> None:
        """Open a fresh socket to the head; what was queued for an earlier one is dropped with its socket.

        A ROUTER that reconnects by itself drops, at some moment of its I/O thread's, what was queued meanwhile; a
        greeting could be lost that way.
        """
        if self._outbound is not None:
            self._outbound.close()
        self._to_head.clear()
        self._outbound = ZmqChannel(self.context, self._config.node_id, HeadToNode | HeadToStore | CensusToNode)
        self._outbound.connect(ids.HEAD_ID, self._config.paths.head_address)

    def tell_head(self, message: NodeToHead | StoreToHead | NodeToCensus) -> None:
        """Queue for the head."""
        self._to_head.append(message)

    def tell_process(self, process_id: bytes, message: NodeToProcess | StoreToProcess) -> None:
        """Queue for a driver or worker, or another agent that has connected."""
        self._to_processes.setdefault(process_id, []).append(message)

    def send(self, peer: bytes, messages: Sequence[Message]) -> bool:
        """Send by the bound door, now. Return False if there is no such peer."""
        return self._bound.send(peer, messages)

    def flush(self) -> None:
        """Send what is queued."""
        if self._to_head and self._outbound is not None:
            messages, self._to_head = self._to_head, []
            if not self._outbound.send(ids.HEAD_ID, messages):
                _log.warning("%d messages to the head were lost", len(messages))
        waiting, self._to_processes = self._to_processes, {}
        for process_id, words in waiting.items():
            self._bound.send(process_id, words)

    def receive(self) -> tuple[list[Batch], list[Batch]]:
        """Return some of what has arrived by the bound door, and from the head.

        The head's door is read first: what it says often follows from what somebody has said here before.
        """
        orders = self._outbound.receive() if self._outbound is not None else []
        return self._bound.receive(), orders

    def has_arrived(self) -> bool:
        """Return whether more has arrived."""
        return self._bound.has_arrived() or (self._outbound is not None and self._outbound.has_arrived())

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What to sleep on. Edge-triggered: only when nothing has arrived."""
        doors = (self._bound, self._outbound)
        return tuple(door.fileno() for door in doors if door is not None)

    def close(self) -> None:
        """Close both doors, and every other socket of this context; what is queued gets a moment to leave."""
        self.context.destroy(linger=_LINGER_MS)
