"""Files: what Linux and macOS do to them in different words, and writing them as a whole."""

from __future__ import annotations

import errno
import os
import pathlib

_CHUNK_BYTES = 4 * 1024 * 1024


def allocate(descriptor: int, offset: int, length: int) -> None:
    """Give a file memory or disk blocks from ``offset`` on, and the length that goes with it.

    Raises OSError if there is no room; the file may have become longer by a part of it.
    """
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, offset, length)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
        else:
            return
    # macOS, and file systems that cannot: what is written has its blocks.
    zeros = memoryview(bytes(min(length, _CHUNK_BYTES)))
    end = offset + length
    while offset < end:
        offset += os.pwrite(descriptor, zeros[: end - offset], offset)


def sync_data(descriptor: int) -> None:
    """Return when what was written to the file survives a loss of power. Raises OSError."""
    if hasattr(os, "fdatasync"):
        os.fdatasync(descriptor)
        return
    import fcntl

    fcntl.fcntl(descriptor, getattr(fcntl, "F_FULLFSYNC"))  # noqa: B009  (fsync leaves it in the drive's cache there)


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file that is either there as a whole or as it was before. Raises OSError, and then leaves nothing."""
    target = pathlib.Path(path)
    draft = target.with_name(f".{target.name}.{os.getpid()}.draft")
    try:
        draft.write_bytes(data)
        draft.replace(target)
    except BaseException as error:
        draft.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename == str(draft):  # the file is named as its writer knows it
            raise OSError(error.errno, error.strerror, str(target)) from None
        raise
