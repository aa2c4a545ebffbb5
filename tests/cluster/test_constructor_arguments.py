"""What an actor's constructor takes, if it is large: stored once, mapped by each process of the actor, kept as long."""

from __future__ import annotations

import contextlib
import gc
import os
import pathlib
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import psutil
import pytest

from ipyactors import exceptions
from ipyactors.testing import LocalCluster
from tests.support import anatomy
from tests.support.gates import LIMIT_S, Gate, Tally, until

N = 1_000_000  # float64: 8 MB


@pytest.fixture
def ia(shared_runtime: Any) -> Iterator[Any]:
    """The shared session; each test leaves nothing in its store."""
    yield shared_runtime
    nothing_is_left()


def nothing_is_left() -> None:
    gc.collect()
    until(lambda: not segments(), "the store is empty")


def segments() -> set[str]:
    """Return the names of the values that are in this machine's store now."""
    paths = anatomy.paths()
    return {name for folder in (paths.store_dir, paths.spill_dir) for name in os.listdir(folder) if len(name) == 40}


def lose(name: str) -> None:
    """Remove the data of a value from this machine, as a fault would."""
    paths = anatomy.paths()
    for folder in (paths.store_dir, paths.spill_dir):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{folder}/{name}")


def mapped_file(array: np.ndarray) -> str:
    """Return the name of the file in which an array's memory is; empty if it is in none."""
    address = array.__array_interface__["data"][0]
    with open("/proc/self/maps", encoding="ascii") as maps:
        for line in maps:
            span, *words = line.split()
            low, high = (int(word, 16) for word in span.split("-"))
            if low <= address < high:
                return os.path.basename(words[4]) if len(words) > 4 else ""
    return ""


def keeper(ia: Any, **options: Any) -> Any:
    """A class of actors that keep what they are made from, and tell where it is."""

    class Keeper:
        def __init__(self, *values: Any, **named: Any) -> None:
            self.values = [*values, *named.values()]

        def sums(self) -> list[float]:
            return [float(np.sum(value)) for value in self.values]

        def files(self) -> list[tuple[str, bool]]:
            """Return for each value the file that it is mapped from, and whether it may be written."""
            return [(mapped_file(value), value.flags.writeable) for value in self.values]

        def pid(self) -> int:
            return os.getpid()

        def leave(self) -> None:
            ia.actor.exit_actor()

    return ia.remote(**options)(Keeper) if options else ia.remote(Keeper)


def crash(ia: Any, actor: Any) -> None:
    """Kill an actor's process, without a word to anybody."""
    os.kill(ia.get(actor.pid.remote(), timeout=LIMIT_S), signal.SIGKILL)


# -- one machine -----------------------------------------------------------------------------------------------


def test_a_reference_is_mapped_by_each_actor_and_copied_by_none(ia: Any) -> None:
    kept = keeper(ia)
    ref = ia.put(np.ones(N))
    actors = [kept.remote(ref) for _ in range(4)]
    assert ia.get([actor.sums.remote() for actor in actors], timeout=LIMIT_S) == [[N]] * 4
    assert ia.get([actor.files.remote() for actor in actors], timeout=LIMIT_S) == [[(ref.hex(), False)]] * 4
    assert segments() == {ref.hex()}


def test_a_value_is_written_once_and_mapped(ia: Any) -> None:
    actor = keeper(ia, max_restarts=1).remote(np.ones(N), ones=np.ones(N))
    assert ia.get(actor.sums.remote(), timeout=LIMIT_S) == [N, N]
    [name] = segments()
    assert ia.get(actor.files.remote(), timeout=LIMIT_S) == [(name, False)] * 2
    [row] = ia.memory()
    assert row.what == "arguments of Keeper.__init__"
    assert row.site is not None
    assert row.site.function == "test_a_value_is_written_once_and_mapped"


def test_what_no_start_needs_again_is_freed_and_its_views_live_on(ia: Any) -> None:
    actor = keeper(ia).remote(np.ones(N), ia.put(np.ones(N)))
    assert ia.get(actor.sums.remote(), timeout=LIMIT_S) == [N, N]
    nothing_is_left()
    assert ia.get(actor.sums.remote(), timeout=LIMIT_S) == [N, N]


def test_small_values_travel_with_the_actor(ia: Any) -> None:
    actor = keeper(ia, max_restarts=1).remote(1, ia.put(2), ones=np.ones(10))
    assert ia.get(actor.sums.remote(), timeout=LIMIT_S) == [1, 2, 10]
    assert not segments()


@pytest.mark.parametrize("options", [{}, {"max_concurrency": 3}, {"num_cpus": 1}], ids=str)
def test_a_restart_gets_them_again_though_nobody_else_keeps_them(ia: Any, options: dict[str, Any]) -> None:
    actor = keeper(ia, max_restarts=2, max_task_retries=2, **options).remote(np.ones(N), ia.put(np.ones(N)))
    for _ in range(2):
        crash(ia, actor)
        assert ia.get(actor.sums.remote(), timeout=LIMIT_S) == [N, N]
    nothing_is_left()  # that was the last start
    assert ia.get(actor.sums.remote(), timeout=LIMIT_S) == [N, N]


def test_an_actor_with_an_event_loop_gets_them(ia: Any) -> None:
    @ia.remote
    class Async:
        def __init__(self, value: np.ndarray, other: np.ndarray) -> None:
            self.sum = float(value.sum() + other.sum())

        async def look(self) -> float:
            return self.sum

    actor = Async.remote(np.ones(N), ia.put(np.ones(N)))
    assert ia.get(actor.look.remote(), timeout=LIMIT_S) == 2 * N


def test_references_and_handles_inside_of_a_large_one(ia: Any) -> None:
    """They live for as long as a start may need them."""

    @ia.remote
    class Parent:
        def __init__(self, child: Any, refs: list[Any], _ballast: np.ndarray) -> None:
            self.child, self.refs = child, refs

        def ask(self) -> tuple[list[float], list[float]]:
            return ia.get(self.child.sums.remote()), [float(value.sum()) for value in ia.get(self.refs)]

        def pid(self) -> int:
            return os.getpid()

    child = keeper(ia).remote(1)
    parent = Parent.options(max_restarts=1, max_task_retries=1).remote(child, [ia.put(np.ones(N))], np.ones(N))
    del child
    assert ia.get(parent.ask.remote(), timeout=LIMIT_S) == ([1], [N])
    crash(ia, parent)
    assert ia.get(parent.ask.remote(), timeout=LIMIT_S) == ([1], [N])


def test_what_is_lost_is_made_again_for_a_restart_on_the_cpus_that_it_lends(ia: Any, tmp_path: pathlib.Path) -> None:
    tally = Tally(tmp_path / "tally")

    @ia.remote
    def make(tally: Tally) -> np.ndarray:
        tally.add("made")
        return np.ones(N)

    ref = make.remote(tally)
    name = ref.hex()
    actor = keeper(ia, max_restarts=1, max_task_retries=1, num_cpus=2).remote(ref)
    del ref
    assert ia.get(actor.sums.remote(), timeout=LIMIT_S) == [N]
    lose(name)
    crash(ia, actor)
    assert ia.get(actor.sums.remote(), timeout=LIMIT_S) == [N]
    assert tally.lines() == ["made", "made"]


@pytest.mark.parametrize("is_put", [True, False])
def test_what_is_lost_for_good_is_the_end_of_the_actor_and_says_so(ia: Any, is_put: bool) -> None:
    value = np.ones(N)
    actor = keeper(ia, max_restarts=-1, max_task_retries=-1).remote(ia.put(value) if is_put else value)
    assert ia.get(actor.sums.remote(), timeout=LIMIT_S) == [N]
    [name] = segments()
    lose(name)
    crash(ia, actor)
    with pytest.raises(exceptions.ActorDiedError, match=rf"object {name} is lost.* it was put, or passed as an arg"):
        ia.get(actor.sums.remote(), timeout=LIMIT_S)


def test_an_actor_that_waits_for_them_can_be_killed(ia: Any, tmp_path: pathlib.Path) -> None:
    tally, gate = Tally(tmp_path / "tally"), Gate(tmp_path / "gate")

    @ia.remote
    def make(tally: Tally, gate: Gate) -> np.ndarray:
        tally.add("made")
        if len(tally.lines()) > 1:
            gate.wait()
        return np.ones(N)

    ref = make.remote(tally, gate)
    actor = keeper(ia, max_restarts=1).remote(ref)
    pid = ia.get(actor.pid.remote(), timeout=LIMIT_S)
    lose(ref.hex())
    os.kill(pid, signal.SIGKILL)
    until(lambda: len(tally.lines()) > 1, "it is made again, and held")
    call = actor.sums.remote()
    ia.kill(actor)
    with pytest.raises(exceptions.ActorDiedError, match="kill"):
        ia.get(call, timeout=LIMIT_S)
    gate.open()
    assert ia.get(ref, timeout=LIMIT_S)[0] == 1


def test_one_that_belonged_to_a_process_that_is_gone(ia: Any) -> None:
    @ia.remote
    class Maker:
        def make(self) -> list[Any]:
            self.ref = ia.put(np.ones(N))
            return [self.ref]

    maker = Maker.remote()
    [ref] = ia.get(maker.make.remote(), timeout=LIMIT_S)
    actor = keeper(ia, max_restarts=2, max_task_retries=2).remote(ref)
    del ref
    assert ia.get(actor.sums.remote(), timeout=LIMIT_S) == [N]
    ia.kill(maker)
    crash(ia, actor)
    assert ia.get(actor.sums.remote(), timeout=LIMIT_S) == [N]


def test_the_control_plane_has_none_of_their_bytes(ia: Any) -> None:
    kept = keeper(ia, max_restarts=1)
    before = anatomy.head().memory_full_info().uss
    value = np.ones(N)
    actors = [kept.remote(value) for _ in range(8)]
    assert ia.get([actor.sums.remote() for actor in actors], timeout=LIMIT_S) == [[N]] * 8
    assert anatomy.head().memory_full_info().uss - before < 4 * value.nbytes


def test_a_head_that_is_started_again_restarts_the_actor_with_them(ia: Any) -> None:
    actor = keeper(ia, max_restarts=2, max_task_retries=2).remote(np.ones(N), ia.put(np.ones(N)))
    for _ in range(2):
        pid = ia.get(actor.pid.remote(), timeout=LIMIT_S)
        anatomy.head().kill()
        os.kill(pid, signal.SIGKILL)
        assert ia.get(actor.sums.remote(), timeout=LIMIT_S) == [N, N]


def test_a_creator_without_a_handle_hears_from_the_next_head_that_the_actor_has_ended(ia: Any) -> None:
    kept = keeper(ia, max_restarts=-1)

    @ia.remote
    class Creator:
        def create(self) -> Any:
            return kept.remote(np.ones(N))

    creator = Creator.remote()
    actor = ia.get(creator.create.remote(), timeout=LIMIT_S)
    pid = ia.get(actor.pid.remote(), timeout=LIMIT_S)
    gc.collect()
    head = anatomy.head()
    head.suspend()
    actor.leave.remote()
    until(lambda: not psutil.pid_exists(pid), "the actor has ended")
    head.kill()
    with pytest.raises(exceptions.ActorDiedError):
        ia.get(actor.pid.remote(), timeout=LIMIT_S)
    nothing_is_left()
    ia.kill(creator)


# -- nothing is left -------------------------------------------------------------------------------------------


def test_nothing_is_left_of_an_actor_whose_constructor_raises(ia: Any) -> None:
    @ia.remote(max_restarts=-1)
    class Fails:
        def __init__(self, *values: np.ndarray) -> None:
            raise ValueError(f"{len(values)} values")

        def look(self) -> None: ...

    actor = Fails.remote(np.ones(N), ia.put(np.ones(N)))
    with pytest.raises(exceptions.ActorDiedError, match="2 values"):
        ia.get(actor.look.remote(), timeout=LIMIT_S)
    nothing_is_left()


def test_nothing_is_left_of_an_actor_that_cannot_be_placed(ia: Any) -> None:
    actor = keeper(ia, num_cpus=99).remote(np.ones(N), ia.put(np.ones(N)))
    with pytest.raises(exceptions.PlacementError):
        ia.get(actor.sums.remote(), timeout=LIMIT_S)
    nothing_is_left()


def test_nothing_is_left_of_an_actor_that_waits_for_room_and_is_given_up(ia: Any) -> None:
    first = keeper(ia, num_cpus=2).remote(1)
    assert ia.get(first.sums.remote(), timeout=LIMIT_S) == [1]
    given_up = keeper(ia, num_cpus=2).remote(np.ones(N), ia.put(np.ones(N)))
    assert "CPU" in ia.explain(given_up), "it waits for room"
    assert len(segments()) == 2
    del given_up
    nothing_is_left()


def test_nothing_is_left_of_an_actor_whose_other_argument_failed(ia: Any, tasks: Any) -> None:
    actor = keeper(ia).remote(np.ones(N), ia.put(np.ones(N)), tasks.fail.remote("no"))
    with pytest.raises(ValueError, match="no"):
        ia.get(actor.sums.remote(), timeout=LIMIT_S)
    nothing_is_left()


@pytest.mark.parametrize("get_if_exists", [False, True])
def test_nothing_is_left_of_an_actor_whose_name_is_taken(ia: Any, get_if_exists: bool) -> None:
    kept = keeper(ia)
    first = kept.options(name="first").remote(1)
    named = kept.options(name="first", get_if_exists=get_if_exists, max_restarts=1)
    if get_if_exists:
        second = named.remote(np.ones(N), ia.put(np.ones(N)))
        assert ia.get(second.sums.remote(), timeout=LIMIT_S) == [1]
    else:
        with pytest.raises(exceptions.ActorAlreadyExistsError):
            named.remote(np.ones(N), ia.put(np.ones(N)))
    nothing_is_left()
    ia.kill(first)


@pytest.mark.parametrize("is_killed", [True, False])
def test_nothing_is_left_when_its_creator_ends_and_a_detached_actor_has_copies(ia: Any, is_killed: bool) -> None:
    kept = keeper(ia, max_restarts=-1, max_task_retries=-1)

    @ia.remote
    class Creator:
        def __init__(self) -> None:
            self.own = kept.remote(np.ones(N), ia.put(np.ones(N)))
            self.detached = kept.options(lifetime="detached").remote(np.ones(N), ia.put(np.ones(N)))

        def actors(self) -> Any:
            sums = ia.get([self.own.sums.remote(), self.detached.sums.remote()])
            return self.own, self.detached, sums

        def leave(self) -> None:
            ia.actor.exit_actor()

        def pid(self) -> int:
            return os.getpid()

    creator = Creator.remote()
    own, detached, sums = ia.get(creator.actors.remote(), timeout=LIMIT_S)
    assert sums == [[N, N], [N, N]]
    assert len(segments()) == 2
    if is_killed:
        crash(ia, creator)
    else:
        creator.leave.remote()
    with pytest.raises(exceptions.ActorDiedError):
        while True:  # until it is known that its creator is gone
            ia.get(own.sums.remote(), timeout=LIMIT_S)
    nothing_is_left()
    crash(ia, detached)
    assert ia.get(detached.sums.remote(), timeout=LIMIT_S) == [N, N]
    ia.kill(detached)


def test_a_creator_dies_while_a_start_waits_for_it(ia: Any) -> None:
    kept = keeper(ia, max_restarts=-1, max_task_retries=-1)

    @ia.remote
    class Creator:
        def create(self) -> Any:
            self.actor = kept.remote(np.ones(N))
            return self.actor

        def pid(self) -> int:
            return os.getpid()

    creator = Creator.remote()
    actor = ia.get(creator.create.remote(), timeout=LIMIT_S)
    process = psutil.Process(ia.get(creator.pid.remote(), timeout=LIMIT_S))
    pid = ia.get(actor.pid.remote(), timeout=LIMIT_S)
    process.suspend()
    os.kill(pid, signal.SIGKILL)
    again = {"class_name": "Keeper", "state": "restarting", "incarnation": 1}
    until(lambda: any(row["pid"] and again.items() <= row.items() for row in ia.list_actors()), "it is started again")
    call = actor.sums.remote()
    process.kill()
    with pytest.raises(exceptions.ActorDiedError):
        ia.get(call, timeout=LIMIT_S)
    nothing_is_left()


# -- several machines ------------------------------------------------------------------------------------------


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    import ipyactors

    ipyactors.shutdown()
    with LocalCluster() as made:
        ipyactors.init(address=made.address)
        yield made
        ipyactors.shutdown()


def test_a_restart_on_another_machine_brings_them_there(cluster: LocalCluster) -> None:
    import ipyactors as ia

    node = cluster.add_node(num_cpus=1, resources={"far": 1})
    kept = keeper(ia, max_restarts=1, max_task_retries=1, resources={"far": 1})
    actor = kept.remote(np.ones(N), ia.put(np.ones(N)))
    assert ia.get(actor.sums.remote(), timeout=LIMIT_S) == [N, N]
    assert all(name for name, _ in ia.get(actor.files.remote(), timeout=LIMIT_S)), "mapped there too"
    cluster.add_node(num_cpus=1, resources={"far": 1})
    cluster.remove_node(node)
    assert ia.get(actor.sums.remote(), timeout=LIMIT_S) == [N, N]


def test_what_went_with_its_machine_is_made_again_for_a_restart(cluster: LocalCluster) -> None:
    import ipyactors as ia

    node = cluster.add_node(num_cpus=2, resources={"far": 1})

    @ia.remote(resources={"far": 0.1})
    def make() -> np.ndarray:
        return np.ones(N)

    kept = keeper(ia, max_restarts=1, max_task_retries=1, resources={"far": 0.5})
    actor = kept.remote(make.remote())
    assert ia.get(actor.sums.remote(), timeout=LIMIT_S) == [N]
    cluster.add_node(num_cpus=2, resources={"far": 1})
    cluster.remove_node(node)
    assert ia.get(actor.sums.remote(), timeout=LIMIT_S) == [N]


@pytest.mark.parametrize("name", ["", "named"])
@pytest.mark.parametrize("lifetime", ["detached", "non_detached"])
def test_a_value_that_is_on_another_machine(cluster: LocalCluster, name: str, lifetime: str) -> None:
    import ipyactors as ia

    cluster.add_node(num_cpus=1, resources={"far": 1})

    @ia.remote(resources={"far": 1})
    def make() -> np.ndarray:
        return np.ones(N)

    made = make.remote()
    ia.wait([made], timeout=LIMIT_S)
    named = {"name": name} if name else {}
    for ref in (made, make.remote()):  # one that is there, and one that comes to be
        actor = keeper(ia).options(lifetime=lifetime, **named).remote(ref)
        assert ia.get(actor.sums.remote(), timeout=LIMIT_S) == [N]
        ia.kill(actor)
