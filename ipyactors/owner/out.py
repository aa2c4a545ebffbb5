"""What a decision of the owner's reactor may cause. The shell implements it; tests record it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ipyactors.owner.calls import PendingCall
from ipyactors.wire.codec import Message
from ipyactors.wire.events import Became, EventKind
from ipyactors.wire.specs import Payload
from ipyactors.wire.worker_messages import Written


class Runner(Protocol):
    """What has run an attempt: a leased worker, or the process of an actor."""

    worker_id: bytes
    node_id: bytes


class Out(Protocol):
    """Everything leaves in the order in which it was asked for, once the decision is complete.

    ``receive(sender, payload)`` takes over the references and handles that a payload brought, for as long as it lives;
    to be called once for every payload that arrives with any. What a payload that leaves contains is announced by
    itself in :meth:`to_worker`, and by whoever asks for it elsewhere.

    ``own(payload)`` has a payload's segment freed with it, if it has one that is an object of this process. For what a
    call has made, and once; the same segment comes in other payloads too, as an argument of calls that run here, say.
    """

    receive: Callable[[bytes, Payload], object]
    own: Callable[[Payload], object]

    def to_head(self, message: Message) -> None:
        """Send to the head."""
        ...

    def to_worker(self, worker_id: bytes, message: Message) -> None:
        """Send to a worker that was connected with :meth:`connect`."""
        ...

    def to_owner(self, owner_id: bytes, message: Message) -> None:
        """Send to the owner of something borrowed, before what this decision sends to workers and callers."""
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

    def event(
        self,
        kind: EventKind,
        call: PendingCall,
        *,
        duration_s: float = 0.0,
        detail: str = "",
        by: Runner | None = None,
        incarnation: int | None = None,
        ago_s: float = 0.0,
        became: Became = Became.NOT_KNOWN,
    ) -> None:
        """Record what became of a call; ``by`` is what has run it, where that is known.

        What is known only now, and was ``ago_s`` before, was in another ``incarnation`` than the actor's present one.
        """
        ...

    def object_event(
        self, kind: EventKind, object_id: bytes, *, name: str = "", attempt: int = 0, detail: str = ""
    ) -> None:
        """Record what became of an object; ``name`` is that of the call that makes it."""
        ...

    def show(self, written: Written, scope: int = 0) -> None:
        """Show the user what a call of ``scope`` has printed or displayed (:mod:`ipyactors.owner.scopes`)."""
        ...
