"""A fixed set of actors that is given work as they become free."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn

from ipyactors.api.calls import get, wait
from ipyactors.api.handles import ActorHandle
from ipyactors.ground.exceptions import GetTimeoutError
from ipyactors.owner.refs import ObjectRef

#: Calls one method of an actor with one value: ``lambda actor, value: actor.double.remote(value)``.
Submit = Callable[[ActorHandle, Any], ObjectRef]


class ActorPool:
    """Hands calls to whichever of its actors is free. Not for use by several threads at once.

    A pool can be sent to a task or an actor; the copy has the same actors and none of the calls under way, so the
    original and the copy do not know of each other's calls (the actors run them one after the other all the same).
    """

    def __init__(self, actors: Iterable[ActorHandle]) -> None:
        self._idle: deque[ActorHandle] = deque(actors)
        self._actor_of: dict[ObjectRef, ActorHandle] = {}
        self._index_of: dict[ObjectRef, int] = {}
        self._ref_at: dict[int, ObjectRef] = {}
        self._next_submitted = 0
        self._next_returned = 0
        self._waiting: deque[tuple[Submit, Any]] = deque()

    def map(self, function: Submit, values: Iterable[Any]) -> Iterator[Any]:
        """Submit one call per value and yield the results in the order of the values.

        Results that are left from earlier ``submit`` calls are dropped first, as in Ray.
        """
        self._drop_left_over()
        for value in values:
            self.submit(function, value)
        return self._results(self.get_next)

    def map_unordered(self, function: Submit, values: Iterable[Any]) -> Iterator[Any]:
        """Submit one call per value and yield the results as they come."""
        self._drop_left_over()
        for value in values:
            self.submit(function, value)
        return self._results(self.get_next_unordered)

    def _results(self, take: Callable[[], Any]) -> Iterator[Any]:
        __tracebackhide__ = True
        while self.has_next():
            yield take()

    def _drop_left_over(self) -> None:
        while self._actor_of:
            self._release(next(iter(self._actor_of)))

    def submit(self, function: Submit, value: Any) -> None:
        """Call ``function(actor, value)`` with a free actor; kept until one is free if there is none."""
        if not self._idle:
            self._waiting.append((function, value))
            return
        actor = self._idle.popleft()
        ref = function(actor, value)
        if not isinstance(ref, ObjectRef):
            self._idle.appendleft(actor)
            raise TypeError(f"the function given to ActorPool must return one reference, not {type(ref).__name__}.")
        self._actor_of[ref] = actor
        self._index_of[ref] = self._next_submitted
        self._ref_at[self._next_submitted] = ref
        self._next_submitted += 1

    def has_next(self) -> bool:
        """Return whether a result is there or under way."""
        return bool(self._actor_of)

    def get_next(self, timeout: float | None = None, ignore_if_timedout: bool = False) -> Any:
        """Return the next result in the order of submission.

        Raises StopIteration when there is none, ValueError after :meth:`get_next_unordered` took results out of the
        order, GetTimeoutError after ``timeout`` seconds. A call that timed out stays the next one, unless
        ``ignore_if_timedout``: then its result is dropped.
        """
        __tracebackhide__ = True
        if not self.has_next():
            raise StopIteration("no more results to get")
        ref = self._ref_at.get(self._next_returned)
        if ref is None:
            raise ValueError("get_next cannot follow get_next_unordered: the order has gaps now.")
        if timeout is not None and not wait([ref], timeout=timeout)[0]:
            self._fail_late(ref, timeout, drop=ignore_if_timedout)
        self._release(ref)
        return get(ref)

    def get_next_unordered(self, timeout: float | None = None, ignore_if_timedout: bool = False) -> Any:
        """Return the result that is ready first; errors as in :meth:`get_next`."""
        __tracebackhide__ = True
        if not self.has_next():
            raise StopIteration("no more results to get")
        ready, _ = wait(list(self._actor_of), timeout=timeout)
        if not ready:
            self._fail_late(next(iter(self._actor_of)), timeout, drop=ignore_if_timedout)
        self._release(ready[0])
        return get(ready[0])

    def _fail_late(self, ref: ObjectRef, timeout: float | None, *, drop: bool) -> NoReturn:
        __tracebackhide__ = True
        if drop:
            self._release(ref)
        fate = "Its result is dropped, as asked." if drop else "Its call goes on; ask again."
        raise GetTimeoutError(f"the pool's next result was not ready within {timeout} s. {fate}", ref=ref)

    def _release(self, ref: ObjectRef) -> None:
        """Forget a call and give its actor the next work."""
        index = self._index_of.pop(ref)
        del self._ref_at[index]
        self._next_returned = max(self._next_returned, index + 1)
        self._free(self._actor_of.pop(ref))

    def _free(self, actor: ActorHandle) -> None:
        self._idle.append(actor)
        if self._waiting:
            self.submit(*self._waiting.popleft())

    def has_free(self) -> bool:
        """Return whether an actor is free and nothing waits for one."""
        return bool(self._idle) and not self._waiting

    def pop_idle(self) -> ActorHandle | None:
        """Take a free actor out of the pool and return it; None if none is free."""
        return self._idle.popleft() if self.has_free() else None

    def push(self, actor: ActorHandle) -> None:
        """Add an actor to the pool. Raises ValueError if it is in the pool already."""
        if actor in self._idle or actor in self._actor_of.values():
            raise ValueError(f"{actor!r} belongs to the pool already.")
        self._free(actor)

    def __reduce__(self) -> tuple[Any, ...]:
        return ActorPool, ([*self._idle, *self._actor_of.values()],)

    def __repr__(self) -> str:
        return f"ActorPool({len(self._idle)} free, {len(self._actor_of)} busy, {len(self._waiting)} calls waiting)"
