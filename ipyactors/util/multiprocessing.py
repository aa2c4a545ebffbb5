"""``multiprocessing.Pool`` over actors: each process of the pool is one actor, which survives a crash.

Work is sent in chunks; a chunk whose process died is sent again up to three times, so a function may run more than
once for the same item. Everything else is as in the standard library.
"""

from __future__ import annotations

import itertools
import math
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from ipyactors.api.calls import put
from ipyactors.api.inspect import cluster_resources
from ipyactors.owner import current
from ipyactors.util.pool_processes import Chunk, PoolProcesses
from ipyactors.util.pool_results import ApplyResult, ImapIterator, MapResult, TimeoutError  # noqa: A004

__all__ = ["ApplyResult", "MapResult", "Pool", "TimeoutError"]

_RETRIES = 3
_CHUNKS_PER_PROCESS = 4


class Pool:
    """As ``multiprocessing.Pool``. ``processes`` is by default the number of CPUs of the cluster.

    ``maxtasksperchild`` counts chunks. ``actor_options`` are options of the actors, such as ``num_cpus``.
    ``context`` is accepted and without effect. A pool cannot be sent to another process.
    """

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        context: object = None,  # noqa: ARG002 - part of the standard library's signature
        *,
        actor_options: Mapping[str, Any] | None = None,
    ) -> None:
        for name, value in {"processes": processes, "maxtasksperchild": maxtasksperchild}.items():
            if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
                raise TypeError(f"{name}={value!r}: takes an int >= 1 or None, not {type(value).__name__}.")
            if value is not None and value < 1:
                raise ValueError(f"{name}={value!r}: takes an int >= 1 or None.")
        if initializer is not None and not callable(initializer):
            raise TypeError(f"initializer={initializer!r}: takes a function or None.")
        count = processes or _count_processors()
        options = {"max_restarts": -1, "max_task_retries": _RETRIES, **(actor_options or {})}
        self._processes = PoolProcesses(count, initializer, tuple(initargs), maxtasksperchild, options)
        self._closed = False
        self._results: weakref.WeakSet[MapResult] = weakref.WeakSet()  # each lives until its callback has returned

    # -- the verbs -------------------------------------------------------------------------------------------------

    def apply(self, func: Callable[..., Any], args: Iterable[Any] = (), kwds: Mapping[str, Any] | None = None) -> Any:
        """Call ``func`` in the pool and return its result."""
        return self.apply_async(func, args, kwds).get()

    def apply_async(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] | None = None,
        callback: Callable[[Any], Any] | None = None,
        error_callback: Callable[[BaseException], Any] | None = None,
    ) -> ApplyResult:
        """Call ``func`` in the pool; the callbacks run on a thread of the session's own."""
        self._check_open()
        ref = self._processes.submit(func, [(tuple(args), dict(kwds or {}))])
        result = ApplyResult([ref], callback, error_callback)
        self._results.add(result)
        return result

    def map(self, func: Callable[..., Any], iterable: Iterable[Any], chunksize: int | None = None) -> list[Any]:
        """Return the results for all items, in order."""
        results: list[Any] = self.map_async(func, iterable, chunksize).get()
        return results

    def map_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        callback: Callable[[Any], Any] | None = None,
        error_callback: Callable[[BaseException], Any] | None = None,
    ) -> MapResult:
        """Call ``func`` for each item; the result's ``get`` returns the list."""
        return self._map_async(func, ((item,) for item in iterable), chunksize, callback, error_callback)

    def starmap(
        self, func: Callable[..., Any], iterable: Iterable[Iterable[Any]], chunksize: int | None = None
    ) -> list[Any]:
        """Return the results for all tuples of arguments, in order."""
        results: list[Any] = self.starmap_async(func, iterable, chunksize).get()
        return results

    def starmap_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        callback: Callable[[Any], Any] | None = None,
        error_callback: Callable[[BaseException], Any] | None = None,
    ) -> MapResult:
        """Call ``func`` with each tuple of arguments; the result's ``get`` returns the list."""
        return self._map_async(func, map(tuple, iterable), chunksize, callback, error_callback)

    def imap(self, func: Callable[..., Any], iterable: Iterable[Any], chunksize: int = 1) -> ImapIterator:
        """Yield the results in order. Items are taken from the iterable as the pool gets to them."""
        return self._imap(func, iterable, chunksize, ordered=True)

    def imap_unordered(self, func: Callable[..., Any], iterable: Iterable[Any], chunksize: int = 1) -> ImapIterator:
        """Yield the results as they come."""
        return self._imap(func, iterable, chunksize, ordered=False)

    # -- the end ---------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Take no more work. What was given is done, and then each process ends, whether anybody waits or not.

        What ``imap`` was given counts too, but is only sent as its results are taken.
        """
        self._closed = True
        self._processes.close()

    def terminate(self) -> None:
        """End the processes at once; work that is not done fails with ActorDiedError."""
        self._closed = True
        self._processes.terminate()

    def join(self) -> None:
        """Wait until all work is done and the callbacks have returned; the processes end then.

        Raises ValueError if the pool is still open.
        """
        if not self._closed:
            raise ValueError("the pool is still open: call close() or terminate() before join().")
        self._processes.join()
        for result in tuple(self._results):
            result.wait()

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.terminate()

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a Pool cannot be sent to another process; make one there, or send an ActorPool.")

    def __repr__(self) -> str:
        return f"<Pool of {len(self._processes)} processes, {'closed' if self._closed else 'open'}>"

    # -- how -------------------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("the pool is closed: it takes no more work. Nothing was submitted.")

    def _map_async(
        self,
        func: Callable[..., Any],
        arguments: Iterable[tuple[Any, ...]],
        chunksize: int | None,
        callback: Callable[[Any], Any] | None,
        error_callback: Callable[[BaseException], Any] | None,
    ) -> MapResult:
        self._check_open()
        items = list(arguments)
        if chunksize is None:
            chunksize = max(1, math.ceil(len(items) / (len(self._processes) * _CHUNKS_PER_PROCESS)))
        function = put(func)
        refs = [self._processes.submit(function, chunk) for chunk in _chunks(items, chunksize)]
        result = MapResult(refs, callback, error_callback)
        self._results.add(result)
        return result

    def _imap(
        self, func: Callable[..., Any], iterable: Iterable[Any], chunksize: int, *, ordered: bool
    ) -> ImapIterator:
        self._check_open()
        function = put(func)
        chunks = _chunks(((item,) for item in iterable), chunksize)
        refs = self._processes.feed(function, chunks)
        return ImapIterator(refs, window=2 * len(self._processes), ordered=ordered)


def _count_processors() -> int:
    """Return how many processors the cluster has; code that is done again is told what it was told then."""

    def count() -> int:
        return max(1, int(cluster_resources().get("CPU", 1)))

    notes = current.notes()
    return count() if notes is None else int(notes.once(count))


def _chunks(arguments: Iterable[tuple[Any, ...]], size: int) -> Iterator[Chunk]:
    if size < 1:
        raise ValueError(f"chunksize={size!r}: takes an int >= 1.")
    iterator = iter(arguments)
    chunk: Chunk
    while chunk := [(args, {}) for args in itertools.islice(iterator, size)]:
        yield chunk
