"""On whose behalf the code of a driver makes its calls: a notebook's cell, named by a number that only rises.

What a call prints goes to its scope, and what an interrupted cell has submitted is found by it. Which scope it is, is
known by context, so coroutines keep theirs, whatever runs meanwhile; a thread that has none of its own takes the one
that was entered last. 0 is no scope: in a script, in a terminal, in a worker.
"""

from __future__ import annotations

import bisect
from contextvars import ContextVar

_scope: ContextVar[int] = ContextVar("ipyactors_scope", default=0)
_latest = 0


def enter() -> int:
    """Begin a new scope, in this context and for threads without one; return its number, from 1."""
    global _latest
    _latest += 1
    _scope.set(_latest)
    return _latest


def current() -> int:
    """Return the scope of the code that runs. Called once for each call that a driver makes; from any thread."""
    return _scope.get() or _latest


#: So many workers are remembered, and of each so many changes of scope: a cell that calls it is one change.
_WORKERS_AT_MOST = 4096
_CHANGES_AT_MOST = 1024


class ScopeTrails:
    """Which scope each call has that was sent to a worker, also when it is over: what it left behind may go on.

    Calls are sent in the order of their numbers, mostly many in the same scope, so only the changes are kept.
    """

    def __init__(self) -> None:
        self._changes: dict[bytes, list[tuple[int, int]]] = {}

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

    def find(self, worker_id: bytes, seq: int) -> int:
        """Return the scope of call ``seq``; with 0 that of the last one. 0 if no call with a scope was sent there."""
        changes = self._changes.get(worker_id)
        if not changes:
            return 0
        if not seq:
            return changes[-1][1]
        index = bisect.bisect_right(changes, seq, key=lambda change: change[0]) - 1
        return changes[max(index, 0)][1]
