"""Threads that a cell starts go on in its name: their calls are the cell's, whichever cell runs by then.

A pool's threads work in the name of whoever gives them work, call by call. For both, what starts a thread and what
gives a pool work (``Thread.start``, ``ThreadPoolExecutor.submit``) notes the scope (:mod:`ipyactors.owner.scopes`).
"""

from __future__ import annotations

import functools
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ipyactors.owner import scopes


class ThreadScopes:
    """Notes whose the threads of this process are, from :meth:`install` to :meth:`release`."""

    def __init__(self) -> None:
        start: Any = threading.Thread.start
        submit: Any = ThreadPoolExecutor.submit
        self._before = start, submit
        self._is_on = False

        @functools.wraps(start)
        def start_noted(thread: threading.Thread) -> None:
            if self._is_on:
                scopes.note_start(thread)
            start(thread)

        @functools.wraps(submit)
        def submit_noted(pool: ThreadPoolExecutor, work: Any, /, *args: Any, **kwargs: Any) -> Any:
            scope = scopes.current() if self._is_on else 0
            if scope:
                return submit(pool, scopes.run_in, scope, work, *args, **kwargs)
            return submit(pool, work, *args, **kwargs)

        self._noted: tuple[Any, Any] = start_noted, submit_noted

    def install(self) -> None:
        """Begin."""
        self._is_on = True
        threading.Thread.start, ThreadPoolExecutor.submit = self._noted  # type: ignore[method-assign]

    def release(self) -> None:
        """End. What somebody has put in the place of ours stays, and ours below it does nothing any more."""
        self._is_on = False
        if threading.Thread.start is self._noted[0]:
            threading.Thread.start = self._before[0]  # type: ignore[method-assign]
        if ThreadPoolExecutor.submit is self._noted[1]:
            ThreadPoolExecutor.submit = self._before[1]  # type: ignore[method-assign]
