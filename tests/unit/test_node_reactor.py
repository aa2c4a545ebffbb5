"""The agent's decisions, without a process or a socket."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from ipyactors.ground.config import SessionPaths
from ipyactors.node import reactor
from ipyactors.node.children import Child, Evidence
from ipyactors.wire.node_messages import (
    AttachProcess,
    ForkFailed,
    ForkWorker,
    HeadRestarted,
    KillWorker,
    KillWorkerAt,
    RegisterNode,
    SessionStopping,
    StartWorker,
    StopSession,
    WorkerDied,
    WorkerForked,
    WorkerRecord,
    WorkerStarted,
)
from ipyactors.wire.specs import Death, LossReason

NODE, DRIVER, W1, W2 = b"n-------", b"d-------", b"w1------", b"w2------"
PATHS = SessionPaths("s", "/state", "/run")
SIGKILLED = Evidence(signal=signal.SIGKILL)


class Recorder:
    """An ``Out`` that keeps what it is told, in order."""

    def __init__(self) -> None:
        self.deeds: list[tuple[Any, ...]] = []
        self.watched: dict[bytes, int] = {}

    def tell_head(self, message: Any) -> None:
        self.deeds.append(("head", message))

    def tell_process(self, process_id: bytes, message: Any) -> None:
        self.deeds.append(("process", process_id, message))

    def fork(self, order: ForkWorker) -> None:
        self.deeds.append(("fork", order.worker_id))

    def kill(self, child: Child) -> None:
        self.deeds.append(("kill", child.pid))

    def start_zygote(self) -> None:
        self.deeds.append(("start_zygote",))

    def start_head(self, head_epoch: int) -> None:
        self.deeds.append(("start_head", head_epoch))

    def stop(self, detail: str, *, failed: bool) -> None:
        self.deeds.append(("stop", failed))

    def watch(self, process_id: bytes, pid: int) -> None:
        self.watched[process_id] = pid

    def unwatch(self, process_id: bytes) -> None:
        del self.watched[process_id]

    def say_ready(self) -> None:
        self.deeds.append(("ready",))

    def move_away(self, segment_ids: tuple[bytes, ...]) -> None:
        self.deeds.append(("move_away", sorted(segment_ids)))

    def clear_up(self, node_id: bytes) -> None:
        self.deeds.append(("clear_up", node_id))


class Node:
    """A small language for the tests: say what happens, take what was done."""

    def __init__(self, worker_limit: int = 10) -> None:
        self.out = Recorder()
        self.state = reactor.NodeState(PATHS, NODE, "here", {"CPU": 20_000}, worker_limit)
        self.now = 100.0

    def on(self, fact: str, *arguments: Any) -> list[tuple[Any, ...]]:
        """Tell the reactor a fact; return everything that it did."""
        getattr(reactor, f"on_{fact}")(self.state, self.out, *arguments, self.now)
        self.state.check_invariants()
        deeds, self.out.deeds = self.out.deeds, []
        return deeds

    def running(self, worker_id: bytes, pid: int) -> None:
        self.on("start_worker", StartWorker(worker_id))
        self.on("worker_forked", WorkerForked(worker_id, pid))

    def death(self, worker_id: bytes, evidence: Evidence) -> Death:
        ((to, message),) = self.on("worker_exited", worker_id, evidence)
        assert (to, type(message), message.worker_id) == ("head", WorkerDied, worker_id)
        assert worker_id not in self.state.children
        return message.death


@pytest.fixture
def node() -> Node:
    return Node()


def test_a_worker_is_forked_once_and_reported(node: Node) -> None:
    assert node.on("start_worker", StartWorker(W1)) == [("fork", W1)]
    assert node.on("start_worker", StartWorker(W1)) == []
    assert node.on("worker_forked", WorkerForked(W1, 7)) == [("head", WorkerStarted(W1, 7))]


def test_the_limit_is_reported_as_a_failed_start() -> None:
    node = Node(worker_limit=1)
    node.on("start_worker", StartWorker(W1))
    ((_, died),) = node.on("start_worker", StartWorker(W2, incarnation=3))
    assert (died.death.reason, died.death.incarnation) == (LossReason.START_FAILED, 3)
    assert "worker_limit" in died.death.detail
    assert W2 not in node.state.children


def test_a_failed_fork_is_reported(node: Node) -> None:
    node.on("start_worker", StartWorker(W1))
    ((_, died),) = node.on("fork_failed", ForkFailed(W1, "no more processes"))
    assert (died.death.reason, died.death.detail) == (LossReason.START_FAILED, "no more processes")
    assert not node.state.children


def test_a_kill_before_the_fork_is_done_after_it(node: Node) -> None:
    node.on("start_worker", StartWorker(W1))
    assert node.on("kill_worker", KillWorker(W1, detail="cancelled")) == []
    assert node.on("worker_forked", WorkerForked(W1, 7)) == [("head", WorkerStarted(W1, 7)), ("kill", 7)]
    death = node.death(W1, SIGKILLED)
    assert (death.reason, death.detail, death.signal) == (LossReason.INTENDED, "cancelled", signal.SIGKILL)


def test_the_first_wish_to_kill_is_the_one_reported(node: Node) -> None:
    node.running(W1, 7)
    assert node.on("kill_worker", KillWorker(W1, intended=False, detail="injected")) == [("kill", 7)]
    assert node.on("kill_worker", KillWorker(W1, detail="later")) == [("kill", 7)]
    death = node.death(W1, SIGKILLED)
    assert (death.reason, death.detail) == (LossReason.KILLED, "injected")


def test_a_worker_is_ended_for_one_call_only_while_that_is_its_latest(node: Node) -> None:
    node.running(W1, 7)
    order = KillWorkerAt(W1, DRIVER, 5, "cancelled")
    for started in ({}, {DRIVER: 4}, {DRIVER: 6}, {W2: 5}):
        assert node.on("kill_worker_at", order, started) == []
    assert node.on("kill_worker_at", order, {DRIVER: 5, W2: 9}) == [("kill", 7)]
    death = node.death(W1, SIGKILLED)
    assert (death.reason, death.detail) == (LossReason.INTENDED, "cancelled")


def test_killing_an_unknown_worker_does_nothing(node: Node) -> None:
    assert node.on("kill_worker", KillWorker(W1)) == []


@pytest.mark.parametrize(
    ("evidence", "reason", "words"),
    [
        (Evidence(exit_code=3), LossReason.EXITED, ""),
        (Evidence(signal=signal.SIGKILL), LossReason.KILLED, ""),
        (Evidence(signal=signal.SIGTERM), LossReason.KILLED, ""),
        (Evidence(signal=signal.SIGSEGV), LossReason.EXITED, "it crashed in native code"),
        (
            Evidence(
                signal=signal.SIGKILL, ran_out_of_memory=True, max_rss_bytes=2_100_000_000, limit_bytes=4_000_000_000
            ),
            LossReason.OUT_OF_MEMORY,
            "the kernel's memory killer ended it: it had used up to 2.1 GB, and all processes together have 4.0 GB",
        ),
        (Evidence(signal=250), LossReason.KILLED, ""),
    ],
)
def test_a_death_says_how(node: Node, evidence: Evidence, reason: LossReason, words: str) -> None:
    node.running(W1, 7)
    death = node.death(W1, evidence)
    assert death.reason == reason
    assert death.detail == words
    assert (death.exit_code, death.signal) == (evidence.exit_code, evidence.signal)
    assert (death.worker_id, death.node_id) == (W1, NODE)


def test_a_crash_that_beats_an_injected_kill_is_reported_as_what_it_was(node: Node) -> None:
    node.running(W1, 7)
    node.on("kill_worker", KillWorker(W1, intended=False, detail="injected"))
    assert node.death(W1, Evidence(exit_code=1)).reason == LossReason.EXITED


def test_a_lost_zygote_takes_its_workers_and_hands_its_orders_on(node: Node) -> None:
    node.running(W1, 7)
    node.on("start_worker", StartWorker(W2))
    assert node.on("zygote_lost") == [("start_zygote",), ("kill", 7), ("fork", W2)]
    assert "zygote" in node.death(W1, SIGKILLED).detail
    assert node.on("worker_forked", WorkerForked(W2, 8)) == [("head", WorkerStarted(W2, 8))]


def test_a_lost_head_is_started_again_and_everyone_hears_of_it(node: Node) -> None:
    node.running(W1, 7)
    node.on("start_worker", StartWorker(W2))
    node.on("attach", DRIVER, AttachProcess(is_driver=True, pid=1))
    node.on("attach", W1, AttachProcess(is_driver=False, pid=7))
    greeting = RegisterNode(
        "here",
        {"CPU": 20_000},
        (
            WorkerRecord(W1, 7, PATHS.process_address(W1)),
            WorkerRecord(W2, 0, PATHS.process_address(W2)),
        ),
        drivers=(DRIVER,),
        address=PATHS.agent_address,
    )
    told = [("process", process_id, HeadRestarted(1)) for process_id in (DRIVER, W1)]
    assert node.on("head_lost") == [("start_head", 1), ("head", greeting), *told]


def test_who_attaches_late_hears_of_the_newest_head(node: Node) -> None:
    assert node.on("attach", DRIVER, AttachProcess(is_driver=True, pid=1)) == []
    node.on("head_lost")
    assert node.on("attach", W1, AttachProcess(is_driver=False, pid=2)) == [("process", W1, HeadRestarted(1))]


@pytest.mark.parametrize("fact", ["head_lost", "zygote_lost"])
def test_a_restart_storm_ends_the_session(node: Node, fact: str) -> None:
    for _ in range(reactor.MAX_RESTARTS):
        assert ("stop", True) not in node.on(fact)
    assert node.on(fact) == [("stop", True)]


@pytest.mark.parametrize("fact", ["head_lost", "zygote_lost"])
def test_deaths_that_are_far_apart_are_no_storm(node: Node, fact: str) -> None:
    for _ in range(3 * reactor.MAX_RESTARTS):
        assert ("stop", True) not in node.on(fact)
        node.now += reactor.RESTART_WINDOW_S / 4


def test_the_session_ends_once_and_attached_processes_are_told(node: Node) -> None:
    node.on("attach", DRIVER, AttachProcess(is_driver=True, pid=1))
    told, stopped = node.on("driver_gone")
    assert told[:2] == ("process", DRIVER)
    assert isinstance(told[2], SessionStopping)
    assert stopped == ("stop", False)
    assert node.on("terminated") == []
    assert node.on("zygote_lost") == []
    assert node.on("head_lost") == []


def test_only_a_driver_may_end_the_session(node: Node) -> None:
    node.running(W1, 7)
    assert node.on("stop_session", W1, StopSession()) == []
    assert node.on("stop_session", DRIVER, StopSession()) == [("stop", False)]
