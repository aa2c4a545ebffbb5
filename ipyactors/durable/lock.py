"""Who may write in a durable actor's folder: one process at a time.

The lock is the kind that a process has, not a descriptor (``fcntl.lockf``): a child that the user's code forks does
not inherit it, so it goes with the actor's process, however that ends.
"""

from __future__ import annotations

import fcntl
import os
import pathlib
import struct
import sys

_NAME = "lock"


class FolderInUseError(OSError):
    """Raised when another process has the lock."""


class FolderLock:
    """Holds the lock of the folder at ``path``, which exists, until :meth:`release` or the end of the process.

    Raises FolderInUseError at once if another process holds it.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self._descriptor = os.open(path / _NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            raise FolderInUseError(f"another process is using {path}") from error

    def release(self) -> None:
        """Let others have it."""
        os.close(self._descriptor)


def holder_of(path: pathlib.Path) -> int:
    """Return the id of the process that holds the lock of the folder at ``path``: 0 for none, -1 if it is not told.

    Asks without locking, so that it never stands in the way of an incarnation that starts at this moment. Not for a
    process that may hold the lock itself: it would not see its own, and would lose it.
    """
    try:
        descriptor = os.open(path / _NAME, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        # struct flock: Linux begins with type and whence, macOS and the BSDs with the offsets.
        is_linux = sys.platform.startswith("linux")
        wanted = (fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0) if is_linux else (0, 0, 0, fcntl.F_WRLCK, os.SEEK_SET)
        layout = struct.Struct("hhqqi4x" if is_linux else "qqihh")
        found = layout.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, layout.pack(*wanted)))
    except OSError:
        return 0
    finally:
        os.close(descriptor)
    kind, pid = (found[0], found[4]) if is_linux else (found[3], found[2])
    if kind == fcntl.F_UNLCK:
        return 0
    return pid if pid > 0 else -1
