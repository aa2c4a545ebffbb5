"""What workers print and display, under the cell that made the call; also when that comes while another cell runs.

A kernel's front end files a message under a cell by its *parent*: the header of the request that ran the cell. So each
cell's is kept, by the number of its scope (:mod:`ipyactors.owner.scopes`), and goes with what comes for that scope.

Text goes through the kernel's own streams, which gather what is written and send it a few times a second: that keeps it
in order with what the cell prints, and a flood from freezing the page. Whose thread writes it says for how long under
which parent: with ``set_thread_parent`` from ipykernel 7.4 on, and before that by the context variable that it sets.
What is displayed is sent as the kernel's display publisher would, which has no such call in every version.

A call's text is on the socket before its result, and both are taken in order, so it is shown before ``get`` returns.
It is so for what a durable actor runs again after a crash, if the caller is back within a second. A constructor's text
comes by another connection, and the worker waits until it is here before it lets anybody know that the actor is there,
or has failed: two seconds at most, should this process be busy.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from collections.abc import Iterator
from typing import Any

from ipyactors.notebook.cell_quota import CellQuota
from ipyactors.owner import output, process, scopes
from ipyactors.owner.output import is_interactive, show_in_terminal, with_prefix
from ipyactors.wire.worker_messages import DisplayWritten, OutputWritten, Written

_STDERR = 2

#: So many cells are remembered. What comes still later for an older one is in the workers' logs only.
_CELLS_AT_MOST = 10_000

#: Lines that are written over again and again, of so many calls at once.
_BLOCKS_AT_MOST = 1000

#: How often the last lines are shown of what is left out.
_REST_EVERY_S = 0.5

_Header = dict[str, Any]


class _Cell:
    """A cell that ran, or runs. ``header`` is None for whatever ran before any was noted.

    ``rest`` is what was displayed last of what it leaves out; ``rest_due`` while that is soon to be done again.
    """

    __slots__ = ("has_ended", "header", "quota", "rest", "rest_due")

    def __init__(self, header: _Header | None) -> None:
        self.header = header
        self.quota = CellQuota()
        self.has_ended = False
        self.rest = ""
        self.rest_due = False


class Cells:
    """The cells of one shell by scope, the oldest first; those up to the scope ``forgotten`` are not known any more."""

    def __init__(self) -> None:
        self.by_scope: dict[int, _Cell] = {}
        self.forgotten = 0

    def add(self, scope: int, cell: _Cell) -> None:
        """Add the newest cell; forget the oldest if there are too many."""
        self.by_scope[scope] = cell
        if len(self.by_scope) > _CELLS_AT_MOST:
            self.forgotten = next(iter(self.by_scope))
            del self.by_scope[self.forgotten]


class CellOutput:
    """Shows for one shell what the calls of its session print and display. Thread-safe.

    ``cells`` are those that ran before, when the extension was loaded, and come to have those that run from here on.
    """

    def __init__(self, shell: Any, cells: Cells) -> None:
        self._shell = shell
        self._lock = threading.RLock()
        self._cells = cells
        self._latest = _Cell(None)
        self._blocks: dict[bytes, bool] = {}  # of lines that move, and whether they are shown
        self._streams: tuple[Any, Any] = (sys.stdout, sys.stderr)
        self._publisher: Any = getattr(shell, "display_pub", None)
        self._wrote_errors = False

    def install(self) -> None:
        """Show from now on what the session's calls write, and those of sessions to come.

        One that is to print nothing is left alone.
        """
        output.set_front_end(self.write)
        session = process.session()
        if session is not None and session.on_output is show_in_terminal:
            session.on_output = self.write

    def release(self) -> None:
        """Have it shown as in a terminal again."""
        output.set_front_end(show_in_terminal)
        session = process.session()
        if session is not None and session.on_output == self.write:
            session.on_output = show_in_terminal

    def note_cell(self, *_info: Any) -> None:
        """Begin a cell: called by IPython before each, on the thread that runs it, in the context of its code."""
        header = None
        with contextlib.suppress(AttributeError, LookupError, TypeError):  # a terminal's cells have no parents
            header = self._shell.get_parent()["header"]
        if header is not None and header == self._latest.header:
            return  # a magic that runs the rest of its cell as one, having taken the streams over perhaps
        self._latest = _Cell(header)
        self._cells.add(scopes.enter(), self._latest)
        self._streams = (sys.stdout, sys.stderr)

    def note_end(self, *_info: Any) -> None:
        """The newest cell has ended: show the last lines of what it has left out."""
        with self._lock:
            self._latest.has_ended = True
            self._show_rest(self._latest)

    def write(self, written: Written, scope: int = 0) -> None:
        """Show what a call of ``scope`` wrote."""
        with self._lock:
            cell = self._cells.by_scope.get(scope)
            if cell is None and 0 < scope <= self._cells.forgotten:
                return
            self._show(cell or self._latest, written)

    def _show(self, cell: _Cell, written: Written) -> None:
        if cell.header is None or getattr(self._publisher, "pub_socket", None) is None:
            show_in_terminal(written)
        elif isinstance(written, DisplayWritten):
            self._show_display(cell, written)
        elif written.block_id:
            self._show_block(cell, written)
        else:
            text = cell.quota.take(with_prefix(written.source, written.text))
            if text:
                self._print(cell, written.stream, text)
            self._show_rest_soon(cell)

    # -- text --------------------------------------------------------------------------------------------------

    def _print(self, cell: _Cell, number: int, text: str) -> None:
        is_error = number == _STDERR
        if is_error or self._wrote_errors:  # what the other stream has comes first; it does not look at this one
            self._stream(cell, not is_error).flush()
        self._wrote_errors = is_error
        stream = self._stream(cell, is_error)
        with _filed_under(stream, cell.header):
            stream.write(text)

    def _stream(self, cell: _Cell, is_error: bool) -> Any:
        """Return the kernel's stream; or, for the cell that runs, what captures its output."""
        if cell is self._latest:
            return sys.stderr if is_error else sys.stdout
        return self._streams[is_error]

    # -- displays ----------------------------------------------------------------------------------------------

    def _show_display(self, cell: _Cell, written: DisplayWritten) -> None:
        if not written.is_update and not cell.quota.admit_display(len(written.bundle)):
            self._show_rest_soon(cell)
            return
        bundle = json.loads(written.bundle)
        data, prefix = bundle["data"], f"({written.source})"
        if list(data) == ["text/plain"]:
            data["text/plain"] = with_prefix(written.source, data["text/plain"]).rstrip("\n")
        elif data and not written.is_update:
            self._print(cell, 1, f"{prefix}\n")
        self._publish(cell, data, bundle["metadata"], written.display_id, is_update=written.is_update)

    def _show_block(self, cell: _Cell, written: OutputWritten) -> None:
        """Show lines that move in a place of their own, so that those of several calls do not get mixed up."""
        if not is_interactive():
            return
        is_update = written.block_id in self._blocks
        if not is_update:
            self._blocks[written.block_id] = cell.quota.admit_block()
        is_shown = self._blocks[written.block_id]
        text = with_prefix(written.source, written.text)
        if written.text.endswith("\n"):
            del self._blocks[written.block_id]
            cell.quota.end_block(text, was_shown=is_shown)
        elif len(self._blocks) > _BLOCKS_AT_MOST:
            del self._blocks[next(iter(self._blocks))]
        if is_shown:
            display_id = f"ipyactors-{written.block_id.hex()}"
            self._publish(cell, {"text/plain": text.rstrip("\n")}, {}, display_id, is_update=is_update)
        else:
            self._show_rest_soon(cell)

    def _show_rest_soon(self, cell: _Cell) -> None:
        """Show the last lines of what the cell has left out, if it has; a flood has this done twice a second.

        Where nobody looks on, they are shown at the cell's end, and after that when no more come.
        """
        rest = cell.quota.rest
        if rest and not cell.rest_due and (cell.has_ended or is_interactive()):
            cell.rest_due = True
            timer = threading.Timer(_REST_EVERY_S, self._on_rest_due, (cell, rest))
            timer.daemon = True
            timer.start()

    def _on_rest_due(self, cell: _Cell, rest: str) -> None:
        with self._lock:
            cell.rest_due = False
            if is_interactive() or rest == cell.quota.rest:
                self._show_rest(cell)
            else:
                self._show_rest_soon(cell)

    def _show_rest(self, cell: _Cell) -> None:
        rest, before = cell.quota.rest, cell.rest
        if rest != before:
            cell.rest = rest
            self._publish(cell, {"text/plain": rest}, {}, f"ipyactors-rest-{id(cell)}", is_update=bool(before))

    def _publish(
        self, cell: _Cell, data: dict[str, Any], metadata: dict[str, Any], display_id: str, *, is_update: bool
    ) -> None:
        transient = {"display_id": display_id}
        if cell is self._latest and self._shell.display_pub is not self._publisher:  # %%capture
            self._shell.display_pub.publish(data, metadata, transient=transient, update=is_update)
            return
        for stream in self._streams:
            stream.flush()
        self._publisher.session.send(
            self._publisher.pub_socket,
            "update_display_data" if is_update else "display_data",
            {"data": data, "metadata": metadata, "transient": transient},
            parent=cell.header,
            ident=self._publisher.topic,
        )


@contextlib.contextmanager
def _filed_under(stream: Any, header: _Header | None) -> Iterator[None]:
    """Have what this thread writes to a stream of the kernel's filed under the cell with this header."""
    if hasattr(stream, "set_thread_parent"):
        token, reset = stream.set_thread_parent(header), stream.reset_thread_parent
    elif hasattr(stream, "_parent_header"):  # before ipykernel 7.4: what that call sets, under no public name
        token, reset = stream._parent_header.set(header), stream._parent_header.reset
    else:  # something that captures the text, or a file
        yield
        return
    try:
        yield
    finally:
        reset(token)
