"""ipyparallel: https://ipyparallel.readthedocs.io."""

# ruff: noqa: ARG002  # a verb that only says what is missing has no use for its arguments

from __future__ import annotations

from typing import Any, ClassVar

from benchmarks import work
from benchmarks.measure import Effort
from benchmarks.peers.base import NoSuchThingError, Peer

_STORED = "benchmark_array"
_SILENT = 50


class IpyparallelPeer(Peer):
    """Two engines: tasks go through the load-balanced view, data through a direct view."""

    remarks: ClassVar[dict[str, str]] = {
        "first_put_gb_per_s": "push to one engine's namespace",
        "put_gb_per_s": "push to one engine's namespace",
        "argument_ms": "to one engine, through a direct view",
        "reference_ms": "ipyparallel.Reference to what was pushed",
    }

    def start(self) -> None:
        import ipyparallel

        self._api = ipyparallel
        self._cluster = ipyparallel.Cluster(n=2, log_level=_SILENT)
        self._client = self._cluster.start_and_connect_sync(activate=False)
        self._view = self._client.load_balanced_view()
        self._engine = self._client[0]

    def stop(self) -> None:
        self._client.close()
        self._cluster.stop_cluster_sync()

    def occupy_workers(self, durations_s: list[float]) -> None:
        for answer in [self._view.apply_async(work.occupy, duration_s) for duration_s in durations_s]:
            answer.get()

    def call_task(self) -> None:
        self._view.apply_sync(work.echo, 1)

    def call_tasks(self, count: int) -> None:
        for answer in [self._view.apply_async(work.echo, number) for number in range(count)]:
            answer.get()

    def time_retries(self, effort: Effort) -> list[float]:
        raise NoSuchThingError("an engine that died is not started again")

    def put(self, array: Any) -> Any:
        self._engine.push({_STORED: array}, block=True)
        return self._api.Reference(_STORED)

    def pass_array(self, array: Any) -> None:
        self._engine.apply_sync(work.touch, array)

    def pass_stored(self, stored: Any) -> float:
        return float(self._engine.apply_sync(work.touch, stored))
