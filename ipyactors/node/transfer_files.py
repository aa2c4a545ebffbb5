"""The files behind transfers: segments that are being received, and segments that are being served.

Both are used by threads of their own, one each (``hands.py``), and turn what goes wrong into facts. What is received is
written to a temporary file of this process and gets the segment's name when all of it is there, unless a process of
this machine has made the segment itself in the meantime.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import logging
import os
import zlib
from collections import OrderedDict
from typing import TypeAlias

from ipyactors.ground import faultpoints
from ipyactors.node.pulls import CHUNK_BYTES
from ipyactors.store import layout, segment
from ipyactors.wire import liveness
from ipyactors.wire.store_messages import ReadSegment, SegmentChunk

_log = logging.getLogger(__name__)

#: So many files are kept open for readers; when another is wanted, the one that was wanted least lately is closed.
_KEPT_OPEN = 32

#: What is read at first to tell the segment's version; a header with its table is rarely longer.
_HEAD_BYTES = 4096


@dataclasses.dataclass(slots=True, frozen=True)
class PieceWritten:
    """A piece is in its file."""

    number: int
    offset: int


@dataclasses.dataclass(slots=True, frozen=True)
class FilePublished:
    """A file has the segment's name; ``size`` is what it takes. ``is_ours`` is not set if another file had the name."""

    number: int
    segment_id: bytes
    size: int
    is_spilled: bool
    is_ours: bool


@dataclasses.dataclass(slots=True, frozen=True)
class FileFailed:
    """A file could not be written, and was removed; ``is_full`` if there was no room."""

    number: int
    detail: str
    is_full: bool


@dataclasses.dataclass(slots=True, frozen=True)
class PieceRead:
    """A piece for a reader, as it is to be sent."""

    reader_id: bytes
    chunk: SegmentChunk


FileFact: TypeAlias = PieceWritten | FilePublished | FileFailed | PieceRead


# -- receiving -------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(slots=True)
class _Part:
    """A file that is being received: ``temporary`` is its name until it has the segment's, which is ``path``."""

    segment_id: bytes
    temporary: str
    path: str
    is_spilled: bool
    descriptor: int
    is_published: bool = False


class Incoming:
    """Segments on their way to this machine's store, by the number of their pull."""

    def __init__(self, store_dir: str, spill_dir: str) -> None:
        self._store_dir = store_dir
        self._spill_dir = spill_dir
        self._writer = liveness.identify(os.getpid()) or liveness.Identity(os.getpid(), 0)
        self._parts: dict[int, _Part] = {}

    def create(self, number: int, segment_id: bytes, *, spill: bool) -> list[FileFact]:
        """Begin a file."""
        folder = self._spill_dir if spill else self._store_dir
        temporary = f"{folder}/{layout.temporary_name(self._writer, number)}"
        path = f"{folder}/{layout.name_of(segment_id)}"
        try:
            faultpoints.hit("transfer.before_open")
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except Exception as error:
            return [_failure(number, temporary, error)]
        self._parts[number] = _Part(segment_id, temporary, path, spill, descriptor)
        return []

    def write(self, number: int, offset: int, data: memoryview) -> list[FileFact]:
        """Write a piece; memory is allocated by that, so a full file system is an error and not a SIGBUS."""
        part = self._parts.get(number)
        if part is None:
            return []
        try:
            faultpoints.hit("transfer.before_write")
            done = 0
            while done < len(data):
                done += os.pwrite(part.descriptor, data[done:], offset + done)
        except Exception as error:
            self._remove(number)
            return [_failure(number, part.temporary, error)]
        return [PieceWritten(number, offset)]

    def publish(self, number: int) -> list[FileFact]:
        """Give the file its name, unless there is one that has it. The file is as long as whole pages are."""
        part = self._parts.get(number)
        if part is None:
            return []
        try:
            size = layout.file_bytes_for(os.fstat(part.descriptor).st_size)
            os.ftruncate(part.descriptor, size)
            faultpoints.hit("transfer.before_publish")
            with contextlib.suppress(FileExistsError):
                segment.name_once(part.temporary, part.path)
                part.is_published = True
            segment.unlink(part.temporary)
            faultpoints.hit("transfer.after_publish")
        except Exception as error:
            self._remove(number)
            return [_failure(number, part.temporary, error)]
        return [FilePublished(number, part.segment_id, size, part.is_spilled, part.is_published)]

    def finish(self, number: int) -> list[FileFact]:
        """Forget a file that was published and is wanted."""
        part = self._parts.pop(number, None)
        if part is not None:
            os.close(part.descriptor)
        return []

    def abandon(self, number: int) -> list[FileFact]:
        """Remove a file, if there is one."""
        self._remove(number)
        return []

    def close(self) -> None:
        """Remove every file that is not published."""
        for number in list(self._parts):
            self._remove(number)

    def _remove(self, number: int) -> None:
        part = self._parts.pop(number, None)
        if part is None:
            return
        with contextlib.suppress(OSError):
            segment.unlink(part.temporary)
            # By now the name may be that of a file that a process of this machine has written.
            if part.is_published and segment.inode_of(part.path) == os.fstat(part.descriptor).st_ino:
                segment.unlink(part.path)
        os.close(part.descriptor)


def _failure(number: int, path: str, error: Exception) -> FileFailed:
    """Return what went wrong with a file."""
    if isinstance(error, OSError) and error.errno in segment.FULL:
        return FileFailed(number, f"there is no room for it in {os.path.dirname(path)} ({error.strerror})", True)
    _log.warning("a segment could not be received into %s", path, exc_info=error)
    return FileFailed(number, f"it could not be written on this machine: {error!r}", False)


# -- serving ---------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(slots=True)
class _Served:
    """A segment's open file, under the lock that keeps its memory from being used again."""

    descriptor: int
    total: int
    version: int


class Outgoing:
    """Segments that other machines read. A file is opened when the first piece is wanted, and then kept open."""

    def __init__(self, store_dir: str, spill_dir: str) -> None:
        # A segment that is not in memory may be on disk; if it is not there either, it may have been brought back.
        self._folders = (store_dir, spill_dir, store_dir)
        self._files: OrderedDict[bytes, _Served] = OrderedDict()

    def read(self, reader_id: bytes, message: ReadSegment) -> list[FileFact]:
        """Read a piece, with its checksum; what there is of it, if the segment ends before."""
        segment_id, offset = message.segment_id, message.offset
        try:
            found = self._open(segment_id)
            data = b"" if found is None else _read(found, offset, message.length)
        except Exception:
            _log.warning("segment %s could not be read for another machine", segment_id.hex(), exc_info=True)
            self.forget(segment_id)
            found = None
        if found is None:
            return [PieceRead(reader_id, SegmentChunk(segment_id, offset, -1, 0, memoryview(b"")))]
        chunk = SegmentChunk(segment_id, offset, found.total, zlib.crc32(data), memoryview(data), found.version)
        return [PieceRead(reader_id, chunk)]

    def forget(self, segment_id: bytes) -> list[FileFact]:
        """Close a file."""
        found = self._files.pop(segment_id, None)
        if found is not None:
            os.close(found.descriptor)
        return []

    def close(self) -> None:
        """Close every file."""
        for segment_id in list(self._files):
            self.forget(segment_id)

    def _open(self, segment_id: bytes) -> _Served | None:
        found = self._files.get(segment_id)
        if found is not None:
            self._files.move_to_end(segment_id)
            return found
        try:
            found = self._find(segment_id)
        except OSError as error:
            if error.errno not in segment.OUT_OF_DESCRIPTORS or not self._files:
                raise
            self.close()
            found = self._find(segment_id)
        if found is not None:
            self._files[segment_id] = found
            if len(self._files) > _KEPT_OPEN:
                self.forget(next(iter(self._files)))
        return found

    def _find(self, segment_id: bytes) -> _Served | None:
        name = layout.name_of(segment_id)
        return next(filter(None, (_open_segment(f"{folder}/{name}", segment_id) for folder in self._folders)), None)


def _read(found: _Served, offset: int, length: int) -> bytes:
    """Return a piece of a file. Raises OSError."""
    faultpoints.hit("transfer.before_read")
    length = max(0, min(length, CHUNK_BYTES, found.total - offset))
    data = os.pread(found.descriptor, length, offset)
    if len(data) < length:
        raise OSError(errno.EIO, f"the file has {len(data)} of {length} bytes at {offset}")
    return data


def _open_segment(path: str, segment_id: bytes) -> _Served | None:
    """Open and lock a file; None if there is none, or not that segment in it (any more)."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        header = segment.read_header(descriptor) if segment.lock(descriptor, fcntl.LOCK_SH) else None
        if header is None or header.segment_id != segment_id:
            return None
        head = os.pread(descriptor, min(_HEAD_BYTES, header.layout.total), 0)
        found = _Served(descriptor, header.layout.total, zlib.crc32(head[: layout.head_bytes(head)]))
        descriptor = -1
        return found
    finally:
        if descriptor >= 0:
            os.close(descriptor)
