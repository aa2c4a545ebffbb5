"""Frames, resources, evidence: the agent's small parts, each on its own."""

from __future__ import annotations

import pathlib
import signal
import socket

import pytest

from ipyactors.ground.config import SessionPaths
from ipyactors.node import resources
from ipyactors.node.children import Child
from ipyactors.node.evidence import Coroner, OomCounter, last_lines
from ipyactors.node.frames import FrameSocket
from ipyactors.wire.marks import Marks
from ipyactors.wire.node_messages import AgentToZygote, ForkWorker, KillWorker, WorkerForked, ZygoteToAgent
from ipyactors.wire.specs import ActorSpec, Definition, Payload

WORKER, CALLER = b"w-------", b"d-------"


def big_order(size: int) -> ForkWorker:
    nothing = Definition(b"i", "A", Payload(b""))
    args = Payload(b"x" * size, (memoryview(b"y" * size),))
    return ForkWorker(WORKER, ActorSpec(b"a", "A", CALLER, nothing, args), 2)


def test_frames_larger_than_the_socket_cross_while_both_ends_write() -> None:
    left, right = socket.socketpair()
    agent, zygote = FrameSocket(left, ZygoteToAgent), FrameSocket(right, AgentToZygote)
    agent.send(big_order(1_000_000))
    for pid in range(20_000):
        zygote.send(WorkerForked(WORKER, pid))
    assert agent.has_unsent()
    assert zygote.has_unsent()
    at_zygote, at_agent = [], []
    while agent.has_unsent() or zygote.has_unsent():
        agent.flush()
        at_zygote += zygote.receive()
        zygote.flush()
        at_agent += agent.receive()
    at_zygote += zygote.receive()
    at_agent += agent.receive()
    (order,) = at_zygote
    assert order.incarnation == 2
    assert bytes(order.actor.args.buffers[0]) == b"y" * 1_000_000
    assert [message.pid for message in at_agent] == list(range(20_000))
    agent.close()
    assert zygote.receive() == []
    assert zygote.at_end
    zygote.close()


def test_what_was_said_before_the_end_is_still_read() -> None:
    left, right = socket.socketpair()
    agent, zygote = FrameSocket(left, ZygoteToAgent), FrameSocket(right, AgentToZygote)
    zygote.send(WorkerForked(WORKER, 1))
    zygote.close()
    agent.send(big_order(10))
    assert agent.receive() == [WorkerForked(WORKER, 1)]
    assert agent.at_end
    agent.close()


@pytest.mark.parametrize(
    ("listed", "count"), [("0,1,3", 3), ("", 0), ("-1", 0), ("NoDevFiles", 0), ("0,-1,2", 1), ("GPU-8932f937", 1)]
)
def test_gpus_that_cuda_would_see(listed: str, count: int) -> None:
    assert resources.count_gpus({"CUDA_VISIBLE_DEVICES": listed}) == count


def test_gpus_by_device_file(tmp_path: pathlib.Path) -> None:
    for name in ("nvidia0", "nvidia11", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    assert resources.count_gpus({}, tmp_path) == 2


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "150000 100000"}, 1.5),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000"}, None),
        ({"cpu.cfs_quota_us": "50000", "cpu.cfs_period_us": "100000"}, 0.5),
        ({}, None),
    ],
)
def test_cpu_quota_of_both_cgroup_versions(tmp_path: pathlib.Path, files: dict[str, str], quota: float | None) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text + "\n")
    assert resources._cpu_quota(tmp_path) == quota


def test_what_is_given_overrules_what_is_found() -> None:
    total = resources.detect_total({"CPU": 30_000, "memory": 0, "lamp": 5_000}, {"CUDA_VISIBLE_DEVICES": ""})
    assert total == {"CPU": 30_000, "lamp": 5_000}
    assert resources.detect_total({}, {})["CPU"] >= 10_000


@pytest.mark.parametrize("text", ["low 0\noom 3\noom_kill {}\n", "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"])
def test_each_strike_of_the_memory_killer_explains_one_death(tmp_path: pathlib.Path, text: str) -> None:
    file = tmp_path / "events"
    file.write_text(text.format(5))
    counter = OomCounter([tmp_path / "missing", file])
    assert not counter.has_struck()
    file.write_text(text.format(7))
    assert [counter.has_struck() for _ in range(3)] == [True, True, False]
    file.write_text(text.format(8))
    counter.catch_up()
    assert not counter.has_struck()


@pytest.fixture
def paths(tmp_path: pathlib.Path) -> SessionPaths:
    (tmp_path / "logs").mkdir()
    return SessionPaths("s", str(tmp_path), str(tmp_path))


def examine(paths: SessionPaths, status: int, rss: int = 0, kill: KillWorker | None = None) -> object:
    coroner = Coroner(paths, 1_000, OomCounter([]))
    return coroner.examine(Child(ForkWorker(WORKER), pid=7, kill=kill), status, rss, wall_s=12.0)


def test_evidence_is_read_and_cleared_away(paths: SessionPaths) -> None:
    log = pathlib.Path(paths.log_path(WORKER))
    log.write_text("".join(f"line {number}\n" for number in range(5_000)))
    marks = Marks(paths.marks_path(WORKER))
    marks.mark(CALLER, 41)
    marks.close()
    found = examine(paths, 3 << 8)
    assert (found.exit_code, found.signal, found.wall_s) == (3, None, 12.0)
    assert found.started == {CALLER: 41}
    assert found.last_output == tuple(f"line {number}" for number in range(4_980, 5_000))
    assert not pathlib.Path(paths.marks_path(WORKER)).exists()
    assert log.exists()


def test_a_worker_that_died_at_once_leaves_no_trace_and_no_error(paths: SessionPaths) -> None:
    pathlib.Path(paths.log_path(WORKER)).touch()
    found = examine(paths, signal.SIGKILL)
    assert (found.exit_code, found.signal, found.started, found.last_output) == (None, 9, {}, ())
    assert not pathlib.Path(paths.log_path(WORKER)).exists()


def test_without_a_counter_a_large_process_that_was_killed_is_suspected(paths: SessionPaths) -> None:
    assert examine(paths, signal.SIGKILL, rss=950).ran_out_of_memory
    assert not examine(paths, signal.SIGKILL, rss=500).ran_out_of_memory
    assert not examine(paths, signal.SIGTERM, rss=950).ran_out_of_memory
    assert not examine(paths, signal.SIGKILL, rss=950, kill=KillWorker(WORKER)).ran_out_of_memory


def test_the_tail_of_a_log_is_bounded(tmp_path: pathlib.Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"\xff" * 100_000 + b"\nend\n")
    lines = last_lines(str(log), 0)
    assert lines[-1] == "end"
    assert all(len(line) <= 500 for line in lines)
    assert last_lines(str(tmp_path / "missing"), 0) == ()


def test_lines_of_earlier_tasks_are_not_quoted(paths: SessionPaths) -> None:
    log = pathlib.Path(paths.log_path(WORKER))
    log.write_text("of the first task\n")
    marks = Marks(paths.marks_path(WORKER))
    marks.mark(CALLER, 1)
    marks.note_log(log.stat().st_size)
    marks.mark(CALLER, 2)
    log.write_text("of the first task\nof the second\n")
    assert examine(paths, signal.SIGKILL).last_output == ("of the second",)
    # A task had turned its standard error to another file, and that was measured: nothing here is known to be its own.
    assert last_lines(str(log), 10_000) == ()
