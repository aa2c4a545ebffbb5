"""A durable actor's worker to the head: what has become of the actor. Part of what owners say, and hear."""

from __future__ import annotations

import msgspec

from ipyactors.wire.specs import Definition


class _Word(msgspec.Struct, array_like=True, tag=True):
    """Base of this file's messages."""


class ActorProgressed(_Word):
    """Sent by a durable actor's worker: this incarnation has ended its first call."""

    actor_id: bytes
    incarnation: int


class ActorBusy(_Word):
    """Sent by a durable actor's worker: what it is at for long, in words for people; empty: that is over."""

    actor_id: bytes
    incarnation: int
    busy_with: str


class ActorCaughtUp(_Word):
    """Sent by a durable actor's worker, to each head: whatever a crash had interrupted has been run again.

    From here on the actor needs no handle that its process does not have.
    """

    actor_id: bytes
    incarnation: int


class ConfirmReady(_Word):
    """Sent by a durable actor's worker: this incarnation is ready; let me know that you know that, and all said before.

    Sent before it runs what has ended a process. A process that ends may take along what it has just said, and a head
    that has not heard that the actor was back would count its death as that of one that cannot come back. Answered by
    :class:`ConfirmReadyReply`.
    """

    request_id: int
    actor_id: bytes
    incarnation: int


class CheckpointMade(_Word):
    """Sent by a durable actor's worker; ``detail`` is for people."""

    actor_id: bytes
    incarnation: int
    checkpoint_id: str
    lsn: int
    duration_s: float
    detail: str


class ActorUpgraded(_Word):
    """Sent by a durable actor's worker: it runs another class from now on; ``handle`` describes that to callers."""

    actor_id: bytes
    incarnation: int
    definition: Definition
    handle: bytes


class ConfirmReadyReply(_Word):
    """The head knows it, also of a death that it hears of after this."""

    request_id: int


DurableToHead = ActorProgressed | ActorBusy | ActorCaughtUp | ConfirmReady | CheckpointMade | ActorUpgraded
DurableToOwner = ConfirmReadyReply
