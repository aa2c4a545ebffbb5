"""What becomes of the calls of a notebook's cell that is interrupted: what nobody else waits for is cancelled.

Tasks are cancelled as by ``cancel``. Actors and their state stay as they are: a method call that has begun goes on, and
one that has not is withdrawn. Kept is what others need: another cell, a thread that was started, another process that
has asked for the value, a call that goes on and has the result among its arguments. Pure, under the session's lock.

What becomes of each is decided at once. Calls that were not sent are taken out of their queues then, and come to their
end turn by turn after it.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import TypeVar

from ipyactors.ground.exceptions import TaskCancelledError
from ipyactors.owner import failures, reactor, retries
from ipyactors.owner.actors import MethodCall
from ipyactors.owner.borrowing import Answer
from ipyactors.owner.calls import CallState, PendingCall, TaskCall
from ipyactors.owner.objects import Entry
from ipyactors.owner.out import Out
from ipyactors.owner.state import OwnerState

#: Of the calls that nobody else knows of, so many a turn are ended: a cell may leave a hundred thousand (0.5 s), and
#: neither its end nor what the next one reads is to wait for all of them.
CALLS_A_TURN = 1000

AnyCall = TypeVar("AnyCall", bound=PendingCall)

#: A method call that its actor was asked not to begin, and what it makes.
Asked = tuple[MethodCall, tuple[Entry, ...]]


@dataclasses.dataclass(frozen=True, slots=True)
class Withdrawal:
    """How many calls were cancelled (``tasks``), ``withdrawn``, are ``running``, go on for others (``kept_``).

    Method calls are counted by actor. Those that an actor was ``asked`` not to begin are ``open`` until it answers;
    a durable one, which has them in its log, does so when it is their turn.
    """

    tasks: int = 0
    withdrawn: Mapping[str, int] = dataclasses.field(default_factory=dict)
    running: Mapping[str, int] = dataclasses.field(default_factory=dict)
    kept_tasks: int = 0
    kept_calls: Mapping[str, int] = dataclasses.field(default_factory=dict)
    asked: tuple[Asked, ...] = ()
    open: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @property
    def is_answered(self) -> bool:
        """Whether all that the actors were asked for is answered."""
        return all(call.state is CallState.DONE for call, _ in self.asked)

    def settled(self) -> Withdrawal:
        """Return it with what the actors have answered until now. What one had begun meanwhile, it has run."""
        withdrawn, is_open = Counter(self.withdrawn), Counter(self.open)
        for call, entries in self.asked:
            if call.state is not CallState.DONE:
                is_open[call.client.label] += 1
            elif all(isinstance(entry.failure, TaskCancelledError) for entry in entries):
                withdrawn[call.client.label] += 1
        return dataclasses.replace(self, withdrawn=withdrawn, asked=(), open=is_open)

    def words(self) -> str:
        """Return it as one line, empty if there was nothing: ``'2 tasks cancelled, 1 call of Tally 't' withdrawn'``."""
        over = [f"{_count(self.tasks, 'task')} cancelled"] if self.tasks else []
        over += [f"{_count(count, 'call')} of {actor} withdrawn" for actor, count in self.withdrawn.items()]
        over += [f"{_count(n, 'call')} of {actor} {_is(n)} being withdrawn" for actor, n in self.open.items()]
        on = [
            f"{_count(count, 'call')} {_is(count)} running in {actor} and {_go(count)} on"
            for actor, count in self.running.items()
        ]
        if count := self.kept_tasks + sum(self.kept_calls.values()):
            kept = _going_on(self.kept_tasks, self.kept_calls)
            on.append(f"{kept}, for somebody else waits for {_it(count)}")
        return "; ".join(part for part in (", ".join(over), *on) if part)


def withdraw(
    state: OwnerState, out: Out, scope: int, awaited: Iterable[object], begun: Mapping[bytes, int]
) -> Withdrawal:
    """Cancel what was submitted in ``scope`` and nobody else needs; say what was done, and what actors were asked for.

    ``awaited`` are the entries and streams that other code of this process waits for. ``begun`` has, by worker id, the
    highest number of the calls of this process that the worker has begun (:mod:`ipyactors.wire.marks`), if any.
    """
    unfinished = _unfinished(state)
    mine = [call for call in unfinished if call.scope == scope and not _is_again(state, call)]
    running = {call for call in mine if isinstance(call, MethodCall) and _has_begun(call, begun)}
    going_on = unfinished.keys() - mine | running
    _add_needed(state, going_on, mine, set(awaited))
    kept = [call for call in mine if call in going_on and call not in running]
    cancelled = [call for call in mine if call not in going_on]
    known = sorted((call for call in cancelled if _is_known_elsewhere(call)), key=lambda call: call.task_id)
    unsent = [call for call in cancelled if not _is_known_elsewhere(call)]
    asked = tuple((call, call.entries) for call in known if isinstance(call, MethodCall))
    for call in known:
        reactor.cancel_call(state, out, call, force=False, recursive=True)
    _take_back(state, unsent)
    return Withdrawal(
        _count_tasks(cancelled),
        withdrawn=_by_actor(unsent),
        running=_by_actor(running),
        kept_tasks=_count_tasks(kept),
        kept_calls=_by_actor(kept),
        asked=asked,
    )


def words_of_what_goes_on(state: OwnerState, scope: int) -> str:
    """Return what was submitted in ``scope`` and goes on, where an interrupt cancels nothing; empty if nothing does."""
    mine = [call for call in _unfinished(state) if call.scope == scope and not _is_again(state, call)]
    return f"{_going_on(_count_tasks(mine), _by_actor(mine))} (interrupt=keep)" if mine else ""


def end_some(state: OwnerState, at_most: int = CALLS_A_TURN) -> None:
    """End so many of the calls that were taken back: whoever asks for their results is told."""
    while state.withdrawn and at_most > 0:
        call = state.withdrawn.popleft()
        if call.state is not CallState.DONE:
            retries.finish(state, call, failures.cancelled(call, started=False))
            at_most -= 1


def _take_back(state: OwnerState, calls: list[PendingCall]) -> None:
    """Have calls that nobody else knows of sent no more; :func:`end_some` does the rest."""
    for call in calls:
        call.cancelled, call.state = True, CallState.WITHDRAWN
    state.withdrawn.extend(calls)
    state.waiting.difference_update(calls)
    for shape in state.leases.by_id.values():
        _drop_withdrawn(shape.queue)
        state.leases.touched.add(shape)  # fewer workers are wanted
    for client in state.actors.values():
        _drop_withdrawn(client.outbox)
        _drop_withdrawn(client.late)
        state.ready_actors.add(client)


def _drop_withdrawn(queue: deque[AnyCall]) -> None:
    kept = [call for call in queue if call.state is not CallState.WITHDRAWN]
    queue.clear()
    queue.extend(kept)


def _count_tasks(calls: Iterable[PendingCall]) -> int:
    return sum(isinstance(call, TaskCall) for call in calls)


def _by_actor(calls: Iterable[PendingCall]) -> dict[str, int]:
    """Count the method calls by actor."""
    clients = Counter(call.client for call in calls if isinstance(call, MethodCall))
    return {client.label: count for client, count in clients.items()}


def _unfinished(state: OwnerState) -> dict[PendingCall, None]:
    """Return each call of this process that has no outcome, once; those of one queue in their order."""
    calls: dict[PendingCall, None] = dict.fromkeys(state.waiting)
    for shape in state.leases.by_id.values():
        calls |= dict.fromkeys(shape.queue)
    for holder in state.holders.values():
        calls |= dict.fromkeys(holder.in_flight.values())
    for client in state.actors.values():
        calls |= dict.fromkeys(client.outbox)
        calls |= dict.fromkeys(client.late)
    return {call: None for call in calls if call.state is not CallState.DONE}


def _is_again(state: OwnerState, call: PendingCall) -> bool:
    """Return whether a call is made again because its result was lost: that is for those who have the result."""
    run = state.rebuilding.get(call.task_id)
    return run is not None and run.call is call


def _is_known_elsewhere(call: PendingCall) -> bool:
    """Return whether a worker has it, or an actor may have it in its log."""
    return call.state is CallState.SENT or (isinstance(call, MethodCall) and call.may_be_known)


def _has_begun(call: MethodCall, begun: Mapping[bytes, int]) -> bool:
    if call.state is CallState.SENT:
        return call.seq <= begun.get(call.client.worker_id, 0)
    return call.may_be_known  # a durable actor has it in its log, perhaps, and will end what it has begun


def _add_needed(
    state: OwnerState, going_on: set[PendingCall], mine: Iterable[PendingCall], awaited: set[object]
) -> None:
    """Add to ``going_on`` those of ``mine`` that somebody waits for, and what all of them have as arguments."""
    unsure = {call for call in mine if call not in going_on}
    going_on.update(call for call in unsure if call.stream in awaited or not awaited.isdisjoint(call.entries))
    known = -1
    while known != len(going_on):
        known = len(going_on)
        fresh = list(going_on)
        while fresh:
            makers = unsure.intersection(dep.producer for dep in fresh.pop().deps) - going_on
            fresh += makers
            going_on |= makers
        going_on.update(call for call in unsure if _is_asked_for(state, call, going_on))


def _is_asked_for(state: OwnerState, call: PendingCall, going_on: set[PendingCall]) -> bool:
    """Return whether another process waits for a result, and not only on behalf of calls that are to be cancelled."""
    for entry in call.entries:
        for callback in entry.callbacks or ():
            if isinstance(callback, Answer):
                holder = state.holders.get(callback.peer)
                if holder is None or not going_on.isdisjoint(holder.in_flight.values()):
                    return True
    return False


def _going_on(tasks: int, calls: Mapping[str, int]) -> str:
    parts = [_count(tasks, "task")] if tasks else []
    parts += [f"{_count(count, 'call')} of {actor}" for actor, count in calls.items()]
    return f"{_listed(parts)} {_go(tasks + sum(calls.values()))} on"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _listed(parts: list[str]) -> str:
    return " and ".join(part for part in (", ".join(parts[:-1]), parts[-1]) if part)


def _is(number: int) -> str:
    return "is" if number == 1 else "are"


def _go(number: int) -> str:
    return "goes" if number == 1 else "go"


def _it(number: int) -> str:
    return "it" if number == 1 else "them"
