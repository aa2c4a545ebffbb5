"""Data that is lost comes back: from a copy, or from the calls that had made it; and if it cannot, it is said why."""

from __future__ import annotations

import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from ipyactors import exceptions
from ipyactors.testing import LocalCluster
from tests.support.gates import LIMIT_S, Gate, until
from tests.support.losses import Runs, lose

N = 100_000  # float64: 800 kB


@pytest.fixture
def ia(shared_runtime: Any) -> Any:
    return shared_runtime


@pytest.fixture
def runs(tmp_path: pathlib.Path) -> Runs:
    return Runs(tmp_path / "runs")


# -- one machine -----------------------------------------------------------------------------------------------


def test_a_lost_result_is_made_again_once_for_all_who_wait(ia: Any, runs: Runs) -> None:
    @ia.remote
    def make(runs: Runs) -> np.ndarray:
        runs.note("make")
        return np.full(N, 3.0)

    @ia.remote
    def total(array: np.ndarray) -> float:
        return float(array.sum())

    ref = make.remote(runs)
    ia.wait([ref], timeout=LIMIT_S)
    lose(ref)
    sums = [total.remote(ref) for _ in range(4)]
    assert ia.get(sums, timeout=LIMIT_S) == [3.0 * N] * 4
    assert ia.get(ref, timeout=LIMIT_S).sum() == 3.0 * N
    assert runs.counts() == {"make": 2}


def test_a_chain_is_made_again_as_far_as_it_must(ia: Any, runs: Runs) -> None:
    @ia.remote
    def make(runs: Runs, name: str) -> np.ndarray:
        runs.note(name)
        return np.ones(N)

    @ia.remote
    def add(runs: Runs, name: str, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        runs.note(name)
        return left + right

    a, b = make.remote(runs, "a"), make.remote(runs, "b")
    c = add.remote(runs, "c", a, b)
    d = add.remote(runs, "d", c, c)
    assert ia.get(d, timeout=LIMIT_S)[0] == 4
    del a, c  # their data goes; b is kept
    lose(d)
    assert ia.get(d, timeout=LIMIT_S)[0] == 4
    assert runs.counts() == {"a": 2, "b": 1, "c": 2, "d": 2}


def test_only_the_result_that_is_lost_is_replaced(ia: Any, runs: Runs) -> None:
    @ia.remote(num_returns=2)
    def two(runs: Runs) -> tuple[np.ndarray, np.ndarray]:
        runs.note("two")
        return np.zeros(N), np.ones(N)

    zeros, ones = two.remote(runs)
    kept = ia.get(zeros, timeout=LIMIT_S)
    ia.wait([ones], timeout=LIMIT_S)
    lose(ones)
    assert ia.get(ones, timeout=LIMIT_S).all()
    assert not kept.any()
    assert not ia.get(zeros, timeout=LIMIT_S).any()
    assert runs.counts() == {"two": 2}


def test_items_of_a_generator_are_made_again_one_by_one(ia: Any, runs: Runs) -> None:
    @ia.remote(num_returns="streaming")
    def stream(runs: Runs) -> Iterator[np.ndarray]:
        for value in range(4):
            runs.note(f"item{value}")
            yield np.full(N, float(value))

    refs = list(stream.remote(runs))
    ia.wait(refs, num_returns=4, timeout=LIMIT_S)
    lose(refs[1])
    assert ia.get(refs[1], timeout=LIMIT_S)[0] == 1.0
    assert runs.counts() == {"item0": 2, "item1": 2, "item2": 1, "item3": 1}, "it was closed behind the item"
    lose(refs[0])
    lose(refs[2])
    assert [float(item[0]) for item in ia.get(refs, timeout=LIMIT_S)] == [0.0, 1.0, 2.0, 3.0]
    assert runs.counts() == {"item0": 3, "item1": 3, "item2": 2, "item3": 1}, "one run for both"


def test_an_item_is_counted_from_one_wherever_it_is_named(ia: Any) -> None:
    @ia.remote(num_returns="streaming", max_retries=-1)
    def shrinking(path: pathlib.Path) -> Iterator[np.ndarray]:
        yield np.zeros(N)
        if path.exists():
            yield np.ones(N)

    with tempfile.NamedTemporaryFile() as file:
        refs = list(shrinking.remote(pathlib.Path(file.name)))
        ia.wait(refs, num_returns=2, timeout=LIMIT_S)
    rows = {row.object_id: row.what for row in ia.memory()}
    assert rows[refs[1].hex()].startswith("item 2 of ")
    lose(refs[1])
    with pytest.raises(exceptions.StreamingGeneratorReplayInconsistentError, match="Item 2 of the generator"):
        ia.get(refs[1], timeout=LIMIT_S)


def test_what_was_put_cannot_be_made_again_and_says_so(ia: Any) -> None:
    ref = ia.put(np.ones(N))
    lose(ref)
    with pytest.raises(exceptions.ObjectLostError, match=r"it was put.*copies=2"):
        ia.get(ref, timeout=LIMIT_S)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"max_retries": 0}, "max_retries=0"), ({"lineage": False}, "lineage=False")],
)
def test_who_forbade_it_is_told_so(ia: Any, options: dict[str, Any], words: str) -> None:
    @ia.remote(**options)
    def make() -> np.ndarray:
        return np.ones(N)

    ref = make.remote()
    ia.wait([ref], timeout=LIMIT_S)
    lose(ref)
    with pytest.raises(exceptions.ObjectLostError, match=words):
        ia.get(ref, timeout=LIMIT_S)


def test_an_actor_is_asked_again_only_where_it_does_no_harm(ia: Any) -> None:
    @ia.remote
    class Model:
        def __init__(self) -> None:
            self.calls = 0

        @ia.method(effect="readonly")
        def weights(self) -> np.ndarray:
            return np.full(N, 2.0)

        def step(self) -> np.ndarray:
            self.calls += 1
            return np.full(N, float(self.calls))

    model = Model.remote()
    step, weights = model.step.remote(), model.weights.remote()
    ia.wait([weights, step], num_returns=2, timeout=LIMIT_S)
    lose(weights)
    lose(step)
    assert ia.get(weights, timeout=LIMIT_S)[0] == 2.0
    with pytest.raises(exceptions.ObjectLostError, match="readonly"):
        ia.get(step, timeout=LIMIT_S)


def test_an_actor_that_has_changed_gives_no_other_value_for_the_same_reference(ia: Any) -> None:
    @ia.remote
    class Net:
        def __init__(self) -> None:
            self.weights = np.zeros(N)

        @ia.method(effect="readonly")
        def look(self) -> np.ndarray:
            return self.weights

        @ia.method(effect="readonly", num_returns="streaming")
        def layers(self) -> Iterator[np.ndarray]:
            yield self.weights
            yield self.weights + 1

        def train(self) -> None:
            self.weights = self.weights + 1.0

    net = Net.remote()
    ia.get(net.train.remote(), timeout=LIMIT_S)
    before, layers = net.look.remote(), list(net.layers.remote())
    ia.wait([before, *layers], num_returns=3, timeout=LIMIT_S)
    lose(before)
    lose(layers[1])
    assert [ia.get(ref, timeout=LIMIT_S)[0] for ref in (before, layers[1])] == [1.0, 2.0], "it is as it was"
    ia.get(net.train.remote(), timeout=LIMIT_S)
    after = net.look.remote()
    ia.wait([after], timeout=LIMIT_S)
    for ref in (before, layers[1], after):
        lose(ref)
    assert ia.get(after, timeout=LIMIT_S)[0] == 2.0
    for ref in (before, layers[1]):
        with pytest.raises(exceptions.ObjectReconstructionFailedActorResultError, match="the actor has changed since"):
            ia.get(ref, timeout=LIMIT_S)
    assert ia.get(layers[0], timeout=LIMIT_S)[0] == 1.0


def test_a_result_of_an_actor_that_is_killed_is_lost_and_says_why(ia: Any) -> None:
    @ia.remote
    class Model:
        @ia.method(effect="readonly")
        def look(self) -> np.ndarray:
            return np.ones(N)

    model = Model.remote()
    look, other = model.look.remote(), model.look.remote()
    ia.wait([look, other], num_returns=2, timeout=LIMIT_S)
    ia.kill(model)
    lose(look)
    with pytest.raises(
        exceptions.ObjectReconstructionFailedActorResultError, match=r"is lost: .*cannot be asked"
    ) as found:
        ia.get(look, timeout=LIMIT_S)
    assert found.value.object_id == look.hex()
    del model
    assert ia.get(other, timeout=LIMIT_S)[0] == 1.0


def test_a_task_that_raises_when_it_runs_again_says_what_was_lost(ia: Any, tmp_path: pathlib.Path) -> None:
    @ia.remote
    def load(path: pathlib.Path) -> np.ndarray:
        return np.full(N, float(path.read_text()))

    path = tmp_path / "number"
    path.write_text("2.0")
    ref = load.remote(path)
    ia.wait([ref], timeout=LIMIT_S)
    lose(ref)
    path.unlink()
    with pytest.raises(FileNotFoundError) as found:
        ia.get(ref, timeout=LIMIT_S)
    assert any(ref.hex() in note and "ran again" in note for note in found.value.__notes__)


def test_what_is_cancelled_while_it_is_made_again_is_lost(ia: Any, runs: Runs, tmp_path: pathlib.Path) -> None:
    gate = Gate(tmp_path / "gate")

    @ia.remote
    def make(runs: Runs, gate: Gate) -> np.ndarray:
        runs.note("make")
        gate.wait()
        return np.ones(N)

    @ia.remote
    def total(array: np.ndarray) -> float:
        return float(array.sum())

    gate.open()
    ref = make.remote(runs, gate)
    ia.wait([ref], timeout=LIMIT_S)
    (tmp_path / "gate").unlink()
    lose(ref)
    summed = total.remote(ref)
    until(lambda: runs.counts() == {"make": 2}, "the task to run again")
    ia.cancel(ref)
    for one in (ref, ref, summed):
        with pytest.raises(
            exceptions.ObjectReconstructionFailedTaskCancelledError, match="cancelled when it ran again"
        ):
            ia.get(one, timeout=LIMIT_S)


def test_a_worker_that_borrows_gets_it_from_its_owner_again(ia: Any, runs: Runs) -> None:
    @ia.remote
    def make(runs: Runs) -> np.ndarray:
        runs.note("make")
        return np.ones(N)

    @ia.remote
    def read(refs: list[Any]) -> float:
        return float(ia.get(refs[0]).sum())

    ref = make.remote(runs)
    ia.wait([ref], timeout=LIMIT_S)
    lose(ref)
    assert ia.get(read.remote([ref]), timeout=LIMIT_S) == N
    assert runs.counts() == {"make": 2}


def test_what_happened_is_told_as_events(ia: Any) -> None:
    @ia.remote
    def traced() -> np.ndarray:
        return np.ones(N)

    ref = traced.remote()
    ia.wait([ref], timeout=LIMIT_S)
    lose(ref)
    ia.get(ref, timeout=LIMIT_S)
    kinds = [event.kind for event in ia.events() if event.name == "traced"]
    assert kinds == ["task_attempt", "object_lost", "object_rebuilt", "task_attempt"]


# -- several machines ------------------------------------------------------------------------------------------


def test_a_node_dies_in_the_middle_and_the_result_arrives() -> None:
    import ipyactors as ia

    ia.shutdown()
    with LocalCluster() as cluster:
        node = cluster.add_node(num_cpus=1, resources={"far": 1})
        ia.init(address=cluster.address)

        @ia.remote(resources={"far": 0.01})
        def make(value: float) -> np.ndarray:
            return np.full(N, value)

        @ia.remote(resources={"far": 0.01})
        def add(left: np.ndarray, right: np.ndarray) -> np.ndarray:
            return left + right

        total = add.remote(add.remote(make.remote(1.0), make.remote(2.0)), make.remote(4.0))
        ia.wait([total], timeout=LIMIT_S)
        cluster.add_node(num_cpus=1, resources={"far": 1})
        cluster.remove_node(node)
        assert ia.get(total, timeout=LIMIT_S)[0] == 7.0
        ia.shutdown()


def test_what_has_no_machine_waits_for_one() -> None:
    import ipyactors as ia

    ia.shutdown()
    with LocalCluster() as cluster:
        node = cluster.add_node(num_cpus=1, resources={"far": 1})
        ia.init(address=cluster.address)

        @ia.remote(resources={"far": 0.1})
        def make(value: float) -> np.ndarray:
            return np.full(N, value)

        @ia.remote
        def total(array: np.ndarray) -> float:
            return float(array.sum())

        ref, kept = make.remote(1.0), ia.put(np.ones(N))
        ia.wait([ref], timeout=LIMIT_S)
        cluster.remove_node(node)
        (row,) = [row for row in ia.memory() if row.object_id == ref.hex()]
        assert (row.state, row.size_bytes, row.places) == ("lost, can be made again", 0, ())
        summed = total.remote(ref)
        until(lambda: [one for one in ia.events() if one.kind == "task_stranded"], "the task to wait for a machine")
        with pytest.raises(exceptions.GetTimeoutError, match=r"make waits for a machine: .*0\.1 far"):
            ia.get(summed, timeout=0.1)
        with pytest.raises(exceptions.PlacementError, match="can never be placed"):
            ia.get(make.remote(2.0), timeout=LIMIT_S)
        cluster.add_node(num_cpus=1, resources={"far": 1})
        assert ia.get(summed, timeout=LIMIT_S) == N
        assert ia.get(kept, timeout=LIMIT_S)[0] == 1.0
        ia.shutdown()


def test_a_reference_of_an_ended_session_is_no_argument() -> None:
    import ipyactors as ia

    ia.shutdown()
    ia.init(num_cpus=1)

    @ia.remote
    def first(*values: Any, **_named: Any) -> Any:
        return values[0]

    large, small = ia.put(np.ones(N)), ia.put(3)
    ia.shutdown()
    with pytest.raises(
        exceptions.SessionError, match=r"argument 1 of .*first is a reference of a session that has ended"
    ):
        first.remote(large)
    with pytest.raises(exceptions.SessionError, match=r"argument 'also' of .*was not submitted"):
        first.remote(1, also=large)
    with pytest.raises(exceptions.SerializationError, match="of a session that has ended"):
        first.remote([small])
    assert ia.get(first.remote(small), timeout=LIMIT_S) == 3, "a small value is here, and outlives its session"
    ia.shutdown()


def test_a_second_copy_survives_the_first() -> None:
    import ipyactors as ia

    ia.shutdown()
    with LocalCluster() as cluster:
        cluster.add_node(num_cpus=1)
        ia.init(address=cluster.address)
        ref = ia.put(np.full(N, 5.0), copies=2)
        lose(ref)
        assert ia.get(ref, timeout=LIMIT_S)[0] == 5.0
        with pytest.raises(exceptions.OptionError, match=r"copies=9: this session has 2 machine"):
            ia.put(np.ones(N), copies=9)
        ia.shutdown()


def test_copies_are_checked(ia: Any) -> None:
    with pytest.raises(exceptions.OptionError, match=r"copies=0"):
        ia.put(1, copies=0)
    with pytest.raises(exceptions.OptionTypeError, match=r"copies='2'"):
        ia.put(1, copies="2")
    assert ia.get(ia.put(1, copies=2)) == 1
