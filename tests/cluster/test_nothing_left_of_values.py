"""Nothing is left of values when whoever holds, maps or makes them is killed: no segment, file, folder, process."""

from __future__ import annotations

import os
import pathlib
import signal
from collections.abc import Iterator

import pytest

from tests.support.drivers import Driver, clean_folders
from tests.support.gates import until
from tests.support.leaks import RunFolders, below


@pytest.fixture
def folders() -> Iterator[RunFolders]:
    """Folders in which nothing may be left."""
    with clean_folders() as made:
        yield made


#: What a driver holds when it is killed: values of its own in memory and on disk, mapped, and with views that outlive
#: their references; results, and values of an actor's; copies on a second machine, and one that is on its way there.
_HOLDS = """
import gc, numpy as np
MB = 125_000

@ia.remote
class Holder:
    def hold(self, *values):
        self.values = values
        return float(sum(value[0] for value in values))
    def make(self):
        self.own = ia.put(np.ones(MB))
        return [self.own]
    def map_until(self, path, value):
        self.value = value
        open(path, "w").close()
        time.sleep(1000)

@ia.remote
def make(value):
    return np.full(MB, value)

on = lambda name: dict(resources={name: 0.001})
here = Holder.options(**on("here")).remote()
there = Holder.options(**on("there")).remote()
refs = [ia.put(np.full(MB, value)) for value in range(60)]
refs += [make.options(**on(name)).remote(value) for name in ("here", "there") for value in range(5)]
values = ia.get(refs[:5] + refs[-10:])
view = ia.get(ia.put(np.arange(MB)))[10:20]
gc.collect()
assert ia.get([here.hold.remote(*refs[-10:]), there.hold.remote(*refs[:5])]) == [20.0, 10.0]
(theirs,) = ia.get(there.make.remote())
values += [ia.get(theirs)]
hanging = [actor.map_until.remote(name, ia.put(np.ones(MB))) for actor, name in ((here, "a"), (there, "b"))]
wait_for("a", "b")
"""

_TWO_MACHINES = {
    "init": """
ia.init(nodes=[
    {"num_cpus": 2, "object_store_memory": 40_000_000, "resources": {"here": 1}},
    {"num_cpus": 2, "object_store_memory": 40_000_000, "resources": {"there": 1}},
])
""",
    "LocalCluster": """
from ipyactors.testing import LocalCluster
cluster = LocalCluster(num_cpus=2, object_store_memory=40_000_000, resources={"here": 1})
cluster.add_node(num_cpus=2, object_store_memory=40_000_000, resources={"there": 1})
ia.init(address=cluster.address)
""",
}

_LOOKS = """
nodes = ia.memory().nodes
assert len(nodes) == 2 and all(node.objects for node in nodes), nodes
assert sum(node.spilled_bytes for node in nodes) > 0, nodes
moving = here.hold.remote(*[make.options(**on("there")).remote(value) for value in range(30)])
say("ready")
listen()
"""


@pytest.mark.parametrize("machines", _TWO_MACHINES)
def test_a_driver_is_killed_that_holds_values_everywhere(folders: RunFolders, machines: str) -> None:
    """What it holds is in memory, on disk, mapped, on another machine and on its way there."""
    with Driver(folders, _TWO_MACHINES[machines] + _HOLDS + _LOOKS) as driver:
        driver.hear("ready")
        assert values_in(folders) > 50, "there is something that could be left"
        driver.end(signal.SIGKILL)
        until(lambda: values_in(folders) == 0, "the values are gone")


def test_a_driver_that_came_is_killed_and_the_session_goes_on(folders: RunFolders) -> None:
    """Its values go, on all machines, and no others."""
    host = """
from ipyactors.testing import LocalCluster
with LocalCluster(num_cpus=2, object_store_memory=40_000_000, resources={"here": 1}) as cluster:
    cluster.add_node(num_cpus=2, object_store_memory=40_000_000, resources={"there": 1})
    ia.init(address=cluster.address)
    kept = ia.put(bytes(1_000_000))
    say("address", cluster.address)
    listen()
    assert len(ia.get(kept)) == 1_000_000
    say("objects", [node.objects for node in ia.memory().nodes], sum(node.spilled_bytes for node in ia.memory().nodes))
    ia.shutdown()
"""
    comes = "ia.init(address=listen())\n" + _HOLDS + _LOOKS
    with Driver(folders, host) as first, Driver(folders, comes) as second:
        second.tell(first.hear("address"))
        second.hear("ready")
        assert values_in(folders) > 50
        second.end(signal.SIGKILL)
        until(lambda: values_in(folders) == 1, "the values are gone, but for one")
        first.tell("")
        assert first.hear("objects") == "[1, 0] 0"
        assert first.end()[0] == 0


def values_in(folders: RunFolders) -> int:
    """Return how many values there are, in memory and on disk, of all sessions and machines."""
    stores = [*below(folders.memory), *(path for path in below(folders.home) if path.parent.name == "spill")]
    return sum(len(path.name) == 40 and not path.is_dir() for path in stores if os.path.lexists(path))


def test_values_in_counts_what_is_there(tmp_path: pathlib.Path) -> None:
    folders = RunFolders(tmp_path)
    folders.memory.mkdir()
    spilled = folders.home / "sessions" / "one" / "spill"
    spilled.mkdir(parents=True)
    for path in (folders.memory / ("a" * 40), spilled / ("b" * 40), folders.memory / "usage"):
        path.touch()
    assert values_in(folders) == 2
    folders.remove()
