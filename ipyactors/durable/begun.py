"""Which call a durable actor has begun last, and whether it was making a checkpoint: in a file that outlives it.

It tells who comes next what was under way at the end, and so what may be ending its processes. A store into mapped
memory is all that it costs; it survives any death of the process, not a loss of power, after which nothing is blamed.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import pathlib
import struct
from collections.abc import Iterator

from ipyactors.ground.files import allocate

_LSN = struct.Struct("<Q")
_BYTES = 2 * _LSN.size


class Begun:
    """The numbers in the file at ``path``; ``last`` is the call that the process before has left there, 0 for none.

    ``saving_deaths`` is how many processes in a row have ended while they made a checkpoint.
    """

    def __init__(self, path: pathlib.Path) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(descriptor).st_size < _BYTES:
                allocate(descriptor, 0, _BYTES)  # not sparse: writing to a hole of a full disk ends the process
            self._map = mmap.mmap(descriptor, _BYTES)
        finally:
            os.close(descriptor)
        self.last: int = _LSN.unpack_from(self._map)[0]
        self.saving_deaths: int = _LSN.unpack_from(self._map, _LSN.size)[0]

    def note(self, lsn: int) -> None:
        """Note that the call at ``lsn`` is about to run."""
        _LSN.pack_into(self._map, 0, lsn)

    @contextlib.contextmanager
    def saving(self) -> Iterator[None]:
        """Have whoever comes next know that a checkpoint was being made, should the process end in the block."""
        _LSN.pack_into(self._map, _LSN.size, self.saving_deaths + 1)
        try:
            yield
        finally:
            self.saving_deaths = 0
            _LSN.pack_into(self._map, _LSN.size, 0)

    def close(self) -> None:
        """Unmap; the file stays."""
        self._map.close()
