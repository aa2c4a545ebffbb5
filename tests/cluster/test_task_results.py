"""What tasks return: one value, several, none, and streams of items."""

from __future__ import annotations

import asyncio
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest

from ipyactors import ObjectRef, exceptions
from tests.support.gates import Gate, Tally


@pytest.fixture
def ia(shared_runtime: Any) -> Any:
    return shared_runtime


# -- results -----------------------------------------------------------------------------------------------------


def test_several_results_are_several_references(ia: Any) -> None:
    @ia.remote(num_returns=3)
    def three() -> Any:
        return 1, [2], "3"

    refs = three.remote()
    assert isinstance(refs, list)
    assert ia.get(refs) == [1, [2], "3"]
    first, second = three.options(num_returns=2).remote()
    with pytest.raises(TypeError, match="num_returns=2, but it returned 3 values"):
        ia.get(first)
    with pytest.raises(TypeError, match="num_returns=2"):
        ia.get(second)


def test_a_generator_can_fill_a_fixed_number_of_references(ia: Any) -> None:
    @ia.remote(num_returns=3)
    def count() -> Iterator[int]:
        yield from range(3)

    assert ia.get(count.remote()) == [0, 1, 2]


def test_no_results_are_no_reference_and_the_task_runs(ia: Any, gate: Gate) -> None:
    @ia.remote(num_returns=0)
    def act() -> int:
        gate.open()
        return 1

    assert act.remote() is None
    gate.wait()


# -- streams -----------------------------------------------------------------------------------------------------


def test_items_of_a_generator_arrive_while_it_runs(ia: Any, tmp_path: pathlib.Path) -> None:
    gates = [Gate(tmp_path / str(n)) for n in range(3)]

    @ia.remote
    def produce() -> Iterator[int]:
        for number, gate in enumerate(gates):
            gate.wait()
            yield number

    stream = produce.remote()
    for number, gate in enumerate(gates):
        gate.open()
        ref = next(stream)
        assert isinstance(ref, ObjectRef)
        assert ia.get(ref) == number
    assert not stream.is_finished() or number == 2
    with pytest.raises(StopIteration):
        next(stream)
    assert stream.is_finished()


def test_an_exception_comes_after_the_items_before_it(ia: Any) -> None:
    @ia.remote
    def produce() -> Iterator[int]:
        yield 1
        yield 2
        raise KeyError("three")

    first, second, third = produce.remote()
    assert ia.get([first, second]) == [1, 2]
    with pytest.raises(KeyError, match="three"):
        ia.get(third)


def test_a_crash_in_the_middle_of_a_stream_repeats_no_item(ia: Any, tally: Tally) -> None:
    @ia.remote
    def produce(count: int) -> Iterator[int]:
        attempt = tally.add()
        for number in range(count):
            if number == 3 * attempt:
                os._exit(1)
            yield number

    assert ia.get(list(produce.remote(8))) == list(range(8))
    assert len(tally.lines()) == 3


def test_a_stream_whose_retries_are_used_up_ends_with_the_crash(ia: Any, gate: Gate) -> None:
    @ia.remote(max_retries=0)
    def produce() -> Iterator[int]:
        yield 1
        gate.wait()
        os._exit(1)

    stream = produce.remote()
    assert ia.get(next(stream)) == 1
    gate.open()
    with pytest.raises(exceptions.WorkerCrashedError):
        ia.get(next(stream))
    with pytest.raises(StopIteration):
        next(stream)


def test_a_stream_can_be_read_by_a_coroutine(ia: Any) -> None:
    @ia.remote
    def produce() -> Iterator[int]:
        yield from range(5)

    async def read() -> list[int]:
        return [await ref async for ref in produce.remote()]

    assert asyncio.run(read()) == list(range(5))


def test_a_stream_of_large_items_and_one_of_many(ia: Any) -> None:
    @ia.remote
    def produce(count: int, size: int) -> Iterator[bytes]:
        for number in range(count):
            yield bytes([number % 256]) * size

    large = ia.get(list(produce.remote(4, 1_000_000)))
    assert [(item[0], len(item)) for item in large] == [(n, 1_000_000) for n in range(4)]
    assert len(ia.get(list(produce.remote(3000, 1)))) == 3000


def test_what_streams_must_be_an_iterator(ia: Any) -> None:
    @ia.remote(num_returns="streaming")
    def no_generator() -> Any:
        return 5

    @ia.remote(num_returns="streaming")
    def iterator() -> Any:
        return iter("ab")

    with pytest.raises(TypeError, match=r"no_generator streams its results.* returned a int"):
        ia.get(next(no_generator.remote()))
    assert ia.get(list(iterator.remote())) == ["a", "b"]


def test_a_stream_is_not_passed_on_but_its_references_are(ia: Any) -> None:
    @ia.remote
    def produce() -> Iterator[int]:
        yield from range(3)

    @ia.remote
    def add(refs: Any) -> int:
        return sum(ia.get(refs))

    with pytest.raises(exceptions.SerializationError, match=r": argument 1 is a ObjectRefGenerator.*pass the refer"):
        add.remote(produce.remote())
    assert ia.get(add.remote(list(produce.remote()))) == 3


def test_async_generators_are_methods_and_not_tasks(ia: Any) -> None:
    async def produce() -> Any:
        yield 1

    with pytest.raises(TypeError, match="async function"):
        ia.remote(produce)

    @ia.remote
    class Source:
        @ia.method(num_returns="streaming")
        async def produce(self, count: int) -> Any:
            for number in range(count):
                await asyncio.sleep(0)
                yield number
            raise KeyError("end")

    *numbers, last = Source.remote().produce.remote(3)
    assert ia.get(numbers) == [0, 1, 2]
    with pytest.raises(KeyError, match="end"):
        ia.get(last)
