"""Tasks from end to end: options, results, retries, arguments, and tasks that start tasks."""

from __future__ import annotations

import asyncio
import os
import pathlib
import signal
from typing import Any

import pytest

from ipyactors import ObjectRef, exceptions
from tests.support.gates import Gate, Tally, until


@pytest.fixture
def ia(shared_runtime: Any) -> Any:
    return shared_runtime


# -- calls -----------------------------------------------------------------------------------------------------


def test_a_task_runs_in_another_process_with_all_kinds_of_arguments(ia: Any) -> None:
    @ia.remote
    def f(a: Any, /, b: Any, c: Any = 3, *rest: Any, d: Any = 4, **others: Any) -> Any:
        return os.getpid(), a, b, c, rest, d, others

    pid, *got = ia.get(f.remote(1, 2, 30, 31, 32, d=40, e=50))
    assert pid != os.getpid()
    assert got == [1, 2, 30, (31, 32), 40, {"e": 50}]
    assert ia.get(f.remote(1, b=None))[1:] == (1, None, 3, (), 4, {})


def test_a_thousand_results_come_back_in_the_order_of_their_references(ia: Any) -> None:
    @ia.remote
    def double(x: int) -> int:
        return 2 * x

    assert ia.get([double.remote(n) for n in range(1000)]) == [2 * n for n in range(1000)]


def test_arguments_are_taken_as_they_are_at_the_call(ia: Any) -> None:
    @ia.remote
    def read(values: list[int]) -> list[int]:
        return values

    values = list(range(100))
    ref = read.remote(values)
    values.clear()
    assert ia.get(ref) == list(range(100))


def test_a_remote_function_called_directly_says_what_to_write(ia: Any, tally: Tally) -> None:
    @ia.remote
    def f() -> None:
        tally.add()

    with pytest.raises(TypeError, match=r"f cannot be called directly: use f\.remote\(\.\.\.\)"):
        f()
    assert tally.lines() == []


def test_a_call_that_does_not_fit_the_signature_is_refused_before_it_is_sent(ia: Any, tally: Tally) -> None:
    @ia.remote
    def f(a: int, *, b: int) -> None:
        tally.add()

    with pytest.raises(TypeError, match=r"f\(\) missing 1 required positional argument: 'a'"):
        f.remote(b=1)
    with pytest.raises(TypeError, match=r"f\(\) got an unexpected keyword argument 'c'"):
        f.remote(1, b=2, c=3)
    with pytest.raises(TypeError, match=r"f\(\) takes 1 positional argument but 2 were given"):
        f.options(num_cpus=1).remote(1, 2)
    ia.get(f.remote(1, b=2))
    assert tally.lines() == ["x"]


def test_builtins_partials_and_lambdas_are_functions_too(ia: Any) -> None:
    import functools

    assert ia.get(ia.remote(sorted).remote([3, 1, 2], reverse=True)) == [3, 2, 1]
    assert ia.get(ia.remote(functools.partial(pow, 2)).remote(10)) == 1024
    assert ia.get(ia.remote(lambda x: x + 1).remote(1)) == 2


def test_a_name_is_what_the_task_is_called_by(ia: Any) -> None:
    @ia.remote(name="the decorator's", max_retries=0)
    def f(die: bool) -> Any:
        if die:
            os._exit(1)
        return ia.get_runtime_context().get_task_name()

    assert ia.get(f.remote(False)) == "the decorator's"
    assert ia.get(f.options(name="another").remote(False)) == "another"
    with pytest.raises(exceptions.WorkerCrashedError, match="Task the decorator's crashed"):
        ia.get(f.remote(True))


# -- retries -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("given", "crashes"), [({"max_retries": 0}, 0), ({"max_retries": 1}, 1), ({}, 3)])
def test_a_crash_is_retried_as_often_as_max_retries_says(ia: Any, tally: Tally, given: Any, crashes: int) -> None:
    def crash_times(count: int) -> int:
        runs = tally.add()
        if runs <= count:
            os._exit(7)
        return runs

    task = ia.remote(**given)(crash_times) if given else ia.remote(crash_times)
    assert ia.get(task.remote(crashes)) == crashes + 1
    pathlib.Path(tally.path).unlink()
    with pytest.raises(exceptions.WorkerCrashedError, match="exited with code 7") as caught:
        ia.get(task.remote(crashes + 1))
    assert len(tally.lines()) == crashes + 1
    assert caught.value.attempts == crashes + 1
    assert caught.value.exit_code == 7


def test_minus_one_retries_without_limit(ia: Any, tally: Tally) -> None:
    @ia.remote(max_retries=-1)
    def crash_six_times() -> int:
        if tally.add() <= 6:
            os.kill(os.getpid(), signal.SIGKILL)
        return ia.get_runtime_context().attempt

    assert ia.get(crash_six_times.remote()) == 6


def test_the_report_of_a_crash_tells_the_signal_the_last_words_and_what_to_do(ia: Any) -> None:
    @ia.remote(max_retries=1)
    def last_words() -> None:
        os.write(2, b"the end is near\n")
        os.kill(os.getpid(), signal.SIGSEGV)

    with pytest.raises(exceptions.WorkerCrashedError) as caught:
        ia.get(last_words.remote())
    text = str(caught.value)
    assert "last_words" in text
    assert "SIGSEGV" in text
    assert "tried 2 times" in text
    assert "max_retries" in text
    assert "the end is near" in text
    assert caught.value.signal == signal.SIGSEGV


def test_sys_exit_in_a_task_is_a_crash_with_that_code(ia: Any) -> None:
    @ia.remote(max_retries=0)
    def leave() -> None:
        raise SystemExit(5)

    with pytest.raises(exceptions.WorkerCrashedError, match="exited with code 5"):
        ia.get(leave.remote())


@pytest.mark.parametrize(
    ("retry_exceptions", "runs"),
    [(False, 1), (True, 3), ([ValueError], 3), ([LookupError, ValueError], 3), ([LookupError], 1)],
)
def test_exceptions_are_retried_only_if_asked_for(ia: Any, tally: Tally, retry_exceptions: Any, runs: int) -> None:
    @ia.remote(max_retries=2, retry_exceptions=retry_exceptions)
    def fail() -> None:
        raise ValueError(tally.add())

    with pytest.raises(ValueError, match=str(runs)):
        ia.get(fail.remote())
    assert len(tally.lines()) == runs


def test_an_exception_that_passes_by_is_not_seen(ia: Any, tally: Tally) -> None:
    class MyError(Exception):
        pass

    class SpecialError(MyError):
        pass

    @ia.remote(retry_exceptions=[MyError])
    def fail_twice() -> int:
        runs = tally.add()
        if runs < 3:
            raise SpecialError
        return runs

    assert ia.get(fail_twice.remote()) == 3


def test_crashes_and_exceptions_share_one_count(ia: Any, tally: Tally) -> None:
    @ia.remote(max_retries=2, retry_exceptions=True)
    def fail() -> None:
        runs = tally.add()
        if runs == 2:
            os._exit(1)
        raise ValueError(runs)

    with pytest.raises(ValueError, match="3"):
        ia.get(fail.remote())


def test_tasks_that_wait_behind_a_crash_eat_no_retry(ia: Any, tally: Tally, gate: Gate) -> None:
    @ia.remote(max_retries=0)
    def work(crash: bool) -> str:
        if crash:
            gate.wait()
            os._exit(1)
        return "done"

    ia.get([work.remote(False) for _ in range(50)])  # it is known to be quick, so that tasks are sent ahead
    crash = [work.remote(True) for _ in range(2)]
    rest = [work.remote(False) for _ in range(20)]
    gate.open()
    assert ia.get(rest) == ["done"] * 20
    for ref in crash:
        with pytest.raises(exceptions.WorkerCrashedError):
            ia.get(ref)


# -- references as arguments -------------------------------------------------------------------------------------


def test_a_reference_arrives_as_its_value_at_the_top_and_as_itself_below(ia: Any) -> None:
    @ia.remote
    def look(a: Any, nested: Any, *, b: Any) -> Any:
        return a, b, isinstance(nested[0], ObjectRef), ia.get(nested)

    @ia.remote
    def one() -> int:
        return 1

    ref, stored = one.remote(), ia.put({"x": 2})
    assert ia.get(look.remote(ref, [ref, stored], b=stored)) == (1, {"x": 2}, True, [1, {"x": 2}])


def test_references_of_references_stay_references(ia: Any) -> None:
    @ia.remote
    def open_once(inner: Any) -> Any:
        assert isinstance(inner[0], ObjectRef)
        return ia.get(ia.get(inner[0])[0])

    outer = ia.put([ia.put("treasure")])
    assert ia.get(open_once.remote([outer])) == "treasure"


def test_a_reference_that_another_worker_owns_can_be_got_and_passed_on(ia: Any) -> None:
    @ia.remote
    def inner(x: int) -> int:
        return x + 1

    @ia.remote
    def outer() -> Any:
        return [inner.remote(1), ia.put(10)]

    @ia.remote
    def add(a: int, b: int) -> int:
        return a + b

    running, stored = ia.get(outer.remote())
    assert ia.get(add.remote(running, stored)) == 12
    assert ia.get([running, stored, running]) == [2, 10, 2]
    assert ia.wait([running, stored], num_returns=2) == ([running, stored], [])


def test_a_chain_of_tasks_each_given_the_reference_of_the_one_before(ia: Any) -> None:
    @ia.remote
    def increase(x: int) -> int:
        return x + 1

    ref = increase.remote(0)
    for _ in range(99):
        ref = increase.remote(ref)
    assert ia.get(ref) == 100


def test_an_argument_that_failed_fails_what_depends_on_it(ia: Any, tally: Tally) -> None:
    @ia.remote
    def fail() -> None:
        raise KeyError("first")

    @ia.remote
    def use(_value: Any) -> None:
        tally.add()

    with pytest.raises(KeyError, match="first") as caught:
        ia.get(use.remote(use.remote(fail.remote())))
    assert "in fail" in caught.value.remote_traceback
    assert tally.lines() == []


# -- tasks that start tasks --------------------------------------------------------------------------------------


def test_what_waits_behind_a_long_task_is_given_back(ia: Any, gate: Gate) -> None:
    @ia.remote
    def work(is_long: bool) -> int:
        if is_long:
            gate.wait()
        return os.getpid()

    ia.get([work.remote(False) for _ in range(200)])  # it is known to be quick, so that tasks are sent ahead
    long = work.remote(True)
    quick = ia.get([work.remote(False) for _ in range(100)])
    assert ia.wait([long], timeout=0) == ([], [long])
    gate.open()
    assert ia.get(long) not in quick


def test_a_task_that_waits_for_one_behind_it_gives_that_one_back(ia: Any, tmp_path: pathlib.Path) -> None:
    @ia.remote
    class Letterbox:
        def __init__(self) -> None:
            self.letters = asyncio.Queue[str]()

        async def put(self, letter: str) -> None:
            await self.letters.put(letter)

        async def take(self) -> str:
            return await self.letters.get()

    @ia.remote
    def work(box: Any, role: str) -> Any:
        if role == "take":
            return ia.get(box.take.remote())
        if role == "put":
            ia.get(box.put.remote("hello"))
        return None

    box = Letterbox.remote()
    ia.get([work.remote(box, "neither") for _ in range(100)])
    # More takers than CPUs, and the givers behind them.
    takers = [work.remote(box, "take") for _ in range(4)]
    givers = [work.remote(box, "put") for _ in range(4)]
    assert ia.get(takers) == ["hello"] * 4
    ia.get(givers)


def test_a_worker_that_dies_takes_the_tasks_it_started_with_it(ia: Any, tmp_path: pathlib.Path) -> None:
    begun, finished = Gate(tmp_path / "begun"), Gate(tmp_path / "finished")
    never = Gate(tmp_path / "never")

    @ia.remote
    def child() -> None:
        begun.open()
        never.wait()
        finished.open()

    @ia.remote(max_retries=0)
    def parent() -> None:
        child.remote()
        begun.wait()
        os._exit(1)

    with pytest.raises(exceptions.WorkerCrashedError):
        ia.get(parent.remote())
    until(lambda: ia.available_resources()["CPU"] == 2, "both CPUs free again")
    assert not finished.is_open()
