"""Which call a durable actor has begun last, and which checkpoint it was making: in a file that outlives it.

It tells who comes next what was under way at the end, and so what may be ending its processes, and what is of no use. A
store into mapped memory is all that it costs; it survives any death of the process, not a loss of power, after which
nothing is blamed.
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
_ID_BYTES = 16
_SAVING_AT, _ID_AT, _TRIES_AT = _LSN.size, 2 * _LSN.size, 2 * _LSN.size + _ID_BYTES
_BYTES = _TRIES_AT + _LSN.size


class Begun:
    """The numbers in the file at ``path``; ``last`` is the call that the process before has left there, 0 for none.

    ``saving_deaths`` is how many processes in a row have ended while they made a checkpoint. ``unmade`` is the id of
    the checkpoint that was saved last and may never have become one, empty if there is none.
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
        self.saving_deaths: int = _LSN.unpack_from(self._map, _SAVING_AT)[0]
        self.unmade: str = self._map[_ID_AT:_TRIES_AT].hex() if any(self._map[_ID_AT:_TRIES_AT]) else ""

    def note(self, lsn: int) -> None:
        """Note that the call at ``lsn`` is about to run."""
        _LSN.pack_into(self._map, 0, lsn)

    @contextlib.contextmanager
    def saving(self) -> Iterator[None]:
        """Have whoever comes next know that a checkpoint was being made, should the process end in the block."""
        _LSN.pack_into(self._map, _SAVING_AT, self.saving_deaths + 1)
        try:
            yield
        finally:
            self.saving_deaths = 0
            _LSN.pack_into(self._map, _SAVING_AT, 0)

    def note_unmade(self, checkpoint_id: str) -> None:
        """Note that this checkpoint is about to be saved, and is none yet; empty: there is no such checkpoint."""
        self.unmade = checkpoint_id
        self._map[_ID_AT:_BYTES] = bytes.fromhex(checkpoint_id).ljust(_ID_BYTES + _LSN.size, b"\0")

    def try_removing(self) -> int:
        """Note that the data of the one that is ``unmade`` is about to be removed; return for which time, from 1."""
        tries: int = _LSN.unpack_from(self._map, _TRIES_AT)[0] + 1
        _LSN.pack_into(self._map, _TRIES_AT, tries)
        return tries

    def close(self) -> None:
        """Unmap; the file stays."""
        self._map.close()
