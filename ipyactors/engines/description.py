"""``explain`` in words: what a reference or an actor is doing, or waiting for, and why."""

from __future__ import annotations

from ipyactors.ground.quantities import describe
from ipyactors.owner import unasked
from ipyactors.owner.actors import ActorClient, MethodCall
from ipyactors.owner.calls import CallState, PendingCall, TaskCall
from ipyactors.owner.leases import Lease
from ipyactors.owner.objects import Entry, Failure
from ipyactors.owner.refs import ObjectRef, ObjectRefGenerator
from ipyactors.owner.state import OwnerState
from ipyactors.wire.deaths import describe_death
from ipyactors.wire.head_messages import ClusterReply
from ipyactors.wire.specs import ActorState, ActorStatus, RemoteError


def explain(state: OwnerState, cluster: ClusterReply, subject: ObjectRef | ObjectRefGenerator | ActorClient) -> str:
    """Return one or two sentences about ``subject``. Call it under the session's lock."""
    if isinstance(subject, ActorClient):
        return _actor(cluster, subject)
    if isinstance(subject, ObjectRefGenerator):
        return _generator(state, cluster, subject.call)
    return _entry(state, cluster, subject._entry)


def _entry(state: OwnerState, cluster: ClusterReply, entry: Entry) -> str:
    if entry.done:
        unasked.mark_seen(entry)
        return "It is done: the value is there." if entry.failure is None else _failed(entry.failure)
    if entry.owner_address:
        return "It is owned by another process, and not there yet; ask there."
    call = entry.producer
    lost = "" if entry.stored is None else "Its data is lost. "
    if isinstance(call, PendingCall):
        return lost + _call(state, cluster, call)
    return f"{lost}Copies are looked for." if lost else "It is on its way."


def _failed(failure: Failure) -> str:
    return f"It failed: {failure.words if isinstance(failure, RemoteError) else failure}"


def _generator(state: OwnerState, cluster: ClusterReply, call: PendingCall) -> str:
    stream = call.stream
    assert stream is not None, "a generator is made with a stream"
    last = stream.waiting[-1].failure if stream.waiting else None
    if last is not None:
        return f"Items that have arrived: {stream.received - 1}. {_failed(last)}"
    items = f"Items that have arrived: {stream.received}; not taken: {len(stream.waiting)}."
    return f"{'It is done.' if stream.ended else _call(state, cluster, call)} {items}"


def _call(state: OwnerState, cluster: ClusterReply, call: PendingCall) -> str:
    attempt = f" This is attempt {call.attempt + 1}." if call.attempt else ""
    if call.state is CallState.WAITING:
        return f"{call.name} waits for {call.unready} of its arguments.{attempt}"
    if isinstance(call, MethodCall):
        return _method_call(cluster, call, call.client) + attempt
    if call.state is CallState.SENT:
        lease = next((lease for lease in state.leases.leases.values() if lease.in_flight.get(call.seq) is call), None)
        return f"{_sent(call, lease)}{attempt}"
    assert isinstance(call, TaskCall)
    return f"{call.name} waits for a worker: {_why_waiting(state, cluster, call)}.{attempt}"


def _sent(call: PendingCall, lease: Lease | None) -> str:
    ahead = 0 if lease is None else list(lease.in_flight).index(call.seq)
    return f"{call.name} is running." if not ahead else f"{call.name} is at a worker, behind {ahead} others."


def _why_waiting(state: OwnerState, cluster: ClusterReply, call: TaskCall) -> str:
    template = call.template
    for waiting in cluster.waiting:
        if waiting.owner_id == state.owner_id and not waiting.actor_id and waiting.demand == template.demand:
            return waiting.reason
    return f"it needs {describe(template.demand)}, and the head has not said yet where that is"


def _method_call(cluster: ClusterReply, call: MethodCall, client: ActorClient) -> str:
    if call.state is CallState.SENT:
        status = _find(cluster, client)
        if status is not None and status.busy_with:
            return f"{call.name} is at the actor. There, {status.busy_with}."
        ahead = list(client.in_flight).index(call.seq) if call.seq in client.in_flight else 0
        where = "is at the actor and runs" if not ahead else f"is at the actor, behind {ahead} of this process's calls"
        return f"{call.name} {where}."
    return f"{call.name} waits for its actor. {_actor(cluster, client)}"


def _find(cluster: ClusterReply, client: ActorClient) -> ActorStatus | None:
    return next((status for status in cluster.actors if status.actor_id == client.actor_id), None)


def _actor(cluster: ClusterReply, client: ActorClient) -> str:
    status = _find(cluster, client)
    text = _status(client, status)
    running = len(client.in_flight)
    waiting = client.unanswered - running
    if waiting or running:
        text += f" Calls of this process: {running} with it, {waiting} waiting."
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
