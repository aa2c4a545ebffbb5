"""Calls without an answer on their way into a checkpoint and out of it; see :mod:`ipyactors.durable.carried`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ipyactors.durable.carried import CarriedCall
from ipyactors.owner.actors import ActorClient, MethodCall
from ipyactors.owner.calls import CallState
from ipyactors.owner.objects import Entry
from ipyactors.owner.session import Session
from ipyactors.owner.templates import MethodTemplate
from ipyactors.wire.specs import Payload
from ipyactors.wire.worker_messages import CallIdentity


def can_be_carried(call: MethodCall) -> bool:
    """Return whether a checkpoint can have the call: its arguments are there, and are nothing but bytes.

    References are of objects that this process owns, and end with it; so does its part in the actors of handles.
    """
    deps = call.deps
    return (
        call.state is not CallState.WAITING
        and all(entry.payload is not None for entry in deps)
        and all(map(_is_bytes, (call.args, *call.arg_values())))
    )


def carry_all(
    unanswered: Callable[[], Sequence[MethodCall]],
    wait: Callable[[Callable[[], bool], float], bool],
    actor_id: bytes,
    timeout_s: float,
) -> tuple[CarriedCall, ...]:
    """Return what a checkpoint of the actor has of its calls without an answer.

    Waits for those that no checkpoint can have; raises TimeoutError if they have none within ``timeout_s``, or if they
    are calls to the actor itself, which wait until the checkpoint is made.
    """

    def stubborn() -> list[MethodCall]:
        return [call for call in unanswered() if not can_be_carried(call)]

    def is_hopeless(call: MethodCall) -> bool:
        return call.client.actor_id == actor_id and call.state is not CallState.WAITING

    left = stubborn()
    if left:
        wait(lambda: not (now := stubborn()) or any(map(is_hopeless, now)), timeout_s)
        left = stubborn()
    if left:
        names = ", ".join(sorted({call.name for call in left}))
        waited = "" if any(map(is_hopeless, left)) else f" for {timeout_s:.0f} s"
        raise TimeoutError(
            f"it has made calls to durable actors that had no answer{waited}, and that a checkpoint cannot have: large "
            f"values, references or handles are among their arguments, or these are not there yet: {names}"
        )
    found: list[CarriedCall] = []
    for call in unanswered():
        one = carry(call)
        if call.state is not CallState.DONE:  # its arguments go when it is
            found.append(one)
    return tuple(found)


def carry(call: MethodCall) -> CarriedCall:
    """Return what a checkpoint has of a call that can be carried."""
    identity, template = call.identity, call.template
    assert identity is not None
    return CarriedCall(
        call.client.actor_id,
        call.client.class_name,
        template.method,
        call.args,
        call.arg_values(),
        identity.caller_id,
        identity.call_id,
        identity.counter,
        identity.digest,
        template.num_returns,
        template.retry_on,
        template.is_persist,
        template.key,
        template.max_task_retries,
        call.attempt,
        call.retries_left,
    )


def call_again(carried: CarriedCall, client: ActorClient, task_id: bytes) -> MethodCall:
    """Return the call as one that was not sent from here. Nobody has references to its results."""
    template = MethodTemplate(
        carried.method,
        num_returns=carried.num_returns,
        max_task_retries=carried.max_task_retries,
        retry_on=carried.retry_on,
        class_name=carried.class_name,
        is_persist=carried.is_persist,
        is_durable=True,
        key=carried.key,
    )
    call = MethodCall(template, client, task_id, carried.args, tuple(map(_entry_of, carried.arg_values)), None)
    call.identity = CallIdentity(carried.caller_id, carried.call_id, carried.counter, carried.digest)
    call.may_be_known = True
    call.attempt, call.retries_left = carried.attempt, carried.retries_left
    call.entries = (Entry(task_id),)
    return call


def send_again(session: Session, carried: Sequence[CarriedCall]) -> list[MethodCall]:
    """Send calls again, in the order in which they were made; return them."""
    sent: list[MethodCall] = []
    for one in carried:
        client = session.adopt_actor(one.actor_id, one.class_name, "")
        call = call_again(one, client, session.next_task_id())
        session.submit(call)
        session.count_handle(client, -1)  # the call needs the actor from here on
        sent.append(call)
    return sent


def _is_bytes(payload: Payload) -> bool:
    return payload.stored is None and not payload.names_any


def _entry_of(payload: Payload) -> Entry:
    entry = Entry(b"")
    entry.complete(payload)
    return entry
