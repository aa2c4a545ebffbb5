"""The owner's decisions: one function per fact, dispatched by the type of the message.

Everything here runs under the session's lock and does no I/O; what is to happen goes through ``out``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ipyactors.ground import ids
from ipyactors.ground.exceptions import IpyactorsError
from ipyactors.owner import (
    arguments,
    borrowing,
    deadlock,
    failures,
    late,
    leases,
    loans,
    orphans,
    outbox,
    rebuild,
    retries,
    routing,
    runs,
    stranded,
)
from ipyactors.owner.actors import ActorClient, MethodCall
from ipyactors.owner.calls import CallState, PendingCall, TaskCall
from ipyactors.owner.leases import Lease
from ipyactors.owner.objects import Entry
from ipyactors.owner.out import Out
from ipyactors.owner.state import OwnerState
from ipyactors.wire.census_messages import CensusReply
from ipyactors.wire.chaos_messages import ChaosReply
from ipyactors.wire.durable_messages import ConfirmReadyReply
from ipyactors.wire.events import Became, EventKind
from ipyactors.wire.head_messages import (
    ActorChanged,
    ClusterReply,
    CreateActorReply,
    GetActorReply,
    KillNoted,
    LeaseGranted,
    LeaseLost,
    OwnerLost,
    OwnerRegistered,
    ReclaimLease,
    ReleaseActor,
    SettleLends,
    ShapeUnplaceable,
    WorkerLost,
)
from ipyactors.wire.kv_messages import KvReply
from ipyactors.wire.store_messages import ClaimObjects, CopiesFound, ForgetSegments, NodeLost
from ipyactors.wire.worker_messages import (
    ActorExiting,
    ActorHasChanged,
    ArgumentsMissing,
    CallCancelled,
    CallRaised,
    CallsReturned,
    CallSucceeded,
    CancelObject,
    DisplayWritten,
    FetchObject,
    ItemYielded,
    LendObject,
    LendsSettled,
    NestedCallsLeft,
    ObjectFailed,
    ObjectReady,
    OutputWritten,
    ProbeObjects,
    ReleaseObject,
    ReportMissing,
    ValueTaken,
)


def submit(state: OwnerState, out: Out, call: PendingCall) -> None:
    """Take a call that user code has made; it may wait for its arguments first."""
    arguments.submit(state, out, call)


def settle(state: OwnerState, out: Out, now_s: float) -> None:
    """Act on what the messages of this turn have made possible; the last step of every turn."""
    if state.objects.newcomers:
        state.objects.newcomers.clear()
    if state.overdue:
        runs.settle(state, out)
    if state.leases.stranded or state.stranded:
        stranded.warn(state, out, now_s)
    if state.unasked.gone or state.unasked.count_at_s is not None:
        state.unasked.tell(out, now_s)
    _dispatch(state, out, now_s)
    if state.leases.announced.gone:
        leases.forget_definitions(state.leases, out)
    while state.ready_actors:
        outbox.pump(state, out, state.ready_actors.pop())
    if not state.leases.leases:
        return
    for lease in leases.expired(state.leases, now_s):
        state.holders.pop(lease.worker_id, None)
        leases.give_back(state.leases, lease, out)
    _dispatch(state, out, now_s)


def _dispatch(state: OwnerState, out: Out, now_s: float) -> None:
    table = state.leases
    while table.touched:
        leases.dispatch(table, table.touched.pop(), out, now_s)
        while table.lacking:
            arguments.await_all(state, out, table.lacking.pop())


def cancel(state: OwnerState, out: Out, entry: Entry, *, force: bool, recursive: bool) -> None:
    """Cancel what makes an object; nothing happens when it is done."""
    if entry.done:
        return
    entry = loans.heir_of(entry)
    if isinstance(entry.producer, PendingCall):
        cancel_call(state, out, entry.producer, force=force, recursive=recursive)
    elif entry.owner_address:
        borrowing.fetch(state, out, entry)
        out.to_owner(ids.owner_of(entry.object_id), CancelObject(entry.object_id, force, recursive))
    else:
        rebuild.cancel(state, entry)


def cancel_call(state: OwnerState, out: Out, call: PendingCall, *, force: bool, recursive: bool) -> None:
    """Cancel a call of this process."""
    if call.state is CallState.DONE:
        return
    if isinstance(call, TaskCall):
        retries.cancel_task(state, out, call, force=force, recursive=recursive)
    elif isinstance(call, MethodCall):
        outbox.cancel_call(state, out, call, recursive=recursive)


def on_closed(state: OwnerState, error: Exception) -> None:
    """This process leaves its session: whatever is not done never will be."""
    calls: list[PendingCall] = []
    for holder in state.holders.values():
        calls += holder.in_flight.values()
        holder.in_flight = {}
    for shape in state.leases.by_id.values():
        calls += shape.queue
        shape.queue.clear()
    for client in state.actors.values():
        calls += client.outbox
        client.outbox.clear()
    for call in calls:
        if call.state is not CallState.DONE:
            retries.finish(state, call, error)  # and with it, what waits for its results
    for entry in list(state.objects.fetching.values()):
        entry.fail(error)
    state.objects.fetching.clear()
    rebuild.on_closed(state, error)


# -- from workers ----------------------------------------------------------------------------------------------


def on_succeeded(state: OwnerState, out: Out, peer: bytes, message: CallSucceeded, now_s: float) -> None:
    """The hot path: a call returned."""
    has_stored = False
    for payload in message.results:
        if payload.refs or payload.actor_ids:
            out.receive(peer, payload)  # also of a call that is not known any more: its sender has counted it
        if payload.stored is not None:
            has_stored = True
    holder = state.holders.get(peer)
    if has_stored:
        if holder is None or message.seq not in holder.in_flight:
            late.take(state, out, message.results)
            return
        for payload in message.results:
            out.own(payload)
    if isinstance(holder, ActorClient):
        call = holder.in_flight.pop(message.seq, None)
        if call is not None:
            call.version = message.version
            if message.crashes:
                outbox.note_crashes(state, out, call, message.crashes)
            _complete(state, out, call, message)
            out.event(EventKind.CALL_ATTEMPT, call, duration_s=message.duration_s, by=holder)
            if holder.outbox or not holder.in_flight:
                state.ready_actors.add(holder)
    elif holder is not None:
        task = holder.in_flight.pop(message.seq, None)
        if task is not None:
            _complete(state, out, task, message)
            out.event(EventKind.TASK_ATTEMPT, task, duration_s=message.duration_s, by=holder)
            state.leases.note_duration(task.template.definition.definition_id, message.duration_s)
            retries.settle(state, holder, now_s)


def _complete(state: OwnerState, out: Out, call: PendingCall, message: CallSucceeded) -> None:
    failure = None
    run = state.rebuilding.get(call.task_id) if state.rebuilding else None
    if run is not None and run.call is call:
        failure = runs.on_made(state, out, run, message)
    else:
        results = message.results
        call.finish(None, results, state.lineage.made_by(call, results, state.objects.newcomers))
    retries.finish(state, call, failure)


def on_raised(state: OwnerState, out: Out, peer: bytes, message: CallRaised, now_s: float) -> None:
    """A call raised."""
    if message.error.payload is not None and message.error.payload.names_any:
        out.receive(peer, message.error.payload)
    holder = state.holders.get(peer)
    if isinstance(holder, ActorClient):
        call = holder.in_flight.pop(message.seq, None)
        if call is not None:
            outbox.note_crashes(state, out, call, message.crashes)
            outbox.on_call_raised(state, out, holder, call, message.error, message.retryable)
            state.ready_actors.add(holder)
    elif holder is not None:
        task = holder.in_flight.pop(message.seq, None)
        if task is not None:
            retries.on_task_raised(state, out, holder, task, message.error, message.retryable)
            retries.settle(state, holder, now_s)


def on_cancelled(state: OwnerState, out: Out, peer: bytes, message: CallCancelled, now_s: float) -> None:
    """A call was cancelled."""
    holder = state.holders.get(peer)
    call = holder.in_flight.pop(message.seq, None) if holder is not None else None
    if holder is None or call is None:
        return
    kind = EventKind.TASK_FAILED if isinstance(holder, Lease) else EventKind.CALL_FAILED
    out.event(kind, call, detail="cancelled", became=Became.of(started=message.started))
    retries.finish(state, call, failures.cancelled(call, started=message.started))
    if isinstance(holder, Lease):
        retries.settle(state, holder, now_s)
    else:
        state.ready_actors.add(holder)


def on_item(state: OwnerState, out: Out, peer: bytes, message: ItemYielded, _now_s: float) -> None:
    """A generator made an item."""
    if message.payload.names_any:
        out.receive(peer, message.payload)
    holder = state.holders.get(peer)
    call = holder.in_flight.get(message.seq) if holder is not None else None
    if call is None or call.stream is None:
        late.take(state, out, (message.payload,))
        return
    if isinstance(call, MethodCall):
        call.version = message.version
    run = state.rebuilding.get(call.task_id) if state.rebuilding else None
    if run is not None and run.call is call:
        out.own(message.payload)
        runs.on_item(state, out, run, message)
        return
    item = call.stream.add(message.index, message.payload)
    if item is not None:
        out.own(message.payload)
        state.lineage.note_item(call, item, state.objects.newcomers)
    else:
        late.take(state, out, (message.payload,))


def on_exiting(state: OwnerState, _out: Out, peer: bytes, message: ActorExiting, _now_s: float) -> None:
    """An actor ends on purpose: send it nothing more; the head will say the rest."""
    holder = state.holders.get(peer)
    if isinstance(holder, ActorClient):
        holder.exiting = message.detail or "exit_actor()"


def on_unhandled(state: OwnerState, peer: bytes, message: Any, error: Exception) -> None:
    """A message could not be handled, by a mistake of ours: fail its call, rather than let it wait for ever."""
    holder = state.holders.get(peer)
    call = holder.in_flight.pop(getattr(message, "seq", 0), None) if holder is not None else None
    if call is not None and call.state is not CallState.DONE:
        retries.finish(state, call, IpyactorsError(f"the answer to {call.name} could not be handled: {error!r}"))


# -- from the head ---------------------------------------------------------------------------------------------


def on_registered(state: OwnerState, _out: Out, _peer: bytes, message: OwnerRegistered, _now_s: float) -> None:
    """The head knows this process."""
    state.head_epoch = message.head_epoch


def on_lease_lost(state: OwnerState, out: Out, _peer: bytes, message: LeaseLost, _now_s: float) -> None:
    """A leased worker died."""
    lease = state.leases.leases.get(message.lease_id)
    if lease is not None:
        retries.on_lease_lost(state, out, lease, message.death)


def on_worker_lost(state: OwnerState, out: Out, _peer: bytes, message: WorkerLost, _now_s: float) -> None:
    """A worker died that the head does not connect with a lease or an actor."""
    holder = state.holders.get(message.worker_id)
    if isinstance(holder, Lease):
        retries.on_lease_lost(state, out, holder, message.death)
    elif isinstance(holder, ActorClient):
        return  # ActorChanged follows and says what becomes of it
    else:
        routing.show_last_words(state, out, message.death)
        state.leases.streams.pop(message.worker_id, None)
        out.disconnect(message.worker_id)


def on_node_lost(state: OwnerState, out: Out, _peer: bytes, message: NodeLost, _now_s: float) -> None:
    """A machine is gone: what was freed there lately is removed wherever it may be, unless it is made again."""
    forgotten = tuple(one for one in state.freed.lose(message.node_id) if one not in state.lineage.entries)
    if forgotten:
        out.to_head(ForgetSegments(forgotten))
    stranded.on_node_lost(state)
    rebuild.on_node_lost(state, out, message)


def on_kill_noted(state: OwnerState, _out: Out, _peer: bytes, message: KillNoted, _now_s: float) -> None:
    """Forget a request that has no other answer."""
    state.requests.pop(message.request_id, None)


#: What the head answers to a request that somebody waits for.
Reply = CreateActorReply | GetActorReply | ClusterReply | ConfirmReadyReply | CensusReply | KvReply | ChaosReply


def on_reply(state: OwnerState, out: Out, _peer: bytes, message: Reply, _now_s: float) -> None:
    """The head answers a request; what it grants to one that nobody waits for any more goes back at once."""
    is_awaited = message.request_id in state.requests
    spec, status = None, None
    if isinstance(message, CreateActorReply):
        spec = message.existing
    elif isinstance(message, GetActorReply):
        spec, status = message.spec, message.status
    if spec is not None and is_awaited:
        outbox.on_found(state, out, spec, status)
    elif spec is not None:
        out.to_head(ReleaseActor(spec.actor_id, 1))
    if is_awaited:
        del state.requests[message.request_id]
        state.replies[message.request_id] = message


# -- from other owners -----------------------------------------------------------------------------------------


def on_cancel_object(state: OwnerState, out: Out, _peer: bytes, message: CancelObject, _now_s: float) -> None:
    """A borrower wishes to cancel."""
    entry = loans.find(state, message.object_id)
    if entry is not None:
        cancel(state, out, entry, force=message.force, recursive=message.recursive)


Handler = Callable[[OwnerState, Out, bytes, Any, float], None]

HANDLERS: dict[type, Handler] = {
    CallSucceeded: on_succeeded,
    CallRaised: on_raised,
    CallCancelled: on_cancelled,
    CallsReturned: lambda state, _out, peer, message, _now_s: retries.on_returned(state, peer, message.seqs),
    NestedCallsLeft: lambda state, out, peer, message, _now_s: retries.on_nested_calls_left(state, out, peer, message),
    ActorHasChanged: rebuild.on_actor_has_changed,
    ItemYielded: on_item,
    OutputWritten: routing.on_written,
    DisplayWritten: routing.on_written,
    ValueTaken: lambda state, out, peer, message, _now_s: retries.on_value_taken(state, out, peer, message),
    ActorExiting: on_exiting,
    OwnerRegistered: on_registered,
    LeaseGranted: lambda state, out, _peer, message, now_s: retries.on_lease_granted(state, out, message, now_s),
    LeaseLost: on_lease_lost,
    WorkerLost: on_worker_lost,
    ReclaimLease: lambda state, _out, _peer, message, _now_s: retries.on_reclaim(state, message),
    ShapeUnplaceable: lambda state, out, _peer, message, _now_s: stranded.on_unplaceable(state, out, message),
    ActorChanged: lambda state, out, _peer, message, _now_s: outbox.on_actor_changed(state, out, message),
    CreateActorReply: on_reply,
    GetActorReply: on_reply,
    ClusterReply: on_reply,
    ConfirmReadyReply: on_reply,
    CensusReply: on_reply,
    KvReply: on_reply,
    ChaosReply: on_reply,
    KillNoted: on_kill_noted,
    OwnerLost: lambda state, out, _peer, message, _now_s: orphans.on_owner_lost(state, out, message),
    ClaimObjects: lambda state, out, _peer, message, _now_s: orphans.on_claim_objects(state, out, message),
    ObjectReady: lambda state, out, peer, message, _now_s: borrowing.on_ready(state, out, peer, message),
    ObjectFailed: lambda state, out, peer, message, _now_s: borrowing.on_failed(state, out, peer, message),
    FetchObject: lambda state, out, peer, message, _now_s: borrowing.on_fetch(state, out, peer, message),
    CancelObject: on_cancel_object,
    ProbeObjects: lambda state, out, _peer, message, _now_s: deadlock.on_probe_objects(state, out, message),
    ReportMissing: lambda state, out, peer, message, _now_s: rebuild.on_report_missing(state, out, peer, message),
    ArgumentsMissing: rebuild.on_arguments_missing,
    CopiesFound: lambda state, out, _peer, message, _now_s: rebuild.on_copies_found(state, out, message),
    NodeLost: on_node_lost,
    LendObject: lambda state, out, peer, message, _now_s: loans.on_lend(state, out, peer, message),
    ReleaseObject: lambda state, out, peer, message, _now_s: loans.on_release(state, out, peer, message),
    SettleLends: lambda state, out, _peer, message, _now_s: loans.on_settle_lends(state, out, message),
    LendsSettled: lambda state, out, peer, message, _now_s: loans.on_lends_settled(state, out, peer, message),
}
