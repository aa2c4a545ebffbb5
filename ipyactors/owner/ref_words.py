"""What a reference shows of itself on a page. Asks nobody, takes no lock, never fails."""

from __future__ import annotations

import os

from ipyactors.ground.quantities import describe_bytes
from ipyactors.owner import process
from ipyactors.owner.actors import MethodCall
from ipyactors.owner.calls import CallState, PendingCall
from ipyactors.owner.labels import label_of
from ipyactors.owner.objects import Entry
from ipyactors.owner.origins import site_of
from ipyactors.owner.output import is_interactive
from ipyactors.wire.specs import RemoteError


def facts_of(entry: Entry) -> list[tuple[str, str]]:
    """Return what this process knows of the object, by name; what has no value is not known."""
    facts = [("ObjectRef", label_of(entry)), ("made in", _line_of(entry))]
    if is_interactive():
        facts += [("state", state_of(entry)), ("size", _size(entry))]
    return facts


def _line_of(entry: Entry) -> str:
    site = None if entry.origin is None else site_of(entry.origin)
    if site is None:
        return ""
    return f"{os.path.basename(site.file)}, line {site.line}"


def state_of(entry: Entry, *, says_where: bool = False) -> str:
    """Return what is known here of how far it is, in a few words.

    Where a call without an answer is changes within microseconds of its submission, which is when a cell shows its
    reference; so that is told only if asked for.
    """
    failure, call = entry.failure, entry.producer
    if failure is not None:
        return f"failed: {failure.type_name if isinstance(failure, RemoteError) else type(failure).__name__}"
    if entry.done:
        return "ready"
    if process.session() is None:
        return "its session has ended"
    if not isinstance(call, PendingCall):
        return "not here yet"
    return _state_of_call(call, says_where) + (f" (attempt {call.attempt + 1})" if call.attempt else "")


def _state_of_call(call: PendingCall, says_where: bool) -> str:
    if call.state is CallState.WITHDRAWN:
        return "is cancelled"
    if call.state is CallState.WAITING and call.unready:  # a call begins in this state, whatever its arguments
        return "waits for its arguments"
    if not says_where:
        return "submitted"
    place = "its actor" if isinstance(call, MethodCall) else "a worker"
    return f"{'waits for' if call.state in (CallState.WAITING, CallState.QUEUED) else 'at'} {place}"


def _size(entry: Entry) -> str:
    payload = entry.payload
    if payload is None:
        return ""
    if payload.stored is not None:
        return f"{describe_bytes(payload.stored.size)}, in shared memory"
    return describe_bytes(len(payload.data) + sum(buffer.nbytes for buffer in payload.buffers))
