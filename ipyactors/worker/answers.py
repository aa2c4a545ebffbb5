"""When answers leave: together while more work waits, at once when none does.

A send costs about as much as a trivial call, so answers of a pipeline travel in batches. None waits longer than a
millisecond for company, even if the next call computes for an hour: whoever reads the sockets meanwhile sends them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sized
from typing import NoReturn

from ipyactors.wire.codec import Message
from ipyactors.worker import chaos
from ipyactors.worker.out import WorkerSession

#: An answer waits at most this long for others to travel with.
UNSENT_AT_MOST_S = 0.001

#: A batch has at most this many messages.
UNSENT_AT_MOST = 64

_monotonic = time.monotonic


def _end_child(_peer: bytes, *_messages: Message) -> NoReturn:
    os._exit(0)


class Answers:
    """The way from the running code to the callers. Thread-safe.

    ``line`` is what waits to be run: while it is empty, a call's last answer is not held back. ``defer`` replaces
    these rules (an event loop sends once per round).
    """

    def __init__(self, session: WorkerSession, line: Sized) -> None:
        self._session = session
        self._answer: Callable[..., None] = session.answer
        self._line = line
        self._unsent = 0
        self._since_s = 0.0
        self.defer: Callable[[Callable[[], None]], object] | None = None
        os.register_at_fork(after_in_child=self._after_fork)

    def _after_fork(self) -> None:
        # A child that the user's code has forked, and that comes back from the call: the parent gives the answer.
        self._answer = _end_child

    def finish(self, peer: bytes, message: Message) -> None:
        """Give a call's last answer."""
        if chaos.armed is not None and chaos.armed.holds_answer(self, peer, message):
            return
        self._answer(peer, message)
        if self.defer is not None:
            if self._unsent == 0:
                self._unsent, self._since_s = 1, _monotonic()
                self.defer(self.flush)
        elif self._line:
            self._hold()
        else:
            self.flush()

    def add(self, peer: bytes, message: Message) -> None:
        """Send something while the call goes on: an item, a line that it printed."""
        self._answer(peer, message)
        self._hold()

    def note_ends(self) -> None:
        """Have the ends of calls outlive this process, where they are noted; their answers need not have left."""

    def repeat(self, peer: bytes, message: Message) -> None:
        """Give an answer that is given once more."""
        self._answer(peer, message)

    @property
    def is_last(self) -> bool:
        """Whether no call waits behind the one that is being answered."""
        return not self._line

    def queue(self, peer: bytes, message: Message) -> None:
        """Say something that leaves with a call's last answer, or with the turn in which it is said."""
        self._answer(peer, message)

    def _hold(self) -> None:
        now = _monotonic()
        if self._unsent == 0:
            self._unsent, self._since_s = 1, now
            self._session.leader.wake()  # it may sleep without a limit, knowing of nothing unsent
        elif self._unsent >= UNSENT_AT_MOST or now - self._since_s > UNSENT_AT_MOST_S:
            self.flush()
        else:
            self._unsent += 1

    def flush(self) -> None:
        """Send everything now."""
        self._unsent = 0
        self._session.flush()

    def on_turn(self, now: float) -> float | None:
        """Send what has waited long enough; return in how many seconds the rest will have. Called by the leader."""
        if self._unsent == 0:
            return None
        left_s = self._since_s + UNSENT_AT_MOST_S - now
        if left_s > 0:
            return left_s
        self.flush()
        return None
