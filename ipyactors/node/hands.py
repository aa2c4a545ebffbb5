"""A thread that does the agent's work with files, one job after the other, so that no disk ever holds up the agent.

Jobs are done in the order in which they were given. What comes of each is put on a list that the agent's own thread
takes; a pipe becomes readable when there is something on it.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Fact = TypeVar("Fact")

#: How long the end of the work at hand is waited for.
_END_WITHIN_S = 2.0


class Results(Generic[Fact]):
    """What jobs have led to, from any number of hands, for one thread to take."""

    def __init__(self) -> None:
        self._facts: deque[Fact] = deque()
        self._wake_r, self._wake_w = os.pipe()
        os.set_blocking(self._wake_r, False)
        os.set_blocking(self._wake_w, False)

    def fileno(self) -> int:
        """Return the descriptor that is readable while there is something to be taken."""
        return self._wake_r

    def add(self, facts: list[Fact]) -> None:
        """Put facts on the list; from any thread."""
        if facts:
            self._facts.extend(facts)
            with contextlib.suppress(BlockingIOError):  # a pipe that is full wakes as well
                os.write(self._wake_w, b".")

    def take(self) -> list[Fact]:
        """Return what is on the list, oldest first."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_r, 4096)
        facts = []
        while self._facts:
            facts.append(self._facts.popleft())
        return facts

    def close(self) -> None:
        """Close the pipe; no hand may be at work any more."""
        os.close(self._wake_r)
        os.close(self._wake_w)


class Hands(Generic[Fact]):
    """One thread. A job returns what came of it; it must not raise."""

    def __init__(self, results: Results[Fact], name: str) -> None:
        self._results = results
        self._jobs: queue.SimpleQueue[Callable[[], list[Fact]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def do(self, job: Callable[[], list[Fact]]) -> None:
        """Have a job done."""
        self._jobs.put(job)

    def forget(self) -> None:
        """Do not do what has been given and not begun."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._jobs.get_nowait()

    def close(self) -> bool:
        """Do what has been given, then end; wait for that, but not for a disk that does not answer.

        Return False if a job is not done yet: then what it uses must stay open.
        """
        self._jobs.put(None)
        self._thread.join(_END_WITHIN_S)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._results.add(job())
