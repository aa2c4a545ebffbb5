"""A process that owns objects is gone: whoever refers to them finds their data, or has what made them run again."""

from __future__ import annotations

import os
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ipyactors import exceptions
from ipyactors.ground.ids import OBJECT_ID_BYTES
from ipyactors.testing import LocalCluster
from tests.support import anatomy
from tests.support.gates import LIMIT_S, until
from tests.support.losses import Runs, lose

N = 100_000  # float64: 800 kB


@pytest.fixture
def ia(shared_runtime: Any) -> Any:
    return shared_runtime


@pytest.fixture
def runs(tmp_path: pathlib.Path) -> Runs:
    return Runs(tmp_path / "runs")


def stored(process_id: bytes) -> list[str]:
    """Return what the store of this machine has that a process owned."""
    paths = anatomy.paths()
    found = (*os.listdir(paths.store_dir), *os.listdir(paths.spill_dir))
    return [name for name in found if name.startswith(process_id.hex())]


def attempts(ia: Any, name: str) -> int:
    """Return how often a task ran to its end, as the event log has it."""
    return sum(event.name == name and event.kind == "task_attempt" for event in ia.events())


def outer_of(ia: Any, value: Callable[[], Any], name: str, **options: Any) -> Any:
    """Return a task that puts a value and returns a reference to it."""

    def outer(runs: Runs) -> Any:
        runs.note("outer")
        return [ia.put(value())]

    outer.__name__ = outer.__qualname__ = name
    return ia.remote(**options)(outer) if options else ia.remote(outer)


# -- one machine -----------------------------------------------------------------------------------------------


def test_what_a_dead_worker_had_put_is_read_from_the_store(ia: Any, runs: Runs) -> None:
    outer = outer_of(ia, lambda: np.full(N, 7.0), "puts_large")
    [inner] = ia.get(outer.remote(runs), timeout=LIMIT_S)
    owner_id = bytes.fromhex(inner.hex())[:8]
    runs.kill("outer")
    array = ia.get(inner, timeout=LIMIT_S)
    assert float(array.sum()) == 7.0 * N
    assert runs.counts() == {"outer": 1}
    assert len(stored(owner_id)) == 1, "it stays while it is referred to"
    assert float(ia.get(inner, timeout=LIMIT_S)[0]) == 7.0
    del inner
    until(
        lambda: not any(len(name) == 2 * OBJECT_ID_BYTES for name in stored(owner_id)), "nobody can come to it any more"
    )
    assert float(array[-1]) == 7.0, "what is mapped stays mapped"
    del array
    until(lambda: not stored(owner_id), "an empty store")


def test_what_nobody_refers_to_goes_with_its_owner(ia: Any, runs: Runs) -> None:
    @ia.remote
    def outer(runs: Runs) -> Any:
        runs.note("outer")
        refs = [ia.put(np.ones(N)) for _ in range(3)]
        vars(sys)["kept_by_test"] = refs
        return refs[:1]

    [inner] = ia.get(outer.remote(runs), timeout=LIMIT_S)
    owner_id = bytes.fromhex(inner.hex())[:8]
    assert len(stored(owner_id)) == 3
    runs.kill("outer")
    until(lambda: len(stored(owner_id)) == 1, "one segment")
    assert ia.get(inner, timeout=LIMIT_S).sum() == N
    del inner
    until(lambda: not stored(owner_id), "an empty store")


def test_the_task_that_returned_the_reference_runs_once_more_for_all_who_wait(ia: Any, runs: Runs) -> None:
    outer = outer_of(ia, lambda: np.full(N, 2.0), "puts_again")

    @ia.remote
    def total(array: np.ndarray) -> float:
        return float(array.sum())

    [inner] = ia.get(outer.remote(runs), timeout=LIMIT_S)
    owner_id = bytes.fromhex(inner.hex())[:8]
    runs.kill("outer")
    lose(inner)
    sums = [total.remote(inner) for _ in range(3)]
    assert ia.get(sums, timeout=LIMIT_S) == [2.0 * N] * 3
    assert ia.get(inner, timeout=LIMIT_S).sum() == 2.0 * N
    assert runs.counts() == {"outer": 2}
    assert attempts(ia, "puts_again") == 2
    assert not stored(owner_id)


def test_small_values_come_back_too_each_to_its_reference(ia: Any, runs: Runs) -> None:
    @ia.remote
    def outer(runs: Runs) -> list[Any]:
        runs.note("outer")
        return [ia.put(index * 10) for index in range(4)]

    refs = ia.get(outer.remote(runs), timeout=LIMIT_S)
    runs.kill("outer")
    assert ia.get(refs[3], timeout=LIMIT_S) == 30
    assert ia.get(refs, timeout=LIMIT_S) == [0, 10, 20, 30]
    assert runs.counts() == {"outer": 2}
    runs.kill("outer")  # and once more: the new ones are owned by another worker
    again = ia.get(outer.remote(runs), timeout=LIMIT_S)
    assert ia.get(again, timeout=LIMIT_S) == [0, 10, 20, 30]


def test_a_nested_result_survives_those_who_asked_for_it(ia: Any, runs: Runs) -> None:
    @ia.remote
    def child() -> np.ndarray:
        return np.full(N, 5.0)

    @ia.remote
    def outer(runs: Runs) -> Any:
        runs.note("outer")
        ref = child.remote()
        ia.wait([ref])
        return [ref]

    [inner] = ia.get(outer.remote(runs), timeout=LIMIT_S)
    runs.kill("outer")
    assert ia.get(inner, timeout=LIMIT_S).sum() == 5.0 * N
    assert runs.counts() == {"outer": 1}


def test_an_actor_that_was_given_the_reference_reads_it_too(ia: Any, runs: Runs) -> None:
    @ia.remote
    class Keeper:
        def keep(self, refs: list[Any]) -> None:
            self.refs = refs

        def total(self) -> float:
            return float(ia.get(self.refs[0]).sum())

    outer = outer_of(ia, lambda: np.full(N, 3.0), "lent_on")
    keeper = Keeper.remote()
    refs = ia.get(outer.remote(runs), timeout=LIMIT_S)
    owner_id = bytes.fromhex(refs[0].hex())[:8]
    ia.get(keeper.keep.remote(refs), timeout=LIMIT_S)
    del refs
    runs.kill("outer")
    assert ia.get(keeper.total.remote(), timeout=LIMIT_S) == 3.0 * N
    assert runs.counts() == {"outer": 1}
    del keeper  # it dies with what it had claimed
    until(lambda: not stored(owner_id), "an empty store")


@pytest.mark.parametrize(
    ("options", "words"),
    [({"max_retries": 0}, "max_retries=0"), ({"lineage": False}, "lineage=False")],
)
def test_who_forbade_it_is_told_so(ia: Any, runs: Runs, options: dict[str, Any], words: str) -> None:
    outer = outer_of(ia, lambda: "small", "forbids", **options)
    [inner] = ia.get(outer.remote(runs), timeout=LIMIT_S)
    runs.kill("outer")
    with pytest.raises(exceptions.OwnerDiedError, match=words):
        ia.get(inner, timeout=LIMIT_S)
    assert runs.counts() == {"outer": 1}


def test_a_result_that_brings_other_references_is_not_taken_for_the_first(ia: Any, runs: Runs) -> None:
    @ia.remote
    def outer(runs: Runs) -> list[Any]:
        runs.note("outer")
        return [ia.put(index) for index in range(2 + runs.counts()["outer"])]

    refs = ia.get(outer.remote(runs), timeout=LIMIT_S)
    runs.kill("outer")
    with pytest.raises(exceptions.OwnerDiedError, match=r"4 references, and not 3"):
        ia.get(refs[0], timeout=LIMIT_S)


# -- several machines ------------------------------------------------------------------------------------------


def test_the_machine_of_the_owner_is_removed(runs: Runs) -> None:
    import ipyactors as ia

    ia.shutdown()
    with LocalCluster() as cluster:
        node = cluster.add_node(num_cpus=2, resources={"far": 1})
        ia.init(address=cluster.address)
        outer = outer_of(ia, lambda: np.full(N, 4.0), "far_away", resources={"far": 0.01})
        [read] = ia.get(outer.remote(runs), timeout=LIMIT_S)
        [unread] = ia.get(outer.remote(runs), timeout=LIMIT_S)
        assert ia.get(read, timeout=LIMIT_S)[0] == 4.0  # a copy is here now
        cluster.add_node(num_cpus=2, resources={"far": 1})
        cluster.remove_node(node)
        assert ia.get(read, timeout=LIMIT_S)[0] == 4.0
        assert runs.counts() == {"outer": 2}, "there was a copy"
        assert ia.get(unread, timeout=LIMIT_S)[0] == 4.0
        assert runs.counts() == {"outer": 3}
        del read, unread
        ia.shutdown()


def test_another_machine_has_what_the_dead_worker_had_put(runs: Runs) -> None:
    import ipyactors as ia

    ia.shutdown()
    with LocalCluster() as cluster:
        cluster.add_node(num_cpus=2, resources={"far": 1})
        ia.init(address=cluster.address)
        outer = outer_of(ia, lambda: np.full(N, 6.0), "elsewhere", resources={"far": 0.01})
        [inner] = ia.get(outer.remote(runs), timeout=LIMIT_S)
        owner_id = bytes.fromhex(inner.hex())[:8]
        runs.kill("outer")
        assert ia.get(inner, timeout=LIMIT_S)[0] == 6.0
        assert runs.counts() == {"outer": 1}
        del inner
        until(lambda: not stored(owner_id), "an empty store")
        ia.shutdown()
