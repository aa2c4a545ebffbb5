"""Which call a durable actor has begun last: one number in a file that outlives the process.

It tells who comes next which call was running at the end, and so which one may be ending its processes. A store into
mapped memory is all that it costs; it survives any death of the process, not a loss of power, after which no call is
blamed.
"""

from __future__ import annotations

import mmap
import os
import pathlib
import struct

from ipyactors.ground.files import allocate

_LSN = struct.Struct("<Q")


class Begun:
    """The number in the file at ``path``; ``last`` is what the process before has left there, 0 for nothing."""

    def __init__(self, path: pathlib.Path) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(descriptor).st_size < _LSN.size:
                allocate(descriptor, 0, _LSN.size)  # not sparse: writing to a hole of a full disk ends the process
            self._map = mmap.mmap(descriptor, _LSN.size)
        finally:
            os.close(descriptor)
        self.last: int = _LSN.unpack_from(self._map)[0]

    def note(self, lsn: int) -> None:
        """Note that the call at ``lsn`` is about to run."""
        _LSN.pack_into(self._map, 0, lsn)

    def close(self) -> None:
        """Unmap; the file stays."""
        self._map.close()
