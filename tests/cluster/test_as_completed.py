"""Results in the order in which they come, and what is said of those that have not."""

from __future__ import annotations

import asyncio
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest

from ipyactors import exceptions
from tests.support.gates import Gate, until


@pytest.fixture
def ia(shared_runtime: Any) -> Any:
    return shared_runtime


@pytest.fixture
def gates(tmp_path: pathlib.Path) -> Iterator[list[Gate]]:
    gates = [Gate(tmp_path / f"gate{number}") for number in range(3)]
    yield gates
    for gate in gates:
        gate.open()  # whatever a failed test left waiting ends


@pytest.fixture
def passed(ia: Any) -> Any:
    @ia.remote(num_cpus=0)
    def passed(gate: Gate, number: int) -> int:
        gate.wait()
        return number

    return passed


def test_references_come_in_the_order_in_which_they_are_ready(ia: Any, passed: Any, gates: list[Gate]) -> None:
    refs = [passed.remote(gate, number) for number, gate in enumerate(gates)]
    there = ia.put(9)
    coming = ia.as_completed([*refs, there], timeout=60)
    assert next(coming) == there
    for number in (2, 0, 1):
        gates[number].open()
        assert next(coming) == refs[number]
    with pytest.raises(StopIteration):
        next(coming)


def test_a_failed_call_is_ready_too(ia: Any) -> None:
    @ia.remote
    def fail() -> None:
        raise ArithmeticError

    [ref] = ia.as_completed([fail.remote()])
    with pytest.raises(ArithmeticError):
        ia.get(ref)


def test_nothing_is_left_behind_by_who_stops_waiting(ia: Any, passed: Any, gates: list[Gate]) -> None:
    refs = [passed.remote(gate, number) for number, gate in enumerate(gates)]
    entries = [ref._entry for ref in refs]
    gates[0].open()
    coming = ia.as_completed(refs)
    assert next(coming) == refs[0]
    assert all(entry.callbacks for entry in entries[1:])
    del coming
    assert not any(entry.callbacks for entry in entries)
    coming = ia.as_completed(refs, timeout=0.01)
    assert next(coming) == refs[0]
    with pytest.raises(exceptions.GetTimeoutError, match="2 of 3 references were not ready") as caught:
        next(coming)
    assert caught.value.pending == tuple(refs[1:])
    assert not any(entry.callbacks for entry in entries)


def test_references_of_another_process_come_too(ia: Any) -> None:
    @ia.remote(num_cpus=0)
    class Keeper:
        def make(self) -> list[Any]:
            self.refs = [ia.put(number) for number in range(3)]
            return self.refs

    keeper = Keeper.remote()
    assert sorted(ia.get(list(ia.as_completed(ia.get(keeper.make.remote()))))) == [0, 1, 2]


def test_a_generator_is_explained(ia: Any, gates: list[Gate]) -> None:
    @ia.remote(num_cpus=0)
    def produce(gate: Gate, is_to_fail: bool) -> Iterator[int]:
        yield 1
        gate.wait()
        if is_to_fail:
            raise ValueError("no more")

    items, broken = produce.remote(gates[0], False), produce.remote(gates[1], True)
    said = "produce is running. Items that have arrived: 1; not taken: 1."
    until(lambda: ia.explain(items) == ia.explain(broken) == said, "both have yielded")
    next(items)
    gates[0].open()
    until(lambda: ia.explain(items) == "It is done. Items that have arrived: 1; not taken: 0.", "one has ended")
    gates[1].open()
    failed = "Items that have arrived: 1. It failed: ValueError: no more"
    until(lambda: ia.explain(broken) == failed, "one has failed")


def test_references_can_be_awaited_in_the_order_in_which_they_are_ready(
    ia: Any, passed: Any, gates: list[Gate]
) -> None:
    refs = [passed.remote(gate, number) for number, gate in enumerate(gates)]
    there = ia.put(9)

    async def main() -> None:
        coming = ia.as_completed([*refs, there], timeout=60)
        assert await anext(coming) == there
        for number in (2, 0):
            following = asyncio.ensure_future(anext(coming))
            await asyncio.sleep(0)  # the loop is free: others run, and what is waited for comes later
            assert not following.done()
            with pytest.raises(RuntimeError, match="another coroutine waits"):
                await anext(coming)
            gates[number].open()
            assert await following == refs[number]
        gates[1].open()
        assert [ref async for ref in coming] == [refs[1]]
        assert [ref async for ref in coming] == []

    asyncio.run(main())
    assert not any(ref._entry.callbacks for ref in refs)


def test_who_awaits_may_stop_and_go_on_and_is_told_what_was_not_in_time(
    ia: Any, passed: Any, gates: list[Gate]
) -> None:
    refs = [passed.remote(gate, number) for number, gate in enumerate(gates)]

    async def main() -> None:
        coming = ia.as_completed(refs)
        following = asyncio.ensure_future(anext(coming))
        await asyncio.sleep(0)
        following.cancel()
        with pytest.raises(asyncio.CancelledError):
            await following
        gates[1].open()
        assert await anext(coming) == refs[1]
        gates[2].open()
        assert next(coming) == refs[2]
        del coming
        late = ia.as_completed(refs, timeout=0.01)
        assert [await anext(late), await anext(late)] == refs[1:]
        with pytest.raises(exceptions.GetTimeoutError, match="1 of 3 references were not ready") as caught:
            await anext(late)
        assert caught.value.pending == (refs[0],)
        with pytest.raises(StopAsyncIteration):
            await anext(late)

    asyncio.run(main())
    assert not any(ref._entry.callbacks for ref in refs)


@pytest.mark.parametrize("options", [{}, {"durable": True, "max_concurrency": 1}])
def test_an_async_method_goes_through_references_as_they_become_ready(ia: Any, options: dict[str, Any]) -> None:
    @ia.remote(num_cpus=0)
    def square(number: int) -> int:
        return number**2

    class Sum:
        async def of(self, count: int) -> int:
            return sum([await ref async for ref in ia.as_completed([square.remote(i) for i in range(count)])])

    assert ia.get(ia.remote(Sum).options(**options).remote().of.remote(10)) == 285
