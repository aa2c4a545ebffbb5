"""How full a machine's store is: one page that its agent writes and every process reads, without a question.

Two numbers of 8 bytes, in the order of this machine: bytes in use, and the limit. Each is written and read in one
access; of the two together no reader is promised a moment.
"""

from __future__ import annotations

import mmap
import os

_PAGE_BYTES = 4096
_USED, _LIMIT = 0, 1


class Usage:
    """The page of the store in ``store_dir``. With ``create`` (the agent) it is made if need be, and may be written.

    Raises FileNotFoundError if there is none and ``create`` is not set.
    """

    def __init__(self, store_dir: str, create: bool = False) -> None:
        flags = os.O_RDWR | os.O_CREAT if create else os.O_RDONLY
        descriptor = os.open(f"{store_dir}/usage", flags | os.O_CLOEXEC, 0o600)
        try:
            if create:
                # The numbers of an agent that died are kept: those who have mapped the page go on reading it.
                os.pwrite(descriptor, b"\0", _PAGE_BYTES - 1)
            access = mmap.ACCESS_WRITE if create else mmap.ACCESS_READ
            self._words = memoryview(mmap.mmap(descriptor, _PAGE_BYTES, access=access)).cast("Q")
        finally:
            os.close(descriptor)

    @property
    def used_bytes(self) -> int:
        """What segments, pools, and freed segments that are still mapped take in shared memory."""
        return self._words[_USED]

    @used_bytes.setter
    def used_bytes(self, size: int) -> None:
        self._words[_USED] = size

    @property
    def limit_bytes(self) -> int:
        """What they may take."""
        return self._words[_LIMIT]

    @limit_bytes.setter
    def limit_bytes(self, size: int) -> None:
        self._words[_LIMIT] = size
