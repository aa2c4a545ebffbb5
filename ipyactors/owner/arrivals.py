"""Values that are done, brought to this process: mapped, fetched from another machine, made again if they are lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from ipyactors.ground import ids
from ipyactors.ground.exceptions import SessionError
from ipyactors.owner import borrowing, rebuild, values
from ipyactors.owner.custody import Custody
from ipyactors.owner.mail import Mail
from ipyactors.owner.objects import Entry
from ipyactors.owner.state import OwnerState
from ipyactors.owner.storage import Storage, filled
from ipyactors.store.reader import Mapped
from ipyactors.wire.interrupts import deferred
from ipyactors.wire.specs import Payload


class Fetcher(Protocol):
    """What is asked here of the session, which imports this file when a first large value arrives."""

    process_id: bytes
    state: OwnerState
    mail: Mail
    custody: Custody
    storage: Storage | None
    lock: threading.RLock

    @property
    def is_over(self) -> bool:
        """Whether the session has ended by itself."""
        ...

    def wait(self, is_done: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Wait until something is so; return False after ``timeout_s``."""
        ...

    def turn(self) -> None:
        """Take a turn."""
        ...

    def fetch(self, entries: Iterable[Entry]) -> None:
        """Ask for those of the entries that are borrowed and not there."""
        ...

    def is_here(self, entry: Entry) -> bool:
        """Return whether the value of an entry that is done can be had without waiting for another process."""
        ...


def bring(session: Fetcher, entries: Sequence[Entry], timeout_s: float | None) -> dict[bytes, Mapped] | None:
    """Map what is stored of entries that are done; have what is lost made again, and wait for it.

    Return the mappings by segment id: hold them until the values are taken. Return None if ``timeout_s`` passes first.
    """
    __tracebackhide__ = True
    storage = session.storage
    assert storage is not None, "a value is in a store, and this process has none"
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        stored = [entry for entry in entries if entry.payload is not None and entry.payload.stored is not None]
        if not stored:
            return {}
        if any(_is_of_another(session, entry) and not session.is_here(entry) for entry in stored):
            raise _gone_with_its_session()  # nobody is asked for it: its machine's store has gone, and cannot answer
        left_s = None if deadline is None else max(0.0, deadline - time.monotonic())
        brought = storage.bring([entry.payload for entry in stored if entry.payload is not None], left_s)
        if not brought.in_time:
            return None
        if not brought.missing:
            return brought.mapped
        missing = {gone.segment_id for gone in brought.missing}
        gone = [entry for entry in stored if entry.stored is not None and entry.stored.segment_id in missing]
        if session.is_over or any(_is_of_another(session, entry) for entry in gone):
            raise _gone_with_its_session()
        for entry in gone:
            report_missing(session, entry)
        left_s = None if deadline is None else max(0.0, deadline - time.monotonic())
        if not session.wait(lambda: all(entry.done for entry in entries), left_s):
            return None


def _gone_with_its_session() -> SessionError:
    return SessionError(
        "the value was in the memory of a session that has ended, and went with it. "
        "Call ipyactors.init() and submit the work again."
    )


def _is_of_another(session: Fetcher, entry: Entry) -> bool:
    """Return whether an entry is from an earlier session of this process."""
    return not entry.owner_address and ids.owner_of(entry.object_id) != session.process_id


def report_missing(session: Fetcher, entry: Entry) -> None:
    """Have the data of an entry found or made again; it is not done until then."""
    with deferred(), session.lock:
        if entry.payload is None or entry.payload.stored is None:
            return  # another thread has said so already
        if entry.owner_address:
            borrowing.report_missing(session.state, session.mail, entry)
        else:
            rebuild.on_missing(session.state, session.mail, entry)
    session.turn()


def stood_for(session: Fetcher, payloads: Sequence[Payload]) -> list[Payload]:
    """Return payloads with the bytes of the objects that they stand for, fetched side by side, made again if lost.

    Raises what such an object has failed with. The caller holds the objects until the bytes are unpickled.
    """
    __tracebackhide__ = True
    specs = [payload.stands_for for payload in payloads]
    found = {spec.object_id: session.custody.adopt(spec) for spec in specs if spec is not None}
    entries = list(found.values())
    while True:
        session.fetch(entries)
        session.wait(lambda: all(entry.done for entry in entries) or any(entry.failure for entry in entries))
        for entry in entries:
            if entry.failure is not None:
                values.value_of(entry)
        mapped = bring(session, entries, None) or {}
        present = {object_id: entry.payload for object_id, entry in found.items()}
        if all(payload is not None and _has_bytes(payload, mapped) for payload in present.values()):
            break  # else it was lost, or failed, since
    bytes_of = {object_id: filled(payload, mapped) for object_id, payload in present.items() if payload is not None}
    return [
        payload if spec is None else bytes_of[spec.object_id] for payload, spec in zip(payloads, specs, strict=True)
    ]


def _has_bytes(payload: Payload, mapped: dict[bytes, Mapped]) -> bool:
    return payload.stored is None or payload.stored.segment_id in mapped


def value_of(session: Fetcher, entry: Entry) -> Any:
    """Return the value of an entry that is done, or raise its failure; may wait for another machine, or a rebuild."""
    __tracebackhide__ = True
    while entry.failure is None and entry.payload is not None and entry.payload.stored is not None:
        mapped = bring(session, [entry], None)
        payload = entry.payload
        if mapped and payload is not None and payload.stored is not None and payload.stored.segment_id in mapped:
            return values.load(entry.object_id, filled(payload, mapped))
    return values.value_of(entry)
