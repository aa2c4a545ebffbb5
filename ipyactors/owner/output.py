"""What calls print and display, shown in a terminal: each line behind the name of the task or actor that wrote it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from typing import TextIO

from ipyactors.wire.worker_messages import DisplayWritten, Written

#: A bar that has not moved for so long makes place for another one.
_STILL_AT_MOST_S = 10.0

#: Back to the start of the line, and the line is empty.
_ERASE = "\r\x1b[K"


def with_prefix(source: str, text: str) -> str:
    """Return ``text`` with ``(source) `` before each line, and a newline after the last one."""
    prefix = f"({source}) " if source else ""
    return "".join(f"{prefix}{line}\n" for line in text.splitlines())


def is_interactive() -> bool:
    """Return whether somebody looks on, to whom things that move are shown; not with ``IPYACTORS_NONINTERACTIVE=1``."""
    return os.environ.get("IPYACTORS_NONINTERACTIVE") != "1"


class _Bars:
    """Lines that are written over again and again: a terminal has place for one, that of the call that began first.

    One that has not moved for a while makes place for others: its worker may be dead.
    """

    def __init__(self) -> None:
        self._open: dict[bytes, str] = {}
        self._moved_s: dict[bytes, float] = {}
        self._is_drawn = False

    def move(self, stream: TextIO, block_id: bytes, text: str) -> None:
        """Draw the last line of a block, if it is the one that is shown."""
        now_s = time.monotonic()
        self._open[block_id], self._moved_s[block_id] = text, now_s
        while now_s - self._moved_s[first := next(iter(self._open))] > _STILL_AT_MOST_S:
            self.end(first)
        if next(iter(self._open)) == block_id:
            self._draw(stream)

    def end(self, block_id: bytes) -> None:
        """Forget a block."""
        self._open.pop(block_id, None)
        self._moved_s.pop(block_id, None)

    def print(self, stream: TextIO, text: str) -> None:
        """Write whole lines above the one that moves."""
        stream.write(_ERASE + text if self._is_drawn else text)
        self._is_drawn = False
        if self._open and stream.isatty():
            self._draw(stream)
        stream.flush()

    def _draw(self, stream: TextIO) -> None:
        last = next(iter(self._open.values())).splitlines()[-1:]
        if last and stream.isatty() and is_interactive():
            stream.write(_ERASE + last[0][: shutil.get_terminal_size().columns - 1])
            stream.flush()
            self._is_drawn = True


_bars = _Bars()

_erasers: list[Callable[[], object]] = []


def erase_before_lines(erase: Callable[[], object]) -> Callable[[], None]:
    """Have ``erase()`` take a line of this process's own off the terminal before others are printed; return its end.

    It is called on the thread that prints. Whoever draws that line draws it again.
    """
    _erasers.append(erase)
    return lambda: _erasers.remove(erase)


def show_in_terminal(written: Written, _scope: int = 0) -> None:
    """Write to this process's standard output or error, whichever the call wrote to. One thread at a time.

    Lines that are written over again and again move at the bottom of a terminal; what they are at the end stays, and
    goes to a file too. Of what is displayed, its text is shown.
    """
    for erase in tuple(_erasers):
        with contextlib.suppress(Exception):
            erase()
    if isinstance(written, DisplayWritten):
        text, stream = json.loads(written.bundle)["data"].get("text/plain", ""), sys.stdout
    else:
        text, stream = written.text, sys.stderr if written.stream == 2 else sys.stdout
        if written.block_id:
            if not text.endswith("\n"):
                if stream is not None:
                    _bars.move(stream, written.block_id, with_prefix(written.source, text))
                return
            _bars.end(written.block_id)
            text = text if is_interactive() else ""
    if stream is not None and text:
        _bars.print(stream, with_prefix(written.source, text))


def show_nothing(_written: Written, _scope: int = 0) -> None:
    """Drop it; the worker's log has what was printed."""


_front_end: Callable[[Written, int], None] = show_in_terminal


def front_end() -> Callable[[Written, int], None]:
    """Return what a session of this process shows with, unless it is told otherwise."""
    return _front_end


def set_front_end(show: Callable[[Written, int], None]) -> None:
    """Have sessions that start from now on show with ``show(written, scope)``; see ``Traffic.on_output``."""
    global _front_end
    _front_end = show
