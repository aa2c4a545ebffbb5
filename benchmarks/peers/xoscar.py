"""xoscar: https://xoscar.dev.

Everything is awaited, so the adapter keeps an event loop and enters it once for a whole measurement.
"""

# ruff: noqa: ARG002  # a verb that only says what is missing has no use for its arguments

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Coroutine
from typing import Any, ClassVar

from benchmarks import work
from benchmarks.measure import Effort, sample_async
from benchmarks.peers.base import NoSuchThingError, Peer

#: How long the caller pauses before it calls a dead actor again; small against the second that a recovery takes.
_RETRY_S = 0.01


class XoscarPeer(Peer):
    """A pool of a main process, which is the driver, and two more, which host the actors."""

    remarks: ClassVar[dict[str, str]] = {
        "create_ms": "actors share the two worker processes",
        "recovery_p50_ms": f"auto_recover='actor', the default; the caller tries again every {_RETRY_S * 1000:.0f} ms",
        "argument_ms": "to an actor",
    }

    def start(self) -> None:
        import xoscar

        self._api = xoscar
        self._loop = asyncio.new_event_loop()
        self._actor_class = _actor_class(xoscar)
        self._pool = self._await(xoscar.create_actor_pool("127.0.0.1", n_process=2))
        self._await(self._pool.start())
        self._address = self._pool.external_address
        self._actor = self._await(self._create("first", process=1))
        self._created = 0

    def stop(self) -> None:
        self._await(self._pool.stop())
        self._loop.close()

    def first_result(self) -> None:
        self._await(self._actor.echo(1))

    def occupy_both_workers(self) -> None:
        """Do nothing: the pool starts all its processes at once."""

    def time_actor_calls(self, effort: Effort) -> list[float]:
        times: list[float] = self._await(sample_async(lambda: self._actor.echo(1), effort))
        return times

    def call_actor_often(self, count: int) -> None:
        async def call_all() -> None:
            await asyncio.gather(*[self._actor.echo(number) for number in range(count)])

        self._await(call_all())

    def time_recoveries(self, effort: Effort) -> list[float]:
        times: list[float] = self._await(self._time_kills(effort))
        return times

    def create_actors(self, count: int) -> None:
        self._await(self._create_and_call(count))

    def put(self, array: Any) -> Any:
        raise NoSuchThingError("no store in xoscar itself")

    def pass_array(self, array: Any) -> None:
        self._await(self._actor.touch(array))

    def _await(self, awaitable: Coroutine[Any, Any, Any]) -> Any:
        return self._loop.run_until_complete(awaitable)

    async def _create(self, uid: str, process: int) -> Any:
        strategy = self._api.allocate_strategy.ProcessIndex(process)
        return await self._api.create_actor(
            self._actor_class, address=self._address, uid=uid, allocate_strategy=strategy
        )

    async def _create_and_call(self, count: int) -> None:
        self._created += count
        actors = await asyncio.gather(
            *[self._create(f"created{self._created - number}", process=1 + number % 2) for number in range(count)]
        )
        await asyncio.gather(*[actor.echo(1) for actor in actors])
        await asyncio.gather(*[self._api.destroy_actor(actor) for actor in actors])

    async def _time_kills(self, effort: Effort) -> list[float]:
        times: list[float] = []
        started_s = time.perf_counter()
        while effort.goes_on(len(times), started_s):
            pid = await self._actor.pid()
            killed_s = time.perf_counter()
            os.kill(pid, signal.SIGKILL)
            while not await self._answers():  # noqa: ASYNC110  # xoscar has no event to wait for
                await asyncio.sleep(_RETRY_S)
            times.append(time.perf_counter() - killed_s)
        return times

    async def _answers(self) -> bool:
        try:
            await self._actor.echo(1)
        except (ConnectionError, OSError, self._api.errors.XoscarError):
            return False
        return True


def _actor_class(xoscar: Any) -> Any:
    class EchoActor(xoscar.Actor):  # type: ignore[misc]  # xoscar's class is not known before it is imported
        """``work.Echo`` as xoscar wants it."""

        async def echo(self, value: int) -> int:
            return value

        async def touch(self, array: Any) -> float:
            return work.touch(array)

        async def pid(self) -> int:
            return os.getpid()

    return EchoActor
