"""Who has references to what: counts with the owner of an object, weights with those who have borrowed it.

A reference leaves a process inside a payload, and each shipping of a payload counts one for each object that it names.

* *The lender*, whoever ships it, first tells the object's owner who is to have it (``LendObject``). It cannot let go
  of its own before: the payload holds what it names.
* *The borrower* takes note, when the payload arrives, of what came from whom (``loans``). It holds one entry for the
  object, which lives as long as any reference or payload here names it. With the entry, everything goes back at once
  (``ReleaseObject``, one for each lender).
* *The owner* keeps for each lender and borrower how much was lent and not given back (``lent``), and keeps the object
  while any of these counts is not zero. A reference that comes home is taken off on its arrival.

Words of different processes overtake each other: a borrower may give back what its lender has not announced yet. That
count is below zero then, but the lender's own is still there, since it speaks of its loan before it lets go.

A process that is gone has nothing any more, so its counts as a borrower vanish. What it has lent as a lender may have
reached the borrower or not. The owner has the borrower asked, through the head, which knows the way to everybody. It
answers once it has heard itself that the lender is gone: a death notice comes after all that the dead one has sent.
From then on what did arrive counts as lent by the borrower to itself.

One thing is taken for granted: words leave a process in the order in which they were said, whomever they are for (see
:meth:`ipyactors.owner.mail.Mail.flush`). So a payload that left a process before it was killed was announced. It may
fail where the connection to the owner was made less than a millisecond before; the reference is then found lost.

A reference that is pickled outside of any payload (a file, another library) may come back at any time, from anywhere.
Its object is *pinned*: kept until its owner ends. Where such bytes are unpickled, the borrower lends it to itself.
"""

from __future__ import annotations

from ipyactors.ground import ids
from ipyactors.owner import losses
from ipyactors.owner.objects import BorrowedEntry, Entry
from ipyactors.owner.out import Out
from ipyactors.owner.state import OwnerState
from ipyactors.owner.watching import watch
from ipyactors.wire.head_messages import AskBorrower, LendActor, OwnsObjects, SettleLends
from ipyactors.wire.specs import Payload, RefSpec
from ipyactors.wire.store_messages import ReleaseClaims
from ipyactors.wire.worker_messages import LendObject, LendsSettled, ReleaseObject

#: The borrower of what was pickled for whoever may read it.
ANYBODY = b""


# -- references that go and come -------------------------------------------------------------------------------


def refer(state: OwnerState, out: Out, entry: Entry, *, is_carried: bool) -> RefSpec:
    """Return what a reference that is being pickled says. Unless a payload carries it, its object is pinned."""
    entry = heir_of(entry)
    if entry.owner_address:
        if not is_carried:
            out.to_owner(ids.owner_of(entry.object_id), LendObject(entry.object_id, ANYBODY))
        return RefSpec(entry.object_id, entry.owner_address)
    state.objects.named[entry.object_id] = entry
    if not is_carried:
        _pin(state, out, entry)
    return RefSpec(entry.object_id, state.address)


def heir_of(entry: Entry) -> Entry:
    """Return what was made in the place of a borrowed object, and of that, and so on; itself if nothing was."""
    while isinstance(entry, BorrowedEntry) and entry.heir is not None:
        entry = entry.heir
    return entry


def lend(state: OwnerState, out: Out, borrower_id: bytes, payload: Payload) -> None:
    """Announce what a payload names to those who count it. To be called before each time that it is sent."""
    for spec in payload.refs:
        owner_id = ids.owner_of(spec.object_id)
        if owner_id == state.owner_id:
            _count(state, out, spec.object_id, owner_id, borrower_id, 1)
        else:
            out.to_owner(owner_id, LendObject(spec.object_id, borrower_id))
    for actor_id in payload.actor_ids:
        out.to_head(LendActor(actor_id, borrower_id))


def receive(state: OwnerState, out: Out, lender_id: bytes, payload: Payload) -> tuple[Entry, ...]:
    """Take over the references in a payload that ``lender_id`` has sent; return what is to be held with it."""
    held: list[Entry] = []
    for spec in payload.refs:
        object_id = spec.object_id
        if ids.owner_of(object_id) == state.owner_id:
            held.append(find(state, object_id) or _lost(object_id))
            _count(state, out, object_id, lender_id, state.owner_id, -1)
        else:
            if object_id not in state.objects.borrowed:
                state.objects.newcomers.add(object_id)
            held.append(_borrow(state, out, spec))
            _weigh(state, object_id, lender_id)
    return tuple(held)


def adopt(state: OwnerState, out: Out, spec: RefSpec) -> Entry:
    """Return the entry for a reference that is unpickled here. What no payload has brought is lent to itself."""
    object_id = spec.object_id
    if ids.owner_of(object_id) == state.owner_id:
        return find(state, object_id) or _lost(object_id)
    entry = _borrow(state, out, spec)
    if object_id not in state.objects.loans:
        _borrow_by_itself(state, out, object_id)
    return entry


def receive_for_constructor(state: OwnerState, out: Out, lender_id: bytes, payload: Payload) -> tuple[Entry, ...]:
    """Take over what a payload of an actor's specification names, which the head has brought.

    Its creator lends it to this process as soon as it hears of it (:mod:`ipyactors.owner.constructors`). It may have
    ended by now, if the actor is detached: so this process lends it to itself as well.
    """
    held = receive(state, out, lender_id, payload)
    for entry in held:
        if entry.owner_address:
            _borrow_by_itself(state, out, entry.object_id)
    return held


def give_back(state: OwnerState, out: Out) -> None:
    """Return what nothing here refers to any more; part of every turn."""
    objects = state.objects
    unclaimed: list[bytes] = []
    while objects.gone:
        object_id = objects.gone.popleft()
        if object_id in objects.borrowed:
            continue  # it has come again meanwhile
        if object_id in objects.claimed:
            objects.claimed.remove(object_id)
            unclaimed.append(object_id)
        for lender_id, weight in objects.loans.pop(object_id, {}).items():
            out.to_owner(ids.owner_of(object_id), ReleaseObject(object_id, weight, lender_id))
    if unclaimed:
        out.to_head(ReleaseClaims(tuple(unclaimed)))


def find(state: OwnerState, object_id: bytes) -> Entry | None:
    """Return an object of this process to which a reference was pickled, if it is still there."""
    return state.objects.exported.get(object_id) or state.objects.named.get(object_id)


def _borrow(state: OwnerState, out: Out, spec: RefSpec) -> Entry:
    objects = state.objects
    entry = objects.borrowed.get(spec.object_id)
    if entry is None:
        entry = BorrowedEntry(spec.object_id, spec.owner_address, objects.on_gone)
        objects.borrowed[spec.object_id] = entry
        owner_id = ids.owner_of(spec.object_id)
        out.connect(owner_id, spec.owner_address)
        watch(state, out, owner_id)
    return entry


def _weigh(state: OwnerState, object_id: bytes, lender_id: bytes) -> None:
    weights = state.objects.loans.setdefault(object_id, {})
    weights[lender_id] = weights.get(lender_id, 0) + 1


def _borrow_by_itself(state: OwnerState, out: Out, object_id: bytes) -> None:
    _weigh(state, object_id, state.owner_id)
    out.to_owner(ids.owner_of(object_id), LendObject(object_id, state.owner_id))


def _lost(object_id: bytes) -> Entry:
    entry = Entry(object_id)
    entry.fail(losses.unknown(object_id))
    return entry


# -- the owner's counts ----------------------------------------------------------------------------------------


def on_lend(state: OwnerState, out: Out, peer: bytes, message: LendObject) -> None:
    """A reference to an object of this process is about to be sent."""
    if message.borrower_id == ANYBODY:
        entry = find(state, message.object_id)
        if entry is not None:
            _pin(state, out, entry)
    else:
        _count(state, out, message.object_id, peer, message.borrower_id, 1)


def on_release(state: OwnerState, out: Out, peer: bytes, message: ReleaseObject) -> None:
    """A borrower has no reference any more."""
    _count(state, out, message.object_id, message.lender_id, peer, -message.count)


def _count(state: OwnerState, out: Out, object_id: bytes, lender_id: bytes, borrower_id: bytes, change: int) -> None:
    entry = find(state, object_id)
    if entry is None:
        return  # only after a loan that was never announced
    objects, pair = state.objects, (lender_id, borrower_id)
    counts = objects.lent.get(object_id)
    if counts is None:
        counts = objects.lent[object_id] = {}
        objects.exported[object_id] = entry
        _tell_ownership(state, out)
    count = counts.get(pair, 0) + change
    if count:
        counts[pair] = count
        for process_id in pair:
            if process_id != state.owner_id:
                watch(state, out, process_id)
        return
    counts.pop(pair, None)
    if not counts:
        del objects.lent[object_id]
        if object_id not in objects.pinned:
            del objects.exported[object_id]
            _tell_ownership(state, out)


def _pin(state: OwnerState, out: Out, entry: Entry) -> None:
    state.objects.pinned.add(entry.object_id)
    state.objects.exported[entry.object_id] = entry
    _tell_ownership(state, out)


def _tell_ownership(state: OwnerState, out: Out) -> None:
    """Tell the head whether this worker is needed for what it owns."""
    objects = state.objects
    owns = bool(objects.exported)
    if owns != objects.is_owner_told and not state.is_driver:
        objects.is_owner_told = owns
        out.to_head(OwnsObjects(owns))


# -- when a process is gone ------------------------------------------------------------------------------------


def on_process_gone(state: OwnerState, out: Out, process_id: bytes) -> None:
    """Drop what a dead process had, ask what came of what it lent, and answer those who have asked here."""
    objects = state.objects
    asked: dict[bytes, None] = {}
    for object_id, counts in list(objects.lent.items()):
        for (lender_id, borrower_id), count in list(counts.items()):
            # All that it has sent to this process has arrived: what it lent and has not come home never will.
            if borrower_id == process_id or (lender_id == process_id and borrower_id == state.owner_id):
                _count(state, out, object_id, lender_id, borrower_id, -count)
            elif lender_id == process_id:
                asked[borrower_id] = None
    objects.unsettled = {pair for pair in objects.unsettled if pair[1] != process_id}
    for borrower_id in asked:
        objects.unsettled.add((process_id, borrower_id))
        out.to_head(AskBorrower(borrower_id, process_id, state.address))
    for object_id in [object_id for object_id in objects.loans if ids.owner_of(object_id) == process_id]:
        del objects.loans[object_id]
    for owners in objects.settling.values():
        owners.pop(process_id, None)
    for owner_id, address in objects.settling.pop(process_id, {}).items():
        _settle(state, out, process_id, owner_id, address)


def on_settle_lends(state: OwnerState, out: Out, message: SettleLends) -> None:
    """An owner asks what came from a lender that is gone; it is answered when this process knows that too."""
    state.objects.settling.setdefault(message.lender_id, {})[message.owner_id] = message.address
    watch(state, out, message.lender_id)


def _settle(state: OwnerState, out: Out, lender_id: bytes, owner_id: bytes, address: str) -> None:
    counts: dict[bytes, int] = {}
    for object_id, weights in state.objects.loans.items():
        if lender_id in weights and ids.owner_of(object_id) == owner_id:
            counts[object_id] = weight = weights.pop(lender_id)
            weights[state.owner_id] = weights.get(state.owner_id, 0) + weight
    out.connect(owner_id, address)
    watch(state, out, owner_id)
    out.to_owner(owner_id, LendsSettled(lender_id, counts))


def on_lends_settled(state: OwnerState, out: Out, peer: bytes, message: LendsSettled) -> None:
    """A borrower tells what it has from a lender that is gone: from now on as its own."""
    objects, lender_id = state.objects, message.lender_id
    objects.unsettled.discard((lender_id, peer))
    for object_id, count in message.counts.items():
        _count(state, out, object_id, peer, peer, count)
    for object_id, counts in list(objects.lent.items()):
        if (lender_id, peer) in counts:
            _count(state, out, object_id, lender_id, peer, -counts[lender_id, peer])
