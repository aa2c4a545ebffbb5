"""Objects that this process owns or has borrowed: one entry each, completed once.

An entry is held by the references to it in this process, by the payloads that name it and by the call that makes it,
and by nothing else: Python's own reference counts free it. An entry of which other processes have references is held
by ``ObjectTable.exported`` besides, for as long as they have; :mod:`ipyactors.owner.loans` tells how that is known.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterable

import msgspec

from ipyactors.owner.origins import Origin
from ipyactors.wire.specs import Location, Payload, RemoteError, Stored

#: What went wrong: an exception of the user's code, or one of the runtime's own.
Failure = RemoteError | Exception


class Entry:
    """One object. Changed only under the session's lock; ``done`` and what follows may be read without it.

    ``producer`` is the call that makes it, until it is done. ``tokens`` live as long as the value: they count the
    actor handles inside it. ``lineage`` says what could make the value again, see :mod:`ipyactors.owner.lineage`, and
    ``origin`` which line of the user's code it is from, see :mod:`ipyactors.owner.origins`.

    An entry that was done may be open again, while its data is looked for or made again. It keeps the payload
    meanwhile: a thread that reads without the lock finds that the data is not there, and waits. For the same reason
    ``failure`` is set before the payload goes: read the payload first.
    """

    __slots__ = (
        "__weakref__",
        "callbacks",
        "done",
        "failure",
        "lineage",
        "object_id",
        "origin",
        "owner_address",
        "payload",
        "producer",
        "tokens",
    )

    def __init__(
        self, object_id: bytes, producer: object | None = None, owner_address: str = "", origin: Origin | None = None
    ) -> None:
        self.object_id = object_id
        self.origin = origin
        self.producer = producer
        self.owner_address = owner_address  # empty: this process owns it
        self.payload: Payload | None = None
        self.failure: Failure | None = None
        self.done = False
        self.callbacks: list[Callable[[Entry], None]] | None = None
        self.tokens: tuple[object, ...] = ()
        self.lineage: object = None

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
            self.payload = None
            self._finish()

    # -- lost data ---------------------------------------------------------------------------------------------

    @property
    def stored(self) -> Stored | None:
        """Where its data is, if that is in a store."""
        return None if self.payload is None else self.payload.stored

    def reopen(self) -> None:
        """Be as one that is not done: its data is lost. Then it is closed, completed or failed once more."""
        self.done = False

    def close(self) -> None:
        """Be done again, with the data that it had."""
        self._finish()

    def leave(self, node_id: bytes) -> None:
        """Note that a machine is gone where its data was."""
        stored = self.stored
        assert stored is not None, "what is in a message is on no machine"
        for token in self._tokens():
            token.scatter()
        self.move(tuple(place for place in stored.locations if place.node_id != node_id))

    def move(self, locations: tuple[Location, ...]) -> None:
        """Note where its data is."""
        payload = self.payload
        assert payload is not None, "what has no data is nowhere"
        assert payload.stored is not None, "what is in a message is nowhere else"
        stored = msgspec.structs.replace(payload.stored, locations=locations)
        for token in self._tokens():
            token.stored = stored
        self.payload = payload.with_bytes(b"", (), stored)

    def renew(self, payload: Payload) -> None:
        """Complete an open entry with data that was made again: what stands for the old must not free the new."""
        fresh = payload.stored
        if fresh is not None:
            heirs = _tokens_in(payload.held)
            for token in self._tokens():
                if heirs:
                    token.give_up(*heirs)
                else:
                    token.stored = fresh
                    payload.holding(token)
        self.complete(payload)

    def add_copy(self, payload: Payload) -> None:
        """Note data that was made although it was there: a further copy, or nothing if it is not in a store.

        Two processes have written it now, perhaps to the same place. The store there may hear of the second writing
        after the word to free both, so that word goes everywhere by the longer way, through the head.
        """
        stored, fresh = self.stored, payload.stored
        if stored is None or fresh is None:
            return
        for token in _tokens_in(payload.held):
            token.give_up()
        for token in self._tokens():
            token.scatter()
        known = {place.node_id for place in stored.locations}
        self.move((*stored.locations, *(place for place in fresh.locations if place.node_id not in known)))

    def expect_other(self, payload: Payload) -> None:
        """Note data that is not used, for other data is on its way under the same id: it is freed with the object."""
        spare = _tokens_in(payload.held)
        for token in spare:
            token.scatter()
        self.tokens += tuple(spare)

    def _tokens(self) -> list[SegmentToken]:
        return _tokens_in((*self.tokens, *(self.payload.held if self.payload is not None else ())))

    def _finish(self) -> None:
        self.done = True
        self.producer = None
        callbacks, self.callbacks = self.callbacks, None
        for callback in callbacks or ():
            callback(self)


class BorrowedEntry(Entry):
    """An object of another process. ``on_gone(object_id)`` is called, on whatever thread, when nothing needs it.

    ``heir`` is the object that was made in its place when its owner was gone: what becomes of it, becomes of this one.
    """

    __slots__ = ("_token", "heir")

    def __init__(self, object_id: bytes, owner_address: str, on_gone: Callable[[bytes], object]) -> None:
        super().__init__(object_id, None, owner_address)
        self.heir: Entry | None = None
        self._token = _LastUse(on_gone, object_id)


class Reference:
    """What the user holds of an object. A census looks for the kinds of these."""

    __slots__ = ("_entry",)

    def __init__(self, entry: Entry) -> None:
        self._entry = entry


class _LastUse:
    """Goes with the entry that has it.

    Not a ``__del__`` of the entry itself: while that runs, a table of weak references could still give the entry away.
    """

    __slots__ = ("_object_id", "_on_gone")

    def __init__(self, on_gone: Callable[[bytes], object], object_id: bytes) -> None:
        self._on_gone = on_gone
        self._object_id = object_id

    def __del__(self) -> None:
        self._on_gone(self._object_id)


class SegmentToken:
    """A value's right to its segment in a store: when it goes, the segment is freed at all places of ``stored``.

    A machine that has it from another is told by that one. Where one of the places is gone for good, it cannot tell
    anybody: the segment is then freed with no place said, which means wherever it may be (``scatter``).

    It goes with the payload that holds it, on whatever thread. Data that replaces other data of the same object has
    the same segment id: the old token must not free the new data, so it is told to :meth:`give_up` first, or has
    its ``stored`` changed.
    """

    __slots__ = ("_free", "_is_scattered", "stored")

    def __init__(self, free: Callable[[Stored], object], stored: Stored) -> None:
        self._free: Callable[[Stored], object] | None = free
        self._is_scattered = False
        self.stored = stored

    def scatter(self) -> None:
        """Free it wherever it may be in the end."""
        self._is_scattered = True

    def give_up(self, *heirs: SegmentToken) -> None:
        """Free nothing in the end: other tokens have the right now, and free it as widely as this one would have."""
        self._free = None
        if self._is_scattered:
            for heir in heirs:
                heir.scatter()

    def __del__(self) -> None:
        if self._free is not None:
            stored = self.stored
            self._free(msgspec.structs.replace(stored, locations=()) if self._is_scattered else stored)


def _tokens_in(things: Iterable[object]) -> list[SegmentToken]:
    return [thing for thing in things if isinstance(thing, SegmentToken)]


class ObjectTable:
    """The entries that others can ask for, and those that are asked of others.

    ``on_gone`` hears of the last use of something borrowed: it may be called at any moment, so it takes no lock.
    """

    def __init__(self) -> None:
        self.exported: dict[bytes, Entry] = {}
        """What this process owns and others can reach: they have counts in ``lent``, or it is ``pinned``."""
        self.named: weakref.WeakValueDictionary[bytes, Entry] = weakref.WeakValueDictionary()
        """What this process owns and has pickled a reference to."""
        self.borrowed: weakref.WeakValueDictionary[bytes, Entry] = weakref.WeakValueDictionary()
        self.lent: dict[bytes, dict[tuple[bytes, bytes], int]] = {}
        """By id of an exported object: by lender and borrower, how often it was lent and not given back; never 0."""
        self.pinned: set[bytes] = set()
        """Exported objects of which references were pickled outside of any payload: kept to the end."""
        self.loans: dict[bytes, dict[bytes, int]] = {}
        """By id of a borrowed object: by lender, how many references of its have come and were not given back."""
        self.newcomers: set[bytes] = set()
        """Borrowed objects that have come in this turn, with some message, and were not known here before."""
        self.claimed: set[bytes] = set()
        """Borrowed objects whose owner is gone, and whose data is kept for this process."""
        self.gone: deque[bytes] = deque()
        """Ids of borrowed objects whose entry has gone lately."""
        self.on_gone: Callable[[bytes], object] = self.gone.append
        self.unsettled: set[tuple[bytes, bytes]] = set()
        """Lenders that are gone, each with a borrower that has not said yet what it got from them."""
        self.settling: dict[bytes, dict[bytes, str]] = {}
        """By lender: the owners, with their addresses, to be told what came from it once it is known to be gone."""
        self.is_owner_told = False
        """Whether the head was told that others have references to what is here."""
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
            assert object_id in self.lent or object_id in self.pinned, "an object is exported to nobody"
        for object_id, counts in self.lent.items():
            assert object_id in self.exported, "an object is lent and not exported"
            assert counts, "an object is lent to nobody"
            assert all(counts.values()), f"a count of nothing: {counts}"
        for object_id, weights in self.loans.items():
            assert weights, f"{object_id.hex()} is borrowed from nobody"
            assert all(weight > 0 for weight in weights.values()), f"a weight of nothing: {weights}"
        for object_id, entry in self.fetching.items():
            assert entry.owner_address, f"{object_id.hex()} is fetched from nobody"
            assert not entry.done, f"{object_id.hex()} is there and still being fetched"
