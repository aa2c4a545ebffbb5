"""Machines, stores and workers around one owner, without any of them: what the reactor asks for happens at once.

A value is its object's id, so that whoever gets a value knows whether it is the right one.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

from ipyactors.ground import ids
from ipyactors.owner import rebuild
from ipyactors.owner.actors import ActorClient
from ipyactors.owner.calls import PendingCall
from ipyactors.owner.objects import Entry, SegmentToken
from ipyactors.owner.state import OwnerState
from ipyactors.wire.codec import Message
from ipyactors.wire.head_messages import LeaseGranted, WantLeases
from ipyactors.wire.specs import Location, Payload, RemoteError, Stored
from ipyactors.wire.store_messages import CopiesFound, FindCopies, NodeLost
from ipyactors.wire.worker_messages import (
    ActorHasChanged,
    ArgumentsMissing,
    CallMethod,
    CallRaised,
    CallSucceeded,
    ItemYielded,
    RunTask,
)
from tests.support.owner_scenario import HEAD, OWNER, OwnerScenario, RecordingOut

HOME = b"n-home--"
NODES = (HOME, b"n-two---", b"n-three-")

#: What a call returns, by its name: the size of each result. ``large`` ones go to a store.
SMALL, LARGE = "small", "large"


def place(node_id: bytes) -> Location:
    return Location(node_id, f"mem://{node_id.decode()}")


class WorldOut(RecordingOut):
    """Has segments freed with the payloads that bring them, as a session does."""

    def __init__(self, free: Callable[[Stored], object]) -> None:
        super().__init__()
        self._free = free
        self.own = self._own

    def _own(self, payload: Payload) -> None:
        if payload.stored is not None:
            payload.holding(SegmentToken(self._free, payload.stored))

    def to_owner(self, owner_id: bytes, message: Message) -> None:
        self.sent.append((owner_id, message))


class World(OwnerScenario):
    """Answers everything that the owner asks. ``segments`` are the values in stores: by id, the machines that have it.

    ``ran`` are the names of the calls that ran to their end, in their order; ``attempts`` counts the runs of each that
    have begun. ``crashes`` is how many of the next runs end with the death of their worker, ``raising`` are the names
    of calls whose next run raises. While ``is_paused``, nothing that is sent is answered.
    """

    def __init__(self, max_lineage_bytes: int = 1 << 30) -> None:
        super().__init__()
        self.state = OwnerState(OWNER, "mem://owner", node_id=HOME, max_lineage_bytes=max_lineage_bytes)
        self.out = WorldOut(self._free)
        self.nodes = list(NODES)
        self.segments: dict[bytes, set[bytes]] = {}
        self.results: dict[bytes, tuple[str, ...]] = {}
        self.ran: list[str] = []
        self.crashes = 0
        self.raising: set[str] = set()
        self.attempts: dict[str, int] = {}
        self.is_paused = False
        self.found_in_vain = False
        self.changes: dict[bytes, int] = {}
        """By worker of an actor: how many calls that may change it have begun there."""
        self._served: dict[tuple[bytes, bytes], set[bytes]] = {}
        self._names: dict[bytes, str] = {}
        self._leases: dict[bytes, int] = {}
        self._workers: dict[bytes, bytes] = {}
        self._lease_count = 0

    # -- what user code does ----------------------------------------------------------------------------------

    def call(self, name: str, *deps: Entry, returns: tuple[str, ...] = (LARGE,), **options: Any) -> list[Entry]:
        """Make a task; return the entries of its results."""
        call = self.task(name, deps=deps, settle=False, num_returns=len(returns), **options)
        return self._made(call, name, returns)

    def ask(
        self, client: ActorClient, name: str, *deps: Entry, returns: tuple[str, ...] = (LARGE,), **options: Any
    ) -> list[Entry]:
        """Call a method; return the entries of its results."""
        call = self.method(client, name, deps=deps, settle=False, num_returns=len(returns), **options)
        return self._made(call, name, returns)

    def generate(self, name: str, *items: str, deps: tuple[Entry, ...] = (), **options: Any) -> list[Entry]:
        """Make a task that is a generator, to its end; return its items."""
        call = self.task(name, deps=deps, settle=False, num_returns=-1, **options)
        self._made(call, name, items)
        self.drive()
        assert call.stream is not None
        return [call.stream.waiting.popleft() for _ in range(len(call.stream.waiting))]

    def put(self, size: str = LARGE, node_id: bytes = HOME) -> Entry:
        """Put a value."""
        entry = Entry(self._next_task_id())
        payload = self._value(entry.object_id, size, node_id)
        if payload.stored is not None:
            payload.holding(SegmentToken(self._free, payload.stored))
            self.state.lineage.entries[entry.object_id] = entry
        entry.complete(payload)
        return entry

    def get(self, entry: Entry) -> Any:
        """Return the value that an entry brings, or what it failed with."""
        for _ in range(50):
            self.drive()
            assert entry.done, "the world has come to rest, and the entry is open"
            if entry.payload is None:
                return entry.failure
            stored = entry.stored
            if stored is None:
                return pickle.loads(entry.payload.data)
            if self.has(stored):
                return stored.segment_id
            rebuild.on_missing(self.state, self.out, entry)
            self.settle()
        raise AssertionError("it is looked for again and again")

    def _made(self, call: PendingCall, name: str, returns: tuple[str, ...]) -> list[Entry]:
        self.results[call.task_id] = returns
        self._names[call.task_id] = name
        entries = list(call.entries)
        del call
        self.settle()
        return entries

    # -- what happens -----------------------------------------------------------------------------------------

    def lose(self, entry: Entry, *node_ids: bytes) -> None:  # type: ignore[override]
        """Remove an entry's data from machines, by default from all."""
        assert entry.stored is not None, "what is in a message cannot be lost"
        self.segments[entry.stored.segment_id] -= set(node_ids or NODES)

    def copy(self, entry: Entry, node_id: bytes) -> None:
        """Have another machine get an entry's data, as it does when it is used there."""
        stored = entry.stored
        assert stored is not None
        there = self.segments[stored.segment_id]
        source = next(location.node_id for location in stored.locations if location.node_id in there)
        there.add(node_id)
        self._served.setdefault((stored.segment_id, source), set()).add(node_id)

    def lose_node(self, node_id: bytes) -> None:
        """Have a machine disappear, with its workers and what its store held."""
        self.nodes.remove(node_id)
        self._served = {pair: served for pair, served in self._served.items() if pair[1] != node_id}
        for places in self.segments.values():
            places.discard(node_id)
        for worker in [worker for worker, home in self._workers.items() if home == node_id]:
            self.end(worker, started=0)
        self.hear(HEAD, NodeLost(node_id, "its agent is gone"))

    def has(self, stored: Stored) -> bool:
        """Return whether a segment can be had from where it is said to be."""
        there = self.segments.get(stored.segment_id, set())
        return not self.found_in_vain and any(location.node_id in there for location in stored.locations)

    def drive(self) -> None:
        """Answer all that is sent, until nothing more is."""
        while self.out.sent and not self.is_paused:
            peer, message = self.out.sent.pop(0)
            self._act(peer, message)
        self.settle()
        if self.out.sent and not self.is_paused:
            self.drive()

    def step(self, number: int) -> None:
        """Answer one of the words that were sent: the first to some peer."""
        peers = list(dict.fromkeys(peer for peer, _ in self.out.sent))
        if peers:
            peer = peers[number % len(peers)]
            index = next(index for index, (receiver, _) in enumerate(self.out.sent) if receiver == peer)
            self._act(*self.out.sent.pop(index))

    def _act(self, peer: bytes, message: Message) -> None:
        match message:
            case WantLeases():
                for _ in range(message.count):
                    self._grant(message.shape_id)
            case FindCopies():
                found = {
                    segment_id: tuple(place(node_id) for node_id in sorted(self.segments[segment_id]))
                    for segment_id in message.segment_ids
                    if self.segments.get(segment_id)
                }
                self.hear(HEAD, CopiesFound(message.request_id, found))
            case RunTask() | CallMethod() if peer in self.out.connected:
                self._run(peer, message)
            case _:
                pass

    def _grant(self, shape_id: int) -> None:
        if not self.state.leases.by_id[shape_id].wished:
            return
        self._lease_count += 1
        worker = b"w%07d" % self._lease_count
        self._leases[worker] = self._lease_count
        self._workers[worker] = self.nodes[self._lease_count % len(self.nodes)]
        self.hear(HEAD, LeaseGranted(self._lease_count, shape_id, worker, "mem://worker"))

    def end(self, worker: bytes, *, started: int) -> None:
        """End a worker, and the lease of it."""
        lease_id = self._leases.pop(worker, None)
        del self._workers[worker]
        if lease_id is not None and lease_id in self.state.leases.leases:
            OwnerScenario.lose(self, lease_id, worker, started=started)

    def _run(self, worker: bytes, message: RunTask | CallMethod) -> None:
        name = self._names[message.task_id]
        missing = tuple(
            payload.stored.segment_id
            for payload in (message.args, *message.arg_values)
            if payload.stored is not None and not self.has(payload.stored)
        )
        if missing:
            self.hear(worker, ArgumentsMissing(message.seq, missing))
            return
        version = None
        if isinstance(message, CallMethod):
            changes = self.changes.get(worker, 0)
            version = (message.incarnation, changes) if changes else (0, 0)
            if message.expected not in (None, version):
                self.hear(worker, ActorHasChanged(message.seq))
                return
            if not message.is_readonly:
                self.changes[worker] = changes + 1
                version = None
        self.attempts[name] = self.attempts.get(name, 0) + 1
        if self.crashes and isinstance(message, RunTask):
            self.crashes -= 1
            self.end(worker, started=message.seq)
        elif name in self.raising:
            self.raising.discard(name)
            self.hear(worker, CallRaised(message.seq, RemoteError("ValueError", name, f"ValueError: {name}\n")))
        elif message.num_returns == -1:
            self._yield(worker, message, name, version)
        else:
            self.ran.append(name)
            node_id = self._workers.get(worker, HOME)
            payloads = tuple(
                self._value(self._id(message, index), size, node_id)
                for index, size in enumerate(self.results[message.task_id])
            )
            self.hear(worker, CallSucceeded(message.seq, payloads, 1.0, version))

    def _yield(self, worker: bytes, message: RunTask | CallMethod, name: str, version: tuple[int, int] | None) -> None:
        self.ran.append(name)
        node_id = self._workers.get(worker, HOME)
        for index, size in enumerate(self.results[message.task_id]):
            if index < message.skip_items:
                continue
            payload = self._value(self._id(message, index + 1), size, node_id)
            self.hear(worker, ItemYielded(message.seq, index, payload, version))
            del payload
            if index + 1 == message.until_item:
                self.ran[-1] += f" to {index}"
                break
        self.hear(worker, CallSucceeded(message.seq, (), 1.0, version))

    def _id(self, message: RunTask | CallMethod, index: int) -> bytes:
        return ids.object_id(OWNER, ids.counter_of(message.task_id), index)

    def _value(self, object_id: bytes, size: str, node_id: bytes) -> Payload:
        if size == SMALL:
            return Payload(pickle.dumps(object_id))
        self.segments.setdefault(object_id, set()).add(node_id)
        return Payload(b"", stored=Stored(object_id, 100_000, (place(node_id),)))

    def _free(self, stored: Stored) -> None:
        """Free a segment as a process does: at all places that are known, and at home in any case.

        A machine passes it on to those that it has served. With no place known, it is freed wherever it may be.
        """
        there = self.segments.get(stored.segment_id, set())
        agenda = [HOME, *(location.node_id for location in stored.locations or map(place, NODES))]
        while agenda:
            node_id = agenda.pop()
            there.discard(node_id)
            agenda += self._served.pop((stored.segment_id, node_id), ()) if node_id in self.nodes else ()

    # -- what is seen -----------------------------------------------------------------------------------------

    def take_ran(self) -> list[str]:
        """Return the names of the calls that ran since the last look."""
        ran, self.ran = self.ran, []
        return ran
