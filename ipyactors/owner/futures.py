"""Futures of values: what :meth:`ipyactors.ObjectRef.future` returns."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any


class ValueFuture(Future[Any]):
    """A future whose ``result`` waits as ``get`` does: the waiting thread reads, and a worker lends its CPUs."""

    def __init__(self, wait: Callable[[Callable[[], bool], float | None], bool]) -> None:
        super().__init__()
        self._wait_until = wait
        self.set_running_or_notify_cancel()

    def result(self, timeout: float | None = None) -> Any:
        """Return the value or raise what the call raised; TimeoutError after ``timeout`` seconds."""
        self._wait_until(self.done, timeout)
        return super().result(0)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return what the call raised, or None; raises TimeoutError after ``timeout`` seconds."""
        self._wait_until(self.done, timeout)
        return super().exception(0)
