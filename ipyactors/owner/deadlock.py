"""Calls that wait for each other in a circle are found, and one of them is told: nothing else would end its wait.

This is edge chasing, after K. M. Chandy, J. Misra and L. M. Haas, "Distributed deadlock detection", ACM Transactions on
Computer Systems 1 (1983). A call that has waited for a moment sends a *probe* after what it waits for: to the owner of
the object, and on to the process that is to run the call which makes it. If that call waits too, or stands in line
behind one that does, the probe goes on after what that one waits for. Everywhere else it ends. A probe that comes back
to the wait that began it has gone round a circle.

* *Who is told.* A wait passes on the probes of those with a greater id only, and sends one of its own in the place of
  the others. So only that with the greatest id in a circle gets its probe back, however late which wait has closed it.
* *No false alarm.* A wait may end while a probe is on its way: it is cancelled, or its call was told of another circle.
  So a wait is told only when a second probe, begun after the first one was back, has met the very same waits. All of
  them were under way, then, at the moment in between.
* *Only waits that nothing else ends.* All objects of a wait are needed, and it has no limit of time. Whoever waits for
  the first of several takes no part, nor does one that would give up by itself. The driver's own code neither: nobody
  waits for that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ipyactors.ground import ids
from ipyactors.ground.exceptions import ActorDeadlockError
from ipyactors.owner import loans
from ipyactors.owner.actors import MethodCall
from ipyactors.owner.calls import CallState, PendingCall
from ipyactors.owner.endless_waits import EndlessWait
from ipyactors.owner.objects import Entry
from ipyactors.owner.out import Out
from ipyactors.owner.state import OwnerState
from ipyactors.wire.worker_messages import ProbeCalls, ProbeObjects, WaitingCall

#: A wait that takes longer than this sends a probe, and no other does: a nested call takes a tenth of a millisecond.
PROBE_AFTER_S = 0.05

#: It sends another one so much later, and so on: a circle may be closed by a wait that passes no probe of this one on.
PROBE_AGAIN_S = 1.0

#: So many waits are remembered whose probes one wait has passed on; without that it would only pass one on again.
_REMEMBERED_AT_MOST = 1000

#: Tells how a call of this process is held up by a wait: None if it is not, "" if it is the one that waits, else its
#: name: it stands in line behind that.
HeldUp = Callable[[EndlessWait], str | None]


def begin(state: OwnerState, wait: EndlessWait, now_s: float) -> None:
    """Take a wait that has lasted for a moment already."""
    wait.probed_s, wait.due_s = now_s, now_s + PROBE_AFTER_S
    state.endless_waits.add(wait)


def end(state: OwnerState, wait: EndlessWait) -> None:
    """A wait is over; what is still on its way for it finds nobody."""
    state.endless_waits.pop(wait.wait_id, None)


def next_probe_s(state: OwnerState) -> float | None:
    """Return when the next probe is due (monotonic clock); None for never."""
    return min((wait.due_s for wait in state.endless_waits.values()), default=None)


def send_due(state: OwnerState, out: Out, now_s: float) -> None:
    """Begin the probes that are due."""
    for wait in state.endless_waits.values():
        if wait.due_s <= now_s:
            _begin_probe(state, out, wait, now_s)


def _begin_probe(state: OwnerState, out: Out, wait: EndlessWait, now_s: float) -> None:
    wait.probe_number += 1
    wait.probed_s, wait.due_s = now_s, now_s + PROBE_AGAIN_S
    wait.entries = [entry for entry in wait.entries if not entry.done]
    _follow(state, out, wait.entries, wait.probe_number, (WaitingCall(wait.wait_id, wait.who),))


# -- probes on their way ---------------------------------------------------------------------------------------


def _follow(state: OwnerState, out: Out, entries: Iterable[Entry], number: int, path: tuple[WaitingCall, ...]) -> None:
    """Send a probe after objects: to those who run the calls that make them, or to the objects' owners."""
    calls: dict[bytes, list[int]] = {}
    objects: dict[bytes, list[bytes]] = {}
    seen: set[Entry] = set()
    left = list(entries)
    while left:
        entry = loans.heir_of(left.pop())
        if entry.done or entry in seen:
            continue
        seen.add(entry)
        call = entry.producer
        if isinstance(call, PendingCall):
            runner_id = _runner_of(state, call)
            if runner_id:
                calls.setdefault(runner_id, []).append(call.seq)
            else:
                left += _needed_to_send(call)
        elif entry.object_id in state.objects.fetching:
            objects.setdefault(ids.owner_of(entry.object_id), []).append(entry.object_id)
    for runner_id, seqs in calls.items():
        out.to_worker(runner_id, ProbeCalls(tuple(seqs), number, path))
    for owner_id, object_ids in objects.items():
        out.to_owner(owner_id, ProbeObjects(tuple(object_ids), number, path))


def _runner_of(state: OwnerState, call: PendingCall) -> bytes:
    """Return the id of the worker that a call was sent to; empty if it was to none."""
    if call.state is not CallState.SENT:
        return b""
    if isinstance(call, MethodCall):
        return call.client.worker_id
    leases = state.leases.leases.values()
    return next((lease.worker_id for lease in leases if lease.in_flight.get(call.seq) is call), b"")


def _needed_to_send(call: PendingCall) -> list[Entry]:
    """Return what a call waits for before it is sent: its arguments, and those of the first in line before it."""
    needed = list(call.deps)
    if isinstance(call, MethodCall) and call.client.outbox:
        needed += call.client.outbox[0].deps
    return needed


def on_probe_objects(state: OwnerState, out: Out, message: ProbeObjects) -> None:
    """Somebody waits for objects of this process: the probe goes on to where they are made."""
    found = (loans.find(state, object_id) for object_id in message.object_ids)
    _follow(state, out, [entry for entry in found if entry is not None], message.number, message.path)


def on_probe_calls(state: OwnerState, out: Out, message: ProbeCalls, held_up: HeldUp, now_s: float) -> None:
    """Somebody waits for calls that are to run in this process: the probe goes on where waits hold them up."""
    began_id = message.path[0].wait_id
    for wait in tuple(state.endless_waits.values()):
        line = held_up(wait)
        if line is None:
            continue
        if wait.wait_id == began_id:
            _on_returned(state, out, wait, message, line, now_s)
        elif wait.wait_id > began_id:
            wait.due_s = min(wait.due_s, wait.probed_s + PROBE_AFTER_S)
        elif wait.passed_on.get(began_id, 0) < message.number:
            if len(wait.passed_on) >= _REMEMBERED_AT_MOST:
                wait.passed_on.clear()
            wait.passed_on[began_id] = message.number
            path = (*message.path, WaitingCall(wait.wait_id, wait.who, line))
            _follow(state, out, wait.entries, message.number, path)


def _on_returned(state: OwnerState, out: Out, wait: EndlessWait, message: ProbeCalls, line: str, now_s: float) -> None:
    """A wait has its probe back: look once more, or tell it, if this is the second look."""
    circle = tuple(one.wait_id for one in message.path)
    last_by_then = wait.suspects.get(circle)
    if last_by_then is None:
        wait.suspects[circle] = wait.probe_number
        _begin_probe(state, out, wait, now_s)
    elif message.number > last_by_then:
        wait.circle = (*message.path, WaitingCall(wait.wait_id, wait.who, line))
        end(state, wait)


# -- what is said ----------------------------------------------------------------------------------------------


def error_for(wait: EndlessWait) -> ActorDeadlockError:
    """Return what a wait raises that was told."""
    calls, steps = [wait.who], []
    for one in wait.circle[1:]:
        calls += [one.line, one.who] if one.line else [one.who]
        steps.append(f"{one.line}, which is in line behind {one.who}" if one.line else one.who)
    return ActorDeadlockError(
        f"{wait.who} waits for {', which waits for '.join(steps)}: nothing would ever end that. This wait is given up, "
        "so that the others can go on. Nothing is lost: the call that it was for is still there and will run, and its "
        "reference stays good. Do not wait in one of these calls: return the reference, and let the caller wait. Or "
        "give the actor that is called back max_concurrency > 1 (in a durable one that is for readonly methods), or "
        "pass on with the call what it would ask for.",
        actor_id=wait.actor_id.hex(),
        cycle=tuple(calls[:-1]),
    )
