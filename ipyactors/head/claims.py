"""What a process leaves behind that is gone: its objects' data, as long as somebody else refers to them.

Every process that lives is asked what it claims, and only when all have answered, or are gone, the stores hear that
the owner is gone, and what to keep. So nothing is removed that a reference leads to, however late the reference was
on its way when its owner died: who is asked has by then heard all that the dead one had sent to it. A claim ends when
its process releases it or is gone itself, and with the last one the stores remove the data.

While one of those who are asked is stopped, what the dead one owned stays, and nothing else waits. A worker to whose
objects nobody had a reference (most of them) is forgotten at once. A claim may come unasked, from somebody to whom
another claimant has passed the reference on. If the other's ended before, the data is gone.

A head that was started again asks when it has settled, since only then it knows whom; those who had claimed something
tell it again by themselves. What was claimed by somebody who died while there was no head is kept to the session's end.
"""

from __future__ import annotations

from collections.abc import Iterable

from ipyactors.ground import ids
from ipyactors.head.out import Out
from ipyactors.head.tables import Owner, Tables
from ipyactors.wire.store_messages import ClaimObjects, ForgetOwner, ForgetSegments, ObjectsClaimed, ReleaseClaims

# -- when an owner is gone -----------------------------------------------------------------------------------------


def on_owner_gone(tables: Tables, out: Out, owner_id: bytes) -> None:
    """Have every machine remove what a process has owned, once it is known what of that others need."""
    owner = tables.owners.get(owner_id)
    _release(tables, out, owner, list(owner.claimed) if owner is not None else ())
    _need_no_answer(tables, out, owner_id)
    if _may_have_lent(tables, owner):
        tables.claimings[owner_id] = None
        if tables.is_settled:
            _ask(tables, out, owner_id)
    else:
        _forget(tables, out, owner_id)


def _may_have_lent(tables: Tables, owner: Owner | None) -> bool:
    """Return whether others may refer to its objects."""
    if owner is None or not owner.is_registered:
        return tables.head_epoch > 0  # an earlier head may have known
    return owner.is_driver or owner.owns_objects


def on_settled(tables: Tables, out: Out) -> None:
    """Ask, as a restarted head, what had to wait until it knew whom to ask."""
    for owner_id in list(tables.claimings):
        _ask(tables, out, owner_id)


def _ask(tables: Tables, out: Out, owner_id: bytes) -> None:
    waiting = {other.owner_id for other in tables.owners.values() if other.is_registered} - {owner_id}
    tables.claimings[owner_id] = waiting
    for other_id in sorted(waiting):
        out.to_owner(other_id, ClaimObjects(owner_id))
    _forget_if_all_have_answered(tables, out, owner_id)


# -- what the others say -------------------------------------------------------------------------------------------


def on_objects_claimed(tables: Tables, out: Out, claimant: Owner, message: ObjectsClaimed) -> None:
    """Note what a process refers to. Nothing can be claimed of an owner that lives: it decides itself."""
    owner_id = message.owner_id
    if owner_id in tables.owners or owner_id in tables.workers:
        return
    for object_id in message.object_ids:
        if ids.owner_of(object_id) == owner_id:
            tables.claims.setdefault(object_id, set()).add(claimant.owner_id)
            claimant.claimed.add(object_id)
    waiting = tables.claimings.get(owner_id)
    if waiting is not None:
        waiting.discard(claimant.owner_id)
        _forget_if_all_have_answered(tables, out, owner_id)


def on_release_claims(tables: Tables, out: Out, claimant: Owner, message: ReleaseClaims) -> None:
    """Note that a process refers to something no more."""
    _release(tables, out, claimant, message.object_ids)


def _release(tables: Tables, out: Out, claimant: Owner | None, object_ids: Iterable[bytes]) -> None:
    """End claims; what nobody claims any more is removed, or will be with all that its owner had."""
    unclaimed: list[bytes] = []
    for object_id in object_ids:
        claimants = tables.claims.get(object_id)
        if claimant is None or claimants is None or claimant.owner_id not in claimants:
            continue
        claimants.remove(claimant.owner_id)
        claimant.claimed.remove(object_id)
        if not claimants:
            del tables.claims[object_id]
            if ids.owner_of(object_id) not in tables.claimings:
                unclaimed.append(object_id)
    if unclaimed:
        for node_id in tables.nodes:
            out.to_node(node_id, ForgetSegments(tuple(unclaimed)))


def _need_no_answer(tables: Tables, out: Out, claimant_id: bytes) -> None:
    for owner_id, waiting in list(tables.claimings.items()):
        if waiting is not None and claimant_id in waiting:
            waiting.remove(claimant_id)
            _forget_if_all_have_answered(tables, out, owner_id)


def _forget_if_all_have_answered(tables: Tables, out: Out, owner_id: bytes) -> None:
    if not tables.claimings[owner_id]:
        del tables.claimings[owner_id]
        _forget(tables, out, owner_id)


def _forget(tables: Tables, out: Out, owner_id: bytes) -> None:
    keep = tuple(object_id for object_id in tables.claims if ids.owner_of(object_id) == owner_id)
    for node_id in tables.nodes:
        out.to_node(node_id, ForgetOwner(owner_id, keep))
