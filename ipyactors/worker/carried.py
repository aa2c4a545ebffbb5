"""Calls without an answer on their way into a checkpoint and out of it; see :mod:`ipyactors.durable.carried`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from ipyactors.durable import blobs
from ipyactors.durable.carried import CarriedCall
from ipyactors.durable.disk import Disk
from ipyactors.ground.exceptions import ObjectStoreFullError
from ipyactors.owner.actors import ActorClient, HandleToken, MethodCall
from ipyactors.owner.calls import CallState
from ipyactors.owner.missing import SegmentsMissing
from ipyactors.owner.objects import Entry
from ipyactors.owner.session import Session
from ipyactors.owner.templates import MethodTemplate
from ipyactors.wire import serialize
from ipyactors.wire.specs import ActorState, Payload
from ipyactors.wire.worker_messages import CallIdentity
from ipyactors.worker.guarded_log import Bringer, GuardedLog


class Around(NamedTuple):
    """What is around the process that makes the calls: its machine, and the actors that it knows, by id."""

    node_id: bytes = b""
    clients: Mapping[bytes, ActorClient] = {}


NOTHING_AROUND = Around()


def obstacle(call: MethodCall, around: Around = NOTHING_AROUND) -> str:
    """Return why no checkpoint can have the call, in words; empty if one can.

    It can have what others find in it: bytes, and the ids of actors. References are of objects that this process owns
    or borrows, and go with it; so does a value on another machine, or an actor that the head may never have heard of.
    """
    deps = call.deps
    if call.state is CallState.WAITING or any(entry.payload is None for entry in deps):
        return "waits for its arguments"
    for payload in (call.args, *call.arg_values()):
        if payload.refs:
            return "has references inside of its arguments"
        if payload.stored is not None and all(place.node_id != around.node_id for place in payload.stored.locations):
            return "has an argument that is on another machine"
        if any(map(_is_unheard_of, filter(None, map(around.clients.get, payload.actor_ids)))):
            return "has a handle of an actor that is only just being created among its arguments"
    return ""


def _is_unheard_of(client: ActorClient) -> bool:
    return client.creating or (
        client.creation is not None and client.state is ActorState.PENDING and not client.waiting_for
    )


def carry_all(
    unanswered: Callable[[], Sequence[MethodCall]],
    wait: Callable[[Callable[[], bool], float], bool],
    actor_id: bytes,
    timeout_s: float,
    around: Around = NOTHING_AROUND,
    put_aside: Callable[[CarriedCall], CarriedCall] = lambda one: one,
) -> tuple[CarriedCall, ...]:
    """Return what a checkpoint of the actor has of its calls without an answer; ``put_aside`` takes what is large.

    Waits for those that no checkpoint can have; raises TimeoutError if they have none within ``timeout_s``, or if they
    are calls to the actor itself, which wait until the checkpoint is made. Raises what ``put_aside`` raises.
    """

    def stubborn() -> list[MethodCall]:
        return [call for call in unanswered() if obstacle(call, around)]

    def is_hopeless(call: MethodCall) -> bool:
        return call.client.actor_id == actor_id and call.state is not CallState.WAITING

    left = stubborn()
    if left:
        wait(lambda: not (now := stubborn()) or any(map(is_hopeless, now)), timeout_s)
        left = stubborn()
    if left:
        hopeless = next(filter(is_hopeless, left), None)
        raise TimeoutError(_words(hopeless or left[0], len(left) - 1, around, 0 if hopeless else timeout_s))
    found: list[CarriedCall] = []
    for call in unanswered():
        one = carry(call)
        if call.state is not CallState.DONE:  # its arguments go when it is
            found.append(put_aside(one))
    return tuple(found)


def _words(call: MethodCall, others: int, around: Around, waited_s: float) -> str:
    why = obstacle(call, around) or "was answered only just now"
    beside = f" (and {others} more like it)" if others else ""
    if waited_s:
        how = f"it had no answer for {waited_s:.0f} s: an actor that waits for this one in turn gives none"
    else:
        how = "it would wait for itself: the call is to run behind this checkpoint"
    return (
        f"it has called {call.name} of {call.client.label}{beside}, and no checkpoint can have that: the call {why}; "
        f"{how}. Pass values and handles, no references inside of lists or objects, or get() the result in the method"
    )


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


class Aside:
    """Has the large arguments of carried calls in files beside the log. Used by the thread that runs calls."""

    def __init__(self, log: GuardedLog, values: Bringer) -> None:
        self._log = log
        self._values = values

    def put(self, one: CarriedCall) -> CarriedCall:
        """Return the call with its large arguments put aside. Raises OSError.

        Where the newest checkpoint has the call already, that one's files are the next one's as well.
        """
        payloads = (one.args, *one.arg_values)
        if not any(payload.stored is not None or blobs.is_large(payload) for payload in payloads):
            return one
        for before in self._log.do(lambda: self._log.log.carried):
            if (before.caller_id, before.call_id) == (one.caller_id, one.call_id):
                return msgspec.structs.replace(one, args=before.args, arg_values=before.arg_values, blobs=before.blobs)
        try:
            found = self._values.bring(payloads)
        except SegmentsMissing as error:
            raise OSError(f"a large argument of its call {one.method} is not in the store any more") from error
        whole = tuple(
            Payload(brought.data, brought.buffers, payload.refs, payload.actor_ids)
            for payload, brought in zip(payloads, found, strict=True)
        )
        kept, made = self._log.do(self._log.put_aside_for_checkpoint, whole)
        aside = tuple(msgspec.structs.replace(blob, index=blob.index - 1) for blob in made)
        return msgspec.structs.replace(one, args=kept[0], arg_values=kept[1:], blobs=aside)


def carrier(
    unanswered: Callable[[], Sequence[MethodCall]], session: Session, log: GuardedLog, actor_id: bytes
) -> Callable[[float], tuple[CarriedCall, ...]]:
    """Return what has checkpoints of this process's actor carry its calls; see :func:`carry_all`."""
    around, aside = Around(session.node_id, session.state.actors), Aside(log, session)
    return lambda timeout_s: carry_all(unanswered, session.wait, actor_id, timeout_s, around, aside.put)


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


def brought_back(
    carried: CarriedCall, disk: Disk, store: Callable[[Payload], Payload] = lambda payload: payload
) -> CarriedCall:
    """Return the call with all its arguments, as ``store`` returns them. Raises BlobDamagedError."""
    args, *values = map(store, blobs.arguments_of(disk, carried))
    return msgspec.structs.replace(carried, args=args, arg_values=tuple(values), blobs=())


def send_again(session: Session, carried: Sequence[CarriedCall], disk: Disk) -> list[MethodCall]:
    """Send calls again, in the order in which they were made; return them. Raises BlobDamagedError.

    The actors that their arguments name are held from here on, as whoever made the calls has held them.
    """
    sent: list[MethodCall] = []
    for kept in carried:
        one = brought_back(kept, disk, functools.partial(_stored, session, kept.method))
        target = _hold(session, one.actor_id, one.class_name)
        call = call_again(one, target.client, session.next_task_id())
        call.keep = tuple(_hold(session, actor_id) for actor_id in _named(one))
        session.submit(call)  # which needs the actor from here on
        sent.append(call)
    return sent


def _stored(session: Session, method: str, payload: Payload) -> Payload:
    """Return an argument as it travels; one for which the store has no room goes with the message."""
    if not serialize.is_large(payload):
        return payload
    try:
        return session.keep(payload, session.next_task_id(), f"an argument of {method}")
    except ObjectStoreFullError:
        return payload


def _named(one: CarriedCall) -> Iterator[bytes]:
    for payload in (one.args, *one.arg_values):
        yield from payload.actor_ids


def _hold(session: Session, actor_id: bytes, class_name: str = "") -> HandleToken:
    client = session.adopt_actor(actor_id, class_name, "")
    token = HandleToken(session.count_handle, client)
    session.count_handle(client, -1)  # for which it was adopted
    return token


def _entry_of(payload: Payload) -> Entry:
    entry = Entry(b"")
    entry.complete(payload)
    return entry
