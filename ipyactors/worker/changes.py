"""Which state of its actor a readonly method has seen: counted in calls that may have changed it.

A lost result of a readonly method may be asked for again, and must be what it was. It is, if the same incarnation runs
the method on the same state: no call that may change the actor has begun since, and none was under way. Before the
first such call the actor is what its constructor makes of it, in every incarnation: that is said as ``(0, 0)``.
"""

from __future__ import annotations

import threading

from ipyactors.owner.current import CurrentCall
from ipyactors.wire.worker_messages import ActorVersion, CallMethod


class HasChangedError(Exception):
    """Raised when a result is wanted from an actor as it was, and it is not so any more."""


class Changes:
    """Counts the calls of one incarnation that may change it. Thread-safe: methods may run side by side."""

    def __init__(self, incarnation: int) -> None:
        self._incarnation = incarnation
        self._lock = threading.Lock()
        self._begun = 0
        self._under_way = 0
        self._is_durable = False

    def start_at(self, lsn: int) -> None:
        """The actor is durable, and is as after the call ``lsn``: its states are the same in all incarnations."""
        self._incarnation, self._begun, self._is_durable = 0, lsn, True

    def begin(self, running: CurrentCall, call: CallMethod) -> None:
        """Count a call whose method runs next. Raises HasChangedError."""
        with self._lock:
            if not call.is_readonly:
                if not self._is_durable:
                    self._begun += 1
                elif running.lsn > self._begun:  # side by side, one may begin before another that has a lower one
                    self._begun = running.lsn
                self._under_way += 1
                running.is_changing = True
                return
            running.seen = -1 if self._under_way else self._begun
            running.expected = call.expected
        self.check(running)

    def end(self, running: CurrentCall) -> None:
        """Note that a method has ended, however it did; harmless if it has never begun."""
        if running.is_changing:
            running.is_changing = False
            with self._lock:
                self._under_way -= 1

    def seen_by(self, running: CurrentCall) -> ActorVersion | None:
        """Return the state that a readonly method has seen so far; None if it may have been more than one."""
        seen = running.seen
        if seen < 0 or seen != self._begun:
            return None
        return (self._incarnation, seen) if seen else (0, 0)

    def check(self, running: CurrentCall) -> None:
        """Raise HasChangedError if the result is wanted from another state than the method has seen."""
        if running.expected is not None and running.expected != self.seen_by(running):
            raise HasChangedError
