"""Durable actors: what they had of others passes on to their next process; what their workers say of themselves."""

from __future__ import annotations

import msgspec

from ipyactors.head import actors
from ipyactors.head.out import Out
from ipyactors.head.tables import Actor, Owner, Tables
from ipyactors.wire.events import EventKind
from ipyactors.wire.head_messages import ActorProgressed, ActorUpgraded, CheckpointMade
from ipyactors.wire.specs import ActorState


def keep_for_the_next(tables: Tables, actor: Actor, process_id: bytes) -> None:
    """A durable actor's process died, and another follows: what that had of other actors, the next will have again.

    Until it is ready nobody else may hold them, and they must not end for that; nor may those that it had created.
    """
    owner = tables.owners.get(process_id)
    if owner is None or actor.state is not ActorState.RESTARTING or actor.spec.durability is None:
        return
    for actor_id in owner.holding | owner.owned:
        actor.kept.add(actor_id)
        tables.carriers.setdefault(actor_id, set()).add(actor.actor_id)
    actor.created |= owner.owned
    owner.owned.clear()


def hand_over(tables: Tables, out: Out, actor: Actor, wall_s: float) -> None:
    """The next process is ready, and holds what it needs; what it does not hold ends, if nobody else does."""
    kept, created = actor.kept, actor.created
    actor.kept, actor.created = set(), set()
    owner = tables.owners.get(actor.worker_id)
    for actor_id in created:
        child = tables.actors.get(actor_id)
        if owner is not None and child is not None:
            child.owner_id = owner.owner_id
            owner.owned.add(actor_id)
    for actor_id in kept - actors.carried(actor.spec):
        actors.carry_no_longer(tables, out, actor_id, actor.actor_id, wall_s)


def on_progressed(tables: Tables, owner: Owner, message: ActorProgressed) -> None:
    """Learn that the present incarnation has ended a call: its deaths so far were not for nothing."""
    actor = actors.speaking(tables, owner, message.actor_id)
    if actor is not None and message.incarnation == actor.incarnation:
        actor.fruitless_s.clear()


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
