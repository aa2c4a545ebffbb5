"""Which scope a call is made in: the context's own, else the one that was entered last."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Iterator

import pytest

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


def test_there_is_none_before_the_first() -> None:
    assert scopes.current() == 0
    assert in_thread() == 0


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
