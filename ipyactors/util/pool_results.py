"""What a pool's asynchronous verbs return."""

from __future__ import annotations

import functools
import multiprocessing
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

from ipyactors.api.calls import get, wait
from ipyactors.ground.exceptions import GetTimeoutError
from ipyactors.owner import process
from ipyactors.owner.refs import ObjectRef


class TimeoutError(GetTimeoutError, multiprocessing.TimeoutError):  # noqa: A001 - the standard library's name
    """Raised when a result was not there in time; the work goes on."""


class MapResult:
    """The results of several chunks, in order. As in the standard library, they are there when a callback has returned.

    A callback itself, and any other of the session's, need not wait for that.
    """

    def __init__(
        self,
        refs: list[ObjectRef],
        callback: Callable[[Any], Any] | None = None,
        error_callback: Callable[[BaseException], Any] | None = None,
    ) -> None:
        self._refs = refs
        self._called = threading.Event()
        if callback is not None or error_callback is not None:
            _CallBack(self, refs, callback, error_callback)
        else:
            self._called.set()

    def get(self, timeout: float | None = None) -> Any:
        """Return the result. Raises what the function raised; TimeoutError after ``timeout`` seconds."""
        __tracebackhide__ = True
        deadline_s = _deadline_s(timeout)
        try:
            chunks = get(self._refs, timeout=timeout)
        except GetTimeoutError as error:
            raise TimeoutError(str(error)) from None
        except Exception:
            self._wait_called(deadline_s)
            raise
        if not self._wait_called(deadline_s):
            raise TimeoutError(
                f"the result is there, but its callback has not returned within {timeout:g} s. Nothing is lost: ask "
                "again, or have the callback return sooner."
            )
        return self._join(chunks)

    def _join(self, chunks: list[list[Any]]) -> Any:
        return [result for chunk in chunks for result in chunk]

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the result is there, or ``timeout`` seconds."""
        deadline_s = _deadline_s(timeout)
        if self._refs:
            wait(self._refs, num_returns=len(self._refs), timeout=timeout)
        self._wait_called(deadline_s)

    def _wait_called(self, deadline_s: float | None) -> bool:
        """Wait until the callback has returned; return False if it has not at ``deadline_s`` (monotonic)."""
        if self._called.is_set() or _is_in_callback():
            return True
        return self._called.wait(None if deadline_s is None else max(0.0, deadline_s - time.monotonic()))

    def ready(self) -> bool:
        """Return whether the call is done, well or not."""
        if self._refs and wait(self._refs, num_returns=len(self._refs), timeout=0)[1]:
            return False
        return self._called.is_set() or _is_in_callback()

    def successful(self) -> bool:
        """Return whether the call was done without an exception. Raises ValueError if it is not done."""
        if not self.ready():
            raise ValueError("the result is not ready: call wait() or get() first.")
        try:
            get(self._refs)
        except Exception:  # whatever the function raised
            return False
        return True


def _deadline_s(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout


def _is_in_callback() -> bool:
    """Return whether this is the thread that calls back: what it would wait for may be its own to do."""
    session = process.session()
    return session is not None and session.callbacks.is_this_thread


class ApplyResult(MapResult):
    """The result of one call."""

    def _join(self, chunks: list[list[Any]]) -> Any:
        return chunks[0][0]


class _CallBack:
    """Calls back once, when all references are ready or the first has failed; on a thread of the session's own."""

    def __init__(
        self,
        result: MapResult,
        refs: list[ObjectRef],
        callback: Callable[[Any], Any] | None,
        error_callback: Callable[[BaseException], Any] | None,
    ) -> None:
        self._result = result
        self._callback = callback
        self._error_callback = error_callback
        self._lock = threading.Lock()
        self._chunks: list[Any] = [None] * len(refs)
        self._left = len(refs)
        if not refs:
            self._call(None)
        for index, ref in enumerate(refs):
            ref.future().add_done_callback(functools.partial(self._take, index))

    def _take(self, index: int, future: Future[Any]) -> None:
        error = future.exception()
        with self._lock:
            if self._left <= 0:
                return
            self._left = 0 if error is not None else self._left - 1
            if error is None:
                self._chunks[index] = future.result()
            if self._left:
                return
        self._call(error)

    def _call(self, error: BaseException | None) -> None:
        try:
            if error is None and self._callback is not None:
                self._callback(self._result._join(self._chunks))
            elif error is not None and self._error_callback is not None:
                self._error_callback(error)
        finally:
            self._result._called.set()


class ImapIterator:
    """Yields results while the work goes on; keeps at most ``window`` chunks under way."""

    def __init__(self, refs: Iterator[ObjectRef], window: int, *, ordered: bool) -> None:
        self._refs = refs
        self._window = window
        self._ordered = ordered
        self._under_way: list[ObjectRef] = []
        self._results: deque[Any] = deque()
        self._fill()

    def __iter__(self) -> ImapIterator:
        return self

    def __next__(self) -> Any:
        __tracebackhide__ = True
        return self.next()

    def next(self, timeout: float | None = None) -> Any:
        """Return the next result. Raises StopIteration at the end, TimeoutError after ``timeout`` seconds."""
        __tracebackhide__ = True
        deadline = _deadline_s(timeout)
        while not self._results:
            if not self._under_way:
                raise StopIteration
            left_s = None if deadline is None else max(0.0, deadline - time.monotonic())
            candidates = self._under_way[:1] if self._ordered else self._under_way
            ready, _ = wait(candidates, timeout=left_s)
            if not ready:
                raise TimeoutError(f"the next result was not ready within {timeout} s. The work goes on; ask again.")
            self._under_way.remove(ready[0])
            self._fill()
            self._results.extend(get(ready[0]))
        return self._results.popleft()

    def _fill(self) -> None:
        while len(self._under_way) < self._window and (ref := next(self._refs, None)) is not None:
            self._under_way.append(ref)
