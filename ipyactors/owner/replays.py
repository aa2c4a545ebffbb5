"""Generators that run again for the sake of items that were lost."""

from __future__ import annotations

from ipyactors.owner.objects import Entry, Failure
from ipyactors.owner.streams import Stream


class Replay(Stream):
    """What is wanted of a generator that runs once more, by the index of each item.

    What comes before the first of them is skipped by the worker, as after a crash. After the last one it is closed.
    """

    def __init__(self, task_id: bytes) -> None:
        super().__init__(task_id)
        self.wanted: dict[int, list[Entry]] = {}

    def want(self, index: int, entry: Entry, *, is_under_way: bool) -> bool:
        """Take the ``index``-th item too; return False if the generator may be past it, or will be closed before it.

        ``entry`` is the item, or an object to which it refers.
        """
        if is_under_way and not self.received <= index < self.until:
            return False
        self.wanted.setdefault(index, []).append(entry)
        if not is_under_way:
            self.received = min(self.wanted)
            self.until = max(self.wanted) + 1
        return True

    def pass_over(self, index: int) -> None:
        """The ``index``-th item has come."""
        self.wanted.pop(index, None)
        self.received = index + 1

    def end(self, failure: Failure | None) -> None:
        """No item follows. With a failure, it is what becomes of those that are missing."""
        self.ended = True
        if failure is not None:
            for _, entry in self.wanted_by_index():
                entry.fail(failure)

    def wanted_by_index(self) -> list[tuple[int, Entry]]:
        """Return what has not come."""
        return [(index, entry) for index, entries in self.wanted.items() for entry in entries]
