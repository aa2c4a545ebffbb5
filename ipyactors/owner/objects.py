"""Objects that this process owns or has borrowed: one entry each, completed once.

An entry of a value that only this process can reach is held by its references and by the call that makes it, and
by nothing else: Python's own reference counts free it. An entry whose reference has left the process is listed in
``ObjectTable.exported`` so that a borrower's question finds it; those stay until the session ends.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable

from ipyactors.wire.specs import Payload, RemoteError

#: What went wrong: an exception of the user's code, or one of the runtime's own.
Failure = RemoteError | Exception


class Entry:
    """One object. Changed only under the session's lock; ``done`` and what follows may be read without it.

    ``producer`` is the call that makes it, until it is done. ``tokens`` live as long as the value: they count the
    actor handles inside it.
    """

    __slots__ = (
        "__weakref__",
        "callbacks",
        "done",
        "failure",
        "object_id",
        "owner_address",
        "payload",
        "producer",
        "tokens",
    )

    def __init__(self, object_id: bytes, producer: object | None = None, owner_address: str = "") -> None:
        self.object_id = object_id
        self.producer = producer
        self.owner_address = owner_address  # empty: this process owns it
        self.payload: Payload | None = None
        self.failure: Failure | None = None
        self.done = False
        self.callbacks: list[Callable[[Entry], None]] | None = None
        self.tokens: tuple[object, ...] = ()

    def when_done(self, callback: Callable[[Entry], None]) -> None:
        """Call back once the entry is done, at once if it is; under the session's lock, so be quick."""
        if self.done:
            callback(self)
        elif self.callbacks is None:
            self.callbacks = [callback]
        else:
            self.callbacks.append(callback)

    def forget(self, callback: Callable[[Entry], None]) -> None:
        """Take a callback back; harmless if it was called already."""
        if self.callbacks is not None and callback in self.callbacks:
            self.callbacks.remove(callback)

    def complete(self, payload: Payload) -> None:
        """Set the value; a second outcome of the same object is ignored."""
        if not self.done:
            self.payload = payload
            self._finish()

    def fail(self, failure: Failure) -> None:
        """Set the failure; a second outcome of the same object is ignored."""
        if not self.done:
            self.failure = failure
            self._finish()

    def _finish(self) -> None:
        self.done = True
        self.producer = None
        callbacks, self.callbacks = self.callbacks, None
        for callback in callbacks or ():
            callback(self)


class ObjectTable:
    """The entries that others can ask for, and those that are asked of others."""

    def __init__(self) -> None:
        self.exported: dict[bytes, Entry] = {}
        self.borrowed: weakref.WeakValueDictionary[bytes, Entry] = weakref.WeakValueDictionary()
        self.fetching: dict[bytes, Entry] = {}
        self.failures = 0
        """How many entries have failed so far: tells a waiting ``get`` when to look for an early error.

        Counted after the entry is marked, since a waiting thread looks without the lock.
        """

    def check_invariants(self) -> None:
        """Raise AssertionError if the tables contradict each other."""
        for object_id, entry in self.exported.items():
            assert entry.object_id == object_id, "an exported entry is listed under another id"
            assert not entry.owner_address, "a borrowed entry is listed as exported"
        for object_id, entry in self.fetching.items():
            assert entry.owner_address, f"{object_id.hex()} is fetched from nobody"
            assert not entry.done, f"{object_id.hex()} is there and still being fetched"
