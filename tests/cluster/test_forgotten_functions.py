"""What a function has captured lives in workers no longer than the function can be called, however often it is made."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.support import anatomy
from tests.support.gates import Gate, Tally, until

N = 100_000  # float64: 800 kB


@pytest.fixture
def ia(shared_runtime: Any) -> Any:
    return shared_runtime


@pytest.fixture
def no_collector(ia: Any) -> Iterator[None]:
    """No collector here, nor in the workers."""
    switch = ia.remote(_switch).options(num_cpus=1)
    gc.collect()
    gc.disable()
    ia.get([switch.remote("disable") for _ in range(8)])
    yield
    ia.get([switch.remote("enable") for _ in range(8)])
    gc.enable()


def _switch(word: str) -> None:
    getattr(gc, word)()


def segments() -> set[str]:
    return {name for name in os.listdir(anatomy.paths().store_dir) if len(name) == 40}


class Noted:
    """A value that notes when it is let go of."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    def __del__(self) -> None:
        self.gate.open()


class Arriving:
    """Arrives as a ``Noted``."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    def __reduce__(self) -> Any:
        return Noted, (self.gate,)


def capturing(ia: Any, gate: Gate) -> Any:
    """Return a remote function that has captured something large; the gate opens when it is let go of elsewhere."""
    captured = (np.ones(N), Arriving(gate))
    return ia.remote(lambda: float(captured[0][0]))


@pytest.mark.usefixtures("no_collector")
def test_captured_references_are_let_go_of_with_the_function(ia: Any) -> None:
    before = segments()

    def use(number: int) -> float:
        ref = ia.put(np.full(N, number))
        return float(ia.get(ia.remote(lambda: float(ia.get(ref)[0])).remote()))

    assert [use(number) for number in range(10)] == [float(number) for number in range(10)]
    until(lambda: segments() <= before, "the captured values are gone")


@pytest.mark.usefixtures("no_collector")
def test_captured_arrays_are_let_go_of_with_the_function(ia: Any, gate: Gate) -> None:
    function = capturing(ia, gate)
    assert ia.get([function.remote(), function.remote()]) == [1.0, 1.0]
    assert ia.get(function.remote()) == 1.0
    assert not gate.is_open()
    del function
    gate.wait()


def test_a_finalizer_of_what_was_captured_may_submit_and_not_wait(ia: Any, tally: Tally) -> None:
    """It runs in a thread that reads: were it let wait, nobody would read for it."""

    class Asking:
        def __init__(self, note: Any) -> None:
            self.note = note

        def __del__(self) -> None:
            import ipyactors

            ref = self.note.remote("submitted")
            try:
                ipyactors.get(ref)
            except ipyactors.exceptions.SessionError:
                self.note.remote("refused")

    class Arriving:
        def __reduce__(self) -> Any:
            return Asking, (note,)

    note = ia.remote(num_cpus=0)(tally.add)
    captured = (np.ones(N), Arriving())
    function = ia.remote(lambda: float(captured[0][0]))
    assert ia.get(function.remote()) == 1.0
    del function
    until(lambda: tally.lines().count("refused") == 1, "the finalizer was told that it cannot wait")
    until(lambda: tally.lines().count("submitted") == 1, "what the finalizer has submitted has run")


@pytest.mark.usefixtures("no_collector")
def test_a_function_is_let_go_of_after_its_owner_has_died(ia: Any, gate: Gate) -> None:
    @ia.remote
    class Owner:
        def use(self) -> float:
            self.function = capturing(ia, gate)
            return float(ia.get(self.function.remote()))

        def has_workers(self) -> bool:
            from ipyactors.owner import process

            session = process.session()
            assert session is not None
            return bool(session.state.leases.leases)

    owner = Owner.remote()
    assert ia.get(owner.use.remote()) == 1.0
    until(lambda: not ia.get(owner.has_workers.remote()), "the worker is given back, or it would end with its owner")
    assert not gate.is_open()
    ia.kill(owner)
    gate.wait()


@pytest.mark.usefixtures("no_collector")
def test_it_is_let_go_of_in_the_worker_of_a_worker(ia: Any) -> None:
    before = segments()

    @ia.remote(num_cpus=0)
    def outer(refs: list[Any]) -> float:
        ref = refs[0]
        inner = ia.remote(lambda: float(ia.get(ref)[0]))
        return float(ia.get(inner.remote()))

    def use(number: int) -> float:
        return float(ia.get(outer.remote([ia.put(np.full(N, number))])))

    assert [use(number) for number in range(3)] == [0.0, 1.0, 2.0]
    until(lambda: segments() <= before, "the captured values are gone")


def test_a_function_that_was_let_go_of_still_makes_its_lost_results_again(ia: Any) -> None:
    array = np.ones(N)
    ref = ia.remote(lambda: array * 2).remote()
    assert ia.get(ref)[0] == 2.0
    gc.collect()
    for folder in (anatomy.paths().store_dir, anatomy.paths().spill_dir):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{folder}/{ref.hex()}")
    assert ia.get(ref)[0] == 2.0


def test_a_function_that_is_passed_around_runs_however_often(ia: Any) -> None:
    array = np.ones(N)

    @ia.remote(num_cpus=0)
    def outer(function: Any) -> float:
        return float(sum(ia.get([function.remote() for _ in range(3)])))

    inner = ia.remote(lambda: float(array[0]))
    assert ia.get([outer.remote(inner) for _ in range(10)]) == [3.0] * 10
