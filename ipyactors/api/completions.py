"""References in the order in which they become ready, and what follows a wait."""

from __future__ import annotations

import abc
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ipyactors.api import runtime
from ipyactors.ground.exceptions import GetTimeoutError
from ipyactors.owner.refs import ObjectRef


class Completions(Iterator[ObjectRef]):
    """What :func:`ipyactors.as_completed` returns. ``operator.length_hint`` tells how many are to come."""

    def __init__(self, refs: Sequence[ObjectRef], deadline_s: float | None) -> None:
        self._rest = dict.fromkeys(refs)
        self._coming = _in_order_of_completion(refs, self._rest, deadline_s)

    @property
    def rest(self) -> tuple[ObjectRef, ...]:
        """The references that were not yielded, in the given order."""
        return tuple(self._rest)

    def __next__(self) -> ObjectRef:
        __tracebackhide__ = True
        return next(self._coming)

    def __length_hint__(self) -> int:
        return len(self._rest)


def _in_order_of_completion(
    refs: Sequence[ObjectRef], rest: dict[ObjectRef, None], deadline_s: float | None
) -> Iterator[ObjectRef]:
    __tracebackhide__ = True
    for ref in runtime.engine().as_completed(refs, deadline_s):
        del rest[ref]
        yield ref
    if rest:
        raise GetTimeoutError(
            f"as_completed: {len(rest)} of {len(refs)} references were not ready in time. "
            "Their calls go on; the references are still good.",
            pending=tuple(rest),
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
