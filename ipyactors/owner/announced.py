"""Definitions that workers have been sent, and which of them nothing needs any more.

A definition is held by the remote function, by the calls of it that are not done, and by the lineage of results that
may have to be made again. When the last of these goes, every worker that was sent it is told to forget it: what the
function has captured lives in each of them besides. Another call of the same function, should there be one, sends it
again.

A function that is passed around as an argument is unpickled again and again, a definition each time and all of them
equal. So that workers do not have to load it as often, the latest definitions stay for a while, if they are small and
refer to nothing.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, Self

from ipyactors.wire.specs import Definition

#: So many small definitions are kept beyond their last use; what is small, in bytes.
LINGERING = 64
SMALL_BYTES = 16 << 10


class _Known(weakref.ref[Definition]):
    """How a definition is known that was sent: by a reference that tells when it has gone."""

    __slots__ = ("definition_id",)

    definition_id: bytes

    def __new__(cls, definition: Definition, on_gone: Callable[[Any], None]) -> Self:
        self = super().__new__(cls, definition, on_gone)
        self.definition_id = definition.definition_id
        return self


class Announced:
    """See the head of this file. Used under the session's lock; a definition may go at any moment, on any thread.

    ``wake`` is called then, to have a turn taken soon; it must take no lock.
    """

    def __init__(self) -> None:
        self.wake: Callable[[], object] = lambda: None
        self.gone: deque[_Known] = deque()
        """What has gone lately."""
        self._known: dict[bytes, _Known] = {}
        self._lingering: deque[Definition] = deque(maxlen=LINGERING)

    def note(self, definition: Definition) -> None:
        """Note that a worker is sent a definition."""
        definition_id = definition.definition_id
        known = self._known.get(definition_id)
        if known is not None and known() is not None:
            return
        self._known[definition_id] = _Known(definition, self._on_gone)
        payload = definition.payload
        if not payload.names_any and len(payload.data) <= SMALL_BYTES:
            self._lingering.append(definition)

    def take_gone(self) -> list[bytes]:
        """Return the ids of what has gone since the last look, and was not sent again."""
        found: list[bytes] = []
        while self.gone:
            known = self.gone.popleft()
            if self._known.get(known.definition_id) is known:
                del self._known[known.definition_id]
                found.append(known.definition_id)
        return found

    def _on_gone(self, known: Any) -> None:
        self.gone.append(known)
        self.wake()
