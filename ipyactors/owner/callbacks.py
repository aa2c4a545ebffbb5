"""Callbacks of the user's futures, on a thread of their own: they may wait, and whoever reads must never wait."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

_log = logging.getLogger("ipyactors.owner")


class Callbacks:
    """Runs what it is given, one after the other; its thread is started by the first."""

    def __init__(self, name: str) -> None:
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._is_started = False

    @property
    def is_this_thread(self) -> bool:
        """Whether the code that asks is such an action."""
        return threading.current_thread() is self._thread

    def submit(self, action: Callable[[], None]) -> None:
        """Have ``action`` run soon. To be called under the session's lock."""
        self._queue.put(action)
        if not self._is_started:
            self._is_started = True
            self._thread.start()

    def close(self) -> None:
        """Run no more; an action that runs is not waited for."""
        self._queue.put(None)

    def _run(self) -> None:
        while (action := self._queue.get()) is not None:
            try:
                action()
            except BaseException:  # whatever it is, the next callback has its turn
                _log.exception("a callback of a future raised")
            del action  # what it refers to must not live on while this thread waits for the next
