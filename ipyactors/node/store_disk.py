"""The threads that move and remove a store's files, so that no disk keeps the agent from noticing a death.

There are two: one moves segments between memory and disk, which may take long; the other removes what was set aside,
which takes a tenth of a second for a gigabyte of memory. What a thread has done is a fact, taken in the next turn.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
from collections.abc import Callable
from typing import TypeAlias

from ipyactors.node import store_limit
from ipyactors.node.hands import Hands, Results
from ipyactors.node.store_files import NotMovedError, StoreFiles
from ipyactors.node.store_moves import Failure
from ipyactors.store import segment, sweep
from ipyactors.wire.store_messages import MappedFile


@dataclasses.dataclass(slots=True, frozen=True)
class Moved:
    """A segment is on disk, or back in memory, where it takes ``size`` bytes."""

    segment_id: bytes
    size: int


@dataclasses.dataclass(slots=True, frozen=True)
class NotMoved:
    """A segment is where it was, or nowhere."""

    segment_id: bytes
    failure: Failure
    detail: str


@dataclasses.dataclass(slots=True, frozen=True)
class Removed:
    """``size`` bytes of memory are removed, but for ``mapped`` files: these count by themselves from now on."""

    size: int
    mapped: tuple[MappedFile, ...] = ()


DiskFact: TypeAlias = Moved | NotMoved | Removed


class Disk:
    """See the head of this file. Made empty, whatever another agent of the session has left."""

    def __init__(self, store_dir: str, spill_dir: str) -> None:
        for folder in (store_dir, spill_dir):
            _clear(folder)
        self._files = StoreFiles(store_dir, spill_dir)
        self._folders = (store_dir, spill_dir)
        self._results: Results[DiskFact] = Results()
        self._mover = Hands(self._results, "store-move")
        self._remover = Hands(self._results, "store-remove")
        self._is_closed = False
        self.places = self._files.places

    def fileno(self) -> int:
        """Return the descriptor that is readable when a thread has done something."""
        return self._results.fileno()

    def take_facts(self) -> list[DiskFact]:
        """Return what the threads have done since the last time."""
        return self._results.take()

    def free_bytes(self) -> tuple[int, int]:
        """Return how much there is left for values in memory, and on disk."""
        in_memory, on_disk = map(store_limit.free_bytes, self._folders)
        return in_memory, on_disk

    def published(self) -> list[sweep.Found]:
        """Return the segments that are there, as the folders say."""
        return sweep.published(*self._folders)

    def mappers(self) -> dict[bytes, tuple[int, ...]]:
        """Return the pids of the processes that map each segment, in memory and on disk."""
        in_memory, on_disk = map(sweep.mappers, self._folders)
        return on_disk | in_memory

    def freed_mappers(self) -> dict[MappedFile, tuple[int, ...]]:
        """Return the freed segments that were set aside, and the pids of the processes that map them."""
        return sweep.freed_mappers(self._folders[0])

    def is_mapped(self, file: MappedFile) -> bool:
        """Return whether somebody still maps a freed segment."""
        return segment.is_mapped(self._files.path_of(file))

    def spill(self, segment_id: bytes) -> None:
        """Have a segment moved to disk."""
        self._mover.do(functools.partial(_move, self._files.spill, segment_id))

    def restore(self, segment_id: bytes) -> None:
        """Have a segment moved to memory."""
        self._mover.do(functools.partial(_move, self._files.restore, segment_id))

    def remove(self, segment_id: bytes, size: int) -> None:
        """Take a segment's names away; the thread does the rest, and says that ``size`` bytes are free."""
        self._remove(self._files.set_aside(segment_id), segment_id, size)

    def remove_mapped(self, file: MappedFile) -> None:
        """Have a freed segment removed that nobody maps any more."""
        self._remove([self._files.path_of(file)], file.segment_id, file.size)

    def remove_spilled(self, segment_id: bytes) -> None:
        """Take the name away that a segment has on disk; the thread does the rest."""
        self._remove(self._files.set_aside(segment_id, only_spilled=True), segment_id, 0)

    def remove_unfinished(self) -> None:
        """Have removed what processes that are gone were writing, or kept for their next values.

        What they had set aside and told nobody is found.
        """
        self._remover.do(self._remove_unfinished)

    def close(self) -> None:
        """End the threads, as soon as they can. What is in the folders is for the agent to remove."""
        self._is_closed = True
        self._files.close()
        self._mover.close()
        self._remover.close()
        self._results.close()

    def _remove(self, aside: list[str], segment_id: bytes, size: int) -> None:
        if aside or size:
            self._remover.do(functools.partial(self._remove_aside, aside, segment_id, size))

    def _remove_aside(self, aside: list[str], segment_id: bytes, size: int) -> list[DiskFact]:
        files = [self._files.remove(path, segment_id) for path in aside if not self._is_closed]
        return [Removed(size, tuple(file for file in files if file is not None))]

    def _remove_unfinished(self) -> list[DiskFact]:
        if self._is_closed:
            return []
        with contextlib.suppress(OSError):
            sweep.remove_unfinished(*self._folders)
        return [Removed(0, tuple(sweep.mapped_files(self._folders[0])))]


def _move(act: Callable[[bytes], int], segment_id: bytes) -> list[DiskFact]:
    """Do it; whatever goes wrong is a fact."""
    try:
        return [Moved(segment_id, act(segment_id))]
    except NotMovedError as error:
        return [NotMoved(segment_id, error.failure, str(error))]
    except Exception as error:
        return [NotMoved(segment_id, Failure.FULL, repr(error))]


def _clear(folder: str) -> None:
    os.makedirs(folder, mode=0o700, exist_ok=True)
    for entry in os.scandir(folder):
        with contextlib.suppress(OSError):
            os.unlink(entry.path)
