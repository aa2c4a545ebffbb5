"""``ipyactors.memory()`` where there are several machines: each store by itself, and values that are on two."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import ipyactors as ia
from ipyactors.testing import LocalCluster
from tests.support.gates import LIMIT_S, until

N = 100_000  # float64: 800 kB


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    ia.shutdown()
    with LocalCluster(num_cpus=1) as started:
        started.add_node(num_cpus=1, resources={"far": 1})
        ia.init(address=started.address)
        yield started
        ia.shutdown()


def test_a_value_is_on_the_machine_that_made_it_and_where_it_was_read(cluster: LocalCluster) -> None:
    @ia.remote(resources={"far": 1})
    def make() -> np.ndarray:
        return np.ones(N)

    here, far = (node.node_id for node in cluster.nodes)
    ref = make.remote()
    ia.wait([ref], timeout=LIMIT_S)
    [row] = ia.memory()
    assert [(place.medium, place.node_id) for place in row.places] == [("memory", far)]
    assert row.owner.node_id == here
    value = ia.get(ref)
    report = ia.memory()
    [row] = report
    assert {(place.medium, place.node_id) for place in row.places} == {("memory", here), ("memory", far)}
    assert "mapping" in {holder.how for holder in row.holders}
    assert {node.node_id: node.objects for node in report.nodes} == {here: 1, far: 1}
    assert report.size_bytes == row.size_bytes >= 800_000
    assert f"memory of {far[:10]}" in repr(report)
    assert value.sum() == N


def test_a_machine_that_is_gone_is_not_asked(cluster: LocalCluster) -> None:
    ref = ia.put(1)
    cluster.remove_node(cluster.nodes[1])
    report = ia.memory()
    assert [row.object_id for row in report] == [ref.hex()]
    assert (len(report.nodes), report.silent) == (1, ())


def test_what_was_spilled_is_on_disk() -> None:
    ia.shutdown()
    ia.init(num_cpus=1, object_store_memory=5_000_000)
    refs = [ia.put(np.full(N, number)) for number in range(12)]

    def is_settled() -> bool:
        [node] = ia.memory().nodes
        return node.spilled_bytes > 0 and node.used_bytes <= node.limit_bytes

    until(is_settled, "the store is below its limit")
    report = ia.memory()
    media = [row.places[0].medium for row in report]
    assert len(media) == len(refs)
    assert set(media) == {"memory", "disk"}
    [node] = report.nodes
    assert node.limit_bytes == 5_000_000
    assert node.objects == len(refs)
    ia.shutdown()
