"""What happens to a call's arguments, and whether it may be made, before it is submitted."""

from __future__ import annotations

from typing import Any

from ipyactors.ground.exceptions import PendingCallsLimitError, SessionError
from ipyactors.owner.actors import ActorClient
from ipyactors.owner.belonging import went_with_its_session
from ipyactors.owner.objects import Entry
from ipyactors.owner.refs import ObjectRef
from ipyactors.owner.session import Session
from ipyactors.wire import serialize
from ipyactors.wire.interrupts import deferred
from ipyactors.wire.serialize import ArgSlot
from ipyactors.wire.specs import Payload


def pack(
    session: Session, args: tuple[Any, ...], kwargs: dict[str, Any], name: str, *, in_message: bool = False
) -> tuple[Payload, tuple[Entry, ...], object]:
    """Pickle arguments; top-level references become slots, their entries are what the call waits for.

    What is large goes to the store, unless it is to stay ``in_message`` because it outlives this process. What is
    returned last must live for as long as the call may have to be sent. Raises SerializationError,
    ObjectStoreFullError; SessionError for a reference of a session that has ended.
    """
    deps: tuple[Entry, ...] = ()
    what = f"the arguments of {name}"
    if any(type(value) is ObjectRef for value in (*args, *kwargs.values())):
        packed_args, packed_kwargs, deps = _with_slots(args, kwargs)
        if any(went_with_its_session(session, entry) for entry in deps):
            raise _of_an_ended_session(session, args, kwargs, name)
        payload = serialize.dumps_call(packed_args, packed_kwargs, what=what)
    else:
        payload = serialize.dumps_call(args, kwargs, what=what)
    keep: object = (args, kwargs) if deps or payload.actor_ids or payload.refs else None
    if not serialize.is_large(payload):
        return payload, deps, keep
    if in_message:
        return serialize.owned(payload), deps, keep
    payload = session.keep(payload, session.next_task_id(), what)
    return payload, deps, keep


def _with_slots(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any], tuple[Entry, ...]]:
    """Return the arguments with a slot in the place of each top-level reference, and the references' entries."""
    deps: list[Entry] = []

    def slot(value: Any) -> Any:
        if type(value) is not ObjectRef:
            return value
        deps.append(value._entry)
        return ArgSlot(len(deps) - 1)

    return tuple(map(slot, args)), {key: slot(value) for key, value in kwargs.items()}, tuple(deps)


def _of_an_ended_session(session: Session, args: tuple[Any, ...], kwargs: dict[str, Any], name: str) -> SessionError:
    which = next(
        key
        for key, value in (*enumerate(args, 1), *kwargs.items())
        if type(value) is ObjectRef and went_with_its_session(session, value._entry)
    )
    return SessionError(
        f"argument {which!r} of {name} is a reference of a session that has ended, and its value went with that: the "
        f"present session is {session.paths.name}. {name} was not submitted. Put the value again, or submit again the "
        "call that made it."
    )


def check_pending(session: Session, client: ActorClient, limit: int) -> None:
    """Raise PendingCallsLimitError if this process has ``limit`` unanswered calls to the actor already."""
    session.turn()
    with deferred(), session.lock:
        pending = client.unanswered
    if pending >= limit:
        raise PendingCallsLimitError(
            f"{client.label} has {pending} unanswered calls of this process, and max_pending_calls={limit}. "
            "This call was not sent; get some results first."
        )
