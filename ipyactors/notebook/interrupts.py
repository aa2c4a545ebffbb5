"""The stop button: the cell ends at once, and what it has submitted and nobody else waits for is cancelled.

A cell without ``await`` gets its ``KeyboardInterrupt`` from Python, and our waits end with it. A cell with ``await``
runs as an asyncio task, and ipykernel answers a SIGINT by cancelling that task, which has two flaws: the event loop is
not woken, so the cell ends only when what it awaits happens to wake; and code of the cell that blocks (``get``, a loop)
is not interrupted at all. So while such a cell runs, its handler of SIGINT has one of ours before it: code of the cell
that runs is interrupted as in any other cell, else the cell's task is cancelled as before and the loop is woken. What
the user sees is a ``KeyboardInterrupt`` in either case.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import threading
import types
from collections.abc import Callable
from typing import Any

from ipyactors.api import config
from ipyactors.engines.interrupting import describe_calls, withdraw_calls
from ipyactors.notebook.swallowed_interrupts import SwallowedInterrupts
from ipyactors.owner import process, scopes

#: In whose code that of a cell waits; what those call in turn is of the standard library.
_WAITS = ("asyncio", "ipyactors")


class _Cell:
    """A cell that runs: its ``scope``, and the handler that it has put before ipykernel's, if any."""

    def __init__(self, namespace: dict[str, Any]) -> None:
        self.scope = scopes.current()
        self.is_interrupted = False
        self._namespace = namespace
        self._task: asyncio.Task[Any] | None = None
        self._before: Callable[..., object] | None = None
        self._handler = self._on_sigint  # one object, so that it can be told from any other
        self._swallowed = SwallowedInterrupts()

    def take_sigint(self) -> None:
        """Put our handler before the one that cancels the cell's task; where none does, leave that as it is."""
        if threading.current_thread() is not threading.main_thread():
            return
        self._swallowed.install()
        before = signal.getsignal(signal.SIGINT)
        with contextlib.suppress(RuntimeError):  # no event loop runs
            self._task = asyncio.current_task()
        if self._task is not None and callable(before) and before is not signal.default_int_handler:
            self._before = before
            signal.signal(signal.SIGINT, self._handler)

    def give_sigint_back(self) -> None:
        """Undo :meth:`take_sigint`; harmless if repeated, and if the user has put a handler of his own."""
        self._swallowed.release()
        before, self._before = self._before, None
        if before is not None and signal.getsignal(signal.SIGINT) is self._handler:
            signal.signal(signal.SIGINT, before)

    def _on_sigint(self, number: int, frame: types.FrameType | None) -> None:
        before, task = self._before, self._task
        if before is None or task is None:
            raise KeyboardInterrupt
        self.is_interrupted = True
        if asyncio.current_task(task.get_loop()) is task and self._is_running(frame or sys._getframe()):
            raise KeyboardInterrupt
        before(number, frame)
        task.get_loop().call_soon_threadsafe(lambda: None)

    def _is_running(self, frame: types.FrameType | None) -> bool:
        """Return whether code of the cell is on the stack: only there may an exception be raised."""
        while frame is not None and frame.f_globals is not self._namespace:
            frame = frame.f_back
        return frame is not None


class Interrupts:
    """Follows the cells of one shell. IPython calls :meth:`note_cell` and :meth:`note_end` on the cell's thread."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._running: dict[int, list[_Cell]] = {}  # by thread; a cell may run another one
        self._was_replaced = "showtraceback" in vars(shell)
        self._show = shell.showtraceback
        shell.showtraceback = self._show_traceback

    def note_cell(self, *_info: Any) -> None:
        """A cell starts. Its scope has been entered by now."""
        cell = _Cell(self._shell.user_global_ns)
        self._running.setdefault(threading.get_ident(), []).append(cell)
        cell.take_sigint()

    def note_end(self, result: Any) -> None:
        """A cell has ended, with a ``result`` that says how (None: before it could)."""
        cells = self._running.get(threading.get_ident())
        if not cells:
            return
        cell = cells.pop()
        cell.give_sigint_back()
        error: BaseException | None = asyncio.CancelledError()
        if result is not None:  # a cell's lines are compiled one by one, and it may be stopped between two of them
            error = result.error_in_exec or result.error_before_exec
        if isinstance(error, asyncio.CancelledError) and cell.is_interrupted:
            error = KeyboardInterrupt()
            if result is not None:
                result.error_in_exec = error  # the kernel's answer says it too
        if isinstance(error, KeyboardInterrupt):
            _answer_for_what_is_left(cell.scope)

    def release(self) -> None:
        """Follow no cell any more; the one that runs is interrupted as if we had never been there."""
        for cells in self._running.values():
            for cell in reversed(cells):
                cell.give_sigint_back()
        self._running.clear()
        if vars(self._shell).get("showtraceback") != self._show_traceback:
            return  # somebody has put his own in its place
        del self._shell.showtraceback
        if self._was_replaced:
            self._shell.showtraceback = self._show

    def _show_traceback(self, exc_tuple: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Stand in for the shell's method: an interrupt is shown as one, and where the user's code was then."""
        kind, error, trace = exc_tuple or sys.exc_info()
        cells = self._running.get(threading.get_ident())
        if cells and cells[-1].is_interrupted and isinstance(error, asyncio.CancelledError):
            kind, error = KeyboardInterrupt, KeyboardInterrupt()
        if isinstance(error, KeyboardInterrupt):
            trace = _up_to_the_user(trace)
            exc_tuple = kind, error.with_traceback(trace), trace
        return self._show(exc_tuple, *args, **kwargs)


def _answer_for_what_is_left(scope: int) -> None:
    """Cancel what a cell has submitted, unless the user wants it to go on; say what became of it."""
    session = process.session()
    if session is None or session.is_over or not scope:
        return
    if config.setting("interrupt") == "cancel":
        words = withdraw_calls(session, scope).words()
    else:
        words = describe_calls(session, scope)
    if words:
        print(f"interrupted: {words}", file=sys.stderr)


def _up_to_the_user(trace: types.TracebackType | None) -> types.TracebackType | None:
    """Return the traceback without what the user's code waits in, of ours and of asyncio: that explains nothing."""
    entries: list[types.TracebackType] = []
    while trace is not None:
        entries.append(trace)
        trace = trace.tb_next
    packages = [entry.tb_frame.f_globals.get("__name__", "").partition(".")[0] for entry in entries]
    below = len(packages)
    while below and (packages[below - 1] in _WAITS or packages[below - 1] in sys.stdlib_module_names):
        below -= 1
    if below < len(packages) and packages[below] in _WAITS:
        del entries[below:]
    inner = None
    for entry in reversed(entries):
        inner = types.TracebackType(inner, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return inner
