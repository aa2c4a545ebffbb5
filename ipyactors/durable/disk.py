"""What the log asks of the folder that it is in. :class:`~ipyactors.durable.folder.Folder` is the real one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol


class Disk(Protocol):
    """One folder of one actor. All raise OSError as the operating system does.

    What was written survives the process as soon as a call has returned, and a loss of power only once it was synced.
    """

    def names(self) -> list[str]:
        """Return the files' names, in no order."""
        ...

    def read(self, name: str) -> bytes:
        """Return the whole file."""
        ...

    def allocate(self, name: str, size: int, head: bytes) -> None:
        """Make a file of ``size`` bytes, ``head`` and then zeros, so that writing in it needs no more room.

        It is there whole, and synced with the folder, or not at all.
        """
        ...

    def write_at(self, name: str, offset: int, data: bytes) -> None:
        """Write into a file that is long enough."""
        ...

    def sync(self, name: str) -> None:
        """Make what was written to the file survive a loss of power."""
        ...

    def put(self, name: str, data: bytes) -> None:
        """Make a file with this content: it is there whole, or not at all. It is not synced.

        Its name survives a loss of power once another file was allocated or replaced, what is in it once it was synced.
        """
        ...

    def replace(self, name: str, data: bytes) -> None:
        """Make the file have this content, and sync it with the folder: it has the old or the new one, whole."""
        ...

    def remove(self, names: Iterable[str]) -> None:
        """Remove files, in this order; one that is not there is no error."""
        ...
