"""Results of a durable actor that are lost are had again from its log; nothing is run for it."""

from __future__ import annotations

import os
import pathlib
import signal
from typing import Any

import numpy as np
import pytest

from ipyactors.exceptions import CallOutcomeUnknownError, ObjectReconstructionFailedActorResultError
from ipyactors.testing import LocalCluster
from tests.support import anatomy
from tests.support.gates import LIMIT_S
from tests.support.losses import Runs, lose

N = 100_000


@pytest.fixture
def ia(shared_runtime: Any) -> Any:
    return shared_runtime


@pytest.fixture
def runs(tmp_path: pathlib.Path) -> Runs:
    return Runs(tmp_path / "runs")


def _make(ia: Any, runs: Runs, **options: Any) -> Any:
    @ia.remote(durable=True, **options)
    class Maker:
        def __init__(self) -> None:
            self.count = 0

        def make(self, other: Any = None) -> np.ndarray:
            runs.note("make")
            self.count += 1
            return np.full(N, float(self.count))

        @ia.method(num_returns=2)
        def pair(self) -> tuple[np.ndarray, np.ndarray]:
            self.count += 1
            return np.full(N, float(self.count)), np.full(N, -float(self.count))

        def stream(self) -> Any:
            for index in range(3):
                self.count += 1
                yield np.full(N, float(index))

        @ia.method(effect="readonly")
        def pid(self) -> int:
            return os.getpid()

        @ia.method(effect="readonly")
        def look(self) -> np.ndarray:
            runs.note("look")
            return np.full(N, float(self.count))

    return Maker.remote()


def _kill(ia: Any, actor: Any) -> None:
    os.kill(ia.get(actor.pid.remote(), timeout=LIMIT_S), signal.SIGKILL)


def test_a_lost_result_comes_from_the_log_and_nothing_runs_again(ia: Any, runs: Runs) -> None:
    maker = _make(ia, runs)
    refs = [maker.make.remote() for _ in range(3)]
    ia.wait(refs, num_returns=3, timeout=LIMIT_S)
    for ref in refs:
        lose(ref)
    assert [array[0] for array in ia.get(refs, timeout=LIMIT_S)] == [1.0, 2.0, 3.0]
    assert runs.counts() == {"make": 3}


def test_a_lost_result_comes_from_the_log_of_another_incarnation(ia: Any, runs: Runs) -> None:
    maker = _make(ia, runs)
    ref = maker.make.remote()
    first, second = maker.pair.remote()
    ia.wait([ref, first, second], num_returns=3, timeout=LIMIT_S)
    _kill(ia, maker)
    assert ia.get(maker.make.remote(), timeout=LIMIT_S)[0] == 3.0
    for lost in (ref, first, second):
        lose(lost)
    assert [array[0] for array in ia.get([ref, first, second], timeout=LIMIT_S)] == [1.0, 2.0, -2.0]
    assert runs.counts() == {"make": 3}  # two calls, and the replay of the first


def test_a_lost_item_comes_from_the_log(ia: Any, runs: Runs) -> None:
    maker = _make(ia, runs)
    items = list(maker.stream.remote())
    assert ia.get(maker.make.remote(), timeout=LIMIT_S)[0] == 4.0
    lose(items[1])
    assert [array[0] for array in ia.get(items, timeout=LIMIT_S)] == [0.0, 1.0, 2.0]


def test_the_arguments_of_what_is_in_the_log_are_not_made_again(ia: Any, runs: Runs) -> None:
    @ia.remote
    def make(runs: Runs) -> np.ndarray:
        runs.note("argument")
        return np.ones(N)

    maker = _make(ia, runs)
    argument = make.remote(runs)
    ref = maker.make.remote(argument)
    ia.wait([ref], timeout=LIMIT_S)
    lose(argument)
    lose(ref)
    assert ia.get(ref, timeout=LIMIT_S)[0] == 1.0
    assert runs.counts() == {"argument": 1, "make": 1}


def test_a_readonly_result_is_made_again_by_another_incarnation_in_the_same_state(ia: Any, runs: Runs) -> None:
    maker = _make(ia, runs)
    ia.get(maker.make.remote(), timeout=LIMIT_S)
    seen = maker.look.remote()
    ia.wait([seen], timeout=LIMIT_S)
    pid = ia.api.runtime.engine().describe_cluster().actors
    os.kill(next(one.pid for one in pid if one.actor_id == maker._ipyactors_client.actor_id), signal.SIGKILL)
    lose(seen)
    assert ia.get(seen, timeout=LIMIT_S)[0] == 1.0
    assert runs.counts()["look"] == 2


def test_what_the_log_has_dropped_is_lost_and_says_so(ia: Any, runs: Runs) -> None:
    maker = _make(ia, runs, num_checkpoints_to_keep=1)
    ref = maker.make.remote()
    ia.wait([ref], timeout=LIMIT_S)
    ia.get(maker.pid.remote(), timeout=LIMIT_S)
    ia.get(maker.checkpoint(), timeout=LIMIT_S)
    ia.get(maker.checkpoint(), timeout=LIMIT_S)
    lose(ref)
    assert ia.get(ref, timeout=LIMIT_S)[0] == 1.0  # its segment of the log is still being written to


def test_one_lost_result_is_the_loss_of_nobody_else(ia: Any, runs: Runs) -> None:
    """Its file goes when its call is before the oldest checkpoint; its end may be in the log for much longer."""
    maker = _make(ia, runs, num_checkpoints_to_keep=1)
    ref = maker.make.remote()
    kept = maker.make.options(key="k").remote()
    ia.wait([ref, kept], num_returns=2, timeout=LIMIT_S)
    folder = pathlib.Path(anatomy.paths().actor_dir(maker._ipyactors_client.actor_id))
    pid = ia.get(maker.pid.remote(), timeout=LIMIT_S)
    for name in sorted(folder.glob("blob-*")):
        name.write_bytes(name.read_bytes()[:-1] + b"?")
    lose(ref)
    with pytest.raises(ObjectReconstructionFailedActorResultError):
        ia.get(ref, timeout=LIMIT_S)
    with pytest.raises(CallOutcomeUnknownError, match="took effect once, and nothing was run now"):
        ia.get(maker.make.options(key="k").remote(), timeout=LIMIT_S)
    assert ia.get(maker.pid.remote(), timeout=LIMIT_S) == pid, "the actor lives"
    _kill(ia, maker)
    assert ia.get(maker.make.remote(), timeout=LIMIT_S)[0] == 3.0, "and comes back"


def test_a_result_outlives_the_machine_that_it_was_on(runs: Runs) -> None:
    import ipyactors as ia

    ia.shutdown()
    with LocalCluster() as cluster:
        node = cluster.add_node(num_cpus=1, resources={"far": 1})
        ia.init(address=cluster.address)
        maker = _make(ia, runs, resources={"far": 1})
        ref = maker.make.remote()
        ia.wait([ref], timeout=LIMIT_S)
        cluster.add_node(num_cpus=1, resources={"far": 1})
        cluster.remove_node(node)
        assert ia.get(ref, timeout=LIMIT_S)[0] == 1.0
        assert ia.get(maker.make.remote(), timeout=LIMIT_S)[0] == 2.0
        ia.shutdown()
