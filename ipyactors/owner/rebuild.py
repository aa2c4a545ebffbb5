"""Lost data of this process's objects: found elsewhere, or made again by the call that has made it.

What is lost is *open* again, so that whoever needs it waits. First the head is asked where copies are. If there are
none, the call that made the object is made again under its old id, as the lineage has it; arguments of it that are
gone by now are made again before, and so on. One run serves all who wait for any of its results; results that are
still there keep their data. What cannot be made again fails, and says why.

A run uses up one of the call's retries, and crashes in it the others. A call that could not be run because its
arguments' data was missing goes back to waiting for them, at no cost. A method call takes its old place in the outbox:
before all calls that are not sent yet. Those that were sent behind it have overtaken it.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

from ipyactors.ground.exceptions import IpyactorsError, ObjectLostError
from ipyactors.ground.exceptions import ObjectReconstructionFailedTaskCancelledError as TaskCancelled
from ipyactors.owner import arguments, borrowing, failures, loans, losses, outbox, retries, runs
from ipyactors.owner.actors import ActorClient, MethodCall
from ipyactors.owner.calls import CallState, PendingCall, TaskCall
from ipyactors.owner.leases import Lease
from ipyactors.owner.lineage import Lost, Search
from ipyactors.owner.objects import Entry
from ipyactors.owner.out import Out
from ipyactors.owner.state import OwnerState
from ipyactors.wire.events import Became, EventKind
from ipyactors.wire.specs import Location, Payload, Stored
from ipyactors.wire.store_messages import CopiesFound, FindCopies, NodeLost
from ipyactors.wire.worker_messages import ActorHasChanged, ArgumentsMissing, FetchObject, ReportMissing

#: How often data is fetched from a machine that says it has it, before it counts as lost there.
FETCHES_AT_MOST = 3

_NOWHERE: frozenset[bytes] = frozenset()


# -- what is found to be missing -----------------------------------------------------------------------------------


def on_missing(state: OwnerState, out: Out, entry: Entry) -> None:
    """The data of an object of this process could not be had where it should be. Nothing happens if that is known."""
    if entry.done and entry.stored is not None:
        _search(state, out, [entry])


def on_report_missing(state: OwnerState, out: Out, peer: bytes, message: ReportMissing) -> None:
    """A borrower could not have an object's data: answer when it is somewhere else, or there again."""
    entry = loans.find(state, message.object_id)
    stored = entry.stored if entry is not None and entry.done else None
    if entry is not None and stored is not None and _nodes_of(stored) <= set(message.node_ids):
        _search(state, out, [entry], frozenset(message.node_ids))
    borrowing.on_fetch(state, out, peer, FetchObject(message.object_id))


def on_arguments_missing(state: OwnerState, out: Out, peer: bytes, message: ArgumentsMissing, now_s: float) -> None:
    """A worker could not have arguments of a call, and has not run it: the call waits until they are there."""
    holder = state.holders.get(peer)
    call = holder.in_flight.pop(message.seq, None) if holder is not None else None
    if call is None:
        return
    if isinstance(holder, Lease):
        retries.settle(state, holder, now_s)
    missing = set(message.segment_ids)
    deps = {entry for entry in call.deps if _segment_id(entry) in missing}
    own = call.args.stored
    lacks_own = own is not None and own.segment_id in missing
    if call.cancelled:  # the word to cancel it met it on its way back
        retries.finish(state, call, failures.cancelled(call, started=False))
    elif not deps and not lacks_own:
        retries.finish(state, call, IpyactorsError(f"{call.name} was not run: its worker misses what it was not sent."))
    else:
        for entry in deps:
            if entry.owner_address:
                borrowing.report_missing(state, out, entry)
        _search(state, out, [entry for entry in deps if entry.done and not entry.owner_address and entry.payload])
        also = [_search_arguments(state, out, call)] if lacks_own else []
        if isinstance(call, MethodCall):
            outbox.put_back(call.client, call)
        arguments.await_all(state, out, call, *also)
    if isinstance(call, MethodCall):
        state.ready_actors.add(call.client)


def on_actor_has_changed(state: OwnerState, _out: Out, peer: bytes, message: ActorHasChanged, _now_s: float) -> None:
    """A method was to be called again, and its actor is not as it was then."""
    holder = state.holders.get(peer)
    if isinstance(holder, ActorClient):
        call = holder.in_flight.pop(message.seq, None)
        if call is not None:
            retries.finish(state, call, losses.ActorChangedError(f"the actor of {call.name} has changed"))
            state.ready_actors.add(holder)


def on_node_lost(state: OwnerState, out: Out, message: NodeLost) -> None:
    """A machine is gone. What only it had is made again at once if a call waits for it, else when it is asked for."""
    gone: set[Entry] = set()
    for reference in state.lineage.entries.valuerefs():
        entry = reference()
        stored = entry.stored if entry is not None else None
        if entry is None or stored is None or message.node_id not in _nodes_of(stored):
            continue
        entry.leave(message.node_id)
        if entry.done and len(stored.locations) == 1:
            gone.add(entry)
    if gone:
        _search(state, out, [entry for entry in arguments.needed(state) if entry in gone])


# -- copies --------------------------------------------------------------------------------------------------------


def _search(state: OwnerState, out: Out, entries: Sequence[Entry], tried: frozenset[bytes] = _NOWHERE) -> None:
    """Open entries whose data is lost, and ask where it is."""
    lost: dict[bytes, Lost] = {}
    for entry in entries:
        stored = entry.stored
        if stored is None:
            continue  # small: it is in this process
        entry.reopen()
        lost[stored.segment_id] = Lost(weakref.ref(entry), tried | _nodes_of(stored))
    if lost:
        _ask(state, out, lost, _related(state, entries, set()))


def search_orphans(state: OwnerState, out: Out, entries: Sequence[Entry]) -> None:
    """Ask where the data of open entries is that were borrowed from a process that is gone.

    They stay among those that are fetched, until it is found, or made again, or given up.
    """
    lost: dict[bytes, Lost] = {}
    for entry in entries:
        tried = _NOWHERE if entry.stored is None else _nodes_of(entry.stored)
        lost[_segment_id(entry)] = Lost(weakref.ref(entry), tried)
    if lost:
        _ask(state, out, lost, _related(state, entries, set()))


def _related(state: OwnerState, lost: Iterable[Entry], missing: AbstractSet[Entry]) -> dict[bytes, Entry]:
    """Return, by segment id, what matters if lost objects are made again: whether their calls' results are there.

    And their arguments; and if one of those is not there itself (it is among ``missing``), what matters for it.
    """
    related: dict[bytes, Entry] = {}
    agenda = [state.lineage.record_of(entry) for entry in lost]
    seen: set[bytes] = set()
    siblings = runs.orphans_by_record(state)
    while agenda:
        record = agenda.pop()
        if record is None or record.task_id in seen or record.task_id in state.rebuilding:
            continue
        seen.add(record.task_id)
        results = [state.lineage.entries.get(object_id) for object_id in record.object_ids()]
        for argument in record.arguments:
            entry = runs.entry_of(state, argument)
            results.append(entry)
            if entry is None:
                agenda.append(argument.record)
            elif entry in missing or (entry.stored is not None and not entry.stored.locations):
                agenda.append(state.lineage.record_of(entry))
        for entry in results:
            if entry is not None and entry.done and entry.stored is not None and not entry.owner_address:
                related[entry.stored.segment_id] = entry
        for entry in siblings.get(record.task_id, ()):
            if entry not in lost and entry not in missing:
                related[_segment_id(entry)] = entry
    return related


def _search_arguments(state: OwnerState, out: Out, call: PendingCall) -> Entry:
    """Have the arguments of a call looked for, which have a segment of their own; return an entry to wait for."""
    entry = state.sought_arguments.get(call)
    stored = call.args.stored
    assert stored is not None, "arguments in a message cannot be lost"
    if entry is None:
        entry = state.sought_arguments[call] = Entry(stored.segment_id)
        entry.complete(call.args)
    entry.reopen()
    entry.when_done(lambda found: _on_arguments_found(state, out, call, found))
    _ask(state, out, {stored.segment_id: Lost(weakref.ref(entry), _nodes_of(stored), call.name)}, {})
    return entry


def _on_arguments_found(state: OwnerState, out: Out, call: PendingCall, found: Entry) -> None:
    if found.payload is not None:
        call.args = found.payload
    elif call.state is not CallState.DONE:
        kind = EventKind.TASK_FAILED if isinstance(call, TaskCall) else EventKind.CALL_FAILED
        out.event(kind, call, detail="its arguments are lost", became=Became.NOT_RUN)
        retries.finish(state, call, found.failure)


def _ask(state: OwnerState, out: Out, lost: dict[bytes, Lost], related: Mapping[bytes, Entry]) -> None:
    others = {segment_id: weakref.ref(entry) for segment_id, entry in related.items() if segment_id not in lost}
    request = FindCopies(state.next_search_id, (*lost, *others))
    state.next_search_id += 1
    state.searches[request.request_id] = Search(request, lost, others)
    out.to_head(request)


def on_copies_found(state: OwnerState, out: Out, message: CopiesFound) -> None:
    """The head tells where copies are: use them, and make again what is nowhere."""
    search = state.searches.pop(message.request_id, None)
    if search is None:
        return
    gone: dict[Entry, ObjectLostError | None] = {}
    for segment_id, lost in search.lost.items():
        entry = lost.find()
        if entry is None or entry.done or entry.producer is not None or loans.heir_of(entry) is not entry:
            continue  # nobody needs it any more, or a run makes it, or has made another in its place
        places = message.locations.get(segment_id, ())
        if _is_worth_a_try(state, entry, lost, places):
            runs.note(state, out, EventKind.OBJECT_LOST, entry, "a copy is used")
            state.objects.fetching.pop(entry.object_id, None)
            if entry.stored is None:  # from a process that was gone before it could send it
                entry.complete(Payload(b"", stored=Stored(segment_id, message.sizes.get(segment_id, 0), places)))
                continue
            entry.move(places)
            entry.close()
        elif lost.call_name:
            runs.give_up(state, out, entry, losses.arguments_lost(lost.call_name, segment_id))
        else:
            gone[entry] = losses.unreachable(entry.object_id, places) if places else None
    missing: set[Entry] = set()
    for segment_id, find in search.others.items():
        other = find()
        places = message.locations.get(segment_id, ())
        if other is not None and other.owner_address:  # of a process that is gone, brought by the same call
            if not places and runs.is_orphan(state, other):
                missing.add(other)
            continue
        if other is None or other.stored is None:
            continue
        if other.done and not places:
            missing.add(other)
        elif other.done and _nodes_of(other.stored).isdisjoint(place.node_id for place in places):
            other.move(places)
        elif not other.done and not places and other.producer is None:
            gone[other] = None  # missed meanwhile: this answers the question for it too
    related = _related(state, gone, missing)
    if related.keys() <= search.others.keys():
        runs.make_again(state, out, gone, missing)
        return
    # More is in question than was thought. All of it is asked for before anything runs, so that nothing runs twice.
    still = {segment_id: lost for segment_id, lost in search.lost.items() if lost.find() in gone}
    _ask(state, out, still, related)


def _is_worth_a_try(state: OwnerState, entry: Entry, lost: Lost, places: tuple[Location, ...]) -> bool:
    """Return whether to fetch from these machines; the same are not asked for ever."""
    if any(place.node_id not in lost.tried for place in places):
        return True
    state.fetches[entry] = fetches = state.fetches.get(entry, 0) + 1
    return bool(places) and fetches < FETCHES_AT_MOST


def cancel(state: OwnerState, entry: Entry) -> None:
    """Do not make an object again that is being looked for. If a copy is found, it is there all the same."""
    record = state.lineage.record_of(entry)
    if record is not None:
        state.lineage.bar(record.task_id, TaskCancelled)


def on_closed(state: OwnerState, error: Exception) -> None:
    """This process leaves its session: what is looked for will not be found."""
    for search in state.searches.values():
        for lost in search.lost.values():
            entry = lost.find()
            if entry is not None and not entry.done:
                entry.fail(error)
    state.searches.clear()
    for entry in state.overdue:
        entry.fail(error)
    state.overdue.clear()


def _nodes_of(stored: Stored) -> frozenset[bytes]:
    """Return the machines that should have a segment."""
    return frozenset(place.node_id for place in stored.locations)


def _segment_id(entry: Entry) -> bytes:
    return entry.object_id if entry.stored is None else entry.stored.segment_id
