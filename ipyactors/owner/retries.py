"""Tasks: from submission to outcome, through crashes.

A death says which tasks had started (the worker's marks). One that had not runs elsewhere at no cost; one that had
uses up a retry; when none is left, the death becomes the task's error.
"""

from __future__ import annotations

from ipyactors.ground.exceptions import SerializationError
from ipyactors.ground.tracebacks import in_words
from ipyactors.owner import failures, leases, losses, raised, routing, unasked
from ipyactors.owner.calls import CallState, PendingCall, TaskCall
from ipyactors.owner.leases import Lease
from ipyactors.owner.objects import Failure
from ipyactors.owner.out import Out
from ipyactors.owner.state import OwnerState
from ipyactors.owner.watching import watch
from ipyactors.wire.codec import Message
from ipyactors.wire.deaths import describe_death, last_started
from ipyactors.wire.events import EventKind
from ipyactors.wire.head_messages import KillLeasedWorker, LeaseGranted, ReclaimLease
from ipyactors.wire.specs import Death, RemoteError
from ipyactors.wire.worker_messages import CallMethod, CancelCall, NestedCallsLeft, RunTask, ValueKept, ValueTaken


def finish(state: OwnerState, call: PendingCall, failure: Failure | None) -> None:
    """Complete a call that is in no table any more."""
    state.unanswered -= 1
    if call.number:
        state.retriable.remove(call.number)
    if call.unready:
        state.waiting.discard(call)
    if state.rebuilding:
        run = state.rebuilding.get(call.task_id)
        if run is not None and run.call is call:
            del state.rebuilding[call.task_id]
            state.lineage.end_run(run, has_failed=failure is not None)
            if failure is not None:
                # Also what is none of its results, but was to come with one.
                is_argument = any(dep.failure is failure for dep in call.deps)
                for entry in {*run.wanted.values(), *call.entries}:
                    if not entry.done:
                        entry.fail(losses.of_run(failure, call.name, entry, is_argument=is_argument))
    if call.parent is not None:
        siblings = state.children.get(call.parent.task_id)
        if siblings is not None:
            siblings.discard(call)
            if not siblings:
                del state.children[call.parent.task_id]
    if failure is not None:
        if state.is_driver:
            state.unasked.note(call, failure)
        for dep in call.deps:
            unasked.mark_seen(dep)  # if that has failed, this is who is told
    if failure is not None or call.state is not CallState.DONE:
        call.finish(failure)
    if failure is not None:
        state.objects.failures += 1


def on_lease_granted(state: OwnerState, out: Out, message: LeaseGranted, now_s: float) -> None:
    """A worker is ours."""
    lease = leases.on_granted(state.leases, out, message, now_s)
    if lease is not None:
        state.holders[message.worker_id] = lease


def on_reclaim(state: OwnerState, message: ReclaimLease) -> None:
    """Others wait: the lease goes back when its work is done."""
    lease = state.leases.leases.get(message.lease_id)
    if lease is not None:
        lease.reclaimed = True


def on_lease_lost(state: OwnerState, out: Out, lease: Lease, death: Death) -> None:
    """The worker died: decide for each of its tasks."""
    routing.show_last_words(state, out, death)
    leases.drop(state.leases, lease)
    state.leases.streams.pop(lease.worker_id, None)
    state.holders.pop(lease.worker_id, None)
    out.disconnect(lease.worker_id)
    if state.leases.faults is not None and death.faults is not None:
        state.leases.faults.note_done(death.faults)
    last = last_started(death, state.owner_id)
    again: list[TaskCall] = []
    for seq, call in lease.in_flight.items():
        may_have_started = last is None or seq <= last
        if call.cancelled:
            finish(state, call, failures.cancelled(call, started=may_have_started))
        elif not may_have_started:
            again.append(call)
        elif call.may_retry():
            ran_s = state.now_s - call.sent_s
            out.event(EventKind.TASK_RETRY, call, duration_s=ran_s, detail=describe_death(death), by=lease)
            call.take_retry()
            again.append(call)
        else:
            ran_s = state.now_s - call.sent_s
            out.event(EventKind.TASK_FAILED, call, duration_s=ran_s, detail=describe_death(death), by=lease)
            finish(state, call, failures.task_crashed(call, death))
    lease.in_flight = {}
    leases.requeue(state.leases, lease.shape, again)


def on_task_raised(
    state: OwnerState, out: Out, lease: Lease, call: TaskCall, error: RemoteError, retryable: bool
) -> None:
    """The function raised: try again if that was asked for, else it is the outcome."""
    if retryable and call.may_retry():
        out.event(EventKind.TASK_RETRY, call, duration_s=state.now_s - call.sent_s, detail=error.words, by=lease)
        call.take_retry()
        leases.requeue(state.leases, lease.shape, [call])
        return
    out.event(EventKind.TASK_FAILED, call, duration_s=state.now_s - call.sent_s, detail=error.words, by=lease)
    finish(state, call, raised.placed(error, call, retryable=retryable))


def on_value_taken(state: OwnerState, out: Out, peer: bytes, message: ValueTaken) -> None:
    """A task takes something from outside: keep it for its next attempt."""
    holder = state.holders.get(peer)
    call = holder.in_flight.get(message.seq) if isinstance(holder, Lease) else None
    if call is not None and message.index == len(call.values):
        call.values += (message.data,)
    out.to_worker(peer, ValueKept(message.seq, message.index))


def on_nested_calls_left(state: OwnerState, out: Out, peer: bytes, message: NestedCallsLeft) -> None:
    """A call returns, and calls that it has made go on where it ran: it is not over before these are."""
    if message.is_over:
        state.retriable.let_go(peer, message.seq)
        return
    holder = state.holders.get(peer)
    call = holder.in_flight.get(message.seq) if holder is not None else None
    if call is not None and call.number:
        state.retriable.keep(call.number, peer, message.seq)
        watch(state, out, peer)


def on_returned(state: OwnerState, peer: bytes, seqs: tuple[int, ...]) -> None:
    """The worker gave tasks back that wait behind a long one."""
    lease = state.holders.get(peer)
    if not isinstance(lease, Lease):
        return
    lease.stalled = bool(lease.in_flight)
    returned = [lease.in_flight.pop(seq) for seq in seqs if seq in lease.in_flight]
    lease.stalled = bool(lease.in_flight)
    for call in returned:
        if call.cancelled:  # the word to cancel it met it on its way back
            finish(state, call, failures.cancelled(call, started=False))
    leases.requeue(state.leases, lease.shape, [call for call in returned if not call.cancelled])


def on_unsent(state: OwnerState, peer: bytes, message: Message, error: Exception) -> None:
    """A message could not be sent, by a mistake of ours: fail its call, rather than let it wait for ever."""
    holder = state.holders.get(peer)
    if holder is None or not isinstance(message, (RunTask, CallMethod)):
        return
    call = holder.in_flight.pop(message.seq, None)
    if call is None or call.state is CallState.DONE:
        return
    finish(state, call, SerializationError(f"{call.name} could not be sent: {in_words(error)}. It was not run."))
    if isinstance(holder, Lease):
        settle(state, holder, state.now_s)
    else:
        state.ready_actors.add(holder)


def settle(state: OwnerState, lease: Lease, now_s: float) -> None:
    """Note that a lease has room again after an answer."""
    lease.stalled = False
    if not lease.in_flight:
        lease.idle_since_s = now_s
    state.leases.touched.add(lease.shape)


def cancel_task(state: OwnerState, out: Out, call: TaskCall, *, force: bool, recursive: bool) -> None:
    """Cancel a task wherever it is. A forced cancel ends the worker, if this is what the worker is at.

    Its agent decides that, by the worker's marks; the worker itself hears of the cancel in any case. While answers to
    earlier tasks are missing they may be lying in the worker, and would be lost with it.
    """
    call.cancelled = True
    if call.state is not CallState.SENT:
        if call.state is CallState.QUEUED:
            state.leases.touched.add(state.leases.shape_of(call.template))  # perhaps no lease is wanted any more
        finish(state, call, failures.cancelled(call, started=False))
        return
    lease = next((lease for lease in state.leases.leases.values() if lease.in_flight.get(call.seq) is call), None)
    if lease is None:
        return
    if force and next(iter(lease.in_flight)) == call.seq:
        out.to_head(KillLeasedWorker(lease.worker_id, call.seq, f"cancel of {call.name} with force=True"))
    out.to_worker(lease.worker_id, CancelCall(call.seq, recursive))
