"""Reading what references refer to: one after the other, or the first of several."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from ipyactors.engines.waiting import AllDoneOrFailed, Countdown, left_until, not_in_time
from ipyactors.owner import arrivals, unasked
from ipyactors.owner.objects import Entry
from ipyactors.owner.refs import ObjectRef
from ipyactors.owner.session import Session
from ipyactors.wire.interrupts import deferred


def get(session: Session, refs: Sequence[ObjectRef], timeout_s: float | None) -> list[Any]:
    """Return the values, in order; raise the first error among those that are there. Raises GetTimeoutError."""
    __tracebackhide__ = True
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    entries = [ref._entry for ref in refs]
    if not all(entry.done for entry in entries):
        session.fetch(entries)
        progress = AllDoneOrFailed(session.state.objects, entries)
        with session.waits.during(entries):
            is_over = session.wait(progress, timeout_s, entries)
        if not is_over:
            raise not_in_time(session, entries, timeout_s)
        for entry in entries:
            if entry.failure is not None:
                _mark_asked(session, entries)
                session.announcer.catch_up()
                session.value_of(entry)
    held = None
    if any(entry.payload is not None and entry.payload.stored is not None for entry in entries):
        # All at once: what is on other machines travels side by side. The mappings are held until they are used.
        held = arrivals.bring(session, entries, left_until(deadline))
        if held is None:
            raise not_in_time(session, entries, timeout_s)
    session.announcer.catch_up()
    try:
        return [session.value_of(entry) for entry in entries]
    except BaseException:
        _mark_asked(session, entries)
        raise


def _mark_asked(session: Session, entries: Sequence[Entry]) -> None:
    """One has failed, and is all that is raised: nobody need be told of the others that fail."""
    with deferred(), session.lock:
        unasked.mark_asked(entries)


def first_done(session: Session, entries: list[Entry], num_returns: int, timeout_s: float | None) -> list[int]:
    """Wait for so many entries; return the indices of that many that are done, or of fewer after the time."""
    session.fetch(entries)
    countdown = Countdown(num_returns)
    with deferred(), session.lock:
        for entry in entries:
            entry.when_done(countdown.count)
    try:
        with session.waits.during(entries):
            session.wait(countdown, timeout_s)
    finally:
        with deferred(), session.lock:
            for entry in entries:
                entry.forget(countdown.count)
    session.announcer.catch_up()
    return [index for index, entry in enumerate(entries) if entry.done][:num_returns]
