"""The two executors of the ``concurrent.futures`` interface: the standard library's and loky's."""

from __future__ import annotations

from typing import Any

from benchmarks import work
from benchmarks.peers.base import Peer


class ExecutorPeer(Peer):
    """What both have in common: ``submit`` and ``result``."""

    def start(self) -> None:
        self._executor = self._make()

    def _make(self) -> Any:
        raise NotImplementedError

    def stop(self) -> None:
        self._executor.shutdown()

    def occupy_workers(self, durations_s: list[float]) -> None:
        for future in [self._executor.submit(work.occupy, duration_s) for duration_s in durations_s]:
            future.result()

    def call_task(self) -> None:
        self._executor.submit(work.echo, 1).result()

    def call_tasks(self, count: int) -> None:
        for future in [self._executor.submit(work.echo, number) for number in range(count)]:
            future.result()

    def pass_array(self, array: Any) -> None:
        self._executor.submit(work.touch, array).result()


class ProcessPoolExecutorPeer(ExecutorPeer):
    """``concurrent.futures.ProcessPoolExecutor`` with the default start method."""

    def _make(self) -> Any:
        from concurrent.futures import ProcessPoolExecutor

        return ProcessPoolExecutor(2)


class LokyPeer(ExecutorPeer):
    """loky's reusable executor."""

    def _make(self) -> Any:
        from loky import get_reusable_executor

        return get_reusable_executor(2)
