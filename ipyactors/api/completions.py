"""References in the order in which they become ready, and what follows a wait."""

from __future__ import annotations

import abc
import operator
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from ipyactors.api import runtime
from ipyactors.ground.exceptions import GetTimeoutError
from ipyactors.owner.refs import ObjectRef


class Completions(Iterator[ObjectRef], AsyncIterator[ObjectRef]):
    """What :func:`ipyactors.as_completed` returns: ``for`` blocks until the next is ready, ``async for`` awaits it.

    ``operator.length_hint`` tells how many are to come. One coroutine at a time may wait for the next; in a durable
    actor, whose log has the order, it blocks.
    """

    def __init__(self, refs: Sequence[ObjectRef], deadline_s: float | None) -> None:
        self._refs = refs
        self._rest = dict.fromkeys(refs)
        self._deadline_s = deadline_s
        self._coming: Iterator[ObjectRef] | None = None
        self._is_over = False

    @property
    def rest(self) -> tuple[ObjectRef, ...]:
        """The references that were not yielded, in the given order."""
        return tuple(self._rest)

    def __iter__(self) -> Completions:
        return self

    def __next__(self) -> ObjectRef:
        __tracebackhide__ = True
        try:
            ref = next(self._follow(), None)
        except BaseException:  # as of a generator, there is no next one
            self._is_over = True
            raise
        return self._take(ref, StopIteration)

    def __aiter__(self) -> Completions:
        return self

    async def __anext__(self) -> ObjectRef:
        coming = self._follow()
        ref = await anext(coming, None) if isinstance(coming, AsyncIterator) else next(coming, None)
        return self._take(ref, StopAsyncIteration)

    def __length_hint__(self) -> int:
        return len(self._rest)

    def __repr__(self) -> str:
        return f"as_completed({len(self._rest)} left)"

    def _follow(self) -> Iterator[ObjectRef]:
        if self._coming is None:
            self._coming = runtime.engine().as_completed(self._refs, self._deadline_s)
        return self._coming

    def _take(self, ref: ObjectRef | None, end: type[Exception]) -> ObjectRef:
        __tracebackhide__ = True
        if ref is not None:
            del self._rest[ref]
            return ref
        if self._is_over or not self._rest:
            raise end
        self._is_over = True
        raise GetTimeoutError(
            f"as_completed: {len(self._rest)} of {len(self._refs)} references were not ready in time. "
            "Their calls go on; the references are still good.",
            pending=tuple(self._rest),
        )


def count_to_come(items: object) -> int | None:
    """Return how many items something iterable has, or says that it will have; None if it does not say."""
    hint = operator.length_hint(items, -1)
    return None if hint < 0 else hint


class Followed(abc.ABC):
    """References together with something that shows how waiting for them goes; ``get`` takes it for the references."""

    @abc.abstractmethod
    def follow(self, wait: Callable[[Sequence[ObjectRef]], Any]) -> Any:
        """Return what ``wait(refs)`` returns, or raise what it raises, and show meanwhile how it goes."""
