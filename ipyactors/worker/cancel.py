"""Interrupting the task that runs: SIGINT to this very process, and a handler that knows whom it is for.

A thread cannot stop another one from outside; a signal can, because Python runs its handler in the main thread, and
the system call that the main thread sleeps in returns early. The reader of the sockets sets the call's flag and
sends the signal; the handler raises only while the call with that flag is armed, that is, inside the user's code.
A signal that comes too early finds the flag at arming; one that comes too late finds another call, or none.

SIGINT from elsewhere is ignored: workers have a session of their own and take orders from callers only.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the C functions: those of ``signal`` convert to enums, several times dearer
import contextlib
import signal
import threading
from collections.abc import Callable
from typing import Any

from ipyactors.owner.current import CurrentCall

_SIGINT = int(signal.SIGINT)
_SIGALRM = int(signal.SIGALRM)
_SIG_UNBLOCK = int(signal.SIG_UNBLOCK)
_ITIMER_REAL = int(signal.ITIMER_REAL)


class Interrupts:
    """Runs code of the main thread so that it can be interrupted."""

    def __init__(self) -> None:
        self._armed: CurrentCall | None = None
        self._handler = self.on_signal  # one object, so that it can be told from any other at a glance
        self._main_ident = threading.main_thread().ident

    def install(self) -> None:
        """Take SIGINT over; call in the main thread."""
        signal.signal(signal.SIGINT, self._handler)

    def tidy(self) -> None:
        """Undo what a task has left that would hit the next one; call in the main thread. Half a microsecond.

        That is: another handler of SIGINT, or a mask over it (the next could not be cancelled); a timer that still
        runs (the handler would raise its exception elsewhere). Handlers of other signals are left: a library that the
        task has loaded may need its own.
        """
        if _signal.getsignal(_SIGINT) is not self._handler:
            self.install()
        _signal.pthread_sigmask(_SIG_UNBLOCK, (_SIGINT,))
        if callable(_signal.getsignal(_SIGALRM)):
            _signal.setitimer(_ITIMER_REAL, 0)

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
