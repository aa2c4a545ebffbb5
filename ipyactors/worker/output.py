"""What the user's code prints: into this worker's log, and to the caller whose call printed it.

The log is the process's descriptors 1 and 2; it gets everything, as it is written, also from other processes that
the code starts. Callers get whole lines, each named by its call, before the call's answer. A call that floods does
not drown its caller: beyond 2,000 lines a second the rest is in the log only, and the caller is told so.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from ipyactors.ground.tracebacks import clean
from ipyactors.owner import current
from ipyactors.wire.codec import Message
from ipyactors.wire.interrupts import deferred
from ipyactors.wire.worker_messages import OutputWritten

LINE_AT_MOST = 64 * 1024
LINES_PER_S = 2000
_WINDOW_S = 1.0

#: Lines printed before any caller is known (by a constructor, say) wait for the first one, up to this many texts.
_HELD_AT_MOST = 1000

#: Names one writer: the caller, its ``seq`` (0 for no call), and the stream.
_Key = tuple[bytes, int, int]


class _Piece:
    """What one call has printed on one stream and not yet ended with a newline, and its rate."""

    __slots__ = ("left_out", "lines", "since_s", "source", "text")

    def __init__(self, source: str) -> None:
        self.source = source
        self.text = ""
        self.since_s = 0.0
        self.lines = 0
        self.left_out = 0


class Output:
    """Collects what is printed and sends it to callers. Thread-safe.

    ``is_silent``: what is written is dropped. ``send`` queues a message for a caller
    (:meth:`ipyactors.worker.answers.Answers.add`). ``source`` is what an actor's lines are named by; a task's are named
    by the task.
    """

    def __init__(
        self,
        send: Callable[[bytes, Message], None],
        source: str = "",
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._send = send
        self._source = source
        self._monotonic = monotonic
        self._lock = threading.RLock()
        self._held: deque[OutputWritten] = deque(maxlen=_HELD_AT_MOST)
        self._posted: deque[tuple[bytes, OutputWritten]] = deque()
        self._streams: tuple[CallStream, ...] = ()
        self._is_child = False
        self.is_silent = False
        self.last_caller = b""
        #: Writers with something to say at the end of their call; empty for calls that print nothing.
        self.open: dict[_Key, _Piece] = {}

    def install(self) -> None:
        """Take ``sys.stdout`` and ``sys.stderr`` over."""
        self._streams = sys.stdout, sys.stderr = CallStream(self, 1), CallStream(self, 2)
        os.register_at_fork(after_in_child=self._after_fork)

    def _after_fork(self) -> None:
        """In a child of the user's own making: write to the log only, the sockets belong to the parent."""
        self._is_child = True

    @contextlib.contextmanager
    def silenced(self, *, when: bool = True) -> Iterator[None]:
        """Drop what is printed meanwhile, in the log too: it is a replay, and was printed before."""
        self.is_silent = when
        try:
            yield
        finally:
            self.is_silent = False

    def write(self, stream: int, text: str) -> None:
        """Take ``text`` that the code running here has written."""
        if self._is_child:
            return
        call = current.call.get()
        with self._lock:
            is_known = call is not None and call.caller and call.seq  # else nobody waits for it by its number
            key = (call.caller, call.seq, stream) if call is not None and is_known else (b"", 0, stream)
            piece = self.open.get(key)
            if piece is None:
                piece = self.open[key] = _Piece(self._source or (call.name if call is not None else "worker"))
            whole, newline, rest = (piece.text + text).rpartition("\n")
            piece.text = rest
            if newline:
                self._pass_on(key, piece, whole.split("\n"))
            if len(piece.text) > LINE_AT_MOST:
                line, piece.text = piece.text, ""
                self._pass_on(key, piece, [line])
        self._send_posted()

    def end_call(self, caller: bytes, seq: int) -> None:
        """Send what the call has left over, and have it in the log; call it before the call's answer."""
        for written in self._streams:
            written.flush()
        with self._lock:
            for stream in (1, 2):
                key = (caller, seq if caller else 0, stream)
                piece = self.open.pop(key, None)
                if piece is not None:
                    self._finish(key, piece)
        self._send_posted()

    def end_all(self) -> None:
        """Send everything that is left over; before the process ends."""
        with self._lock:
            for key, piece in self.open.items():
                self._finish(key, piece)
            self.open.clear()
        self._send_posted()

    def greet(self, caller: bytes) -> None:
        """Note who called last; the first one gets what was printed before anyone called."""
        self.last_caller = caller
        while self._held:
            self._posted.append((caller, self._held.popleft()))
        self._send_posted()

    def _send_posted(self) -> None:
        # Outside the lock: a finalizer that prints while its thread holds the session's lock must not meet a thread
        # that holds ours and wants the session's.
        while self._posted:
            with contextlib.suppress(IndexError):
                self._send(*self._posted.popleft())

    # -- under the lock ----------------------------------------------------------------------------------------

    def _finish(self, key: _Key, piece: _Piece) -> None:
        if piece.text:
            text, piece.text = piece.text, ""
            self._pass_on(key, piece, [text])
        self._tell_left_out(key, piece)

    def _pass_on(self, key: _Key, piece: _Piece, lines: list[str]) -> None:
        now = self._monotonic()
        if now - piece.since_s >= _WINDOW_S:
            self._tell_left_out(key, piece)
            piece.since_s, piece.lines = now, 0
        room = LINES_PER_S - piece.lines
        if len(lines) > room:
            piece.left_out += len(lines) - room
            lines = lines[:room]
        if lines:
            piece.lines += len(lines)
            self._post(key, piece, "".join(_cut(line) + "\n" for line in lines))

    def _tell_left_out(self, key: _Key, piece: _Piece) -> None:
        if piece.left_out:
            count, piece.left_out = piece.left_out, 0
            self._post(
                key, piece, f"... {count} more lines are only in the worker's log: over {LINES_PER_S} lines a second\n"
            )

    def _post(self, key: _Key, piece: _Piece, text: str) -> None:
        caller, seq, stream = key
        message = OutputWritten(seq, piece.source, stream, clean(text))
        if caller or self.last_caller:
            self._posted.append((caller or self.last_caller, message))
        else:
            self._held.append(message)


def log_size() -> int:
    """Return how many bytes the log has; 0 if the user's code has put something else in its place."""
    try:
        # A third of the price of fstat; where the log is written to does not depend on its position.
        return os.lseek(2, 0, os.SEEK_END)
    except OSError:
        return 0


def _cut(line: str) -> str:
    if len(line) <= LINE_AT_MOST:
        return line
    return f"{line[:LINE_AT_MOST]}... [cut: the line has {len(line)} characters]"


class CallStream(io.TextIOBase):
    """Stands for ``sys.stdout`` (``stream`` 1) or ``sys.stderr`` (2) in a worker.

    The log, which is ``descriptor`` (by default the one of the same number), has each line as soon as it ends.
    """

    def __init__(self, output: Output, stream: int, descriptor: int | None = None) -> None:
        super().__init__()
        if descriptor is None:
            descriptor = stream
        self._output = output
        self._stream = stream
        self._descriptor = descriptor
        self._log_lock = threading.RLock()
        self._unwritten: list[str] = []
        self.name = "<stdout>" if stream == 1 else "<stderr>"
        self.mode = "w"
        self.buffer = io.FileIO(descriptor, "wb", closefd=False)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """UTF-8, whatever the locale says."""
        return "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        """Lone surrogates are written as escapes."""
        return "backslashreplace"

    @property
    def line_buffering(self) -> bool:
        """True."""
        return True

    def write(self, text: str, /) -> int:
        """Write ``text``; return its length."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if text and not self._output.is_silent:
            with deferred():
                with self._log_lock:
                    self._unwritten.append(text)
                    if "\n" in text or len(self._unwritten) > 1000:
                        self._write_log()
                self._output.write(self._stream, text)
        return len(text)

    def flush(self) -> None:
        """Write what is buffered to the log."""
        with deferred(), self._log_lock:
            self._write_log()

    def _write_log(self) -> None:
        data = memoryview("".join(self._unwritten).encode("utf-8", "backslashreplace"))
        self._unwritten.clear()
        with contextlib.suppress(OSError):  # a full disk must not fail the call that prints
            while data:
                data = data[os.write(self._descriptor, data) :]

    def fileno(self) -> int:
        """Return the log's descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Return False."""
        return False

    def writable(self) -> bool:
        """Return True."""
        return True

    def reconfigure(self, **_options: Any) -> None:
        """Do nothing: the encoding and the buffering are fixed."""

    def close(self) -> None:
        """Flush; the stream stays usable."""
        self.flush()
