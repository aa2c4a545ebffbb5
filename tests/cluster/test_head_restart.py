"""The head is killed: what runs goes on, what is new works again, and nothing is lost, leaked or forgotten.

A head that is stopped before it is killed has heard nothing of what happens in between: whatever was said to it is
lost, and must be said again to the next one.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import threading
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

import ipyactors as ia
from ipyactors.exceptions import ActorAlreadyExistsError, ActorDiedError, SessionError, WorkerCrashedError
from tests.support import anatomy
from tests.support.gates import LIMIT_S, Gate, Tally, until


@ia.remote
def add(one: int, other: int) -> int:
    return one + other


@ia.remote
def pass_gate(gate: Gate, tally: Tally, value: Any) -> Any:
    """Note that an attempt has begun, in which process, and return when the gate is open."""
    tally.add(str(os.getpid()))
    gate.wait()
    return value


@ia.remote
class Counter:
    """Its constructor passes a gate if it is given one, and then raises if it is told to."""

    def __init__(self, gate: Gate | None = None, tally: Tally | None = None, error: str = "") -> None:
        if gate is not None and tally is not None:
            tally.add(str(os.getpid()))
            gate.wait()
        if error:
            raise ValueError(error)
        self.value = 0

    def add(self) -> int:
        self.value += 1
        return self.value

    def pid(self) -> int:
        return os.getpid()

    def leave(self) -> None:
        ia.actor.exit_actor()


@pytest.fixture(autouse=True)
def session(runtime: Any) -> Iterator[None]:
    """Each test has a session in which something has run, and gives all resources back."""
    assert get(add.remote(1, 2)) == 3
    yield
    if ia.is_initialized():
        until(lambda: ia.available_resources() == ia.cluster_resources(), "all resources are given back")


def get(refs: Any) -> Any:
    return ia.get(refs, timeout=LIMIT_S)


def kill_head() -> None:
    anatomy.head().kill()


@contextlib.contextmanager
def deaf_head() -> Iterator[None]:
    """Stop the head for the block, then kill it: it hears nothing of what the block does."""
    head = anatomy.head()
    head.suspend()
    yield
    head.kill()


def head_restarts() -> list[Any]:
    """What the driver knows of heads that were started again."""
    return [event for event in ia.events() if event.kind == "head_restarted"]


def kinds_of(name: str) -> list[str]:
    """What the driver knows of the life of an actor."""
    return [event.kind.value for event in ia.events() if event.name == name and event.kind.value.startswith("actor_")]


def kill(pid: int) -> None:
    """Kill a process and wait until its agent has seen it: it reports the death to whoever is its head."""
    os.kill(pid, 9)
    until(lambda: not psutil.pid_exists(pid), f"process {pid} is buried")


# -- what was there goes on ------------------------------------------------------------------------------------


def test_running_tasks_go_on(gate: Gate, tally: Tally) -> None:
    refs = [pass_gate.remote(gate, tally, n) for n in range(6)]
    until(lambda: len(tally.lines()) == 2, "two of them run")
    kill_head()
    gate.open()
    assert get(refs) == list(range(6))
    assert len(tally.lines()) == 6, "none was run twice"


def test_actors_go_on_and_new_ones_come() -> None:
    old = Counter.remote()
    assert get(old.add.remote()) == 1
    calls = [old.add.remote() for _ in range(500)]
    kill_head()
    new = Counter.remote()
    calls += [old.add.remote() for _ in range(500)]
    assert get(new.add.remote()) == 1
    assert get(calls) == list(range(2, 1002))


def test_names_are_known_again() -> None:
    """Detached or held, in their namespace; a name that is taken stays taken."""
    held = Counter.options(name="held").remote()
    detached = Counter.options(name="detached", lifetime="detached").remote()
    assert get([held.add.remote(), detached.add.remote()]) == [1, 1]
    del detached
    kill_head()
    assert get([ia.get_actor("held").add.remote(), ia.get_actor("detached").add.remote()]) == [2, 2]
    with pytest.raises(ActorAlreadyExistsError, match="held"):
        Counter.options(name="held").remote()
    ia.kill(ia.get_actor("detached"))


def test_nested_tasks_go_on(gate: Gate, tally: Tally) -> None:
    """A worker that waits, and is an owner itself, joins the new head too."""

    @ia.remote
    def outer(gate: Gate, tally: Tally) -> list[int]:
        counter = Counter.remote()
        refs = [pass_gate.remote(gate, tally, n) for n in range(3)]
        return [*ia.get(refs), ia.get(counter.add.remote())]

    result = outer.remote(gate, tally)
    until(tally.lines, "the inner task runs")
    kill_head()
    gate.open()
    assert get(result) == [0, 1, 2, 1]


def test_an_actor_waits_for_resources_through_it() -> None:
    first = Counter.options(num_cpus=2).remote()
    assert get(first.add.remote()) == 1
    second = Counter.options(num_cpus=2).remote()
    answer = second.add.remote()
    until(lambda: "wait" in ia.explain(second), "it waits")
    kill_head()
    assert get(first.add.remote()) == 2
    ia.kill(first)
    assert get(answer) == 1
    ia.kill(second)


def test_an_actor_that_was_starting_is_known_to_live(gate: Gate, tally: Tally) -> None:
    """The new head takes it for alive before it is; people see when it was."""
    counter = Counter.options(name="starting").remote(gate, tally)
    until(tally.lines, "its constructor runs")
    kill_head()
    assert get(add.remote(1, 2)) == 3  # by the new head
    gate.open()
    assert get(counter.add.remote()) == 1
    until(lambda: kinds_of("starting") == ["actor_created", "actor_alive"], "it is known to be alive")


# -- deaths after it -------------------------------------------------------------------------------------------


def test_a_worker_that_dies_after_it_is_noticed(gate: Gate, tally: Tally) -> None:
    running = pass_gate.remote(gate, tally, "value")
    until(tally.lines, "it runs")
    kill_head()
    assert get(add.remote(1, 2)) == 3  # by the new head
    kill(int(tally.lines()[0]))
    gate.open()
    assert get(running) == "value"
    assert len(tally.lines()) == 2


def test_an_actor_that_dies_after_it_comes_back() -> None:
    counter = Counter.options(max_restarts=1, max_task_retries=-1).remote()
    pid = get(counter.pid.remote())
    kill_head()
    assert get(add.remote(1, 2)) == 3
    kill(pid)
    assert get(counter.pid.remote()) != pid
    kill(get(counter.pid.remote()))
    with pytest.raises(ActorDiedError, match="killed by SIGKILL"):  # the second death is one too many, as before
        get(counter.add.remote())


def test_deaths_before_it_are_not_told_again() -> None:
    fleeting = Counter.options(name="fleeting").remote()
    kill(get(fleeting.pid.remote()))
    with pytest.raises(ActorDiedError):
        get(fleeting.add.remote())
    raising = Counter.options(name="raising").remote(error="no")
    with pytest.raises(ActorDiedError):
        get(raising.add.remote())
    kill_head()
    until(lambda: len(head_restarts()) == 1, "the new head knows everything")
    kill_head()
    until(lambda: len(head_restarts()) == 2, "so does the one after it")
    assert kinds_of("fleeting") == ["actor_created", "actor_alive", "actor_died", "actor_dead"]
    assert kinds_of("raising") == ["actor_created", "actor_dead"]


# -- what the dead head never heard ----------------------------------------------------------------------------


def test_the_death_of_a_worker(gate: Gate, tally: Tally) -> None:
    """The task is tried again; one without retries says how its worker died."""
    running = pass_gate.remote(gate, tally, "value")
    final = pass_gate.options(max_retries=0).remote(gate, tally, "value")
    until(lambda: len(tally.lines()) == 2, "both run")
    with deaf_head():
        for pid in tally.lines():
            kill(int(pid))
    gate.open()
    assert get(running) == "value"
    with pytest.raises(WorkerCrashedError, match="killed by SIGKILL"):
        get(final)
    assert len(tally.lines()) == 3


def test_the_death_of_an_actor() -> None:
    returning = Counter.options(max_restarts=-1, max_task_retries=-1).remote()
    mortal = Counter.remote()
    pids = get([returning.pid.remote(), mortal.pid.remote()])
    with deaf_head():
        for pid in pids:
            kill(pid)
        answers = [returning.add.remote(), mortal.add.remote()]
    assert get(answers[0]) == 1
    with pytest.raises(ActorDiedError, match=r"killed by SIGKILL.* was not run"):
        get(answers[1])


def test_the_wish_for_an_actor() -> None:
    with deaf_head():
        counter = Counter.remote()
        answer = counter.add.remote()
        ia.wait([answer], timeout=0.1)  # sends it
    assert get(answer) == 1


def test_the_wish_for_an_actor_with_a_name() -> None:
    """The caller waits for the name; its request is repeated, and makes one actor."""
    head = anatomy.head()
    head.suspend()
    killer = threading.Timer(0.2, head.kill)
    killer.start()
    counter = Counter.options(name="named").remote()
    killer.join()
    assert get([counter.add.remote(), ia.get_actor("named").add.remote()]) == [1, 2]


def test_the_wish_for_tasks() -> None:
    with deaf_head():
        refs = [add.options(num_cpus=0.5).remote(n, 1) for n in range(50)]
        ia.wait(refs, timeout=0.1)
    assert get(refs) == list(range(1, 51))


def test_that_an_actor_is_to_be_killed() -> None:
    counter = Counter.options(max_restarts=-1).remote()
    pid = get(counter.pid.remote())
    with deaf_head():
        ia.kill(counter)
    until(lambda: not psutil.pid_exists(pid), "it was killed")
    with pytest.raises(ActorDiedError, match="ended on purpose"):
        get(counter.add.remote())


def test_that_an_actor_was_killed() -> None:
    """The head has had it killed, but dies before it hears that it is done: it must not come back."""
    counter = Counter.options(max_restarts=-1).remote()
    pid = get(counter.pid.remote())
    zygote = anatomy.zygote()
    zygote.suspend()  # so that nobody reports the death yet
    ia.kill(counter)
    until(lambda: psutil.Process(pid).status() == psutil.STATUS_ZOMBIE, "it was killed")
    head = anatomy.head()
    head.suspend()
    zygote.resume()
    until(lambda: not psutil.pid_exists(pid), "its death is reported")
    head.kill()
    with pytest.raises(ActorDiedError, match="ended on purpose"):
        get(counter.add.remote())


def test_that_the_last_handle_went() -> None:
    """The new head decides it as soon as all have come back; it need not wait until it gives somebody up."""
    counter = Counter.remote()
    pid = get(counter.pid.remote())
    with deaf_head():
        del counter
    until(lambda: not psutil.pid_exists(pid), "it was let go of")
    [restarted] = until(head_restarts, "the new head says that it knows everything")
    assert restarted.detail == "", "somebody was waited for in vain"


def test_that_an_actor_left() -> None:
    counter = Counter.options(max_restarts=-1).remote()
    pid = get(counter.pid.remote())
    with deaf_head():
        answer = counter.leave.remote()
        until(lambda: not psutil.pid_exists(pid), "it has left")
    with pytest.raises(ActorDiedError, match="ended on purpose"):
        get(answer)


@pytest.mark.parametrize("error", ["", "not today", "not today, and killed"])
def test_how_a_constructor_ended(gate: Gate, tally: Tally, error: str) -> None:
    counter = Counter.remote(gate, tally, error)
    answer = counter.add.remote()
    worker = psutil.Process(int(until(tally.lines, "it runs")[0]))
    log = pathlib.Path(anatomy.output_of(worker.pid))
    with deaf_head():
        gate.open()
        if error:
            until(lambda: f"ValueError: {error}" in log.read_text(), "it has failed")
        if "killed" in error:
            worker.kill()
            until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE, "its process has ended")
    if error:
        with pytest.raises(ActorDiedError, match=f"ValueError: {error}"):
            get(answer)
    else:
        assert get(answer) == 1


# -- again and again -------------------------------------------------------------------------------------------


def test_five_times_under_load() -> None:
    """Each time a head dies, tasks and actors old and new are under way; every result is right, and all is freed."""
    counters = [Counter.remote() for _ in range(2)]
    counted = 0
    for turn in range(5):
        refs = [add.remote(n, turn) for n in range(200)]
        calls = [counter.add.remote() for counter in counters for _ in range(100)]
        kill_head()
        new = Counter.remote()
        refs += [add.remote(n, turn) for n in range(200)]
        assert get(refs) == [n + turn for n in range(200)] * 2
        assert get(calls) == [*range(counted + 1, counted + 101)] * 2
        counted += 100
        assert get(new.add.remote()) == 1
        ia.kill(new)


def test_a_head_that_keeps_dying_ends_the_session() -> None:
    waiting = pass_gate.remote(Gate("/nonexistent"), Tally("/dev/null"), None)
    agent = anatomy.agent()
    dead: set[int] = set()

    def kill_another() -> bool:
        for child in agent.children() if agent.is_running() else []:
            if child.pid not in dead and anatomy.writes_to(child.pid, "head.log"):
                dead.add(child.pid)
                child.kill()
        return not agent.is_running() or agent.status() == psutil.STATUS_ZOMBIE

    until(kill_another, "the agent gives up")
    with pytest.raises(SessionError, match="the head died more than 5 times"):
        get(waiting)
    assert len(dead) == 6


# -- a head that is slow ---------------------------------------------------------------------------------------------


def test_what_a_constructor_raised_is_known_however_slow_the_head_is(tmp_path: pathlib.Path) -> None:
    """It is more than a socket holds of a head that stands still: the worker must not end before all of it is said."""
    gate, tally = Gate(tmp_path / "gate"), Tally(tmp_path / "tally")
    failing = Counter.options(max_restarts=3).remote(gate, tally, "x" * 4_000_000)
    (pid,) = until(tally.lines, "the constructor runs")
    worker, head = psutil.Process(int(pid)), anatomy.head()
    head.suspend()
    try:
        gate.open()
        with pytest.raises(psutil.TimeoutExpired):
            worker.wait(3)
    finally:
        head.resume()
    with pytest.raises(ActorDiedError, match="constructor raised ValueError: xxx"):
        get(failing.add.remote())
    assert len(tally.lines()) == 1
