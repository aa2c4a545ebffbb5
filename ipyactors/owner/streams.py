"""What a streaming generator has produced so far, and who waits for more."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ipyactors.ground import ids
from ipyactors.ground.exceptions import ObjectLostError
from ipyactors.owner.objects import Entry, Failure
from ipyactors.owner.origins import Origin
from ipyactors.wire.specs import Payload


class Stream:
    """The items of a streaming generator that have arrived and were not taken. Changed only under the session's lock.

    ``received`` counts the items that have arrived in all: what a later attempt need not send again. ``until`` is how
    many are wanted in all, 0 for no limit. ``is_left``: its call was cancelled because nobody can take an item any
    more. ``tokens`` are for the item that a failure becomes.
    """

    def __init__(self, task_id: bytes, origin: Origin | None = None) -> None:
        self._owner_id = ids.owner_of(task_id)
        self._counter = ids.counter_of(task_id)
        self.origin = origin
        self.waiting: deque[Entry] = deque()
        self.received = 0
        self.until = 0
        self.ended = False
        self.is_left = False
        self.tokens: tuple[object, ...] = ()
        self.callbacks: list[Callable[[], None]] = []
        self._spare: dict[int, Payload] = {}

    def expect_other(self, index: int, payload: Payload) -> None:
        """Note data of the ``index``-th item that is not used, for the item is made again; freed with that one."""
        if index >= self.received and not self.ended:
            self._spare[index] = payload

    def add(self, index: int, payload: Payload) -> Entry | None:
        """Take the ``index``-th item and return it; one that is there already (from an earlier attempt) is ignored.

        Items arrive in their order; if one is missing, the stream ends with an error rather than without it.
        """
        if index < self.received or self.ended:
            return None
        if index > self.received:
            missing = self.received + 1
            self.end(ObjectLostError(f"item {missing} of the generator was lost on its way, and so the rest."))
            return None
        entry = self._append()
        spare = self._spare.pop(index, None)
        if spare is not None:
            entry.expect_other(spare)
        entry.complete(payload)
        self._call_back()
        return entry

    def end(self, failure: Failure | None) -> None:
        """No item follows. A failure becomes one last item, as in Ray, so that it is raised where it is asked for."""
        if self.ended:
            return
        if failure is not None:
            last = self._append()
            last.tokens, self.tokens = self.tokens, ()
            last.fail(failure)
        self.ended = True
        self._spare.clear()
        self._call_back()

    def _append(self) -> Entry:
        self.received += 1
        entry = Entry(ids.object_id(self._owner_id, self._counter, self.received), origin=self.origin)
        self.waiting.append(entry)
        return entry

    def _call_back(self) -> None:
        callbacks, self.callbacks = self.callbacks, []
        for callback in callbacks:
            callback()
