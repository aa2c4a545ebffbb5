"""Finished calls that are made again, because results of theirs are lost: from the decision to the new results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet

from ipyactors.ground import ids
from ipyactors.ground.exceptions import ObjectLostError
from ipyactors.ground.exceptions import ObjectReconstructionFailedActorResultError as ActorResult
from ipyactors.owner import arguments, borrowing, loans, losses, outbox
from ipyactors.owner.actors import MethodCall
from ipyactors.owner.calls import CallState, PendingCall, TaskCall
from ipyactors.owner.lineage import Argument, Carried, Record, Run, carry
from ipyactors.owner.losses import ActorBar, Bar
from ipyactors.owner.objects import BorrowedEntry, Entry, Failure
from ipyactors.owner.out import Out
from ipyactors.owner.replays import Replay
from ipyactors.owner.state import OwnerState
from ipyactors.owner.templates import STREAMING, MethodTemplate, TaskTemplate
from ipyactors.wire.deaths import describe_death
from ipyactors.wire.events import EventKind
from ipyactors.wire.specs import ActorState, Payload, RemoteError
from ipyactors.wire.worker_messages import CallSucceeded, ItemYielded

# -- before they run -----------------------------------------------------------------------------------------------


def make_again(
    state: OwnerState,
    out: Out,
    lost: Mapping[Entry, ObjectLostError | None],
    missing: AbstractSet[Entry] = frozenset(),
) -> None:
    """Have the calls made again that have made these open entries, or fail them.

    The error that an entry comes with is the one to say where it cannot be made again; without, that says why.
    ``missing`` are entries of which it is known that their data is lost too, though nobody has asked for it.
    """
    agenda: list[tuple[Entry, str]] = []
    for entry, error in lost.items():
        obstacle = _obstacle(state, entry, missing)
        if obstacle is None:
            agenda.append((entry, "no machine has a copy"))
        else:
            give_up(state, out, entry, error or obstacle)
    runs: list[Run] = []
    while agenda:
        entry, why = agenda.pop()
        record = state.lineage.record_of(entry)
        assert record is not None, "what nothing can make was not given up"
        run = state.rebuilding.get(record.task_id)
        if run is None:
            run = _new_run(state, record)
            runs.append(run)
            agenda += _open_arguments(run, missing)
            _want_results(state, run, missing)
        if entry.object_id in run.wanted:
            continue
        if _want(state, run, entry):
            note(state, out, EventKind.OBJECT_LOST, entry, f"{why}: {record.name} runs again")
        else:
            state.overdue.append(entry)
    # In the order in which they were first made: a method call must not wait behind one that waits for it.
    for run in sorted(runs, key=lambda run: run.record.task_id):
        arguments.begin(state, run.call)
        if isinstance(run.call, MethodCall):
            outbox.put_back(run.call.client, run.call)
        arguments.await_all(state, out, run.call)


def is_lost(entry: Entry) -> bool:
    """Return whether no machine is left that had the data of an entry that is done."""
    return entry.stored is not None and not entry.stored.locations


def can_be_made_again(state: OwnerState, entry: Entry, missing: AbstractSet[Entry]) -> bool:
    """Return whether an entry whose data is lost could be made again now; ``missing`` are those that are lost too."""
    return _obstacle(state, entry, missing) is None


def _obstacle(state: OwnerState, entry: Entry, missing: AbstractSet[Entry]) -> Failure | None:
    """Return why an entry cannot be made again: it, or an argument that is gone too, and so on; None if it can."""
    agenda = [_made_by(state, entry)]
    seen: set[bytes] = set()
    while agenda:
        object_id, record, bar, _ = agenda.pop()
        if record is not None:
            bar = record.bar or _bar_of_actor(state, record)
        if bar is not None:
            in_words = losses.owner_died if entry.owner_address else losses.not_again
            return in_words(bar, object_id, entry.object_id)
        assert record is not None, "what has no record has a reason"
        if record.task_id in seen or record.task_id in state.rebuilding:
            continue
        seen.add(record.task_id)
        for argument in record.arguments:
            there = entry_of(state, argument)
            if there is None:
                agenda.append(argument)
            elif there.failure is not None:
                return there.failure
            elif there in missing:
                agenda.append(_made_by(state, there))
    return None


def _made_by(state: OwnerState, entry: Entry) -> Argument:
    return Argument(entry.object_id, state.lineage.record_of(entry), state.lineage.bar_of(entry))


def _bar_of_actor(state: OwnerState, record: Record) -> Bar | None:
    """Return why an actor cannot be asked again, as far as that is known before it is; None for a task."""
    if record.client is None:
        return None
    client = state.actors.get(record.client.actor_id)
    if client is None:
        return Bar(ActorResult, record.name, ActorBar.NO_HANDLE)
    if client.state is ActorState.DEAD:
        return Bar(ActorResult, record.name, ActorBar.DEAD, f"its process {describe_death(client.death)}")
    if record.version is None:
        return Bar(ActorResult, record.name, ActorBar.UNSTABLE)
    # One that has just come with a handle is not known yet.
    is_durable = isinstance(record.template, MethodTemplate) and record.template.is_durable
    if record.version[1] and client.incarnation > record.version[0] and not is_durable:
        return Bar(ActorResult, record.name, ActorBar.CHANGED)
    return None


def entry_of(state: OwnerState, argument: Argument) -> Entry | None:
    """Return the entry of an argument, if there still is one."""
    return (
        argument.kept or state.lineage.entries.get(argument.object_id) or state.objects.borrowed.get(argument.object_id)
    )


def _new_run(state: OwnerState, record: Record) -> Run:
    """Return a run of a recorded call that is not submitted yet. Arguments of it that are gone get new entries."""
    deps = tuple(
        entry_of(state, argument) or _new_entry(state, argument.object_id, argument.record)
        for argument in record.arguments
    )
    call = _call_again(state, record, deps)
    if record.template.num_returns == STREAMING:
        call.stream = Replay(record.task_id)
    else:
        call.entries = tuple(
            state.lineage.entries.get(object_id) or _new_entry(state, object_id, record)
            for object_id in record.object_ids()
        )
    run = state.rebuilding[record.task_id] = Run(call, record)
    return run


def _open_arguments(run: Run, missing: AbstractSet[Entry]) -> Iterator[tuple[Entry, str]]:
    """Yield the arguments of a run that must be made for it, open, each with the reason."""
    name = run.record.name
    for entry in dict.fromkeys(run.call.deps):
        if entry.done and entry in missing:
            entry.reopen()
            yield entry, f"{name} needs it, and no machine has a copy"
        elif not entry.done and entry.producer is None and entry.payload is None and not entry.owner_address:
            yield entry, f"{name} needs it again, and it was not kept"


def _want_results(state: OwnerState, run: Run, missing: AbstractSet[Entry]) -> None:
    """Have a run make those of its results too that nobody has missed so far."""
    if not missing:
        return
    for object_id in run.record.object_ids():
        entry = state.lineage.entries.get(object_id)
        if entry is not None and entry.done and entry in missing:
            entry.reopen()
            _want(state, run, entry)
    for entry in orphans_by_record(state).get(run.record.task_id, ()):
        if entry in missing:
            entry.reopen()
            _want(state, run, entry)


def orphans_by_record(state: OwnerState) -> dict[bytes, list[Entry]]:
    """Return, by task id of the call that has brought them, the objects whose owner is gone and that may be lost."""
    found: dict[bytes, list[Entry]] = {}
    for object_id in state.objects.claimed:
        entry = state.objects.borrowed.get(object_id)
        if entry is not None and is_orphan(state, entry):
            record = state.lineage.record_of(entry)
            if record is not None:
                found.setdefault(record.task_id, []).append(entry)
    return found


def is_orphan(state: OwnerState, entry: Entry) -> bool:
    """Return whether an object depends on what its owner, which is gone, has left: nothing stands for it so far."""
    if entry.object_id not in state.objects.claimed or entry.producer is not None or loans.heir_of(entry) is not entry:
        return False
    return not entry.done or entry.stored is not None


def _call_again(state: OwnerState, record: Record, deps: tuple[Entry, ...]) -> PendingCall:
    template = record.template
    if isinstance(template, TaskTemplate):
        call = TaskCall(template, record.task_id, record.args, deps, record.parent)
        call.retries_left, call.attempt, call.number = record.retries_left, record.attempt, record.number
        call.take_retry()
        return call
    assert isinstance(template, MethodTemplate), "a call of which nothing is kept is made again"
    assert record.client is not None, "a method without its actor"
    client = state.actors[record.client.actor_id]
    again = MethodCall(template, client, record.task_id, record.args, deps, record.parent)
    again.attempt, again.number = record.attempt + 1, record.number
    again.expected = record.version
    return again


def _new_entry(state: OwnerState, object_id: bytes, record: Record | None) -> Entry:
    entry = state.lineage.entries[object_id] = Entry(object_id)
    entry.lineage = record
    return entry


def _want(state: OwnerState, run: Run, entry: Entry) -> bool:
    """Have a run make an entry; return False if it is too late for that."""
    stream = run.call.stream
    if isinstance(stream, Replay):
        lineage = entry.lineage
        item_id = lineage.carrier_id if isinstance(lineage, Carried) else entry.object_id
        if not stream.want(ids.index_of(item_id) - 1, entry, is_under_way=run.call.state is CallState.SENT):
            return False
    run.wanted[entry.object_id] = entry
    entry.producer = run.call
    state.objects.fetching.pop(entry.object_id, None)
    return True


def settle(state: OwnerState, out: Out) -> None:
    """Make again what had to wait for the end of a run; part of every turn."""
    overdue, state.overdue = state.overdue, []
    again: dict[Entry, ObjectLostError | None] = {}
    for entry in overdue:
        record = state.lineage.record_of(entry)
        if record is not None and record.task_id in state.rebuilding:
            state.overdue.append(entry)
        elif not entry.done:
            again[entry] = None
    make_again(state, out, again)


# -- results -------------------------------------------------------------------------------------------------------


def on_made(state: OwnerState, out: Out, run: Run, message: CallSucceeded) -> Failure | None:
    """A call that was made again has returned: fill what is open; what is there keeps its data.

    Return why it is of no use all the same: an actor has changed at the last moment, so the results are other ones.
    """
    call, results = run.call, message.results
    if isinstance(call, MethodCall) and call.expected != message.version:
        for entry, payload in zip(call.entries, results, strict=False):
            if not entry.done:
                entry.expect_other(payload)
            elif payload.stored is not None:
                entry.add_copy(payload)
        return losses.ActorChangedError(f"the actor of {call.name} has changed")
    for entry, payload in zip(call.entries, results, strict=False):
        _give(state, entry, payload)
        if entry.object_id in run.wanted:
            note(state, out, EventKind.OBJECT_REBUILT, entry, "")
        _replace(state, out, run, entry.object_id, payload)
    if isinstance(call.stream, Replay):
        for index, entry in call.stream.wanted_by_index():
            entry.fail(losses.item_not_yielded(call.name, entry.object_id, index))
            state.objects.failures += 1
    call.finish(None)
    return None


def _replace(state: OwnerState, out: Out, run: Run, carrier_id: bytes, payload: Payload) -> None:
    """Have lost objects to which a result referred follow those to which it refers now, each the one at its place."""
    carry(run.record, carrier_id, payload, state.objects.newcomers)
    for entry in list(run.wanted.values()):
        carried = entry.lineage
        if not (isinstance(carried, Carried) and isinstance(entry, BorrowedEntry) and carried.carrier_id == carrier_id):
            continue
        del run.wanted[entry.object_id]
        entry.producer = None
        refs = payload.refs
        heir = _entry_named(state, refs[carried.position].object_id) if len(refs) == carried.total else None
        if heir is None or loans.heir_of(heir) is entry:
            error = losses.refs_differ(run.record.name, entry.object_id, before=carried.total, now=len(refs))
            give_up(state, out, entry, error)
            continue
        note(state, out, EventKind.OBJECT_REBUILT, entry, "")
        borrowing.follow(state, out, entry, heir)


def _entry_named(state: OwnerState, object_id: bytes) -> Entry | None:
    """Return what a reference that has just come leads to."""
    return state.objects.borrowed.get(object_id) or loans.find(state, object_id)


def on_item(state: OwnerState, out: Out, run: Run, message: ItemYielded) -> None:
    """A generator that runs again has yielded an item."""
    stream = run.call.stream
    assert isinstance(stream, Replay), "a generator runs again without a replay"
    task_id = run.record.task_id
    object_id = ids.object_id(ids.owner_of(task_id), ids.counter_of(task_id), message.index + 1)
    entry = state.lineage.entries.get(object_id)
    stream.pass_over(message.index)
    if entry is not None:
        _give(state, entry, message.payload)
    if run.wanted.pop(object_id, None) is not None and entry is not None:
        note(state, out, EventKind.OBJECT_REBUILT, entry, "")
    _replace(state, out, run, object_id, message.payload)


def _give(state: OwnerState, entry: Entry, payload: Payload) -> None:
    """Give an entry the data that was made again. If it is done, that is one more copy of what it has."""
    if entry.done:
        entry.add_copy(payload)
        return
    entry.renew(payload)
    state.fetches.pop(entry, None)
    if payload.stored is not None:
        state.lineage.entries[entry.object_id] = entry


# -- what is told --------------------------------------------------------------------------------------------------


def give_up(state: OwnerState, out: Out, entry: Entry, failure: Failure) -> None:
    """Fail an entry that is open."""
    words = failure.words if isinstance(failure, RemoteError) else str(failure)
    note(state, out, EventKind.OBJECT_LOST, entry, words.partition("\n")[0])
    state.objects.fetching.pop(entry.object_id, None)
    entry.fail(failure)
    state.objects.failures += 1


def note(state: OwnerState, out: Out, kind: EventKind, entry: Entry, detail: str) -> None:
    """Record what became of an object of this process."""
    record = state.lineage.record_of(entry)
    run = state.rebuilding.get(record.task_id) if record is not None else None
    name = "" if record is None else record.name
    attempt = 0 if run is None else run.call.attempt
    out.object_event(kind, entry.object_id, name=name, attempt=attempt, detail=detail)
