"""Tasks and actors that could run once, and for which there is no machine now: they wait until one has joined.

A new task that no machine could ever hold fails at once. One that has run, or is made again because its result is lost,
or that was submitted while there was a machine for it, is worth waiting for: another machine may come in the place of
the one that went. The head says of each wish whether it fits any machine; a wish of tasks that wait is left with it
(``WantLeases.waits``), and is served when a machine has joined.

An actor is treated likewise by the head itself, which tells who holds it (``ActorStatus.is_stranded``): calls wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ipyactors.ground.quantities import describe_lack
from ipyactors.owner import failures, leases, retries
from ipyactors.owner.actors import ActorClient, MethodCall
from ipyactors.owner.calls import CallState, PendingCall, TaskCall
from ipyactors.owner.leases import Shape, Stranded
from ipyactors.owner.objects import Entry
from ipyactors.owner.out import Out
from ipyactors.owner.state import OwnerState
from ipyactors.wire.events import Became, EventKind
from ipyactors.wire.head_messages import ShapeUnplaceable
from ipyactors.wire.worker_messages import OutputWritten

#: Who waits for a machine is warned after so many seconds, once: most often another machine is on its way.
WARN_AFTER_S = 5.0


def on_unplaceable(state: OwnerState, out: Out, message: ShapeUnplaceable) -> None:
    """No machine could ever hold this: what is new fails, and the rest waits for another machine."""
    shape = state.leases.by_id.get(message.shape_id)
    if shape is None:
        return
    shape.wished = 0
    shape.has_new = False
    queue, shape.queue = list(shape.queue), type(shape.queue)()
    waiting = [call for call in queue if call.state is not CallState.DONE]
    shape.queue.extend(call for call in waiting if leases.was_feasible(shape, call))
    if not shape.queue:
        leases.end_stranding(state.leases, shape)
    elif shape.stranded is None:
        shape.stranded = Stranded(message.existing, state.now_s)
        state.leases.stranded.add(shape)
        detail = f"waits for a machine: {_asks(shape)}"
        for call in shape.queue:
            out.event(EventKind.TASK_STRANDED, call, detail=detail)
    state.leases.touched.add(shape)
    for call in waiting:
        if not leases.was_feasible(shape, call):
            error = failures.placement(f"Task {call.name}", message.demand, message.existing)
            out.event(EventKind.TASK_FAILED, call, detail=str(error), became=Became.NOT_RUN)
            retries.finish(state, call, error)


def on_node_lost(state: OwnerState) -> None:
    """A machine is gone: what was submitted before, and is of a shape that has run, could have run there."""
    for shape in state.leases.by_id.values():
        if shape.was_granted and shape.queue:
            leases.note_feasible(shape, shape.queue[-1])
    for call in state.waiting:
        if isinstance(call, TaskCall):
            shape = state.leases.shape_of(call.template)
            if shape.was_granted:
                leases.note_feasible(shape, call)


def warn(state: OwnerState, out: Out, now_s: float) -> None:
    """Say once of each shape and actor that has waited for a machine for some time; part of every turn."""
    for shape in tuple(state.leases.stranded):
        stranded = shape.stranded
        if stranded is None or stranded.is_told or now_s < stranded.since_s + WARN_AFTER_S:
            continue
        waiting = [call for call in shape.queue if call.state is not CallState.DONE]
        if not waiting:
            leases.end_stranding(state.leases, shape)
            continue
        stranded.is_told = True
        _say(out, waiting, f"{_asks(shape)}. Nothing is lost; it runs when one has come.")
    for client, since_s in state.stranded.items():
        is_due = since_s is not None and now_s >= since_s + WARN_AFTER_S
        if is_due and (calls := _calls_waiting(client)):
            state.stranded[client] = None
            _say(out, calls, f"{_needs(client)}. It goes on when one has come.")


def _say(out: Out, waiting: Sequence[PendingCall], why: str) -> None:
    """Write a line for these calls where the first of them was made."""
    first = waiting[0]
    more = f" (and {len(waiting) - 1} more)" if len(waiting) > 1 else ""
    text = f"{first.name}{more} waits for a machine: {why}\n"
    if first.parent is None:
        out.show(OutputWritten(0, "ipyactors", 2, text), first.scope)
    else:
        out.to_caller(first.parent.caller, OutputWritten(first.parent.seq, "ipyactors", 2, text))


def next_warning_s(state: OwnerState) -> float | None:
    """Return when the next warning is due, on the monotonic clock."""
    if not (state.leases.stranded or state.stranded):
        return None  # nearly always: this is asked at every turn
    since_s = [
        shape.stranded.since_s
        for shape in state.leases.stranded
        if shape.stranded is not None and not shape.stranded.is_told
    ]
    since_s += [at_s for client, at_s in state.stranded.items() if at_s is not None and _calls_waiting(client)]
    return min(since_s) + WARN_AFTER_S if since_s else None


def reasons(state: OwnerState, entries: Iterable[Entry]) -> Iterator[str]:
    """Yield in words for what entries wait that waits for a machine itself; each shape and each actor once."""
    if not (state.leases.stranded or state.stranded):
        return
    told: set[int | ActorClient] = set()
    seen: set[bytes] = set()
    agenda = [entry.producer for entry in entries if not entry.done]
    while agenda:
        call = agenda.pop()
        if not isinstance(call, PendingCall) or call.task_id in seen:
            continue
        seen.add(call.task_id)
        agenda += [entry.producer for entry in call.deps if not entry.done]
        if isinstance(call, TaskCall) and call.state is CallState.QUEUED:
            shape = state.leases.shape_of(call.template)
            if shape.stranded is not None and shape.shape_id not in told:
                told.add(shape.shape_id)
                yield f"{call.name} waits for a machine: {_asks(shape)}"
        elif isinstance(call, MethodCall) and call.client in state.stranded and call.client not in told:
            told.add(call.client)
            yield f"{call.name} waits for a machine: {_needs(call.client)}"


def _asks(shape: Shape) -> str:
    assert shape.stranded is not None, "it waits for no machine"
    return describe_lack(shape.demand, shape.stranded.existing)


def _needs(client: ActorClient) -> str:
    return f"actor {client.label} {client.waiting_for}"


def _calls_waiting(client: ActorClient) -> list[MethodCall]:
    return [call for call in client.outbox if call.state is not CallState.DONE]
