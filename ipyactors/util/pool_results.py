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
from ipyactors.owner.refs import ObjectRef


class TimeoutError(GetTimeoutError, multiprocessing.TimeoutError):  # noqa: A001 - the standard library's name
    """Raised when a result was not there in time; the work goes on."""


class MapResult:
    """The results of several chunks, in order."""

    def __init__(
        self,
        refs: list[ObjectRef],
        callback: Callable[[Any], Any] | None = None,
        error_callback: Callable[[BaseException], Any] | None = None,
    ) -> None:
        self._refs = refs
        if callback is not None or error_callback is not None:
            _CallBack(self, refs, callback, error_callback)

    def get(self, timeout: float | None = None) -> Any:
        """Return the result. Raises what the function raised; TimeoutError after ``timeout`` seconds."""
        __tracebackhide__ = True
        try:
            return self._join(get(self._refs, timeout=timeout))
        except GetTimeoutError as error:
            raise TimeoutError(str(error)) from None

    def _join(self, chunks: list[list[Any]]) -> Any:
        return [result for chunk in chunks for result in chunk]

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the result is there, or ``timeout`` seconds."""
        if self._refs:
            wait(self._refs, num_returns=len(self._refs), timeout=timeout)

    def ready(self) -> bool:
        """Return whether the call is done, well or not."""
        return not self._refs or not wait(self._refs, num_returns=len(self._refs), timeout=0)[1]

    def successful(self) -> bool:
        """Return whether the call was done without an exception. Raises ValueError if it is not done."""
        if not self.ready():
            raise ValueError("the result is not ready: call wait() or get() first.")
        try:
            get(self._refs)
        except Exception:  # whatever the function raised
            return False
        return True


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
        if not refs and callback is not None:
            callback([])
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
        if error is None and self._callback is not None:
            self._callback(self._result._join(self._chunks))
        elif error is not None and self._error_callback is not None:
            self._error_callback(error)


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
        deadline = None if timeout is None else time.monotonic() + timeout
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
