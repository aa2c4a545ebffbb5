"""What was killed, what came back, and how fast: read off the events, for the plot and for tables.

Pure. Times are those of the machine that saw the event, in seconds since the epoch; on one machine they compare.
"""

from __future__ import annotations

import dataclasses
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

from ipyactors.wire.events import CALL_KINDS, Event, EventKind

ACTOR_KINDS = frozenset(
    {
        EventKind.ACTOR_CREATED,
        EventKind.ACTOR_ALIVE,
        EventKind.ACTOR_RECOVERED,
        EventKind.CHECKPOINT_MADE,
        EventKind.ACTOR_UPGRADED,
        EventKind.ACTOR_DIED,
        EventKind.ACTOR_RESTARTING,
        EventKind.ACTOR_DEAD,
    }
)
TASK_KINDS = frozenset({EventKind.TASK_ATTEMPT, EventKind.TASK_RETRY, EventKind.TASK_FAILED})
_DEATHS = frozenset({EventKind.ACTOR_DIED, EventKind.WORKER_DIED})
_ANSWERED = frozenset({EventKind.TASK_ATTEMPT, EventKind.CALL_ATTEMPT})
_OF_ACTORS = ACTOR_KINDS | CALL_KINDS | {EventKind.INJECTED}


@dataclasses.dataclass(frozen=True, slots=True)
class Recovery:
    """One death and what followed.

    ``kind`` is ``"actor"`` or ``"task"``; ``number`` is the incarnation or the attempt that ended, from 0, and
    ``next_number`` the one that followed, None if it was the last. ``back_s`` is the time from the notice of the
    death until the actor's next constructor had returned, or until the task's next attempt began; None where that
    is not known, because nobody came back to tell. ``retried_calls`` counts the actor's calls that were sent again;
    ``replayed_calls`` those that a durable actor has done again to be as it was, None of any other.
    """

    kind: str
    name: str
    number: int
    cause: str
    died_wall_s: float
    next_number: int | None
    back_s: float | None
    retried_calls: int = 0
    replayed_calls: int | None = None


def actor_events(events: Iterable[Event]) -> dict[bytes, list[Event]]:
    """Return the events of each actor, its calls and what was injected, in order of time; actors as they appeared."""
    return _grouped((event.actor_id, event) for event in events if event.kind in _OF_ACTORS)


def task_events(events: Iterable[Event]) -> dict[str, list[Event]]:
    """Return the events of each task in order of time, under a label such as ``f #3``: the third task of that name.

    Tasks come in order of submission, which their ids hold.
    """
    groups = _grouped((event.task_id, event) for event in events if event.kind in TASK_KINDS)
    labelled: dict[str, list[Event]] = {}
    seen: Counter[str] = Counter()
    for _, history in sorted(groups.items()):
        name = history[0].name or "task"
        seen[name] += 1
        labelled[f"{name} #{seen[name]}"] = history
    return labelled


def _grouped(keyed: Iterable[tuple[bytes, Event]]) -> dict[bytes, list[Event]]:
    groups: dict[bytes, list[Event]] = defaultdict(list)
    for key, event in sorted(keyed, key=lambda pair: pair[1].wall_s):
        if key:
            groups[key].append(event)
    return dict(groups)


def injected_ends(events: Iterable[Event]) -> Callable[[Event], bool]:
    """Return what says of an attempt's end whether it was injected: itself, or the death of the process it was in."""
    dead = [event for event in events if event.injected and event.kind in _DEATHS]
    incarnations = {(event.actor_id, event.incarnation) for event in dead if event.actor_id}
    workers = {(event.worker_id, event.detail) for event in dead if not event.actor_id}

    def is_injected(end: Event) -> bool:
        if end.injected:
            return True
        if end.actor_id:  # a worker that could still say how a call ended was not dead
            return not end.worker_id and (end.actor_id, end.incarnation) in incarnations
        return (end.worker_id, end.detail) in workers

    return is_injected


def free_since(events: Iterable[Event]) -> Callable[[Event], float]:
    """Return what says since when (s, wall clock) a process was free for the attempt that an event is the end of.

    Of what a death or an exception has ended, it is known when it was sent; where calls run one at a time, it began
    when the one before was answered at the earliest. 0 where that is not known.
    """
    serial: set[bytes] = set()
    ends: defaultdict[tuple[bytes, int], list[float]] = defaultdict(list)
    for event in sorted(events, key=lambda event: event.wall_s):
        if event.kind is EventKind.ACTOR_CREATED and event.count == 1:
            serial.add(event.actor_id)
        elif event.kind in _ANSWERED:
            ends[_process(event)].append(event.wall_s)

    def since(end: Event) -> float:
        known = ends.get(_process(end), ())
        before = bisect_left(known, end.wall_s)
        return known[before - 1] if before and (not end.actor_id or end.actor_id in serial) else 0.0

    return since


def _process(event: Event) -> tuple[bytes, int]:
    return (event.actor_id, event.incarnation) if event.actor_id else (event.worker_id, 0)


def find_recoveries(events: Sequence[Event]) -> list[Recovery]:
    """Return every death of an actor's process and every failed attempt of a task, oldest first."""
    found = [recovery for history in actor_events(events).values() for recovery in _of_actor(history)]
    found += [recovery for label, history in task_events(events).items() for recovery in _of_task(label, history)]
    return sorted(found, key=lambda recovery: recovery.died_wall_s)


def _of_actor(history: Sequence[Event]) -> Iterator[Recovery]:
    name = _name(history, ACTOR_KINDS)
    deaths = [event for event in history if event.kind is EventKind.ACTOR_DIED]
    alive = sorted(
        (event for event in history if event.kind is EventKind.ACTOR_ALIVE), key=lambda event: event.incarnation
    )
    replayed = {event.incarnation: event.count for event in history if event.kind is EventKind.ACTOR_RECOVERED}
    resent = Counter(event.incarnation for event in history if event.kind is EventKind.CALL_RETRY)
    for death in deaths:
        later = bisect_right(alive, death.incarnation, key=lambda event: event.incarnation)
        back = alive[later] if later < len(alive) else None
        yield Recovery(
            "actor",
            name,
            death.incarnation,
            death.detail,
            death.wall_s,
            back.incarnation if back else None,
            max(0.0, back.wall_s - death.wall_s) if back else None,
            resent[death.incarnation],
            replayed.get(back.incarnation) if back else None,
        )


def _of_task(label: str, history: Sequence[Event]) -> Iterator[Recovery]:
    for number, event in enumerate(history):
        if event.kind is EventKind.TASK_ATTEMPT:
            continue
        after = history[number + 1] if number + 1 < len(history) else None
        back_s = None
        if after is not None and after.duration_s:
            back_s = max(0.0, after.wall_s - after.duration_s - event.wall_s)
        yield Recovery("task", label, number, event.detail, event.wall_s, number + 1 if after else None, back_s)


def _name(history: Sequence[Event], kinds: frozenset[EventKind]) -> str:
    return next((event.name for event in history if event.kind in kinds and event.name), "actor")
