"""Random lives of owners, workers, actors and nodes: whatever happens, the tables stay consistent and nothing leaks."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ipyactors.ground.quantities import to_units
from ipyactors.head.invariants import check_invariants
from ipyactors.wire import head_messages as said
from ipyactors.wire.node_messages import (
    HoldsDetached,
    KillWorker,
    KillWorkerAt,
    LeaveSession,
    NodeLeaving,
    NodeRegistered,
    ProcessGone,
    RegisterNode,
    StartWorker,
    WorkerDied,
)
from ipyactors.wire.specs import ActorState, Death, LossReason, RemoteError
from ipyactors.wire.store_messages import CopiesFound, FindCopies, LookForSegments, NodeLost, SegmentsFound
from tests.support.head_scenario import HeadScenario, actor_spec

FIRST = [b"n1", b"n0"]
MAX_NODES = 5
MAX_DRIVERS = 3
AT_WORK_ON = 1  # the number of the call that every worker is at
CPUS = st.sampled_from([0.0, 0.5, 1.0, 2.0, 9.0])

pick = st.integers(min_value=0, max_value=1_000)


class HeadMachine(RuleBasedStateMachine):
    """Drives a head with what peers may say, sensible or late or mistaken; agents do as they are told, in time."""

    def __init__(self) -> None:
        super().__init__()
        self.head = HeadScenario()
        self.asked: dict[bytes, tuple[bytes, StartWorker]] = {}
        self.killed: set[bytes] = set()
        self.cancelled: set[bytes] = set()
        self.up: set[bytes] = set()
        self.drivers: list[bytes] = []
        self.leases: list[tuple[bytes, int]] = []
        self.requests = 0
        self.holds_detached = False
        self.nodes = list(FIRST)
        self.further: list[bytes] = []
        self.questions: list[tuple[bytes, int]] = []
        self.unanswered: set[tuple[bytes, int]] = set()
        for node_id in FIRST:
            self.head.add_node(node_id, 2)

    # -- the world around the head -------------------------------------------------------------------------------

    def say(self, peer: bytes, *messages: Any) -> None:
        self.head.say(peer, *messages)
        self._listen()

    def _listen(self) -> None:
        for node_id in self.nodes:
            for word in self.head.take(node_id):
                if isinstance(word, LookForSegments):
                    self.questions.append((node_id, word.request_id))
                elif isinstance(word, NodeLost):
                    assert word.node_id not in self.nodes
                elif isinstance(word, (NodeRegistered, LeaveSession)):
                    assert node_id in self.further
                elif isinstance(word, HoldsDetached):
                    assert word.holds_any != self.holds_detached, "told what it knows"
                    self.holds_detached = word.holds_any
                elif isinstance(word, StartWorker):
                    assert word.worker_id not in self.asked
                    self.asked[word.worker_id] = (node_id, word)
                elif isinstance(word, KillWorkerAt):
                    if word.seq == AT_WORK_ON:
                        self.cancelled.add(word.worker_id)
                else:
                    assert isinstance(word, KillWorker)
                    assert word.worker_id not in self.killed, "told twice to end the same worker"
                    self.killed.add(word.worker_id)
        for owner_id in [*self.drivers, *self.up]:
            for word in self.head.take(owner_id):
                if isinstance(word, said.LeaseGranted):
                    assert word.worker_id in self.up
                    self.leases.append((owner_id, word.lease_id))
                elif isinstance(word, CopiesFound):
                    self.unanswered.remove((owner_id, word.request_id))
                    assert {place.node_id for places in word.locations.values() for place in places} <= {*self.nodes}

    def owners(self) -> list[bytes]:
        return self.drivers + sorted(self.up)

    def forget_worker(self, worker_id: bytes) -> None:
        self.asked.pop(worker_id, None)
        self.killed.discard(worker_id)
        self.cancelled.discard(worker_id)
        self.up.discard(worker_id)

    # -- who is there ----------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.drivers) < MAX_DRIVERS)
    @rule()
    def driver_comes(self) -> None:
        self.requests += 1
        driver_id = b"d%d" % self.requests
        self.head.add_driver(driver_id)
        self.drivers.append(driver_id)

    @precondition(lambda self: self.drivers)
    @rule(at=pick, in_good_order=st.booleans())
    def driver_goes(self, at: int, in_good_order: bool) -> None:
        driver_id = self.drivers.pop(at % len(self.drivers))
        self.say(*((driver_id, said.OwnerLeaving()) if in_good_order else (b"n1", ProcessGone(driver_id))))

    @precondition(lambda self: self.asked.keys() - self.up)
    @rule(at=pick)
    def worker_comes(self, at: int) -> None:
        starting = sorted(self.asked.keys() - self.up)
        worker_id = starting[at % len(starting)]
        self.up.add(worker_id)
        self.head.worker_up(worker_id, self.asked[worker_id][0])
        self._listen()

    @precondition(lambda self: self.asked)
    @rule(at=pick, reason=st.sampled_from([LossReason.KILLED, LossReason.EXITED, LossReason.START_FAILED]))
    def worker_dies(self, at: int, reason: LossReason) -> None:
        worker_id = sorted(self.asked)[at % len(self.asked)]
        node_id = self.asked[worker_id][0]
        self.forget_worker(worker_id)
        self.say(node_id, WorkerDied(worker_id, Death(reason)))

    @precondition(lambda self: self.killed or self.cancelled)
    @rule()
    def agents_do_as_they_are_told(self) -> None:
        for worker_id in sorted(self.killed | self.cancelled):
            node_id = self.asked[worker_id][0]
            self.forget_worker(worker_id)
            self.say(node_id, WorkerDied(worker_id, Death(LossReason.INTENDED)))

    @rule(seconds=st.sampled_from([0.01, 0.1, 1.0, 61.0]))
    def time_passes(self, seconds: float) -> None:
        self.head.pass_time(seconds)
        self._listen()

    # -- machines and stores ---------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.nodes) < MAX_NODES)
    @rule(cpus=st.integers(1, 4))
    def machine_joins(self, cpus: int) -> None:
        self.requests += 1
        node_id = b"n%d" % (self.requests + 1)
        self.nodes.append(node_id)
        self.further.append(node_id)
        self.say(node_id, RegisterNode(node_id.decode(), to_units({"CPU": cpus}), pid=100, joins=True))

    @precondition(lambda self: self.further)
    @rule(at=pick)
    def machine_is_lost(self, at: int) -> None:
        node_id = self.further.pop(at % len(self.further))
        self._listen()
        self.nodes.remove(node_id)
        for worker_id in [worker_id for worker_id, (where, _) in self.asked.items() if where == node_id]:
            self.forget_worker(worker_id)
        self.questions = [(asked, number) for asked, number in self.questions if asked != node_id]
        self.head.lose_node(node_id)
        self._listen()

    @precondition(lambda self: self.further)
    @rule(at=pick)
    def machine_is_to_leave(self, at: int) -> None:
        self.say(self.further[at % len(self.further)], NodeLeaving())

    @precondition(lambda self: self.owners())
    @rule(at=pick)
    def owner_seeks(self, at: int) -> None:
        self.requests += 1
        owner_id = self.owners()[at % len(self.owners())]
        self.unanswered.add((owner_id, self.requests))
        self.say(owner_id, FindCopies(self.requests, (b"segment",)))

    @precondition(lambda self: self.questions)
    @rule(at=pick, has_it=st.booleans())
    def store_answers(self, at: int, has_it: bool) -> None:
        node_id, number = self.questions.pop(at % len(self.questions))
        self.say(node_id, SegmentsFound(number, (b"segment",) if has_it else ()))

    # -- leases ----------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.owners())
    @rule(at=pick, shape_id=st.integers(1, 3), count=st.integers(0, 4), cpus=CPUS, prefer=pick)
    def owner_wants(self, at: int, shape_id: int, count: int, cpus: float, prefer: int) -> None:
        owner_id = self.owners()[at % len(self.owners())]
        node_id = (*self.nodes, b"")[prefer % (len(self.nodes) + 1)]
        self.say(owner_id, said.WantLeases(shape_id, to_units({"CPU": cpus}), count, prefer=node_id))

    @precondition(lambda self: self.leases)
    @rule(at=pick, is_mistaken=st.booleans())
    def owner_is_done(self, at: int, is_mistaken: bool) -> None:
        owner_id, lease_id = self.leases[at % len(self.leases)]
        if not is_mistaken:
            self.leases.remove((owner_id, lease_id))
        self.say(b"d2" if is_mistaken else owner_id, said.ReturnLease(lease_id))

    @precondition(lambda self: self.leases)
    @rule(at=pick, seq=st.integers(AT_WORK_ON, AT_WORK_ON + 1), is_mistaken=st.booleans())
    def owner_cancels_by_force(self, at: int, seq: int, is_mistaken: bool) -> None:
        owner_id, lease_id = self.leases[at % len(self.leases)]
        lease = self.head.tables.leases.get(lease_id)
        if lease is not None:
            self.say(b"d2" if is_mistaken else owner_id, said.KillLeasedWorker(lease.worker_id, seq, ""))

    @precondition(lambda self: self.up)
    @rule(at=pick, is_blocked=st.booleans())
    def worker_waits(self, at: int, is_blocked: bool) -> None:
        worker_id = sorted(self.up)[at % len(self.up)]
        self.say(worker_id, said.WorkerBlocked() if is_blocked else said.WorkerUnblocked())

    # -- actors ----------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.owners())
    @rule(
        at=pick, cpus=CPUS, max_restarts=st.integers(-1, 2), name=st.sampled_from(["", "x", "y"]),
        detached=st.booleans(), get_if_exists=st.booleans(),
    )  # fmt: skip
    def owner_creates(
        self, at: int, cpus: float, max_restarts: int, name: str, detached: bool, get_if_exists: bool
    ) -> None:
        self.requests += 1
        owner_id = self.owners()[at % len(self.owners())]
        actor_id = b"a%d" % (self.requests % 8)
        spec = actor_spec(actor_id, owner_id, cpus=cpus, max_restarts=max_restarts, name=name, detached=detached)
        self.say(owner_id, said.CreateActor(self.requests, spec, get_if_exists=get_if_exists))

    @precondition(lambda self: self.owners())
    @rule(at=pick, other=pick, actor=st.integers(0, 7), kind=st.integers(0, 5), count=st.integers(1, 3))
    def owner_handles(self, at: int, other: int, actor: int, kind: int, count: int) -> None:
        owners = self.owners()
        actor_id = b"a%d" % actor
        word = [
            said.HoldActor(actor_id),
            said.LendActor(actor_id, (*owners, b"d?")[other % (len(owners) + 1)]),
            said.ReleaseActor(actor_id, count),
            said.KillActor(actor_id, no_restart=count > 1),
            said.GetActor(1, "x", ""),
            said.DescribeCluster(1),
        ][kind]
        self.say(owners[at % len(owners)], word)

    @precondition(lambda self: self.up)
    @rule(at=pick, incarnation=st.integers(0, 2), kind=st.integers(0, 4))
    def worker_reports(self, at: int, incarnation: int, kind: int) -> None:
        worker_id = sorted(self.up)[at % len(self.up)]
        start = self.asked[worker_id][1]
        actor_id = start.actor.actor_id if start.actor else b"a0"
        word = {
            0: said.ActorInitFailed(actor_id, incarnation, RemoteError("E", "no", "")),
            1: said.ActorExited(actor_id, incarnation, "bye"),
        }.get(kind, said.ActorReady(actor_id, start.incarnation))
        self.say(worker_id, word)

    # -- what must hold --------------------------------------------------------------------------------------------

    @invariant()
    def tables_are_consistent(self) -> None:
        check_invariants(self.head.tables)

    @invariant()
    def the_agent_knows_whether_there_are_detached_actors(self) -> None:
        assert self.holds_detached == any(actor.spec.detached for actor in self.head.tables.live_actors())

    @invariant()
    def head_and_agents_know_the_same_workers(self) -> None:
        assert self.head.tables.workers.keys() == self.asked.keys()

    def teardown(self) -> None:
        """When all are gone, everything is free again."""
        while self.drivers:
            self.driver_goes(0, in_good_order=True)
        for actor_id, actor in list(self.head.tables.actors.items()):
            if actor.state is not ActorState.DEAD:
                self.head.add_driver(b"dz")
                self.drivers = [b"dz"]
                self.say(b"dz", said.KillActor(actor_id))
        self.drivers = []
        self.say(b"n1", ProcessGone(b"dz"))
        for key in list(self.head.tables.wishes):
            self.say(key[0], said.WantLeases(key[1], {}, 0))
        for lease in list(self.head.tables.leases.values()):
            if not lease.is_orphaned:
                self.say(lease.owner_id, said.ReturnLease(lease.lease_id))
        for _ in range(100):
            self.time_passes(61.0)
            if not self.killed:
                break
            self.agents_do_as_they_are_told()
        while self.asked.keys() - self.up:
            self.worker_comes(0)
        self.time_passes(61.0)
        if self.killed:
            self.agents_do_as_they_are_told()
        while self.questions:
            self.store_answers(0, has_it=True)
        assert not self.head.tables.searches
        assert not self.unanswered & {(owner_id, number) for owner_id in self.up for _, number in self.unanswered}
        assert not self.head.tables.workers
        assert not self.head.tables.leases
        assert not self.head.tables.names
        for node in self.head.tables.nodes.values():
            assert node.available == node.total


HeadMachine.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestHeadMachine = HeadMachine.TestCase
