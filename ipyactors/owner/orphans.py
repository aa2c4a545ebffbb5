"""Borrowed objects whose owner is gone: their data is claimed, and looked for once somebody needs it.

A segment outlives the process that owned it, for as long as somebody claims it: whoever refers to an object of a dead
process tells the head so at once (``head/claims.py``). An object that is asked for is then looked for on all machines.
If it is nowhere (small values were in the dead process only), the call that had brought the reference runs again, if
this process has made that call: :mod:`ipyactors.owner.lineage` keeps how the reference came. The object follows the
one to which the new result refers at the same place (:mod:`ipyactors.owner.runs`).
"""

from __future__ import annotations

from ipyactors.ground import ids
from ipyactors.owner import loans, rebuild
from ipyactors.owner.objects import Entry
from ipyactors.owner.out import Out
from ipyactors.owner.state import OwnerState
from ipyactors.wire.head_messages import OwnerLost
from ipyactors.wire.store_messages import ClaimObjects, ObjectsClaimed


def on_owner_lost(state: OwnerState, out: Out, message: OwnerLost) -> None:
    """A process is gone. What is awaited from it is looked for; what it had borrowed it has no more."""
    owner_id = message.owner_id
    # Others are made again already, with what the same call had brought.
    awaited = [entry for entry in state.watched.pop(owner_id, {}).values() if entry.object_id in state.objects.fetching]
    loans.on_process_gone(state, out, owner_id)
    claimed = _claim(state, owner_id)
    if claimed:
        out.to_head(ObjectsClaimed(owner_id, claimed))
    rebuild.search_orphans(state, out, awaited)
    state.left_streams.pop(owner_id, None)
    state.retriable.forget_process(owner_id)
    if owner_id not in state.holders:
        out.disconnect(owner_id)


def on_claim_objects(state: OwnerState, out: Out, message: ClaimObjects) -> None:
    """The head waits for what this process claims of one that is gone, though it may be nothing."""
    out.to_head(ObjectsClaimed(message.owner_id, _claim(state, message.owner_id)))


def repeat_claims(state: OwnerState, out: Out) -> None:
    """Tell a head that was started again what this process has claimed."""
    by_owner: dict[bytes, list[bytes]] = {}
    for object_id in state.objects.claimed:
        by_owner.setdefault(ids.owner_of(object_id), []).append(object_id)
    for owner_id, object_ids in by_owner.items():
        out.to_head(ObjectsClaimed(owner_id, tuple(object_ids)))


def _claim(state: OwnerState, owner_id: bytes) -> tuple[bytes, ...]:
    """Claim what was not claimed yet and may be in a store; return that."""
    objects = state.objects
    claimed = tuple(
        entry.object_id
        for entry in list(objects.borrowed.values())
        if ids.owner_of(entry.object_id) == owner_id
        and entry.object_id not in objects.claimed
        and _may_be_stored(entry)
    )
    objects.claimed.update(claimed)
    return claimed


def _may_be_stored(entry: Entry) -> bool:
    """Return whether the data may be in a segment: not if it is here, in a message, or belongs to another object."""
    if not entry.done:
        return entry.producer is None and loans.heir_of(entry) is entry
    return entry.stored is not None and entry.stored.segment_id == entry.object_id
