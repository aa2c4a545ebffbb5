"""What ties the agent of a further machine to that of the first one: a connection of its own.

Over it the agent makes itself known, and hears that the head was started again (the first machine's agent starts it)
or that the session ends. A machine that leaves has the store of the first one fetch what it has. That the first agent
ends *without* a word is noticed by the end of its process (``lifelines.py``).

The connection has a name of its own, for the agent's own name may be that of another connection between the two, over
which stores talk; and a bound socket refuses the second connection under one name.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import zmq

from ipyactors.ground import ids
from ipyactors.ground.config import AgentConfig
from ipyactors.wire.node_messages import JoinSession, NodeToProcess
from ipyactors.wire.specs import Location
from ipyactors.wire.store_messages import PullSegment, StoreToProcess
from ipyactors.wire.zmq_channel import ZmqChannel

#: How many segments are named in one frame.
_BATCH = 128


class FirstMachine:
    """The connection. The first word over it is said when it is made."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], config: AgentConfig) -> None:
        self._here = Location(config.node_id, config.paths.agent_address)
        self._channel = ZmqChannel(context, ids.link_id_of(config.node_id), NodeToProcess | StoreToProcess)
        self._channel.connect(ids.AGENT_ID, config.paths.first_agent_address)
        self._channel.send(ids.AGENT_ID, [JoinSession(config.node_id, os.getpid())])

    def fileno(self) -> int:
        """Return the edge-triggered descriptor."""
        return self._channel.fileno()

    def move_away(self, segment_ids: Sequence[bytes]) -> None:
        """Have the store of the first machine fetch these from this one, and keep them; it answers for each."""
        sources = (self._here,)
        for start in range(0, len(segment_ids), _BATCH):
            some = segment_ids[start : start + _BATCH]
            self._channel.send(ids.AGENT_ID, [PullSegment(segment_id, sources, keep=True) for segment_id in some])

    def receive(self) -> list[NodeToProcess | StoreToProcess]:
        """Return what the first machine's agent has said."""
        return [message for _, messages in self._channel.receive() for message in messages]
