"""Durable actors that make others wait: methods that wait for later calls, and replays; it is said what for."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from typing import Any

import pytest

import ipyactors as ia
from tests.support.durable import get, kill
from tests.support.gates import Gate, until

pytestmark = pytest.mark.usefixtures("shared_runtime")


@ia.remote(durable=True)
class AwaitingQueue:
    """``take`` waits for what ``put`` brings."""

    def __init__(self) -> None:
        self.items: list[int] = []

    @ia.method(effect="persist")
    async def put(self, item: int) -> int:
        self.items.append(item)
        return item

    @ia.method(effect="persist")
    async def take(self) -> int:
        while not self.items:  # noqa: ASYNC110 - the state is pickled, and an Event cannot be
            await asyncio.sleep(0.001)
        return self.items.pop(0)

    @ia.method(effect="readonly")
    async def wait_until(self, count: int) -> list[int]:
        while len(self.items) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        return list(self.items)


class Items:
    """A list and its lock, of which a copy has another."""

    def __init__(self) -> None:
        self.items: list[int] = []
        self.changed = threading.Condition()

    def __getstate__(self) -> list[int]:
        return self.items

    def __setstate__(self, items: list[int]) -> None:
        self.items, self.changed = items, threading.Condition()


@ia.remote(durable=True, max_concurrency=6)
class ThreadedQueue:
    """The same in threads."""

    def __init__(self) -> None:
        self.inner = Items()

    @ia.method(effect="persist")
    def put(self, item: int) -> int:
        with self.inner.changed:
            self.inner.items.append(item)
            self.inner.changed.notify_all()
        return item

    @ia.method(effect="persist")
    def take(self) -> int:
        with self.inner.changed:
            self.inner.changed.wait_for(lambda: self.inner.items)
            return self.inner.items.pop(0)

    @ia.method(effect="readonly")
    def wait_until(self, count: int) -> list[int]:
        with self.inner.changed:
            self.inner.changed.wait_for(lambda: len(self.inner.items) >= count)
            return list(self.inner.items)


@pytest.fixture(params=[AwaitingQueue, ThreadedQueue])
def queue(request: pytest.FixtureRequest) -> Any:
    return request.param.remote()


def test_who_waits_for_later_calls_is_answered_once_those_have_come(queue: Any) -> None:
    taking = [queue.take.remote() for _ in range(3)]
    putting = [queue.put.remote(item) for item in (1, 2)]
    assert ia.wait([*taking, *putting], num_returns=1, timeout=0.3)[0] == [], "one take is half done"
    putting.append(queue.put.remote(3))
    assert get(putting) == [1, 2, 3]
    assert sorted(get(taking)) == [1, 2, 3]


def test_a_crash_undoes_what_waits_and_all_is_answered_later(queue: Any) -> None:
    taking = [queue.take.remote() for _ in range(3)]
    putting = [queue.put.remote(item) for item in (1, 2)]
    until(lambda: "still run" in ia.explain(queue), "two takes have ended")
    kill(queue)
    putting.append(queue.put.remote(3))
    assert get(putting) == [1, 2, 3]
    assert sorted(get(taking)) == [1, 2, 3]


def test_who_only_looks_may_wait_and_holds_nobody_up(queue: Any) -> None:
    looking = queue.wait_until.remote(2)
    assert get(queue.put.remote(1)) == 1
    assert get(queue.put.remote(2)) == 2
    assert get(looking) == [1, 2]


def test_it_is_said_what_holds_an_answer_back(queue: Any) -> None:
    name = queue._ipyactors_client.class_name
    taking = [queue.take.remote() for _ in range(2)]
    put = queue.put.remote(1)
    words = (
        f"{name}.put and {name}.take have ended; their answers wait for the checkpoint after all that ran beside: it "
        f"waits for {name}.take, which still runs"
    )
    until(lambda: words in ia.explain(put), "it is explained")
    assert ia.explain(put) == f"{name}.put is at the actor. There, {words}."
    assert words in ia.explain(queue)
    assert words in [row["busy_with"] for row in ia.list_actors()]
    assert get(queue.put.remote(2)) == 2
    assert sorted(get(taking)) == [1, 2]
    until(lambda: words not in ia.explain(queue), "it is over")


@ia.remote(durable=True, checkpoint=ia.every(calls=100))
class Slow:
    """Replays as slowly as it ran."""

    def rest(self) -> None:
        time.sleep(1.1)

    def pass_through(self, gate: Gate) -> int:
        gate.wait()
        return 1


def test_a_long_replay_says_how_far_it_is(gate: Gate) -> None:
    slow = Slow.remote()
    gate.open()
    get(slow.rest.remote())
    get(slow.pass_through.remote(gate))
    os.unlink(gate.path)
    kill(slow)
    words = "replaying, 1 of 2 calls after "
    until(lambda: words in ia.explain(slow), "the second call is replayed")
    waiting = slow.pass_through.remote(gate)
    assert words in ia.explain(waiting)
    assert any(row["busy_with"].startswith(words) for row in ia.list_actors())
    gate.open()
    assert get(waiting) == 1
    assert words not in ia.explain(slow)
