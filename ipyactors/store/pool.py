"""Memory that is kept for the next values: how much of it, by size class, and what goes first."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, Protocol, TypeVar

from ipyactors.store.layout import size_class


class Kept(Protocol):
    """What a pool can hold."""

    @property
    def file_bytes(self) -> int:
        """What it takes."""
        ...


Draft = TypeVar("Draft", bound=Kept)


class Pool(Generic[Draft]):
    """Holds at most ``keep_bytes`` and ``keep_count`` files, the latest freed; the oldest makes way.

    Not thread-safe. What it gives out or drops is the caller's to use or to remove.
    """

    def __init__(self, keep_bytes: int, keep_count: int) -> None:
        self.keep_bytes = keep_bytes
        self.keep_count = keep_count
        self.total_bytes = 0
        self._by_age: OrderedDict[int, Draft] = OrderedDict()
        self._by_class: dict[int, list[Draft]] = {}

    def __len__(self) -> int:
        return len(self._by_age)

    def add(self, draft: Draft) -> list[Draft]:
        """Keep ``draft``; return what must go for it: the oldest, or itself if it alone is too large."""
        if draft.file_bytes > self.keep_bytes or self.keep_count == 0:
            return [draft]
        self._by_age[id(draft)] = draft
        self._by_class.setdefault(size_class(draft.file_bytes), []).append(draft)
        self.total_bytes += draft.file_bytes
        dropped = []
        while self.total_bytes > self.keep_bytes or len(self._by_age) > self.keep_count:
            _, oldest = self._by_age.popitem(last=False)
            self._forget(oldest, 0)  # a class's list is in the order of age too
            dropped.append(oldest)
        return dropped

    def take(self, total: int) -> Draft | None:
        """Return the latest kept file of the size class of ``total`` bytes; None if there is none.

        The latest, because its memory is the likeliest to be in a processor's cache.
        """
        drafts = self._by_class.get(size_class(total))
        if not drafts:
            return None
        draft = drafts[-1]
        del self._by_age[id(draft)]
        self._forget(draft, -1)
        return draft

    def clear(self) -> list[Draft]:
        """Return all that is kept, and keep it no longer."""
        drafts = list(self._by_age.values())
        self._by_age.clear()
        self._by_class.clear()
        self.total_bytes = 0
        return drafts

    def check_invariants(self) -> None:
        """Raise AssertionError if the tables contradict each other, or hold too much."""
        by_class = {id(draft) for drafts in self._by_class.values() for draft in drafts}
        assert by_class == set(self._by_age)
        assert self.total_bytes == sum(draft.file_bytes for draft in self._by_age.values()) <= self.keep_bytes
        assert len(self._by_age) <= self.keep_count
        assert all(self._by_class.values())

    def _forget(self, draft: Draft, index: int) -> None:
        drafts = self._by_class[size_class(draft.file_bytes)]
        del drafts[index]
        if not drafts:
            del self._by_class[size_class(draft.file_bytes)]
        self.total_bytes -= draft.file_bytes
