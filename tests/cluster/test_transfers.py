"""Values between machines: fetched once, whole, from whoever has them, and gone everywhere when they are freed."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import psutil
import pytest

import ipyactors
from ipyactors.testing import LocalCluster, LocalNode
from tests.support.gates import until

MIB = 1 << 20

#: How many pieces of 1 MiB a value of this size travels in.
PIECES = 30
SIZE = PIECES * MIB - MIB // 2

StartCluster = Callable[..., list[LocalNode]]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[StartCluster]:
    """Start a session of so many machines, named a, b, c …; in its agents ``fault`` is armed."""
    clusters: list[LocalCluster] = []

    def start_cluster(count: int, fault: str = "", **offer: Any) -> list[LocalNode]:
        ipyactors.shutdown()
        if fault:
            monkeypatch.setenv("IPYACTORS_FAULTPOINTS", fault)
        cluster = LocalCluster(num_cpus=4, resources={"a": 100}, **offer)
        clusters.append(cluster)
        for name in "bcd"[: count - 1]:
            cluster.add_node(num_cpus=4, resources={name: 100}, **offer)
        ipyactors.init(address=cluster.address)
        return cluster.nodes

    yield start_cluster
    for cluster in clusters:
        cluster.close()


@ipyactors.remote
def make(seed: int, size: int = SIZE) -> Any:
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)


@ipyactors.remote
def total(value: Any) -> int:
    return int(value.sum(dtype=np.uint64))


def expected(seed: int, size: int = SIZE) -> Any:
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)


def on(name: str) -> dict[str, Any]:
    return {"resources": {name: 1}}


def machines_alive() -> set[str]:
    return {node["NodeID"] for node in ipyactors.nodes() if node["Alive"]}


def segments_in(node: LocalNode) -> list[str]:
    return [name for name in os.listdir(node.store_dir) if len(name) == 40]


def test_a_value_that_was_made_elsewhere_is_mapped_here(start: StartCluster) -> None:
    a, b = start(2)
    ref = make.options(**on("b")).remote(1)
    value = ipyactors.get(ref)
    assert np.array_equal(value, expected(1))
    assert not value.flags.writeable
    assert segments_in(a) == segments_in(b)
    assert len(segments_in(a)) == 1


def test_arguments_and_results_of_all_sizes_go_round(start: StartCluster) -> None:
    start(3)
    sizes = [70_000, MIB - 300, MIB, MIB + 1, 7 * MIB + 13]
    for seed, size in enumerate(sizes):
        made = make.options(**on("b")).remote(seed, size)
        there = total.options(**on("c")).remote(made)
        here = total.options(**on("a")).remote(made)
        assert ipyactors.get([there, here]) == [int(expected(seed, size).sum(dtype=np.uint64))] * 2


def test_it_is_fetched_once_however_many_want_it(start: StartCluster) -> None:
    """The agent that serves it would be killed at the first piece of a second transfer."""
    start(2, fault=f"transfer.before_read:kill:{PIECES + 1}")
    ref = ipyactors.put(expected(1))
    sums = [total.options(**on("b")).remote(ref) for _ in range(6)]
    assert ipyactors.get(sums) == [int(expected(1).sum(dtype=np.uint64))] * 6


def test_copies_go_with_the_value(start: StartCluster) -> None:
    nodes = start(3)
    ref = make.options(**on("b")).remote(1)
    ipyactors.get([total.options(**on(name)).remote(ref) for name in "abc"])
    assert all(segments_in(node) for node in nodes)
    del ref
    until(lambda: not any(segments_in(node) for node in nodes), "every store is empty")


@pytest.mark.parametrize("is_heard", [True, False])
def test_a_copy_goes_though_the_machine_it_came_from_is_lost(start: StartCluster, is_heard: bool) -> None:
    """Its owner knows of one place only: one that is gone, or one that hears nothing any more, and is gone soon."""
    _, source, other = start(3)
    ref = make.options(**on("b")).remote(1)
    assert ipyactors.get(total.options(**on("c")).remote(ref)) == int(expected(1).sum(dtype=np.uint64))
    assert len(segments_in(other)) == 1
    agent = psutil.Process(source.pid)
    agent.suspend()
    if not is_heard:
        del ref
        gc.collect()
    agent.kill()
    until(lambda: source.node_id not in machines_alive(), "the machine is known to be lost")
    if is_heard:
        del ref
        gc.collect()
    until(lambda: segments_in(other) == [], "the copy is gone")


def test_a_machine_that_dies_while_it_serves_is_left_for_a_copy_elsewhere(start: StartCluster) -> None:
    """It dies at the tenth piece of its second transfer; nothing needs to be made again."""
    start(3, fault=f"transfer.before_read:kill:{PIECES + 10}")
    ref = make.options(**on("b"), max_retries=0).remote(1)
    assert ipyactors.get(total.options(**on("c")).remote(ref)) == int(expected(1).sum(dtype=np.uint64))
    assert np.array_equal(ipyactors.get(ref), expected(1))


def test_a_source_that_fails_half_way_is_left_for_the_next(start: StartCluster) -> None:
    start(3, fault=f"transfer.before_read:raise:{PIECES + 10}")
    ref = ipyactors.put(expected(1), copies=2)
    names = ["b", "c"]
    sums = ipyactors.get([total.options(**on(name)).remote(ref) for name in names])
    assert sums == [int(expected(1).sum(dtype=np.uint64))] * 2


def test_what_was_spilled_is_fetched_from_disk_and_too_large_a_value_goes_to_disk(start: StartCluster) -> None:
    start(2, object_store_memory=64 * MIB)
    refs = [make.options(**on("b")).remote(seed) for seed in range(4)]
    ipyactors.wait(refs, num_returns=len(refs))
    for seed, ref in enumerate(refs):
        assert np.array_equal(ipyactors.get(ref), expected(seed))


def test_many_values_at_once_in_both_directions(start: StartCluster) -> None:
    start(2)
    made_here = [make.options(**on("a")).remote(seed, 3 * MIB) for seed in range(12)]
    made_there = [make.options(**on("b")).remote(seed, 3 * MIB) for seed in range(12)]
    sums_there = [total.options(**on("b")).remote(ref) for ref in made_here]
    sums_here = [total.options(**on("a")).remote(ref) for ref in made_there]
    wanted = [int(expected(seed, 3 * MIB).sum(dtype=np.uint64)) for seed in range(12)]
    assert ipyactors.get(sums_there) == wanted
    assert ipyactors.get(sums_here) == wanted
