"""Freed segments that views still map: nobody can reach them any more, and their memory is in use all the same. Pure.

When the last view goes, nobody says so: the kernel drops a lock. So it is looked, a few microseconds a file: at some
when another one comes, so that a steady stream of them does not pile up; at many when room is needed, or somebody asks
what there is; and at some every second, so that memory is given back that nobody asks for.
"""

from __future__ import annotations

from ipyactors.wire.store_messages import MappedFile

#: So many are looked at when one more comes, each second, and when it matters.
LOOKS_AT_ONE_MORE = 4
LOOKS_A_SECOND = 256
LOOKS_FOR_ROOM = 4096


class MappedFiles:
    """See the head of this file. The least recently looked at comes first; ``total_bytes`` is what they take."""

    def __init__(self) -> None:
        self.total_bytes = 0
        self._files: dict[MappedFile, None] = {}

    def __len__(self) -> int:
        return len(self._files)

    def add(self, file: MappedFile) -> None:
        """Count a file; once, however often it is found."""
        if file not in self._files:
            self._files[file] = None
            self.total_bytes += file.size

    def drop(self, file: MappedFile) -> bool:
        """Count a file no longer; return False if it was not counted."""
        if file not in self._files:
            return False
        del self._files[file]
        self.total_bytes -= file.size
        return True

    def to_look_at(self, count: int) -> list[MappedFile]:
        """Return at most ``count`` files, those that nobody has looked at for the longest."""
        chosen = list(self._files)[:count] if count < len(self._files) else list(self._files)
        for file in chosen:
            self._files[file] = self._files.pop(file)
        return chosen

    def check_invariants(self) -> None:
        """Raise AssertionError if the amounts are wrong."""
        assert self.total_bytes == sum(file.size for file in self._files)
