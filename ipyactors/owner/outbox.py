"""Method calls: in submission order to wherever the actor is, through its deaths.

Calls wait in the actor's outbox until it is alive, so a call made while the actor restarts costs no retry. A death
tells which calls had started. Those that had not are sent again, at no cost and in their order; one that had is
sent again only if ``max_task_retries`` allows. What a durable actor logs is sent until it is answered: the actor itself
knows what it has run, and how often; of its readonly calls, and of the wish for a checkpoint or another class, it keeps
nothing, and they are counted here as any others.
"""

from __future__ import annotations

from typing import Any

from ipyactors.ground import ids
from ipyactors.ground.exceptions import CallAbortedError, CallOutcomeUnknownError
from ipyactors.owner import arguments, constructors, failures, raised, routing
from ipyactors.owner.actors import WINDOW, ActorClient, MethodCall
from ipyactors.owner.calls import CallState, Interruption
from ipyactors.owner.out import Out
from ipyactors.owner.retries import finish
from ipyactors.owner.state import OwnerState
from ipyactors.owner.watching import watch
from ipyactors.wire.deaths import describe_death, last_started
from ipyactors.wire.events import Became, EventKind
from ipyactors.wire.head_messages import ActorChanged, ReleaseActor
from ipyactors.wire.specs import ActorSpec, ActorState, ActorStatus, Death, RemoteError
from ipyactors.wire.worker_messages import CallIdentity, CallMethod, CancelCall, FinishAndExit


def client_of(state: OwnerState, actor_id: bytes) -> ActorClient:
    """Return the client of an actor, made on first use; what the head already said of it is not lost."""
    client = state.actors.get(actor_id)
    if client is None:
        client = state.actors[actor_id] = ActorClient(actor_id)
        client.folder = f"{state.actors_dir}/{actor_id.hex()}"
        client.settling = state.left_settlings.pop(actor_id, client.settling)
    return client


def pump(state: OwnerState, out: Out, client: ActorClient) -> None:
    """Send what may be sent, or fail what can never be."""
    if client.state is ActorState.DEAD:
        _fail_outbox(state, out, client)
    elif client.state is ActorState.ALIVE and not client.exiting:
        while (lacking := _send_ready(state, client, out, state.now_s)) is not None:
            arguments.await_all(state, out, lacking)
    release_if_unused(state, out, client)


def _send_ready(state: OwnerState, client: ActorClient, out: Out, now_s: float) -> MethodCall | None:
    """Send what may be sent; return a call whose turn it is and whose arguments are not there any more."""
    outbox, in_flight, worker_id = client.outbox, client.in_flight, client.worker_id
    incarnation = client.incarnation
    while outbox and len(in_flight) < WINDOW:
        call = outbox[0]
        if call.deps and call.state is CallState.QUEUED and call.lacks_arguments():
            return call
        if call.state is CallState.WAITING:
            break  # calls of one caller start in the order in which it made them
        outbox.popleft()
        if call.state is CallState.DONE:
            continue
        template = call.template
        call.seq = seq = client.next_seq
        client.next_seq = seq + 1
        in_flight[seq] = call
        call.state, call.sent_s = CallState.SENT, now_s
        if call.scope:
            state.scopes.note(worker_id, seq, call.scope)
        out.to_worker(
            worker_id,
            CallMethod(
                seq,
                call.task_id,
                template.method,
                call.args,
                call.arg_values(),
                template.num_returns,
                template.retry_on,
                call.attempt,
                incarnation,
                call.stream.received if call.stream is not None else 0,
                call.stream.until if call.stream is not None else 0,
                template.is_readonly,
                call.expected,
                *(_for_the_log(client, call) if template.is_durable else _if_retried(state, call)),
            ),
        )
        if call.cancelled:  # it had been sent to an incarnation before, which may have put it into the log
            out.to_worker(worker_id, CancelCall(seq))
    if client.finishing and not outbox:
        client.exiting = "__ray_terminate__"  # should it crash before, the next incarnation is told again
        out.to_worker(worker_id, FinishAndExit("told to finish with __ray_terminate__"))
    return None


def _if_retried(state: OwnerState, call: MethodCall) -> tuple[Any, ...]:
    """Return what a plain actor is told of a call that may be sent again, for the calls that it makes."""
    return (False, None, call.number, state.retriable.below()) if call.number else ()


def _for_the_log(client: ActorClient, call: MethodCall) -> tuple[Any, ...]:
    """Return what a durable actor is told besides; see :class:`CallMethod`."""
    template, identity = call.template, call.identity
    if call.attempt:  # it has raised and is to be tried again: the record of it must not answer
        first = identity or CallIdentity(ids.owner_of(call.task_id), call.task_id, call.counter)
        again = first.call_id + call.attempt.to_bytes(4, "big")
        identity = CallIdentity(first.caller_id, again, first.counter, first.digest)
    settled = client.settling.below(call)
    return (
        template.is_persist,
        identity,
        call.counter,
        settled,
        template.key,
        template.max_task_retries,
        call.may_be_known,
    )


def _fail_outbox(state: OwnerState, out: Out, client: ActorClient) -> None:
    waiting = [*client.outbox, *client.late]
    client.outbox.clear()
    client.late.clear()
    for call in waiting:
        if call.state is not CallState.DONE:
            error = client.failure or failures.actor_died_before(client, call, started=False)
            _fail(state, out, call, error, started=False)


def on_creation_failed(state: OwnerState, client: ActorClient, error: Exception) -> None:
    """An argument of the constructor failed: so does every call."""
    client.state = ActorState.DEAD
    client.failure = error
    client.weight = 0  # the head has never heard of it
    state.ready_actors.add(client)


def _fail(state: OwnerState, out: Out, call: MethodCall, error: Exception, *, started: bool | None) -> None:
    became = Became.of(started=started)
    if isinstance(error, CallOutcomeUnknownError):
        became = Became.NOT_KNOWN
    elif isinstance(error, CallAbortedError):
        became = Became.NO_EFFECT
    is_sent = call.state is CallState.SENT and became is not Became.NOT_RUN
    ran_s = state.now_s - call.sent_s if is_sent else 0.0
    out.event(EventKind.CALL_FAILED, call, duration_s=ran_s, detail=str(error).partition("\n")[0], became=became)
    finish(state, call, error)


def on_actor_changed(state: OwnerState, out: Out, message: ActorChanged) -> None:
    """The head tells a step of an actor's life."""
    status = message.status
    routing.show_last_words(state, out, status.death)
    constructors.on_status(state, out, status)
    client = state.actors.get(status.actor_id)
    if client is None:
        return  # let go of, or its handle is still on the way: then the head is asked when it arrives
    if message.unplaceable is not None:
        client.unplaceable, client.demand = message.unplaceable, message.demand
    on_status(state, out, client, status)


def on_found(state: OwnerState, out: Out, spec: ActorSpec, status: ActorStatus | None) -> None:
    """The head granted this process a weight on an actor that it asked for by name; whoever asked makes the handle.

    That handle is counted here, in line with what the head says next of the actor: a client that an earlier handle
    has left behind must not be let go of in between.
    """
    client = client_of(state, spec.actor_id)
    client.weight += 1
    client.handles += 1
    client.class_name, client.name = spec.class_name, spec.name
    if status is not None:
        on_status(state, out, client, status)


def on_status(state: OwnerState, out: Out, client: ActorClient, status: ActorStatus) -> None:
    """Act on how an actor is."""
    was_worker = client.worker_id
    client.take_status(status)
    if status.is_stranded:
        state.stranded.setdefault(client, state.now_s)
    else:
        state.stranded.pop(client, None)
    if status.state in (ActorState.ALIVE, ActorState.RESTARTING, ActorState.DEAD):
        client.creation = None
    if status.state is ActorState.ALIVE:
        if was_worker and was_worker != status.worker_id:
            on_actor_lost(state, out, client, status.death)  # a death whose notice was overtaken
        _arrive(state, out, client, status.worker_id, status.address, status.incarnation)
    elif status.state in (ActorState.RESTARTING, ActorState.DEAD):
        if was_worker:
            on_actor_lost(state, out, client, status.death)
        client.incarnation = status.incarnation
    state.ready_actors.add(client)


def _arrive(state: OwnerState, out: Out, client: ActorClient, worker_id: bytes, address: str, incarnation: int) -> None:
    if client.worker_id == worker_id:
        return
    client.worker_id, client.address, client.incarnation = worker_id, address, incarnation
    client.next_seq = state.left_streams.pop(worker_id, 1)
    client.exiting = ""
    state.holders[worker_id] = client
    out.connect(worker_id, address)


def on_actor_lost(state: OwnerState, out: Out, client: ActorClient, death: Death | None) -> None:
    """Its process is gone: decide for each call that it had."""
    worker_id, client.worker_id = client.worker_id, b""
    state.holders.pop(worker_id, None)
    out.disconnect(worker_id)
    in_flight, client.in_flight = client.in_flight, {}
    is_known = death is not None and death.worker_id == worker_id
    last = last_started(death, state.owner_id) if death is not None and is_known else None
    again: list[MethodCall] = []
    for seq, call in in_flight.items():
        started = None if last is None else seq <= last
        is_logged = call.template.is_durable and not call.template.is_counted
        if client.state is ActorState.DEAD and is_logged:
            _fail(state, out, call, failures.actor_died_before(client, call, started=started), started=started)
        elif is_logged:
            call.unbegun = client.incarnation if started is False and not call.may_be_known else -1
            call.may_be_known = True
            if call.scope:
                state.scopes.note_again(call.task_id, call.scope)
            ran_s = state.now_s - call.sent_s
            ended = Interruption(client.incarnation, state.now_s, ran_s, describe_death(death))
            call.interruptions = (*call.interruptions, ended)
            again.append(call)  # the next incarnation knows it, if this one has
        elif call.cancelled:
            finish(state, call, failures.cancelled(call, started=started is not False))
        elif client.state is ActorState.DEAD:
            _fail(state, out, call, failures.actor_died(client, call, started=started), started=started)
        elif started is False:
            again.append(call)
        elif call.may_retry():
            ran_s = state.now_s - call.sent_s
            out.event(EventKind.CALL_RETRY, call, duration_s=ran_s, detail=describe_death(death))
            call.take_retry()
            again.append(call)
        elif call.template.is_durable:
            _fail(state, out, call, failures.given_up(client, call, death), started=started)
        else:
            _fail(state, out, call, failures.actor_unavailable(client, call, death, started=started), started=started)
    for call in again:
        call.state = CallState.QUEUED
    client.outbox.extendleft(reversed(again))


def note_crashes(state: OwnerState, out: Out, call: MethodCall, crashes: tuple[int, ...]) -> None:
    """Record in which processes a logged call had begun, and was not over when they ended: its answer says so."""
    for one in call.interruptions:
        if one.incarnation in crashes:
            ago_s = state.now_s - one.at_s
            out.event(
                EventKind.CALL_RETRY,
                call,
                duration_s=one.ran_s,
                detail=one.why,
                incarnation=one.incarnation,
                ago_s=ago_s,
            )
            call.interrupted += 1
    call.interruptions = ()


def on_call_raised(
    state: OwnerState, out: Out, client: ActorClient, call: MethodCall, error: RemoteError, retryable: bool
) -> None:
    """The method raised: send the call again if that was asked for, else it is the outcome."""
    if retryable and call.may_retry():
        out.event(EventKind.CALL_RETRY, call, duration_s=state.now_s - call.sent_s, detail=error.words, by=client)
        call.take_retry()
        call.state = CallState.QUEUED
        put_back(client, call)
        return
    ran_s = state.now_s - call.sent_s
    became = Became.NO_EFFECT if error.type_name == CallAbortedError.__name__ else Became.NOT_KNOWN
    out.event(EventKind.CALL_FAILED, call, duration_s=ran_s, detail=error.words, by=client, became=became)
    finish(state, call, raised.placed(error, call, retryable=retryable))


def cancel_call(state: OwnerState, out: Out, call: MethodCall, *, recursive: bool) -> None:
    """Cancel a method call wherever it is; one that runs in a sync actor only learns of the wish."""
    call.cancelled = True
    if call.state is CallState.SENT:
        out.to_worker(call.client.worker_id, CancelCall(call.seq, recursive))
    elif not call.may_be_known:  # else the next incarnation says what became of it
        finish(state, call, failures.cancelled(call, started=False))
        state.ready_actors.add(call.client)


def put_back(client: ActorClient, call: MethodCall) -> None:
    """Put a call back into the outbox, in the order in which the calls were made."""
    earlier: list[MethodCall] = []
    while client.outbox and client.outbox[0].task_id < call.task_id:
        earlier.append(client.outbox.popleft())
    client.outbox.appendleft(call)
    client.outbox.extendleft(reversed(earlier))


def count_handle(state: OwnerState, client: ActorClient, change: int) -> None:
    """Count a handle object up or down; without any, the actor may not be needed here any more."""
    client.handles += change
    if client.is_unused:
        state.ready_actors.add(client)


def release_if_unused(state: OwnerState, out: Out, client: ActorClient) -> None:
    """Give the weight back when nothing here needs the actor any more."""
    if client.is_unused and state.actors.get(client.actor_id) is client:
        del state.actors[client.actor_id]
        state.stranded.pop(client, None)
        if client.worker_id:
            state.holders.pop(client.worker_id, None)
            state.left_streams[client.worker_id] = client.next_seq
            watch(state, out, client.worker_id)  # its connection stays until it is gone
        if not client.settling.is_over:
            state.left_settlings[client.actor_id] = client.settling
        if client.weight:
            out.to_head(ReleaseActor(client.actor_id, client.weight))
            client.weight = 0
