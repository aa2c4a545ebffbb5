"""The owner's tables."""

from __future__ import annotations

from ipyactors.owner.actors import ActorClient
from ipyactors.owner.calls import CallState, PendingCall
from ipyactors.owner.leases import Lease, LeaseTable
from ipyactors.owner.objects import Entry, ObjectTable
from ipyactors.wire.codec import Message


class OwnerState:
    """Everything that one process knows of the calls that it made. Changed only by the reactor."""

    def __init__(self, owner_id: bytes, address: str, *, is_driver: bool = True) -> None:
        self.is_driver = is_driver
        self.owner_id = owner_id
        self.address = address
        self.objects = ObjectTable()
        self.leases = LeaseTable()
        self.actors: dict[bytes, ActorClient] = {}
        self.holders: dict[bytes, Lease | ActorClient] = {}
        """By worker id: the lease or the actor whose calls that worker runs for this process."""
        self.children: dict[bytes, set[PendingCall]] = {}
        """By the task id of a call that runs here: what it has submitted and is not done."""
        self.unanswered = 0
        self.replies: dict[int, Message | None] = {}
        """Answers of the head to requests under way, by request id; None until it comes."""
        self.requests: dict[int, Message] = {}
        """The requests themselves, to be repeated to a head that was restarted."""
        self.left_streams: dict[bytes, int] = {}
        """By worker id, for actors that nothing here needs any more: the number that a next call there would have.

        A handle may come again while the worker lives, and the worker goes on counting from where it was.
        """
        self.ready_actors: set[ActorClient] = set()
        """Actors with calls that may be sendable; looked at once at the end of a turn."""
        self.watched: dict[bytes, dict[bytes, Entry]] = {}
        """By owner id: the borrowed objects that were asked for and are not there."""
        self.head_epoch = 0
        self.now_s = 0.0
        """When this turn began (monotonic clock)."""

    def check_invariants(self) -> None:
        """Raise AssertionError if the tables contradict each other."""
        self.objects.check_invariants()
        self.leases.check_invariants()
        in_flight = 0
        for holder in self.holders.values():
            in_flight += len(holder.in_flight)
            for seq, call in holder.in_flight.items():
                assert call.seq == seq, f"{call.name} is under way as {call.seq} and listed as {seq}"
                assert call.state is CallState.SENT, f"{call.name} is in flight and {call.state.name}"
        for client in self.actors.values():
            for call in client.outbox:
                assert call.state is not CallState.SENT, "a sent call is in an outbox"
        assert self.unanswered >= in_flight, "more calls in flight than were submitted"
