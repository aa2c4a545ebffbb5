"""The processes of a ``Pool``: which of them gets the next chunk, and when they end."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ipyactors.api.actor import ActorClass
from ipyactors.api.calls import kill, wait
from ipyactors.api.handles import ActorHandle
from ipyactors.ground.exceptions import ActorNotFoundError
from ipyactors.owner.refs import ObjectRef

Chunk = list[tuple[tuple[Any, ...], dict[str, Any]]]


class _PoolProcess:
    """One process of a pool."""

    def __init__(self, initializer: Callable[..., Any] | None, initargs: tuple[Any, ...]) -> None:
        if initializer is not None:
            initializer(*initargs)

    def run(self, function: Callable[..., Any], chunk: Chunk) -> list[Any]:
        return [function(*args, **kwargs) for args, kwargs in chunk]


_PoolProcess.__name__ = "Pool process"  # what people see of it; pickle goes by its __qualname__


class _Slot:
    """A place for a process, the chunks that it has, and how many it was given."""

    def __init__(self, actor: ActorHandle) -> None:
        self.actor: ActorHandle | None = actor
        self.refs: deque[ObjectRef] = deque()
        self.given = 0

    def count_unfinished(self) -> int:
        """Return how many chunks its process has to do yet."""
        while self.refs and wait([self.refs[0]], timeout=0)[0]:  # a process does its chunks in their order
            self.refs.popleft()
        return len(self.refs)


class PoolProcesses:
    """A number of processes, each an actor with these options, replaced after ``chunks_at_most`` chunks."""

    def __init__(
        self,
        count: int,
        initializer: Callable[..., Any] | None,
        initargs: tuple[Any, ...],
        chunks_at_most: int | None,
        options: Mapping[str, Any],
    ) -> None:
        self._class = ActorClass.of(_PoolProcess, options)
        self._initializer = initializer, initargs
        self._chunks_at_most = chunks_at_most
        self._is_closed = False
        self._feeds = 0  # how many iterators still have chunks to give
        self._slots = [_Slot(self._start()) for _ in range(count)]

    def __len__(self) -> int:
        return len(self._slots)

    def _start(self) -> ActorHandle:
        return self._class.remote(*self._initializer)

    def submit(self, function: Any, chunk: Chunk) -> ObjectRef:
        """Send a chunk to the process with the least to do; ``function`` is the function or a reference to it."""
        slot = min(self._slots, key=_Slot.count_unfinished)
        if slot.actor is None or (self._chunks_at_most is not None and slot.given >= self._chunks_at_most):
            # The handle before goes, and with it its actor, after the calls that it has.
            slot.actor, slot.given = self._start(), 0
        ref: ObjectRef = slot.actor.run.remote(function, chunk)
        slot.refs.append(ref)
        slot.given += 1
        return ref

    def feed(self, function: Any, chunks: Iterator[Chunk]) -> Iterator[ObjectRef]:
        """Send each chunk when its reference is asked for. The processes do not end before the last one."""
        self._feeds += 1
        try:
            for chunk in chunks:
                yield self.submit(function, chunk)
        finally:
            self._feeds -= 1
            self._finish_if_all_sent()

    def close(self) -> None:
        """Have each process end after its work; what is still being fed is sent before."""
        self._is_closed = True
        self._finish_if_all_sent()

    def _finish_if_all_sent(self) -> None:
        if not self._is_closed or self._feeds:
            return
        for slot in self._slots:
            if slot.actor is not None:
                with contextlib.suppress(ActorNotFoundError):  # the session has ended, and they with it
                    slot.actor.__ray_terminate__.remote()

    def terminate(self) -> None:
        """End the processes at once."""
        for slot in self._slots:
            if slot.actor is not None:
                kill(slot.actor)
                slot.actor = None

    def join(self) -> None:
        """Wait until all that was sent is done, and let go of the processes."""
        for slot in self._slots:
            if slot.refs:
                wait(list(slot.refs), num_returns=len(slot.refs))
            slot.actor = None
            slot.refs.clear()
