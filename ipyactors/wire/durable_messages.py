"""A durable actor's worker to the head: what has become of the actor. Part of what owners say."""

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


DurableToHead = ActorProgressed | ActorBusy | ActorCaughtUp | CheckpointMade | ActorUpgraded
