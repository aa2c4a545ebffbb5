"""Cancelling tasks: wherever they are, with what they have started, and nobody else."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ipyactors import exceptions
from tests.support.gates import Gate, Tally, until


@pytest.fixture
def ia(shared_runtime: Any) -> Any:
    return shared_runtime


def test_a_task_that_waits_for_its_argument_is_cancelled_and_never_runs(ia: Any, tasks: Any, gate: Gate) -> None:
    tally = Tally(gate.path + ".tally")

    @ia.remote
    def use(_value: Any) -> None:
        tally.add()

    slow = tasks.wait_for.remote(gate)
    ref = use.remote(slow)
    ia.cancel(ref)
    with pytest.raises(exceptions.TaskCancelledError, match=r"use was cancelled\. It was not run"):
        ia.get(ref)
    gate.open()
    ia.get(use.remote(slow))
    assert tally.lines() == ["x"]


def test_tasks_that_wait_for_a_worker_are_cancelled_and_never_run(ia: Any, gate: Gate) -> None:
    begun, tally = Tally(gate.path + ".begun"), Tally(gate.path + ".tally")

    @ia.remote
    def hold() -> None:
        begun.add()
        gate.wait()

    @ia.remote
    def count() -> None:
        tally.add()

    holders = [hold.remote() for _ in range(2)]
    until(lambda: len(begun.lines()) == 2, "both CPUs busy")
    refs = [count.remote() for _ in range(10)]
    for ref in refs[:9]:
        ia.cancel(ref)
    gate.open()
    ia.get([*holders, refs[9]])
    for ref in refs[:9]:
        with pytest.raises(exceptions.TaskCancelledError):
            ia.get(ref)
    assert tally.lines() == ["x"]


def test_a_task_that_runs_is_interrupted_and_not_retried(ia: Any, gate: Gate) -> None:
    begun, tally = Gate(gate.path + ".begun"), Tally(gate.path + ".tally")

    @ia.remote(retry_exceptions=True)
    def run() -> None:
        tally.add()
        begun.open()
        try:
            gate.wait()
        except KeyboardInterrupt:
            tally.add("interrupted")
            raise

    ref = run.remote()
    begun.wait()
    ia.cancel(ref)
    with pytest.raises(exceptions.TaskCancelledError, match="interrupted while it ran"):
        ia.get(ref)
    assert tally.lines() == ["x", "interrupted"]


def test_a_forced_cancel_ends_the_worker_of_a_task_that_will_not_listen(ia: Any, gate: Gate) -> None:
    begun = Tally(gate.path + ".begun")

    @ia.remote
    def stubborn() -> None:
        begun.add(str(os.getpid()))
        while not gate.is_open():
            try:
                time.sleep(0.001)
            except KeyboardInterrupt:
                begun.add("no")

    ref = stubborn.remote()
    until(begun.lines, "it runs")
    ia.cancel(ref)
    until(lambda: "no" in begun.lines(), "it ignores the cancel")
    ia.cancel(ref, force=True)
    with pytest.raises(exceptions.TaskCancelledError):
        ia.get(ref)
    until(lambda: not os.path.exists(f"/proc/{begun.lines()[0]}"), "its process is gone")
    assert set(begun.lines()[1:]) == {"no"}


def test_a_forced_cancel_of_a_method_call_is_refused_and_changes_nothing(ia: Any, gate: Gate) -> None:
    @ia.remote
    class Waiter:
        def wait(self, gate: Gate) -> str:
            gate.wait()
            return "undisturbed"

        def items(self, gate: Gate) -> Iterator[str]:
            gate.wait()
            yield "undisturbed"

    waiter = Waiter.remote()
    ref, items = waiter.wait.remote(gate), waiter.items.remote(gate)
    for subject, name in ((ref, "wait"), (items, "items")):
        with pytest.raises(ValueError, match=rf"Waiter\.{name} is a method call.* Nothing was cancelled\. .*kill\(\)"):
            ia.cancel(subject, force=True)
    gate.open()
    assert [ia.get(ref), *map(ia.get, items)] == ["undisturbed"] * 2
    ia.cancel(ref, force=True)
    ia.cancel(items, force=True)


@pytest.mark.parametrize("recursive", [True, False])
def test_children_are_cancelled_with_their_parent_unless_told_otherwise(ia: Any, gate: Gate, recursive: bool) -> None:
    begun, finished = Gate(gate.path + ".begun"), Gate(gate.path + ".finished")

    @ia.remote(max_retries=0)
    def child() -> None:
        begun.open()
        gate.wait()
        finished.open()

    @ia.remote
    def parent() -> Any:
        ia.get(child.remote())

    ref = parent.remote()
    begun.wait()
    ia.cancel(ref, recursive=recursive)
    with pytest.raises(exceptions.TaskCancelledError):
        ia.get(ref)
    if recursive:
        until(lambda: ia.available_resources()["CPU"] == 2, "the child is gone")
        gate.open()
        assert not finished.is_open()
    else:
        gate.open()
        finished.wait()


def test_what_is_finished_stays_as_it_is(ia: Any, tasks: Any) -> None:
    ref = tasks.echo.remote(1)
    assert ia.get(ref) == 1
    ia.cancel(ref, force=True)
    assert ia.get(ref) == 1
    ia.cancel(ia.put(1))
    with pytest.raises(TypeError, match="takes a reference, not int"):
        ia.cancel(1)


def test_a_stream_is_cancelled_where_it_is(ia: Any, gate: Gate) -> None:
    @ia.remote
    def produce() -> Iterator[int]:
        yield 1
        gate.wait()
        yield 2

    stream = produce.remote()
    assert ia.get(next(stream)) == 1
    ia.cancel(stream)
    with pytest.raises(exceptions.TaskCancelledError):
        ia.get(next(stream))
    with pytest.raises(StopIteration):
        next(stream)


def test_an_interrupt_meant_for_one_task_never_hits_the_next(ia: Any) -> None:
    @ia.remote
    def quick(n: int) -> int:
        return n

    ia.get([quick.remote(n) for n in range(100)])
    refs = [quick.remote(n) for n in range(400)]
    for ref in refs[::2]:
        ia.cancel(ref)
    assert ia.get(refs[1::2]) == list(range(1, 400, 2))
    for n, ref in enumerate(refs[::2]):
        try:
            assert ia.get(ref) == 2 * n
        except exceptions.TaskCancelledError:
            continue
