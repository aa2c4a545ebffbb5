"""The way from an actor's process to the one that has created the actor, which may never have called it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipyactors.wire.codec import Message
from ipyactors.wire.interrupts import deferred

if TYPE_CHECKING:
    from ipyactors.owner.session import Session


class Creator:
    """The process ``process_id`` at ``address``; connected with its first message. Thread-safe."""

    def __init__(self, session: Session, process_id: bytes, address: str) -> None:
        self._session = session
        self._process_id = process_id
        self._address = address
        self._is_connected = False

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
