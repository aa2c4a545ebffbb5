"""The way from an actor's process to the one that has created the actor, which may never have called it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipyactors.wire.codec import Message
from ipyactors.wire.creator_messages import ConfirmOutput
from ipyactors.wire.interrupts import deferred

if TYPE_CHECKING:
    from ipyactors.owner.session import Session

#: A creator that is busy for longer does not hold the actor up.
_HEARS_WITHIN_S = 2.0


class Creator:
    """The process ``process_id`` at ``address``; connected with its first message. Thread-safe."""

    def __init__(self, session: Session, process_id: bytes, address: str) -> None:
        self._session = session
        self._process_id = process_id
        self._address = address
        self._is_connected = False
        self._is_gone = False
        self._asked = 0
        self._confirmed = 0

    def tell(self, message: Message) -> None:
        """Send it a message; nothing happens if it is gone."""
        session = self._session
        with deferred(), session.lock:
            if not self._is_connected:
                self._is_connected = True
                session.mail.connect(self._process_id, self._address)
                session.custody.watch(self._process_id)  # when it is gone, nothing is queued for it any more
            session.mail.to_owner(self._process_id, message)
        session.flush()

    def wait_until_heard(self) -> None:
        """Return when it has all that it was told, at once if that is nothing; or if it is gone, or busy for long.

        Not for a thread that is in a turn. Raises SessionError if the session ends.
        """
        if not self._is_connected:
            return
        with self._session.lock:
            self._asked += 1
            asked = self._asked
        self.tell(ConfirmOutput())
        self._session.wait(lambda: self._confirmed >= asked or self._is_gone, _HEARS_WITHIN_S)

    def on_confirmed(self) -> None:
        """It has answered a :class:`ConfirmOutput`. Under the session's lock, like the next."""
        self._confirmed += 1

    def on_lost(self, process_id: bytes) -> None:
        """A process is gone: this one perhaps."""
        self._is_gone |= process_id == self._process_id
