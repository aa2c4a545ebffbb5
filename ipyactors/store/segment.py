"""A segment's file in the hands of its writer: made, filled, published, taken back.

Nobody else sees a file under its temporary name. A *fresh* one is written with ``pwrite``: of memory that does not
exist yet, that is a third faster than through a mapping (41 against 64 ms for 100 MB), other threads run meanwhile,
and no descriptor stays open. One that is used *again* is written through a mapping that is kept from then on; that
costs 30 ms once, for entering its pages, and 5 ms from then on.

Memory is allocated before anything is written, so a full file system is an error here and not a SIGBUS at the first
touch. A published file is neither resized nor written.

Readers hold a shared ``flock`` for as long as they map a file. Who takes one back must get the exclusive lock, and
keeps it until the file is a whole segment again: a reader that had opened the file under its old name and comes to lock
it late is refused, or finds another segment's header. The lock is given up by ``LOCK_UN``, because closing does not
release it while a forked child has the descriptor too.

A freed segment that somebody maps keeps its memory until the last view goes. It is *set aside* until then, under a name
that says whose memory it is: what has a name can be counted, and looked at again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
from collections.abc import Callable, Sequence

from ipyactors.ground import faultpoints
from ipyactors.ground.files import allocate
from ipyactors.store import layout
from ipyactors.store.layout import Header
from ipyactors.wire.store_messages import MappedFile

#: Between chunks, threads take turns (copying into a mapping keeps the others waiting) and an interrupt is heard.
_COPY_BYTES = 4 * 1024 * 1024
_WRITE_BYTES = 64 * 1024 * 1024

#: What is read at first to find a header with its table; more buffers than fit are rare.
_HEAD_BYTES = 4096

#: What says that there is no room for a file or a mapping.
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EFBIG})
OUT_OF_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE})

_NO_MAGIC = bytes(len(layout.MAGIC))


class Draft:
    """An unpublished file, ``temporary`` its path. One thread at a time. ``inode`` is 0 if it is fresh."""

    __slots__ = ("_is_locked", "descriptor", "file_bytes", "inode", "mapping", "temporary")

    def __init__(self, temporary: str, descriptor: int = -1, file_bytes: int = 0, inode: int = 0) -> None:
        self.temporary = temporary
        self.descriptor = descriptor
        self.file_bytes = file_bytes
        self.inode = inode
        self.mapping: mmap.mmap | None = None
        self._is_locked = descriptor >= 0

    def create(self) -> None:
        """Make the file."""
        faultpoints.hit("store.write.before_open")
        self.descriptor = os.open(self.temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        faultpoints.hit("store.write.after_open")

    def reserve(self, size: int) -> None:
        """See to it that ``size`` bytes have memory. Raises OSError if there is no room."""
        if size > self.file_bytes:
            faultpoints.hit("store.write.before_fallocate")
            self.mapping = None  # it is too short
            allocate(self.descriptor, self.file_bytes, size - self.file_bytes)
            self.file_bytes = size
            faultpoints.hit("store.write.after_fallocate")

    def map_again(self) -> None:
        """Map a file that has memory already, if that can be had; without, it is written like a fresh one."""
        if self.mapping is None:
            with contextlib.suppress(OSError):
                self.mapping = mmap.mmap(self.descriptor, self.file_bytes)

    def fill(self, header: Header, data: bytes, buffers: Sequence[memoryview]) -> None:
        """Write a whole segment, the header last."""
        if self.mapping is None:
            self._fill(header, data, buffers, self._write)
        else:
            with memoryview(self.mapping) as target:
                self._fill(header, data, buffers, lambda at, source: _copy(target, at, source))

    def _fill(
        self, header: Header, data: bytes, buffers: Sequence[memoryview], put: Callable[[int, memoryview], None]
    ) -> None:
        faultpoints.hit("store.write.before_data")
        put(header.layout.data[0], memoryview(data))
        for (offset, _), buffer in zip(header.layout.buffers, buffers, strict=True):
            put(offset, buffer)
        faultpoints.hit("store.write.before_header")
        put(0, memoryview(layout.pack(header)))
        faultpoints.hit("store.write.after_header")

    def _write(self, at: int, source: memoryview) -> None:
        done = 0
        while done < len(source):
            done += os.pwrite(self.descriptor, source[done : done + _WRITE_BYTES], at + done)

    def publish(self, path: str) -> None:
        """Give the file its name, in the place of one that has it, and close it; the mapping stays."""
        if self._is_locked:
            # Before the rename: a reader that knows the name already must not be refused.
            fcntl.flock(self.descriptor, fcntl.LOCK_UN)
            self._is_locked = False
        faultpoints.hit("store.write.before_rename")
        os.rename(self.temporary, path)
        faultpoints.hit("store.write.after_rename")
        self.close()

    def discard(self, path: str = "") -> None:
        """Remove the file; ``path`` is where it may have been published a moment ago."""
        try:
            os.unlink(self.temporary)
        except FileNotFoundError:
            with contextlib.suppress(FileNotFoundError):
                if path and self.descriptor >= 0 and inode_of(path) == os.fstat(self.descriptor).st_ino:
                    os.unlink(path)
        self.close()
        self.mapping = None

    def close(self) -> None:
        """Close the descriptor; the file and the mapping stay."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def take(path: str, temporary: str, segment_id: bytes, writer: tuple[int, int]) -> Draft | MappedFile | None:
    """Take back a segment that ``writer`` wrote: give it a temporary name, under the exclusive lock.

    If somebody maps it, it is set aside, whoever wrote it. None if it is not there, or another process's and not mapped
    (it stays).
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        if not lock(descriptor, fcntl.LOCK_EX):
            return set_aside(descriptor, path, segment_id)
        header = read_header(descriptor)
        if header is None or header.segment_id != segment_id or header.writer != writer:
            return None
        faultpoints.hit("store.recycle.before_rename")
        try:
            os.rename(path, temporary)
        except FileNotFoundError:  # somebody has unlinked it since it was opened
            return None
        faultpoints.hit("store.recycle.after_rename")
        status = os.fstat(descriptor)
        if inode_of(temporary) != status.st_ino:  # it was written again since, by another process
            return None
        os.pwrite(descriptor, _NO_MAGIC, 0)
        faultpoints.hit("store.recycle.after_clear")
        draft = Draft(temporary, descriptor, status.st_size, status.st_ino)
        descriptor = -1
        return draft
    finally:
        if descriptor >= 0:
            unlink(temporary)
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)


def set_aside(descriptor: int, path: str, segment_id: bytes) -> MappedFile | None:
    """Give an open file of shared memory that somebody maps the name that says so; ``path`` is the name that it has.

    None if it has that name no more: it was removed since it was opened, or the segment was written again.
    """
    status = os.fstat(descriptor)
    target = f"{os.path.dirname(path)}/{layout.mapped_name(segment_id, status.st_ino)}"
    try:
        os.rename(path, target)
    except FileNotFoundError:
        return None
    if inode_of(target) != status.st_ino:
        with contextlib.suppress(OSError):
            name_once(target, path)
        unlink(target)
        return None
    return MappedFile(segment_id, status.st_ino, status.st_size)


def is_mapped(path: str) -> bool:
    """Return whether there is a file that somebody maps; True also where that cannot be found out just now."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        if not lock(descriptor, fcntl.LOCK_EX):
            return True
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        return False
    finally:
        os.close(descriptor)


def lock(descriptor: int, kind: int) -> bool:
    """Lock an open file, shared or exclusive, without waiting. Return False if others' locks forbid it."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def unlink(path: str) -> bool:
    """Remove a file. Return False if there is none."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True


def name_once(temporary: str, path: str) -> None:
    """Give a file its name, but never in the place of one that has it; the temporary name may stay, too.

    For who is not the segment's writer: a process may have written it meanwhile, and goes on to count on that memory.
    Raises FileExistsError.
    """
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if os.path.exists(path):
            raise FileExistsError(path) from None
        os.rename(temporary, path)


def inode_of(path: str) -> int:
    """Return the number of the file that has this name now; 0 if there is none."""
    try:
        return os.stat(path).st_ino
    except FileNotFoundError:
        return 0


def read_header(descriptor: int) -> Header | None:
    """Return the header of an open file; None if there is no whole segment in it."""
    head = os.pread(descriptor, _HEAD_BYTES, 0)
    file_bytes = os.fstat(descriptor).st_size
    if len(head) < layout.head_bytes(head) <= file_bytes:
        head = os.pread(descriptor, layout.head_bytes(head), 0)
    return layout.parse(head, file_bytes)


def _copy(target: memoryview, at: int, source: memoryview) -> None:
    for start in range(0, len(source), _COPY_BYTES):
        chunk = source[start : start + _COPY_BYTES]
        target[at + start : at + start + len(chunk)] = chunk
