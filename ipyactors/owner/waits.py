"""Who in this process waits for which results: whoever cancels what an interrupted cell has left behind asks.

Code enters itself before it waits, and leaves however that ends. From any thread, without the session's lock: each step
is one atomic operation of a set.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

#: Stands for who waits in no thread: a coroutine, a callback, an actor that is about to be created.
NO_THREAD = 0


class Wait:
    """The wait of ``thread`` for ``subjects``, which are entries and streams; entered as a context manager."""

    __slots__ = ("_entered", "subjects", "thread")

    def __init__(self, entered: set[Wait], subjects: Iterable[object], thread: int) -> None:
        self._entered = entered
        self.subjects = subjects
        self.thread = thread

    def __enter__(self) -> None:
        self._entered.add(self)

    def __exit__(self, *_: object) -> None:
        self._entered.discard(self)


class Waits:
    """See the head of this file."""

    def __init__(self) -> None:
        self._entered: set[Wait] = set()

    def during(self, subjects: Iterable[object], thread: int | None = None) -> Wait:
        """Return the wait for ``subjects``, of the calling thread unless another is given; the caller enters it."""
        return Wait(self._entered, subjects, threading.get_ident() if thread is None else thread)

    def subjects(self, but_thread: int) -> set[object]:
        """Return what anybody waits for who is not the thread ``but_thread``."""
        return {one for wait in tuple(self._entered) if wait.thread != but_thread for one in wait.subjects}
