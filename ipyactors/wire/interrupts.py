"""Keyboard interrupts as messages: SIGINT may end a wait, never a change of state half way.

Python runs signal handlers between any two bytecodes of the main thread, so a ``KeyboardInterrupt`` could leave a
table half changed or a lock held for ever. Inside :class:`deferred`, the handler of SIGINT only takes a note and
wakes whoever sleeps; the handler that was there before (the user's, IPython's, Python's own) is put back on the way
out and called then. Outside such a section no handler of ours is installed. Other threads never see signals, and
pay nothing.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the C functions: signal.signal() converts to enums and costs five times as much
import os
import signal
import threading
from collections.abc import Callable
from typing import Any, Self

_SIGINT = int(signal.SIGINT)

_get_ident = threading.get_ident


class deferred:  # noqa: N801 - a context manager, used like a function
    """Hold SIGINT back in this section of the main thread; deliver it at the end.

    ``wake`` is called from the handler; it must only do what is safe there (write to a pipe, set an event). The
    section should look at ``came`` after each sleep and leave early. Does nothing on other threads, inside another
    such section, and where SIGINT is handled outside Python.
    """

    __slots__ = ("_before", "_wake", "came")

    def __init__(self, wake: Callable[[], None] | None = None) -> None:
        self._wake = wake
        self._before: Any = None
        self.came = False

    def __enter__(self) -> Self:
        # Sections are entered several times in every call: what is no outermost one of the main thread costs little.
        if not _sections.is_held and _get_ident() == _sections.main_thread:
            before = _signal.getsignal(_SIGINT)
            if before is not None:
                _signal.signal(_SIGINT, self._take_note)
                self._before = before
                _sections.is_held = True
        return self

    def __exit__(self, *_: object) -> None:
        before = self._before
        if before is not None:
            self._before = None
            _sections.is_held = False
            _signal.signal(_SIGINT, before)
            if self.came and callable(before):
                before(_SIGINT, None)
            elif self.came and before == _signal.SIG_DFL:
                _signal.raise_signal(_SIGINT)

    @property
    def is_holding(self) -> bool:
        """Whether SIGINT comes to this section."""
        return self._before is not None

    def _take_note(self, _number: int, _frame: object) -> None:
        self.came = True
        if self._wake is not None:
            self._wake()


class _Sections:
    """Which thread gets signals, and whether a section of it holds them back now."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Start anew; in the child of a fork, the thread that forked is the main one."""
        self.is_held = False
        self.main_thread = threading.main_thread().ident


_sections = _Sections()
os.register_at_fork(after_in_child=_sections.begin)
