"""The log of the actor that lives in this process, under a lock.

The thread that runs calls writes, and whoever reads the sockets may have to make what is written safe before an answer
leaves. A log that cannot be written any more ends the process at once, without another word: the next one goes on from
what is there.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, Protocol, TypeVar

from ipyactors.durable import blobs
from ipyactors.durable.actor_log import ActorLog
from ipyactors.durable.blobs import Namer
from ipyactors.durable.disk import Disk
from ipyactors.durable.folder import Folder
from ipyactors.durable.log import LogSealedError
from ipyactors.durable.record import Answer, Blob
from ipyactors.ground.exceptions import SessionError, StorageFullError
from ipyactors.store.segment import FULL
from ipyactors.wire.specs import Payload
from ipyactors.worker.log_file import log_only

#: The status of a process whose log cannot be written.
_SEALED = 74

_Result = TypeVar("_Result")


class Bringer(Protocol):
    """Where values are that are not in messages."""

    def bring(self, payloads: Sequence[Payload]) -> Sequence[Payload]:
        """Return payloads with their bytes; may wait. Raises SegmentsMissing."""
        ...


def _end_process(problem: str) -> NoReturn:
    print(problem, file=log_only())
    os._exit(_SEALED)


class GuardedLog:
    """The log and the files beside it. ``end`` ends the process with a sentence. Any thread.

    ``log`` may only be used in what :meth:`do` is given, but for its tables, which the thread that runs calls owns.
    """

    def __init__(
        self, log: ActorLog, disk: Disk, actor_id: bytes, end: Callable[[str], NoReturn] = _end_process
    ) -> None:
        self.actor_id = actor_id
        self.log = log
        self.disk = disk
        self._end = end
        self._lock = threading.Lock()
        self._namer = Namer(0)
        self._is_child = False
        os.register_at_fork(
            before=self._lock.acquire, after_in_parent=self._lock.release, after_in_child=self._after_fork
        )

    def _after_fork(self) -> None:
        # A child that the user's code has forked has copies of the descriptors, and must not write with them.
        self._is_child = True
        self._lock.release()

    @property
    def folder(self) -> str:
        """Where the log is, for people; empty if it is in no folder."""
        return str(self.disk.path) if isinstance(self.disk, Folder) else ""

    def do(self, action: Callable[..., _Result], *args: Any) -> _Result:
        """Return what ``action`` returns, under the lock. Raises SessionError in a child that was forked."""
        if self._is_child:
            raise SessionError(
                "this process was forked by a method of a durable actor, and is not the actor: it cannot ask for what "
                "is noted in the actor's log (now(), random(), uuid4(), once(), calls and their results). Nothing was "
                "noted. Ask before the fork."
            )
        try:
            with self._lock:
                return action(*args)
        except LogSealedError as error:
            self._end(str(error))

    def write(self) -> None:
        """Make what was taken survive this process: now it may run."""
        self.do(self.log.write)

    def secure(self) -> None:
        """Make everything as safe as the actor's level asks: now answers may leave."""
        self.do(self.log.secure)

    def put_aside(
        self, payloads: Sequence[Payload], lsn: int, *, may_be_refused: bool = False, is_result: bool = False
    ) -> tuple[tuple[Payload, ...], tuple[Blob, ...]]:
        """Write what is large to files; return what goes into the record of the call ``lsn``.

        To be given to :meth:`do`. Raises LogSealedError if it cannot be written, for a call that has begun: of one that
        is not in the log yet, which ``may_be_refused``, StorageFullError, and so for a result that has no room.
        """
        try:
            return blobs.put_aside(self.disk, payloads, self._namer_of(lsn), syncs=self.log.syncs)
        except OSError as error:
            where = f" in {self.folder}" if self.folder else ""
            if is_result and error.errno in FULL:
                text = f"there is no room for its result{where}: {error.strerror}"
                advice = "(make room on that disk, and call again)"
                raise StorageFullError(f"{text} {advice}", actor_id=self.actor_id.hex()) from error
            problem = f"A large value could not be written beside the log{where}: {error.strerror}."
            if may_be_refused:
                raise StorageFullError(
                    f"{problem} The call was not run and has no effect. Once there is room on that disk, calls go on.",
                    actor_id=self.actor_id.hex(),
                ) from error
            self.log.seal(problem)
            raise LogSealedError(problem) from error

    def put_aside_for_checkpoint(self, payloads: Sequence[Payload]) -> tuple[tuple[Payload, ...], tuple[Blob, ...]]:
        """Write what is large to files; return what goes into the next checkpoint's manifest.

        To be given to :meth:`do`. Raises OSError: then there is no checkpoint, and nothing else has changed.
        """
        return blobs.put_aside(self.disk, payloads, self._namer_of(self.log.tables.last_lsn))

    def read_answer(self, answer: Answer) -> Sequence[Payload]:
        """Return the values of an answer, with their bytes. Raises BlobDamagedError."""
        return blobs.bring_back(self.disk, answer.results, answer.blobs)

    def _namer_of(self, lsn: int) -> Namer:
        # A call that is run again after a crash must not write over files that its records name: names go on, also
        # behind some that were removed in between.
        if self._namer.lsn != lsn:
            self._namer = Namer(lsn, blobs.last_of(self.disk, lsn))
        return self._namer
