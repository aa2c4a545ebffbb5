"""Stored values that arrive of a run which this process does not wait for any more.

A call is made again when its worker or its machine is given up, and then what the first run has sent may still come. A
segment has the name of its object, whichever run has written it: to free what came late might free what the other run
has written, or is about to answer with. So it is freed with the object, if there still is one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ipyactors.ground import ids
from ipyactors.owner.calls import PendingCall
from ipyactors.owner.out import Out
from ipyactors.owner.state import OwnerState
from ipyactors.wire.specs import Payload


def take(state: OwnerState, out: Out, payloads: Iterable[Payload]) -> None:
    """See to it that what came late is freed: with its object, or now if there is none, or one that is small."""
    for payload in payloads:
        if payload.stored is None:
            continue
        out.own(payload)
        object_id = payload.stored.segment_id
        entry = state.lineage.entries.get(object_id)
        call = None if entry is not None else _find_call(state, object_id)
        if call is not None and call.stream is not None:
            call.stream.expect_other(ids.index_of(object_id) - 1, payload)
            continue
        if call is not None:
            entry = next((entry for entry in call.entries if entry.object_id == object_id), None)
        if entry is None:
            continue
        if not entry.done:
            entry.expect_other(payload)
        elif entry.stored is not None:
            entry.add_copy(payload)


def _find_call(state: OwnerState, object_id: bytes) -> PendingCall | None:
    """Return the call that is to make an object. All are looked through: it is rare that one is sought."""
    origin = ids.owner_of(object_id), ids.counter_of(object_id)
    calls = _calls(state)
    return next((call for call in calls if (ids.owner_of(call.task_id), ids.counter_of(call.task_id)) == origin), None)


def _calls(state: OwnerState) -> Iterator[PendingCall]:
    """Yield the calls that are not done."""
    yield from state.waiting
    for holder in state.holders.values():
        yield from holder.in_flight.values()
    for shape in state.leases.by_id.values():
        yield from shape.queue
    for client in state.actors.values():
        yield from client.outbox
