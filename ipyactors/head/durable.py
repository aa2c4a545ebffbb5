"""Durable actors: what they had of others passes on to their next process; what their workers say of themselves."""

from __future__ import annotations

import msgspec

from ipyactors.head import actors
from ipyactors.head.out import Out
from ipyactors.head.tables import Actor, Owner, Tables
from ipyactors.wire.durable_messages import ActorBusy, ActorCaughtUp, ActorProgressed, ActorUpgraded, CheckpointMade
from ipyactors.wire.events import EventKind
from ipyactors.wire.specs import ActorState


def keep_for_the_next(tables: Tables, actor: Actor, process_id: bytes) -> None:
    """A durable actor's process died, and another follows: what that had of other actors, the next will have again.

    Until that has caught up nobody else may hold them, and they must not end for that; nor may what it had created.
    """
    owner = tables.owners.get(process_id)
    if owner is None or actor.state is not ActorState.RESTARTING or actor.spec.durability is None:
        return
    for actor_id in owner.holding | owner.owned:
        _keep(tables, actor, actor_id)
    actor.created |= owner.owned
    owner.owned.clear()


def _keep(tables: Tables, actor: Actor, actor_id: bytes) -> None:
    actor.kept.add(actor_id)
    tables.carriers.setdefault(actor_id, set()).add(actor.actor_id)


def hand_over_created(tables: Tables, actor: Actor) -> None:
    """The next process is ready: what those before it had created is its own, and ends with it."""
    owner = tables.owners.get(actor.worker_id)
    if owner is None:
        return
    created, actor.created = actor.created, set()
    for actor_id in created:
        child = tables.actors.get(actor_id)
        if child is not None and child.state is not ActorState.DEAD:
            child.owner_id = owner.owner_id
            owner.owned.add(actor_id)


def on_caught_up(tables: Tables, out: Out, owner: Owner, message: ActorCaughtUp, wall_s: float) -> None:
    """The next process has run again what was interrupted: what it does not hold ends, if nobody else does."""
    actor = actors.speaking(tables, owner, message.actor_id)
    if actor is None or message.incarnation != actor.incarnation:
        return
    actor.is_caught_up = True
    kept, actor.kept = actor.kept, set()
    for actor_id in kept - actors.carried(actor.spec):
        actors.carry_no_longer(tables, out, actor_id, actor.actor_id, wall_s)


def is_created_by_one(tables: Tables, actor: Actor) -> bool:
    """Return whether a durable actor that comes back has created the actor, which is its next process's then."""
    creator = tables.actors.get(actor.spec.creator_id)
    return creator is not None and actor.actor_id in creator.created


def adopt_all(tables: Tables) -> None:
    """As a head that was started again: give durable actors what they have created, and keep what they may need.

    What the processes before theirs have held nobody knows any more: it may be whatever nobody else holds.
    """
    for actor in tables.live_actors():
        creator = tables.actors.get(actor.spec.creator_id)
        if actor.owner_id not in tables.owners and creator is not None and not creator.is_ended:
            creator.created.add(actor.actor_id)
    for actor in tables.live_actors():
        if actor.spec.durability is None:
            continue
        if actor.state is ActorState.ALIVE:
            hand_over_created(tables, actor)
        if not actor.is_caught_up:
            for other in tables.live_actors():
                if other is not actor:
                    _keep(tables, actor, other.actor_id)


def on_progressed(tables: Tables, owner: Owner, message: ActorProgressed) -> None:
    """Learn that the present incarnation has ended a call: its deaths so far were not for nothing."""
    actor = actors.speaking(tables, owner, message.actor_id)
    if actor is not None and message.incarnation == actor.incarnation:
        actor.fruitless_s.clear()


def on_busy(tables: Tables, owner: Owner, message: ActorBusy) -> None:
    """Learn what the present incarnation is at, for who asks."""
    actor = actors.speaking(tables, owner, message.actor_id)
    if actor is not None and message.incarnation == actor.incarnation:
        actor.busy_with = message.busy_with


def on_checkpoint_made(tables: Tables, owner: Owner, message: CheckpointMade, wall_s: float) -> None:
    """Note a checkpoint for people."""
    actor = actors.speaking(tables, owner, message.actor_id)
    if actor is not None and message.incarnation == actor.incarnation:
        detail, duration_s = message.detail, message.duration_s
        actors.note(tables, actor, EventKind.CHECKPOINT_MADE, wall_s, detail=detail, duration_s=duration_s)


def on_upgraded(tables: Tables, owner: Owner, message: ActorUpgraded, wall_s: float) -> None:
    """Keep the class that the actor runs now, for its next incarnations and for who asks for it by name."""
    actor = actors.speaking(tables, owner, message.actor_id)
    if actor is None or message.incarnation != actor.incarnation:
        return
    actor.spec = msgspec.structs.replace(actor.spec, definition=message.definition, handle=message.handle)
    for carried_id in actors.carried(actor.spec):
        tables.carriers.setdefault(carried_id, set()).add(actor.actor_id)
    actors.note(tables, actor, EventKind.ACTOR_UPGRADED, wall_s, detail=f"to {message.definition.name}")
