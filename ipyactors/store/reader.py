"""The reading side of a machine's store, in one process: segments are mapped where they are, read-only.

The views are read-only; the mapping is private and could be written. Code that cares for no flag (torch has none, nor
has much that is written in C) then writes to pages of this process, which nobody else sees and which the file never
gets, where it would end the process otherwise. Pages that nobody writes to are the file's: one copy for all.

A mapping lives as long as any view of it does, whatever becomes of the reference, the reader, or the file's name. So
long its writer does not use the memory again (see ``store/segment.py``): a shared lock that belongs to the mapping
sees to that. All who open a segment while it is mapped in this process share the mapping.

Each mapping holds a descriptor. When half of what this process may open are mappings, or there are no descriptors left
at all, segments are copied instead, under the lock: slower, and as good.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import resource
import threading
import weakref

from ipyactors.store import layout, segment
from ipyactors.store.layout import Header

_COPY_BYTES = 4 * 1024 * 1024


class _Mapping(mmap.mmap):
    """The memory of a segment: its file's, or a copy. ``is_write_fatal``: writing to it would end the process."""

    header: Header
    is_spilled: bool
    is_write_fatal = False


class Mapped:
    """A segment that is mapped: ``data`` is the pickle, ``buffers`` its out-of-band buffers, all read-only.

    The views, and what is made of them, may be kept longer than this. ``is_spilled``: it was found on disk.
    """

    __slots__ = ("buffers", "data", "is_spilled")

    def __init__(self, mapping: _Mapping) -> None:
        view = memoryview(mapping).toreadonly()
        offset, length = mapping.header.layout.data
        self.data = view[offset : offset + length]
        self.buffers = tuple([view[start : start + size] for start, size in mapping.header.layout.buffers])
        self.is_spilled = mapping.is_spilled


class Reader:
    """Opens segments. From any thread; in a forked child it goes on with what the parent had mapped."""

    def __init__(self, store_dir: str, spill_dir: str) -> None:
        # A segment that is not in memory may be on disk; if it is not there either, it may have been brought back.
        self._places = ((store_dir, False), (spill_dir, True), (store_dir, False))
        self._mappings: weakref.WeakValueDictionary[bytes, _Mapping] = weakref.WeakValueDictionary()
        self._spare = _Spare(store_dir)

    def open(self, segment_id: bytes) -> Mapped | None:
        """Map a segment that is on this machine; None if it is not."""
        mapping = self._mappings.get(segment_id)
        if mapping is None:
            mapping = self._find(segment_id)
            if mapping is None:
                return None
            self._mappings[segment_id] = mapping
        return Mapped(mapping)

    def _find(self, segment_id: bytes) -> _Mapping | None:
        name = layout.name_of(segment_id)
        for folder, is_spilled in self._places:
            try:
                descriptor = self._spare.open(f"{folder}/{name}")
            except FileNotFoundError:
                continue
            try:
                # On disk no memory is used again, so nothing needs to be locked there.
                mapping = self._map(descriptor, segment_id) if is_spilled or _lock(descriptor) else None
            finally:
                os.close(descriptor)
                self._spare.restore()
            if mapping is not None:
                mapping.is_spilled = is_spilled
                return mapping
        return None

    def _map(self, descriptor: int, segment_id: bytes) -> _Mapping | None:
        header: Header | None
        try:
            if len(self._mappings) >= resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2 > 0:
                return _copy(descriptor, segment_id)
            mapping = _mapped(descriptor)
        except ValueError:  # an empty file
            return None
        except OSError as error:
            if error.errno in segment.FULL or error.errno in segment.OUT_OF_DESCRIPTORS:
                return _copy(descriptor, segment_id)
            raise
        with memoryview(mapping) as head:
            header = layout.parse(head, len(head))
        if header is None or header.segment_id != segment_id:
            return None
        mapping.header = header
        return mapping


def _mapped(descriptor: int) -> _Mapping:
    """Map a file. The mapping has a duplicate of the descriptor, and with it the lock."""
    try:
        return _Mapping(descriptor, 0, access=mmap.ACCESS_COPY)
    except OSError as error:
        # What could be written counts as memory where that is counted strictly (vm.overcommit_memory, RLIMIT_DATA).
        if error.errno != errno.ENOMEM:
            raise
    mapping = _Mapping(descriptor, 0, access=mmap.ACCESS_READ)
    mapping.is_write_fatal = True
    return mapping


def _lock(descriptor: int) -> bool:
    return segment.lock(descriptor, fcntl.LOCK_SH)


def _copy(descriptor: int, segment_id: bytes) -> _Mapping | None:
    """Return a copy of a segment in memory of this process; nobody changes the file meanwhile, it is locked."""
    header = segment.read_header(descriptor)
    if header is None or header.segment_id != segment_id:
        return None
    total = header.layout.total
    mapping = _Mapping(-1, total, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    mapping.header = header
    with memoryview(mapping) as target:
        done = 0
        while done < total:
            chunk = os.pread(descriptor, min(_COPY_BYTES, total - done), done)
            if not chunk:
                return None
            target[done : done + len(chunk)] = chunk
            done += len(chunk)
    return mapping


class _Spare:
    """A descriptor that is held for the case that none is left: it makes room to open one file after the other."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._descriptor = -1
        self._lock = threading.Lock()
        self.restore()

    def open(self, path: str) -> int:
        """Open a file for reading. Raises FileNotFoundError, or OSError if there is no descriptor for it at all."""
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            if error.errno not in segment.OUT_OF_DESCRIPTORS:
                raise
            self._give_up()
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def restore(self) -> None:
        """Hold a descriptor again, if there is one left."""
        if self._descriptor < 0:
            with self._lock, contextlib.suppress(OSError):
                if self._descriptor < 0:
                    self._descriptor = os.open(self._folder, os.O_RDONLY | os.O_CLOEXEC)

    def _give_up(self) -> None:
        with self._lock:
            descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        self._give_up()
