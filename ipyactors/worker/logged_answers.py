"""Answers of a durable actor: none leaves before the log is as safe as the actor's level asks."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sized

from ipyactors.ground import faultpoints
from ipyactors.wire.codec import Message
from ipyactors.wire.worker_messages import LOGGED, ItemYielded
from ipyactors.worker.answers import Answers
from ipyactors.worker.guarded_log import GuardedLog
from ipyactors.worker.logged import LoggedCall, LoggedCalls
from ipyactors.worker.out import WorkerSession


class LoggedAnswers(Answers):
    """The way from the running code to the callers, through the log. Thread-safe, but for what ends a call.

    ``current`` is the call that runs: what ends it goes to ``calls``, which answers everyone who waits for it.
    """

    def __init__(self, session: WorkerSession, line: Sized) -> None:
        super().__init__(session, line)
        self._give = self._answer
        self._answer = self._keep
        self._kept: deque[tuple[bytes, Message]] = deque()
        self._lock = threading.Lock()
        self._log: GuardedLog | None = None
        self._calls: LoggedCalls | None = None
        self.current: LoggedCall | None = None

    def open(self, log: GuardedLog, calls: LoggedCalls) -> None:
        """Begin to answer: the log is there."""
        self._log, self._calls = log, calls

    def finish(self, peer: bytes, message: Message) -> None:
        """Give a call's last answer."""
        logged = self.current
        if (
            logged is None
            or not logged.lsn
            or (peer, getattr(message, "seq", None))
            != (
                logged.running.caller,
                logged.call.seq,
            )
        ):
            self.send(peer, message)  # of a call that is not in the log, or waits, and was cancelled
            return
        self.current = None
        assert self._calls is not None
        self._calls.finish(logged, message)

    def send(self, peer: bytes, message: Message) -> None:
        """Give an answer, whatever it is of; nobody waits for that of a call that was found in the log."""
        if peer:
            super().finish(peer, message)

    def add(self, peer: bytes, message: Message) -> None:
        """Send something while the call goes on."""
        logged = self.current
        if logged is not None and isinstance(message, ItemYielded):
            logged.items.append(message.payload)
            message.version = LOGGED, logged.lsn
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
