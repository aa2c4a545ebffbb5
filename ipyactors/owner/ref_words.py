"""What a reference shows of itself: one word in text, a table on a page. Asks nobody, takes no lock, never fails.

Text is the same at each run of a program: no id, which is random, and no state, which depends on the moment. What
tells references apart is the number of the call, or of the ``put``, among all that their driver has made. Workers are
used again and again, by whoever comes first, so what they make has no number.
"""

from __future__ import annotations

import os

from ipyactors.ground import ids
from ipyactors.ground.quantities import describe_bytes
from ipyactors.owner import process
from ipyactors.owner.actors import MethodCall
from ipyactors.owner.calls import CallState, PendingCall
from ipyactors.owner.objects import Entry
from ipyactors.owner.origins import Maker, site_of
from ipyactors.owner.output import is_interactive
from ipyactors.owner.templates import STREAMING, MethodTemplate, TaskFacts
from ipyactors.wire.events import name_of_call
from ipyactors.wire.specs import RemoteError


def label_of(entry: Entry) -> str:
    """Return ``add #3``, ``split #4[1]`` for one of several results, ``put #5``, ``#3`` if it was made elsewhere."""
    name, returns = _maker(entry)
    index = ids.index_of(entry.object_id) - (returns == STREAMING)  # items are numbered from 1
    number = ""
    if ids.is_driver(ids.owner_of(entry.object_id)):
        number = f"#{ids.counter_of(entry.object_id)}"
    which = f"[{index}]" if returns != 1 or index else ""
    return " ".join(filter(None, (name, number))) + which or "borrowed"


def call_label_of(call: PendingCall) -> str:
    """Return ``add #3`` for a call, by the same numbers."""
    is_numbered = ids.is_driver(ids.owner_of(call.task_id))
    return f"{call.name} #{ids.counter_of(call.task_id)}" if is_numbered else call.name


def facts_of(entry: Entry) -> list[tuple[str, str]]:
    """Return what this process knows of the object, by name; what has no value is not known."""
    facts = [("ObjectRef", label_of(entry)), ("made in", _line_of(entry))]
    if is_interactive():
        facts += [("state", state_of(entry)), ("size", _size(entry))]
    return facts


def _maker(entry: Entry) -> tuple[str, int]:
    """Return the name of what makes the object, if that is known, and how many it makes (-1: a stream of them)."""
    if entry.origin is None or entry.owner_address:
        return "", 1
    maker: Maker = entry.origin[0]
    match maker:
        case None:
            return "put", 1
        case TaskFacts():
            return maker.name, maker.num_returns
        case MethodTemplate():
            return name_of_call(maker.class_name, maker.method), maker.num_returns
        case _:
            return "", 1


def _line_of(entry: Entry) -> str:
    site = None if entry.origin is None else site_of(entry.origin)
    if site is None:
        return ""
    return f"{os.path.basename(site.file)}, line {site.line}"


def state_of(entry: Entry) -> str:
    """Return what is known here of how far it is, in a few words."""
    failure, call = entry.failure, entry.producer
    if failure is not None:
        return f"failed: {failure.type_name if isinstance(failure, RemoteError) else type(failure).__name__}"
    if entry.done:
        return "ready"
    if process.session() is None:
        return "its session has ended"
    if not isinstance(call, PendingCall):
        return "not here yet"
    again = f" (attempt {call.attempt + 1})" if call.attempt else ""
    place = "its actor" if isinstance(call, MethodCall) else "a worker"
    where = {
        CallState.WAITING: "waits for its arguments",
        CallState.QUEUED: f"waits for {place}",
        CallState.WITHDRAWN: "is cancelled",
    }
    return where.get(call.state, f"at {place}") + again


def _size(entry: Entry) -> str:
    payload = entry.payload
    if payload is None:
        return ""
    if payload.stored is not None:
        return f"{describe_bytes(payload.stored.size)}, in shared memory"
    return describe_bytes(len(payload.data) + sum(buffer.nbytes for buffer in payload.buffers))
