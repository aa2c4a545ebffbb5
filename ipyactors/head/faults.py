"""Faults that somebody has ordered: kept with the actor that they are for, and handed to each of its processes.

Who orders one is answered when the process concerned knows of it, so that his next call finds it there; if its process
is to end now, when it has ended. Whatever is done is an event, and a death by it says so.
"""

from __future__ import annotations

import signal

import msgspec

from ipyactors.ground import ids
from ipyactors.head.fault_table import NEXT_PROCESS_WITHIN_S, Awaiting, Early
from ipyactors.head.out import Out
from ipyactors.head.tables import Actor, Owner, Tables
from ipyactors.wire.chaos_messages import (
    ArmFaults,
    ChaosActed,
    ChaosNoted,
    ChaosReply,
    ClearFaults,
    DisarmFaults,
    EndNode,
    InjectFault,
    ListFaults,
    OwnerToChaos,
)
from ipyactors.wire.chaos_words import Act, Deed, Moment, Order, Progress, Report, describe, describe_act
from ipyactors.wire.deaths import describe_death
from ipyactors.wire.events import Event, EventKind
from ipyactors.wire.node_messages import DieNow, SignalWorker
from ipyactors.wire.specs import ActorState, Death


def on_message(tables: Tables, out: Out, owner: Owner, message: OwnerToChaos, wall_s: float) -> None:
    """Act on one of this conversation's words. What is asked of a restarted head waits until it knows everybody."""
    if not tables.is_settled and isinstance(message, InjectFault | ListFaults | EndNode):
        tables.faults.postponed.append((owner.owner_id, message))
        return
    match message:
        case InjectFault():
            on_inject(tables, out, owner, message, wall_s)
        case ClearFaults():
            on_clear(tables, out, owner, message)
        case ListFaults():
            on_list(tables, out, owner, message, wall_s)
        case EndNode():
            on_end_node(tables, out, owner, message, wall_s)
        case ChaosNoted():
            _take_progress(tables, out, owner.owner_id, message.progress)
            on_noted(tables, out, message.ticket)
        case ChaosActed():
            for act in message.acts:
                _note_act(tables, act, owner.owner_id)


def on_settled(tables: Tables, out: Out, wall_s: float) -> None:
    """Answer what was asked before everybody was known."""
    postponed, tables.faults.postponed = tables.faults.postponed, []
    for owner_id, message in postponed:
        owner = tables.owners.get(owner_id)
        if owner is not None:
            on_message(tables, out, owner, message, wall_s)


# -- orders ------------------------------------------------------------------------------------------------------------


def on_inject(tables: Tables, out: Out, owner: Owner, message: InjectFault, wall_s: float) -> None:
    """Keep an order, and have the actor's process know of it; or have it done now."""
    order = msgspec.structs.replace(message.order, order_id=tables.faults.next_id())
    reply = ChaosReply(message.request_id, progress=(Progress(order),))
    if not order.actor_id:
        tables.faults.add(order, owner.owner_id)
        out.to_owner(owner.owner_id, reply)
        return
    actor = tables.actors.get(order.actor_id)
    problem = _why_not(tables, actor, order)
    if message.waits and actor is not None and _is_to_come(tables, actor, order):
        tables.faults.early.append(Early(owner.owner_id, message))
        return
    if problem or actor is None:
        out.to_owner(owner.owner_id, ChaosReply(message.request_id, f"{order.subject} {problem}"))
        return
    if order.moment is not Moment.NOW:
        tables.faults.add(order, owner.owner_id)
        _arm(tables, out, actor.worker_id, (Progress(order),), owner, reply)
    elif order.deed in (Deed.KILL, Deed.FREEZE):
        worker = tables.workers[actor.worker_id]
        _note_act(tables, Act(order, 1, wall_s), worker.worker_id)
        ticket = _await(tables, worker.worker_id, owner, reply)
        number = order.signal if order.deed is Deed.KILL else signal.SIGSTOP
        told = 0 if order.is_surely_deadly else ticket  # else its end is awaited
        out.to_node(worker.node_id, SignalWorker(worker.worker_id, number, order.seconds, told))
    else:
        out.to_owner(actor.worker_id, ArmFaults(0, (Progress(order),)))
        _await(tables, actor.worker_id, owner, reply)


def _why_not(tables: Tables, actor: Actor | None, order: Order) -> str:
    """Return why nothing can be done to an actor; empty if it can."""
    if actor is None:
        return "is not known to this session (any more)"
    if actor.is_ended:
        is_dead = actor.state is ActorState.DEAD
        return f"is dead: its process {describe_death(actor.death)}" if is_dead else "is just ending"
    if _is_to_come(tables, actor, order):
        state = {ActorState.PENDING: "waits for resources", ActorState.RESTARTING: "is coming back from a death"}
        return f"{state.get(actor.state, 'is being started')}, and has no process just now"
    return ""


def _is_to_come(tables: Tables, actor: Actor, order: Order) -> bool:
    """Return whether an order is for a process that there is not yet."""
    return order.moment is Moment.NOW and not actor.is_ended and not _is_there(tables, actor.worker_id)


def serve_early(tables: Tables, out: Out, now_s: float, wall_s: float) -> float | None:
    """Do what waited for a process that is there now, or say why it was not done; return the seconds to the next turn.

    None: whenever there is something to do.
    """
    early, tables.faults.early = tables.faults.early, []
    for one in early:
        if one.until_s is None:
            one.until_s = now_s + NEXT_PROCESS_WITHIN_S
        actor, owner = tables.actors.get(one.message.order.actor_id), tables.owners.get(one.owner_id)
        if actor is not None and now_s < one.until_s and _is_to_come(tables, actor, one.message.order):
            tables.faults.early.append(one)
        elif owner is not None:
            on_inject(tables, out, owner, msgspec.structs.replace(one.message, waits=False), wall_s)
    return min((one.until_s - now_s for one in tables.faults.early if one.until_s is not None), default=None)


def _is_there(tables: Tables, worker_id: bytes) -> bool:
    worker, owner = tables.workers.get(worker_id), tables.owners.get(worker_id)
    return worker is not None and bool(worker.pid) and owner is not None and owner.is_registered


def on_clear(tables: Tables, out: Out, owner: Owner, message: ClearFaults) -> None:
    """Forget orders, here and in the processes that have them; also such of which only those know."""
    for one in list(tables.faults.early):
        if message.all or one.message.order.actor_id == message.actor_id:
            tables.faults.early.remove(one)
            words = f"{one.message.order.subject}: the order was cleared"
            out.to_owner(one.owner_id, ChaosReply(one.message.request_id, words))
    cleared = tables.faults.clear(message.actor_id, message.order_ids, is_all=message.all)
    reply = ChaosReply(message.request_id, progress=cleared)
    is_anyones = message.all or bool(message.order_ids)
    concerned = [one for one in tables.live_actors() if is_anyones or one.actor_id == message.actor_id]
    workers = [one.worker_id for one in concerned if _is_there(tables, one.worker_id)]
    for worker_id in workers:
        out.to_owner(worker_id, DisarmFaults(_await(tables, worker_id, owner, reply), message.order_ids))
    if not workers:
        out.to_owner(owner.owner_id, reply)


def on_list(tables: Tables, out: Out, owner: Owner, message: ListFaults, wall_s: float) -> None:
    """Answer what is left when the processes have said how far they are: what they have just done is not left."""
    reply = ChaosReply(message.request_id)
    asked = [
        one.worker_id
        for one in tables.live_actors()
        if (tables.head_epoch or tables.faults.concerns(one.actor_id)) and _is_there(tables, one.worker_id)
    ]
    for worker_id in asked:
        out.to_owner(worker_id, ArmFaults(_await(tables, worker_id, owner, reply, wall_s), ()))
    if not asked:
        out.to_owner(owner.owner_id, ChaosReply(message.request_id, progress=tables.faults.left(wall_s)))


def on_worker_up(tables: Tables, out: Out, worker_id: bytes) -> None:
    """A process has registered: what was ordered since it was started is still to be handed to it.

    To one that lived before this head did it may be new that an order was cleared: it says what it has.
    """
    worker = tables.workers.get(worker_id)
    if worker is None or not worker.actor_id:
        return
    progress = tables.faults.left_for(worker.actor_id)
    if tickets := tables.faults.unheard.pop(worker_id, None):
        for ticket in tickets:
            out.to_owner(worker_id, ArmFaults(ticket, progress))
    elif progress or (tables.head_epoch and tables.faults.has_over):
        out.to_owner(worker_id, ArmFaults(tables.faults.next_id() if tables.head_epoch else 0, progress))


def _take_progress(tables: Tables, out: Out, worker_id: bytes, progress: tuple[Progress, ...]) -> None:
    tables.faults.take_report(progress)
    over = tuple(one.order.order_id for one in progress if tables.faults.is_over(one.order.order_id))
    if over:
        out.to_owner(worker_id, DisarmFaults(0, over))


def _arm(
    tables: Tables, out: Out, worker_id: bytes, progress: tuple[Progress, ...], owner: Owner, reply: ChaosReply
) -> None:
    """Hand orders to a process, if there is one; who gave them is answered when it knows.

    One that was started without them, and has not registered yet, is told when it does.
    """
    if _is_there(tables, worker_id):
        out.to_owner(worker_id, ArmFaults(_await(tables, worker_id, owner, reply), progress))
    elif worker_id in tables.workers:
        ticket = _await(tables, worker_id, owner, reply)
        tables.faults.unheard.setdefault(worker_id, []).append(ticket)
    else:
        out.to_owner(owner.owner_id, reply)


# -- machines ----------------------------------------------------------------------------------------------------------


def on_end_node(tables: Tables, out: Out, owner: Owner, message: EndNode, wall_s: float) -> None:
    """Have a machine end as by a power failure. Not the first one, which is the session's."""
    node = tables.nodes.get(message.node_id)
    if node is None or node.node_id == next(iter(tables.nodes)):
        why = "is not there (any more)" if node is None else "is the session's first one, with which it would end"
        reply = ChaosReply(message.request_id, f"machine {ids.short(message.node_id)} {why}")
        out.to_owner(owner.owner_id, reply)
        return
    order = Order(tables.faults.next_id(), Deed.KILL_NODE, subject=f"machine {ids.short(node.node_id)}")
    node.is_injected = True
    event = Event(
        EventKind.INJECTED, wall_s, name=node.hostname, node_id=node.node_id, detail=describe(order), injected=True
    )
    tables.events.add(event)
    out.to_node(node.node_id, DieNow())
    _await(tables, node.node_id, owner, ChaosReply(message.request_id, progress=(Progress(order),)))


# -- what was done -----------------------------------------------------------------------------------------------------


def on_death(tables: Tables, death: Death, worker_id: bytes) -> Death:
    """Learn from what a process leaves; return the report of its death with what is of interest to others."""
    report = death.faults
    if report is None:
        return death
    for act in report.acts:
        _note_act(tables, act, worker_id)
    tables.faults.take_report(report.progress)
    return msgspec.structs.replace(death, faults=Report((), report.acts))


def on_gone(tables: Tables, out: Out, process_or_node_id: bytes) -> None:
    """Answer who waits for a process or machine that has ended, after all who are concerned were told of that."""
    tables.faults.note_gone(process_or_node_id)
    for ticket in [ticket for ticket, one in tables.faults.awaiting.items() if one.by == process_or_node_id]:
        on_noted(tables, out, ticket)
    tables.faults.drop_owner(process_or_node_id)


def _note_act(tables: Tables, act: Act, worker_id: bytes) -> None:
    if not tables.faults.is_new(act):
        return
    if act.order.deed is Deed.FREEZE:
        tables.faults.note_frozen(worker_id, act)
    worker = tables.workers.get(worker_id)
    actor = tables.actors.get(act.order.actor_id)
    event = Event(
        EventKind.INJECTED,
        act.wall_s,
        name=(actor.spec.name or actor.spec.class_name) if actor is not None else act.order.subject,
        actor_id=act.order.actor_id,
        worker_id=worker_id,
        node_id=worker.node_id if worker is not None else b"",
        incarnation=actor.incarnation if actor is not None else 0,
        detail=describe_act(act),
        injected=True,
    )
    tables.events.add(event)


def _await(tables: Tables, by: bytes, owner: Owner, reply: ChaosReply, lists_at_s: float | None = None) -> int:
    ticket = tables.faults.next_id()
    tables.faults.awaiting[ticket] = Awaiting(by, owner.owner_id, reply, lists_at_s)
    return ticket


def on_noted(tables: Tables, out: Out, ticket: int) -> None:
    """Something is known where it had to be, or done: answer who waits for it, when that is all he waits for."""
    awaiting = tables.faults.awaiting.pop(ticket, None)
    if awaiting is None or any(one.reply is awaiting.reply for one in tables.faults.awaiting.values()):
        return
    reply = awaiting.reply
    if awaiting.lists_at_s is not None:
        reply = msgspec.structs.replace(reply, progress=tables.faults.left(awaiting.lists_at_s))
    out.to_owner(awaiting.owner_id, reply)
