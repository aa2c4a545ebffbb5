"""A small language for the owner's reactor: submit, let facts happen, take exactly what was sent, prove silence."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any, TypeVar

from ipyactors.ground import ids
from ipyactors.owner import outbox, reactor, withdrawal
from ipyactors.owner.actors import ActorClient, MethodCall
from ipyactors.owner.calls import PendingCall, TaskCall
from ipyactors.owner.current import CurrentCall
from ipyactors.owner.objects import Entry
from ipyactors.owner.out import Runner
from ipyactors.owner.state import OwnerState
from ipyactors.owner.streams import Stream
from ipyactors.owner.templates import STREAMING, MethodTemplate, TaskTemplate
from ipyactors.wire.codec import Message
from ipyactors.wire.events import Became, EventKind
from ipyactors.wire.head_messages import ActorChanged, LeaseGranted, LeaseLost
from ipyactors.wire.specs import ActorState, ActorStatus, Death, Definition, LossReason, Payload, RemoteError
from ipyactors.wire.worker_messages import CallSucceeded, Written

AnyCall = TypeVar("AnyCall", bound=PendingCall)

OWNER = b"downer01"
HEAD = ids.HEAD_ID


def payload(value: Any) -> Payload:
    return Payload(pickle.dumps(value))


def error(message: str = "no") -> RemoteError:
    return RemoteError("ValueError", message, f"ValueError: {message}\n")


def definition(name: str) -> Definition:
    return Definition(name.encode().ljust(16, b"."), name, Payload(name.encode()))


def task_template(name: str = "f", **options: Any) -> TaskTemplate:
    options.setdefault("demand", {"CPU": 10_000})
    return TaskTemplate(definition(name), name, **options)


class RecordingOut:
    """Keeps what the reactor wants; see :class:`ipyactors.owner.out.Out`."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, Message]] = []
        self.connected: dict[bytes, str] = {}
        self.events: list[tuple[EventKind, str, int]] = []
        self.places: list[tuple[EventKind, bytes, bytes]] = []
        self.became: list[Became] = []
        self.durations_s: list[tuple[EventKind, float]] = []
        self.object_events: list[tuple[EventKind, str, str]] = []
        self.shown: list[tuple[Written, int]] = []
        self.own: Callable[[Payload], object] = lambda _payload: None

    def to_head(self, message: Message) -> None:
        self.sent.append((HEAD, message))

    def to_worker(self, worker_id: bytes, message: Message) -> None:
        assert worker_id in self.connected, f"{worker_id!r} is sent {message} and is not connected"
        self.sent.append((worker_id, message))

    def to_caller(self, peer: bytes, message: Message) -> None:
        self.sent.append((peer, message))

    def connect(self, process_id: bytes, address: str) -> None:
        self.connected[process_id] = address

    def disconnect(self, process_id: bytes) -> None:
        self.connected.pop(process_id, None)

    def event(
        self,
        kind: EventKind,
        call: PendingCall,
        *,
        duration_s: float = 0.0,
        detail: str = "",
        by: Runner | None = None,
        incarnation: int | None = None,
        ago_s: float = 0.0,
        became: Became = Became.NOT_KNOWN,
    ) -> None:
        self.became.append(became)
        self.events.append((kind, call.name, call.attempt + getattr(call, "interrupted", 0)))
        self.durations_s.append((kind, duration_s))
        if by is not None:
            self.places.append((kind, by.worker_id, by.node_id))

    def object_event(
        self, kind: EventKind, object_id: bytes, *, name: str = "", attempt: int = 0, detail: str = ""
    ) -> None:
        self.object_events.append((kind, name, detail))

    def show(self, written: Written, scope: int = 0) -> None:
        self.shown.append((written, scope))


class OwnerScenario:
    """One owner, no sockets, a clock that stands still until told."""

    def __init__(self) -> None:
        self.state = OwnerState(OWNER, "mem://owner")
        self.out = RecordingOut()
        self.now_s = 100.0
        self._counter = 0

    # -- what user code does ----------------------------------------------------------------------------------

    def _submit(self, call: AnyCall, num_returns: int) -> AnyCall:
        if num_returns == STREAMING:
            call.stream = Stream(call.task_id)
        else:
            call.entries = tuple(
                Entry(ids.object_id(OWNER, self._counter, index), call) for index in range(num_returns)
            )
        reactor.submit(self.state, self.out, call)
        return call

    def _next_task_id(self) -> bytes:
        self._counter += 1
        return ids.object_id(OWNER, self._counter)

    def task(
        self,
        name: str = "f",
        *,
        deps: tuple[Entry, ...] = (),
        parent: CurrentCall | None = None,
        settle: bool = True,
        **options: Any,
    ) -> PendingCall:
        template = task_template(name, **options)
        call = TaskCall(template, self._next_task_id(), payload(self._counter), deps, parent)
        self._submit(call, template.num_returns)
        if settle:
            self.settle()
        return call

    def method(
        self, client: ActorClient, name: str = "m", *, deps: tuple[Entry, ...] = (), settle: bool = True, **options: Any
    ) -> PendingCall:
        template = MethodTemplate(name, **options)
        call = MethodCall(template, client, self._next_task_id(), payload(self._counter), deps, None)
        self._submit(call, template.num_returns)
        if settle:
            self.settle()
        return call

    def actor(self, name: str = "c") -> ActorClient:
        client = outbox.client_of(self.state, name.encode().ljust(16, b"."))
        client.class_name, client.name, client.weight, client.handles = "Counter", name, 1, 1
        return client

    # -- what happens -----------------------------------------------------------------------------------------

    def settle(self) -> None:
        self.state.now_s = self.now_s
        withdrawal.end_some(self.state)
        reactor.settle(self.state, self.out, self.now_s)
        self.state.check_invariants()

    def hear(self, peer: bytes, *messages: Message) -> None:
        for message in messages:
            reactor.HANDLERS[type(message)](self.state, self.out, peer, message, self.now_s)
        self.settle()

    def grant(self, lease_id: int, worker: bytes, shape_id: int = 1) -> None:
        self.hear(HEAD, LeaseGranted(lease_id, shape_id, worker, f"mem://{worker.decode()}"))

    def lose(self, lease_id: int, worker: bytes, *, started: int, **facts: Any) -> None:
        self.hear(HEAD, LeaseLost(lease_id, worker, death(worker, started, **facts)))

    def alive(self, client: ActorClient, worker: bytes, incarnation: int = 0) -> None:
        status = ActorStatus(
            client.actor_id, ActorState.ALIVE, incarnation, -1, worker, address=f"mem://{worker.decode()}"
        )
        self.hear(HEAD, ActorChanged(status))

    def died(self, client: ActorClient, worker: bytes, *, started: int, final: bool, incarnation: int = 0) -> None:
        state = ActorState.DEAD if final else ActorState.RESTARTING
        status = ActorStatus(client.actor_id, state, incarnation, 0, death=death(worker, started))
        self.hear(HEAD, ActorChanged(status))

    def answer(self, worker: bytes, *seqs: int, value: Any = None, duration_s: float = 0.0) -> None:
        self.hear(worker, *(CallSucceeded(seq, (payload(value),), duration_s=duration_s) for seq in seqs))

    # -- what is seen -----------------------------------------------------------------------------------------

    def take(self, *kinds: type[Message]) -> list[Any]:
        """Return everything sent since the last look; it must be exactly these kinds, in this order."""
        messages = [message for _, message in self.out.sent]
        assert [type(message) for message in messages] == list(kinds), messages
        self.out.sent.clear()
        return messages

    def take_seqs(self, worker: bytes, kind: type[Message]) -> list[int]:
        """Return the numbers of the calls of one kind that were sent to a worker, and forget all that was sent."""
        seqs = [message.seq for peer, message in self.out.sent if peer == worker and isinstance(message, kind)]
        self.out.sent.clear()
        return seqs

    def silence(self) -> None:
        assert self.out.sent == []


def death(worker: bytes, started: int, **facts: Any) -> Death:
    facts.setdefault("signal", 9)
    return Death(LossReason.KILLED, worker_id=worker, started={OWNER: started} if started else {}, **facts)
