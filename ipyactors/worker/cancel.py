"""Interrupting the task that runs: SIGINT to this very process, and a handler that knows whom it is for.

A thread cannot stop another one from outside; a signal can, because Python runs its handler in the main thread, and
the system call that the main thread sleeps in returns early. The reader of the sockets sets the call's flag and
sends the signal; the handler raises only while the call with that flag is armed, that is, inside the user's code.
A signal that comes too early finds the flag at arming; one that comes too late finds another call, or none.

SIGINT from elsewhere is ignored: workers have a session of their own and take orders from callers only.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable
from typing import Any

from ipyactors.owner.current import CurrentCall


class Interrupts:
    """Runs code of the main thread so that it can be interrupted."""

    def __init__(self) -> None:
        self._armed: CurrentCall | None = None
        self._main_ident = threading.main_thread().ident

    def install(self) -> None:
        """Take SIGINT over; call in the main thread."""
        signal.signal(signal.SIGINT, self.on_signal)

    def call(
        self, current: CurrentCall, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Return ``function(*args, **kwargs)``, or raise KeyboardInterrupt once ``current`` was cancelled."""
        try:
            self._armed = current
            if current.cancelled:
                raise KeyboardInterrupt
            return function(*args, **kwargs)
        finally:
            self._armed = None

    def interrupt(self, current: CurrentCall) -> None:
        """Cancel ``current``, which runs in the main thread or is about to; from any thread."""
        current.cancelled = True
        if self._armed is current and self._main_ident is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pthread_kill(self._main_ident, signal.SIGINT)

    def on_signal(self, _number: int, _frame: object) -> None:
        """Handle SIGINT."""
        armed = self._armed
        if armed is not None and armed.cancelled:
            self._armed = None
            raise KeyboardInterrupt
