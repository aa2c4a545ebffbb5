"""Objects across processes: answering those who borrowed from here, asking those whom this process borrowed from."""

from __future__ import annotations

import pickle

from ipyactors.ground import ids
from ipyactors.ground.exceptions import OwnerDiedError
from ipyactors.owner import failures, loans, losses
from ipyactors.owner.objects import Entry
from ipyactors.owner.out import Out
from ipyactors.owner.state import OwnerState
from ipyactors.owner.watching import watch
from ipyactors.wire.head_messages import OwnerLost
from ipyactors.wire.specs import RemoteError
from ipyactors.wire.worker_messages import FetchObject, ObjectFailed, ObjectReady, ReportMissing


def fetch(state: OwnerState, out: Out, entry: Entry) -> None:
    """Ask the owner of a borrowed object for it, once."""
    if entry.done or not entry.owner_address or entry.object_id in state.objects.fetching:
        return
    state.objects.fetching[entry.object_id] = entry
    owner_id = ids.owner_of(entry.object_id)
    out.connect(owner_id, entry.owner_address)
    watch(state, out, owner_id)[entry.object_id] = entry
    out.to_owner(owner_id, FetchObject(entry.object_id))


def report_missing(state: OwnerState, out: Out, entry: Entry) -> None:
    """Tell the owner that the data of a borrowed object could not be had; it is not there until the owner answers."""
    stored = entry.stored
    if not entry.done or stored is None:
        return  # small, or this was said already
    entry.reopen()
    state.objects.fetching[entry.object_id] = entry
    owner_id = ids.owner_of(entry.object_id)
    out.connect(owner_id, entry.owner_address)
    watch(state, out, owner_id)[entry.object_id] = entry
    out.to_owner(owner_id, ReportMissing(entry.object_id, tuple(place.node_id for place in stored.locations)))


def on_fetch(state: OwnerState, out: Out, peer: bytes, message: FetchObject) -> None:
    """A borrower asks: answer when the object is there."""
    entry = loans.find(state, message.object_id)
    if entry is None:
        out.to_caller(peer, ObjectFailed(message.object_id, failure=pickle.dumps(losses.unknown(message.object_id))))
        return
    entry.when_done(lambda done: _answer(state, out, peer, done))


def _answer(state: OwnerState, out: Out, peer: bytes, entry: Entry) -> None:
    if entry.payload is not None:
        loans.lend(state, out, peer, entry.payload)
        out.to_caller(peer, ObjectReady(entry.object_id, entry.payload))
    elif isinstance(entry.failure, RemoteError):
        if entry.failure.payload is not None:
            loans.lend(state, out, peer, entry.failure.payload)
        out.to_caller(peer, ObjectFailed(entry.object_id, entry.failure))
    else:
        out.to_caller(peer, ObjectFailed(entry.object_id, failure=pickle.dumps(entry.failure)))


def on_ready(state: OwnerState, out: Out, peer: bytes, message: ObjectReady) -> None:
    """A borrowed object arrived."""
    if message.payload.names_any:
        out.receive(peer, message.payload)
    entry = _arrived(state, message.object_id)
    if entry is not None:
        entry.complete(message.payload)


def on_failed(state: OwnerState, out: Out, peer: bytes, message: ObjectFailed) -> None:
    """A borrowed object will not come."""
    if message.error is not None and message.error.payload is not None and message.error.payload.names_any:
        out.receive(peer, message.error.payload)
    entry = _arrived(state, message.object_id)
    if entry is not None:
        # Written by the owner's runtime, never by user code: a closed set of our own error types.
        entry.fail(message.error if message.error is not None else pickle.loads(message.failure))
        state.objects.failures += 1


def _arrived(state: OwnerState, object_id: bytes) -> Entry | None:
    watched = state.watched.get(ids.owner_of(object_id))
    if watched is not None:
        watched.pop(object_id, None)
    return state.objects.fetching.pop(object_id, None)


def on_owner_lost(state: OwnerState, out: Out, message: OwnerLost) -> None:
    """A process is gone. What has not arrived from it never will; what it had borrowed it has no more."""
    for entry in list(state.watched.pop(message.owner_id, {}).values()):
        state.objects.fetching.pop(entry.object_id, None)
        entry.fail(OwnerDiedError(failures.owner_died(entry.object_id, message.detail)))
        state.objects.failures += 1
    loans.on_process_gone(state, out, message.owner_id)
    state.left_streams.pop(message.owner_id, None)
    if message.owner_id not in state.holders:
        out.disconnect(message.owner_id)
