"""Which calls a worker has begun, what it has said last, whether it means to end: a file that outlives it.

The worker maps the file and writes a number or two before each call starts; no system call, about 0.2 microseconds. The
page cache keeps what was written through any death of the process, SIGKILL included, so that its agent can tell
which calls certainly never ran. It is not meant to survive the machine.

Layout, little-endian: a count of used slots (4 bytes), 1 if the process ends on purpose (4 bytes), the size that the
log had when the latest task began (8 bytes), up to where callers have been sent what the log has (8 bytes), where the
slot is in which was written last (8 bytes); then slots of 16 bytes: a caller's process id and the highest ``seq`` of
its calls that has begun; then room for what was sent last (:mod:`ipyactors.wire.last_words`). The file has a fixed size
and is sparse.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
from collections import OrderedDict

from ipyactors.ground.ids import PROCESS_ID_BYTES
from ipyactors.wire import last_words
from ipyactors.wire.last_words import LastWords, Words

SLOTS = 4096
_HEADER_BYTES = 32
_SLOT_BYTES = 16
_LEAVING_AT = 4
_LOG_START_AT = 8
_LOG_SENT_AT = 16
_LATEST_AT = 24
_WORDS_AT = _HEADER_BYTES + SLOTS * _SLOT_BYTES
FILE_BYTES = _WORDS_AT + last_words.ROOM_BYTES

_HEADER = struct.Struct("<IIQQQ")
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_SLOT = struct.Struct(f"<{PROCESS_ID_BYTES}sQ")


class Marks:
    """The worker's side. One thread at a time may mark; of one caller, only rising numbers."""

    def __init__(self, path: str) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, FILE_BYTES)
            self._map = mmap.mmap(descriptor, FILE_BYTES)
        finally:
            os.close(descriptor)
        #: By caller, longest unheard of first: where its number is.
        self._offsets: OrderedDict[bytes, int] = OrderedDict()
        self._latest = b""
        self._write = _U64.pack_into
        #: What was sent last.
        self.words = LastWords(memoryview(self._map)[_WORDS_AT:])

    def mark(self, caller: bytes, seq: int) -> None:
        """Note that the call ``seq`` of the process ``caller`` (8 bytes) is about to start."""
        offset = self._offsets.get(caller)
        if offset is None:
            self._take_slot(caller, seq)
        else:
            self._write(self._map, offset, seq)
            if caller != self._latest:
                self._offsets.move_to_end(caller)
                self._write(self._map, _LATEST_AT, offset)
        self._latest = caller

    def _take_slot(self, caller: bytes, seq: int) -> None:
        if len(caller) != PROCESS_ID_BYTES:
            raise ValueError(f"a process id has {PROCESS_ID_BYTES} bytes, not {len(caller)}: {caller!r}")
        used = len(self._offsets)
        if used < SLOTS:
            slot = _HEADER_BYTES + used * _SLOT_BYTES
        else:
            # Every slot is taken: the caller that has been silent longest gives up its own. It is the likeliest to be
            # gone; the one that called first is often the driver, and calls on.
            slot = self._offsets.popitem(last=False)[1] - PROCESS_ID_BYTES
        _SLOT.pack_into(self._map, slot, caller, seq)
        self._offsets[caller] = slot + PROCESS_ID_BYTES
        self._write(self._map, _LATEST_AT, slot + PROCESS_ID_BYTES)
        _U32.pack_into(self._map, 0, min(used + 1, SLOTS))  # last: a reader never sees a slot that is half written

    def note_leaving(self) -> None:
        """Note that this process ends on purpose: however it dies from now on, it was meant to."""
        _U32.pack_into(self._map, _LEAVING_AT, 1)

    def note_log(self, size: int) -> None:
        """Note that a task begins, and how many bytes the log has: what is in there was written before it."""
        self._write(self._map, _LOG_START_AT, size)

    def note_sent(self, size: int) -> None:
        """Note that callers have been sent the first ``size`` bytes of the log, or that these are not for them."""
        self._write(self._map, _LOG_SENT_AT, size)

    def close(self) -> None:
        """Unmap; the file stays for the agent to read and remove."""
        self.words.release()
        with contextlib.suppress(BufferError):
            self._map.close()


def read_marks(path: str) -> dict[bytes, int]:
    """Return the highest begun ``seq`` per caller; empty if the worker died before it made the file."""
    data = _read(path)
    used = min(_HEADER.unpack_from(data)[0], SLOTS, (len(data) - _HEADER_BYTES) // _SLOT_BYTES)
    end = _HEADER_BYTES + used * _SLOT_BYTES
    return dict(_SLOT.iter_unpack(data[_HEADER_BYTES:end]))


def was_leaving(path: str) -> bool:
    """Return whether the process was ending on purpose when it died."""
    return bool(_HEADER.unpack_from(_read(path))[1])


def log_start(path: str) -> int:
    """Return where in the worker's log the lines of its latest task begin (bytes); 0 if it ran none."""
    return int(_HEADER.unpack_from(_read(path))[2])


def log_sent(path: str) -> int:
    """Return where in the worker's log begins what its callers have not been sent (bytes)."""
    data = _read(path)
    return max(int(_HEADER.unpack_from(data)[2]), int(_HEADER.unpack_from(data)[3]))


def last_begun(path: str) -> tuple[bytes, int]:
    """Return whose call began last, and its ``seq``; (b"", 0) if none began."""
    data = _read(path)
    at = _HEADER.unpack_from(data)[4] - PROCESS_ID_BYTES
    if not _HEADER_BYTES <= at <= len(data) - _SLOT_BYTES:
        return b"", 0
    caller, seq = _SLOT.unpack_from(data, at)
    return caller, seq


def read_words(path: str) -> list[Words]:
    """Return what the worker has sent last, oldest first."""
    return last_words.read(_read(path)[_WORDS_AT:])


def _read(path: str) -> bytes:
    """Return the file; an empty one with a header if there is none, or the worker died while it made it."""
    try:
        with open(path, "rb") as file:
            data = file.read(FILE_BYTES)
    except FileNotFoundError:
        data = b""
    return data if len(data) >= _HEADER_BYTES else bytes(_HEADER_BYTES)
