"""A world in which calls return references to what their workers own, and these workers die.

The value of such an object says by which call, in which of its results, and as which of its references it was made:
so it is known whether what comes back is the right one.
"""

from __future__ import annotations

import pickle
from typing import Any

from ipyactors.ground import ids
from ipyactors.owner import borrowing, loans
from ipyactors.owner.objects import Entry
from ipyactors.wire.codec import Message
from ipyactors.wire.head_messages import OwnerLost, WatchOwner
from ipyactors.wire.specs import Payload, RefSpec, Stored
from ipyactors.wire.store_messages import ClaimObjects, CopiesFound, FindCopies, ObjectsClaimed, ReleaseClaims
from ipyactors.wire.worker_messages import (
    CallMethod,
    FetchObject,
    LendObject,
    ObjectFailed,
    ObjectReady,
    ReleaseObject,
    ReportMissing,
    RunTask,
)
from tests.support.rebuild_world import HEAD, LARGE, SMALL, World, place

#: Begins the size of a result that refers to objects of its worker: one letter for each, large or small.
REFS = "refs:"

Value = tuple[str, int, int]


class OrphanWorld(World):
    """See the head of this file. ``owned`` are the objects of workers: their values, and whether those are large.

    ``claims`` are what the owner has claimed of workers that are gone. The next results have ``more_refs`` than they
    should, and these that are ``returned``.
    """

    def __init__(self, max_lineage_bytes: int = 1 << 30) -> None:
        super().__init__(max_lineage_bytes)
        self.owned: dict[bytes, tuple[Value, bool]] = {}
        self.gone: set[bytes] = set()
        self.watchers: set[bytes] = set()
        self.claims: set[bytes] = set()
        self.more_refs = 0
        self.returned: list[RefSpec] = []
        self.questions = 0
        self._runner = (b"", "", 0)
        self._owned_count = 0
        self.out.receive = self._take_over

    def _take_over(self, sender: bytes, payload: Payload) -> None:
        payload.holding(*loans.receive(self.state, self.out, sender, payload))

    # -- what user code does --------------------------------------------------------------------------------------

    def inner(self, entry: Entry) -> list[Entry]:
        """Return the objects to which a result refers."""
        self.drive()
        assert entry.payload is not None, entry.failure
        return [loans.adopt(self.state, self.out, spec) for spec in entry.payload.refs]

    def ask_for(self, entry: Entry) -> None:
        """Need a borrowed object, and do not wait for it."""
        if entry.stored is not None and entry.done and not self.has(entry.stored):
            borrowing.report_missing(self.state, self.out, entry)
        borrowing.fetch(self.state, self.out, entry)

    def get_inner(self, entry: Entry) -> Any:
        """Return the value of a borrowed object, or what it failed with."""
        for _ in range(50):
            self.ask_for(entry)
            self.drive()
            assert entry.done, "the world has come to rest, and the entry is open"
            if entry.payload is None:
                return entry.failure
            if entry.stored is None:
                return pickle.loads(entry.payload.data)
            if self.has(entry.stored):
                return self.owned[entry.stored.segment_id][0]
        raise AssertionError("it is looked for again and again")

    def drive(self) -> None:
        super().drive()
        loans.give_back(self.state, self.out)
        if self.out.sent and not self.is_paused:
            self.drive()

    # -- what happens ---------------------------------------------------------------------------------------------

    def lose_data(self, entry: Entry) -> None:
        """Remove the data of what a worker has made from all machines."""
        self.segments.pop(loans.heir_of(entry).object_id, None)

    def kill(self, owner_id: bytes) -> None:
        """End a worker, whether its lease is still there or not."""
        if owner_id in self._workers:
            self.end(owner_id, started=0)

    def end(self, worker: bytes, *, started: int) -> None:
        super().end(worker, started=started)
        self.gone.add(worker)
        if worker in self.watchers:
            self.watchers.discard(worker)
            self.hear(HEAD, OwnerLost(worker))
        self.hear(HEAD, ClaimObjects(worker))

    def _act(self, peer: bytes, message: Message) -> None:
        match message:
            case WatchOwner(owner_id) if owner_id in self.gone:
                self.hear(HEAD, OwnerLost(owner_id))
            case WatchOwner(owner_id):
                self.watchers.add(owner_id)
            case ObjectsClaimed(owner_id, object_ids):
                self.claims.update(object_ids)
                self._sweep(owner_id)
            case ReleaseClaims(object_ids):
                self.claims.difference_update(object_ids)
                for object_id in object_ids:
                    self.segments.pop(object_id, None)
            case FindCopies():
                self.questions += 1
                found = {one: self.segments[one] for one in message.segment_ids if self.segments.get(one)}
                places = {one: tuple(place(node_id) for node_id in sorted(found[one])) for one in found}
                self.hear(HEAD, CopiesFound(message.request_id, places, dict.fromkeys(found, 100_000)))
            case FetchObject() | ReportMissing() | ReleaseObject() | LendObject():
                self._owner_hears(peer, message)
            case _:
                super()._act(peer, message)

    def _sweep(self, owner_id: bytes) -> None:
        for object_id in [one for one in self.segments if ids.owner_of(one) == owner_id and one not in self.claims]:
            del self.segments[object_id]

    def _owner_hears(self, owner_id: bytes, message: Message) -> None:
        if owner_id in self.gone:
            return
        match message:
            case FetchObject(object_id) | ReportMissing(object_id, _):
                value, is_large = self.owned[object_id]
                if not is_large:
                    self.hear(owner_id, ObjectReady(object_id, Payload(pickle.dumps(value))))
                elif object_id in self.segments:
                    there = tuple(place(node_id) for node_id in sorted(self.segments[object_id]))
                    self.hear(owner_id, ObjectReady(object_id, Payload(b"", stored=Stored(object_id, 100_000, there))))
                else:
                    error = pickle.dumps(LookupError("it was put"))
                    self.hear(owner_id, ObjectFailed(object_id, failure=error))
            case ReleaseObject(object_id):
                del self.owned[object_id]
                self.segments.pop(object_id, None)

    def _run(self, worker: bytes, message: RunTask | CallMethod) -> None:
        self._runner = (worker, self._names[message.task_id], 0)
        super()._run(worker, message)

    def _value(self, object_id: bytes, size: str, node_id: bytes) -> Payload:
        if not size.startswith(REFS):
            return super()._value(object_id, size, node_id)
        worker, name, _ = self._runner
        index = ids.index_of(object_id)
        letters = size.removeprefix(REFS)
        letters += letters[-1:] * self.more_refs
        specs = tuple(
            self._own(worker, (name, index, position), LARGE if letter == "L" else SMALL, node_id)
            for position, letter in enumerate(letters)
        )
        return Payload(pickle.dumps(object_id), refs=(*specs, *self.returned))

    def _own(self, worker: bytes, value: Value, size: str, node_id: bytes) -> RefSpec:
        self._owned_count += 1
        object_id = ids.object_id(worker, self._owned_count)
        self.owned[object_id] = value, size == LARGE
        if size == LARGE:
            self.segments[object_id] = {node_id}
        return RefSpec(object_id, f"mem://{worker.decode()}")

    # -- what is seen ---------------------------------------------------------------------------------------------

    def is_lost(self, entry: Entry) -> bool:
        """Return whether a borrowed object's value is nowhere any more."""
        last = loans.heir_of(entry)
        if last.done and last.payload is not None and last.stored is None:
            return False
        is_with_owner = last.object_id in self.owned and ids.owner_of(last.object_id) not in self.gone
        _, is_large = self.owned[last.object_id]
        return not self.segments.get(last.object_id) if is_large else not is_with_owner

    def kept(self) -> set[bytes]:
        """Return the segments of workers that are in stores."""
        return {object_id for object_id in self.segments if object_id in self.owned and self.segments[object_id]}
