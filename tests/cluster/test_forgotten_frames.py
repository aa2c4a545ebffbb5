"""What raised is let go of when nobody has the exception any more: by counting alone, with no help of the collector."""

from __future__ import annotations

import concurrent.futures
import gc
import os
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.support import anatomy
from tests.support.gates import until

N = 100_000  # float64: 800 kB


class Thing:
    """Can be referred to weakly."""


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def worker(shared_runtime: Any) -> Any:
    """An actor whose methods raise, with no collector in its process."""

    @shared_runtime.remote
    class Raising:
        def __init__(self) -> None:
            gc.collect()
            gc.disable()
            self.things: list[weakref.ref[Any]] = []

        def leave(self, kind: str, *_args: Any) -> None:
            thing = Thing()
            self.things.append(weakref.ref(thing))
            try:
                self.deeper(kind)
            except KeyError as error:
                raise ValueError("the cause is a KeyError") from error

        def deeper(self, kind: str) -> None:
            thing = Thing()
            self.things.append(weakref.ref(thing))
            if kind == "unpicklable":
                error = ValueError(kind)
                error.lock = __import__("threading").Lock()  # type: ignore[attr-defined]
                try:
                    raise error
                finally:
                    del error
            if kind == "chained":
                raise KeyError(kind)
            raise ValueError(kind)

        def call(self, function: Any) -> None:
            thing = Thing()
            self.things.append(weakref.ref(thing))
            import ipyactors

            ipyactors.get(function.remote())

        def alive(self) -> int:
            return sum(thing() is not None for thing in self.things)

    return Raising.remote()


@pytest.mark.parametrize("kind", ["plain", "chained", "unpicklable"])
def test_a_worker_lets_go_of_the_frames_of_what_it_raised(shared_runtime: Any, worker: Any, kind: str) -> None:
    ia = shared_runtime
    for _ in range(3):
        with pytest.raises(ia.exceptions.TaskError):
            ia.get(worker.leave.remote(kind))
    assert ia.get(worker.alive.remote()) == 0


def test_a_worker_lets_go_of_an_exception_that_came_from_elsewhere(shared_runtime: Any, worker: Any) -> None:
    ia = shared_runtime

    @ia.remote
    def fail() -> None:
        raise ValueError("elsewhere")

    for _ in range(3):
        with pytest.raises(ValueError, match="elsewhere"):
            ia.get(worker.call.remote(fail))
    assert ia.get(worker.alive.remote()) == 0


def test_what_was_passed_to_a_call_that_raised_is_freed(shared_runtime: Any, worker: Any) -> None:
    ia = shared_runtime
    refs = [ia.put(np.ones(N)) for _ in range(3)]
    names = {ref.hex() for ref in refs}
    for ref in refs:
        with pytest.raises(ValueError):
            ia.get(worker.leave.remote("plain", [ref]))
    del refs, ref
    until(lambda: not names & set(os.listdir(anatomy.paths().store_dir)), "the segments of the arguments are gone")


@pytest.mark.usefixtures("no_collector")
def test_the_driver_lets_go_of_what_was_raised(shared_runtime: Any, tasks: Any) -> None:
    ia = shared_runtime

    def caught(wait: Any) -> tuple[weakref.ref[Any], weakref.ref[Any]]:
        ref, thing = tasks.fail.remote("no"), Thing()
        try:
            wait(ref)
        except ValueError as error:
            return weakref.ref(error), weakref.ref(thing)
        raise AssertionError("nothing was raised")

    def settled(ref: Any) -> None:
        future = ref.future()
        concurrent.futures.wait([future])
        future.result()

    waits = [
        settled,
        ia.get,
        lambda ref: ia.get([ref]),
        lambda ref: ref.future().result(),
        lambda ref: ia.get(ref, timeout=60),
    ]
    for wait in waits:
        assert [one() for one in caught(wait)] == [None, None]


@pytest.mark.usefixtures("no_collector")
def test_the_driver_lets_go_of_an_error_of_the_runtime(shared_runtime: Any, tasks: Any, gate: Any) -> None:
    ia = shared_runtime

    def caught() -> tuple[weakref.ref[Any], weakref.ref[Any]]:
        ref, thing = tasks.wait_for.remote(gate), Thing()
        ia.cancel(ref)
        try:
            ia.get(ref)
        except ia.exceptions.TaskCancelledError as error:
            return weakref.ref(error), weakref.ref(thing)
        raise AssertionError("nothing was raised")

    assert [one() for one in caught()] == [None, None]
