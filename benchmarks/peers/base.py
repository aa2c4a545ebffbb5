"""The verbs that a peer may have. One that it lacks raises NoSuchThingError with the reason, which the table prints."""

# ruff: noqa: ARG002  # a verb that only says what is missing has no use for its arguments

from __future__ import annotations

import os
import pathlib
import signal
import tempfile
import time
from collections.abc import Callable
from typing import Any, ClassVar

from benchmarks.measure import Effort, sample

#: Long enough that no peer has finished one such task before it has handed over the second.
_OCCUPIED_S = 0.3


class NoSuchThingError(Exception):
    """Raised when a peer has nothing that answers the question; the text says what is missing."""


class Peer:
    """One system under measurement, in a process of its own, with two workers and its defaults otherwise.

    An adapter implements what its peer has, in the way the peer's own documentation shows. ``remarks`` tells, by
    metric, what a reader must know to compare a figure fairly; it is printed below the table.
    """

    remarks: ClassVar[dict[str, str]] = {}

    def start(self) -> None:
        """Import the peer and start it with two workers."""
        raise NotImplementedError

    def stop(self) -> None:
        """End everything that ``start`` started."""

    def first_result(self) -> None:
        """Get one result from a worker: a task's, where the peer has tasks."""
        self.call_task()

    def occupy_both_workers(self) -> None:
        """Make sure that two workers run: keep both busy at once."""
        self.occupy_workers([_OCCUPIED_S] * 2)

    def occupy_workers(self, durations_s: list[float]) -> None:
        """Run ``work.occupy`` once for each duration, all at the same time, and wait for all."""
        raise NoSuchThingError("no tasks")

    # -- tasks ------------------------------------------------------------------------------------------------

    def call_task(self) -> None:
        """Run ``work.echo`` once and wait for the result."""
        raise NoSuchThingError("no tasks")

    def call_tasks(self, count: int) -> None:
        """Submit ``work.echo`` so many times, one by one, and then collect all results."""
        raise NoSuchThingError("no tasks")

    def time_tasks(self, effort: Effort) -> list[float]:
        """Return the seconds of each of many single calls."""
        return sample(self.call_task, effort)

    def time_retries(self, effort: Effort) -> list[float]:
        """Return the seconds of each of many runs of ``work.crash_once``, whose first attempt ends its process."""
        raise NoSuchThingError("a task is lost with its process")

    # -- actors -----------------------------------------------------------------------------------------------

    def time_actor_calls(self, effort: Effort) -> list[float]:
        """Return the seconds of each of many single calls of ``work.Echo.echo`` on one actor."""
        raise NoSuchThingError("no actors")

    def call_actor_often(self, count: int) -> None:
        """Submit so many calls to one actor, one by one, and then collect all results."""
        raise NoSuchThingError("no actors")

    def call_durable_often(self, count: int) -> None:
        """Do the same on an actor whose state survives a crash."""
        raise NoSuchThingError("no actors whose state survives a crash")

    def time_recoveries(self, effort: Effort) -> list[float]:
        """Return the seconds of each of many recoveries: from SIGKILL to the actor's process to the next result."""
        raise NoSuchThingError("no actors")

    def time_replays(self, effort: Effort, calls: int) -> list[float]:
        """Return the same for an actor whose state survives, with so many calls since its last checkpoint."""
        raise NoSuchThingError("no actors whose state survives a crash")

    def create_actors(self, count: int) -> None:
        """Create so many actors, get one result from each, and drop them."""
        raise NoSuchThingError("no actors")

    # -- data -------------------------------------------------------------------------------------------------

    def put(self, array: Any) -> Any:
        """Store an array; return what stands for it. It is freed once that is dropped, or stored over by the next."""
        raise NoSuchThingError("no store")

    def pass_array(self, array: Any) -> None:
        """Pass an array as an argument to ``work.touch`` and wait for the result."""
        raise NoSuchThingError("no way to pass an array")

    def pass_stored(self, stored: Any) -> float:
        """Pass what :meth:`put` returned instead of the array; return the element that the worker saw."""
        raise NoSuchThingError("no store")

    def open_readers(self, count: int) -> None:
        """Create so many actors of ``work.Reader``, each in a process of its own, and wait until all are there."""
        raise NoSuchThingError("no actors that keep what is stored")

    def read_in_all(self, stored: Any) -> list[float]:
        """Have each of them read and keep what :meth:`put` returned; return the sums that they saw."""
        raise NoSuchThingError("no actors that keep what is stored")


def time_crashes(run: Callable[[str], object], effort: Effort) -> list[float]:
    """Return the seconds of each ``run(marker)``, every time with a marker file that is not there yet."""
    with tempfile.TemporaryDirectory(prefix="crash") as folder:
        markers = (str(pathlib.Path(folder, str(number))) for number in range(effort.most + effort.warm_up))
        return sample(lambda: run(next(markers)), effort)


def time_kills(find_pid: Callable[[], int], call: Callable[[], object], effort: Effort) -> list[float]:
    """Return the seconds from each SIGKILL to the end of ``call``. Asking for the pid is not on the clock."""
    times: list[float] = []
    started_s = time.perf_counter()
    while effort.goes_on(len(times) - effort.warm_up, started_s):
        pid = find_pid()
        killed_s = time.perf_counter()
        os.kill(pid, signal.SIGKILL)
        call()
        times.append(time.perf_counter() - killed_s)
    return times[effort.warm_up :]
