"""What the user is told while calls run: the lines that they print, the events that are listened to."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable

from ipyactors.owner.event_log import EventLog
from ipyactors.owner.mail import Mail
from ipyactors.wire.interrupts import deferred
from ipyactors.wire.worker_messages import Written

_log = logging.getLogger("ipyactors.owner")


class Announcer:
    """Shows output and calls listeners: in order, one thread at a time, and not under the session's ``lock``."""

    def __init__(self, lock: threading.RLock, mail: Mail, log: EventLog, show: Callable[[Written, int], None]) -> None:
        self._lock = lock
        self._mail = mail
        self._events = log
        self._show = show
        self._turn = threading.RLock()
        self._is_telling = False
        self._teller: int | None = None

    @property
    def is_telling_here(self) -> bool:
        """Whether this thread is telling: the code that asks is a listener."""
        return self._teller == threading.get_ident()

    def tell_news(self) -> None:
        """Tell what there is to tell; not to be called under the lock, or in a turn."""
        if self._mail.outputs or self._events.has_unheard:
            self.tell()

    def catch_up(self) -> None:
        """Return when all output that has arrived is shown: what a call printed comes before its result."""
        if self._mail.outputs or self._is_telling:
            with deferred():
                self.tell()

    def tell(self) -> None:
        """Tell what has not been told."""
        with self._turn:
            # Set before the outputs are taken: who sees none of them sees that they are being shown.
            was_telling, self._is_telling = self._is_telling, True
            self._teller = threading.get_ident()
            with self._lock:
                outputs, heard = self._mail.take_outputs(), self._events.take_unheard()
            for written, scope in outputs:
                with contextlib.suppress(Exception):
                    self._show(written, scope)
            for listener, event in heard:
                try:
                    listener(event)
                except BaseException:  # a listener must not end the thread that reads
                    _log.exception("a listener to events raised")
            self._is_telling = was_telling
            if not was_telling:
                self._teller = None
