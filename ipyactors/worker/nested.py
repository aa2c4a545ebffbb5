"""The calls that a durable actor's methods have made, through a replay.

While a call is replayed, those that it makes are not sent: their results are in the log, where they were taken. When
the replay is over some must be sent after all: those to durable actors whose result was not taken (they may never have
arrived there; if they have, they are recognised by their id), and others whose results can still be asked for.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from ipyactors.ground import faultpoints
from ipyactors.owner.actors import ActorClient, MethodCall
from ipyactors.owner.calls import CallState, PendingCall
from ipyactors.owner.current import Submission
from ipyactors.owner.objects import Entry
from ipyactors.wire.specs import Payload, RemoteError


class _Withheld:
    """A call that was made in a replay; its objects live as long as the user's code has them."""

    __slots__ = ("call", "entries", "is_received", "left", "lsn", "token")

    def __init__(self, lsn: int, call: PendingCall, entries: Sequence[Entry], token: object) -> None:
        self.lsn = lsn
        self.call = call
        self.token = token
        self.left = len(entries)
        self.entries = [weakref.ref(entry) for entry in entries]
        self.is_received = False

    def is_needed(self) -> bool:
        """Return whether it is to be sent."""
        if self.is_received:
            return False
        is_durable = isinstance(self.call, MethodCall) and self.call.template.is_durable
        return is_durable or any(entry() is not None for entry in self.entries) or self.call.stream is not None


def complete_entry(entry: Entry, given: Payload | RemoteError) -> None:
    """Give an object what the log says that it is."""
    if isinstance(given, RemoteError):
        entry.fail(given)
    else:
        entry.complete(given)


class Nested:
    """Used by the threads that run calls. ``submit`` sends a call, ``complete`` gives an object what the log says.

    ``hold`` returns what counts as a handle of an actor: a call that is kept back needs one until it is sent.
    """

    def __init__(
        self,
        submit: Callable[[PendingCall], Any],
        complete: Callable[[Entry, Payload | RemoteError], None] = complete_entry,
        hold: Callable[[ActorClient], object] = lambda _client: None,
    ) -> None:
        self._submit = submit
        self._hold = hold
        self._complete = complete
        self._lock = threading.Lock()
        self._withheld: list[_Withheld] = []
        self._by_entry: weakref.WeakKeyDictionary[Entry, _Withheld] = weakref.WeakKeyDictionary()
        self._calls: weakref.WeakKeyDictionary[Entry, MethodCall] = weakref.WeakKeyDictionary()
        self._unanswered: deque[MethodCall] = deque()
        self._received: list[MethodCall] = []  # whose results were noted since the log was safe

    def register(self, submission: Submission, call: PendingCall, entries: Sequence[Entry]) -> None:
        """Take a call that was made; one that is replayed is kept back."""
        if isinstance(call, MethodCall) and call.identity is not None:  # others would keep their objects alive
            for entry in entries:
                self._calls[entry] = call
            if not submission.is_replayed:
                self._note_sent(call)
        if submission.is_replayed:
            token = self._hold(call.client) if isinstance(call, MethodCall) else None
            withheld = _Withheld(submission.lsn, call, entries, token)
            call.entries = ()  # or it would keep them alive
            with self._lock:
                self._withheld.append(withheld)
            for entry in entries:
                self._by_entry[entry] = withheld

    def note_received(self, entries: Sequence[Entry], given: Sequence[Payload] | RemoteError | None = None) -> None:
        """The values of these objects are in the log: a replay finds them there.

        ``given`` is what it says of them, where that is replayed. The actor may have kept the reference, and ask again.
        """
        error, is_safe = None, given is not None
        if isinstance(given, RemoteError):
            if len(entries) > 1:
                return  # nobody knows of which of them it was
            error, given = given, None
        for index, entry in enumerate(entries):
            withheld = self._by_entry.pop(entry, None)
            if withheld is not None:
                withheld.left -= 1
                withheld.is_received = withheld.left == 0
            outcome = error if given is None else given[index]
            if outcome is not None:
                self._complete(entry, outcome)
            call = self._calls.pop(entry, None)
            if call is not None and (call.template.num_returns == 1 or call not in list(self._calls.values())):
                self._note_taken(call, is_safe=is_safe)

    def secure(self, secure: Callable[[], None]) -> None:
        """Make the log safe with ``secure``: what was received before that is consumed then."""
        with self._lock:
            received, self._received = self._received, []
        secure()
        for call in received:
            call.is_consumed = True

    def release(self, lsn: int | None = None) -> int:
        """Send what must be sent, in the order in which it was made; return how many. The replay is over.

        ``lsn``: that of this call is over, which runs on for real. Others may be replayed beside it.
        """
        with self._lock:
            withheld = [one for one in self._withheld if lsn is None or one.lsn == lsn]
            self._withheld = [one for one in self._withheld if lsn is not None and one.lsn != lsn]
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

    def unanswered(self) -> list[MethodCall]:
        """Return the calls to durable actors that have no answer, in the order in which they were sent.

        They may not have arrived: should this process end, a replay of the call that made one sends it again. A
        checkpoint is behind that call, and has to have what it needs to send it (:mod:`ipyactors.worker.carried`).
        """
        with self._lock:
            return [call for call in self._unanswered if call.state is not CallState.DONE]

    def take_up(self, calls: Sequence[MethodCall]) -> None:
        """Take calls that were sent again because the checkpoint that this process began with had them."""
        for call in calls:
            self._note_sent(call)

    def _note_taken(self, call: MethodCall, *, is_safe: bool) -> None:
        """All results of a call are in the log; should it be lost with them, a replay asks for them again."""
        if is_safe:
            call.is_consumed = True
            return
        with self._lock:
            self._received.append(call)

    def _note_sent(self, call: MethodCall) -> None:
        with self._lock:
            unanswered = self._unanswered
            while unanswered and unanswered[0].state is CallState.DONE:
                unanswered.popleft()
            unanswered.append(call)
