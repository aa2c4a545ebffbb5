"""The socket that every process has, as an interface: named peers, batches of messages, nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from ipyactors.wire.codec import Message

#: A peer's process id and the messages of one of its batches.
Batch = tuple[bytes, list[Any]]


#: How many batches one ``receive`` takes at most, before it lets its caller act on them.
RECEIVE_AT_MOST = 64


class Channel(Protocol):
    """One door of a process. Not thread-safe: its shell guards it with a lock."""

    def send(self, peer: bytes, messages: Sequence[Message]) -> bool:
        """Queue one batch for ``peer``; never blocks. Return False if no such peer is connected (nothing is sent)."""
        ...

    def connect(self, peer: bytes, address: str) -> None:
        """Make ``peer`` reachable at ``address``; harmless if it already is."""
        ...

    def disconnect(self, peer: bytes) -> None:
        """Forget ``peer``; what was queued for it is dropped."""
        ...

    def receive(self, at_most: int = RECEIVE_AT_MOST) -> list[Batch]:
        """Return what has arrived, oldest first, without waiting; less than ``at_most`` batches is all."""
        ...

    def fileno(self) -> int:
        """Return a descriptor that becomes readable when something may have arrived.

        It is edge-triggered: call :meth:`receive` until it returns nothing, and after every :meth:`send`, before
        waiting on it.
        """
        ...

    def has_arrived(self) -> bool:
        """Return whether :meth:`receive` would return something; cheap."""
        ...

    def close(self) -> None:
        """Close at once; what is still queued gets ``linger`` to leave (see the implementation)."""
        ...
