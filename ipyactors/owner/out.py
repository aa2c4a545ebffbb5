"""What a decision of the owner's reactor may cause. The shell implements it; tests record it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ipyactors.owner.actors import HandleToken
from ipyactors.owner.calls import PendingCall
from ipyactors.wire.codec import Message
from ipyactors.wire.events import EventKind
from ipyactors.wire.specs import Payload
from ipyactors.wire.worker_messages import OutputWritten


class Out(Protocol):
    """Everything leaves in the order in which it was asked for, once the decision is complete.

    ``hold`` takes over the handles inside a payload that arrived, for as long as the returned tokens live.
    """

    hold: Callable[[Payload], tuple[HandleToken, ...]]

    def to_head(self, message: Message) -> None:
        """Send to the head."""
        ...

    def to_worker(self, worker_id: bytes, message: Message) -> None:
        """Send to a worker that was connected with :meth:`connect`."""
        ...

    def to_caller(self, peer: bytes, message: Message) -> None:
        """Answer a process that is connected to this one."""
        ...

    def connect(self, process_id: bytes, address: str) -> None:
        """Make a worker or another owner reachable."""
        ...

    def disconnect(self, process_id: bytes) -> None:
        """Forget a process; what was queued for it is dropped."""
        ...

    def event(self, kind: EventKind, call: PendingCall, *, duration_s: float = 0.0, detail: str = "") -> None:
        """Record what became of a call."""
        ...

    def show(self, output: OutputWritten) -> None:
        """Show the user what a call printed."""
        ...
