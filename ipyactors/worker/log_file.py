"""The worker's log, and what gets into it by other ways than ``print``.

The log is the process's descriptors 1 and 2. What Python code prints is written by :class:`LogFile` itself, through an
open file of its own: after each write, the position of that file tells exactly where the text lies. Whatever else is
in the log was written by somebody else: programs that the user's code has started, libraries in C, ``os.write``,
forked children. That is found by looking how long the log has become (one ``lseek``, 0.2 µs), in the order in which it
was written, and nobody has to read a pipe for it: the log is whole and on its disk whenever the process dies.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import TextIO, cast

#: Of what others have written between two looks, so much is read from the beginning, and so much from the end.
_READ_AT_MOST = 512 * 1024

#: A position that no log reaches.
_NEVER = 1 << 62

#: Some text that others have written, and how many lines after it were not read.
Found = tuple[str, int]


class LogFile:
    """The log at ``path``, to which descriptors 1 and 2 append. Thread-safe. Raises OSError if it cannot be opened."""

    def __init__(self, path: str) -> None:
        self._writing = os.open(path, os.O_WRONLY | os.O_APPEND)
        self._reading = os.open(path, os.O_RDONLY)
        self._identity = _identity(self._writing)
        self._lock = threading.RLock()
        self._unwritten: deque[bytes] = deque()
        self._is_writing = False
        self._is_reading = False
        #: Everything before this position is known; beyond it, these parts (start, end) are this object's own.
        self._known = self.size()
        self._own: deque[tuple[int, int]] = deque()
        self._decode = codecs.getincrementaldecoder("utf-8")("backslashreplace").decode
        #: Hears up to which position callers have been sent what the log has; the rest is for them if the process dies.
        self.on_sent: Callable[[int], object] = lambda _size: None

    def size(self) -> int:
        """Return how many bytes the log has."""
        return os.lseek(self._reading, 0, os.SEEK_END)  # a third of the price of fstat

    def is_at(self, descriptor: int) -> bool:
        """Return whether a descriptor still leads here: the user's code may have put something else in its place."""
        return _identity(descriptor) == self._identity

    def disown(self) -> None:
        """Leave the log to the parent, in a forked child: the position that tells what is whose, they would share."""
        self._lock = threading.RLock()
        self._identity = (-1, -1)
        self._writing = 2
        self.on_sent = lambda _size: None

    def append(self, data: bytes) -> None:
        """Write to the log what is this process's own. A disk that is full loses it."""
        with self._lock, contextlib.suppress(OSError):
            self._unwritten.append(data)
            if self._is_writing:  # a finalizer or a signal handler that prints has come in between
                return
            self._is_writing = True
            try:
                while self._unwritten:
                    self._write(memoryview(self._unwritten.popleft()))
            finally:
                self._is_writing = False

    def _write(self, data: memoryview) -> None:
        while data:
            count = os.write(self._writing, data)
            end = os.lseek(self._writing, 0, os.SEEK_CUR)
            start, data = end - count, data[count:]
            if self._own and self._own[-1][1] == start:
                self._own[-1] = (self._own[-1][0], end)
            elif start > self._known or self._own:
                self._own.append((start, end))
            else:  # the usual case: nobody else has written. Or somebody has cut the log
                self._known = end

    def note_sent(self, unended: str = "") -> None:
        """Note that callers have been sent what is known of the log, but for an ``unended`` line, its last one."""
        self.on_sent(max(0, self._known - len(unended.encode("utf-8", "backslashreplace"))))

    def skip(self, *, all_to_come: bool = False) -> None:
        """Note that what the log has is for no caller, or ``all_to_come``, until it is noted otherwise."""
        with contextlib.suppress(OSError):
            self.on_sent(_NEVER if all_to_come else self.size())

    # -- what others write -------------------------------------------------------------------------------------

    def has_grown(self) -> bool:
        """Return whether others may have written since :meth:`take` was called; costs a third of a microsecond."""
        try:
            return os.lseek(self._reading, 0, os.SEEK_END) != self._known
        except OSError:
            return False

    def take(self, *, waits: bool = True) -> list[Found]:
        """Return what others have written since it was last called; not ``waits``: nothing, if the log is in use."""
        if not self._lock.acquire(blocking=waits):
            return []
        try:
            if self._is_reading or self._is_writing:  # in between, as above
                return []
            self._is_reading = True
            try:
                return self._take(self.size())
            except OSError:
                return []
            finally:
                self._is_reading = False
        finally:
            self._lock.release()

    def _take(self, size: int) -> list[Found]:
        if size < self._known:  # somebody has cut it
            self._known = size
            self._own.clear()
        found: list[Found] = []
        while self._known < size:
            start = min(self._own[0][0], size) if self._own else size
            if self._known < start:
                found += self._read(self._known, start)
            self._known = self._own.popleft()[1] if start < size else size
        return found

    def _read(self, start: int, end: int) -> list[Found]:
        if end - start <= 2 * _READ_AT_MOST:
            return [(self._text(start, end), 0)]
        first, last = start + _READ_AT_MOST, end - _READ_AT_MOST
        ends = sum(
            os.pread(self._reading, min(_READ_AT_MOST, last - at), at).count(b"\n")
            for at in range(first, last, _READ_AT_MOST)
        )
        # The first of them is the end of the line that breaks off here.
        return [(self._text(start, first) + "\n", max(0, ends - 1)), (self._text(last, end), 0)]

    def _text(self, start: int, end: int) -> str:
        return self._decode(os.pread(self._reading, end - start, start))


#: The log of this process, if it is a worker.
of_process: LogFile | None = None


def open_of_process(path: str) -> LogFile | None:
    """Open the log of this process, a worker; None if it is gone (the session is being removed, say)."""
    global of_process
    with contextlib.suppress(OSError):
        of_process = LogFile(path)
    return of_process


def log_only() -> TextIO:
    """Return what writes to the log, and shows nothing to anybody: for the last words of a worker."""
    return cast("TextIO", _LogOnly()) if of_process is not None else sys.__stderr__  # type: ignore[return-value]


class _LogOnly:
    """As much of a text file as ``print`` needs."""

    def write(self, text: str) -> int:
        assert of_process is not None
        of_process.append(text.encode("utf-8", "backslashreplace"))
        of_process.skip()
        return len(text)

    def flush(self) -> None:
        """Do nothing: all is written."""


def _identity(descriptor: int) -> tuple[int, int]:
    """Return which file it is; (0, 0) if it is closed."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return 0, 0
    return status.st_dev, status.st_ino
