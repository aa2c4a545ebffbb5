"""The head's state: nodes, workers, leases, wishes, actors, owners and names. In memory only.

A head that is started again builds these tables anew from what agents and owners tell it (see ``settling.py``).
Agents repeat the latest deaths; owners repeat their wishes, the actors that have not been alive yet, and their kills.
Lost are the order of those who waited, the demands of leases granted by the earlier head, and the event log.

Resources are held by *claims*. A claim belongs to a lease (from the decision to its return or its worker's death)
or to an actor's worker (until its death). All changes of ``Node.available`` are made by the four methods of
:class:`Tables` below, and :func:`ipyactors.head.invariants.check_invariants` proves that nothing leaks.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Iterator

import msgspec

from ipyactors.ground import ids
from ipyactors.ground.quantities import Units, add, subtract
from ipyactors.head.event_log import EventLog
from ipyactors.head.fault_table import FaultTable
from ipyactors.head.machine import Claim, LostNode, Node
from ipyactors.head.restarts import RestartPolicy
from ipyactors.wire.census_messages import ObjectsReported, StoreReported
from ipyactors.wire.specs import ActorSpec, ActorState, Death, Location, LossReason, Payload

#: Lease ids of one head start here; the next head's start higher, so that an old id never names a new lease.
_LEASE_IDS_PER_EPOCH = 1 << 40

#: How many dead actors are remembered, for handles that turn up late and for tables that people read.
KEPT_DEAD_ACTORS = 1_000

#: How many ended processes are remembered, so that their last words, arriving late, do not bring them back.
KEPT_GONE_PROCESSES = 10_000

#: How many lost machines are remembered for tables that people read.
KEPT_LOST_NODES = 100


class WorkerUse(enum.Enum):
    """What a worker is for at this moment."""

    STARTING = "starting"
    """It will run tasks; its session has not registered yet."""
    IDLE = "idle"
    LEASED = "leased"
    ADOPTED = "adopted"
    """It ran tasks when this head began; which lease it is on is not known. Never given to anybody else."""
    ACTOR = "actor"


@dataclasses.dataclass(slots=True)
class Worker:
    """A worker process, from the decision to start it until its agent reports its death.

    ``is_ending``: it was told to die; it keeps its claim until it has. ``leased_before`` are the owners that gave it
    back alive: they are still connected to it. ``owns_objects``: others hold references to values that it keeps.
    ``is_used_up``: it is ended when it comes back, unless it has work of its own.
    """

    worker_id: bytes
    node_id: bytes
    use: WorkerUse
    pid: int = 0
    address: str = ""
    lease_id: int = 0
    actor_id: bytes = b""
    claim: Claim | None = None
    is_ending: bool = False
    owns_objects: bool = False
    is_used_up: bool = False
    leased_before: set[bytes] = dataclasses.field(default_factory=set)


@dataclasses.dataclass(slots=True)
class Lease:
    """The right of ``owner_id`` to use one worker. Without a worker yet, ``worker_id`` is empty.

    ``is_orphaned``: the owner is gone; the lease only stands for the resources until the worker is dead.
    """

    lease_id: int
    owner_id: bytes
    shape_id: int
    claim: Claim
    worker_id: bytes = b""
    granted_s: float = 0.0
    is_reclaimed: bool = False
    is_orphaned: bool = False


@dataclasses.dataclass(slots=True)
class Wish:
    """An owner's wish for ``count`` more leases of a shape; ``unbound`` of them are decided and wait for a worker.

    ``waits``: it is kept even if it fits no machine.
    """

    owner_id: bytes
    shape_id: int
    demand: Units
    count: int
    name: str
    ticket: int
    unbound: int = 0
    prefer: bytes = b""
    waits: bool = False


@dataclasses.dataclass(slots=True)
class Owner:
    """A driver or a worker's session. It may be lent handles before it has registered; ``address`` is empty then.

    ``owns_objects``: others may hold references to objects of its. ``claimed`` are the objects of processes that are
    gone to which it holds references itself.
    ``node_id`` is its machine, empty where it did not say. ``leased_before`` are the workers that an earlier head had
    leased to it, until this one has settled.
    """

    owner_id: bytes
    address: str = ""
    is_driver: bool = False
    shapes: set[int] = dataclasses.field(default_factory=set)
    leases: set[int] = dataclasses.field(default_factory=set)
    holding: set[bytes] = dataclasses.field(default_factory=set)
    owned: set[bytes] = dataclasses.field(default_factory=set)
    claimed: set[bytes] = dataclasses.field(default_factory=set)
    owns_objects: bool = False
    leased_before: tuple[bytes, ...] = ()
    node_id: bytes = b""
    pid: int = 0

    @property
    def is_registered(self) -> bool:
        """Whether it has said that it is there."""
        return bool(self.address)


@dataclasses.dataclass(slots=True)
class Search:
    """A question where segments are: who asked as what, which machines have yet to answer, what is found so far."""

    owner_id: bytes
    request_id: int
    segment_ids: tuple[bytes, ...]
    waiting: set[bytes]
    found: dict[bytes, list[Location]] = dataclasses.field(default_factory=dict)
    sizes: dict[bytes, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(slots=True)
class Census:
    """A census under way: who asked as what, until when (monotonic), who has yet to answer, and what came so far.

    ``unasked`` are those of ``waiting`` who have yet to be there to be asked; ``at_most`` is how much each may name.
    """

    asker_id: bytes
    request_id: int
    until_s: float
    at_most: int
    waiting: set[bytes]
    unasked: set[bytes]
    objects: dict[bytes, ObjectsReported] = dataclasses.field(default_factory=dict)
    stores: dict[bytes, StoreReported] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Ending:
    """Why an actor was told to end for good; goes into its death report when its process is gone."""

    reason: LossReason
    detail: str


@dataclasses.dataclass(slots=True)
class Actor:
    """An actor; its states are in ``actors.py``. ``holders`` counts handles: process id to how many it was granted.

    A count may be below zero for a moment, when a borrower gives back what the head has yet to hear it was lent.

    ``incarnation`` is also the number of restarts used, since each restart raises it by one: so that number
    survives a restart of the head. ``worker_id`` is empty while it has no process. ``ticket`` is its place in the
    line while it waits for one. ``is_told``: its holders know of the present state. While a durable actor comes back,
    ``kept`` are the actors of which its processes had handles, until it has caught up (``is_caught_up``), and
    ``created`` those that they had created, until it is ready. ``unready`` counts its processes that have ended in a
    row before it was.
    ``busy_with`` is what its process says that it is at for long. ``is_adopted``: it had a process before this head was
    started, and has yet to say that it is ready; it may have said so to the head before. ``was_feasible``: there has
    been a machine that could hold it. ``is_stranded``: there is none now, and it waits for one to join.
    """

    spec: ActorSpec
    owner_id: bytes
    state: ActorState = ActorState.PENDING
    incarnation: int = 0
    worker_id: bytes = b""
    holders: dict[bytes, int] = dataclasses.field(default_factory=dict)
    death: Death | None = None
    ending: Ending | None = None
    fruitless_s: list[float] = dataclasses.field(default_factory=list)
    ticket: int = 0
    is_told: bool = True
    unplaceable: Units | None = None
    kept: set[bytes] = dataclasses.field(default_factory=set)
    created: set[bytes] = dataclasses.field(default_factory=set)
    is_caught_up: bool = False
    unready: int = 0
    busy_with: str = ""
    is_adopted: bool = False
    was_feasible: bool = False
    is_stranded: bool = False

    @property
    def actor_id(self) -> bytes:
        """The id, the same through every restart."""
        return self.spec.actor_id

    @property
    def policy(self) -> RestartPolicy:
        """How often it may come back. What is below -1 counts as -1: options are checked where they are given."""
        return RestartPolicy(max(-1, self.spec.max_restarts))

    @property
    def is_ended(self) -> bool:
        """Whether it is dead, or dying for good."""
        return self.state is ActorState.DEAD or self.ending is not None


class Tables:
    """All of the head's state. ``settle_at_s`` (monotonic) is when a restarted head has settled at the latest."""

    def __init__(
        self,
        head_epoch: int = 0,
        settle_at_s: float = 0.0,
        new_worker_id: Callable[[], bytes] = ids.new_worker_id,
    ) -> None:
        self.head_epoch = head_epoch
        self.settle_at_s = settle_at_s
        self.is_settled = head_epoch == 0
        self.awaited: set[bytes] = set()
        """Before the head has settled: the processes that live, as their agents say, and have not registered yet."""
        self.awaited_nodes: set[bytes] = set()
        """Before the head has settled: the machines that have joined, as the first one says, and are not back yet."""
        self.given_up: list[bytes] = []
        """The machines that were awaited in vain."""
        self.new_worker_id = new_worker_id
        self.has_first_node = False
        """Whether the agent that started this head has registered."""
        self.nodes: dict[bytes, Node] = {}
        self.lost_nodes: dict[bytes, LostNode] = {}
        """The machines that were lost lately, for people to read and for who comes back later."""
        self.workers: dict[bytes, Worker] = {}
        self.leases: dict[int, Lease] = {}
        self.wishes: dict[tuple[bytes, int], Wish] = {}
        self.owners: dict[bytes, Owner] = {}
        self.actors: dict[bytes, Actor] = {}
        self.pending: dict[bytes, None] = {}
        self.names: dict[tuple[str, str], bytes] = {}
        self.detached: set[bytes] = set()
        """The actors that are detached and not dead."""
        self.is_detached_told = False
        """Whether there are any, as the first machine's agent was told last, by whichever head."""
        self.dead: dict[bytes, None] = {}
        self.gone: dict[bytes, None] = {}
        self.unheard: dict[bytes, Death] = {}
        self.early_holds: dict[bytes, dict[bytes, int]] = {}
        self.carriers: dict[bytes, set[bytes]] = {}
        """By actor id: the live actors that need it again when they restart: for its handle is among the arguments of
        their constructor, or they are durable, and their process had one when it died."""
        self.watchers: dict[bytes, set[bytes]] = {}
        """By owner id: who wants to be told when that owner is gone."""
        self.searches: dict[int, Search] = {}
        self.claims: dict[bytes, set[bytes]] = {}
        """By id of an object whose owner is gone: the processes that refer to it."""
        self.claimings: dict[bytes, set[bytes] | None] = {}
        """By owner that is gone: who has yet to say what it claims; None: nobody is asked before the head has settled.
        """
        self.censuses: dict[int, Census] = {}
        self.events = EventLog()
        self.faults = FaultTable(head_epoch)
        self.needs_placing = False
        self.look_again_s: float | None = None
        self._lease_ids = head_epoch * _LEASE_IDS_PER_EPOCH
        self._search_ids = head_epoch * _LEASE_IDS_PER_EPOCH
        self._tickets = 0
        self._claim_ids = 0

    # -- numbers ----------------------------------------------------------------------------------------------

    def next_lease_id(self) -> int:
        """Return a lease id that no head of this session has used (above 0)."""
        self._lease_ids += 1
        return self._lease_ids

    def next_search_id(self) -> int:
        """Return a number for a search or a census that no head of this session has used (above 0)."""
        self._search_ids += 1
        return self._search_ids

    def next_ticket(self) -> int:
        """Return the last place in the line (above 0; 0 is the very front)."""
        self._tickets += 1
        return self._tickets

    # -- resources --------------------------------------------------------------------------------------------

    def claim(self, node: Node, demand: Units) -> Claim:
        """Hold ``demand`` on ``node``; the caller has checked that it fits."""
        self._claim_ids += 1
        made = Claim(self._claim_ids, node.node_id, demand)
        node.claims[made.claim_id] = made
        subtract(node.available, demand)
        return made

    def release(self, claim: Claim) -> None:
        """Give back what the claim holds; harmless if it, or its node, is gone already."""
        node = self.nodes.get(claim.node_id)
        if node is not None and node.claims.pop(claim.claim_id, None) is not None:
            add(node.available, claim.held)
            self.needs_placing = True

    def lend(self, claim: Claim) -> None:
        """Let others use the claim's CPUs while its worker waits."""
        node = self.nodes.get(claim.node_id)
        if node is not None and claim.claim_id in node.claims and not claim.is_lent:
            claim.is_lent = True
            add(node.available, claim.lendable)
            self.needs_placing = True

    def take_back(self, claim: Claim) -> None:
        """End the lending. What is available may fall below zero until others are done."""
        node = self.nodes.get(claim.node_id)
        if node is not None and claim.claim_id in node.claims and claim.is_lent:
            claim.is_lent = False
            subtract(node.available, claim.lendable)

    # -- small look-ups and bookkeeping ------------------------------------------------------------------------

    def owner_named(self, owner_id: bytes) -> Owner:
        """Return the owner's record, made if it is not there: for a process known to live that has not registered."""
        return self.owners.setdefault(owner_id, Owner(owner_id))

    def may_come(self, process_id: bytes) -> bool:
        """Return whether the process is there or about to register, as far as this head can know.

        A head that has settled knows every live process: drivers by their registration, workers since it had them
        started. A head that was started again must wait and see.
        """
        if process_id in self.owners or process_id in self.workers:
            return True
        return not self.is_settled and process_id not in self.gone

    @property
    def knows_all_nodes(self) -> bool:
        """Whether every machine is here of which this head can know: before that, nothing can be said to be missing."""
        return self.has_first_node and not self.awaited_nodes

    def open_nodes(self) -> list[Node]:
        """Return the machines on which something may be started."""
        return [node for node in self.nodes.values() if not node.is_leaving]

    def live_actors(self) -> Iterator[Actor]:
        """Return the actors that are not dead; a list of its own, so they may change meanwhile."""
        return iter([actor for actor in self.actors.values() if actor.state is not ActorState.DEAD])

    def remember_gone(self, process_id: bytes) -> None:
        """Note that a process has ended."""
        self.gone[process_id] = None
        if len(self.gone) > KEPT_GONE_PROCESSES:
            del self.gone[next(iter(self.gone))]

    def bury(self, actor: Actor) -> None:
        """Keep a dead actor's facts and drop its weight (class, arguments); forget the oldest of too many dead."""
        empty = Payload(b"")
        definition = msgspec.structs.replace(actor.spec.definition, payload=empty, sources=())
        actor.spec = msgspec.structs.replace(actor.spec, definition=definition, args=empty, arg_values=(), handle=b"")
        self.dead[actor.actor_id] = None
        if len(self.dead) > KEPT_DEAD_ACTORS:
            oldest = next(iter(self.dead))
            del self.dead[oldest]
            for holder_id in self.actors.pop(oldest).holders:
                self.owners[holder_id].holding.discard(oldest)
