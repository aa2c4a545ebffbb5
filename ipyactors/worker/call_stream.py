"""What stands for ``sys.stdout`` and ``sys.stderr`` in a worker: to the log at once, and to whoever looks on."""

from __future__ import annotations

import contextlib
import io
import os
import threading
from typing import Any, Protocol

from ipyactors.wire.interrupts import deferred
from ipyactors.worker.log_file import LogFile


class Sink(Protocol):
    """What takes the text beside the log: :class:`ipyactors.worker.output.Output`."""

    is_silent: bool
    log: LogFile | None

    def write(self, stream: int, text: str) -> None:
        """Take what was written to standard output (1) or error (2)."""
        ...


class CallStream(io.TextIOBase):
    """Stands for ``sys.stdout`` (``stream`` 1) or ``sys.stderr`` (2) in a worker.

    The log, which is ``descriptor`` (by default the one of the same number), has each line as soon as it ends.
    """

    def __init__(self, output: Sink, stream: int, descriptor: int | None = None) -> None:
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
        text = "".join(self._unwritten).encode("utf-8", "backslashreplace")
        self._unwritten.clear()
        log = self._output.log
        if log is not None and log.is_at(self._descriptor):
            log.append(text)
            return
        data = memoryview(text)
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
