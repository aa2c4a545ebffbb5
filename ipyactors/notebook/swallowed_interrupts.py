"""The stop button, where Python would drop it: in a ``__del__``, a callback of a weak reference, or one of C code.

What is raised there cannot reach the code that runs below. Python prints "Exception ignored in", by way of
``sys.unraisablehook``, and the cell runs on. So while a cell runs, that hook has one of ours before it: it sends the
main thread another SIGINT, as soon as that thread is where an interrupt can be heard.
"""

from __future__ import annotations

import _thread
import signal
import sys
import threading
import time
from typing import Any

#: A SIGINT at once would hit the next of many such callbacks, and have its work undone too; seconds.
_AGAIN_AFTER_S = 0.01


class SwallowedInterrupts:
    """While it is installed, an interrupt of the main thread that Python would drop is raised again."""

    def __init__(self) -> None:
        self._before: Any = None
        self._hook = self._on_unraisable  # one object, so that it can be told from any other
        self._is_installed = False
        self._is_inside = False

    def install(self) -> None:
        """Put our hook before the one that is there."""
        self._before = sys.unraisablehook
        self._is_installed = True
        sys.unraisablehook = self._hook

    def release(self) -> None:
        """Undo :meth:`install`; harmless if repeated. A hook that the user has put since stays: it may call ours."""
        self._is_installed = False
        if sys.unraisablehook is self._hook:
            sys.unraisablehook = self._before

    def _on_unraisable(self, unraisable: Any) -> None:
        is_main = threading.get_ident() == threading.main_thread().ident
        if not (self._is_installed and is_main and issubclass(unraisable.exc_type, KeyboardInterrupt)):
            self._before(unraisable)
            return
        self._is_inside = True
        _thread.start_new_thread(self._interrupt_again, ())
        self._is_inside = False  # the last thing: from here to the end of a function Python handles no signal

    def _interrupt_again(self) -> None:
        time.sleep(_AGAIN_AFTER_S)
        while self._is_inside:
            time.sleep(_AGAIN_AFTER_S)
        # Not interrupt_main(): it would not wake a thread that sleeps. A signal that nobody handles ends the process.
        ident = threading.main_thread().ident
        if self._is_installed and ident is not None and callable(signal.getsignal(signal.SIGINT)):
            signal.pthread_kill(ident, signal.SIGINT)
