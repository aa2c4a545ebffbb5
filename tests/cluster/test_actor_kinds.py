"""Actors that run several calls at once, in threads or in an event loop, and methods that are generators."""

from __future__ import annotations

import asyncio
import os
import pathlib
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import ipyactors as ia
from ipyactors.exceptions import ActorDiedError, ActorUnavailableError, TaskCancelledError
from tests.support.actors import PATIENCE_S, get, wait_for

pytestmark = pytest.mark.usefixtures("shared_runtime")


@ia.remote(num_cpus=0)
def when_there(path: pathlib.Path, value: Any = None) -> Any:
    wait_for(path)
    return value


@ia.remote
def double(number: int) -> int:
    return 2 * number


# -- threads -----------------------------------------------------------------------------------------------------------


@ia.remote
class Meeting:
    """Its calls can only return when as many as it has places are inside at once."""

    def __init__(self, places: int) -> None:
        self.barrier = threading.Barrier(places)
        self.threads: set[str] = set()

    def meet(self) -> int:
        self.threads.add(threading.current_thread().name)
        return self.barrier.wait(PATIENCE_S)

    def count_threads(self) -> int:
        return len(self.threads)

    def get_inside(self, ref: list[Any]) -> Any:
        return ia.get(ref[0])

    def nested(self, number: int) -> int:
        return ia.get(double.remote(number))

    def name(self, path: pathlib.Path) -> tuple[str | None, str | None]:
        before = ia.get_runtime_context().get_task_id()
        wait_for(path)
        return before, ia.get_runtime_context().get_task_id()

    def until_cancelled(self, path: pathlib.Path) -> str:
        path.touch()
        while not ia.get_runtime_context().is_canceled():
            time.sleep(0.001)
        return "saw it"

    def leave(self) -> None:
        ia.actor.exit_actor()

    def wait_and_answer(self, folder: pathlib.Path) -> str:
        (folder / "inside").touch()
        wait_for(folder / "go")
        return "finished"

    def pid(self) -> int:
        return os.getpid()


def test_as_many_calls_run_at_once_as_max_concurrency_says() -> None:
    meeting = Meeting.options(max_concurrency=4).remote(4)
    assert sorted(get([meeting.meet.remote() for _ in range(8)])) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert get(meeting.count_threads.remote()) <= 4


def test_threads_wait_for_other_calls_while_others_go_on(tmp_path: pathlib.Path) -> None:
    meeting = Meeting.options(max_concurrency=3).remote(1)
    waiting = [meeting.get_inside.remote([when_there.remote(tmp_path / "go", number)]) for number in range(2)]
    assert get([meeting.nested.remote(number) for number in range(20)]) == [2 * number for number in range(20)]
    assert ia.wait(waiting, num_returns=2, timeout=0) == ([], waiting)
    (tmp_path / "go").touch()
    assert get(waiting) == [0, 1]


def test_each_thread_knows_its_own_call(tmp_path: pathlib.Path) -> None:
    meeting = Meeting.options(max_concurrency=2).remote(1)
    refs = [meeting.name.remote(tmp_path / "go") for _ in range(2)]
    (tmp_path / "go").touch()
    assert get(refs) == [(ref.task_id(), ref.task_id()) for ref in refs]


def test_cancel_is_seen_by_the_thread_that_it_is_meant_for(tmp_path: pathlib.Path) -> None:
    meeting = Meeting.options(max_concurrency=2).remote(1)
    spinning = [meeting.until_cancelled.remote(tmp_path / str(number)) for number in range(2)]
    for number in range(2):
        wait_for(tmp_path / str(number))
    behind = meeting.pid.remote()
    ia.cancel(behind)
    with pytest.raises(TaskCancelledError, match="was not run"):
        get(behind)
    ia.cancel(spinning[0])
    assert get(spinning[0]) == "saw it"
    assert ia.wait(spinning[1:], timeout=0) == ([], spinning[1:])
    ia.cancel(spinning[1])
    assert get(spinning[1]) == "saw it"


def test_exit_actor_lets_calls_beside_it_finish_and_runs_none_behind_it(tmp_path: pathlib.Path) -> None:
    meeting = Meeting.options(max_concurrency=2).remote(1)
    beside = meeting.wait_and_answer.remote(tmp_path)
    wait_for(tmp_path / "inside")
    leaving, behind = meeting.leave.remote(), [meeting.pid.remote() for _ in range(3)]
    (tmp_path / "go").touch()
    assert get(beside) == "finished"
    for ref in (leaving, *behind):
        with pytest.raises(ActorDiedError):
            get(ref)


def test_all_calls_that_run_in_threads_at_a_crash_are_reported_as_started(tmp_path: pathlib.Path) -> None:
    meeting = Meeting.options(max_concurrency=2, max_restarts=1).remote(1)
    pid = get(meeting.pid.remote())
    inside = [meeting.until_cancelled.remote(tmp_path / str(number)) for number in range(2)]
    for number in range(2):
        wait_for(tmp_path / str(number))
    behind = meeting.nested.remote(4)
    os.kill(pid, signal.SIGKILL)
    for ref in inside:
        with pytest.raises(ActorUnavailableError, match="had started"):
            get(ref)
    assert get(behind) == 8, "it had not started, so it is sent again"


# -- coroutines --------------------------------------------------------------------------------------------------------


@ia.remote
class Lobby:
    """Coroutines that meet each other."""

    def __init__(self) -> None:
        self.arrived = asyncio.Event()
        self.inside = 0
        self.most = 0
        self.cancelled: list[str] = []

    async def wait_for_arrival(self) -> str:
        await self.arrived.wait()
        return "met"

    async def arrive(self) -> None:
        self.arrived.set()

    def plain(self) -> str:
        return "plain methods run in the loop too"

    async def gather(self, refs: list[Any]) -> list[Any]:
        return list(await asyncio.gather(*refs))

    async def await_task(self, number: int) -> int:
        return int(await double.remote(number)) + await double.remote(1)

    async def enter(self) -> int:
        self.inside += 1
        self.most = max(self.most, self.inside)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        self.inside -= 1
        return self.most

    async def until_cancelled(self, name: str) -> None:
        try:
            self.arrived.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.append(name)
            raise

    async def who_was_cancelled(self) -> list[str]:
        return self.cancelled

    async def count(self, limit: int) -> AsyncIterator[int]:
        for number in range(limit):
            await asyncio.sleep(0)
            yield number

    async def fail(self) -> None:
        raise KeyError("async")

    async def my_call(self) -> tuple[str | None, str | None]:
        before = ia.get_runtime_context().get_task_id()
        await asyncio.sleep(0)
        return before, ia.get_runtime_context().get_task_id()

    async def leave(self) -> None:
        ia.actor.exit_actor()


def test_async_calls_run_side_by_side() -> None:
    lobby = Lobby.remote()
    waiting = [lobby.wait_for_arrival.remote() for _ in range(50)]
    assert get(lobby.plain.remote()).startswith("plain")
    lobby.arrive.remote()
    assert get(waiting) == ["met"] * 50
    refs = [lobby.my_call.remote() for _ in range(20)]
    assert get(refs) == [(ref.task_id(), ref.task_id()) for ref in refs]
    with pytest.raises(KeyError, match="async"):
        get(lobby.fail.remote())


def test_max_concurrency_limits_coroutines() -> None:
    lobby = Lobby.options(max_concurrency=3).remote()
    assert max(get([lobby.enter.remote() for _ in range(50)])) == 3


def test_references_are_awaited_inside(tmp_path: pathlib.Path) -> None:
    lobby = Lobby.remote()
    late = lobby.gather.remote([when_there.remote(tmp_path / "go", 1), double.remote(4), ia.put(3)])
    assert get(lobby.await_task.remote(5)) == 12
    (tmp_path / "go").touch()
    assert get(late) == [1, 8, 3]


def test_a_running_coroutine_is_cancelled_and_its_neighbours_are_not() -> None:
    lobby = Lobby.remote()
    running, neighbour = lobby.until_cancelled.remote("first"), lobby.until_cancelled.remote("second")
    get(lobby.wait_for_arrival.remote())
    ia.cancel(running)
    with pytest.raises(TaskCancelledError, match="interrupted while it ran"):
        get(running)
    assert get(lobby.who_was_cancelled.remote()) == ["first"]
    assert ia.wait([neighbour], timeout=0) == ([], [neighbour])
    ia.cancel(neighbour)
    with pytest.raises(TaskCancelledError):
        get(neighbour)


def test_an_async_actor_leaves_and_what_waits_fails() -> None:
    lobby = Lobby.options(max_restarts=2).remote()
    assert get(lobby.plain.remote())
    leaving = lobby.leave.remote()
    with pytest.raises(ActorDiedError, match=r"exit_actor\(\) was called in Lobby\.leave"):
        get(leaving)
    with pytest.raises(ActorDiedError):
        get(lobby.plain.remote())


def test_an_async_actor_restarts_with_its_calls(tmp_path: pathlib.Path) -> None:
    @ia.remote(max_restarts=1, max_task_retries=1)
    class Comeback:
        async def pid(self) -> int:
            return os.getpid()

        async def once_stuck(self, path: str) -> str:
            if os.path.exists(path):  # noqa: ASYNC240 - nothing else runs in this loop meanwhile
                return "second attempt"
            os.close(os.open(path, os.O_CREAT))
            await asyncio.Event().wait()
            return "never"

    actor = Comeback.remote()
    pid = get(actor.pid.remote())
    refs = [actor.once_stuck.remote(str(tmp_path / str(number))) for number in range(5)]
    for number in range(5):
        wait_for(tmp_path / str(number))
    os.kill(pid, signal.SIGKILL)
    assert get(refs) == ["second attempt"] * 5
    assert get(actor.pid.remote()) != pid


# -- generators --------------------------------------------------------------------------------------------------------


@ia.remote
class Source:
    def count(self, limit: int) -> Iterator[int]:
        yield from range(limit)

    def fail_after(self, limit: int) -> Iterator[int]:
        yield from range(limit)
        raise LookupError("dry")

    def step_by_step(self, folder: pathlib.Path) -> Iterator[int]:
        for number in range(3):
            wait_for(folder / str(number))
            yield number

    def crash_after(self, limit: int, path: pathlib.Path) -> Iterator[int]:
        for number in range(10):
            if number == limit and not path.exists():
                path.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            yield number

    @ia.method(num_returns=3)
    def three(self) -> Iterator[int]:
        yield from (7, 8, 9)


def test_a_generator_method_streams_its_items(tmp_path: pathlib.Path) -> None:
    source = Source.remote()
    assert [get(ref) for ref in source.count.remote(200)] == list(range(200))
    items = source.step_by_step.remote(tmp_path)
    for number in range(3):
        (tmp_path / str(number)).touch()
        assert get(next(items)) == number, "each item is there before the next is made"
    with pytest.raises(StopIteration):
        next(items)
    assert get(source.three.remote()) == [7, 8, 9]


def test_a_generator_that_fails_hands_out_what_it_made_and_then_raises() -> None:
    items = Source.remote().fail_after.remote(2)
    assert [get(next(items)), get(next(items))] == [0, 1]
    with pytest.raises(LookupError, match="dry"):
        get(next(items))


def test_a_generator_goes_on_after_a_crash_without_repeating_items(tmp_path: pathlib.Path) -> None:
    source = Source.options(max_restarts=1, max_task_retries=1).remote()
    assert [get(ref) for ref in source.crash_after.remote(4, tmp_path / "crashed")] == list(range(10))
    assert (tmp_path / "crashed").exists()


def test_an_async_generator_is_iterated_asynchronously() -> None:
    lobby = Lobby.remote()

    async def collect() -> list[int]:
        return [await ref async for ref in lobby.count.remote(20)]

    assert asyncio.run(collect()) == list(range(20))
    assert [get(ref) for ref in lobby.count.remote(5)] == list(range(5))
