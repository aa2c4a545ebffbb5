"""Generators that run again for the sake of items that were lost."""

from __future__ import annotations

from ipyactors.ground import ids
from ipyactors.owner.objects import Entry, Failure
from ipyactors.owner.streams import Stream


class Replay(Stream):
    """What is wanted of a generator that runs once more, by the index of each item.

    What comes before the first of them is skipped by the worker, as after a crash. After the last one it is closed.
    """

    def __init__(self, task_id: bytes) -> None:
        super().__init__(task_id)
        self.wanted: dict[int, Entry] = {}

    def want(self, entry: Entry, *, is_under_way: bool) -> bool:
        """Take an item too; return False if the generator may be past it, or will be closed before it."""
        index = ids.index_of(entry.object_id) - 1
        if is_under_way and not self.received <= index < self.until:
            return False
        self.wanted[index] = entry
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
            for entry in self.wanted.values():
                entry.fail(failure)
