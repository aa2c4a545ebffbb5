"""A durable actor's folder on a real disk; the shell under :mod:`ipyactors.durable.log`. Any thread."""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Iterable, Iterator

from ipyactors.ground import faultpoints
from ipyactors.ground.files import allocate, sync_data

#: What the name of a file ends in that is not whole.
TEMPORARY = ".tmp"


class Folder:
    """Implements :class:`~ipyactors.durable.disk.Disk` for the folder at ``path``, which is made with mode 0700.

    The descriptor of the file that is being written is kept open; :meth:`close` closes it.
    """

    def __init__(self, path: pathlib.Path) -> None:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = path
        self._name = ""
        self._descriptor = -1

    def names(self) -> list[str]:
        """Return the names of the files that are whole."""
        return [name for name in self.all_names() if not name.endswith(TEMPORARY)]

    def all_names(self) -> list[str]:
        """Return the names of all files, of those that are not whole as well."""
        return os.listdir(self.path)

    def read(self, name: str) -> bytes:
        """Return a whole file."""
        return (self.path / name).read_bytes()

    def allocate(self, name: str, size: int, head: bytes) -> None:
        """Make a file of ``size`` bytes that begins with ``head``."""
        faultpoints.hit("durable.allocate.before")
        with self._made(name) as descriptor:
            allocate(descriptor, 0, size)
            os.pwrite(descriptor, head, 0)
        faultpoints.hit("durable.allocate.after")

    def write_at(self, name: str, offset: int, data: bytes) -> None:
        """Write into a file, in as many steps as it takes."""
        descriptor = self._open(name)
        faultpoints.hit("durable.write.before")
        view = memoryview(data)
        while view:
            count = os.pwrite(descriptor, view, offset)
            view, offset = view[count:], offset + count
        faultpoints.hit("durable.write.after")

    def sync(self, name: str) -> None:
        """Make what was written to the file survive a loss of power."""
        faultpoints.hit("durable.sync.before")
        sync_data(self._open(name))
        faultpoints.hit("durable.sync.after")

    def put(self, name: str, data: bytes) -> None:
        """Make a file with this content."""
        with self._made(name, syncs=False) as descriptor:
            _write(descriptor, data)

    def replace(self, name: str, data: bytes) -> None:
        """Make the file have this content."""
        with self._made(name) as descriptor:
            _write(descriptor, data)

    def remove(self, names: Iterable[str]) -> None:
        """Remove files, in this order."""
        for name in names:
            if name == self._name:
                self.close()
            faultpoints.hit("durable.remove.before")
            (self.path / name).unlink(missing_ok=True)

    def close(self) -> None:
        """Close what is open."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._name, self._descriptor = "", -1

    def _open(self, name: str) -> int:
        if name != self._name:
            self.close()
            self._descriptor = os.open(self.path / name, os.O_RDWR | os.O_CLOEXEC)
            self._name = name
        return self._descriptor

    @contextlib.contextmanager
    def _made(self, name: str, *, syncs: bool = True) -> Iterator[int]:
        """Yield a descriptor of a new file; it gets its name when it is whole and synced, and is gone if that fails."""
        temporary = self.path / (name + TEMPORARY)
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            yield descriptor
            if syncs:
                os.fsync(descriptor)
            faultpoints.hit("durable.replace.before_rename")
            os.rename(temporary, self.path / name)
            faultpoints.hit("durable.replace.after_rename")
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
        if syncs:
            self._sync_names()

    def _sync_names(self) -> None:
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
