"""Several machines on this one: work is placed on them, they are killed and leave, and nothing of them is left."""

from __future__ import annotations

import os
import pathlib
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import psutil
import pytest

import ipyactors as ia
from ipyactors.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    GetTimeoutError,
    NodeDiedError,
    OptionError,
    PlacementError,
    SessionError,
    StartError,
)
from ipyactors.testing import LocalCluster
from tests.support import anatomy
from tests.support.drivers import Driver, clean_folders
from tests.support.gates import LIMIT_S, Gate, Tally, until
from tests.support.leaks import RunFolders


@ia.remote
def where() -> str:
    return ia.get_runtime_context().get_node_id()


@ia.remote
def pass_gate(gate: Gate, tally: Tally) -> str:
    """Note that an attempt has begun, and where; return that when the gate is open."""
    here = ia.get_runtime_context().get_node_id()
    tally.add(here)
    gate.wait()
    return here


@ia.remote
def make(count: int) -> Any:
    return np.arange(count)


@ia.remote
class Counter:
    def __init__(self) -> None:
        self.value = 0

    def add(self) -> int:
        self.value += 1
        return self.value

    def where(self) -> str:
        return ia.get_runtime_context().get_node_id()

    def hang(self, tally: Tally, gate: Gate) -> str:
        tally.add()
        gate.wait()
        return self.where()


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    """A first machine with one CPU, and this process as a driver of it."""
    ia.shutdown()
    with LocalCluster(num_cpus=1) as made:
        ia.init(address=made.address)
        yield made


@pytest.fixture
def folders() -> Iterator[RunFolders]:
    with clean_folders() as made:
        yield made


def get(refs: Any) -> Any:
    return ia.get(refs, timeout=LIMIT_S)


def alive() -> list[str]:
    return [node["NodeID"] for node in ia.nodes() if node["Alive"]]


def lost() -> list[str]:
    """What the driver knows of machines that were lost."""
    return [event.detail for event in ia.events() if event.kind == "node_lost"]


# -- starting and placing ----------------------------------------------------------------------------------------------


def test_init_with_several_machines() -> None:
    ia.shutdown()
    ia.init(nodes=[{"num_cpus": 1}, {"num_cpus": 2, "resources": {"b": 1}}, {"num_cpus": 1, "resources": {"c": 1}}])
    try:
        first, *further = ia.nodes()
        assert first["NodeID"] == ia.get_runtime_context().get_node_id()
        assert sorted(node["Resources"]["CPU"] for node in further) == [1.0, 2.0]
        assert ia.cluster_resources()["CPU"] == 4.0
        assert len({node["NodeManagerAddress"] for node in ia.nodes()}) == 3
        assert all(psutil.pid_exists(node["AgentPid"]) for node in ia.nodes())
        at_b, at_c = (get(where.options(resources={name: 1}).remote()) for name in "bc")
        assert {at_b, at_c} == {node["NodeID"] for node in further}
        assert get(Counter.options(resources={"c": 1}).remote().where.remote()) == at_c
    finally:
        ia.shutdown()
    assert psutil.Process().children() == []


def test_a_cluster_tells_about_its_machines(cluster: LocalCluster) -> None:
    node = cluster.add_node(num_cpus=2, resources={"b": 1}, object_store_memory=50_000_000)
    assert alive() == [one.node_id for one in cluster.nodes]
    assert ia.nodes()[1]["ObjectStoreMemory"] == 50_000_000
    assert ia.nodes()[1]["AgentPid"] == node.pid
    assert node.is_alive
    assert pathlib.Path(node.store_dir).is_dir()
    assert (f"node {node.node_id}", "alive") == (repr(node)[1:22], "alive")
    assert cluster.address in repr(cluster)


def test_work_fills_a_machine_before_it_goes_to_the_next(cluster: LocalCluster, gate: Gate, tally: Tally) -> None:
    cluster.add_node(num_cpus=2)
    refs = [pass_gate.remote(gate, tally) for _ in range(3)]
    until(lambda: len(tally.lines()) == 3, "all of them run")
    gate.open()
    assert sorted(get(refs)) == sorted([cluster.nodes[0].node_id, *[cluster.nodes[1].node_id] * 2])


def test_work_goes_to_its_data(cluster: LocalCluster) -> None:
    """To the machine that has most of it, if there is room."""
    node, other = (cluster.add_node(num_cpus=3, resources={name: 2}) for name in "bc")
    measure = ia.remote(lambda *values: (ia.get_runtime_context().get_node_id(), sum(map(len, values))))
    small, large = (make.options(resources={name: 1}).remote(size) for name, size in (("b", 50_000), ("c", 90_000)))
    ia.wait([small, large], num_returns=2, timeout=LIMIT_S)
    assert get(measure.remote(small, large)) == (other.node_id, 140_000)
    assert get(measure.options(num_cpus=0.5).remote(small)) == (node.node_id, 50_000)
    assert get(measure.options(num_cpus=0.5, resources={"c": 1}).remote(small)) == (other.node_id, 50_000)


def test_machines_call_each_other(cluster: LocalCluster) -> None:
    """Tasks that start tasks, actors whose handles travel, references that are borrowed: between any two."""
    for name in "bc":
        cluster.add_node(num_cpus=2, resources={name: 2})

    @ia.remote(resources={"b": 1})
    def outer(counter: Any, ref: list[Any]) -> tuple[str, int, int]:
        inner = where.options(resources={"c": 1}).remote()
        return ia.get(inner), ia.get(counter.add.remote()), ia.get(ref[0])

    counter = Counter.options(resources={"c": 1}).remote()
    assert get(outer.remote(counter, [ia.put(5)])) == (cluster.nodes[2].node_id, 1, 5)
    assert get(counter.add.remote()) == 2


def test_large_values_travel(cluster: LocalCluster) -> None:
    for name in "bc":
        cluster.add_node(num_cpus=1, resources={name: 1})
    add = ia.remote(lambda one, other: one + other)
    at_b, at_c = (make.options(resources={name: 1}).remote(500_000) for name in "bc")
    assert get(add.options(resources={"c": 1}).remote(at_b, at_c))[-1] == 999_998
    assert get(at_b)[-1] == 499_999


# -- a machine is killed -----------------------------------------------------------------------------------------------


def test_tasks_of_a_killed_machine_run_elsewhere(cluster: LocalCluster, gate: Gate, tally: Tally) -> None:
    node = cluster.add_node(num_cpus=2, resources={"b": 2})
    refs = [pass_gate.options(resources={"b": 1}).remote(gate, tally) for _ in range(2)]
    until(lambda: len(tally.lines()) == 2, "both run")
    other = cluster.add_node(num_cpus=2, resources={"b": 2})
    cluster.remove_node(node)
    assert alive() == [one.node_id for one in cluster.nodes]
    until(lambda: len(tally.lines()) == 4, "both run again")
    gate.open()
    assert get(refs) == [other.node_id] * 2
    (words,) = lost()
    assert f"process {node.pid}, ended" in words
    retries = [event for event in ia.events() if event.kind == "task_retry"]
    assert [event.detail for event in retries] == [f"was lost with its node ({words})"] * 2


def test_a_task_without_retries_says_that_its_machine_died(cluster: LocalCluster, gate: Gate, tally: Tally) -> None:
    node = cluster.add_node(num_cpus=1, resources={"b": 1})
    ref = pass_gate.options(resources={"b": 1}, max_retries=0).remote(gate, tally)
    until(tally.lines, "it runs")
    cluster.remove_node(node)
    with pytest.raises(NodeDiedError, match=r"was lost with its node .* process \d+, ended.*It was tried once"):
        get(ref)


def test_a_retry_for_which_there_is_no_machine_waits_for_one(cluster: LocalCluster, gate: Gate, tally: Tally) -> None:
    """What was queued behind it waits too; what is new cannot be placed."""
    node = cluster.add_node(num_cpus=1, resources={"b": 1})
    pinned = pass_gate.options(resources={"b": 1})
    ref, queued = pinned.remote(gate, tally), where.options(resources={"b": 1}).remote()
    until(tally.lines, "it runs")
    cluster.remove_node(node)
    until(lambda: [event for event in ia.events() if event.kind == "task_stranded"], "it is known to wait")
    with pytest.raises(PlacementError, match="asks for 1 CPU, 1 b"):
        get(pinned.remote(gate, tally))
    with pytest.raises(GetTimeoutError, match=r"waits for a machine: it asks for 1 CPU, 1 b, and the machine that"):
        ia.get([ref, queued], timeout=0.1)
    other = cluster.add_node(num_cpus=1, resources={"b": 1})
    gate.open()
    assert get([ref, queued]) == [other.node_id] * 2


def test_actors_of_a_killed_machine(cluster: LocalCluster, gate: Gate, tally: Tally) -> None:
    """One comes back elsewhere and its call is sent again, one comes back and says of its call what is known, one
    is dead."""
    node = cluster.add_node(num_cpus=1, resources={"b": 3})
    pinned = Counter.options(resources={"b": 1})
    again = pinned.options(max_restarts=1, max_task_retries=1).remote()
    back = pinned.options(max_restarts=1).remote()
    gone = pinned.remote()
    calls = [actor.hang.remote(tally, gate) for actor in (again, back, gone)]
    until(lambda: len(tally.lines()) == 3, "all calls have begun")
    other = cluster.add_node(num_cpus=1, resources={"b": 3})
    cluster.remove_node(node)
    gate.open()
    assert get(calls[0]) == other.node_id
    with pytest.raises(ActorUnavailableError, match=r"lost with its node .* may or may not have run"):
        get(calls[1])
    assert get([back.where.remote(), back.add.remote()]) == [other.node_id, 1]
    with pytest.raises(ActorDiedError, match=r"lost with its node .* may or may not have run"):
        get(calls[2])
    with pytest.raises(ActorDiedError, match=r"lost with its node .* was not run\. It has no restarts left"):
        get(gone.add.remote())


def test_an_actor_for_which_there_is_no_machine_waits_for_one(cluster: LocalCluster) -> None:
    """It has restarts left; what is new cannot be placed."""
    node = cluster.add_node(num_cpus=1, resources={"b": 1})
    pinned = Counter.options(resources={"b": 1})
    counter = pinned.options(max_restarts=1).remote()
    assert get(counter.add.remote()) == 1
    cluster.remove_node(node)
    why = "needs 1 b; no machine has that much, and the one that comes nearest has 1 CPU"
    until(lambda: why in ia.explain(counter), "it is known to wait")
    assert "is restarting" in ia.explain(counter)
    assert [event.name for event in ia.events() if event.kind == "actor_stranded"] == ["Counter"]
    with pytest.raises(PlacementError, match="asks for 1 b"):
        get(pinned.remote().add.remote())
    call = counter.where.remote()
    with pytest.raises(GetTimeoutError, match=r"where waits for a machine: actor Counter \w+ needs 1 b; no machine"):
        ia.get(call, timeout=0.1)
    other = cluster.add_node(num_cpus=1, resources={"b": 1})
    assert get(call) == other.node_id


def test_only_the_agent_of_a_machine_dies(cluster: LocalCluster, gate: Gate, tally: Tally) -> None:
    """Its workers go with it, the first machine's agent clears its folders up, and the work is done elsewhere."""
    node = cluster.add_node(num_cpus=1, resources={"b": 1})
    ref = pass_gate.options(resources={"b": 1}).remote(gate, tally)
    until(tally.lines, "it runs")
    below = psutil.Process(node.pid).children(recursive=True)
    other = cluster.add_node(num_cpus=1, resources={"b": 1})
    os.kill(node.pid, signal.SIGKILL)
    until(lambda: len(tally.lines()) == 2, "it runs again")
    gate.open()
    assert get(ref) == other.node_id
    until(lambda: not pathlib.Path(node.store_dir).exists(), "the store is cleared up")
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in below)
    paths = node._machine.config.paths
    until(lambda: not any(map(os.path.exists, (paths.run_dir, paths.node_dir))), "all folders are cleared up")
    assert not node.is_alive
    cluster.remove_node(node)


def test_a_machine_is_killed_again_and_again(cluster: LocalCluster) -> None:
    """A stream of tasks goes on, whatever machines come and go."""
    refs = []
    for _ in range(3):
        node = cluster.add_node(num_cpus=2)
        refs += [where.options(max_retries=-1).remote() for _ in range(100)]
        get(refs[-100])
        cluster.remove_node(node)
    assert len(get(refs)) == 300
    assert len(lost()) == 3


# -- a machine leaves --------------------------------------------------------------------------------------------------


def test_a_machine_that_leaves_finishes_its_tasks(cluster: LocalCluster, gate: Gate, tally: Tally) -> None:
    """And gets no more: what is pinned to it waits for no one."""
    node = cluster.add_node(num_cpus=1, resources={"b": 1})
    ref = pass_gate.options(resources={"b": 1}, max_retries=0).remote(gate, tally)
    until(tally.lines, "it runs")
    psutil.Process(node.pid).terminate()
    until(lambda: ia.nodes()[1]["Leaving"], "it is to leave")
    assert get(where.remote()) == cluster.nodes[0].node_id
    with pytest.raises(PlacementError):
        get(where.options(resources={"b": 1}).remote())
    gate.open()
    assert get(ref) == node.node_id
    until(lambda: len(alive()) == 1, "it has left")
    assert lost() == [f"machine {node.node_id[:10]} left the session, as it was told to"]
    cluster.remove_node(node)


def test_values_are_moved_before_a_machine_leaves(cluster: LocalCluster) -> None:
    """A result that could not be made again, and one that a generator has made."""
    node = cluster.add_node(num_cpus=1, resources={"b": 1})
    ref = make.options(resources={"b": 1}, max_retries=0).remote(500_000)
    ia.wait([ref], timeout=LIMIT_S)
    cluster.remove_node(node, graceful=True)
    assert not node.is_alive
    assert get(ref)[-1] == 499_999


def test_a_machine_that_does_not_leave_in_time_is_killed(cluster: LocalCluster, gate: Gate, tally: Tally) -> None:
    node = cluster.add_node(num_cpus=1, resources={"b": 1})
    ref = pass_gate.options(resources={"b": 1}, max_retries=0).remote(gate, tally)
    until(tally.lines, "it runs")
    cluster.remove_node(node, graceful=True, timeout_s=0.1)
    assert not node.is_alive
    with pytest.raises(NodeDiedError):
        get(ref)


def test_what_cannot_be_removed(cluster: LocalCluster) -> None:
    with pytest.raises(ValueError, match="the session would end with it"):
        cluster.remove_node(cluster.nodes[0])
    node = cluster.add_node()
    cluster.remove_node(node)
    with pytest.raises(ValueError, match=rf"^node {node.node_id}: was removed already\. Nothing was done\.$"):
        cluster.remove_node(node)
    with pytest.raises(TypeError, match="takes a node that add_node returned, not str"):
        cluster.remove_node("far")  # type: ignore[arg-type]
    with LocalCluster() as other, pytest.raises(ValueError, match="is not of this cluster"):
        cluster.remove_node(other.nodes[0])
    with pytest.raises(TypeError, match=r"add_node takes no 'num_cpu'\. Did you mean 'num_cpus'"):
        cluster.add_node(num_cpu=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="LocalCluster takes no 'cpus'"):
        LocalCluster(cpus=1)  # type: ignore[call-arg]
    with pytest.raises(OptionError, match=r"num_cpus=-1.*Nothing was started"):
        cluster.add_node(num_cpus=-1)


def test_no_machine_joins_a_session_that_has_ended(cluster: LocalCluster) -> None:
    """Nor one that ends while the machine starts; nothing of the machine is left."""
    stopped = psutil.Process(cluster.nodes[0].pid)
    stopped.suspend()
    folder = pathlib.Path(cluster.address, "nodes")
    with ThreadPoolExecutor(1) as threads:
        adding = threads.submit(cluster.add_node)
        until(lambda: list(folder.glob("*/processes")), "another agent runs")
        stopped.kill()
        with pytest.raises(StartError, match=r"no machine was added .* the session's first machine is gone"):
            adding.result(LIMIT_S)
    with pytest.raises(StartError, match=r"no machine was added .*: the session has ended.*LocalCluster\(\)"):
        cluster.add_node()


# -- the head is killed ------------------------------------------------------------------------------------------------


def head_of(cluster: LocalCluster) -> psutil.Process:
    """The head writes to a log of its own; forks of one interpreter do not differ in title."""
    log = os.path.join(cluster.address, "logs", "head.log")

    def look() -> psutil.Process | None:
        children = psutil.Process(cluster.nodes[0].pid).children()
        return next((child for child in children if anatomy.output_of(child.pid) == log), None)

    return until(look, "the head")


def test_all_machines_join_a_head_that_was_started_again(cluster: LocalCluster, gate: Gate, tally: Tally) -> None:
    node = cluster.add_node(num_cpus=2, resources={"b": 3})
    counter = Counter.options(resources={"b": 1}).remote()
    assert get(counter.add.remote()) == 1
    running = pass_gate.options(resources={"b": 1}).remote(gate, tally)
    until(tally.lines, "it runs")
    head_of(cluster).kill()
    # Asked of a head that knows the first machine and not yet the other: it waits, and is not refused.
    later = where.options(num_cpus=0.5, resources={"b": 1}).remote()
    gate.open()
    assert get([running, later]) == [node.node_id] * 2
    assert get(counter.add.remote()) == 2
    assert alive() == [one.node_id for one in cluster.nodes]
    until(lambda: any(event.kind == "head_restarted" for event in ia.events()), "the head has settled")
    (settled,) = [event for event in ia.events() if event.kind == "head_restarted"]
    assert settled.detail == "", "it waited for nobody in vain"


def test_a_machine_is_lost_while_there_is_no_head(cluster: LocalCluster, gate: Gate, tally: Tally) -> None:
    """The head that comes hears of it, and so does everybody else."""
    node = cluster.add_node(num_cpus=1, resources={"b": 1})
    ref = pass_gate.options(resources={"b": 1}).remote(gate, tally)
    until(tally.lines, "it runs")
    cluster.add_node(num_cpus=1, resources={"b": 1})
    head = head_of(cluster)
    head.suspend()
    os.kill(node.pid, signal.SIGKILL)
    head.kill()
    until(lambda: len(tally.lines()) == 2, "it runs again")
    gate.open()
    assert get(ref) == cluster.nodes[2].node_id
    until(lambda: len(lost()) == 1, "the loss is known")
    assert alive() == [cluster.nodes[0].node_id, cluster.nodes[2].node_id]
    cluster.remove_node(node)


# -- drivers that come to a session ------------------------------------------------------------------------------------

_COMES = """
from ipyactors.testing import LocalCluster
with LocalCluster(num_cpus=2) as cluster:
    node = cluster.add_node(num_cpus=1, resources={"b": 1})
    say("address", cluster.address)
    say("store", node.store_dir)
    listen()
say("closed")
"""


def test_drivers_come_and_go(folders: RunFolders) -> None:
    """Each has its own actors, which end with it, however it ends; the session goes on."""
    counter = """
ia.init(address=sys.argv[1] if len(sys.argv) > 1 else listen(), namespace="shared")
counter = Counter.options(name=listen()).remote()
say("count", ia.get(counter.add.remote()))
listen()
ia.shutdown()
say("left", ia.is_initialized())
listen()
"""
    with Driver(folders, _COMES) as host:
        address = host.hear("address")
        with Driver(folders, counter) as one, Driver(folders, counter) as other:
            for driver, name in ((one, "one"), (other, "other")):
                driver.tell(address)
                driver.tell(name)
                assert driver.hear("count") == "1"
            one.tell("")
            assert one.hear("left") == "False"
            other.end(signal.SIGKILL)
            body = """
ia.init(address=listen(), namespace="shared")
while ia.list_named_actors():
    time.sleep(0.002)
say("sum", ia.get(add.options(resources={"b": 1}).remote(1, 2)))
"""
            with Driver(folders, body) as third:
                third.tell(address)
                assert third.hear("sum") == "3"
                assert third.end()[0] == 0
        host.tell("")
        host.hear("closed")
        assert host.end()[0] == 0


@pytest.mark.parametrize("end", ["close", "SIGKILL"])
def test_the_cluster_ends_under_its_drivers(folders: RunFolders, end: str) -> None:
    """A driver that had come to it is told so at once, and nothing is left of any machine."""
    body = """
ia.init(address=listen())
ref = hang.options(resources={"b": 1}).remote("a")
wait_for("a")
say("ready")
try:
    ia.get(ref)
except ia.exceptions.SessionError as error:
    say("error", error)
say("live", ia.is_initialized())
"""
    with Driver(folders, _COMES) as host, Driver(folders, body) as driver:
        driver.tell(host.hear("address"))
        driver.hear("ready")
        if end == "close":
            host.tell("")
        else:
            host.end(signal.SIGKILL)
        assert "has ended" in driver.hear("error")
        assert driver.hear("live") == "False"
        assert driver.end()[0] == 0
        if end == "close":
            assert host.end()[0] == 0


def test_there_is_no_session_to_come_to(cluster: LocalCluster) -> None:
    address = cluster.address
    cluster.close()
    assert not ia.is_initialized()
    with pytest.raises(SessionError, match="has ended"):
        ia.init(address=address)
    with pytest.raises(SessionError, match="does not exist"):
        ia.init(address="never")


# -- nothing is left ---------------------------------------------------------------------------------------------------

_NODES = """
ia.init(nodes=[{"num_cpus": 1}, {"num_cpus": 1, "resources": {"b": 1}}, {"num_cpus": 1, "resources": {"c": 1}}])
import numpy
make = ia.remote(lambda: numpy.zeros(1_000_000))
values = [make.options(resources={name: 1}).remote() for name in "bc"]
ia.wait(values, num_returns=2)
ref = hang.options(resources={"b": 1}).remote("a")
wait_for("a")
say("ready")
"""


@pytest.mark.parametrize("end", ["shutdown", "falling off the end", "SIGKILL", "the first agent", "a further agent"])
def test_nothing_is_left_of_several_machines(folders: RunFolders, end: str) -> None:
    last_line = "ia.shutdown(); os._exit(7)" if end == "shutdown" else ""
    with Driver(folders, f"{_NODES}listen()\n{last_line}") as driver:
        driver.hear("ready")
        agents = psutil.Process(driver.pid).children()
        assert len(agents) == 3
        if end == "SIGKILL":
            driver.end(signal.SIGKILL)
            return
        if "agent" in end:
            first = next(agent for agent in agents if anatomy.output_of(agent.pid).endswith("/agent.log"))
            killed = first if end == "the first agent" else next(agent for agent in agents if agent != first)
            killed.kill()
            if killed is first:
                until(lambda: not any(map(_runs, agents)), "all agents have ended")
        driver.tell("")
        code, errors = driver.end()
        assert code == (7 if end == "shutdown" else 0), errors
        assert "ipyactors" not in errors


def _runs(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_all_are_killed_and_the_next_session_sweeps(folders: RunFolders) -> None:
    with Driver(folders, _NODES + "listen()") as driver:
        driver.hear("ready")
        agents = psutil.Process(driver.pid).children()
        for agent in agents:
            agent.suspend()
        driver.end(signal.SIGKILL)
        for agent in agents:
            agent.kill()
    assert len(list(folders.sockets.iterdir())) == 3
    with Driver(folders, "ia.init(num_cpus=1); say('ready')") as driver:
        driver.hear("ready")
        assert driver.end()[0] == 0
