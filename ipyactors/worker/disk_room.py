"""A full disk under a durable actor's log: told as that, and not as a fault of the actor's; waited for, for a while."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
from collections.abc import Iterator

from ipyactors.durable import segment
from ipyactors.durable.log import LogSealedError
from ipyactors.ground.exceptions import StorageFullError
from ipyactors.store.segment import FULL
from ipyactors.worker.out import WorkerSession

#: How long a process waits for room before it leaves the next one to try. Restarts at once would soon be too many.
_AWAITED_S = 15


class NoRoomForLogError(StorageFullError):
    """Raised when the log of an actor cannot be begun, or gone on with, because the disk is full."""


@contextlib.contextmanager
def needs_room(path: pathlib.Path) -> Iterator[None]:
    """Have what is wrong with the disk under the log in ``path`` be told as that. Raises NoRoomForLogError, OSError."""
    try:
        yield
    except (OSError, LogSealedError) as error:
        link: BaseException | None = error
        while link is not None and not isinstance(link, OSError):
            link = link.__cause__
        if link is None:
            raise
        if link.errno not in FULL:
            raise link from None
        raise NoRoomForLogError(f"there is no room for its log in {path}: {link.strerror}") from error


def await_room(session: WorkerSession, path: pathlib.Path) -> None:
    """Wait until there is room on the disk that ``path`` is on, but not for long."""
    for _ in range(_AWAITED_S):
        if shutil.disk_usage(path).free >= segment.FIRST_SEGMENT_BYTES:
            return
        session.wait(lambda: False, 1.0)
