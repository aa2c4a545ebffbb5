"""Who is there: machines, drivers and workers, how they come and how they go.

A process that is gone takes with it all that depended on it: its leases, its wishes, its counts on actors, and the
actors it owned that were not detached. Whoever tells the head that a process is gone is its machine's agent (or the
process itself, leaving in good order); the head never guesses.

After a head was started again, agents register with the workers that live and owners with the counts they hold.
Until the first agent has registered, owners' messages wait (see ``reactor.py``). The agent says which processes live;
when all of them have registered too, or have died, or at the latest after ``SETTLE_S``, the head has *settled*: whoever
has not come back is taken for gone. (A session has one machine; with more, the head must learn which to wait for.)
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from ipyactors.head import actors, handles, leases
from ipyactors.head.out import Out
from ipyactors.head.tables import Actor, Ending, Node, Owner, Tables, Worker, WorkerUse
from ipyactors.wire.deaths import describe_death
from ipyactors.wire.events import Event, EventKind
from ipyactors.wire.head_messages import OwnerLost, OwnerRegistered, RegisterOwner, WatchOwner, WorkerLost
from ipyactors.wire.node_messages import DeadWorker, RegisterNode, WorkerDied, WorkerRecord, WorkerStarted
from ipyactors.wire.specs import ActorState, Death, LossReason

#: Above every number that a call can have.
_ANY_SEQ = (1 << 63) - 1

#: How long a head that was started again waits, at most, for processes that live and do not register.
SETTLE_S = 10.0


# -- coming ------------------------------------------------------------------------------------------------------------


def on_register_owner(tables: Tables, out: Out, owner_id: bytes, message: RegisterOwner, now_s: float) -> None:
    """Welcome a driver or a worker's session; a task worker is free from now on. Repeating it is harmless."""
    if owner_id in tables.gone:
        return
    tables.awaited.discard(owner_id)
    owner = tables.owner_named(owner_id)
    is_new = not owner.is_registered
    owner.address, owner.is_driver = message.address, message.is_driver
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
    for worker_id in message.leased if is_new else ():
        if worker_id in tables.unheard:
            out.to_owner(owner_id, WorkerLost(worker_id, tables.unheard[worker_id]))
    if not tables.is_settled:
        owner.leased_before = message.leased
        owner.owned.update(actor.actor_id for actor in tables.live_actors() if actor.owner_id == owner_id)
    worker = tables.workers.get(owner_id)
    if worker is not None:
        worker.address, worker.pid = message.address, message.pid
        if worker.use is WorkerUse.STARTING:
            leases.on_worker_up(tables, out, worker, now_s)


def on_register_node(
    tables: Tables, out: Out, node_id: bytes, message: RegisterNode, now_s: float, wall_s: float
) -> None:
    """Welcome a machine, perhaps with workers from the time of an earlier head. Repeating it is harmless."""
    node = tables.nodes.get(node_id)
    if node is None:
        node = Node(node_id, message.hostname, dict(message.total), dict(message.total))
        tables.nodes[node_id] = node
        tables.events.add(Event(EventKind.NODE_ADDED, wall_s, name=message.hostname, node_id=node_id))
    if not tables.is_settled:
        _await(tables, (*message.drivers, *(record.worker_id for record in message.workers)))
    for record in message.workers:
        if record.worker_id not in tables.workers:
            _adopt(tables, out, node, record, wall_s)
    for dead in message.dead:
        if dead.worker_id not in tables.gone and dead.worker_id not in tables.workers:
            _bury_unheard(tables, out, dead, now_s, wall_s)
    tables.needs_placing = True


def on_worker_started(tables: Tables, node_id: bytes, message: WorkerStarted, wall_s: float) -> None:
    """Learn that the process exists."""
    worker = tables.workers.get(message.worker_id)
    if worker is None or worker.node_id != node_id:
        return
    worker.pid = message.pid
    tables.events.add(_worker_event(tables, EventKind.WORKER_STARTED, worker, wall_s))


def _await(tables: Tables, process_ids: Iterable[bytes]) -> None:
    for process_id in process_ids:
        owner = tables.owners.get(process_id)
        if process_id not in tables.gone and (owner is None or not owner.is_registered):
            tables.awaited.add(process_id)


def _adopt(tables: Tables, out: Out, node: Node, record: WorkerRecord, wall_s: float) -> None:
    """Enter a worker that lived before this head did.

    What a task worker's lease demands is not known here, so nothing is held for it: until its holder drops it, the
    machine may be somewhat overcommitted.
    """
    worker = Worker(record.worker_id, node.node_id, WorkerUse.ADOPTED, pid=record.pid, address=record.address)
    leases.add_worker(tables, node, worker)
    spec = record.actor
    if spec is None:
        return
    known = tables.actors.get(spec.actor_id)
    if known is not None and (known.is_ended or known.worker_id):
        leases.kill_worker(tables, out, worker, "another process hosts this actor, or the actor is dead")
        return
    actor = known or handles.enter(tables, spec, tables.owners.get(spec.owner_id))
    tables.pending.pop(actor.actor_id, None)
    actor.incarnation, actor.worker_id = record.incarnation, record.worker_id
    actor.state = ActorState.ALIVE if record.address else ActorState.STARTING
    worker.use, worker.actor_id = WorkerUse.ACTOR, actor.actor_id
    worker.claim = tables.claim(node, spec.demand)
    handles.adopt_early_holds(tables, actor)
    actors.tell(tables, out, actor)
    if tables.is_settled:
        _end_if_unwanted(tables, out, actor, wall_s)


def _bury_unheard(tables: Tables, out: Out, dead: DeadWorker, now_s: float, wall_s: float) -> None:
    """Act on a death that the head before this one heard of, if it did, without having told everybody."""
    _tell_all(tables, out, dead.worker_id, dead.death)
    spec = dead.actor
    if spec is not None and spec.actor_id not in tables.actors:
        actor = handles.enter(tables, spec, tables.owners.get(spec.owner_id))
        actor.incarnation, actor.state = dead.death.incarnation, ActorState.ALIVE
        handles.adopt_early_holds(tables, actor)
        actors.on_process_died(tables, out, actor, dead.death, now_s, wall_s)
    on_process_gone(tables, out, dead.worker_id, wall_s)


# -- going -------------------------------------------------------------------------------------------------------------


def on_worker_died(tables: Tables, out: Out, node_id: bytes, message: WorkerDied, now_s: float, wall_s: float) -> None:
    """Learn that a worker's process is gone; the report goes to whoever needs it."""
    worker = tables.workers.get(message.worker_id)
    if worker is None:
        # It lived and died while no head looked: only its holder can know that it ever was.
        if tables.head_epoch > 0 and message.worker_id not in tables.gone:
            _tell_all(tables, out, message.worker_id, message.death)
        on_process_gone(tables, out, message.worker_id, wall_s)
    elif worker.node_id == node_id:
        _bury_worker(tables, out, worker, message.death, now_s, wall_s)


def on_process_gone(tables: Tables, out: Out, process_id: bytes, wall_s: float) -> None:
    """End what depended on a process that is gone. Harmless if it never was, or is gone already."""
    if process_id in tables.gone:
        return
    tables.remember_gone(process_id)
    tables.awaited.discard(process_id)
    tables.events.unwatch(process_id)
    for watcher_id in tables.watchers.pop(process_id, ()):
        out.to_owner(watcher_id, OwnerLost(process_id))
    for actor_id in list(tables.early_holds):
        handles.drop_early_hold(tables, actor_id, process_id)
    owner = tables.owners.get(process_id)
    if owner is None:
        return
    leases.end_leases_of(tables, out, owner)
    for actor_id in list(owner.owned):
        _end_orphan(tables, out, actor_id, actors.owner_words(owner), wall_s)
    for actor_id in list(owner.holding):
        actor = tables.actors.get(actor_id)
        if actor is not None:
            handles.drop_holder(tables, out, actor, owner, wall_s)
    del tables.owners[process_id]


def on_watch_owner(tables: Tables, out: Out, watcher: Owner, message: WatchOwner) -> None:
    """Tell the watcher when that process is gone: at once, if it is."""
    if tables.may_come(message.owner_id):
        tables.watchers.setdefault(message.owner_id, set()).add(watcher.owner_id)
    else:
        out.to_owner(watcher.owner_id, OwnerLost(message.owner_id))


def is_to_settle(tables: Tables, now_s: float) -> bool:
    """Return whether a restarted head has waited for long enough: for everybody, or until its limit."""
    has_all = bool(tables.nodes) and not tables.awaited
    return not tables.is_settled and (has_all or now_s >= tables.settle_at_s)


def settle(tables: Tables, out: Out, wall_s: float) -> None:
    """Stop waiting, as a restarted head: whoever has not come back is gone, and what hung on it ends."""
    tables.is_settled = True
    missing = f"{len(tables.awaited)} processes did not come back within {SETTLE_S:g} s" if tables.awaited else ""
    tables.events.add(Event(EventKind.HEAD_RESTARTED, wall_s, incarnation=tables.head_epoch, detail=missing))
    tables.awaited.clear()
    absent = [owner_id for owner_id, owner in tables.owners.items() if not owner.is_registered]
    for owner_id in absent:
        if owner_id not in tables.workers:
            on_process_gone(tables, out, owner_id, wall_s)
    for actor in tables.live_actors():
        _end_if_unwanted(tables, out, actor, wall_s)
    for actor_id, early in tables.early_holds.items():
        for owner_id in early:
            out.to_owner(owner_id, handles.no_such_actor(actor_id))
    tables.early_holds.clear()
    leased = {worker_id for owner in tables.owners.values() for worker_id in owner.leased_before}
    for worker in list(tables.workers.values()):
        if worker.use is WorkerUse.ADOPTED and worker.worker_id not in leased:
            leases.kill_unused(tables, out, worker, "it had been leased to nobody when the control plane ended")
    for owner in tables.owners.values():
        for worker_id in owner.leased_before:
            if worker_id not in tables.workers and worker_id not in tables.gone:
                out.to_owner(owner.owner_id, WorkerLost(worker_id, _unseen(worker_id, owner)))
        owner.leased_before = ()
    tables.unheard.clear()


def _bury_worker(tables: Tables, out: Out, worker: Worker, death: Death, now_s: float, wall_s: float) -> None:
    death = msgspec.structs.replace(
        death, worker_id=worker.worker_id, node_id=worker.node_id, wall_s=death.wall_s or wall_s
    )
    tables.events.add(_worker_event(tables, EventKind.WORKER_DIED, worker, wall_s, describe_death(death)))
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
        _tell_all(tables, out, worker.worker_id, death)
    else:
        for owner_id in worker.leased_before:
            out.to_owner(owner_id, WorkerLost(worker.worker_id, death))
    actor = tables.actors.get(worker.actor_id)
    if actor is not None and actor.worker_id == worker.worker_id:
        actors.on_process_died(tables, out, actor, death, now_s, wall_s)
    on_process_gone(tables, out, worker.worker_id, wall_s)


def _unseen(worker_id: bytes, owner: Owner) -> Death:
    """Return the report on a worker of which no agent knows: whatever the owner had given it may have begun."""
    detail = "no machine knows of it since the control plane was started again"
    return Death(LossReason.EXITED, detail=detail, worker_id=worker_id, started={owner.owner_id: _ANY_SEQ})


def _end_if_unwanted(tables: Tables, out: Out, actor: Actor, wall_s: float) -> None:
    """End an adopted actor that no process of this session owns or holds."""
    if actor.owner_id not in tables.owners:
        _end_orphan(tables, out, actor.actor_id, "the process that created it", wall_s)
    actors.end_if_unheld(tables, out, actor, wall_s)


def _end_orphan(tables: Tables, out: Out, actor_id: bytes, who: str, wall_s: float) -> None:
    """End an actor whose owner is gone, unless it is detached."""
    actor = tables.actors[actor_id]
    if not actor.spec.detached:
        ending = Ending(LossReason.OWNER_DIED, f"{who}, which owned it, is gone")
        actors.end(tables, out, actor, ending, wall_s)


def _tell_all(tables: Tables, out: Out, worker_id: bytes, death: Death) -> None:
    """Tell every owner of a death that concerns one of them, nobody knows which: now, or when it registers."""
    if not tables.is_settled:
        tables.unheard[worker_id] = death
    message = WorkerLost(worker_id, death)
    for owner in tables.owners.values():
        if owner.is_registered:
            out.to_owner(owner.owner_id, message)


def _worker_event(tables: Tables, kind: EventKind, worker: Worker, wall_s: float, detail: str = "") -> Event:
    actor = tables.actors.get(worker.actor_id)
    return Event(
        kind,
        wall_s,
        name=(actor.spec.name or actor.spec.class_name) if actor is not None else "",
        actor_id=worker.actor_id,
        worker_id=worker.worker_id,
        node_id=worker.node_id,
        incarnation=actor.incarnation if actor is not None else 0,
        detail=detail,
    )
