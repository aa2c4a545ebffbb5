"""What of a value stays outside of its pickle.

Buffers (the memory of arrays, frames, tables, tensors) of a page and more do, as soon as those of one value make more
than 64 KiB together; till then they are copied into the pickle, and are the receiver's own to write to. Since that is
known only on the way, a value that turns out to be large is begun again: then either all of its buffers are outside
or none. What was pickled twice has 64 KiB of buffers at most.
"""

from __future__ import annotations

import pickle
from typing import Any

#: A value is large if it is more than this, in bytes: its buffers, or else its pickle.
OUT_OF_BAND_BYTES = 64 * 1024

#: A page. What is smaller is copied sooner than it is mapped.
SMALLEST_BUFFER_BYTES = 4096


class BeginAgain(Exception):  # noqa: N818  # not an error: whoever pickles does as it says
    """Raised when a value turns out to be large after buffers of it went into its pickle."""


class Outside:
    """What of a value stays outside of its pickle. ``is_large``: it is known to be large."""

    __slots__ = ("_inside_bytes", "_is_large", "buffers", "storages")

    def __init__(self, is_large: bool) -> None:
        self.buffers: list[memoryview] = []
        self.storages: dict[tuple[int, int], Any] = {}
        """Storages of torch that were met, by address and length."""
        self._is_large = is_large
        self._inside_bytes = 0

    def expect(self, size: int) -> None:
        """Begin again now if ``size`` bytes more would have it done, before somebody takes the pains to make them."""
        if self._inside_bytes and not self._is_large and self._inside_bytes + size > OUT_OF_BAND_BYTES:
            raise BeginAgain

    def keep_inside(self, buffer: pickle.PickleBuffer) -> bool:
        """Return whether pickle is to copy a buffer into the pickle; the others are in ``buffers``."""
        try:
            view = buffer.raw()
        except BufferError:  # not contiguous: pickle says so
            return True
        size = view.nbytes
        if size < SMALLEST_BUFFER_BYTES:
            return True
        self.expect(size)
        if self._is_large or size > OUT_OF_BAND_BYTES:
            self._is_large = True
            self.buffers.append(view)
            return False
        self._inside_bytes += size
        return True
