"""A store of a test's own, and values to put into it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

import numpy as np

from ipyactors.ground import ids
from ipyactors.store import layout
from ipyactors.store.arena import Arena
from ipyactors.store.reader import Mapped, Reader

MIB = 1 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class Folders:
    """The two folders of a store."""

    store: str
    spill: str

    def arena(self, keep_bytes: int = 64 * MIB) -> Arena:
        return Arena(self.store, self.spill, keep_bytes)

    def reader(self) -> Reader:
        return Reader(self.store, self.spill)

    def path(self, segment_id: bytes, *, is_spilled: bool = False) -> str:
        return f"{self.spill if is_spilled else self.store}/{layout.name_of(segment_id)}"

    def names(self) -> list[str]:
        """What is in both folders, by kind."""
        found = os.listdir(self.store) + os.listdir(self.spill)
        return sorted("tmp" if layout.is_temporary(name) else name for name in found)


@contextlib.contextmanager
def folders(parent: pathlib.Path) -> Iterator[Folders]:
    """Make a store, in shared memory where there is such a thing, and remove it afterwards."""
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    store = tempfile.mkdtemp(prefix="ipyactors-store-", dir=memory)
    spill = parent / "spill"
    spill.mkdir(mode=0o700)
    try:
        yield Folders(store, str(spill))
    finally:
        shutil.rmtree(store)


def segment_id(number: int, owner: bytes = b"downer00") -> bytes:
    return ids.object_id(owner, number)


def pattern(number: int, size: int = 100_000) -> np.ndarray:
    """An array whose every word says which value it belongs to."""
    return np.full(size // 8, number, dtype=np.uint64)


def numbers_in(mapped: Mapped) -> set[int]:
    """The words of all buffers."""
    return {int(word) for buffer in mapped.buffers for word in np.unique(np.frombuffer(buffer, dtype=np.uint64))}
