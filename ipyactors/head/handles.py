"""Handles of actors: making the first, finding one by name, and counting them all.

Counts are weighted: a holder is granted one with each handle that reaches it and gives all of them back at once, so
a handle that is still travelling is always counted. An actor that is not detached ends with its last count.

A head that was started again hears of counts when owners register, some of them before it hears of the actor from
an agent; those wait in ``early_holds``. It ends no actor for want of counts before it has settled.
"""

from __future__ import annotations

from ipyactors.head import actors
from ipyactors.head.out import Out
from ipyactors.head.tables import Actor, Owner, Tables
from ipyactors.wire.events import EventKind
from ipyactors.wire.head_messages import (
    ActorChanged,
    CreateActor,
    CreateActorReply,
    GetActor,
    GetActorReply,
    HoldActor,
    KillActor,
    KillNoted,
    LendActor,
    ReleaseActor,
)
from ipyactors.wire.specs import ActorSpec, ActorState, ActorStatus, Death, LossReason


def on_create_actor(tables: Tables, out: Out, owner: Owner, message: CreateActor, wall_s: float) -> None:
    """Accept a new actor, or say why not. Repeating it (after the head restarted) is harmless."""
    spec = message.spec
    known = tables.actors.get(spec.actor_id)
    if known is not None:
        if not known.is_ended:
            known.holders.setdefault(owner.owner_id, 1)
            owner.holding.add(spec.actor_id)
        out.to_owner(owner.owner_id, CreateActorReply(message.request_id, spec.actor_id))
        out.to_owner(owner.owner_id, actors.changed(tables, known))
        return
    holder_of_name = _find(tables, spec.name, spec.namespace)
    if holder_of_name is not None and message.get_if_exists:
        found = holder_of_name.spec
        _grant(holder_of_name, owner)
        out.to_owner(owner.owner_id, CreateActorReply(message.request_id, found.actor_id, existing=found))
        out.to_owner(owner.owner_id, actors.changed(tables, holder_of_name))
        return
    if holder_of_name is not None:
        of_class = holder_of_name.spec.class_name
        out.to_owner(owner.owner_id, CreateActorReply(message.request_id, spec.actor_id, name_holder=of_class))
        return
    actor = enter(tables, spec, owner)
    adopt_early_holds(tables, actor)
    if owner.owner_id not in actor.holders:
        _grant(actor, owner)
    actors.note(tables, actor, EventKind.ACTOR_CREATED, wall_s, count=spec.max_concurrency)
    out.to_owner(owner.owner_id, CreateActorReply(message.request_id, spec.actor_id))
    actors.queue(tables, actor, tables.next_ticket())


def on_get_actor(tables: Tables, out: Out, owner: Owner, message: GetActor) -> None:
    """Answer with the live actor of that name and count one for the sender, or with None."""
    actor = _find(tables, message.name, message.namespace)
    if actor is None:
        out.to_owner(owner.owner_id, GetActorReply(message.request_id))
        return
    _grant(actor, owner)
    status = actors.status_of(tables, actor)
    out.to_owner(owner.owner_id, GetActorReply(message.request_id, actor.spec, status))


def on_hold_actor(tables: Tables, out: Out, owner: Owner, message: HoldActor) -> None:
    """Count one for the sender and tell it how the actor is."""
    _hold(tables, out, owner, message.actor_id)


def on_lend_actor(tables: Tables, out: Out, message: LendActor) -> None:
    """Count one for the borrower and tell it how the actor is. A borrower that is gone needs none."""
    if tables.may_come(message.borrower_id):
        _hold(tables, out, tables.owner_named(message.borrower_id), message.actor_id)


def on_release_actor(tables: Tables, out: Out, owner: Owner, message: ReleaseActor, wall_s: float) -> None:
    """Take counts off. With the last one the actor ends: owners release only when no call is unanswered.

    A borrower's word may overtake its lender's. The count is then below zero until the lender's word makes it good.
    """
    actor = tables.actors.get(message.actor_id)
    if actor is None:
        drop_early_hold(tables, message.actor_id, owner.owner_id)
        return
    if actor.state is ActorState.DEAD:
        drop_holder(tables, out, actor, owner, wall_s)
        return
    left = actor.holders.get(owner.owner_id, 0) - max(0, message.count)
    actor.holders[owner.owner_id] = left
    owner.holding.add(actor.actor_id)
    if left == 0:
        drop_holder(tables, out, actor, owner, wall_s)
    elif left < 0 and tables.is_settled:
        actors.end_if_unheld(tables, out, actor, wall_s)


def on_kill(tables: Tables, out: Out, owner: Owner, message: KillActor, wall_s: float) -> None:
    """End an actor's process; of an unknown actor, or a dead one, the sender is told that it is dead."""
    if message.request_id:
        out.to_owner(owner.owner_id, KillNoted(message.request_id))
    actor = tables.actors.get(message.actor_id)
    if actor is None:
        out.to_owner(owner.owner_id, no_such_actor(message.actor_id))
    elif actor.state is ActorState.DEAD:
        out.to_owner(owner.owner_id, actors.changed(tables, actor))
    else:
        actors.on_kill_actor(tables, out, message, wall_s)


# -- used when members come and go -----------------------------------------------------------------------------------


def enter(tables: Tables, spec: ActorSpec, owner: Owner | None) -> Actor:
    """Enter an actor in the tables, with its name. ``owner`` is who ends it by dying; None if that is not known yet."""
    actor = Actor(spec, owner.owner_id if owner is not None else spec.owner_id)
    tables.actors[actor.actor_id] = actor
    if spec.detached:
        tables.detached.add(actor.actor_id)
    if spec.name:
        tables.names[spec.namespace, spec.name] = actor.actor_id
    for carried_id in actors.carried(spec):
        tables.carriers.setdefault(carried_id, set()).add(actor.actor_id)
    if owner is not None:
        owner.owned.add(actor.actor_id)
    return actor


def add_count(tables: Tables, owner: Owner, actor_id: bytes, count: int) -> None:
    """Take an owner's own word for its count, when it registers with a restarted head.

    What it was lent before it registered is added, since the handle may still be on its way. If it is not, the
    owner is counted once too often and the actor may outlive its last handle; the other mistake would end it early.
    """
    actor = tables.actors.get(actor_id)
    if actor is None:
        early = tables.early_holds.setdefault(actor_id, {})
        early[owner.owner_id] = early.get(owner.owner_id, 0) + count
    elif actor.state is not ActorState.DEAD:
        actor.holders[owner.owner_id] = actor.holders.get(owner.owner_id, 0) + count
        owner.holding.add(actor_id)


def adopt_early_holds(tables: Tables, actor: Actor) -> None:
    """Count those who said that they hold the actor before anybody knew of it."""
    for owner_id, count in tables.early_holds.pop(actor.actor_id, {}).items():
        add_count(tables, tables.owner_named(owner_id), actor.actor_id, count)


def drop_early_hold(tables: Tables, actor_id: bytes, owner_id: bytes) -> None:
    """Forget what an owner said about an actor that is not known yet; harmless if it said nothing."""
    early = tables.early_holds.get(actor_id)
    if early is not None and early.pop(owner_id, None) is not None and not early:
        del tables.early_holds[actor_id]


def drop_holder(tables: Tables, out: Out, actor: Actor, owner: Owner, wall_s: float) -> None:
    """Take the owner off the actor's holders, whatever its count."""
    actor.holders.pop(owner.owner_id, None)
    owner.holding.discard(actor.actor_id)
    if tables.is_settled:
        actors.end_if_unheld(tables, out, actor, wall_s)


def no_such_actor(actor_id: bytes) -> ActorChanged:
    """Return the answer to whoever speaks of an actor that is not known."""
    death = Death(LossReason.EXITED, detail="no such actor in this session")
    return ActorChanged(ActorStatus(actor_id, ActorState.DEAD, death=death))


def _find(tables: Tables, name: str, namespace: str) -> Actor | None:
    actor_id = tables.names.get((namespace, name)) if name else None
    return tables.actors[actor_id] if actor_id is not None else None


def _grant(actor: Actor, owner: Owner) -> None:
    actor.holders[owner.owner_id] = actor.holders.get(owner.owner_id, 0) + 1
    owner.holding.add(actor.actor_id)
    if not actor.holders[owner.owner_id]:  # the lender's word came after the borrower had given it back
        del actor.holders[owner.owner_id]
        owner.holding.discard(actor.actor_id)


def _hold(tables: Tables, out: Out, holder: Owner, actor_id: bytes) -> None:
    actor = tables.actors.get(actor_id)
    if actor is None and not tables.is_settled:
        add_count(tables, holder, actor_id, 1)
        return
    if actor is None:
        out.to_owner(holder.owner_id, no_such_actor(actor_id))
        return
    if actor.state is not ActorState.DEAD:
        _grant(actor, holder)
    out.to_owner(holder.owner_id, actors.changed(tables, actor))
