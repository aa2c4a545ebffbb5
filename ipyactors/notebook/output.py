"""What workers print, under the cell that is running.

The session's reading thread takes the text off the socket; which thread that is changes from moment to moment. A
kernel files text under a cell by the thread that prints it, and a thread that has not said where its text belongs
gets the parent that was set last by *any* message, a button's included: then the text would be filed under no cell
at all. So the latest cell is noted when it starts, and every line is printed on its behalf.

A call's text is on the socket before its result, and both are taken in order, so it is printed before ``get``
returns.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from ipyactors.owner import process
from ipyactors.owner.output import prefixed, show_in_terminal
from ipyactors.wire.worker_messages import OutputWritten

_STDERR = 2


class CellOutput:
    """Prints for one shell what the calls of its session print."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._parent: Any = None

    def note_cell(self, *_info: Any) -> None:
        """Remember the cell that starts now; called by IPython before each cell, on the thread that runs it.

        A session that still prints in the way of a terminal is taken over; one that is to print nothing is left
        alone.
        """
        with contextlib.suppress(AttributeError, LookupError):  # a terminal's cells have no parents
            self._parent = self._shell.get_parent()
        session = process.session()
        if session is not None and session.on_output is show_in_terminal:
            session.on_output = self.write

    def release(self) -> None:
        """Let the session print as in a terminal again."""
        session = process.session()
        if session is not None and session.on_output == self.write:
            session.on_output = show_in_terminal

    def write(self, output: OutputWritten) -> None:
        """Print what a call wrote, on the stream that it wrote to. From any thread."""
        with self._on_behalf_of_cell():
            stream = sys.stderr if output.stream == _STDERR else sys.stdout
            stream.write(prefixed(output))
            stream.flush()

    @contextlib.contextmanager
    def _on_behalf_of_cell(self) -> Iterator[None]:
        if not self._parent or not hasattr(self._shell, "set_thread_parent"):  # the latter came with ipykernel 7.4
            yield
            return
        tokens = self._shell.set_thread_parent(self._parent)
        try:
            yield
        finally:
            self._shell.reset_thread_parent(tokens)
