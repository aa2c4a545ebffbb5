"""The functions that callers have sent, each for as long as any of them may call it.

Several callers may send the same function; it is known by its content, unpickled once, and forgotten when the last of
them needs it no more or is gone. Its pickle is let go of as soon as it is unpickled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ipyactors.wire.specs import Definition


class Definitions:
    """Filled and emptied under the session's lock; read, and loaded from, by the thread that runs calls.

    ``functions`` are those that were unpickled, by id.
    """

    def __init__(self) -> None:
        self.functions: dict[bytes, Callable[..., Any]] = {}
        self._pickled: dict[bytes, Definition] = {}
        self._callers: dict[bytes, set[bytes]] = {}

    def add(self, caller: bytes, definition: Definition) -> None:
        """Keep a function for the calls that will name it."""
        definition_id = definition.definition_id
        self._callers.setdefault(definition_id, set()).add(caller)
        if definition_id not in self.functions:
            self._pickled[definition_id] = definition

    def get(self, definition_id: bytes) -> Definition | None:
        """Return a function that was not unpickled yet; None if it was, or was never sent."""
        return self._pickled.get(definition_id)

    def note_loaded(self, definition_id: bytes, function: Callable[..., Any]) -> None:
        """Keep a function that is unpickled now, and its pickle no longer."""
        if definition_id in self._callers:  # its only caller may have died meanwhile
            self.functions[definition_id] = function
            self._pickled.pop(definition_id, None)

    def forget(self, caller: bytes, definition_ids: Iterable[bytes]) -> list[object]:
        """Note that a caller needs these no more; return what is to be let go of, where finalizers may run."""
        dropped: list[object] = []
        for definition_id in definition_ids:
            callers = self._callers.get(definition_id)
            if callers is None:
                continue
            callers.discard(caller)
            if not callers:
                del self._callers[definition_id]
                dropped += (self._pickled.pop(definition_id, None), self.functions.pop(definition_id, None))
        return dropped

    def forget_caller(self, caller: bytes) -> list[object]:
        """Note that a caller is gone; return as :meth:`forget` does."""
        return self.forget(caller, [known for known, callers in self._callers.items() if caller in callers])

    def check_invariants(self) -> None:
        """Raise AssertionError unless the tables agree with each other."""
        assert all(self._callers.values()), "a function is kept for nobody"
        assert not set(self.functions) & set(self._pickled), "a function is kept twice"
        assert set(self.functions) | set(self._pickled) == set(self._callers)
