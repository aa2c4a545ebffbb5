"""A queue between processes: an actor that holds it, and a front that any process may use."""

from __future__ import annotations

import asyncio
import contextlib
import queue
from collections.abc import Coroutine, Iterable, Iterator
from typing import Any

from ipyactors.api import reprs
from ipyactors.api.actor import ActorClass
from ipyactors.api.calls import get, kill
from ipyactors.ground.exceptions import ActorDiedError, OptionError
from ipyactors.wire.deaths import describe_death
from ipyactors.wire.specs import LossReason


class Empty(queue.Empty):
    """Raised when nothing could be taken in time; also an instance of the standard library's ``queue.Empty``."""


class Full(queue.Full):
    """Raised when there was no room in time; also an instance of the standard library's ``queue.Full``."""


class _QueueActor:
    """Holds the items. Waiting happens here, so that a caller that waits costs no traffic.

    The methods answer with a flag and not by raising: an exception would be a failed call in every log.
    """

    def __init__(self, maxsize: int) -> None:
        self._queue: asyncio.Queue[Any] = asyncio.Queue(maxsize)

    async def qsize(self) -> int:
        return self._queue.qsize()

    async def put(self, item: Any, patience_s: float | None) -> bool:
        if not self._queue.full():
            self._queue.put_nowait(item)
            return True
        added, _ = await _within(patience_s, self._queue.put(item))
        return added

    async def get(self, patience_s: float | None) -> tuple[bool, Any]:
        if not self._queue.empty():
            return True, self._queue.get_nowait()
        return await _within(patience_s, self._queue.get())

    async def put_batch(self, items: list[Any]) -> bool:
        size = self._queue.maxsize
        if size > 0 and self._queue.qsize() + len(items) > size:
            return False
        for item in items:
            self._queue.put_nowait(item)
        return True

    async def get_batch(self, count: int) -> tuple[bool, list[Any]]:
        if count > self._queue.qsize():
            return False, []
        return True, [self._queue.get_nowait() for _ in range(count)]


_QueueActor.__name__ = "Queue"  # what people see of it; pickle goes by its __qualname__


async def _within(patience_s: float | None, work: Coroutine[Any, Any, Any]) -> tuple[bool, Any]:
    """Return whether ``work`` was done in time, and its result. What was done at the last moment counts as done."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=patience_s)
    finally:
        task.cancel()
    try:
        return True, await task
    except asyncio.CancelledError:
        return False, None


#: Every waiting ``get`` and ``put`` is a running call of the actor, and must not keep the others out.
_WAITING_AT_MOST = 100_000


class Queue:
    """A first-in first-out queue that may be sent to tasks and actors, whose copies are the same queue.

    ``maxsize`` 0 means no limit. ``actor_options`` are for the actor that holds the items (``name``, ``num_cpus``
    ...). The items are lost with that actor's process, and the queue ends when nobody has it any more.

    A durable actor that uses a queue does so at least once: if its process dies before its log has the item that it
    took, that item is lost and it takes another one; what it was putting may be there twice.

    Raises OptionError for an option that its actor cannot have, such as ``durable``: a ``get`` that waits would hold
    up the answer to the ``put`` that it waits for.
    """

    def __init__(self, maxsize: int = 0, actor_options: dict[str, Any] | None = None) -> None:
        if durable := (actor_options or {}).get("durable"):
            raise OptionError(
                f"durable={durable!r}: a Queue cannot be durable, for a get() that waits would hold up the answer to "
                "the put() that it waits for. No queue was made. Keep the items in a durable actor of your own, whose "
                "methods return instead of waiting."
            )
        self.maxsize = maxsize
        options = {"max_concurrency": _WAITING_AT_MOST, **(actor_options or {})}
        self.actor = ActorClass.of(_QueueActor, options).remote(maxsize)

    def __len__(self) -> int:
        return self.size()

    def size(self) -> int:
        """Return how many items there are."""
        __tracebackhide__ = True
        with self._saying_how_it_ended():
            return int(get(self.actor.qsize.remote()))

    def qsize(self) -> int:
        """Return how many items there are."""
        return self.size()

    def empty(self) -> bool:
        """Return whether there is no item."""
        return self.size() == 0

    def full(self) -> bool:
        """Return whether there is no room."""
        return 0 < self.maxsize <= self.size()

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Add an item; wait for room, at most ``timeout`` seconds. Raises Full."""
        __tracebackhide__ = True
        patience_s = _patience(block, timeout)
        with self._saying_how_it_ended():
            if not get(self.actor.put.remote(item, patience_s)):
                raise self._full(patience_s)

    async def put_async(
        self,
        item: Any,
        block: bool = True,
        timeout: float | None = None,  # noqa: ASYNC109 - the name that Ray's users know
    ) -> None:
        """Add an item as :meth:`put` does, without blocking the event loop."""
        patience_s = _patience(block, timeout)
        with self._saying_how_it_ended():
            if not await self.actor.put.remote(item, patience_s):
                raise self._full(patience_s)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take the oldest item; wait for one, at most ``timeout`` seconds. Raises Empty."""
        __tracebackhide__ = True
        patience_s = _patience(block, timeout)
        with self._saying_how_it_ended():
            found, item = get(self.actor.get.remote(patience_s))
            if not found:
                raise self._empty(patience_s)
            return item

    async def get_async(
        self,
        block: bool = True,
        timeout: float | None = None,  # noqa: ASYNC109 - the name that Ray's users know
    ) -> Any:
        """Take the oldest item as :meth:`get` does, without blocking the event loop."""
        patience_s = _patience(block, timeout)
        with self._saying_how_it_ended():
            found, item = await self.actor.get.remote(patience_s)
            if not found:
                raise self._empty(patience_s)
            return item

    def put_nowait(self, item: Any) -> None:
        """Add an item if there is room. Raises Full."""
        __tracebackhide__ = True
        self.put(item, block=False)

    def get_nowait(self) -> Any:
        """Take the oldest item if there is one. Raises Empty."""
        __tracebackhide__ = True
        return self.get(block=False)

    def put_nowait_batch(self, items: Iterable[Any]) -> None:
        """Add all items, or none and raise Full."""
        __tracebackhide__ = True
        batch = list(items)
        with self._saying_how_it_ended():
            if not get(self.actor.put_batch.remote(batch)):
                raise Full(f"{self!r} has no room for {len(batch)} items now. None was added.")

    def get_nowait_batch(self, num_items: int) -> list[Any]:
        """Take ``num_items`` items, or none and raise Empty."""
        __tracebackhide__ = True
        if isinstance(num_items, bool) or not isinstance(num_items, int):
            raise TypeError(f"num_items={num_items!r}: takes an int, not {type(num_items).__name__}.")
        if num_items < 0:
            raise ValueError(f"num_items={num_items}: takes an int >= 0.")
        with self._saying_how_it_ended():
            found, items = get(self.actor.get_batch.remote(num_items))
            if not found:
                raise Empty(f"{self!r} does not have {num_items} items now. None was taken.")
            return list(items)

    def shutdown(self, force: bool = False, grace_period_s: float = 5.0) -> None:
        """End the queue's actor: after the calls that are under way, or at once with ``force``.

        Waits at most ``grace_period_s`` seconds for the former, then does the latter.
        """
        if not force:
            last = self.actor.qsize.remote()
            self.actor.__ray_terminate__.remote()
            try:
                get(last, timeout=grace_period_s)
            except (TimeoutError, ActorDiedError):
                pass
            else:
                return
        kill(self.actor, no_restart=True)

    def __repr__(self) -> str:
        client = self.actor._ipyactors_client
        label = reprs.actor_label(client, "").strip()
        return f"Queue({', '.join(filter(None, (label, f'maxsize={self.maxsize}' if self.maxsize > 0 else '')))})"

    def _full(self, patience_s: float | None) -> Full:
        return Full(f"{self!r} had no room {_so_long(patience_s)}. The item was not added.")

    def _empty(self, patience_s: float | None) -> Empty:
        return Empty(f"{self!r} had no item {_so_long(patience_s)}. None was taken.")

    @contextlib.contextmanager
    def _saying_how_it_ended(self) -> Iterator[None]:
        """Raise the death of the queue's actor, which is nobody's business, as the end of the queue."""
        __tracebackhide__ = True
        try:
            yield
        except ActorDiedError as error:
            death = self.actor._ipyactors_client.death
            if death is None or death.reason is LossReason.INTENDED:
                how = "it was shut down"
            else:
                how = f"the process that held its items {describe_death(death)}"
            raise ActorDiedError(
                f"{self!r} has ended: {how}. Its items are lost, and one that was being added may be among them. "
                "Make a new Queue to go on.",
                **vars(error),
            ) from None


def _so_long(patience_s: float | None) -> str:
    return f"within {patience_s:g} s" if patience_s else "when it was asked"


def _patience(block: bool, timeout: float | None) -> float | None:
    """Return the seconds to wait; None for as long as it takes. Raises ValueError for a negative timeout."""
    if not block:
        return 0.0
    if timeout is not None and timeout < 0:
        raise ValueError(f"timeout={timeout!r}: takes seconds >= 0, or None to wait as long as it takes.")
    return timeout
