"""Calls and the arguments that they wait for: from submission until everything is there, and again when it is not.

An argument that was there may be open again, because its data was lost. A call that is not sent by then waits again;
where calls are sent, :meth:`~ipyactors.owner.calls.PendingCall.lacks_arguments` is asked first.
"""

from __future__ import annotations

from ipyactors.owner import borrowing, leases, losses, retries
from ipyactors.owner.actors import MethodCall
from ipyactors.owner.calls import CallState, PendingCall, TaskCall
from ipyactors.owner.labels import call_label_of, label_of
from ipyactors.owner.objects import Entry, Failure
from ipyactors.owner.out import Out
from ipyactors.owner.state import OwnerState
from ipyactors.wire.events import Became, EventKind

#: So many notes are kept of a chain of calls that were not run, besides the last.
_NOTES_KEPT = 5


def submit(state: OwnerState, out: Out, call: PendingCall) -> None:
    """Take a call that was made; it may wait for its arguments first."""
    begin(state, call)
    if isinstance(call, MethodCall):
        client = call.client
        if call.template.is_durable:
            state.durable_calls += 1
            call.counter = state.durable_calls
            client.settling.add(call)
        (client.late if client.finishing else client.outbox).append(call)
    await_all(state, out, call)


def begin(state: OwnerState, call: PendingCall) -> None:
    """Count a call as one that has no answer."""
    state.unanswered += 1
    if not call.number and call.is_retriable:
        call.number = state.retriable.add()
    if call.parent is not None:
        state.children.setdefault(call.parent.task_id, set()).add(call)


def await_all(state: OwnerState, out: Out, call: PendingCall, *also: Entry) -> None:
    """Have a call that is nowhere, or in its actor's outbox, wait for its arguments; it goes on when they are there.

    It waits for ``also`` too, which are not among its arguments.
    """
    call.state = CallState.WAITING
    awaited = (*call.deps, *also)
    unready = [entry for entry in awaited if not entry.done] if awaited else ()  # most calls have no such argument
    call.unready = len(unready)
    if not unready:
        _on_all_there(state, out, call)
        return
    state.waiting.add(call)
    for entry in unready:
        borrowing.fetch(state, out, entry)
        entry.when_done(lambda _: _on_argument(state, out, call))


def needed(state: OwnerState) -> set[Entry]:
    """Return the arguments of all calls that are not sent."""
    calls: set[PendingCall] = set(state.waiting)
    for shape in state.leases.by_id.values():
        calls.update(shape.queue)
    for client in state.actors.values():
        calls.update(client.outbox)
    return {entry for call in calls if call.state is not CallState.DONE for entry in call.deps}


def _on_argument(state: OwnerState, out: Out, call: PendingCall) -> None:
    call.unready -= 1
    if call.unready or call.state is not CallState.WAITING:
        return
    state.waiting.discard(call)
    # One that fails fails those that wait for its results: in a loop, for such a chain may be longer than the stack.
    state.supplied.append(call)
    if state.is_supplying:
        return
    state.is_supplying = True
    try:
        while state.supplied:
            _on_all_there(state, out, state.supplied.popleft())
    finally:
        state.is_supplying = False


def _on_all_there(state: OwnerState, out: Out, call: PendingCall) -> None:
    """Queue the call, or let it fail with what its argument failed with."""
    failed = next((entry for entry in call.deps if entry.failure is not None), None) if call.deps else None
    if isinstance(call, MethodCall):
        state.ready_actors.add(call.client)
    if failed is not None:
        kind = EventKind.TASK_FAILED if isinstance(call, TaskCall) else EventKind.CALL_FAILED
        out.event(kind, call, detail="one of its arguments failed", became=Became.NOT_RUN)
        retries.finish(state, call, _of_argument(state, call, failed))
    elif isinstance(call, TaskCall):
        leases.enqueue(state.leases, call)
    else:
        call.state = CallState.QUEUED


def _of_argument(state: OwnerState, call: PendingCall, argument: Entry) -> Failure:
    """Return the failure of a call that is not run, since ``argument`` has failed."""
    failure = argument.failure
    assert failure is not None, "the argument has failed"
    if call.task_id in state.rebuilding:  # what is made again has words of its own
        return failure
    note = f"{call_label_of(call)} was not run: its argument {label_of(argument)} failed."
    return losses.with_note(failure, note, keeps=_NOTES_KEPT)
