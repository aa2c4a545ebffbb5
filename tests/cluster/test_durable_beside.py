"""What a durable actor's code does beside its calls is refused, in words: nobody could do it again after a crash."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import ipyactors as ia
from ipyactors.exceptions import CallAbortedError, NotReplayableError
from tests.support.durable import get, kill, pid_of
from tests.support.gates import Gate, until

pytestmark = pytest.mark.usefixtures("shared_runtime")


@ia.remote(durable=True)
class Tally:
    """Counts: whatever is done twice shows."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, amount: int = 1) -> int:
        self.count += amount
        return self.count

    @ia.method(effect="readonly")
    def value(self) -> int:
        return self.count


@ia.remote
def held(gate: Gate, value: int) -> int:
    gate.wait()
    return value


@ia.remote
def echo(value: Any) -> Any:
    return value


def problem_of(function: Any) -> str:
    try:
        function()
    except NotReplayableError as error:
        return str(error)
    return ""


@ia.remote(durable=True, max_concurrency=1)
class Threaded:
    """Its methods use threads of their own."""

    def __init__(self, tally: Any) -> None:
        self.tally = tally
        self.problems: list[str] = []

    def by_pool(self) -> list[str]:
        made = echo.remote(1)
        ways = [
            lambda: self.tally.add.remote(),
            lambda: echo.remote(1),
            lambda: ia.get(made),
            lambda: ia.wait([made]),
            lambda: ia.get_runtime_context().now(),
            lambda: Tally.remote(),
        ]
        with ThreadPoolExecutor(2, thread_name_prefix="mine") as pool:
            found = list(pool.map(problem_of, ways))
        ia.get(self.tally.add.remote(10))
        self.problems += found
        return found

    async def by_context(self) -> list[str]:
        made = self.tally.add.remote(10)
        found = [
            await asyncio.to_thread(problem_of, lambda: self.tally.add.remote()),
            await asyncio.to_thread(problem_of, lambda: ia.get(made)),
        ]
        await made
        self.problems += found
        return found

    def by_future(self) -> list[str]:
        found = [problem_of(echo.remote(1).future)]
        self.problems += found
        return found

    @ia.method(effect="readonly")
    async def looks(self) -> int:
        return await asyncio.to_thread(lambda: ia.get(self.tally.value.remote()))

    def seen(self) -> list[str]:
        return self.problems


def test_threads_of_a_method_make_no_calls() -> None:
    tally = Tally.remote()
    actor = Threaded.remote(tally)
    first = get(actor.by_pool.remote())
    assert len(first) == 6
    assert all(
        "Threaded is durable, and code that runs in no call of it (a thread, say) makes a call" in one for one in first
    )
    second = get(actor.by_context.remote())
    assert all("code of Threaded.by_context that runs in another thread makes a call" in one for one in second)
    third = get(actor.by_future.remote())
    assert "Threaded.by_future asks for a future, and nobody could do that again" in third[0]
    assert get(actor.looks.remote()) == 20
    for _ in range(2):
        kill(actor)
        assert get(actor.seen.remote()) == first + second + third
        assert get(tally.value.remote()) == 20


@ia.remote(durable=True, max_concurrency=1)
class Lingering:
    """Its methods leave code behind that goes on after them."""

    def __init__(self) -> None:
        self.problem: list[str] = []
        self.left: Any = None

    async def leave(self) -> None:
        self.left = asyncio.create_task(self.go_on())

    async def go_on(self) -> None:
        await asyncio.sleep(0)
        self.problem.append(problem_of(lambda: ia.get_runtime_context().random()))

    async def meet(self) -> tuple[str, float]:
        await self.left
        return self.problem[0], ia.get_runtime_context().random()

    def __getstate__(self) -> dict[str, Any]:
        return {"problem": self.problem, "left": None}


def test_code_that_outlives_its_method_takes_nothing_from_outside() -> None:
    actor = Lingering.remote()
    get(actor.leave.remote())
    problem, number = get(actor.meet.remote())
    assert "code of Lingering.leave that goes on after that has ended" in problem
    kill(actor)
    get(actor.leave.remote())
    assert get(actor.meet.remote())[1] != number


@ia.remote(durable=True, max_concurrency=1)
class Gathering:
    """Waits for several results at once."""

    def __init__(self) -> None:
        self.sums: list[int] = []

    def note(self, value: int) -> list[int]:
        self.sums.append(value)
        return self.sums

    async def gather(self, first: int, second: int) -> int:
        self.sums.append(-1)
        self.sums.append(sum(await asyncio.gather(echo.remote(first), echo.remote(second))))
        return self.sums[-1]

    async def one_by_one(self, first: int, second: int) -> int:
        refs = [echo.remote(first), echo.remote(second)]
        self.sums.append(sum([await ref for ref in refs]))
        return self.sums[-1]

    @ia.method(effect="persist")
    async def gather_and_save(self, *refs: list[Any]) -> int:
        self.sums.append(sum(await asyncio.gather(*refs[0])))
        return self.sums[-1]

    @ia.method(effect="persist")
    async def follow_and_save(self, *refs: list[Any]) -> int:
        async def follow(ref: Any) -> int:
            return await echo.remote(await ref)

        self.sums.append(sum(await asyncio.gather(*map(follow, refs[0]))))
        return self.sums[-1]

    def seen(self) -> list[int]:
        return self.sums


def test_a_call_that_waits_for_results_side_by_side_is_given_up_and_the_actor_goes_on() -> None:
    actor = Gathering.remote()
    get(actor.note.remote(1))
    for _ in range(7):  # more than an actor is restarted for nothing
        with pytest.raises(CallAbortedError, match=r"given up: Gathering.gather takes .*Await one result after"):
            get(actor.gather.remote(1, 2))
    assert get(actor.one_by_one.remote(1, 2)) == 3
    kill(actor)
    assert get(actor.seen.remote()) == [1, 3]


def test_a_persist_method_may_wait_for_results_side_by_side() -> None:
    actor = Gathering.remote()
    assert get(actor.gather_and_save.remote([echo.remote(1), echo.remote(2)])) == 3
    kill(actor)
    assert get(actor.seen.remote()) == [3]


def test_one_that_a_crash_interrupts_then_is_given_up(tmp_path: Any) -> None:
    actor, gate = Gathering.remote(), Gate(tmp_path / "gate")
    get(actor.note.remote(1))
    waiting = [echo.remote(1), held.options(max_retries=-1).remote(gate, 2)]
    summed = actor.follow_and_save.options(max_task_retries=-1).remote(waiting)
    until(lambda: "OVERLAP" in str(kinds_of(actor)), "that it waits for both")
    kill(actor)
    with pytest.raises(CallAbortedError, match="waiting for several results side by side"):
        get(summed)
    gate.open()
    assert get(actor.seen.remote()) == [1]


def kinds_of(actor: Any) -> list[Any]:
    from ipyactors.durable.record import Value
    from tests.support.durable import records

    return [one.kind.name for one in records(actor, Value)]


def test_a_constructor_that_does_so_makes_no_actor() -> None:
    @ia.remote(durable=True, max_concurrency=1)
    class Early:
        def __init__(self) -> None:
            asyncio.run(self.gather())

        async def gather(self) -> None:
            await asyncio.gather(echo.remote(1), echo.remote(2))

        def ready(self) -> bool:
            return True

    with pytest.raises(Exception, match=r"Early.__init__ takes something from outside in one coroutine"):
        get(Early.remote().ready.remote())


@ia.remote(durable=True)
class Careful:
    """Has things happen once."""

    def __init__(self, tally: Any) -> None:
        self.tally = tally
        self.kept: list[Any] = []

    def measures(self) -> list[Any]:
        context = ia.get_runtime_context()
        self.kept += context.once(lambda: [context.random(), context.uuid4(), os.getpid()])
        self.kept.append(context.random())
        return self.kept

    def calls(self) -> str:
        context = ia.get_runtime_context()
        found = problem_of(lambda: context.once(lambda: self.tally.add.remote()))
        ia.get(self.tally.add.remote(10))
        self.kept.append(found)
        return found

    def cannot_be_kept(self) -> str:
        try:
            ia.get_runtime_context().once(threading.Lock)
        except TypeError as error:
            self.kept.append(str(error))
        return "refused"

    def seen(self) -> list[Any]:
        return self.kept


def test_what_happens_once_is_whole() -> None:
    tally = Tally.remote()
    actor = Careful.remote(tally)
    measured = get(actor.measures.remote())
    found = get(actor.calls.remote())
    assert "Careful.calls makes a call inside of once()" in found
    assert get(actor.cannot_be_kept.remote()) == "refused"
    kept = get(actor.seen.remote())
    assert kept[:-1] == [*measured, found]
    kill(actor)
    assert get(actor.seen.remote()) == kept
    assert get(tally.value.remote()) == 10


@ia.remote(max_retries=-1)
def pays(tally: Any, gate: Gate) -> int:
    context = ia.get_runtime_context()
    if problem_of(lambda: context.once(lambda: ia.get(tally.add.remote()))):
        ia.get(tally.add.remote(10))
    if not gate.is_open():
        gate.open()
        os.kill(os.getpid(), signal.SIGKILL)
    return get(tally.value.remote())


def test_a_task_makes_no_calls_inside_of_once(tmp_path: Any) -> None:
    """Its calls are counted: an attempt that skips one would take the next for it."""
    assert get(pays.remote(Tally.remote(), Gate(tmp_path / "gate"))) == 10


@ia.remote(durable=True)
class Mortal:
    """Dies of some of its calls."""

    def __init__(self) -> None:
        self.count = 0

    def add(self) -> int:
        self.count += 1
        return self.count

    def die(self) -> None:
        self.count += 1000
        os.kill(os.getpid(), signal.SIGKILL)


def test_several_calls_that_kill_their_process_are_given_up_and_the_actor_is_not() -> None:
    actor = Mortal.remote()
    get(actor.add.remote())
    poison = [actor.die.options(max_task_retries=2).remote() for _ in range(4)]
    after = actor.add.remote()
    for ref in poison:
        with pytest.raises(CallAbortedError):
            get(ref)
    assert get(after) == 2
    assert pid_of(actor)
