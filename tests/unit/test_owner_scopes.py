"""Which scope a call is made in: the context's own, else the one that was entered last."""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import ThreadPool

import pytest

from ipyactors.notebook.thread_scopes import ThreadScopes
from ipyactors.owner import scopes


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(scopes, "_latest", 0)
    token = scopes._scope.set(0)
    yield
    scopes._scope.reset(token)


def in_thread() -> int:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(scopes.current()))
    thread.start()
    thread.join()
    return found[0]


class Worker:
    """A thread that says its scope each time it is asked."""

    def __init__(self) -> None:
        self._asked: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._found: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._work)

    def _work(self) -> None:
        while self._asked.get():
            self._found.put(scopes.current())

    def ask(self) -> int:
        self._asked.put(True)
        return self._found.get(timeout=60)

    def end(self) -> None:
        self._asked.put(False)
        self.thread.join()


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker()
    yield made
    made.end()


@pytest.fixture
def noted() -> Iterator[ThreadScopes]:
    made = ThreadScopes()
    made.install()
    yield made
    made.release()


def test_there_is_none_before_the_first() -> None:
    assert scopes.current() == 0
    assert in_thread() == 0


def test_a_thread_keeps_the_one_of_its_first_call(worker: Worker) -> None:
    worker.thread.start()
    assert worker.ask() == 0, "none has begun"
    scopes.enter()
    second = scopes.enter()
    assert worker.ask() == second
    scopes.enter()
    assert worker.ask() == second


def test_a_thread_that_is_seen_starting_keeps_the_one_that_has_started_it(worker: Worker, noted: ThreadScopes) -> None:
    first = scopes.enter()
    worker.thread.start()
    scopes.enter()
    assert worker.ask() == first


def test_a_pools_thread_works_for_whoever_gives_it_work(noted: ThreadScopes) -> None:
    found: list[int] = []
    asked = threading.Event()

    def wait_and_see() -> int:
        asked.wait(60)
        return scopes.current()

    with ThreadPoolExecutor(1) as pool:
        expected = [scopes.enter()]
        futures = [pool.submit(wait_and_see)]
        expected.append(scopes.enter())
        futures.append(pool.submit(wait_and_see))
        scopes.enter()
        asked.set()
        found += [future.result(60) for future in futures]
    assert found == expected
    with ThreadPool(1) as threads:
        for _ in range(2):
            latest = scopes.enter()
            assert threads.apply(scopes.current) == latest


def test_threads_are_followed_until_that_is_taken_back(worker: Worker) -> None:
    before = threading.Thread.start, ThreadPoolExecutor.submit
    for _ in range(2):
        noted = ThreadScopes()
        noted.install()
        noted.release()
        assert (threading.Thread.start, ThreadPoolExecutor.submit) == before
    worker.thread.start()


def test_who_has_wrapped_the_start_of_threads_after_us_keeps_that(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading.Thread, "start", threading.Thread.start)  # as it is, put back at the end
    noted = ThreadScopes()
    noted.install()
    ours = threading.Thread.start
    threading.Thread.start = theirs = lambda thread: ours(thread)  # type: ignore[method-assign, assignment]
    noted.release()
    assert threading.Thread.start is theirs
    scopes.enter()
    worker.thread.start()
    latest = scopes.enter()
    assert worker.ask() == latest, "nobody has noted its start"


def test_a_thread_without_one_takes_the_latest() -> None:
    first = scopes.enter()
    assert scopes.current() == in_thread() == first
    second = scopes.enter()
    assert first < second == scopes.current() == in_thread()


def test_a_coroutine_keeps_its_own_whatever_is_entered_meanwhile() -> None:
    async def cells() -> tuple[int, int, int]:
        first = scopes.enter()
        go_on = asyncio.Event()

        async def later() -> int:
            await go_on.wait()
            return scopes.current()

        task = asyncio.create_task(later())
        await asyncio.sleep(0)
        second = contextvars.copy_context().run(scopes.enter)
        go_on.set()
        return first, second, await task

    first, second, found = asyncio.run(cells())
    assert found == first != second
