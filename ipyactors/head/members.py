"""Who is there: drivers and workers, how they come and how they go.

A process that is gone takes with it all that depended on it: its leases, its wishes, its counts on actors, and the
actors it owned that were not detached. Whoever tells the head that a process is gone is its machine's agent (or the
process itself, leaving in good order); the head never guesses.

After a head was started again, owners register with the counts they hold; what they say may precede what a machine
says (see ``settling.py``).
"""

from __future__ import annotations

import msgspec

from ipyactors.head import actors, claims, copies, durable, faults, handles, leases
from ipyactors.head.out import Out
from ipyactors.head.tables import Actor, Owner, Tables, Worker, WorkerUse
from ipyactors.wire.deaths import describe_death, without_words
from ipyactors.wire.events import Event, EventKind
from ipyactors.wire.head_messages import (
    AskBorrower,
    OwnerLost,
    OwnerRegistered,
    RegisterOwner,
    SettleLends,
    WatchOwner,
    WorkerLost,
)
from ipyactors.wire.node_messages import WorkerDied, WorkerStarted
from ipyactors.wire.specs import Death
from ipyactors.wire.store_messages import NodeLost

# -- coming ------------------------------------------------------------------------------------------------------------


def on_register_owner(tables: Tables, out: Out, owner_id: bytes, message: RegisterOwner, now_s: float) -> None:
    """Welcome a driver or a worker's session; a task worker is free from now on. Repeating it is harmless."""
    if owner_id in tables.gone:
        return
    tables.awaited.discard(owner_id)
    owner = tables.owner_named(owner_id)
    is_new = not owner.is_registered
    owner.address, owner.is_driver, owner.node_id = message.address, message.is_driver, message.node_id
    owner.pid = message.pid
    out.to_owner(owner_id, OwnerRegistered(tables.head_epoch))
    for actor_id, count in message.held.items() if is_new else ():
        if count <= 0:
            continue
        if tables.is_settled and actor_id not in tables.actors:
            out.to_owner(owner_id, handles.no_such_actor(actor_id))
            continue
        handles.add_count(tables, owner, actor_id, count)
        if actor_id in tables.actors:
            out.to_owner(owner_id, actors.changed(tables, tables.actors[actor_id]))
    for node_id, lost in tables.lost_nodes.items() if is_new and tables.head_epoch else ():
        # It may have been lost when there was no head, or when this process could not be told.
        out.to_owner(owner_id, NodeLost(node_id, lost.detail))
    for worker_id in message.leased if is_new else ():
        if worker_id in tables.unheard:
            out.to_owner(owner_id, WorkerLost(worker_id, tables.unheard[worker_id]))
    if not tables.is_settled:
        owner.leased_before = message.leased
        owner.owned.update(actor.actor_id for actor in tables.live_actors() if actor.owner_id == owner_id)
    worker = tables.workers.get(owner_id)
    faults.on_worker_up(tables, out, owner_id)
    if worker is not None:
        worker.address, worker.pid = message.address, message.pid
        if worker.use is WorkerUse.STARTING and not worker.is_ending:
            leases.on_worker_up(tables, out, worker, now_s)


def on_worker_started(tables: Tables, node_id: bytes, message: WorkerStarted, wall_s: float) -> None:
    """Learn that the process exists."""
    worker = tables.workers.get(message.worker_id)
    if worker is None or worker.node_id != node_id:
        return
    worker.pid = message.pid
    tables.events.add(_worker_event(tables, EventKind.WORKER_STARTED, worker, wall_s))


# -- going -------------------------------------------------------------------------------------------------------------


def on_worker_died(tables: Tables, out: Out, node_id: bytes, message: WorkerDied, now_s: float, wall_s: float) -> None:
    """Learn that a worker's process is gone; the report goes to whoever needs it."""
    worker = tables.workers.get(message.worker_id)
    if worker is None:
        # It lived and died while no head looked: only its holder can know that it ever was.
        if tables.head_epoch > 0 and message.worker_id not in tables.gone:
            tell_all(tables, out, message.worker_id, message.death)
        on_process_gone(tables, out, message.worker_id, wall_s)
    elif worker.node_id == node_id:
        bury_worker(tables, out, worker, message.death, now_s, wall_s)


def on_process_gone(tables: Tables, out: Out, process_id: bytes, wall_s: float) -> None:
    """End what depended on a process that is gone. Harmless if it never was, or is gone already."""
    if process_id in tables.gone:
        return
    tables.remember_gone(process_id)
    tables.awaited.discard(process_id)
    tables.events.unwatch(process_id)
    tables.faults.drop_owner(process_id)
    for watcher_id in tables.watchers.pop(process_id, ()):
        out.to_owner(watcher_id, OwnerLost(process_id))
    copies.on_owner_gone(tables, process_id)
    claims.on_owner_gone(tables, out, process_id)
    for actor_id in list(tables.early_holds):
        handles.drop_early_hold(tables, actor_id, process_id)
    owner = tables.owners.get(process_id)
    if owner is None:
        return
    leases.end_leases_of(tables, out, owner)
    for actor_id in list(owner.owned):
        actors.end_orphan(tables, out, actor_id, actors.owner_words(owner), wall_s)
    for actor_id in list(owner.holding):
        actor = tables.actors.get(actor_id)
        if actor is not None:
            handles.drop_holder(tables, out, actor, owner, wall_s)
    del tables.owners[process_id]


def on_ask_borrower(tables: Tables, out: Out, asker: Owner, message: AskBorrower) -> None:
    """Pass an owner's question on; of a borrower that is gone it hears otherwise."""
    borrower = tables.owners.get(message.borrower_id)
    if borrower is not None and borrower.is_registered:
        out.to_owner(borrower.owner_id, SettleLends(message.lender_id, asker.owner_id, message.address))


def on_watch_owner(tables: Tables, out: Out, watcher: Owner, message: WatchOwner) -> None:
    """Tell the watcher when that process is gone: at once, if it is."""
    if tables.may_come(message.owner_id):
        tables.watchers.setdefault(message.owner_id, set()).add(watcher.owner_id)
    else:
        out.to_owner(watcher.owner_id, OwnerLost(message.owner_id))


def bury_worker(tables: Tables, out: Out, worker: Worker, death: Death, now_s: float, wall_s: float) -> None:
    """Act on the death of a worker that is in the tables."""
    death = faults.on_death(tables, death, worker.worker_id)
    death = msgspec.structs.replace(
        death, worker_id=worker.worker_id, node_id=worker.node_id, wall_s=death.wall_s or wall_s
    )
    tables.events.add(_worker_event(tables, EventKind.WORKER_DIED, worker, wall_s, death))
    node = tables.nodes.get(worker.node_id)
    if node is not None:
        node.workers.discard(worker.worker_id)
        node.idle.pop(worker.worker_id, None)
        if worker.worker_id in node.starting:
            node.starting.discard(worker.worker_id)
            leases.on_start_failed(tables, node, describe_death(death), now_s)
    leases.lose_lease(tables, out, worker, death)
    if worker.claim is not None:
        tables.release(worker.claim)
    del tables.workers[worker.worker_id]
    if worker.use is WorkerUse.ADOPTED:
        tell_all(tables, out, worker.worker_id, death)
    else:
        for owner_id in worker.leased_before:
            out.to_owner(owner_id, WorkerLost(worker.worker_id, death))
    actor = tables.actors.get(worker.actor_id)
    if actor is not None and actor.worker_id == worker.worker_id:
        actors.on_process_died(tables, out, actor, death, now_s, wall_s)
        if actor.death is not None:
            actor.death = without_words(actor.death)
        durable.keep_for_the_next(tables, actor, worker.worker_id)
    on_process_gone(tables, out, worker.worker_id, wall_s)
    faults.on_gone(tables, out, worker.worker_id)


def end_if_unwanted(tables: Tables, out: Out, actor: Actor, wall_s: float) -> None:
    """End an adopted actor that no process of this session owns or holds."""
    if actor.owner_id not in tables.owners and not durable.is_created_by_one(tables, actor):
        actors.end_orphan(tables, out, actor.actor_id, "the process that created it", wall_s)
    actors.end_if_unheld(tables, out, actor, wall_s)


def tell_all(tables: Tables, out: Out, worker_id: bytes, death: Death) -> None:
    """Tell every owner of a death that concerns one of them, nobody knows which: now, or when it registers."""
    if not tables.is_settled:
        tables.unheard[worker_id] = death
    message = WorkerLost(worker_id, death)
    for owner in tables.owners.values():
        if owner.is_registered:
            out.to_owner(owner.owner_id, message)


def _worker_event(tables: Tables, kind: EventKind, worker: Worker, wall_s: float, death: Death | None = None) -> Event:
    actor = tables.actors.get(worker.actor_id)
    return Event(
        kind,
        wall_s,
        name=(actor.spec.name or actor.spec.class_name) if actor is not None else "",
        actor_id=worker.actor_id,
        worker_id=worker.worker_id,
        node_id=worker.node_id,
        incarnation=actor.incarnation if actor is not None else 0,
        detail=describe_death(death) if death is not None else "",
        injected=death is not None and death.injected,
    )
