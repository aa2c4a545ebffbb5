"""All that the head's decisions may cause: words to owners and agents, a look at an agent, a value on disk."""

from __future__ import annotations

from typing import Protocol

from ipyactors.wire.codec import Message


class Shelf(Protocol):
    """Values on disk, by key; acts at once. All raise OSError, the reason in ``strerror``, with nothing done."""

    def put(self, key: str, value: bytes) -> None:
        """Keep a value instead of the one that has the key; safe from a loss of power when this returns."""
        ...

    def get(self, key: str) -> bytes | None:
        """Return a value, or None."""
        ...

    def delete(self, key: str) -> None:
        """Forget a value; it is no error that there is none."""
        ...


class Out(Protocol):
    """Where a reactor puts what it wants said. Nothing is sent before the reactor has returned."""

    @property
    def shelf(self) -> Shelf:
        """What the head keeps on disk."""
        ...

    def to_owner(self, owner_id: bytes, message: Message) -> None:
        """Queue ``message`` (one of ``HeadToOwner``) for a driver or for a worker's session; dropped if it is gone."""
        ...

    def to_node(self, node_id: bytes, message: Message) -> None:
        """Queue ``message`` (one of ``HeadToNode``) for a machine's agent; dropped if it is gone."""
        ...

    def watch_agent(self, node_id: bytes, pid: int) -> None:
        """Watch the agent of a further machine; ``on_agent_gone`` follows when it and its workers have ended."""
        ...
