"""The head's key-value store as a process uses it. It is on the head's disk, for as long as the session's folder is."""

from __future__ import annotations

import errno
from collections.abc import Callable

from ipyactors.ground.exceptions import HeadUnavailableError, SessionError
from ipyactors.owner.session import Session
from ipyactors.wire.codec import Message
from ipyactors.wire.kv_messages import KvDelete, KvGet, KvPut, KvReply, explain_refusal


class HeadKv:
    """Implements :class:`ipyactors.durable.checkpoint_store.Kv`, from any thread of a driver or a worker.

    Each method waits for the head, and for the one after it if it dies meanwhile. All raise OSError, also when no head
    answers within 30 s or the session has ended: then nobody knows whether what was asked for was done or will be, and
    asking again does no harm. In a worker, waiting lends the CPUs of the call that runs to others.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def put(self, key: str, value: bytes) -> None:
        """Keep up to 8 MiB under a key, instead of what is there; a loss of power cannot undo it any more."""
        refusal = explain_refusal(key, len(value))  # what the head would refuse need not travel
        if refusal:
            raise OSError(errno.EFBIG, refusal)
        self._ask(lambda request_id: KvPut(request_id, key, value))

    def get(self, key: str) -> bytes | None:
        """Return what was put under a key, None if there is nothing."""
        return self._ask(lambda request_id: KvGet(request_id, key)).value

    def delete(self, key: str) -> None:
        """Forget a key; it is no error that there is nothing."""
        self._ask(lambda request_id: KvDelete(request_id, key))

    def _ask(self, make: Callable[[int], Message]) -> KvReply:
        try:
            reply: KvReply = self._session.ask_head(make)
        except (HeadUnavailableError, SessionError) as error:
            raise OSError(errno.EIO, f"the head's key-value store could not be asked: {error}") from error
        if reply.error:
            raise OSError(reply.errno or errno.EIO, reply.error)
        return reply
