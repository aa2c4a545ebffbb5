"""The owner's tables."""

from __future__ import annotations

import weakref
from collections import deque

from ipyactors.ground.config import MAX_LINEAGE_BYTES
from ipyactors.owner.actors import ActorClient, Constructor, Settling
from ipyactors.owner.ages import Ages
from ipyactors.owner.calls import CallState, PendingCall
from ipyactors.owner.endless_waits import EndlessWaits
from ipyactors.owner.freed import FreedElsewhere
from ipyactors.owner.last_words import Arrived
from ipyactors.owner.leases import Lease, LeaseTable
from ipyactors.owner.lineage import LineageTable, Run, Search
from ipyactors.owner.objects import Entry, ObjectTable
from ipyactors.owner.retriable import Retriable
from ipyactors.owner.scopes import ScopeTrails
from ipyactors.owner.unasked import UnaskedFailures
from ipyactors.wire.codec import Message


class OwnerState:
    """Everything that one process knows of the calls that it made. Changed only by the reactor."""

    #: Where the logs of durable actors are, each in a folder of its own.
    actors_dir = ""

    head_epoch = 0
    now_s = 0.0  # when this turn began (monotonic clock)
    durable_calls = 0  # calls to durable actors that were made
    next_search_id = 1
    unanswered = 0
    is_supplying = False

    def __init__(
        self,
        owner_id: bytes,
        address: str,
        *,
        is_driver: bool = True,
        node_id: bytes = b"",
        max_lineage_bytes: int = MAX_LINEAGE_BYTES,
    ) -> None:
        self.is_driver = is_driver
        self.owner_id = owner_id
        self.address = address
        self.node_id = node_id
        self.objects = ObjectTable()
        self.ages = Ages()
        self.retriable = Retriable()
        self.scopes = ScopeTrails()
        self.arrived = Arrived()
        self.leases = LeaseTable(self.retriable, self.scopes)
        self.actors: dict[bytes, ActorClient] = {}
        self.holders: dict[bytes, Lease | ActorClient] = {}
        """By worker id: the lease or the actor whose calls that worker runs for this process."""
        self.children: dict[bytes, set[PendingCall]] = {}
        """By the task id of a call that runs here: what it has submitted and is not done."""
        self.waiting: set[PendingCall] = set()
        """Calls whose arguments are not there."""
        self.supplied: deque[PendingCall] = deque()
        """Calls whose last argument has just come; looked at one after the other while ``is_supplying``."""
        self.withdrawn: deque[PendingCall] = deque()
        """Calls of an interrupted cell that were cancelled before they were sent; each turn ends some of them."""
        self.lineage = LineageTable(max_lineage_bytes)
        self.searches: dict[int, Search] = {}
        """By request id: lost objects of which the head was asked where copies are."""
        self.rebuilding: dict[bytes, Run] = {}
        """By task id: finished calls that are made again, because a result of theirs is lost."""
        self.sought_arguments: weakref.WeakKeyDictionary[PendingCall, Entry] = weakref.WeakKeyDictionary()
        """Calls whose arguments have a segment of their own that was lost, with what stands for it."""
        self.fetches: weakref.WeakKeyDictionary[Entry, int] = weakref.WeakKeyDictionary()
        """How often lost objects were found where they were said to be missing."""
        self.overdue: list[Entry] = []
        """Lost objects that have to wait until a run has ended which does not make them."""
        self.replies: dict[int, Message | None] = {}
        """Answers of the head to requests under way, by request id; None until it comes."""
        self.requests: dict[int, Message] = {}
        """The requests themselves, to be repeated to a head that was restarted."""
        self.left_streams: dict[bytes, int] = {}
        """By worker id, for actors that nothing here needs any more: the number that a next call there would have. A
        handle may come again while the worker lives, and all goes on from where it was; so do ``left_settlings``."""
        self.left_settlings: dict[bytes, Settling] = {}
        self.ready_actors: set[ActorClient] = set()
        """Actors with calls that may be sendable; looked at once at the end of a turn."""
        self.stranded: dict[ActorClient, float | None] = {}
        """Actors that wait for a machine: since when (s, monotonic), or None once the user has been told."""
        self.watched: dict[bytes, dict[bytes, Entry]] = {}
        """By owner id: the borrowed objects that were asked for and are not there."""
        self.constructors: dict[bytes, Constructor] = {}
        """By id of an actor that this process has created: what its constructor's arguments refer to."""
        self.freed = FreedElsewhere()
        self.endless_waits = EndlessWaits(owner_id)
        self.unasked = UnaskedFailures()

    def check_invariants(self) -> None:
        """Raise AssertionError if the tables contradict each other."""
        self.objects.check_invariants()
        self.leases.check_invariants()
        self.lineage.check_invariants()
        self._check_rebuilding()
        in_flight = 0
        for holder in self.holders.values():
            in_flight += len(holder.in_flight)
            for seq, call in holder.in_flight.items():
                assert call.seq == seq, f"{call.name} is under way as {call.seq} and listed as {seq}"
                assert call.state is CallState.SENT, f"{call.name} is in flight and {call.state.name}"
        assert self.stranded.keys() <= set(self.actors.values()), "an actor waits for a machine and is not needed here"
        for client in self.actors.values():
            for call in client.outbox:
                assert call.state is not CallState.SENT, "a sent call is in an outbox"
        assert all(call.cancelled and call.state > CallState.SENT for call in self.withdrawn), "one was not withdrawn"
        assert self.unanswered >= in_flight, "more calls in flight than were submitted"

    def _check_rebuilding(self) -> None:
        for call in self.waiting:
            assert call.state is CallState.WAITING, f"{call.name} is listed as waiting and {call.state.name}"
            assert call.unready > 0, f"{call.name} waits for nothing"
        assert not self.supplied, "a call has its arguments and was not looked at"
        for task_id, run in self.rebuilding.items():
            assert run.call.task_id == task_id == run.record.task_id, "a run is listed under another id"
            assert run.call.state is not CallState.DONE, f"{run.call.name} is done and listed as being made again"
            assert run.wanted or run.call.stream is not None, f"{run.call.name} is made again for nothing"
            for entry in run.wanted.values():
                assert entry.producer is run.call, f"{entry.object_id.hex()} is made by another call"
        for search in self.searches.values():
            for lost in search.lost.values():
                found = lost.find()
                is_taken_care_of = found is None or found.done or found.producer or getattr(found, "heir", None)
                if found is not None and found.owner_address and not is_taken_care_of:
                    assert found.object_id in self.objects.fetching, "what is looked for may be asked for once more"
