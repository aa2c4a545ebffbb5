"""Machines: how they join, how they leave, and what becomes of things when one is lost.

The first machine's agent started this head, and the head ends with it. A further machine is *lost* when its agent's
process has ended, however it did, and the workers that it had with it: the shell watches for that (``watching.py``).
Its workers are dead then, and nobody can say which of their calls had begun; what its store held is gone. Every owner
and every other store is told. The head takes no other sign for the loss of a machine: a slow one is waited for.

A machine can also be asked to *leave*. Nothing is started on it from then on, leases are asked back, and when the last
task there is done its agent is told to go. What else is on it (actors above all) ends as with a loss.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from ipyactors.ground import ids
from ipyactors.head import actors, copies, faults, handles, leases, members
from ipyactors.head.machine import LostNode, Node
from ipyactors.head.out import Out
from ipyactors.head.tables import KEPT_LOST_NODES, Tables, Worker, WorkerUse
from ipyactors.wire.chaos_words import Deed, Order, describe
from ipyactors.wire.events import Event, EventKind
from ipyactors.wire.head_messages import ReclaimLease
from ipyactors.wire.node_messages import (
    DeadWorker,
    LeaveSession,
    NodeRecord,
    NodeRegistered,
    RegisterNode,
    WorkerRecord,
)
from ipyactors.wire.specs import ActorState, Death, LossReason, NodeStatus
from ipyactors.wire.store_messages import NodeLost

# -- coming ------------------------------------------------------------------------------------------------------------


def on_register_node(
    tables: Tables, out: Out, node_id: bytes, message: RegisterNode, now_s: float, wall_s: float
) -> None:
    """Welcome a machine, perhaps with workers from the time of an earlier head. Repeating it is harmless."""
    if node_id in tables.gone:
        out.to_node(node_id, LeaveSession())  # it was given up for lost, and everybody told so
        return
    node = tables.nodes.get(node_id)
    if node is None:
        node = Node(node_id, message.hostname, dict(message.total), dict(message.total))
        # The first machine stays the first: drivers live there, and between equals it is chosen.
        tables.nodes = {**tables.nodes, node_id: node} if message.joins else {node_id: node, **tables.nodes}
        tables.events.add(Event(EventKind.NODE_ADDED, wall_s, name=message.hostname, node_id=node_id))
        for lost_id, lost in tables.lost_nodes.items() if tables.head_epoch else ():
            out.to_node(node_id, NodeLost(lost_id, lost.detail))
    node.address, node.pid, node.store_limit_bytes = message.address, message.pid, message.store_limit_bytes
    tables.awaited_nodes.discard(node_id)
    if message.joins:
        out.to_node(node_id, NodeRegistered(tables.head_epoch))
        if message.pid:
            out.watch_agent(node_id, message.pid)
    else:
        tables.has_first_node = True
        tables.is_detached_told = message.holds_detached
        if message.killed_head and not tables.is_settled:
            tables.faults.killed_head = True
            text = describe(Order(0, Deed.KILL_HEAD))
            tables.events.add(
                Event(EventKind.INJECTED, wall_s, name="head", node_id=node_id, detail=text, injected=True)
            )
        for record in message.nodes:
            _await_node(tables, out, record, now_s, wall_s)
    if not tables.is_settled:
        _await(tables, (*message.drivers, *(record.worker_id for record in message.workers)))
    for worker in message.workers:
        if worker.worker_id not in tables.workers:
            _adopt(tables, out, node, worker, wall_s)
    for dead in message.dead:
        if dead.worker_id not in tables.gone and dead.worker_id not in tables.workers:
            _bury_unheard(tables, out, dead, now_s, wall_s)
    tables.needs_placing = True


def _await_node(tables: Tables, out: Out, record: NodeRecord, now_s: float, wall_s: float) -> None:
    """Expect a machine of which the first one knows, unless it is here, or gone."""
    if record.node_id in tables.nodes or record.node_id in tables.gone:
        return
    if not record.pid:
        on_agent_gone(tables, out, record.node_id, now_s, wall_s)
    elif not tables.is_settled:
        tables.awaited_nodes.add(record.node_id)
        out.watch_agent(record.node_id, record.pid)


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
    actor.is_adopted = True
    worker.use, worker.actor_id = WorkerUse.ACTOR, actor.actor_id
    worker.claim = tables.claim(node, spec.demand)
    handles.adopt_early_holds(tables, actor)
    actors.tell(tables, out, actor)
    if tables.is_settled:
        members.end_if_unwanted(tables, out, actor, wall_s)


def _bury_unheard(tables: Tables, out: Out, dead: DeadWorker, now_s: float, wall_s: float) -> None:
    """Act on a death that the head before this one heard of, if it did, without having told everybody."""
    death = faults.on_death(tables, dead.death, dead.worker_id)
    members.tell_all(tables, out, dead.worker_id, death)
    spec = dead.actor
    if spec is not None and spec.actor_id not in tables.actors:
        actor = handles.enter(tables, spec, tables.owners.get(spec.owner_id))
        actor.incarnation, actor.state = dead.death.incarnation, ActorState.ALIVE
        handles.adopt_early_holds(tables, actor)
        actors.on_process_died(tables, out, actor, death, now_s, wall_s)
    members.on_process_gone(tables, out, dead.worker_id, wall_s)


# -- leaving -----------------------------------------------------------------------------------------------------------


def on_node_leaving(tables: Tables, out: Out, node: Node) -> None:
    """Start nothing more there, and ask all leases back. Repeating it is harmless."""
    if node.is_leaving:
        return
    node.is_leaving = True
    leases.undo_unbound_on(tables, node)
    for worker_id in node.workers:
        worker = tables.workers[worker_id]
        lease = tables.leases.get(worker.lease_id)
        if worker.use is WorkerUse.STARTING:
            leases.kill_worker(tables, out, worker, "its machine is to leave the session")
        elif lease is not None and not lease.is_reclaimed and not lease.is_orphaned:
            lease.is_reclaimed = True
            out.to_owner(lease.owner_id, ReclaimLease(lease.lease_id))
    tables.needs_placing = True


def dismiss_leaving(tables: Tables, out: Out) -> None:
    """Tell the agents of machines that are to leave, and on which no task runs any more, to go."""
    for node in tables.nodes.values():
        if node.is_leaving and not node.is_dismissed and not any(_is_at_work(tables, one) for one in node.workers):
            node.is_dismissed = True
            out.to_node(node.node_id, LeaveSession())


def _is_at_work(tables: Tables, worker_id: bytes) -> bool:
    """Return whether a task runs there, or one that has ended there waits for tasks that it had started."""
    if tables.workers[worker_id].use in (WorkerUse.LEASED, WorkerUse.ADOPTED):
        return True
    owner = tables.owners.get(worker_id)
    is_idle = tables.workers[worker_id].use is WorkerUse.IDLE
    return is_idle and owner is not None and bool(owner.leases or owner.shapes)


# -- lost --------------------------------------------------------------------------------------------------------------


def workers_of(tables: Tables, node_id: bytes) -> dict[bytes, int]:
    """Return the pids of a machine's workers, as far as they are known, by worker id."""
    node = tables.nodes.get(node_id)
    workers = [tables.workers[worker_id] for worker_id in node.workers] if node is not None else []
    return {worker.worker_id: worker.pid for worker in workers if worker.pid}


def on_agent_gone(tables: Tables, out: Out, node_id: bytes, now_s: float, wall_s: float) -> None:
    """A machine is lost, as the end of its agent and its workers says. Harmless if it is known already."""
    if node_id in tables.gone:
        return
    tables.remember_gone(node_id)
    tables.awaited_nodes.discard(node_id)
    node = tables.nodes.get(node_id)
    detail = _describe_loss(node_id, node)
    hostname = node.hostname if node is not None else ""
    lost_event = Event(EventKind.NODE_LOST, wall_s, name=hostname, node_id=node_id, detail=detail)
    tables.events.add(msgspec.structs.replace(lost_event, injected=node is not None and node.is_injected))
    _remember_lost(tables, node_id, node, detail)
    lost = NodeLost(node_id, detail)
    for owner in tables.owners.values():
        worker = tables.workers.get(owner.owner_id)
        if owner.is_registered and node_id not in (owner.node_id, worker.node_id if worker is not None else b""):
            out.to_owner(owner.owner_id, lost)
    for other_id in tables.nodes:
        if other_id != node_id:
            out.to_node(other_id, lost)
    if node is not None:
        _bury_node(tables, out, node, detail, now_s, wall_s)
    copies.on_node_lost(tables, out, node_id)
    faults.on_gone(tables, out, node_id)


def _bury_node(tables: Tables, out: Out, node: Node, detail: str, now_s: float, wall_s: float) -> None:
    leases.undo_unbound_on(tables, node)
    death = Death(LossReason.NODE_LOST, detail=detail, wall_s=wall_s, injected=node.is_injected)
    for worker_id in list(node.workers):
        members.bury_worker(tables, out, tables.workers[worker_id], death, now_s, wall_s)
    for owner in list(tables.owners.values()):
        if owner.node_id == node.node_id:  # a driver
            members.on_process_gone(tables, out, owner.owner_id, wall_s)
    del tables.nodes[node.node_id]
    tables.needs_placing = True


def _describe_loss(node_id: bytes, node: Node | None) -> str:
    name = f"machine {ids.short(node_id)}"
    if node is None:
        return f"{name} was not there any more when the control plane had been started again"
    if node.is_dismissed:
        return f"{name} left the session, as it was told to"
    injected = ", injected" if node.is_injected else ""
    return f"the agent of {name} on host {node.hostname}, process {node.pid}, ended{injected}"


def _remember_lost(tables: Tables, node_id: bytes, node: Node | None, detail: str) -> None:
    hostname, address, pid = (node.hostname, node.address, node.pid) if node is not None else ("", "", 0)
    status = NodeStatus(node_id, hostname, {}, {}, is_alive=False, address=address, pid=pid)
    tables.lost_nodes[node_id] = LostNode(status, detail)
    if len(tables.lost_nodes) > KEPT_LOST_NODES:
        del tables.lost_nodes[next(iter(tables.lost_nodes))]
