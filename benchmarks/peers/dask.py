"""Dask distributed: https://distributed.dask.org."""

# ruff: noqa: ARG002  # a verb that only says what is missing has no use for its arguments

from __future__ import annotations

from typing import Any, ClassVar

from benchmarks import work
from benchmarks.measure import Effort, sample
from benchmarks.peers.base import NoSuchThingError, Peer, time_crashes


class DaskPeer(Peer):
    """A local cluster of two processes with one thread each, without its dashboard."""

    remarks: ClassVar[dict[str, str]] = {
        "create_ms": "actors share the two worker processes",
        "retry_p50_ms": "allowed-failures=3, the default; the other worker takes the task",
        "first_put_gb_per_s": "scatter",
        "put_gb_per_s": "scatter",
        "reference_ms": "the future that scatter returned",
    }

    def start(self) -> None:
        from distributed import Client

        self._client = Client(n_workers=2, threads_per_worker=1, dashboard_address=None)
        self._kept: Any = None

    def stop(self) -> None:
        self._kept = None
        self._client.close()
        cluster = self._client.cluster
        if cluster is not None:
            cluster.close()

    def occupy_workers(self, durations_s: list[float]) -> None:
        self._client.gather(self._client.map(work.occupy, durations_s, pure=False))

    def call_task(self) -> None:
        self._client.submit(work.echo, 1, pure=False).result()

    def call_tasks(self, count: int) -> None:
        # ``map`` is the way to submit many: one message, where ``submit`` in a loop sends one each.
        self._client.gather(self._client.map(work.echo, range(count), pure=False))

    def time_retries(self, effort: Effort) -> list[float]:
        return time_crashes(lambda marker: self._client.submit(work.crash_once, marker, pure=False).result(), effort)

    def time_actor_calls(self, effort: Effort) -> list[float]:
        actor = self._actor()
        return sample(lambda: actor.echo(1).result(), effort)

    def call_actor_often(self, count: int) -> None:
        actor = self._actor()
        for answer in [actor.echo(number) for number in range(count)]:
            answer.result()

    def time_recoveries(self, effort: Effort) -> list[float]:
        raise NoSuchThingError("an actor is lost with its worker")

    def create_actors(self, count: int) -> None:
        futures = [self._client.submit(work.Echo, actor=True, pure=False) for _ in range(count)]
        for answer in [future.result().echo(1) for future in futures]:
            answer.result()

    def put(self, array: Any) -> Any:
        return self._client.scatter(array, hash=False)

    def pass_array(self, array: Any) -> None:
        self._client.submit(work.touch, array, pure=False).result()

    def pass_stored(self, stored: Any) -> float:
        return float(self._client.submit(work.touch, stored, pure=False).result())

    def _actor(self) -> Any:
        if self._kept is None:
            self._kept = self._client.submit(work.Echo, actor=True, pure=False).result()
        return self._kept
