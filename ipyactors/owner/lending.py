"""CPUs lent while code waits: what keeps nested calls from waiting for each other for ever.

The head takes a waiting worker's CPUs into account again at the first word, and gives them back at the second; in
between, what the worker waits for can run on them.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from ipyactors.wire.codec import Message
from ipyactors.wire.head_messages import WorkerBlocked, WorkerUnblocked
from ipyactors.wire.interrupts import deferred

#: Code in a worker that waits longer than this lends its CPU to others.
LEND_AFTER_S = 0.002


class Lending:
    """Counts what waits in a worker: its CPUs are lent for as long as anything does. Thread-safe."""

    def __init__(self, tell_head: Callable[[Message], None]) -> None:
        self._tell_head = tell_head
        self._lock = threading.Lock()
        self._waiting = 0

    @property
    def is_under_way(self) -> bool:
        """Whether the CPUs are lent."""
        return self._waiting > 0

    @contextlib.contextmanager
    def meanwhile(self) -> Iterator[None]:
        """Lend while this block waits."""
        lent: list[bool] = []
        try:
            with deferred():
                self._count(1)
                lent.append(True)
            yield
        finally:
            with deferred():
                if lent:
                    self._count(-1)

    def _count(self, change: int) -> None:
        with self._lock:
            before, self._waiting = self._waiting, self._waiting + change
            if before == 0:
                self._tell_head(WorkerBlocked())
            elif self._waiting == 0:
                self._tell_head(WorkerUnblocked())
