"""Answers of a durable actor: none leaves before the log is as safe as the actor's level asks."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Sized
from typing import Protocol

from ipyactors.ground import faultpoints
from ipyactors.wire.codec import Message
from ipyactors.wire.worker_messages import ItemYielded
from ipyactors.worker.answers import Answers
from ipyactors.worker.guarded_log import GuardedLog
from ipyactors.worker.logged_call import LoggedCall
from ipyactors.worker.out import WorkerSession
from ipyactors.worker.running import Key


class Endings(Protocol):
    """What takes the calls that were begun, as they end."""

    def finish(self, logged: LoggedCall, message: Message) -> None:
        """Note how a call has ended, and answer everyone who waits for it."""
        ...

    def keep_item(self, logged: LoggedCall, item: ItemYielded) -> bool:
        """Note what a call has yielded; return whether it is not to leave now."""
        ...


class LoggedAnswers(Answers):
    """The way from the running code to the callers, through the log. As thread-safe as what it was opened with.

    What ends a call that was begun here goes to ``endings``, which answers everyone who waits for it.
    """

    def __init__(self, session: WorkerSession, line: Sized) -> None:
        super().__init__(session, line)
        self._give = self._answer
        self._answer = self._keep
        self._kept: deque[tuple[bytes, Message]] = deque()
        self._lock = threading.Lock()
        self._log: GuardedLog | None = None
        self._endings: Endings | None = None
        self._under_way: dict[Key, LoggedCall] = {}
        self._is_child = False

    def _after_fork(self) -> None:
        super()._after_fork()
        self._is_child = True

    def open(self, log: GuardedLog, endings: Endings) -> None:
        """Begin to answer: the log is there."""
        self._log, self._endings = log, endings

    def begin(self, logged: LoggedCall) -> None:
        """A call is about to run."""
        self._under_way[logged.running.caller, logged.running.seq] = logged

    def forget(self, logged: LoggedCall) -> None:
        """A call does not run any more; harmless if its end has been given."""
        self._under_way.pop((logged.running.caller, logged.running.seq), None)

    def finish(self, peer: bytes, message: Message) -> None:
        """Give a call's last answer. A child that comes back from a call is at its end: the parent gives the answer."""
        if self._is_child:
            os._exit(0)
        logged = self._under_way.pop((peer, getattr(message, "seq", 0)), None)
        if logged is None:
            self.send(peer, message)  # of a call that was not begun
            return
        assert self._endings is not None
        self._endings.finish(logged, message)

    def note_ends(self) -> None:
        """Have the log outlive this process."""
        if self._log is not None:
            self._log.secure()

    def send(self, peer: bytes, message: Message) -> None:
        """Give an answer, whatever it is of; nobody waits for that of a call that was found in the log."""
        if peer:
            super().finish(peer, message)

    def add(self, peer: bytes, message: Message) -> None:
        """Send something while the call goes on."""
        if isinstance(message, ItemYielded):
            logged = self._under_way.get((peer, message.seq))
            if logged is not None and self._endings is not None and self._endings.keep_item(logged, message):
                return
        if peer:
            super().add(peer, message)

    def flush(self) -> None:
        """Make the log safe, then send everything now."""
        if self._kept:
            with self._lock:  # both the thread that runs calls and the one that reads may be here: order is kept
                kept = len(self._kept)
                if self._log is not None:
                    self._log.secure()
                faultpoints.hit("durable.answers.secured")
                for _ in range(kept):
                    self._give(*self._kept.popleft())
        super().flush()
        faultpoints.hit("durable.answers.sent")

    def _keep(self, peer: bytes, *messages: Message) -> None:
        for message in messages:
            self._kept.append((peer, message))
