"""ipyactors: the system that this repository is about."""

from __future__ import annotations

from typing import Any, ClassVar

from benchmarks import work
from benchmarks.measure import Effort, sample
from benchmarks.peers.base import NoSuchThingError, Peer, time_crashes, time_kills


class IpyactorsPeer(Peer):
    """The public interface, with two CPUs and every other setting as it comes."""

    remarks: ClassVar[dict[str, str]] = {
        "create_ms": "each actor is a process of its own",
        "recovery_p50_ms": "max_restarts=-1, max_task_retries=-1",
    }

    def start(self) -> None:
        import ipyactors

        self._api = ipyactors
        ipyactors.init(num_cpus=2)
        self._echo = ipyactors.remote(work.echo)
        self._occupy = ipyactors.remote(work.occupy)
        self._touch = ipyactors.remote(work.touch)
        self._crash_once = ipyactors.remote(work.crash_once)
        self._actor_class = ipyactors.remote(work.Echo)
        self._kept: dict[str, Any] = {}
        self._readers: list[Any] = []

    def stop(self) -> None:
        self._kept.clear()
        self._readers.clear()
        self._api.shutdown()

    def occupy_workers(self, durations_s: list[float]) -> None:
        self._api.get([self._occupy.remote(duration_s) for duration_s in durations_s])

    def call_task(self) -> None:
        self._api.get(self._echo.remote(1))

    def call_tasks(self, count: int) -> None:
        self._api.get([self._echo.remote(number) for number in range(count)])

    def time_retries(self, effort: Effort) -> list[float]:
        return time_crashes(lambda marker: self._api.get(self._crash_once.remote(marker)), effort)

    def time_actor_calls(self, effort: Effort) -> list[float]:
        actor = self._actor()
        return sample(lambda: self._api.get(actor.echo.remote(1)), effort)

    def call_actor_often(self, count: int) -> None:
        actor = self._actor()
        self._api.get([actor.echo.remote(number) for number in range(count)])

    def call_durable_often(self, count: int) -> None:
        actor = self._durable()
        self._api.get([actor.echo.remote(number) for number in range(count)])

    def time_recoveries(self, effort: Effort) -> list[float]:
        actor = self._actor_class.options(max_restarts=-1, max_task_retries=-1).remote()
        return time_kills(
            lambda: int(self._api.get(actor.pid.remote())), lambda: self._api.get(actor.echo.remote(1)), effort
        )

    def time_replays(self, effort: Effort, calls: int) -> list[float]:
        actors: list[Any] = []

        def find_pid() -> int:
            """Return the process of a fresh actor that has so many calls to replay, and no checkpoint."""
            actors[:] = [self._make_durable()]
            self._api.get([actors[0].add.remote(1) for _ in range(calls)])
            return int(self._api.get(actors[0].pid.remote()))

        return time_kills(find_pid, lambda: self._api.get(actors[0].add.remote(1)), effort)

    def create_actors(self, count: int) -> None:
        actors = [self._actor_class.remote() for _ in range(count)]
        self._api.get([actor.echo.remote(1) for actor in actors])

    def put(self, array: Any) -> Any:
        return self._api.put(array)

    def pass_array(self, array: Any) -> None:
        self._api.get(self._touch.remote(array))

    def pass_stored(self, stored: Any) -> float:
        return float(self._api.get(self._touch.remote(stored)))

    def open_readers(self, count: int) -> None:
        reader = self._api.remote(work.Reader)
        self._readers = [reader.remote() for _ in range(count)]
        self._api.get([one.echo.remote(1) for one in self._readers])

    def read_in_all(self, stored: Any) -> list[float]:
        return list(self._api.get([one.read.remote(stored) for one in self._readers]))

    def _actor(self) -> Any:
        if "actor" not in self._kept:
            self._kept["actor"] = self._actor_class.remote()
        return self._kept["actor"]

    def _durable(self) -> Any:
        if "durable" not in self._kept:
            self._kept["durable"] = self._make_durable()
        return self._kept["durable"]

    def _make_durable(self) -> Any:
        api = self._api

        class Counter(work.Counter):
            @api.method(effect="readonly")  # type: ignore[untyped-decorator, unused-ignore]
            def pid(self) -> int:
                return super().pid()

        try:
            return api.remote(durable=True)(Counter).remote()
        except api.exceptions.OptionError as error:
            raise NoSuchThingError(f"this version has no durable actors ({error})") from error
