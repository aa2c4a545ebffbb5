"""Processes that are watched for their end, by descriptors and without."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from ipyactors.head.watching import WORKERS_END_WITHIN_S, AgentWatch
from ipyactors.wire import liveness
from ipyactors.wire.watch import LOOK_AGAIN_S, Watch

LIMIT_S = 30.0


class Sleepers:
    """Processes that sleep until they are killed."""

    def __init__(self) -> None:
        self.all: list[subprocess.Popen[bytes]] = []

    def start(self) -> subprocess.Popen[bytes]:
        self.all.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]))
        return self.all[-1]


@pytest.fixture
def sleepers() -> Iterator[Sleepers]:
    made = Sleepers()
    yield made
    for process in made.all:
        process.kill()
        process.wait()


@pytest.fixture(params=["descriptors", "none"])
def watch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """A watch as it is on this system, and as it is where there is nothing to wait for."""
    if request.param == "none":
        monkeypatch.setattr(liveness, "open_pidfd", lambda _pid: None)
    made = Watch()
    yield made
    made.close()


def await_ended(watch: Watch) -> list[bytes]:
    """What has ended; sleeps as whoever uses a watch does."""
    deadline = time.monotonic() + LIMIT_S
    while not (ended := watch.take_ended()):
        assert time.monotonic() < deadline, "nothing has ended"
        for descriptor in watch.descriptors:
            liveness.wait_readable(descriptor, LIMIT_S if watch.look_again_s is None else 0.01)
    return ended


def test_each_end_is_told_once(watch: Watch, sleepers: Sleepers) -> None:
    one, other = sleepers.start(), sleepers.start()
    for _ in range(2):
        watch.add(b"one", one.pid)
        watch.add(b"other", other.pid)
    assert watch.take_ended() == []
    one.kill()
    assert await_ended(watch) == [b"one"]
    assert watch.take_ended() == []
    assert b"one" not in watch
    assert b"other" in watch
    watch.drop(b"other")
    watch.drop(b"other")
    assert watch.look_again_s is None


def test_a_process_that_is_gone_has_ended(watch: Watch, sleepers: Sleepers) -> None:
    gone = sleepers.start()
    gone.kill()
    gone.wait()
    watch.add(b"gone", gone.pid)
    assert watch.look_again_s in (0.0, None)
    assert watch.take_ended() == [b"gone"]


def test_without_descriptors_one_looks_again(monkeypatch: pytest.MonkeyPatch, sleepers: Sleepers) -> None:
    monkeypatch.setattr(liveness, "open_pidfd", lambda _pid: None)
    watch = Watch()
    assert watch.look_again_s is None
    watch.add(b"one", sleepers.start().pid)
    assert watch.look_again_s == LOOK_AGAIN_S
    watch.close()


def test_a_machine_is_lost_when_its_workers_have_ended_too(sleepers: Sleepers) -> None:
    agent, worker = sleepers.start(), sleepers.start()
    agents = AgentWatch(lambda node_id: {b"w1": worker.pid} if node_id == b"n1" else {})
    agents.add(b"n1", agent.pid)
    agents.add(b"n1", agent.pid)
    assert agents.pause_s(0.0) is None
    agent.kill()
    agent.wait()
    assert agents.take_lost(10.0) == []
    assert agents.pause_s(11.0) == WORKERS_END_WITHIN_S - 1.0
    agents.add(b"n1", agent.pid)
    worker.kill()
    worker.wait()
    assert agents.take_lost(11.0) == [b"n1"]
    assert agents.take_lost(11.0) == []
    assert agents.pause_s(11.0) is None


def test_a_worker_that_does_not_end_is_not_waited_for_for_ever(sleepers: Sleepers) -> None:
    agent, worker = sleepers.start(), sleepers.start()
    agents = AgentWatch(lambda _node_id: {b"w1": worker.pid})
    agents.add(b"n1", agent.pid)
    agent.kill()
    agent.wait()
    assert agents.take_lost(10.0) == []
    assert agents.take_lost(10.0 + WORKERS_END_WITHIN_S) == [b"n1"]
    assert agents.pause_s(20.0) is None
