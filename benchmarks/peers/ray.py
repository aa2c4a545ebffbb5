"""Ray: https://docs.ray.io."""

from __future__ import annotations

import os
from typing import Any, ClassVar

from benchmarks import work
from benchmarks.measure import Effort, sample
from benchmarks.peers.base import Peer, time_crashes, time_kills


class RayPeer(Peer):
    """Ray on one machine, without its dashboard: ipyactors starts none either."""

    remarks: ClassVar[dict[str, str]] = {
        "create_ms": "each actor is a process of its own",
        "recovery_p50_ms": "max_restarts=-1, max_task_retries=-1",
        "retry_p50_ms": "max_retries=3, the default",
    }

    def start(self) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        self._ray = ray
        ray.init(num_cpus=2, include_dashboard=False, logging_level="error", log_to_driver=False)
        self._echo = ray.remote(work.echo)
        self._occupy = ray.remote(work.occupy)
        self._touch = ray.remote(work.touch)
        self._crash_once = ray.remote(work.crash_once)
        self._actor_class = ray.remote(work.Echo).options(num_cpus=0)
        self._kept: Any = None
        self._readers: list[Any] = []

    def stop(self) -> None:
        self._kept = None
        self._readers.clear()
        self._ray.shutdown()

    def occupy_workers(self, durations_s: list[float]) -> None:
        self._ray.get([self._occupy.remote(duration_s) for duration_s in durations_s])

    def call_task(self) -> None:
        self._ray.get(self._echo.remote(1))

    def call_tasks(self, count: int) -> None:
        self._ray.get([self._echo.remote(number) for number in range(count)])

    def time_retries(self, effort: Effort) -> list[float]:
        return time_crashes(lambda marker: self._ray.get(self._crash_once.remote(marker)), effort)

    def time_actor_calls(self, effort: Effort) -> list[float]:
        actor = self._actor()
        return sample(lambda: self._ray.get(actor.echo.remote(1)), effort)

    def call_actor_often(self, count: int) -> None:
        actor = self._actor()
        self._ray.get([actor.echo.remote(number) for number in range(count)])

    def time_recoveries(self, effort: Effort) -> list[float]:
        actor = self._ray.remote(work.Echo).options(num_cpus=0, max_restarts=-1, max_task_retries=-1).remote()
        return time_kills(
            lambda: int(self._ray.get(actor.pid.remote())), lambda: self._ray.get(actor.echo.remote(1)), effort
        )

    def create_actors(self, count: int) -> None:
        actors = [self._actor_class.remote() for _ in range(count)]
        self._ray.get([actor.echo.remote(1) for actor in actors])

    def put(self, array: Any) -> Any:
        return self._ray.put(array)

    def pass_array(self, array: Any) -> None:
        self._ray.get(self._touch.remote(array))

    def pass_stored(self, stored: Any) -> float:
        return float(self._ray.get(self._touch.remote(stored)))

    def open_readers(self, count: int) -> None:
        reader = self._ray.remote(work.Reader).options(num_cpus=0)
        self._readers = [reader.remote() for _ in range(count)]
        self._ray.get([one.echo.remote(1) for one in self._readers])

    def read_in_all(self, stored: Any) -> list[float]:
        return list(self._ray.get([one.read.remote(stored) for one in self._readers]))

    def _actor(self) -> Any:
        if self._kept is None:
            self._kept = self._actor_class.remote()
        return self._kept
