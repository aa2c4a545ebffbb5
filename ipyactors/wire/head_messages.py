"""Owner and head: who is there, who may use which worker, what becomes of actors.

The head is never on the path of a call. Requests that are about a level ("I want three leases") carry the level
and not a change, so that repeating one after the head restarted is harmless.
"""

from __future__ import annotations

import msgspec

from ipyactors.ground.quantities import Units
from ipyactors.wire.durable_messages import DurableToHead, DurableToOwner
from ipyactors.wire.events import Event
from ipyactors.wire.specs import ActorSpec, ActorStatus, Death, NodeStatus, RemoteError, WaitingDemand


class _Word(msgspec.Struct, array_like=True, tag=True):
    """Base of this file's messages."""


# -- owner to head ---------------------------------------------------------------------------------------------


class RegisterOwner(_Word):
    """I am here, and I listen at ``address``. A worker's session registers too, with its worker id.

    ``held`` maps the actors that I hold handles of to my count, ``leased`` are the workers that I have; both matter
    after the head restarted. ``node_id`` is the machine that I am on.
    """

    address: str
    is_driver: bool
    pid: int
    held: dict[bytes, int] = {}
    leased: tuple[bytes, ...] = ()
    node_id: bytes = b""


class OwnerLeaving(_Word):
    """I am going away in good order: end my actors, take back my leases."""


class WantLeases(_Word):
    """I have work for ``count`` more workers of this shape (0 takes the wish back). Replaces the earlier wish.

    A shape is one demand on resources; ``shape_id`` is chosen by the owner. ``prefer`` is the machine that has most of
    what the work needs, if any: it is chosen where it has room. A wish that fits no machine is refused, unless it
    ``waits`` for one that may join.
    """

    shape_id: int
    demand: Units
    count: int
    name: str = ""
    prefer: bytes = b""
    waits: bool = False


class ReturnLease(_Word):
    """I no longer need the worker; it is idle as far as I know."""

    lease_id: int


class KillLeasedWorker(_Word):
    """End the worker that I have leased, by force, if it is at my call ``seq``; if it is not, nothing follows.

    It names the worker, not the lease: of a lease that the head before granted, this one knows nothing.
    """

    worker_id: bytes
    seq: int
    detail: str


class WorkerBlocked(_Word):
    """Sent by a worker's session: the code I run waits for others; lend my CPUs meanwhile."""


class WorkerUnblocked(_Word):
    """Sent by a worker's session: the code I run goes on."""


class CreateActor(_Word):
    """Build this actor. Answered by :class:`CreateActorReply`; its life is then told by :class:`ActorChanged`.

    The sender starts with one count on the actor. With ``get_if_exists``, an actor of that name is returned instead.
    """

    request_id: int
    spec: ActorSpec
    get_if_exists: bool = False


class GetActor(_Word):
    """Look a name up. Answered by :class:`GetActorReply`, which grants one count when it is found."""

    request_id: int
    name: str
    namespace: str


class HoldActor(_Word):
    """I made a handle without having been lent one (unpickled from a file, say): count me, and tell me of changes."""

    actor_id: bytes


class LendActor(_Word):
    """I am sending a handle to ``borrower_id``: count one more for it, before it even knows."""

    actor_id: bytes
    borrower_id: bytes


class ReleaseActor(_Word):
    """My last handle went: take ``count`` off (everything that I was granted or lent so far)."""

    actor_id: bytes
    count: int


class KillActor(_Word):
    """End the actor's process now; ``no_restart`` makes that final.

    With a ``request_id`` the head answers ``KillNoted``.
    """

    actor_id: bytes
    no_restart: bool = True
    detail: str = ""
    request_id: int = 0


class ActorReady(_Word):
    """Sent by an actor's worker: the constructor returned, calls may come to my address.

    A durable actor that has come back says with ``recovered`` from where, in words, how many seconds its replay took,
    and how many calls were ``replayed``.
    """

    actor_id: bytes
    incarnation: int
    recovered: str = ""
    duration_s: float = 0.0
    replayed: int = 0


class ActorInitFailed(_Word):
    """Sent by an actor's worker: the constructor raised, or its state cannot be brought back. Final."""

    actor_id: bytes
    incarnation: int
    error: RemoteError
    is_recovery: bool = False


class ActorExited(_Word):
    """Sent by an actor's worker just before it ends on purpose (``exit_actor()``, or told to finish)."""

    actor_id: bytes
    incarnation: int
    detail: str


class WatchOwner(_Word):
    """I hold references to objects of ``owner_id``: tell me with :class:`OwnerLost` when it dies, or if it has."""

    owner_id: bytes


class OwnsObjects(_Word):
    """Sent by a worker's session: whether others hold references to objects of mine (a level, not a change).

    While they do, the worker is not ended for being idle, and if it dies, all are asked what they claim.
    """

    owns: bool = True


class AskBorrower(_Word):
    """Have ``borrower_id`` tell me, at ``address``, what came to it of what the lender, now gone, lent it of mine."""

    borrower_id: bytes
    lender_id: bytes
    address: str


class DescribeCluster(_Word):
    """Tell me about nodes, actors and what waits. Answered by :class:`ClusterReply`."""

    request_id: int


class WatchEvents(_Word):
    """Report events to me from now on (drivers)."""


class DropWorker(_Word):
    """End this worker: I had leased it from a head that is gone, and am done with it.

    The lease cannot be returned, because the head that was started since does not know it.
    """

    worker_id: bytes


OwnerToHead = (
    RegisterOwner
    | OwnerLeaving
    | WantLeases
    | ReturnLease
    | KillLeasedWorker
    | WorkerBlocked
    | WorkerUnblocked
    | CreateActor
    | GetActor
    | HoldActor
    | LendActor
    | ReleaseActor
    | KillActor
    | ActorReady
    | DurableToHead
    | ActorInitFailed
    | ActorExited
    | WatchOwner
    | OwnsObjects
    | AskBorrower
    | DescribeCluster
    | WatchEvents
    | DropWorker
)


# -- head to owner ---------------------------------------------------------------------------------------------


class OwnerRegistered(_Word):
    """Welcome. ``head_epoch`` rises by one each time the head is started again."""

    head_epoch: int


class LeaseGranted(_Word):
    """The worker is yours until you return it, or it dies. One wish of the shape is thereby fulfilled."""

    lease_id: int
    shape_id: int
    worker_id: bytes
    address: str
    node_id: bytes = b""


class LeaseLost(_Word):
    """The worker of this lease died."""

    lease_id: int
    worker_id: bytes
    death: Death


class ReclaimLease(_Word):
    """Others wait: send no more work to this worker and return it when what it has is done."""

    lease_id: int


class ShapeUnplaceable(_Word):
    """No node could hold this demand, and the wish is dropped.

    ``existing`` is all that the node has that comes nearest.
    """

    shape_id: int
    demand: Units
    existing: Units


class OwnerLost(_Word):
    """The process that owned these objects is gone; ``detail`` says how it ended. Their data may be left in stores."""

    owner_id: bytes
    detail: str = ""


class SettleLends(_Word):
    """Once you know that the lender is gone, tell the owner, at ``address``, with :class:`LendsSettled`."""

    lender_id: bytes
    owner_id: bytes
    address: str


class CreateActorReply(_Word):
    """The actor was accepted; or ``existing`` was found by its name; or one of class ``name_holder`` has that name."""

    request_id: int
    actor_id: bytes
    name_holder: str = ""
    existing: ActorSpec | None = None


class GetActorReply(_Word):
    """The actor of that name, or None; ``status`` comes with it."""

    request_id: int
    spec: ActorSpec | None = None
    status: ActorStatus | None = None


class ActorChanged(_Word):
    """Sent to everyone who holds a handle, at each step of the actor's life, and at once to a new holder.

    ``unplaceable`` is set, with what exists, when the actor is dead because nothing could ever hold it.
    """

    status: ActorStatus
    unplaceable: Units | None = None
    demand: Units = {}


class ClusterReply(_Word):
    """The cluster at this moment."""

    request_id: int
    nodes: tuple[NodeStatus, ...]
    actors: tuple[ActorStatus, ...]
    waiting: tuple[WaitingDemand, ...] = ()


class EventsReported(_Word):
    """What happened since the last report."""

    events: tuple[Event, ...]


class WorkerLost(_Word):
    """A worker died that was leased by a head that is gone; sent to every owner, for only its holder knows."""

    worker_id: bytes
    death: Death


class KillNoted(_Word):
    """The head has acted on ``KillActor``; it need not be said again to another head."""

    request_id: int


HeadToOwner = (
    OwnerRegistered
    | LeaseGranted
    | LeaseLost
    | ReclaimLease
    | ShapeUnplaceable
    | OwnerLost
    | SettleLends
    | CreateActorReply
    | GetActorReply
    | ActorChanged
    | ClusterReply
    | EventsReported
    | WorkerLost
    | KillNoted
    | DurableToOwner
)
