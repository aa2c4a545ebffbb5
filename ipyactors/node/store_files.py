"""The files of a store in the hands of its agent: moved between memory and disk, taken out of the way, removed.

A reader looks for a segment in memory, then on disk, then once more in memory. So a copy has its name before the
original loses it, and no reader finds neither. Copying needs the shared lock, under which readers come and go and a
writer cannot use the memory again. The exclusive one, which refuses readers, is taken only when the copy has its name.

Processes publish and take back segments at any moment. So a name is taken away first and looked at then: was it still
that of the file that was copied? If not, it is given back, the copy goes again, and nothing has happened.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import mmap
import os
import threading
from collections.abc import Iterator
from typing import NamedTuple

from ipyactors.ground import faultpoints
from ipyactors.node.store_moves import Failure
from ipyactors.node.store_table import Places, Shelf
from ipyactors.store import layout, segment
from ipyactors.wire import liveness
from ipyactors.wire.store_messages import MappedFile

_COPY_BYTES = 4 * 1024 * 1024

#: Other temporary files of this process, those of transfers, are numbered from 1.
_FIRST_NUMBER = 1 << 40


class NotMovedError(Exception):
    """Raised when a segment could not be moved; nothing is left of the attempt."""

    def __init__(self, failure: Failure, detail: str = "") -> None:
        super().__init__(detail or failure.value)
        self.failure = failure


class _Copy(NamedTuple):
    """A copy that has its name."""

    path: str
    size: int
    inode: int

    def take_back(self) -> None:
        """Remove it, unless a process has published another file under its name since."""
        if segment.inode_of(self.path) == self.inode:
            segment.unlink(self.path)


class StoreFiles:
    """See the head of this file. Moving is for one thread; everything else may be called from any."""

    def __init__(self, store_dir: str, spill_dir: str) -> None:
        self.store_dir = store_dir
        self.spill_dir = spill_dir
        self._numbers = itertools.count(_FIRST_NUMBER)
        self._identity = liveness.identify(os.getpid()) or liveness.Identity(os.getpid(), 0)
        self._buffer: memoryview | None = None
        self._is_over = threading.Event()

    # -- at once -------------------------------------------------------------------------------------------------

    def places(self, segment_id: bytes) -> Places:
        """Return where there is a file of a segment now."""
        name = layout.name_of(segment_id)
        folders = ((Shelf.ORIGINAL, self.store_dir), (Shelf.DISK, self.spill_dir))
        return tuple([shelf for shelf, folder in folders if os.path.exists(f"{folder}/{name}")])

    def set_aside(self, segment_id: bytes, *, only_spilled: bool = False) -> list[str]:
        """Take a segment's names away; return the names that its files have now, to be removed."""
        aside = []
        for folder in (self.spill_dir,) if only_spilled else (self.store_dir, self.spill_dir):
            temporary = self._temporary(folder)
            with contextlib.suppress(FileNotFoundError):
                os.rename(f"{folder}/{layout.name_of(segment_id)}", temporary)
                aside.append(temporary)
        return aside

    def remove(self, path: str, segment_id: bytes) -> MappedFile | None:
        """Remove a file that was set aside. Takes a while if it is large.

        If it is in shared memory and somebody maps it, it stays, under the name that says so, and is returned.
        """
        with contextlib.suppress(OSError):
            if path.startswith(f"{self.store_dir}/"):
                descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
                try:
                    if not segment.lock(descriptor, fcntl.LOCK_EX):
                        return segment.set_aside(descriptor, path, segment_id)
                    os.unlink(path)
                    _give_back_memory(descriptor)
                finally:
                    os.close(descriptor)
            else:
                os.unlink(path)
        return None

    def path_of(self, file: MappedFile) -> str:
        """Return where the file of a freed segment is that somebody maps."""
        return f"{self.store_dir}/{layout.mapped_name(file.segment_id, file.inode)}"

    # -- copying -------------------------------------------------------------------------------------------------

    def spill(self, segment_id: bytes) -> int:
        """Move a segment to disk; return what it takes there. Raises NotMovedError."""
        name = layout.name_of(segment_id)
        path, target = f"{self.store_dir}/{name}", f"{self.spill_dir}/{name}"
        with _opened(path, os.O_RDWR) as source:
            if _is_mapped(source):
                raise NotMovedError(Failure.BUSY)
            if not segment.lock(source, fcntl.LOCK_SH):
                raise NotMovedError(Failure.GONE)  # its writer takes it back
            copy = self._copy(source, segment_id, path, target)
            faultpoints.hit("store.spill.after_copy")
            # Who has come to read it meanwhile keeps the memory, so nothing would be won.
            is_free = segment.lock(source, fcntl.LOCK_EX)
            if not is_free or not self._retire(source, path):
                copy.take_back()
                raise NotMovedError(Failure.GONE if is_free else Failure.BUSY)
            faultpoints.hit("store.spill.after_unlink")
            _give_back_memory(source)
        return copy.size

    def restore(self, segment_id: bytes) -> int:
        """Move a segment to memory; return what it takes there. Raises NotMovedError."""
        name = layout.name_of(segment_id)
        path, target = f"{self.spill_dir}/{name}", f"{self.store_dir}/{name}"
        with _opened(path, os.O_RDONLY) as source:
            copy = self._copy(source, segment_id, path, target)
            faultpoints.hit("store.restore.after_copy")
            if not self._retire(source, path):
                copy.take_back()
                raise NotMovedError(Failure.GONE)
            faultpoints.hit("store.restore.after_unlink")
        return copy.size

    def close(self) -> None:
        """Have moves end as soon as they can: with a failure."""
        self._is_over.set()

    def _copy(self, source: int, segment_id: bytes, path: str, target: str) -> _Copy:
        """Copy a segment to a file that gets the name ``target``. Raises NotMovedError."""
        header = segment.read_header(source)
        if header is None or header.segment_id != segment_id or segment.inode_of(path) != os.fstat(source).st_ino:
            raise NotMovedError(Failure.GONE)
        size = layout.file_bytes_for(header.layout.total)
        temporary = self._temporary(os.path.dirname(target))
        try:
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                self._fill(source, descriptor, header.layout.total, size)
                inode = os.fstat(descriptor).st_ino
            finally:
                os.close(descriptor)
            faultpoints.hit("store.move.before_name")
            segment.name_once(temporary, target)
        except FileExistsError as error:
            raise NotMovedError(Failure.GONE) from error
        except Exception as error:
            raise NotMovedError(Failure.FULL, f"{target}: {error}") from error
        finally:
            segment.unlink(temporary)
        return _Copy(target, size, inode)

    def _retire(self, source: int, path: str) -> bool:
        """Remove the file that was copied; return False if it is another that has its name now, or none."""
        aside = self._temporary(os.path.dirname(path))
        try:
            os.rename(path, aside)
        except FileNotFoundError:
            return False
        is_ours = segment.inode_of(aside) == os.fstat(source).st_ino
        if not is_ours:
            # Written again since it was last looked at. There may be an even newer one by now.
            with contextlib.suppress(OSError):
                segment.name_once(aside, path)
        segment.unlink(aside)
        return is_ours

    def _fill(self, source: int, descriptor: int, total: int, size: int) -> None:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, size)
        else:
            os.ftruncate(descriptor, size)
        buffer = self._buffer = self._buffer or memoryview(bytearray(_COPY_BYTES))
        done = 0
        while done < total:
            if self._is_over.is_set():
                raise InterruptedError("the session ends")
            count = os.preadv(source, [buffer[: total - done]], done)
            if count == 0:
                raise EOFError(f"the file ends at {done} of {total} bytes")
            written = 0
            while written < count:
                written += os.pwrite(descriptor, buffer[written:count], done + written)
            done += count

    def _temporary(self, folder: str) -> str:
        return f"{folder}/{layout.temporary_name(self._identity, next(self._numbers))}"


def _is_mapped(descriptor: int) -> bool:
    """Return whether somebody has locked the file to read it, without keeping anybody from doing so.

    Where the system does not say, or not all of it, it turns out when the exclusive lock is wanted.
    """
    found = os.fstat(descriptor)
    place = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    try:
        with open("/proc/locks", encoding="ascii") as file:
            return any(place in line.split() for line in file)
    except OSError:
        return False


@contextlib.contextmanager
def _opened(path: str, flags: int) -> Iterator[int]:
    """Open a file; it is unlocked at the end. Raises NotMovedError if there is none."""
    try:
        descriptor = os.open(path, flags | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotMovedError(Failure.GONE) from None
    except OSError as error:
        raise NotMovedError(Failure.FULL, f"{path}: {error}") from error
    try:
        yield descriptor
    finally:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _give_back_memory(descriptor: int) -> None:
    """Free the memory of a file in shared memory that has no name any more, unless somebody reads it.

    Its writer may still have it mapped, to write there again, and would keep the memory until it looks.
    """
    if hasattr(mmap, "MADV_REMOVE") and segment.lock(descriptor, fcntl.LOCK_EX):
        with contextlib.suppress(OSError, ValueError), mmap.mmap(descriptor, 0) as memory:
            memory.madvise(mmap.MADV_REMOVE)
