"""Nothing is left when a session ends, however it ends: no process, socket, folder, shared memory, or marks."""

from __future__ import annotations

import multiprocessing
import os
import pathlib
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

import ipyactors as ia
from ipyactors.exceptions import SessionError
from ipyactors.launch.sessions import prepare_session
from tests.support import anatomy, crashes
from tests.support.drivers import Driver, clean_folders
from tests.support.gates import LIMIT_S, until
from tests.support.leaks import RunFolders, below, processes_of


@pytest.fixture
def folders() -> Iterator[RunFolders]:
    with clean_folders() as made:
        yield made


# -- however the driver ends -----------------------------------------------------------------------------------

#: What a session is at when its driver ends; each says ``ready`` when it is.
LOADS = {
    "idle": "ia.init(num_cpus=2); assert ia.get(add.remote(1, 2)) == 3",
    "hanging tasks": "ia.init(num_cpus=2); refs = [hang.remote('a'), hang.remote('b')]; wait_for('a', 'b')",
    "interpreter held": "ia.init(num_cpus=2); ref = hold_the_interpreter.remote('a'); wait_for('a')",
    "actors": """
ia.init(num_cpus=2)
counters = [Counter.remote() for _ in range(3)]
kept = Counter.options(name="kept", lifetime="detached").remote()
assert ia.get([counter.add.remote() for counter in (*counters, kept)]) == [1] * 4
ref = counters[0].hang.remote("a")
wait_for("a")
""",
    "burst": """
ia.init(num_cpus=2)
counter = Counter.remote()
refs = [add.remote(n, n) for n in range(2000)] + [counter.add.remote() for _ in range(2000)]
ia.get(refs[0])
""",
    "user's children": "ia.init(num_cpus=2); ia.get(leave_children.remote('a'))",
}

#: What the processes of ``leave_children`` are called, from the shell's fork until its last program runs.
_USERS_CHILDREN = ("sh", "setsid", "sleep")

#: How a driver ends: its last line, a signal for it, the exit status.
ENDS: dict[str, tuple[str, signal.Signals | None, int]] = {
    "shutdown": ("ia.shutdown(); assert not ia.is_initialized(); os._exit(7)", None, 7),
    "falling off the end": ("", None, 0),
    "sys.exit": ("sys.exit(3)", None, 3),
    "exception": ("raise ValueError('mine')", None, 1),
    "os._exit": ("os._exit(5)", None, 5),
    "SIGKILL": ("listen()", signal.SIGKILL, -signal.SIGKILL),
    "SIGTERM": ("listen()", signal.SIGTERM, -signal.SIGTERM),
    "SIGHUP": ("listen()", signal.SIGHUP, -signal.SIGHUP),
    "SIGINT": ("listen()", signal.SIGINT, -signal.SIGINT),
    "crash": ("import faulthandler; faulthandler._sigsegv()", None, -signal.SIGSEGV),
}

#: Every end of an idle session, and every load under the ends that leave it most, and least, to the session.
_COMBINED = [("idle", end) for end in ENDS] + [
    (load, end) for load in LOADS for end in ("shutdown", "falling off the end", "SIGKILL") if load != "idle"
]


@pytest.mark.parametrize(("load", "end"), _COMBINED)
def test_the_driver_ends(folders: RunFolders, load: str, end: str) -> None:
    last_line, number, status = ENDS[end]
    with Driver(folders, f"{LOADS[load]}\nsay('ready')\n{last_line}") as driver:
        driver.hear("ready")
        code, errors = driver.end(number)
    assert code == status, errors
    assert "ipyactors" not in errors, "the end of a session is no reason to print anything"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("after", ["the agent's process", "processes", "head", "agent"])
def test_the_driver_is_ended_in_the_middle_of_init(folders: RunFolders, after: str, number: int) -> None:
    """As soon as the agent is forked; as it has imported all; as the socket of the head or of the agent exists."""
    with Driver(folders, "say('ready'); ia.init(num_cpus=2); listen()") as driver:
        driver.hear("ready")
        if after == "the agent's process":
            until(psutil.Process(driver.pid).children, after)
        else:
            until(lambda: any(path.name == after for path in below(folders.top)), after)
        driver.end(number)


@pytest.mark.parametrize("after", ["the agent's process", "processes", "head", "agent"])
def test_a_start_that_is_interrupted_leaves_nothing_while_the_driver_goes_on(folders: RunFolders, after: str) -> None:
    code = "say('ready')\ntry: ia.init(num_cpus=2); listen()\nexcept KeyboardInterrupt: say('interrupted')\nlisten()"
    with Driver(folders, code) as driver:
        driver.hear("ready")
        if after == "the agent's process":
            until(psutil.Process(driver.pid).children, after)
        else:
            until(lambda: any(path.name == after for path in below(folders.top)), after)
        os.kill(driver.pid, signal.SIGINT)
        driver.hear("interrupted")
        assert [process.pid for process in processes_of(folders.home)] == [driver.pid]
        assert list(folders.sockets.iterdir()) == []
        driver.end(signal.SIGKILL)


def test_the_agent_is_told_to_end(folders: RunFolders) -> None:
    """SIGTERM for the agent ends the session in good order; who waits for a result is told why there is none."""
    body = """
ia.init(num_cpus=2)
ref = hang.remote("a")
wait_for("a")
say("ready")
try:
    ia.get(ref)
except ia.exceptions.SessionError as error:
    say("error", error)
"""
    with Driver(folders, body) as driver:
        driver.hear("ready")
        _agent_of(driver).terminate()
        assert "told to end by SIGTERM" in driver.hear("error")
        assert driver.end()[0] == 0


@pytest.mark.parametrize("load", LOADS)
def test_the_agent_is_killed(folders: RunFolders, load: str) -> None:
    """Its driver gets a clear error at once, the workers end, and what the agent left goes with the driver."""
    body = f"""
{LOADS[load]}
waiting = hang.remote("waiting") if "{load}" != "hanging tasks" else refs[0]
say("ready")
try:
    ia.get(waiting)
except ia.exceptions.SessionError as error:
    say("error", error)
try:
    add.remote(1, 2)
except ia.exceptions.SessionError as error:
    say("another", error)
say("live", ia.is_initialized())
listen()
"""
    with Driver(folders, body) as driver:
        driver.hear("ready")
        agent = _agent_of(driver)
        workers = [process for process in agent.children(recursive=True) if process.name() not in _USERS_CHILDREN]
        agent.kill()
        error = driver.hear("error")
        assert f"its agent, process {agent.pid}, ended unexpectedly" in error
        assert "agent.log" in error
        assert "ipyactors.init()" in error
        assert driver.hear("another") == error
        assert driver.hear("live") == "False"
        until(lambda: not any(map(_is_running, workers)), "the workers are gone")
        driver.tell("")
        assert driver.end()[0] == 0
        _end_daemons(folders)


def test_a_new_session_after_the_agent_was_killed(folders: RunFolders) -> None:
    """The next use starts another session in the same driver."""
    body = """
ia.init(num_cpus=2)
say("ready")
listen()
while ia.is_initialized():
    time.sleep(0.002)
ia.init(num_cpus=1)
say("cpus", ia.cluster_resources()["CPU"], ia.get(add.remote(1, 2)))
"""
    with Driver(folders, body) as driver:
        driver.hear("ready")
        _agent_of(driver).kill()
        driver.tell("")
        assert driver.hear("cpus") == "1.0 3"
        assert driver.end()[0] == 0


def test_both_are_killed_and_the_next_session_sweeps(folders: RunFolders) -> None:
    """Nobody is left who could clean up: the next driver does, whoever it is."""
    body = LOADS["actors"] + "\nref = hang.remote('b'); wait_for('b'); say('ready'); listen()"
    with Driver(folders, body) as driver:
        driver.hear("ready")
        agent = _agent_of(driver)
        agent.suspend()  # it must not notice that its driver is gone
        driver.end(signal.SIGKILL)
        agent.kill()
    assert list(folders.sockets.iterdir()) != []
    with Driver(folders, LOADS["idle"] + "\nsay('ready')") as driver:
        driver.hear("ready")
        assert driver.end()[0] == 0


def _is_running(process: psutil.Process) -> bool:
    """A zombie does not, however long whoever adopted it takes to bury it."""
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def _agent_of(driver: Driver) -> psutil.Process:
    (agent,) = psutil.Process(driver.pid).children()
    return agent


def _end_daemons(folders: RunFolders) -> None:
    """End what user code put into a session of its own: nobody can know it for ours when its agent is gone."""
    for process in processes_of(folders.home):
        if process.cmdline() == ["sleep", "1000"] and os.getsid(process.pid) == process.pid:
            process.kill()


# -- sessions one after the other, and side by side ------------------------------------------------------------


def test_two_drivers_do_not_disturb_each_other(folders: RunFolders) -> None:
    """Same name, same namespace, two sessions: each finds its own actor, and outlives the other's end."""
    body = """
ia.init(num_cpus=2, namespace="shared")
counter = Counter.options(name="counter").remote()
for _ in range(int(listen())):
    ia.get(counter.add.remote())
say("count", ia.get(ia.get_actor("counter").add.remote()))
listen()
say("count", ia.get(ia.get_actor("counter").add.remote()))
"""
    with Driver(folders, body) as one, Driver(folders, body) as other:
        one.tell("10")
        other.tell("20")
        assert one.hear("count") == "11"
        assert other.hear("count") == "21"
        one.end(signal.SIGKILL)
        until(lambda: len(list(folders.sockets.iterdir())) == 1, "the first session's folder is gone")
        other.tell("")
        assert other.hear("count") == "22"
        assert other.end()[0] == 0


def test_the_sweep_spares_live_sessions(runtime: Any, run_folders: RunFolders) -> None:
    """A session that starts ends what is stale, and leaves alone what lives."""
    counter = ia.remote(crashes.Victim).remote()
    assert ia.get(counter.count.remote()) == 1
    prepare_session("another").discard()
    assert ia.get(counter.count.remote()) == 2
    assert pathlib.Path(anatomy.paths().run_dir).is_dir()
    assert pathlib.Path(anatomy.paths().run_dir).parent == run_folders.sockets


def test_init_again_after_shutdown(runtime: Any) -> None:
    """Every session is another one; functions and classes serve all of them, handles and references one."""
    add, cls = ia.remote(crashes.add), ia.remote(crashes.Victim)
    names = set()
    for cpus in (1, 2, 3):
        ia.shutdown()
        ia.shutdown()  # once more does nothing
        assert not ia.is_initialized()
        ia.init(num_cpus=cpus)
        names.add(anatomy.paths().name)
        assert ia.cluster_resources()["CPU"] == cpus
        victim = cls.remote()
        assert ia.get([add.remote(1, 2), victim.count.remote()]) == [3, 1]
    assert len(names) == 3
    ia.shutdown()
    ia.init(num_cpus=1)
    with pytest.raises((SessionError, ia.exceptions.ActorError)):
        ia.get(victim.count.remote(), timeout=LIMIT_S)


def test_init_twice_returns_the_live_session(runtime: Any) -> None:
    first, agent = ia.init(), anatomy.agent()
    with pytest.warns(UserWarning, match="num_cpus had no effect"):
        assert ia.init(num_cpus=1) is first
    assert anatomy.agent() == agent
    assert ia.cluster_resources()["CPU"] == 2
    assert len(psutil.Process().children()) == len([agent])


def test_the_folder_of_a_worker_that_is_gone_is_swept_while_the_session_lives(runtime: Any) -> None:
    """Sockets and marks of the dead do not pile up until the end of a long session."""
    run_dir = pathlib.Path(anatomy.paths().run_dir)
    victims = [ia.remote(crashes.Victim).remote() for _ in range(3)]
    ia.get([victim.count.remote() for victim in victims])
    with_them = set(run_dir.iterdir())
    for victim in victims:
        ia.kill(victim)
    until(lambda: len(set(run_dir.iterdir()) & with_them) == len(with_them) - 6, "three sockets and marks are gone")


# -- the zygote ------------------------------------------------------------------------------------------------


def test_the_zygote_is_killed(runtime: Any, tmp_path: pathlib.Path) -> None:
    """Its workers die with it; tasks are tried again, actors come back, and all of it works as before."""

    @ia.remote(max_retries=3)
    def wait_for(path: str) -> int:
        pathlib.Path(path + ".begun").touch()
        until(pathlib.Path(path).exists, path)
        return os.getpid()

    victim = ia.remote(crashes.Victim).options(max_restarts=-1, max_task_retries=-1).remote()
    for turn in range(3):
        gate = tmp_path / str(turn)
        begun = tmp_path / f"{turn}.begun"
        assert ia.get(victim.count.remote(), timeout=LIMIT_S) == 1
        running = wait_for.remote(str(gate))
        until(begun.exists, "the task runs")
        zygote, workers = anatomy.zygote(), anatomy.workers()
        begun.unlink()
        zygote.kill()
        until(begun.exists, "the task runs again")
        gate.touch()
        assert ia.get(running, timeout=LIMIT_S) not in {worker.pid for worker in workers}
        assert [worker for worker in workers if _is_running(worker)] == []
        assert anatomy.zygote() != zygote
        assert ia.get(ia.remote(crashes.add).remote(1, 2), timeout=LIMIT_S) == 3


def test_a_zygote_that_keeps_dying_ends_the_session(runtime: Any) -> None:
    """A machine on which nothing can be started is no machine: the driver is told, and nothing is left."""
    waiting = ia.remote(max_retries=-1)(signal.pause).remote()
    agent = anatomy.agent()
    dead: set[int] = set()
    forked: set[int] = set()

    def kill_another() -> bool:
        for child in agent.children() if agent.is_running() else []:
            if child.pid not in dead | forked and anatomy.writes_to(child.pid, "zygote.log"):
                # What it has just forked still writes to its log, and is the agent's child once it is dead.
                # Only a stopped parent forks no more.
                child.suspend()
                until(lambda c=child: c.status() == psutil.STATUS_STOPPED, "the zygote stands still")
                forked.update(worker.pid for worker in child.children())
                dead.add(child.pid)
                child.kill()
        return not _is_running(agent)

    until(kill_another, "the agent gives up")
    with pytest.raises(SessionError, match="the zygote died more than 5 times"):
        ia.get(waiting, timeout=LIMIT_S)
    assert len(dead) == 6


# -- children of the driver ------------------------------------------------------------------------------------


def test_a_fork_of_the_driver_does_not_hurt_its_session(runtime: Any) -> None:
    """A forked child can neither use the session nor end it, not even by running its parent's exit handlers."""
    victim = ia.remote(crashes.Victim).remote()
    assert ia.get(victim.count.remote()) == 1
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            ia.get(victim.count.remote(), timeout=5)
        except BaseException as error:
            os.write(writing, f"{type(error).__name__}: {error}".encode())
        try:
            ia.shutdown()
        finally:
            os.close(writing)
            os._exit(ia.is_initialized())
    os.close(writing)
    with os.fdopen(reading) as said:
        error = said.read()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert error.startswith("SessionError: ")
    assert "forked" in error
    assert ia.get([victim.count.remote(), ia.remote(crashes.add).remote(1, 2)], timeout=LIMIT_S) == [2, 3]


def test_a_pool_of_forks_in_the_driver(runtime: Any) -> None:
    """Multiprocessing beside it works as ever; its children end without a word, and the session goes on."""
    victim = ia.remote(crashes.Victim).remote()
    refs = [victim.count.remote() for _ in range(100)]
    with multiprocessing.get_context("fork").Pool(3) as pool:
        assert pool.map(abs, range(-50, 0)) == list(range(50, 0, -1))
        assert ia.get(refs, timeout=LIMIT_S) == list(range(1, 101))
    assert ia.get(ia.remote(crashes.add).remote(1, 2), timeout=LIMIT_S) == 3


def test_a_driver_that_forks_and_dies(folders: RunFolders) -> None:
    """A child that outlives the driver holds copies of its pipes, and must not keep the session alive."""
    body = LOADS["actors"] + "\nchild = subprocess.Popen(['sleep', '1000'], close_fds=False)\nsay('ready', child.pid)\n"
    forks = "if os.fork() == 0: time.sleep(1000)\nlisten()"
    with Driver(folders, body + forks) as driver:
        sleeper = int(driver.hear("ready"))
        forked = until(lambda: _copies_of(driver), "the fork")
        until(lambda: (folders.top / "a").exists(), "the actor hangs")
        driver.process.kill()
        driver.process.wait()
        until(lambda: not list(folders.sockets.iterdir()), "the session has ended")
        for pid in (sleeper, *(child.pid for child in forked)):
            os.kill(pid, signal.SIGKILL)


def _copies_of(driver: Driver) -> list[psutil.Process]:
    parent = psutil.Process(driver.pid)
    return [child for child in parent.children() if child.cmdline() == parent.cmdline()]


def test_the_interpreter_of_a_worker_ends_its_own_children_only(runtime: Any) -> None:
    """What a task has started in its process group ends with the worker, and nothing else does."""

    @ia.remote(max_retries=0)
    def start_and_die() -> None:
        child = subprocess.Popen(["sleep", "1000"])
        print(child.pid, file=open("/proc/self/fd/2", "w"))  # noqa: SIM115
        os.kill(os.getpid(), signal.SIGKILL)

    victim = ia.remote(crashes.Victim).remote()
    assert ia.get(victim.count.remote()) == 1
    with pytest.raises(ia.exceptions.WorkerCrashedError) as caught:
        ia.get(start_and_die.remote(), timeout=LIMIT_S)
    child = int(str(caught.value).split()[-1])
    until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE, "it ended")
    assert ia.get(victim.count.remote()) == 2
