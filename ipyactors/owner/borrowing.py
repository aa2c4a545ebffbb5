"""Objects across processes: answering those who borrowed from here, asking those whom this process borrowed from."""

from __future__ import annotations

import pickle
import weakref

from ipyactors.ground import ids
from ipyactors.owner import loans, losses, unasked
from ipyactors.owner.objects import BorrowedEntry, Entry
from ipyactors.owner.out import Out
from ipyactors.owner.state import OwnerState
from ipyactors.owner.watching import watch
from ipyactors.wire.specs import RemoteError
from ipyactors.wire.worker_messages import FetchObject, ObjectFailed, ObjectReady, ReportMissing


def fetch(state: OwnerState, out: Out, entry: Entry) -> None:
    """Ask the owner of a borrowed object for it, once."""
    if entry.done or not entry.owner_address or entry.object_id in state.objects.fetching:
        return
    if isinstance(entry, BorrowedEntry) and entry.heir is not None:
        follow(state, out, entry, entry.heir)
        return
    if entry.producer is not None:
        return  # its owner is gone, and a call makes it again
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
    if isinstance(entry, BorrowedEntry) and entry.heir is not None:
        heir = entry.heir
        if heir.done and heir.stored == stored:
            report_missing(state, out, heir)
        follow(state, out, entry, heir)
        return
    state.objects.fetching[entry.object_id] = entry
    owner_id = ids.owner_of(entry.object_id)
    out.connect(owner_id, entry.owner_address)
    watch(state, out, owner_id)[entry.object_id] = entry
    out.to_owner(owner_id, ReportMissing(entry.object_id, tuple(place.node_id for place in stored.locations)))


def follow(state: OwnerState, out: Out, entry: BorrowedEntry, heir: Entry) -> None:
    """Give an open entry whose owner is gone what becomes of the object that was made in its place."""
    entry.heir = heir
    fetch(state, out, heir)
    reference = weakref.ref(entry)  # or the two would keep each other while nobody needs them

    def take_over(done: Entry) -> None:
        follower = reference()
        if follower is None or follower.done:
            return
        if done.failure is not None:
            follower.fail(done.failure)
            state.objects.failures += 1
        elif done.payload is not None:
            follower.complete(done.payload)

    heir.when_done(take_over)


def on_fetch(state: OwnerState, out: Out, peer: bytes, message: FetchObject) -> None:
    """A borrower asks: answer when the object is there."""
    entry = loans.find(state, message.object_id)
    if entry is None:
        out.to_caller(peer, ObjectFailed(message.object_id, failure=pickle.dumps(losses.unknown(message.object_id))))
        return
    entry.when_done(Answer(state, out, peer))


class Answer:
    """What a borrower, ``peer``, is told once an object is done."""

    __slots__ = ("_out", "_state", "peer")

    def __init__(self, state: OwnerState, out: Out, peer: bytes) -> None:
        self._state = state
        self._out = out
        self.peer = peer

    def __call__(self, entry: Entry) -> None:
        """Tell what has become of the object."""
        state, out, peer = self._state, self._out, self.peer
        if entry.payload is not None:
            loans.lend(state, out, peer, entry.payload)
            out.to_caller(peer, ObjectReady(entry.object_id, entry.payload))
            return
        unasked.mark_seen(entry)
        if isinstance(entry.failure, RemoteError):
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
