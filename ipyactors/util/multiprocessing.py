"""``multiprocessing.Pool`` over actors: each process of the pool is one actor, which survives a crash.

Work is sent in chunks; a chunk whose process died is sent again up to three times, so a function may run more than
once for the same item. Everything else is as in the standard library.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from ipyactors.api.actor import ActorClass
from ipyactors.api.calls import kill, put, wait
from ipyactors.api.handles import ActorHandle
from ipyactors.api.inspect import cluster_resources
from ipyactors.ground.exceptions import ActorNotFoundError
from ipyactors.owner.refs import ObjectRef
from ipyactors.util.pool_results import ApplyResult, ImapIterator, MapResult, TimeoutError  # noqa: A004

__all__ = ["ApplyResult", "MapResult", "Pool", "TimeoutError"]

_RETRIES = 3
_CHUNKS_PER_PROCESS = 4

Chunk = list[tuple[tuple[Any, ...], dict[str, Any]]]


class _PoolProcess:
    """One process of a pool."""

    def __init__(self, initializer: Callable[..., Any] | None, initargs: tuple[Any, ...]) -> None:
        if initializer is not None:
            initializer(*initargs)

    def run(self, function: Callable[..., Any], chunk: Chunk) -> list[Any]:
        return [function(*args, **kwargs) for args, kwargs in chunk]


class _Slot:
    """A place for a process, the chunks that it has, and how many it was given."""

    def __init__(self) -> None:
        self.actor: ActorHandle | None = None
        self.refs: deque[ObjectRef] = deque()
        self.given = 0


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
        count = processes or max(1, int(cluster_resources().get("CPU", 1)))
        options = {"max_restarts": -1, "max_task_retries": _RETRIES, **(actor_options or {})}
        self._class = ActorClass.of(_PoolProcess, options)
        self._initializer = initializer, tuple(initargs)
        self._chunks_at_most = maxtasksperchild
        self._slots = [_Slot() for _ in range(count)]
        self._closed = False
        self._feeds = 0  # how many imap() still have items to give
        for slot in self._slots:
            slot.actor = self._class.remote(*self._initializer)

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
        return ApplyResult([self._submit(func, [(tuple(args), dict(kwds or {}))])], callback, error_callback)

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
        self._finish_if_idle()

    def _finish_if_idle(self) -> None:
        """Have each process end after the work that it was sent, if no more will come."""
        if not self._closed or self._feeds:
            return
        for slot in self._slots:
            if slot.actor is not None:
                with contextlib.suppress(ActorNotFoundError):  # the session has ended, and they with it
                    slot.actor.__ray_terminate__.remote()

    def terminate(self) -> None:
        """End the processes at once; work that is not done fails with ActorDiedError."""
        self._closed = True
        for slot in self._slots:
            if slot.actor is not None:
                kill(slot.actor)
                slot.actor = None

    def join(self) -> None:
        """Wait until all work is done, after which the processes end. Raises ValueError if the pool is still open."""
        if not self._closed:
            raise ValueError("the pool is still open: call close() or terminate() before join().")
        for slot in self._slots:
            if slot.refs:
                wait(list(slot.refs), num_returns=len(slot.refs))
            slot.actor = None
            slot.refs.clear()

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.terminate()

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a Pool cannot be sent to another process; make one there, or send an ActorPool.")

    def __repr__(self) -> str:
        return f"<Pool of {len(self._slots)} processes, {'closed' if self._closed else 'open'}>"

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
            chunksize = max(1, math.ceil(len(items) / (len(self._slots) * _CHUNKS_PER_PROCESS)))
        function = put(func)
        refs = [self._submit(function, chunk) for chunk in _chunks(items, chunksize)]
        return MapResult(refs, callback, error_callback)

    def _imap(
        self, func: Callable[..., Any], iterable: Iterable[Any], chunksize: int, *, ordered: bool
    ) -> ImapIterator:
        self._check_open()
        function = put(func)
        chunks = _chunks(((item,) for item in iterable), chunksize)
        return ImapIterator(self._feed(function, chunks), window=2 * len(self._slots), ordered=ordered)

    def _feed(self, function: Any, chunks: Iterator[Chunk]) -> Iterator[ObjectRef]:
        """Send each chunk when it is asked for; the last one, or the end of the iterator, may end a closed pool."""
        self._feeds += 1
        try:
            for chunk in chunks:
                yield self._submit(function, chunk)
        finally:
            self._feeds -= 1
            self._finish_if_idle()

    def _submit(self, function: Any, chunk: Chunk) -> ObjectRef:
        """Send a chunk to the process with the least to do; ``function`` is the function or a reference to it."""
        slot = min(self._slots, key=_count_unfinished)
        if slot.actor is None or (self._chunks_at_most is not None and slot.given >= self._chunks_at_most):
            # The handle before goes, and with it its actor, after the calls that it has.
            slot.actor, slot.given = self._class.remote(*self._initializer), 0
        ref: ObjectRef = slot.actor.run.remote(function, chunk)
        slot.refs.append(ref)
        slot.given += 1
        return ref


def _count_unfinished(slot: _Slot) -> int:
    while slot.refs and wait([slot.refs[0]], timeout=0)[0]:  # a process does its chunks in their order
        slot.refs.popleft()
    return len(slot.refs)


def _chunks(arguments: Iterable[tuple[Any, ...]], size: int) -> Iterator[Chunk]:
    if size < 1:
        raise ValueError(f"chunksize={size!r}: takes an int >= 1.")
    iterator = iter(arguments)
    chunk: Chunk
    while chunk := [(args, {}) for args in itertools.islice(iterator, size)]:
        yield chunk
