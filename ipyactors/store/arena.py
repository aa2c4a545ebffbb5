"""The writing side of a machine's store, in one process: values go into segments, freed memory into the next values.

Fresh shared memory must be found and cleared page by page; memory that is mapped already is written at the speed of a
copy. So a segment that this process wrote and that was freed is kept, under a temporary name, for its next value of
that size. A segment that somebody has mapped is never written again (see ``store/segment.py``).
"""

from __future__ import annotations

import errno
import itertools
import mmap
import os
import pickle
import resource
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias, TypeVar

from ipyactors.store import layout, segment
from ipyactors.store.layout import Header
from ipyactors.store.pool import Pool
from ipyactors.store.segment import Draft
from ipyactors.wire import liveness
from ipyactors.wire.store_messages import MappedFile

#: What pickle takes apart a value into.
Buffer: TypeAlias = bytes | bytearray | memoryview | pickle.PickleBuffer

#: A pool keeps at most this many files, and as many mappings of published ones are kept; fewer if descriptors are
#: short (a file in the pool has two, a mapping one).
_KEEP_COUNT = 256
_SHARE_OF_DESCRIPTORS = 16


_Done = TypeVar("_Done")


class NoRoomError(OSError):
    """Raised when a file system has no room for a segment. Nothing of it was left behind."""


class Arena:
    """Writes segments and takes them back. From any thread; in a forked child it starts out empty.

    ``keep_bytes`` is how much freed memory is kept at most.
    """

    def __init__(self, store_dir: str, spill_dir: str, keep_bytes: int) -> None:
        self._store_dir = store_dir
        self._spill_dir = spill_dir
        descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if descriptors == resource.RLIM_INFINITY:
            descriptors = _KEEP_COUNT * _SHARE_OF_DESCRIPTORS
        keep_count = min(_KEEP_COUNT, descriptors // _SHARE_OF_DESCRIPTORS)
        self._pool: Pool[Draft] = Pool(keep_bytes, keep_count)
        self._mappings: OrderedDict[bytes, tuple[int, mmap.mmap]] = OrderedDict()
        """By segment: the inode and the mapping of files that were used again and are published now."""
        self._numbers = itertools.count(1)
        self._writer: liveness.Identity | None = None
        self._lock = threading.RLock()  # guards the pool
        self._is_in_pool = False
        _arenas.add(self)

    @property
    def pool_bytes(self) -> int:
        """How much freed memory is kept for the next values."""
        return self._pool.total_bytes

    # -- writing ----------------------------------------------------------------------------------------------

    def write(self, segment_id: bytes, data: bytes, buffers: Sequence[Buffer], *, spill: bool = False) -> int:
        """Publish a segment, on disk with ``spill``, and return how many bytes it takes.

        A segment of that id is replaced; whoever has mapped it keeps what is mapped. Raises NoRoomError if there is no
        room, any other OSError as it comes, and leaves nothing behind then.
        """
        views = [_flat(buffer) for buffer in buffers]
        plan = layout.plan(len(data), [view.nbytes for view in views])
        header = Header(segment_id, plan, self._identity(), next(self._numbers))
        folder = self._spill_dir if spill else self._store_dir
        path = f"{folder}/{layout.name_of(segment_id)}"
        kept = None if spill else self._in_pool(lambda pool: pool.take(plan.total), None)
        draft = kept or Draft(self._temporary(folder))
        try:
            if kept is None:
                self._create(draft)
            draft.reserve(layout.file_bytes_for(plan.total))
            if kept is not None:
                draft.map_again()
            draft.fill(header, data, views)
            draft.publish(path)
        except BaseException as error:
            draft.discard(path)
            if isinstance(error, OSError) and error.errno in segment.FULL:
                words = f"no room for {plan.total:,} bytes in {folder} ({error.strerror})"
                raise NoRoomError(errno.ENOSPC, words) from error
            raise
        if spill:
            segment.unlink(self._path(segment_id))  # an earlier attempt's
        self._keep_mapping(segment_id, draft)
        return draft.file_bytes

    def _create(self, draft: Draft) -> None:
        try:
            draft.create()
        except OSError as error:
            if error.errno not in segment.OUT_OF_DESCRIPTORS:
                raise
            self._let_go()  # what is kept holds descriptors
            draft.create()

    def _keep_mapping(self, segment_id: bytes, draft: Draft) -> None:
        self._mappings.pop(segment_id, None)
        if draft.mapping is not None and self._pool.keep_bytes:
            self._mappings[segment_id] = (draft.inode, draft.mapping)
            self._look_at_one_mapping()

    def _look_at_one_mapping(self) -> None:
        """Drop a mapping if its file was removed, for it keeps the memory, or if there are too many."""
        segment_id, (inode, mapping) = self._mappings.popitem(last=False)
        if len(self._mappings) < self._pool.keep_count and segment.inode_of(self._path(segment_id)) == inode:
            self._mappings[segment_id] = (inode, mapping)

    def _path(self, segment_id: bytes) -> str:
        return f"{self._store_dir}/{layout.name_of(segment_id)}"

    def _temporary(self, folder: str) -> str:
        return f"{folder}/{layout.temporary_name(self._identity(), next(self._numbers))}"

    def _identity(self) -> liveness.Identity:
        if self._writer is None:
            pid = os.getpid()
            self._writer = liveness.identify(pid) or liveness.Identity(pid, 0)
        return self._writer

    # -- taking back ------------------------------------------------------------------------------------------

    def take_back(
        self, segment_ids: Iterable[bytes], *, only_own: bool = False, mapped: list[MappedFile] | None = None
    ) -> tuple[bytes, ...]:
        """Remove segments from shared memory that nobody can reach any more. Spilled ones are not touched.

        Return those whose memory is kept for the next values: written by this process, mapped by nobody, and not too
        large. What somebody maps is set aside and added to ``mapped``, for the agent to count; without, it is unlinked.
        The others are unlinked; with ``only_own``, those of other processes stay for their writers to take back.
        """
        kept: dict[Draft, bytes] = {}
        for segment_id in segment_ids:
            draft = self._take_back(segment_id, only_own)
            if isinstance(draft, MappedFile):
                if mapped is None:
                    segment.unlink(f"{self._store_dir}/{layout.mapped_name(draft.segment_id, draft.inode)}")
                else:
                    mapped.append(draft)
                continue
            if draft is None:
                continue
            kept[draft] = segment_id
            for dropped in self._keep(draft):
                dropped.discard()
                kept.pop(dropped, None)
        return tuple(kept.values())

    def _take_back(self, segment_id: bytes, only_own: bool) -> Draft | MappedFile | None:
        path = self._path(segment_id)
        inode, mapping = self._mappings.pop(segment_id, (0, None))
        try:
            draft = segment.take(path, self._temporary(self._store_dir), segment_id, self._identity())
        except OSError as error:
            if error.errno not in segment.OUT_OF_DESCRIPTORS:
                raise
            draft = None
        if draft is None:
            if not only_own:
                segment.unlink(path)
        elif isinstance(draft, Draft) and mapping is not None and inode == draft.inode:
            draft.mapping = mapping
        return draft

    def _keep(self, draft: Draft) -> list[Draft]:
        return self._in_pool(lambda pool: pool.add(draft), [draft])

    def trim(self) -> None:
        """Give back all memory that is kept, also what is kept of segments that others have removed meanwhile."""
        self._let_go()

    def _let_go(self) -> None:
        self._mappings.clear()
        nothing: list[Draft] = []
        for draft in self._in_pool(lambda pool: pool.clear(), nothing):
            draft.discard()

    def close(self) -> None:
        """Give back all memory that is kept, and keep none from now on. Published segments stay."""
        self._pool.keep_bytes = 0
        self._let_go()

    def _after_fork(self) -> None:
        """Let go of the parent's files, in its child, without changing them."""
        pool, self._pool = self._pool, Pool(self._pool.keep_bytes, self._pool.keep_count)
        self._lock = threading.RLock()
        self._is_in_pool = False
        self._writer = None
        self._mappings.clear()
        for draft in pool.clear():
            draft.close()

    def _in_pool(self, act: Callable[[Pool[Draft]], _Done], otherwise: _Done) -> _Done:
        """Return what ``act`` does with the pool; ``otherwise`` if this thread is in the middle of such an act.

        It may be: a finalizer that the collector runs, at any moment, puts a value or frees one.
        """
        with self._lock:
            if self._is_in_pool:
                return otherwise
            self._is_in_pool = True
            try:
                return act(self._pool)
            finally:
                self._is_in_pool = False


def _flat(buffer: Buffer) -> memoryview:
    """Return any contiguous buffer as a view of bytes."""
    view = memoryview(buffer)
    if view.format != "B" or view.ndim != 1:
        view = pickle.PickleBuffer(buffer).raw() if view.nbytes else memoryview(b"")
    return view


_arenas: weakref.WeakSet[Arena] = weakref.WeakSet()


def _forget_in_child() -> None:
    for arena in list(_arenas):
        arena._after_fork()


os.register_at_fork(after_in_child=_forget_in_child)
