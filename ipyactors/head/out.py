"""All that the head's decisions may cause: words to owners, words to agents, a look at an agent. Nothing else."""

from __future__ import annotations

from typing import Protocol

from ipyactors.wire.codec import Message


class Out(Protocol):
    """Where a reactor puts what it wants said. Nothing is sent before the reactor has returned."""

    def to_owner(self, owner_id: bytes, message: Message) -> None:
        """Queue ``message`` (one of ``HeadToOwner``) for a driver or for a worker's session; dropped if it is gone."""
        ...

    def to_node(self, node_id: bytes, message: Message) -> None:
        """Queue ``message`` (one of ``HeadToNode``) for a machine's agent; dropped if it is gone."""
        ...

    def watch_agent(self, node_id: bytes, pid: int) -> None:
        """Watch the agent of a further machine; ``on_agent_gone`` follows when it and its workers have ended."""
        ...
