"""Futures of values: what :meth:`ipyactors.ObjectRef.future` returns."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol

from ipyactors.owner.objects import Entry
from ipyactors.owner.waits import NO_THREAD, Waits


class Waiter(Protocol):
    """What a future needs of the session."""

    waits: Waits

    def wait(self, is_done: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Wait until something is so; return False after ``timeout_s``."""
        ...

    def value_of(self, entry: Entry) -> Any:
        """Return the value of an entry that is done, or raise its failure."""
        ...


class ValueFuture(Future[Any]):
    """A future whose ``result`` waits as ``get`` does: the waiting thread reads, and a worker lends its CPUs.

    ``settle`` makes it done, and runs the callbacks that the user has added.
    """

    def __init__(self, session: Waiter, entry: Entry) -> None:
        super().__init__()
        self._session = session
        self._entry = entry
        self._of_callbacks = session.waits.during((entry,), NO_THREAD)
        self.set_running_or_notify_cancel()

    def add_done_callback(self, fn: Callable[[Future[Any]], object]) -> None:
        """Have ``fn`` called with this future once it is done; until then, somebody waits for the value."""
        if not self.done():
            self._of_callbacks.__enter__()
        super().add_done_callback(fn)
        if self.done():
            self._of_callbacks.__exit__()

    def settle(self) -> None:
        """Take the value, or what the call raised, from the entry, which is done."""
        self._of_callbacks.__exit__()
        try:
            self.set_result(self._session.value_of(self._entry))
        except BaseException as error:  # whatever the call raised
            self.set_exception(error)
            del self  # or this frame, which the error's traceback has, would keep both alive

    def result(self, timeout: float | None = None) -> Any:
        """Return the value or raise what the call raised; TimeoutError after ``timeout`` seconds."""
        if not self._wait(timeout):
            return super().result(0)  # raises the TimeoutError of this module's base
        return self._session.value_of(self._entry)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return what the call raised, or None; raises TimeoutError after ``timeout`` seconds."""
        if not self._wait(timeout):
            return super().exception(0)
        try:
            self._session.value_of(self._entry)
        except BaseException as error:
            return error
        return None

    def _wait(self, timeout: float | None) -> bool:
        # For the entry and not for ``settle``, which may stand behind a callback that takes its time.
        if self._entry.done:
            return True
        with self._session.waits.during((self._entry,)):
            return self._session.wait(lambda: self._entry.done, timeout)
