"""Agent and zygote as real processes, with a stub head and stub workers: who starts, who dies, what is left."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
import zmq

from ipyactors.ground import ids
from ipyactors.ground.exceptions import StartError
from ipyactors.launch.leftovers import read_processes
from ipyactors.launch.local import AgentProcess, start_agent
from ipyactors.launch.sessions import PreparedSession, prepare_session, sweep_sessions
from ipyactors.wire import liveness
from ipyactors.wire.node_messages import (
    AttachProcess,
    HeadRestarted,
    HeadToNode,
    KillWorker,
    KillWorkerAt,
    NodeToProcess,
    RegisterNode,
    SessionStopping,
    StartWorker,
    StopSession,
    WorkerDied,
    WorkerStarted,
)
from ipyactors.wire.specs import ActorSpec, Death, Definition, LossReason, Payload
from ipyactors.wire.zmq_channel import ZmqChannel
from tests.support import stub_node
from tests.support.gates import LIMIT_S, until


def is_alive(pid: int) -> bool:
    identity = liveness.identify(pid)
    return identity is not None and liveness.is_running(identity)


def spec(class_name: str) -> ActorSpec:
    return ActorSpec(b"a" * 16, class_name, b"d-------", Definition(b"i", "A", Payload(b"")), Payload(b""))


class Node:
    """One session whose head this test plays through the stub's files."""

    def __init__(self, session: PreparedSession) -> None:
        self.paths = session.paths
        self.state = pathlib.Path(session.paths.state_dir)
        os.mkfifo(self.state / "head.orders", 0o600)
        # Open for both, so that it stays open while the head is being started again.
        self._orders = os.open(self.state / "head.orders", os.O_RDWR)
        self.agent = start_agent(session, stub_node.config_for(session.paths), role=stub_node.AGENT)
        self._next = 0

    def order(self, message: HeadToNode) -> None:
        frame = msgspec.msgpack.encode((b"n-test--", message))
        os.write(self._orders, len(frame).to_bytes(4, "little") + frame)

    def start(self, what: str) -> bytes:
        worker_id = ids.new_worker_id()
        self.order(StartWorker(worker_id, spec(what)))
        return worker_id

    def started(self, worker_id: bytes) -> int:
        return self.await_message(lambda m: isinstance(m, WorkerStarted) and m.worker_id == worker_id).pid

    def death(self, worker_id: bytes) -> Death:
        return self.await_message(lambda m: isinstance(m, WorkerDied) and m.worker_id == worker_id).death

    def sleeping(self, worker_id: bytes) -> None:
        until(lambda: worker_id in self.frames("sleeping"), f"worker {worker_id!r} sleeps")

    def frames(self, name: str) -> list[bytes]:
        path = self.state / name
        return stub_node.split(path.read_bytes()) if path.exists() else []

    def seen(self) -> list[Any]:
        return [msgspec.msgpack.decode(frame, type=stub_node.Seen).message for frame in self.frames("head.seen")]

    def await_message(self, matches: Callable[[Any], bool]) -> Any:
        return until(lambda: next(filter(matches, self.seen()), None), "a message of the agent's")

    def pid_of_head(self, epoch: int) -> int:
        path = self.state / f"head.{epoch}.pid"
        return int(until(lambda: path.exists() and path.read_text(), f"head {epoch}"))

    def pid_of_zygote(self) -> int:
        (agent,) = (identity for identity in read_processes(self.state) if identity.pid == self.agent.pid)
        head = self.pid_of_head(0)
        return next(pid for pid in liveness.children_of(agent.pid) if pid != head)

    def close(self) -> None:
        os.close(self._orders)
        self.agent.stop()


@pytest.fixture
def session(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> PreparedSession:
    monkeypatch.setenv("IPYACTORS_HOME", str(tmp_path))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return prepare_session("test")


@pytest.fixture
def node(session: PreparedSession) -> Iterator[Node]:
    made = Node(session)
    made.agent.wait_ready()
    yield made
    processes = read_processes(made.state)
    made.close()
    check_nothing_left(made, [identity.pid for identity in processes])


def check_nothing_left(node: Node, pids: list[int]) -> None:
    assert [pid for pid in pids if is_alive(pid)] == []
    assert not os.path.exists(node.paths.run_dir)


def test_the_agent_greets_the_head(node: Node) -> None:
    greeting = node.await_message(lambda m: isinstance(m, RegisterNode))
    assert greeting.total["CPU"] == 20_000
    assert greeting.workers == ()


@pytest.mark.parametrize(
    ("what", "reason", "code", "number"),
    [
        ("exit", LossReason.EXITED, 3, None),
        ("return", LossReason.EXITED, 0, None),
        ("raise", LossReason.EXITED, 1, None),
        ("segfault", LossReason.EXITED, None, signal.SIGSEGV),
    ],
)
def test_a_death_is_reported_with_all_that_is_known(
    node: Node, what: str, reason: LossReason, code: int | None, number: int | None
) -> None:
    worker_id = node.start(what)
    death = node.death(worker_id)
    assert (death.reason, death.exit_code, death.signal) == (reason, code, number)
    assert f"worker does {what}" in death.last_output
    assert death.started == {stub_node.CALLER: 7}
    assert death.max_rss_bytes > 1_000_000
    if what == "raise":
        assert "ValueError: a worker's last words" in death.last_output
    assert not os.path.exists(node.paths.marks_path(worker_id))
    assert not os.path.exists(node.paths.process_address(worker_id).removeprefix("ipc://"))


def test_a_worker_inherits_nothing_it_should_not_have(node: Node) -> None:
    first, second = (node.death(node.start("describe")).last_output for _ in range(2))
    assert "fds [0, 1, 2]" in first
    assert "stdin /dev/null group True" in first
    assert "omp 1" in first
    assert "sigint True" in first
    assert first[-1].startswith("sigchld True")
    assert first[-1] != second[-1], "two workers have the same random state"
    assert "OMP_NUM_THREADS" not in os.environ


def test_a_killed_worker_takes_its_children_along(node: Node) -> None:
    worker_id = node.start("family")
    pid = node.started(worker_id)
    node.sleeping(worker_id)
    in_group, runaway = (int(frame) for frame in node.frames("family"))
    node.order(KillWorker(worker_id, detail="cancelled"))
    death = node.death(worker_id)
    assert (death.reason, death.detail, death.signal) == (LossReason.INTENDED, "cancelled", signal.SIGKILL)
    assert not is_alive(pid)
    until(lambda: not is_alive(in_group), "the end of a worker's child")
    assert is_alive(runaway)
    node.agent.stop()
    assert not is_alive(runaway)


def test_a_worker_is_ended_at_one_call_and_no_other(node: Node) -> None:
    """The agent reads the marks of a worker that lives."""
    worker_id = node.start("sleep")
    node.started(worker_id)
    node.sleeping(worker_id)
    for seq in (6, 8, 7):
        node.order(KillWorkerAt(worker_id, stub_node.CALLER, seq, f"cancel of {seq}"))
    assert node.death(worker_id).detail == "cancel of 7"


def test_kill_9_of_a_worker_is_reported(node: Node) -> None:
    worker_id = node.start("sleep")
    os.kill(node.started(worker_id), signal.SIGKILL)
    death = node.death(worker_id)
    assert (death.reason, death.signal) == (LossReason.KILLED, signal.SIGKILL)


def test_kill_9_of_the_zygote_ends_its_workers_and_another_takes_over(node: Node) -> None:
    workers = [node.start("sleep") for _ in range(3)]
    pids = [node.started(worker_id) for worker_id in workers]
    for worker_id in workers:
        node.sleeping(worker_id)
    os.kill(node.pid_of_zygote(), signal.SIGKILL)
    for worker_id, pid in zip(workers, pids, strict=True):
        death = node.death(worker_id)
        assert (death.reason, death.signal) == (LossReason.KILLED, signal.SIGKILL)
        assert "zygote" in death.detail
        assert death.started == {stub_node.CALLER: 7}
        assert death.max_rss_bytes > 1_000_000
        assert not is_alive(pid)
    again = node.start("describe")
    assert "fds [0, 1, 2]" in node.death(again).last_output


def test_kill_9_of_the_head_starts_another_that_learns_what_lives(node: Node) -> None:
    context: zmq.Context[Any] = zmq.Context()
    channel = ZmqChannel(context, b"dattach-", NodeToProcess)
    channel.connect(ids.AGENT_ID, node.paths.agent_address)
    channel.send(ids.AGENT_ID, [AttachProcess(is_driver=True, pid=os.getpid())])
    worker_id = node.start("sleep")
    pid = node.started(worker_id)
    os.kill(node.pid_of_head(0), signal.SIGKILL)
    assert node.pid_of_head(1) != node.pid_of_head(0)
    greeting = node.await_message(lambda m: isinstance(m, RegisterNode) and m.workers)
    (record,) = greeting.workers
    assert (record.worker_id, record.pid, record.actor.class_name) == (worker_id, pid, "sleep")
    assert until(channel.receive, "the news") == [(ids.AGENT_ID, [HeadRestarted(1)])]
    node.order(KillWorker(worker_id))
    assert node.death(worker_id).reason == LossReason.INTENDED
    channel.send(ids.AGENT_ID, [StopSession()])
    ((_, (stopping,)),) = until(channel.receive, "the goodbye")
    assert isinstance(stopping, SessionStopping)
    assert node.agent.wait(LIMIT_S) == 0
    context.destroy(linger=0)


def test_sigterm_ends_the_session_in_good_order(node: Node) -> None:
    worker_id = node.start("sleep")
    pid = node.started(worker_id)
    os.kill(node.agent.pid, signal.SIGTERM)
    assert node.agent.wait(LIMIT_S) == 0
    check_nothing_left(node, [pid])


def test_kill_9_of_the_agent_ends_everything_below_it(node: Node) -> None:
    worker_id = node.start("sleep")
    node.started(worker_id)
    pids = [identity.pid for identity in read_processes(node.state)]
    assert len(pids) == 4
    os.kill(node.agent.pid, signal.SIGKILL)
    assert node.agent.wait(LIMIT_S) == -signal.SIGKILL
    until(lambda: not any(map(is_alive, pids)), "the end of all processes")
    sweep_sessions()
    assert not os.path.exists(node.paths.run_dir)


def test_kill_9_of_the_driver_ends_the_session(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPYACTORS_HOME", str(tmp_path))
    # What the driver has forked keeps its end of the alive pipe open, as a multiprocessing child of a kernel would.
    code = (
        "import os, signal\nfrom tests.support import stub_node\n"
        "real = stub_node.signal.pause\n"
        "def pause():\n"
        "    if os.fork(): print('forked', flush=True)\n"
        "    real()\n"
        "stub_node.signal.pause = pause\nstub_node.driver()"
    )
    driver = subprocess.Popen(
        [sys.executable, "-c", code, "orphaned"], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert driver.stdout is not None
        agent_pid = int(driver.stdout.readline())
        assert driver.stdout.readline() == "forked\n"
        state = tmp_path / "sessions" / "orphaned"
        run_dir = (state / "run_dir").read_text()
        pids = [identity.pid for identity in read_processes(state)]
        assert agent_pid in pids
        assert len(pids) == 3
        driver.kill()
        until(lambda: not any(map(is_alive, pids)), "the end of all processes")
        assert not os.path.exists(run_dir)
    finally:
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
        driver.stdout.close()


def test_an_agent_that_cannot_start_says_why(session: PreparedSession) -> None:
    agent = start_agent(session, stub_node.config_for(session.paths), role="tests.support.stub_node:broken_main")
    with pytest.raises(StartError, match="has no attribute 'missing'"):
        agent.wait_ready()
    assert not agent.is_alive()
    assert not os.path.exists(session.paths.run_dir)


def test_a_role_that_does_not_exist_says_why(session: PreparedSession) -> None:
    with pytest.raises(StartError, match=r"No module named 'tests\.nowhere'"):
        start_agent(session, stub_node.config_for(session.paths), role="tests.nowhere:main").wait_ready()
    assert not os.path.exists(session.paths.run_dir)


def test_starting_and_stopping_leaks_no_descriptor(session: PreparedSession) -> None:
    def start_and_stop(prepared: PreparedSession) -> AgentProcess:
        made = Node(prepared)
        made.agent.wait_ready()
        made.close()
        return made.agent

    start_and_stop(session)
    before = sorted(os.listdir("/proc/self/fd"))
    agent = start_and_stop(prepare_session("second"))
    assert sorted(os.listdir("/proc/self/fd")) == before
    assert agent.stop() == 0
    assert "ended with 0" in repr(agent)


def test_an_interrupt_while_waiting_leaves_no_agent(session: PreparedSession, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = start_agent(session, stub_node.config_for(session.paths), role=stub_node.AGENT)

    def interrupt(_descriptor: int, _timeout_s: float) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(AgentProcess, "_read_ready", interrupt)
        with pytest.raises(KeyboardInterrupt):
            agent.wait_ready()
    assert not agent.is_alive()
    assert not os.path.exists(session.paths.run_dir)
    assert agent.stop() == -signal.SIGKILL, "a start that is stopped waits for nothing"
