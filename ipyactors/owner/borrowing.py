"""Objects across processes: answering those who borrowed from here, asking those whom this process borrowed from."""

from __future__ import annotations

import pickle

from ipyactors.ground import ids
from ipyactors.ground.exceptions import ObjectLostError, OwnerDiedError
from ipyactors.owner import failures
from ipyactors.owner.objects import Entry
from ipyactors.owner.out import Out
from ipyactors.owner.state import OwnerState
from ipyactors.wire.head_messages import LendActor, OwnerLost, OwnsObjects, WatchOwner
from ipyactors.wire.specs import RefSpec, RemoteError
from ipyactors.wire.worker_messages import FetchObject, ObjectFailed, ObjectReady


def export(state: OwnerState, out: Out, entry: Entry) -> RefSpec:
    """Make an object findable for others; return what a reference to it says."""
    if entry.owner_address:
        return RefSpec(entry.object_id, entry.owner_address)
    if not state.objects.exported and not state.is_driver:
        out.to_head(OwnsObjects())
    state.objects.exported.setdefault(entry.object_id, entry)
    return RefSpec(entry.object_id, state.address)


def adopt(state: OwnerState, spec: RefSpec) -> Entry:
    """Return the entry for a reference that arrived here."""
    objects = state.objects
    if ids.owner_of(spec.object_id) == state.owner_id:
        entry = objects.exported.get(spec.object_id)
        if entry is None:
            entry = Entry(spec.object_id)
            entry.fail(ObjectLostError(f"The object {spec.object_id.hex()} is not known to the process that owns it."))
        return entry
    entry = objects.borrowed.get(spec.object_id)
    if entry is None:
        entry = objects.borrowed[spec.object_id] = Entry(spec.object_id, None, spec.owner_address)
    return entry


def fetch(state: OwnerState, out: Out, entry: Entry) -> None:
    """Ask the owner of a borrowed object for it, once."""
    if entry.done or not entry.owner_address or entry.object_id in state.objects.fetching:
        return
    state.objects.fetching[entry.object_id] = entry
    owner_id = ids.owner_of(entry.object_id)
    out.connect(owner_id, entry.owner_address)
    watch(state, out, owner_id)[entry.object_id] = entry
    out.to_worker(owner_id, FetchObject(entry.object_id))


def watch(state: OwnerState, out: Out, process_id: bytes) -> dict[bytes, Entry]:
    """Have the head tell when a process is gone; return what is awaited from there, by object id."""
    watched = state.watched.get(process_id)
    if watched is None:
        watched = state.watched[process_id] = {}
        out.to_head(WatchOwner(process_id))
    return watched


def on_fetch(state: OwnerState, out: Out, peer: bytes, message: FetchObject) -> None:
    """A borrower asks: answer when the object is there."""
    entry = state.objects.exported.get(message.object_id)
    if entry is None:
        lost = ObjectLostError(f"The object {message.object_id.hex()} is not known to the process that owns it.")
        out.to_caller(peer, ObjectFailed(message.object_id, failure=pickle.dumps(lost)))
        return
    entry.when_done(lambda done: _answer(out, peer, done))


def _answer(out: Out, peer: bytes, entry: Entry) -> None:
    if entry.payload is not None:
        for actor_id in entry.payload.actor_ids:
            out.to_head(LendActor(actor_id, peer))
        out.to_caller(peer, ObjectReady(entry.object_id, entry.payload))
    elif isinstance(entry.failure, RemoteError):
        out.to_caller(peer, ObjectFailed(entry.object_id, entry.failure))
    else:
        out.to_caller(peer, ObjectFailed(entry.object_id, failure=pickle.dumps(entry.failure)))


def on_ready(state: OwnerState, out: Out, message: ObjectReady) -> None:
    """A borrowed object arrived."""
    tokens = out.hold(message.payload) if message.payload.actor_ids else ()
    entry = _arrived(state, message.object_id)
    if entry is not None:
        entry.tokens = tokens
        entry.complete(message.payload)


def on_failed(state: OwnerState, message: ObjectFailed) -> None:
    """A borrowed object will not come."""
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
    """The owner of borrowed objects died: what has not arrived never will."""
    for entry in list(state.watched.pop(message.owner_id, {}).values()):
        state.objects.fetching.pop(entry.object_id, None)
        entry.fail(OwnerDiedError(failures.owner_died(entry.object_id, message.detail)))
        state.objects.failures += 1
    state.left_streams.pop(message.owner_id, None)
    if message.owner_id not in state.holders:
        out.disconnect(message.owner_id)
