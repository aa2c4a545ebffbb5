"""Several owners in one test: their real states and mail, wires that deliver late, a head that only knows who lives.

Two things are taken for granted, as in :mod:`ipyactors.owner.loans`: what a process says leaves it in the order in
which it was said, whomever it is for, so that a crash loses the end of it; and a notice of a death is heard after all
that the dead process has sent to the same place.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from ipyactors.ground import ids
from ipyactors.ground.clock import FakeClock
from ipyactors.owner import borrowing, constructors, loans, reactor
from ipyactors.owner.event_log import EventLog
from ipyactors.owner.mail import Mail
from ipyactors.owner.objects import Entry
from ipyactors.owner.state import OwnerState
from ipyactors.wire.codec import Codec, Message, encode
from ipyactors.wire.head_messages import (
    ActorChanged,
    AskBorrower,
    HeadToOwner,
    OwnerLost,
    OwnerToHead,
    OwnsObjects,
    SettleLends,
    WatchOwner,
)
from ipyactors.wire.specs import ActorSpec, ActorState, ActorStatus, Definition, Payload, RefSpec
from ipyactors.wire.store_messages import (
    ClaimObjects,
    CopiesFound,
    FindCopies,
    ObjectsClaimed,
    OwnerToStores,
    ReleaseClaims,
    StoresToOwner,
)
from ipyactors.wire.worker_messages import (
    BorrowerToOwner,
    CallerToWorker,
    CallMethod,
    CallSucceeded,
    OwnerToBorrower,
    WorkerToCaller,
)

HEAD = ids.HEAD_ID

#: By which of its sockets a process says something; the other side hears it on its other one.
CALLING, ANSWERING = "calling", "answering"

_CODECS = {
    CALLING: Codec(CallerToWorker | BorrowerToOwner),
    ANSWERING: Codec(WorkerToCaller | OwnerToBorrower),
    "to head": Codec(OwnerToHead | OwnerToStores),
    "from head": Codec(HeadToOwner | StoresToOwner),
}

#: Sender, receiver, and which of the sender's sockets.
Wire = tuple[bytes, bytes, str]


class _Socket:
    """One door of a process; see :class:`ipyactors.wire.channel.Channel`."""

    def __init__(self, world: World, process_id: bytes, door: str) -> None:
        self._world = world
        self._process_id = process_id
        self._door = door
        self.connected: set[bytes] = {HEAD}

    def send(self, peer: bytes, messages: Sequence[Message]) -> bool:
        if self._door == CALLING and peer not in self.connected:
            return False
        for message in messages:
            self._world.post(self._process_id, peer, self._door, message)
        return True

    def connect(self, peer: bytes, address: str) -> None:
        assert address == f"mem://{peer.decode()}"
        self.connected.add(peer)

    def disconnect(self, peer: bytes) -> None:
        self.connected.discard(peer)


class Process:
    """One owner. ``refs`` are what its user holds, ``inbox`` the payloads that came and were not opened."""

    def __init__(self, world: World, process_id: bytes, *, is_driver: bool) -> None:
        self.world = world
        self.process_id = process_id
        self.state = OwnerState(process_id, f"mem://{process_id.decode()}", is_driver=is_driver)
        self.calling = _Socket(world, process_id, CALLING)
        answering = _Socket(world, process_id, ANSWERING)
        self.mail = Mail(self.calling, answering, EventLog(FakeClock()))  # type: ignore[arg-type]
        self.mail.lend = lambda peer, payload: loans.lend(self.state, self.mail, peer, payload)
        self.mail.receive = self._receive
        self.refs: list[Entry] = []
        self.inbox: list[Payload] = []
        self._counter = 0

    def _receive(self, sender: bytes, payload: Payload) -> None:
        payload.holding(*loans.receive(self.state, self.mail, sender, payload))

    def pack(self, entries: Sequence[Entry]) -> Payload:
        """Pickle references, as an argument, a result or a value to put."""
        specs = [loans.refer(self.state, self.mail, entry, is_carried=True) for entry in entries]
        return Payload(b"", (), tuple(dict.fromkeys(specs))).holding(*entries)

    def put(self, entries: Sequence[Entry]) -> None:
        """Make an object of which others may come to hear, with references inside."""
        self._counter += 1
        entry = Entry(ids.object_id(self.process_id, self._counter))
        entry.complete(self.pack(entries))
        self.world.made[entry.object_id] = weakref.ref(entry)
        self.world.values[entry.object_id] = tuple(inner.object_id for inner in entries)
        self.refs.append(entry)

    def call(self, worker_id: bytes, entries: Sequence[Entry]) -> None:
        """Send references as arguments."""
        self.mail.connect(worker_id, f"mem://{worker_id.decode()}")
        self.mail.to_worker(worker_id, CallMethod(1, b"", "m", self.pack(entries)))

    def answer(self, caller_id: bytes, entries: Sequence[Entry]) -> None:
        """Send references as a result; what was packed is gone when it leaves, as in a worker."""
        payload = self.pack(entries)
        self.mail.lend(caller_id, payload)
        self.mail.to_caller(caller_id, CallSucceeded(1, (payload,)))

    def hear(self, peer: bytes, message: Any) -> None:
        """Act on one message as a session does."""
        if isinstance(message, CallMethod):
            self.mail.receive(peer, message.args)
            self.inbox.append(message.args)
            return
        if isinstance(message, CallSucceeded):
            self.inbox += message.results
        reactor.HANDLERS[type(message)](self.state, self.mail, peer, message, 0.0)

    def construct(self, spec: ActorSpec) -> None:
        """Be the process of an actor; its constructor keeps what it is given."""
        for payload in constructors.payloads_of(spec):
            held = loans.receive_for_constructor(self.state, self.mail, spec.owner_id, payload)
            self.refs += [loans.adopt(self.state, self.mail, ref) for ref in payload.refs]
            del held

    def turn(self) -> None:
        """Give back what is not needed, send what is queued."""
        loans.give_back(self.state, self.mail)
        self.mail.flush()


class Actor:
    """An actor as the head knows it."""

    def __init__(self, spec: ActorSpec, restarts_left: int) -> None:
        self.spec = spec
        self.restarts_left = restarts_left
        self.worker_id = b""
        self.is_starting = False
        self.is_dead = False

    @property
    def may_start(self) -> bool:
        """Whether its constructor may still run, or is about to."""
        return not self.is_dead and (self.is_starting or not self.worker_id or self.restarts_left != 0)

    def status(self, state: ActorState) -> ActorStatus:
        return ActorStatus(self.spec.actor_id, state, 0, self.restarts_left, self.worker_id)


class World:
    """Everybody, and all that is under way."""

    def __init__(self) -> None:
        self.processes: dict[bytes, Process] = {}
        self.wires: dict[Wire, deque[tuple[int, bytes, str]]] = {}
        self.made: dict[bytes, weakref.ref[Entry]] = {}
        self.values: dict[bytes, tuple[bytes, ...]] = {}
        """By object id: the ids of the objects to which its value refers."""
        self.loose: list[tuple[RefSpec, bytes, int]] = []
        """References in files: with who pickled it, and how much that process had said when it was kept for that."""
        self.actors: list[Actor] = []
        self.crashed: list[bytes] = []
        """Those who are dead, and the head has not heard it."""
        self.gone: set[bytes] = set()
        self.watchers: dict[bytes, set[bytes]] = {}
        self.owning: dict[bytes, bool] = {}
        self.claims: dict[bytes, set[bytes]] = {}
        """By process: what it has claimed of those that are gone."""
        self.unanswered: set[tuple[bytes, bytes]] = set()
        """Who was asked what it claims, and of whom, and has not answered."""
        self._said: dict[bytes, int] = {}
        self._heard: dict[bytes, int] = {}

    def add(self, process_id: bytes, *, is_driver: bool = False) -> Process:
        made = self.processes[process_id] = Process(self, process_id, is_driver=is_driver)
        return made

    # -- wires ------------------------------------------------------------------------------------------------

    def post(self, sender: bytes, receiver: bytes, door: str, message: Message) -> None:
        if sender == HEAD:
            door = "from head"
        elif receiver == HEAD:
            door = "to head"
        said = self._said[sender] = self._said.get(sender, 0) + 1
        if receiver == HEAD or receiver in self.processes:
            self.wires.setdefault((sender, receiver, door), deque()).append((said, encode([message]), door))

    def said(self, sender: bytes) -> int:
        """Return how many messages a process has sent in its life."""
        return self._said.get(sender, 0)

    def ready(self) -> list[Wire]:
        """Return the wires on which the next message may arrive now."""
        return [wire for wire in sorted(self.wires) if self._may_arrive(wire)]

    def _may_arrive(self, wire: Wire) -> bool:
        _sender, receiver, door = wire
        if door != "from head":
            return True
        message = self._decode(wire)
        if not isinstance(message, (OwnerLost, ClaimObjects)):
            return True
        return not any((message.owner_id, receiver, other) in self.wires for other in (CALLING, ANSWERING))

    def _decode(self, wire: Wire) -> Any:
        _, frame, door = self.wires[wire][0]
        [message] = _CODECS[door].decode(memoryview(frame))
        return message

    def deliver(self, wire: Wire) -> None:
        """Have the next message of a wire arrive."""
        sender, receiver, _ = wire
        message = self._decode(wire)
        said, _, _ = self.wires[wire].popleft()
        if not self.wires[wire]:
            del self.wires[wire]
        self._heard[sender] = max(said, self._heard.get(sender, 0))
        if receiver == HEAD:
            self._head_hears(sender, message)
        elif receiver in self.processes:
            self.processes[receiver].hear(sender, message)

    # -- the head ---------------------------------------------------------------------------------------------

    def _say(self, receiver: bytes, message: Message) -> None:
        self.post(HEAD, receiver, "", message)

    def _head_hears(self, sender: bytes, message: Any) -> None:
        match message:
            case WatchOwner(owner_id) if owner_id in self.gone:
                self._say(sender, OwnerLost(owner_id))
            case WatchOwner(owner_id):
                self.watchers.setdefault(owner_id, set()).add(sender)
            case AskBorrower(borrower_id, lender_id, address):
                if borrower_id not in self.gone:
                    self._say(borrower_id, SettleLends(lender_id, sender, address))
            case OwnsObjects(owns):
                self.owning[sender] = owns
            case ObjectsClaimed(owner_id, object_ids):
                assert owner_id in self.gone, "something is claimed of who lives"
                self.claims.setdefault(sender, set()).update(object_ids)
                self.unanswered.discard((sender, owner_id))
            case ReleaseClaims(object_ids):
                assert self.claims[sender].issuperset(object_ids), "what is released was not claimed"
                self.claims[sender].difference_update(object_ids)
            case FindCopies(request_id):
                self._say(sender, CopiesFound(request_id, {}))

    def crash(self, process_id: bytes, share: float) -> None:
        """End a process. Of what it has said and is under way, only a first part, ``share`` of it, has left it.

        The actors that it has created end with it.
        """
        del self.processes[process_id]
        for actor in self.actors:
            if actor.spec.owner_id == process_id and not actor.is_dead and actor.worker_id in self.processes:
                self.crash(actor.worker_id, share)
        for wire in [wire for wire in self.wires if wire[1] == process_id]:
            del self.wires[wire]
        heard = self._heard.get(process_id, 0)
        last = heard + round((self.said(process_id) - heard) * share)
        for wire in [wire for wire in self.wires if wire[0] == process_id]:
            self.wires[wire] = deque(item for item in self.wires[wire] if item[0] <= last)
            if not self.wires[wire]:
                del self.wires[wire]
        self.loose = [item for item in self.loose if item[1] != process_id or item[2] <= last]
        self.crashed.append(process_id)

    def report(self, process_id: bytes) -> None:
        """Have the head hear of a death."""
        if any(wire[:2] == (process_id, HEAD) for wire in self.wires):
            return
        self.crashed.remove(process_id)
        self.gone.add(process_id)
        for watcher_id in sorted(self.watchers.pop(process_id, set())):
            self._say(watcher_id, OwnerLost(process_id))
        self.claims.pop(process_id, None)
        for other_id in self.processes:
            self._say(other_id, ClaimObjects(process_id))
            self.unanswered.add((other_id, process_id))
        for actor in self.actors:
            if actor.is_dead:
                continue
            if actor.spec.owner_id == process_id:
                actor.is_dead = True
            elif actor.worker_id == process_id and actor.restarts_left == 0 and not actor.is_starting:
                actor.is_dead = True
                self._say(actor.spec.owner_id, ActorChanged(actor.status(ActorState.DEAD)))
            elif actor.worker_id == process_id:
                actor.restarts_left -= not actor.is_starting
                actor.worker_id, actor.is_starting = b"", False
                self._say(actor.spec.owner_id, ActorChanged(actor.status(ActorState.RESTARTING)))

    # -- actors -----------------------------------------------------------------------------------------------

    def create(self, creator: Process, entries: Sequence[Entry], restarts: int) -> None:
        """Have a process create an actor whose constructor needs references, and values that they stand for."""
        actor_id = b"a%015d" % len(self.actors)
        definition = Definition(b"c", "C", Payload(b""))
        named = tuple(constructors.stand_for(creator.state, creator.mail, entry) for entry in entries[1::2])
        spec = ActorSpec(actor_id, "C", creator.process_id, definition, creator.pack(entries[::2]), named)
        constructors.keep(creator.state, creator.mail, spec)
        self.actors.append(Actor(_copied(spec), restarts))

    def start(self, actor: Actor, process: Process) -> None:
        """Begin to start an actor in a process."""
        actor.worker_id, actor.is_starting = process.process_id, True
        process.construct(_copied(actor.spec))

    def finish_start(self, actor: Actor) -> None:
        """Have the head hear that the constructor has run."""
        actor.is_starting = False
        self._say(actor.spec.owner_id, ActorChanged(actor.status(ActorState.ALIVE)))

    # -- what must hold ---------------------------------------------------------------------------------------

    def reachable(self) -> set[bytes]:
        """Return the ids of all objects that somebody who lives can come to."""
        found: set[bytes] = set()
        waiting = [*self._roots()]
        while waiting:
            object_id = waiting.pop()
            if object_id not in found:
                found.add(object_id)
                if ids.owner_of(object_id) in self.processes:
                    waiting.extend(self.values[object_id])
        return found

    def _roots(self) -> Iterator[bytes]:
        for process in self.processes.values():
            for entry in process.refs:
                yield from _held_by(entry)
            for payload in process.inbox:
                for held in payload.held:
                    assert isinstance(held, Entry)
                    yield from _held_by(held)
        for (_, receiver, _), items in self.wires.items():
            for _, frame, door in items:
                if receiver in self.processes:
                    yield from _named_in(_CODECS[door].decode(memoryview(frame)))
        for spec, _, _ in self.loose:
            yield spec.object_id
        for actor in self.actors:
            if actor.may_start and actor.spec.owner_id in self.processes:
                for payload in constructors.payloads_of(actor.spec):
                    yield from (ref.object_id for ref in payload.refs)

    def check_nothing_is_freed(self) -> None:
        """Raise AssertionError if an object that can be reached is not there any more."""
        for object_id in self.reachable():
            owner = self.processes.get(ids.owner_of(object_id))
            assert owner is None or self.made[object_id]() is not None, f"{object_id!r} is reachable and freed"

    def check_nothing_is_kept(self) -> None:
        """Raise AssertionError if an object is there in vain, or a count is wrong; when nothing is under way."""
        alive = {object_id for object_id, made in self.made.items() if made() is not None}
        owned = {object_id for object_id in alive if ids.owner_of(object_id) in self.processes}
        assert owned <= self.reachable(), "an object is kept that nobody can reach"
        for owner in self.processes.values():
            objects = owner.state.objects
            assert not objects.unsettled
            assert not objects.settling
            for object_id, counts in objects.lent.items():
                for (lender_id, borrower_id), count in counts.items():
                    weights = self.processes[borrower_id].state.objects.loans.get(object_id, {})
                    assert count == weights.get(lender_id, 0), (object_id, lender_id, borrower_id, count, weights)
            for object_id, weights in objects.loans.items():
                lender = self.processes.get(ids.owner_of(object_id))
                if lender is not None:
                    counts = lender.state.objects.lent.get(object_id, {})
                    known = {pair[0]: count for pair, count in counts.items() if pair[1] == owner.process_id}
                    assert known == weights, (object_id, known, weights)
            self._check_claims(owner)
            if not owner.state.is_driver:
                assert self.owning.get(owner.process_id, False) == bool(objects.exported)

    def _check_claims(self, claimant: Process) -> None:
        """Raise AssertionError unless a process has claimed what it refers to of those who are gone, and only that."""
        claimed = self.claims.get(claimant.process_id, set())
        borrowed = claimant.state.objects.borrowed
        assert claimed == claimant.state.objects.claimed
        assert claimed <= set(borrowed), "an object is claimed to which nothing here refers"
        for object_id, entry in borrowed.items():
            if ids.owner_of(object_id) in self.gone and not entry.done:
                assert object_id in claimed, "the data of an object may be removed, and is still referred to"
        assert not any(process_id == claimant.process_id for process_id, _ in self.unanswered), "it has not answered"

    def settle(self) -> None:
        """Let everything arrive, with all that follows from it; constructors that run come to their end."""
        while True:
            for actor in self.actors:
                if actor.is_starting and actor.worker_id in self.processes and not actor.is_dead:
                    self.finish_start(actor)
            for process in list(self.processes.values()):
                process.turn()
            ready = self.ready()
            if ready:
                self.deliver(ready[0])
            elif self.crashed:
                self.report(self.crashed[0])
            elif not self.wires and not any(process.state.objects.gone for process in self.processes.values()):
                return

    def fetch(self, process: Process, entry: Entry) -> None:
        """Ask for the value of something borrowed."""
        borrowing.fetch(process.state, process.mail, entry)


def _copied(spec: ActorSpec) -> ActorSpec:
    """Return a specification as another process has it."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(spec), type=ActorSpec)


def _held_by(entry: Entry) -> Iterator[bytes]:
    yield entry.object_id
    for held in entry.payload.held if entry.payload is not None else ():
        assert isinstance(held, Entry)
        yield from _held_by(held)


def _named_in(messages: Sequence[Any]) -> Iterator[bytes]:
    for message in messages:
        payloads: Sequence[Payload] = ()
        if isinstance(message, CallMethod):
            payloads = (message.args,)
        elif isinstance(message, CallSucceeded):
            payloads = message.results
        elif getattr(message, "payload", None) is not None:
            payloads = (message.payload,)
        for payload in payloads:
            yield from (spec.object_id for spec in payload.refs)
