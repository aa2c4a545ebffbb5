"""On whose behalf the code of a driver makes its calls: a notebook's cell, named by a number that only rises.

What a call prints goes to its scope, and what an interrupted cell has submitted is found by it. Which scope it is, is
known by context, so coroutines keep theirs, whatever runs meanwhile; a thread that has none of its own takes the one
that was entered last. 0 is no scope: in a script, in a terminal, in a worker.
"""

from __future__ import annotations

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
