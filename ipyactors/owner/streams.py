"""What a streaming generator has produced so far, and who waits for more."""

from __future__ import annotations

from collections.abc import Callable

from ipyactors.ground import ids
from ipyactors.owner.objects import Entry, Failure
from ipyactors.wire.specs import Payload


class Stream:
    """The items of a streaming generator as they arrive. Changed only under the session's lock."""

    def __init__(self, task_id: bytes) -> None:
        self._owner_id = ids.owner_of(task_id)
        self._counter = ids.counter_of(task_id)
        self.items: list[Entry] = []
        self.ended = False
        self.failure: Failure | None = None
        self.callbacks: list[Callable[[], None]] = []

    def add(self, index: int, payload: Payload) -> Entry | None:
        """Take the ``index``-th item and return it; one that is there already (from an earlier attempt) is ignored."""
        if index != len(self.items) or self.ended:
            return None
        entry = Entry(ids.object_id(self._owner_id, self._counter, index + 1))
        entry.complete(payload)
        self.items.append(entry)
        self._call_back()
        return entry

    def end(self, failure: Failure | None) -> None:
        """No item follows. A failure becomes one last item, as in Ray, so that it is raised where it is asked for."""
        if self.ended:
            return
        self.ended = True
        self.failure = failure
        if failure is not None:
            entry = Entry(ids.object_id(self._owner_id, self._counter, len(self.items) + 1))
            entry.fail(failure)
            self.items.append(entry)
        self._call_back()

    def _call_back(self) -> None:
        callbacks, self.callbacks = self.callbacks, []
        for callback in callbacks:
            callback()
