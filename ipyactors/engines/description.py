"""``explain`` in words: what a reference or an actor is doing, or waiting for, and why."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from itertools import islice

from ipyactors.ground.quantities import describe
from ipyactors.owner import unasked
from ipyactors.owner.actors import ActorClient, MethodCall
from ipyactors.owner.calls import CallState, PendingCall, TaskCall
from ipyactors.owner.labels import call_label_of, label_of
from ipyactors.owner.leases import Lease
from ipyactors.owner.objects import Entry, Failure
from ipyactors.owner.ref_words import state_of
from ipyactors.owner.refs import ObjectRef, ObjectRefGenerator
from ipyactors.owner.state import OwnerState
from ipyactors.wire.deaths import describe_death
from ipyactors.wire.head_messages import ClusterReply
from ipyactors.wire.specs import ActorState, ActorStatus, RemoteError, WaitingDemand

#: So many are named of several arguments, and of several tasks of one shape; and of the calls that wait for arguments.
_NAMED = 2
_CALLS_NAMED = 5


def explain(
    state: OwnerState, cluster: ClusterReply, subject: ObjectRef | ObjectRefGenerator | ActorClient, now_s: float
) -> str:
    """Return one or two sentences about ``subject`` at ``now_s`` (monotonic). Call it under the session's lock."""
    if isinstance(subject, ActorClient):
        return _actor(cluster, subject, now_s)
    if isinstance(subject, ObjectRefGenerator):
        return _generator(state, cluster, subject.call, now_s)
    return _entry(state, cluster, subject._entry, now_s)


def waiting(state: OwnerState, cluster: ClusterReply) -> tuple[str, ...]:
    """Return what waits in the cluster, and why; of this process's calls also those that wait for their arguments.

    Call it under the session's lock.
    """
    demands = [f"{_who(state, one)}: {one.reason}" for one in cluster.waiting]
    calls = heapq.nsmallest(_CALLS_NAMED, state.waiting, key=lambda call: call.task_id)
    named = [f"{call_label_of(call)}: {_awaited(state, call)}" for call in calls]
    more = len(state.waiting) - len(named)
    return (*demands, *named, *([f"{more:,} more calls: for their arguments"] if more else ()))


def _who(state: OwnerState, one: WaitingDemand) -> str:
    if one.actor_id:
        return f"actor {one.name}"
    count = "1 task" if one.count == 1 else f"{one.count:,} tasks"
    if one.owner_id != state.owner_id:
        return count
    queued = (call for shape in state.leases.shapes.values() if shape.demand == one.demand for call in shape.queue)
    named = [call_label_of(call) for call in islice(queued, min(_NAMED, one.count))]
    return f"{count} ({_listed(named, one.count)})" if named else count


def _listed(named: Sequence[str], total: int) -> str:
    """Return ``a``, ``a and b`` or ``a, b and 3 more``: the first of so many."""
    more = total - len(named)
    *first, last = (*named, f"{more:,} more") if more else named
    return f"{', '.join(first)} and {last}" if first else last


def _awaited(state: OwnerState, call: PendingCall) -> str:
    """Return ``2 of its arguments: f #2 (runs) and f #3 (waits for a worker)``."""
    missing = list(dict.fromkeys(entry for entry in call.deps if not entry.done))
    named = [f"{label_of(entry)} ({_doing(state, entry)})" for entry in missing[:_NAMED]]
    return f"{call.unready} of its arguments" + (f": {_listed(named, len(missing))}" if named else "")


def _doing(state: OwnerState, entry: Entry) -> str:
    """Return how far an object is; what a worker or an actor was sent first is what it runs."""
    first: PendingCall | None
    for holder in state.holders.values():
        first = next(iter(holder.in_flight.values()), None)
        if first is not None and first is entry.producer:
            return "runs"
    return state_of(entry, says_where=True)


def _entry(state: OwnerState, cluster: ClusterReply, entry: Entry, now_s: float) -> str:
    if entry.done:
        unasked.mark_seen(entry)
        return "It is done: the value is there." if entry.failure is None else _failed(entry.failure)
    if entry.owner_address:
        return "It is owned by another process, and not there yet; ask there."
    call = entry.producer
    lost = "" if entry.stored is None else "Its data is lost. "
    if isinstance(call, PendingCall):
        return lost + _call(state, cluster, call, now_s)
    return f"{lost}Copies are looked for." if lost else "It is on its way."


def _failed(failure: Failure) -> str:
    return f"It failed: {failure.words if isinstance(failure, RemoteError) else failure}"


def _generator(state: OwnerState, cluster: ClusterReply, call: PendingCall, now_s: float) -> str:
    stream = call.stream
    assert stream is not None, "a generator is made with a stream"
    last = stream.waiting[-1] if stream.waiting else None
    if last is not None and last.failure is not None:
        unasked.mark_seen(last)
        return f"Items that have arrived: {stream.received - 1}. {_failed(last.failure)}"
    items = f"Items that have arrived: {stream.received}; not taken: {len(stream.waiting)}."
    return f"{'It is done.' if stream.ended else _call(state, cluster, call, now_s)} {items}"


def _call(state: OwnerState, cluster: ClusterReply, call: PendingCall, now_s: float) -> str:
    attempt = f" This is attempt {call.attempt + 1}." if call.attempt else ""
    if call.state is CallState.WAITING:
        return f"{call.spoken_name} waits for {_awaited(state, call)}.{attempt}"
    if call.state is CallState.WITHDRAWN:
        return f"{call.spoken_name} was cancelled before it was sent; its results will say so in a moment."
    if isinstance(call, MethodCall):
        return _method_call(cluster, call, call.client, now_s) + attempt
    if call.state is CallState.SENT:
        lease = next((lease for lease in state.leases.leases.values() if lease.in_flight.get(call.seq) is call), None)
        return f"{_sent(call, lease, now_s)}{attempt}"
    assert isinstance(call, TaskCall)
    return f"{call.spoken_name} waits for a worker: {_why_waiting(state, cluster, call)}.{attempt}"


def _sent(call: PendingCall, lease: Lease | None, now_s: float) -> str:
    ahead = 0 if lease is None else list(lease.in_flight).index(call.seq)
    where = f"is at a worker, behind {ahead} others" if ahead else f"is running{_silent(call, now_s)}"
    return f"{call.spoken_name} {where}."


def _silent(call: PendingCall, now_s: float) -> str:
    """Return for how long there has been no answer, since what hangs looks as if it ran; nothing of a generator."""
    return "" if call.stream is not None else f"; no answer for {max(0.0, now_s - call.sent_s):.1f} s"


def _why_waiting(state: OwnerState, cluster: ClusterReply, call: TaskCall) -> str:
    template = call.template
    for one in cluster.waiting:
        if one.owner_id == state.owner_id and not one.actor_id and one.demand == template.demand:
            return one.reason
    return f"it needs {describe(template.demand)}, and the head has not said yet where that is"


def _method_call(cluster: ClusterReply, call: MethodCall, client: ActorClient, now_s: float) -> str:
    if call.state is CallState.SENT:
        status = _find(cluster, client)
        if status is not None and status.busy_with:
            return f"{call.spoken_name} is at the actor. There, {status.busy_with}."
        ahead = list(client.in_flight).index(call.seq) if call.seq in client.in_flight else 0
        runs = f"is at the actor and runs{_silent(call, now_s)}"
        where = runs if not ahead else f"is at the actor, behind {ahead} of this process's calls"
        return f"{call.spoken_name} {where}."
    return f"{call.spoken_name} waits for its actor. {_actor(cluster, client, now_s)}"


def _find(cluster: ClusterReply, client: ActorClient) -> ActorStatus | None:
    return next((status for status in cluster.actors if status.actor_id == client.actor_id), None)


def _actor(cluster: ClusterReply, client: ActorClient, now_s: float) -> str:
    status = _find(cluster, client)
    text = _status(client, status)
    running = len(client.in_flight)
    left = client.unanswered - running
    if left or running:
        text += f" Calls of this process: {running} with it, {left} waiting"
        text += f"{_silent(next(iter(client.in_flight.values())), now_s)}." if running else "."
    return text


def _status(client: ActorClient, status: ActorStatus | None) -> str:
    busy_with = "" if status is None else status.busy_with
    return _state(client, status) + (f" Now: {busy_with}." if busy_with else "")


def _state(client: ActorClient, status: ActorStatus | None) -> str:
    state = status.state if status is not None else client.state
    death = (status.death if status is not None else None) or client.death
    restarts = client.restarts_left if status is None else status.restarts_left
    left = "no limit to its restarts" if restarts < 0 else f"{restarts} restarts left"
    match state:
        case ActorState.PENDING:
            why = status.waiting_for if status is not None else client.waiting_for
            return f"Actor {client.label} waits to be placed: {why or 'it was created a moment ago'}."
        case ActorState.STARTING:
            return f"Actor {client.label} is starting: its constructor runs."
        case ActorState.ALIVE:
            incarnation = status.incarnation if status is not None else client.incarnation
            return f"Actor {client.label} is alive (incarnation {incarnation}, {left})."
        case ActorState.RESTARTING:
            why = status.waiting_for if status is not None else client.waiting_for
            waits = f" It waits to be placed: {why}." if why else ""
            return f"Actor {client.label} is restarting ({left}): its process {describe_death(death)}.{waits}"
    if client.unplaceable is not None:
        return f"Actor {client.label} can never be placed: it asks for {describe(client.demand)}."
    return f"Actor {client.label} is dead: its process {describe_death(death)}."
