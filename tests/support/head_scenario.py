"""A small language for tests of the head: somebody says something, exactly these words follow, nothing else."""

from __future__ import annotations

from typing import Any, TypeVar

from ipyactors.ground.clock import FakeClock
from ipyactors.ground.quantities import to_units
from ipyactors.head.invariants import check_invariants
from ipyactors.head.reactor import Reactor
from ipyactors.head.tables import Tables
from ipyactors.wire.codec import Message
from ipyactors.wire.head_messages import ActorChanged, ActorReady, CreateActor, LeaseGranted, RegisterOwner, WantLeases
from ipyactors.wire.node_messages import (
    HoldsDetached,
    NodeRegistered,
    RegisterNode,
    StartWorker,
    WorkerDied,
    WorkerRecord,
    WorkerStarted,
)
from ipyactors.wire.specs import ActorSpec, ActorStatus, Death, Definition, LossReason, Payload
from ipyactors.wire.store_messages import ClaimObjects, ForgetOwner

SETTLE_S = 10.0

AnyMessage = TypeVar("AnyMessage", bound=Message)


def actor_spec(actor_id: bytes, owner_id: bytes, *, cpus: float = 0, **fields: Any) -> ActorSpec:
    """An actor of class Counter that demands ``cpus``."""
    definition = Definition(b"c" * 16, "Counter", Payload(b"class"))
    demand = to_units({"CPU": cpus})
    return ActorSpec(actor_id, "Counter", owner_id, definition, Payload(b"args"), demand=demand, **fields)


def killed(**fields: Any) -> Death:
    """A death by SIGKILL, as an agent reports it."""
    return Death(LossReason.KILLED, signal=9, **fields)


class MemoryShelf:
    """What the head keeps on disk; while ``error`` is set, the disk fails with it."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.error: OSError | None = None

    def put(self, key: str, value: bytes) -> None:
        self._check()
        self.kept[key] = value

    def get(self, key: str) -> bytes | None:
        self._check()
        return self.kept.get(key)

    def delete(self, key: str) -> None:
        self._check()
        self.kept.pop(key, None)

    def _check(self) -> None:
        if self.error is not None:
            raise self.error


class HeadScenario:
    """A head without sockets. Invariants are checked after each word. Worker ids are w1, w2 …"""

    def __init__(self, head_epoch: int = 0) -> None:
        self.clock = FakeClock()
        self._workers = 0
        settle_at_s = self.clock.now_s + SETTLE_S
        self.tables = Tables(head_epoch, settle_at_s, new_worker_id=self._new_worker_id)
        self.reactor = Reactor(self.tables, self)
        self._sent: dict[bytes, list[Message]] = {}
        self.shelf = MemoryShelf()
        self.forgotten: list[tuple[bytes, bytes]] = []
        """The machines that were told to forget an owner, and which."""
        self.asked: list[tuple[bytes, bytes]] = []
        """The processes that were asked what they claim, and of which owner."""
        self.kept: dict[bytes, tuple[bytes, ...]] = {}
        """What the machines were told to keep of what it owned, by owner."""
        self.watched: dict[bytes, int] = {}
        """The pids of the agents that the shell is to watch."""

    # -- what the head may cause ----------------------------------------------------------------------------------

    def to_owner(self, owner_id: bytes, message: Message) -> None:
        if isinstance(message, ClaimObjects):  # asked at the end of each process that may have lent something
            self.asked.append((owner_id, message.owner_id))
        else:
            self._sent.setdefault(owner_id, []).append(message)

    def to_node(self, node_id: bytes, message: Message) -> None:
        if isinstance(message, ForgetOwner):  # said at the end of every process; few tests are about it
            self.forgotten.append((node_id, message.owner_id))
            self.kept[message.owner_id] = message.keep
        else:
            self._sent.setdefault(node_id, []).append(message)

    def watch_agent(self, node_id: bytes, pid: int) -> None:
        self.watched[node_id] = pid

    # -- saying things --------------------------------------------------------------------------------------------

    def say(self, peer: bytes, *messages: Message) -> None:
        """``peer`` sends a batch; the head takes one turn."""
        for message in messages:
            self.reactor.on_message(peer, message, self.clock.monotonic(), self.clock.wall())
        self.turn()

    def turn(self) -> float:
        wait_s = self.reactor.on_turn(self.clock.monotonic(), self.clock.wall())
        check_invariants(self.tables)
        return wait_s

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.turn()

    # -- hearing things -------------------------------------------------------------------------------------------

    def take(self, peer: bytes) -> list[Message]:
        """Everything that was said to ``peer`` since it was last asked."""
        return self._sent.pop(peer, [])

    def take_one(self, peer: bytes, kind: type[AnyMessage]) -> AnyMessage:
        """The one message that was said to ``peer``, which is of ``kind``."""
        [message] = self.take(peer)
        assert isinstance(message, kind), message
        return message

    def take_status(self, peer: bytes) -> ActorStatus:
        return self.take_one(peer, ActorChanged).status

    def expect(self, peer: bytes, *messages: Message) -> None:
        """Exactly ``messages`` were said to ``peer``."""
        assert self.take(peer) == list(messages)

    def expect_silence(self) -> None:
        """Nothing else was said to anybody."""
        assert not self._sent, self._sent

    def forget(self) -> None:
        self._sent.clear()

    # -- building -------------------------------------------------------------------------------------------------

    def add_node(
        self,
        node_id: bytes = b"n1",
        cpus: float = 2,
        *workers: WorkerRecord,
        drivers: tuple[bytes, ...] = (),
        **more: float,
    ) -> None:
        total = to_units({"CPU": cpus, **more})
        self.say(node_id, RegisterNode(node_id.decode(), total, workers, drivers=drivers))

    def join_node(self, node_id: bytes = b"n2", cpus: float = 2, *workers: WorkerRecord, **more: float) -> None:
        """A further machine joins, whose agent has the pid 100."""
        total = to_units({"CPU": cpus, **more})
        address = f"ipc://{node_id.decode()}"
        self.say(node_id, RegisterNode(node_id.decode(), total, workers, address=address, pid=100, joins=True))
        assert self.take(node_id)[0] == NodeRegistered(self.tables.head_epoch)

    def lose_node(self, node_id: bytes = b"n2") -> None:
        """A further machine's agent has ended, and its workers."""
        self.reactor.on_agent_gone(node_id, self.clock.monotonic(), self.clock.wall())
        self.turn()

    def add_driver(self, driver_id: bytes = b"d1", **fields: Any) -> None:
        self.say(driver_id, RegisterOwner(f"ipc://{driver_id.decode()}", is_driver=True, pid=1, **fields))
        self.take(driver_id)

    def worker_up(self, worker_id: bytes, node_id: bytes = b"n1", **fields: Any) -> None:
        """The worker's process exists, and its session has registered."""
        self.say(node_id, WorkerStarted(worker_id, 7))
        self.say(worker_id, RegisterOwner(self.address(worker_id), is_driver=False, pid=7, **fields))
        self.take(worker_id)

    def address(self, worker_id: bytes) -> str:
        return f"ipc://{worker_id.decode()}"

    def worker_dies(self, worker_id: bytes, death: Death | None = None, node_id: bytes = b"n1") -> None:
        self.say(node_id, WorkerDied(worker_id, death or killed()))

    def want(self, owner_id: bytes, count: int, cpus: float = 1, shape_id: int = 1) -> None:
        self.say(owner_id, WantLeases(shape_id, to_units({"CPU": cpus}), count, "f"))

    def lease(self, owner_id: bytes = b"d1", cpus: float = 1, shape_id: int = 1) -> LeaseGranted:
        """The owner gets one lease, on a worker that is started for it."""
        self.want(owner_id, 1, cpus, shape_id)
        started = self.take_one(b"n1", StartWorker)
        self.worker_up(started.worker_id)
        return self.take_one(owner_id, LeaseGranted)

    def create_actor(self, actor_id: bytes = b"a1", owner_id: bytes = b"d1", **fields: Any) -> bytes:
        """The owner creates an actor, which becomes alive; returns its worker. What was said is forgotten."""
        self.say(owner_id, CreateActor(1, actor_spec(actor_id, owner_id, **fields)))
        [started] = [message for message in self.take(b"n1") if not isinstance(message, HoldsDetached)]
        assert isinstance(started, StartWorker), started
        self.actor_up(started.worker_id, actor_id)
        self.take(owner_id)
        return started.worker_id

    def actor_up(self, worker_id: bytes, actor_id: bytes = b"a1", incarnation: int = 0, node_id: bytes = b"n1") -> None:
        self.worker_up(worker_id, node_id)
        self.say(worker_id, ActorReady(actor_id, incarnation))

    def _new_worker_id(self) -> bytes:
        self._workers += 1
        return b"w%d" % self._workers
