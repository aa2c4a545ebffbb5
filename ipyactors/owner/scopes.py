"""On whose behalf the code of a driver makes its calls: a notebook's cell, named by a number that only rises.

What a call prints goes to its scope, and what an interrupted cell has submitted is found by it. Which scope it is, is
known by context, so coroutines keep theirs, whatever runs meanwhile. Where the context has none, a thread keeps the
scope that it was started in, as :mod:`ipyactors.notebook.thread_scopes` sees, or else that of its first call. The main
thread, and those that work for whoever comes (a pool's, ours), take the one that was entered last. 0 is no scope: in a
script, in a terminal, in a worker.
"""

from __future__ import annotations

import bisect
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

_scope: ContextVar[int] = ContextVar("ipyactors_scope", default=0)
_latest = 0

#: By this name a thread has its scope.
_OF_THREAD = "_ipyactors_scope"
_POOLS = ("concurrent.futures.thread", "multiprocessing.pool")

_Args = ParamSpec("_Args")
_Result = TypeVar("_Result")


def enter() -> int:
    """Begin a new scope, in this context and for threads without one; return its number, from 1."""
    global _latest
    _latest += 1
    _scope.set(_latest)
    return _latest


def current() -> int:
    """Return the scope of the code that runs. Called once for each call that a driver makes; from any thread."""
    return _scope.get() or (_latest and _of_thread(threading.current_thread()))


def of_context() -> int:
    """Return the scope of the cell that the running code is part of; 0 for a thread that somebody has set going."""
    return _scope.get()


def note_start(thread: threading.Thread) -> None:
    """Have a thread, which is about to be started, keep the scope of the code that starts it."""
    scope = current()
    if scope and not _serves_all(thread):
        setattr(thread, _OF_THREAD, scope)


def run_in(scope: int, function: Callable[_Args, _Result], /, *args: _Args.args, **kwargs: _Args.kwargs) -> _Result:
    """Call a function in a scope."""
    __tracebackhide__ = True
    token = _scope.set(scope)
    try:
        return function(*args, **kwargs)
    finally:
        _scope.reset(token)


def _of_thread(thread: threading.Thread) -> int:
    scope: int = getattr(thread, _OF_THREAD, 0)
    if not scope:
        scope = _latest
        if thread is not threading.main_thread() and not _serves_all(thread):
            setattr(thread, _OF_THREAD, scope)
    return scope


def _serves_all(thread: threading.Thread) -> bool:
    """Return whether a thread works for whoever gives it work."""
    module = getattr(getattr(thread, "_target", None), "__module__", None) or ""
    return module in _POOLS or module.startswith("ipyactors.")


#: So many workers are remembered, and of each so many changes of scope: a cell that calls it is one change.
_WORKERS_AT_MOST = 4096
_CHANGES_AT_MOST = 1024


class ScopeTrails:
    """Which scope each call has that was sent to a worker, also when it is over: what it left behind may go on.

    Calls are sent in the order of their numbers, mostly many in the same scope, so only the changes are kept.
    """

    def __init__(self) -> None:
        self._changes: dict[bytes, list[tuple[int, int]]] = {}
        self._again: dict[bytes, int] = {}

    def note(self, worker_id: bytes, seq: int, scope: int) -> None:
        """Note the scope of a call that is sent as number ``seq``."""
        changes = self._changes.get(worker_id)
        if changes is None:
            if len(self._changes) >= _WORKERS_AT_MOST:
                del self._changes[next(iter(self._changes))]
            self._changes[worker_id] = [(seq, scope)]
        elif changes[-1][1] != scope:
            if len(changes) >= _CHANGES_AT_MOST:
                del changes[: _CHANGES_AT_MOST // 2]
            changes.append((seq, scope))

    def note_again(self, call_id: bytes, scope: int) -> None:
        """Note the scope of a call that a durable actor may find in its log; of the newest of these it is known."""
        self._again[call_id] = scope
        if len(self._again) > _CHANGES_AT_MOST:
            del self._again[next(iter(self._again))]

    def find_again(self, call_id: bytes) -> int:
        """Return the scope of such a call, also when it is over; 0 if it is not known."""
        return self._again.get(call_id, 0)

    def find(self, worker_id: bytes, seq: int) -> int:
        """Return the scope of call ``seq``; with 0 that of the last one. 0 if no call with a scope was sent there."""
        changes = self._changes.get(worker_id)
        if not changes:
            return 0
        if not seq:
            return changes[-1][1]
        index = bisect.bisect_right(changes, seq, key=lambda change: change[0]) - 1
        return changes[max(index, 0)][1]
