"""``multiprocessing.Pool`` of the standard library, with the default start method."""

from __future__ import annotations

from typing import Any

from benchmarks import work
from benchmarks.peers.base import Peer


class PoolPeer(Peer):
    """Two processes that share one queue."""

    def start(self) -> None:
        import multiprocessing

        self._pool = multiprocessing.Pool(2)

    def stop(self) -> None:
        self._pool.terminate()
        self._pool.join()

    def occupy_workers(self, durations_s: list[float]) -> None:
        self._pool.map(work.occupy, durations_s, chunksize=1)

    def call_task(self) -> None:
        self._pool.apply(work.echo, (1,))

    def call_tasks(self, count: int) -> None:
        for answer in [self._pool.apply_async(work.echo, (number,)) for number in range(count)]:
            answer.get()

    def pass_array(self, array: Any) -> None:
        self._pool.apply(work.touch, (array,))
