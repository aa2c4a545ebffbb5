"""What the workers of durable actors say of their checkpoints, their progress, their classes."""

from __future__ import annotations

import msgspec

from ipyactors.head import actors
from ipyactors.head.tables import Owner, Tables
from ipyactors.wire.events import EventKind
from ipyactors.wire.head_messages import ActorProgressed, ActorUpgraded, CheckpointMade


def on_progressed(tables: Tables, owner: Owner, message: ActorProgressed) -> None:
    """Learn that the present incarnation has ended a call: its deaths so far were not for nothing."""
    actor = actors.speaking(tables, owner, message.actor_id)
    if actor is not None and message.incarnation == actor.incarnation:
        actor.fruitless_s.clear()


def on_checkpoint_made(tables: Tables, owner: Owner, message: CheckpointMade, wall_s: float) -> None:
    """Note a checkpoint for people."""
    actor = actors.speaking(tables, owner, message.actor_id)
    if actor is not None:
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
