"""A disk as bad as a real one may be: it forgets what was not synced, tears what is being written, and fills up.

Each file is what the operating system's cache holds, and what is really on the disk, page by page. A process that dies
takes nothing along but the end of the write that it was in. When the power goes, each page that was written since the
last sync is there or not, as the random numbers say.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Iterable

#: Small, so that a record lies on several and one of them may be lost.
PAGE_BYTES = 64


class ProcessDied(BaseException):
    """The process that was using the disk is no more."""


class _File:
    def __init__(self, content: bytes) -> None:
        self.cached = bytearray(content)
        self.stored = bytearray(content)
        self.dirty: set[int] = set()
        self.is_named = True

    def write(self, offset: int, data: bytes) -> None:
        assert offset + len(data) <= len(self.cached), "a write beyond what was allocated"
        self.cached[offset : offset + len(data)] = data
        if data:
            self.dirty.update(range(offset // PAGE_BYTES, (offset + len(data) - 1) // PAGE_BYTES + 1))

    def store(self, pages: Iterable[int]) -> None:
        for page in tuple(pages):
            at = slice(page * PAGE_BYTES, (page + 1) * PAGE_BYTES)
            self.stored[at] = self.cached[at]
            self.dirty.discard(page)


class SimDisk:
    """Implements :class:`ipyactors.durable.disk.Disk`. ``steps`` counts what was asked of it.

    ``dies_at``: the process dies at this step, in the middle of it. ``fails`` names steps (``allocate``, ``write_at``,
    ``sync``, ``put``, ``replace``) that raise the error number beside them.
    """

    def __init__(self, seed: int = 0) -> None:
        self.files: dict[str, _File] = {}
        self.random = random.Random(seed)
        self.steps = 0
        self.dies_at = 0
        self.fails: dict[str, int] = {}

    # -- what the log asks ------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        names = list(self.files)
        self.random.shuffle(names)
        return names

    def read(self, name: str) -> bytes:
        if name not in self.files:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        return bytes(self.files[name].cached)

    def allocate(self, name: str, size: int, head: bytes) -> None:
        is_last = self._step("allocate")
        if not is_last or self.random.random() < 0.5:
            self.files[name] = _File(head + bytes(size - len(head)))
            self._sync_names()
        self._end(is_last)

    def write_at(self, name: str, offset: int, data: bytes) -> None:
        is_last = self._step("write_at")
        if is_last:
            data = data[: self.random.randrange(len(data) + 1)]
        self.files[name].write(offset, data)
        self._end(is_last)

    def put(self, name: str, data: bytes) -> None:
        is_last = self._step("put")
        if not is_last or self.random.random() < 0.5:
            file = self.files[name] = _File(bytes(len(data)))
            file.write(0, data)
            file.is_named = False
        self._end(is_last)

    def sync(self, name: str) -> None:
        is_last = self._step("sync")
        if name not in self.files:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        file = self.files[name]
        file.store(self._some(file.dirty) if is_last else file.dirty)
        self._end(is_last)

    def replace(self, name: str, data: bytes) -> None:
        is_last = self._step("replace")
        if not is_last or self.random.random() < 0.5:
            self.files[name] = _File(data)
            self._sync_names()
        self._end(is_last)

    def remove(self, names: Iterable[str]) -> None:
        for name in names:
            is_last = self._step("remove")
            self.files.pop(name, None)
            self._end(is_last)

    # -- what happens to it -----------------------------------------------------------------------------------

    def cut_power(self) -> None:
        """Lose what was not synced, in part."""
        for name, file in list(self.files.items()):
            if not file.is_named and self.random.random() < 0.5:
                del self.files[name]
            file.store(self._some(file.dirty))
            file.is_named = True
            file.cached[:] = file.stored
            file.dirty.clear()

    def damage(self, name: str, offset: int, flipped: int = 1) -> None:
        """Change a byte for good."""
        for content in (self.files[name].cached, self.files[name].stored):
            content[offset] ^= flipped

    def _sync_names(self) -> None:
        for file in self.files.values():
            file.is_named = True

    def _some(self, pages: set[int]) -> list[int]:
        return [page for page in sorted(pages) if self.random.random() < 0.5]

    def _step(self, kind: str) -> bool:
        if kind in self.fails:
            number = self.fails[kind]
            if kind == "sync":  # as Linux does: the pages are taken for written, and the next sync succeeds
                for file in self.files.values():
                    file.dirty.clear()
            raise OSError(number, os.strerror(number))
        self.steps += 1
        return self.steps == self.dies_at

    def _end(self, is_last: bool) -> None:
        if is_last:
            raise ProcessDied
