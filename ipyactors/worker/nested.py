"""The calls that a durable actor's methods have made, through a replay.

While a call is replayed, those that it makes are not sent: their results are in the log, where they were taken. When
the replay is over some must be sent after all: those to durable actors whose result was not taken (they may never have
arrived there; if they have, they are recognised by their id), and others whose results can still be asked for.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from ipyactors.ground import faultpoints
from ipyactors.owner.actors import MethodCall
from ipyactors.owner.calls import CallState, PendingCall
from ipyactors.owner.current import Submission
from ipyactors.owner.objects import Entry


class _Withheld:
    """A call that was made in a replay; its objects live as long as the user's code has them."""

    __slots__ = ("call", "count", "entries", "is_received")

    def __init__(self, call: PendingCall, entries: Sequence[Entry]) -> None:
        self.call = call
        self.count = len(entries)
        self.entries = [weakref.ref(entry) for entry in entries]
        self.is_received = False

    def is_needed(self) -> bool:
        """Return whether it is to be sent."""
        if self.is_received:
            return False
        is_durable = isinstance(self.call, MethodCall) and self.call.template.is_durable
        return is_durable or any(entry() is not None for entry in self.entries) or self.call.stream is not None


class Nested:
    """Kept by the thread that runs calls. ``submit`` sends a call."""

    def __init__(self, submit: Callable[[PendingCall], Any]) -> None:
        self._submit = submit
        self._withheld: list[_Withheld] = []
        self._by_entry: weakref.WeakKeyDictionary[Entry, _Withheld] = weakref.WeakKeyDictionary()
        self._calls: weakref.WeakKeyDictionary[Entry, MethodCall] = weakref.WeakKeyDictionary()
        self._unanswered: deque[MethodCall] = deque()

    def register(self, submission: Submission, call: PendingCall, entries: Sequence[Entry]) -> None:
        """Take a call that was made; one that is replayed is kept back."""
        if isinstance(call, MethodCall) and call.identity is not None:  # others would keep their objects alive
            for entry in entries:
                self._calls[entry] = call
            if not submission.is_replayed:
                self._note_sent(call)
        if submission.is_replayed:
            withheld = _Withheld(call, entries)
            call.entries = ()  # or it would keep them alive
            self._withheld.append(withheld)
            for entry in entries:
                self._by_entry[entry] = withheld

    def note_received(self, entries: Sequence[Entry]) -> None:
        """The values of these objects are in the log: a replay finds them there."""
        for entry in entries:
            withheld = self._by_entry.get(entry)
            if withheld is not None:
                withheld.is_received = True
            call = self._calls.get(entry)
            if call is not None:
                call.is_consumed = True

    def release(self) -> int:
        """Send what must be sent, in the order in which it was made; return how many. The replay is over."""
        withheld, self._withheld = self._withheld, []
        count = 0
        for one in withheld:
            if one.is_needed():
                one.call.entries = tuple(entry() or Entry(one.call.task_id) for entry in one.entries)
                self._submit(one.call)
                if isinstance(one.call, MethodCall) and one.call.identity is not None:
                    self._note_sent(one.call)
                faultpoints.hit("durable.nested.released")
                count += 1
        return count

    def has_unanswered(self) -> bool:
        """Return whether a call to a durable actor has no answer.

        It may not have arrived: should this process end, a replay of the call that made it sends it again. A checkpoint
        would be behind that call, and this one would be lost.
        """
        return any(call.state is not CallState.DONE for call in self._unanswered)

    def _note_sent(self, call: MethodCall) -> None:
        unanswered = self._unanswered
        while unanswered and unanswered[0].state is CallState.DONE:
            unanswered.popleft()
        unanswered.append(call)
