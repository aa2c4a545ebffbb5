"""Where an exception was raised, in words: by which attempt, in which incarnation of which actor. A pure function.

No word of it is another one when the same program runs again: no ids, no times.
"""

from __future__ import annotations

import msgspec

from ipyactors.owner.actors import ActorClient, MethodCall
from ipyactors.owner.calls import TaskCall
from ipyactors.wire.specs import RemoteError


def placed(error: RemoteError, call: TaskCall | MethodCall, *, retryable: bool) -> RemoteError:
    """Return ``error``, the outcome of ``call``, with the words for where it was raised.

    Of a task that was neither tried again nor to be there is nothing to say. ``retryable`` is what the worker says of
    the exception.
    """
    attempt = _attempt(error, call, retryable=retryable)
    if isinstance(call, MethodCall):
        parts = (attempt, f"actor {_name(call.client)}, incarnation {call.client.incarnation}")
    else:
        parts = (attempt, f"task {call.name}" if attempt else "")
    place = " · ".join(filter(None, parts))
    return msgspec.structs.replace(error, place=place) if place else error


def _attempt(error: RemoteError, call: TaskCall | MethodCall, *, retryable: bool) -> str:
    template = call.template
    if not call.attempt and not template.retry_on:
        return ""
    number = call.attempt + 1
    limit = f" of {number + call.retries_left}" if call.retries_left >= 0 else ""
    is_durable = isinstance(call, MethodCall) and call.template.is_durable  # its log may say more of why
    if not template.retry_on or retryable or call.cancelled or is_durable:
        return f"attempt {number}{limit}"
    return f"attempt {number}{limit} (retry_exceptions does not name {error.type_name})"


def _name(client: ActorClient) -> str:
    return client.name or client.class_name or "without a name"
