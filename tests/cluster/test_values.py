"""Getting values and waiting for them: get, wait, as_completed, put, await, futures, threads, Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import pathlib
import signal
import sys
import threading
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest

from ipyactors import exceptions
from tests.support.gates import Gate, until


@pytest.fixture
def ia(shared_runtime: Any) -> Any:
    return shared_runtime


# -- get ---------------------------------------------------------------------------------------------------------


def test_get_takes_one_a_list_a_tuple_duplicates_and_nothing(ia: Any, tasks: Any) -> None:
    one, two = tasks.echo.remote(1), tasks.echo.remote(2)
    assert ia.get(one) == 1
    assert ia.get([one, two, one]) == [1, 2, 1]
    assert ia.get((two, one)) == [2, 1]
    assert ia.get([]) == []


def test_each_get_returns_a_fresh_copy(ia: Any, tasks: Any) -> None:
    ref = tasks.echo.remote([[]])
    ia.get(ref)[0].append(1)
    assert ia.get(ref) == [[]]


def test_get_refuses_what_is_no_reference(ia: Any, tasks: Any) -> None:
    with pytest.raises(TypeError, match=r"get takes references; item 1 is int"):
        ia.get([tasks.echo.remote(1), 2])
    with pytest.raises(TypeError, match="a reference or a list of references, not int"):
        ia.get(3)
    with pytest.raises(ValueError, match="timeout=-1"):
        ia.get(tasks.echo.remote(1), timeout=-1)


def test_a_timeout_loses_nothing(ia: Any, tasks: Any, gate: Gate) -> None:
    ref = tasks.wait_for.remote(gate, "late")
    with pytest.raises(exceptions.GetTimeoutError, match="1 of 2 values"):
        ia.get([tasks.echo.remote(1), ref], timeout=1.0)
    with pytest.raises(TimeoutError):
        ia.get(ref, timeout=0)
    gate.open()
    assert ia.get(ref) == "late"
    assert ia.get(ref, timeout=0) == "late"


def test_the_first_error_is_raised_without_waiting_for_the_rest(ia: Any, tasks: Any, gate: Gate) -> None:
    slow = tasks.wait_for.remote(gate)
    with pytest.raises(ValueError, match="at once"):
        ia.get([slow, tasks.fail.remote("at once"), slow])
    assert ia.wait([slow], timeout=0) == ([], [slow])


def test_put_stores_a_value_as_it_is_now(ia: Any, tasks: Any) -> None:
    value = {"x": [1]}
    ref = ia.put(value)
    value["x"].append(2)
    assert ia.get(ref) == {"x": [1]}
    assert ia.get(tasks.echo.remote(ref)) == {"x": [1]}
    with pytest.raises(TypeError, match="reference already"):
        ia.put(ref)


@pytest.mark.parametrize("size", [1_000_000, 100_000_000])
def test_large_arrays_go_in_and_out(ia: Any, tasks: Any, size: int) -> None:
    @ia.remote
    def double(array: Any) -> Any:
        return array * 2

    array = np.arange(size, dtype=np.uint8)
    stored = ia.put(array)
    result = ia.get(double.remote(stored))
    assert result.nbytes == size
    assert (result == array * 2).all()
    assert not result.flags.writeable
    assert ia.get(tasks.echo.remote({"nested": [array]}))["nested"][0][-1] == array[-1]


# -- wait and as_completed ---------------------------------------------------------------------------------------


def test_wait_keeps_the_order_and_returns_no_more_than_asked(ia: Any, tasks: Any, gate: Gate) -> None:
    slow = tasks.wait_for.remote(gate)
    quick = [tasks.echo.remote(n) for n in range(3)]
    refs = [quick[0], slow, quick[1], quick[2]]
    assert ia.wait(refs, num_returns=3) == (quick, [slow])
    assert ia.wait(refs, num_returns=2) == (quick[:2], [slow, quick[2]])
    assert ia.wait(refs, num_returns=4, timeout=0) == (quick, [slow])
    gate.open()
    assert ia.wait(refs, num_returns=4) == (refs, [])


def test_a_failed_call_is_ready(ia: Any, tasks: Any) -> None:
    failed = tasks.fail.remote("x")
    assert ia.wait([failed]) == ([failed], [])


def test_wait_checks_its_arguments(ia: Any, tasks: Any) -> None:
    ref = tasks.echo.remote(1)
    with pytest.raises(TypeError, match=r"wait\(\[ref\]\)"):
        ia.wait(ref)
    with pytest.raises(ValueError, match="each reference once"):
        ia.wait([ref, ref])
    for wrong in (0, 2):
        with pytest.raises(ValueError, match=f"num_returns={wrong}: takes 1 to 1"):
            ia.wait([ref], num_returns=wrong)
    with pytest.raises(TypeError, match="num_returns='1'"):
        ia.wait([ref], num_returns="1")
    assert ia.wait([]) == ([], [])


def test_waiting_again_and_again_leaves_nothing_behind(ia: Any, tasks: Any, gate: Gate) -> None:
    ref = tasks.wait_for.remote(gate)
    for _ in range(100):
        assert ia.wait([ref], timeout=0) == ([], [ref])
    assert not ref._entry.callbacks
    gate.open()
    ia.get(ref)


def test_as_completed_yields_what_is_ready_first(ia: Any, tasks: Any, tmp_path: pathlib.Path) -> None:
    gates = [Gate(tmp_path / str(n)) for n in range(3)]
    refs = [tasks.wait_for.remote(gate, n) for n, gate in enumerate(gates)]
    completed = ia.as_completed(refs)
    for n in (2, 0, 1):
        gates[n].open()
        assert next(completed) == refs[n]
    assert list(completed) == []


def test_as_completed_gives_up_after_its_timeout(ia: Any, tasks: Any, gate: Gate) -> None:
    slow, quick = tasks.wait_for.remote(gate), tasks.echo.remote(1)
    ia.get(quick)
    completed = ia.as_completed([slow, quick], timeout=0)
    assert next(completed) == quick
    with pytest.raises(exceptions.GetTimeoutError) as caught:
        next(completed)
    assert caught.value.pending == (slow,)


# -- coroutines, futures, threads, signals -----------------------------------------------------------------------


def test_references_can_be_awaited(ia: Any, tasks: Any, gate: Gate) -> None:
    async def main() -> Any:
        assert await tasks.echo.remote(1) == 1
        slow = tasks.wait_for.remote(gate, "slow")
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(slow, 0.01)
        gathered = asyncio.gather(*[tasks.echo.remote(n) for n in range(100)], slow)
        gate.open()
        with pytest.raises(ValueError, match="awaited"):
            await tasks.fail.remote("awaited")
        return await gathered

    assert asyncio.run(main()) == [*range(100), "slow"]


def test_a_reference_has_a_future(ia: Any, tasks: Any, gate: Gate) -> None:
    future, failed = tasks.wait_for.remote(gate, 5).future(), tasks.fail.remote("future").future()
    assert isinstance(future, Future)
    called = threading.Event()
    future.add_done_callback(lambda _: called.set())
    assert not called.is_set()
    gate.open()
    assert future.result(60) == 5
    assert called.wait(60)
    with pytest.raises(ValueError, match="future"):
        failed.result(60)
    assert isinstance(failed.exception(), exceptions.TaskError)


def test_twenty_threads_call_and_get_at_the_same_time(ia: Any, tasks: Any) -> None:
    results: dict[int, Any] = {}
    shared = tasks.echo.remote("shared")

    def work(thread: int) -> None:
        mine = [ia.get(tasks.echo.remote((thread, n))) for n in range(20)]
        results[thread] = (mine, ia.get(shared))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {thread: ([(thread, n) for n in range(20)], "shared") for thread in range(20)}


def _is_waiting(thread: threading.Thread) -> bool:
    frame = sys._current_frames().get(thread.ident or 0)
    while frame is not None:
        if frame.f_code.co_name == "_lead_until" or frame.f_code.co_name == "_follow":
            return True
        frame = frame.f_back
    return False


def test_ctrl_c_ends_a_get_and_everything_stays_usable(ia: Any, tasks: Any, gate: Gate) -> None:
    main = threading.current_thread()
    slow = tasks.wait_for.remote(gate, "slow")

    def interrupt() -> None:
        until(lambda: _is_waiting(main), "the main thread waits")
        os.kill(os.getpid(), signal.SIGINT)

    for wait in [ia.get, lambda ref: ia.wait([ref]), lambda ref: next(ia.as_completed([ref]))] * 5:
        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            wait(slow)
        thread.join()
        assert ia.get(tasks.echo.remote(1)) == 1
    gate.open()
    assert ia.get(slow) == "slow"
