"""Who in this process waits for which results: whoever cancels what an interrupted cell has left behind asks.

Code enters itself before it waits, and leaves however that ends. From any thread, without the session's lock: each step
is one atomic operation of a set.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from ipyactors.owner import scopes

#: Stands for who waits in no thread: a coroutine, a callback, an actor that is about to be created.
NO_THREAD = 0


class Wait:
    """The wait of ``thread`` for ``subjects``, which are entries and streams; entered as a context manager.

    ``scope`` is that of the cell whose code waits, 0 if none does (:func:`ipyactors.owner.scopes.of_context`).
    """

    __slots__ = ("_entered", "scope", "subjects", "thread")

    def __init__(self, entered: set[Wait], subjects: Iterable[object], thread: int, scope: int) -> None:
        self._entered = entered
        self.subjects = subjects
        self.thread = thread
        self.scope = scope

    def __enter__(self) -> None:
        self._entered.add(self)

    def __exit__(self, *_: object) -> None:
        self._entered.discard(self)


class Waits:
    """See the head of this file."""

    def __init__(self) -> None:
        self._entered: set[Wait] = set()

    def during(self, subjects: Iterable[object], thread: int | None = None, *, scope: int | None = None) -> Wait:
        """Return the wait for ``subjects``, of the code that calls unless another is given; the caller enters it."""
        return Wait(
            self._entered,
            subjects,
            threading.get_ident() if thread is None else thread,
            scopes.of_context() if scope is None else scope,
        )

    def subjects(self, but_thread: int, but_scope: int) -> set[object]:
        """Return what anybody waits for who is neither the thread ``but_thread`` nor code of the cell ``but_scope``."""
        waits = [one for one in tuple(self._entered) if one.thread != but_thread and not 0 < one.scope == but_scope]
        return {one for wait in waits for one in wait.subjects}
