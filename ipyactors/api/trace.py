"""Events into Chrome trace events, for Perfetto and ``chrome://tracing``. Pure.

A process of the trace is a machine, a thread is an actor or a worker that ran tasks. A slice is an attempt of a call,
or the time from a death until the actor was back; an arrow leads from an attempt to the next one of the same call.

Viewers nest what overlaps on one thread, so nothing may: where calls ran side by side, an actor has several threads
(lanes), at most as many as it may run at a time. An attempt's end is when its answer was read here, which may be later
than it was: where that would need more lanes, it is moved back to where the next one began.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from ipyactors.ground import ids
from ipyactors.wire.events import Event, EventKind, users

#: Chrome's and Perfetto's unit. Times are whole ones: the end of a slice may be exactly where the next one begins.
_MICROSECONDS = 1e6

_GOOD = frozenset({EventKind.TASK_ATTEMPT, EventKind.CALL_ATTEMPT})
_AGAIN = frozenset({EventKind.TASK_RETRY, EventKind.CALL_RETRY})
_BAD = frozenset({EventKind.TASK_FAILED, EventKind.CALL_FAILED})
_ATTEMPTS = _GOOD | _AGAIN | _BAD
_OUTCOMES = (("ok", _GOOD), ("sent again", _AGAIN), ("failed", _BAD))
#: These are drawn over their whole machine, or over everything; the rest on its thread.
_SCOPES = {EventKind.NODE_ADDED: "p", EventKind.NODE_LOST: "p", EventKind.HEAD_RESTARTED: "g"}

#: What is no actor's and no worker's, on threads of its own.
_SESSION = "session"
_RECOVERY = "recovery"

#: A place where slices are: machine, actor, worker. Of an actor, whatever worker it lives in is the same place.
_Place = tuple[bytes, bytes, bytes]


@dataclasses.dataclass(slots=True)
class _Slice:
    """A stretch of a place, in microseconds."""

    event: Event
    name: str
    category: str
    start: int
    end: int
    args: dict[str, Any]

    @property
    def is_measured(self) -> bool:
        """Whether its length is known; of what failed, only since when it was under way at most."""
        return self.event.kind not in _AGAIN | _BAD

    def traced(self, at: dict[str, int]) -> dict[str, Any]:
        """Return the slice as viewers take it."""
        return {"ph": "X", "name": self.name, "cat": self.category, **at, "ts": self.start,
                "dur": self.end - self.start, "args": self.args}  # fmt: skip


@dataclasses.dataclass(slots=True)
class _Threads:
    """Numbers for machines and for places and their lanes, from 1, and their names."""

    names: dict[bytes, str]
    pids: dict[bytes, int] = dataclasses.field(default_factory=dict)
    tids: dict[tuple[_Place, int], int] = dataclasses.field(default_factory=dict)
    workers: Counter[bytes] = dataclasses.field(default_factory=Counter)

    def pid(self, node_id: bytes) -> int:
        """Return the number of a machine."""
        return self.pids.setdefault(node_id, len(self.pids) + 1)

    def where(self, place: _Place, lane: int = 0) -> dict[str, int]:
        """Return the numbers of a lane of a place."""
        pid = self.pid(place[0])
        return {"pid": pid, "tid": self.tids.setdefault((place, lane), len(self.tids) + 1)}

    def metadata(self) -> Iterator[dict[str, Any]]:
        """Yield what names the machines and the lanes and puts them into their order: actors before workers."""
        for node_id, pid in self.pids.items():
            name = f"machine {self.names.get(node_id) or ids.short(node_id)}" if node_id else _SESSION
            yield _metadata("process_name", {"pid": pid, "tid": 0}, name=name)
            yield _metadata("process_sort_index", {"pid": pid, "tid": 0}, sort_index=pid)
        ordered = sorted(self.tids, key=lambda one: (not one[0][1], self.tids[one[0], 0], one[1]))
        for index, (place, lane) in enumerate(ordered):
            at = {"pid": self.pids[place[0]], "tid": self.tids[place, lane]}
            yield _metadata("thread_name", at, name=self._name(place) + (f", lane {lane + 1}" if lane else ""))
            yield _metadata("thread_sort_index", at, sort_index=index)

    def _name(self, place: _Place) -> str:
        node_id, actor_id, worker_id = place
        if actor_id:
            return self.names.get(actor_id) or f"actor {ids.short(actor_id)}"
        if not worker_id:
            return _SESSION
        self.workers[node_id] += 1
        return f"worker {self.workers[node_id]}"


def trace_of(events: Sequence[Event]) -> list[dict[str, Any]]:
    """Return trace events for ``events``, which are sorted by time: names first, then all others by time.

    Calls that the system has made for itself are left out. Attempts count from 1, as in errors.
    """
    events = users(events)
    places = _places(events)
    threads = _Threads(_names(events))
    limits = {event.actor_id: event.count or None for event in events if event.kind is EventKind.ACTOR_CREATED}
    slices: defaultdict[_Place, list[_Slice]] = defaultdict(list)
    traced: list[dict[str, Any]] = []
    for event, place in zip(events, places, strict=True):
        if event.kind in _ATTEMPTS:
            slices[place].append(_attempt(event))
        else:
            traced.append(_instant(event, threads.where(place)))
    for place, recovery in _recoveries(events, places):
        slices[place].append(recovery)
    calls: defaultdict[bytes, list[tuple[_Slice, dict[str, int]]]] = defaultdict(list)
    for place, found in slices.items():
        at_most = limits.get(place[1]) if place[1] else 1
        for number, lane in enumerate(_lanes(found, at_most)):
            at = threads.where(place, number)
            for one in lane:
                traced.append(one.traced(at))
                if one.event.task_id:
                    calls[one.event.task_id].append((one, at))
    traced += _arrows(calls.values())
    traced += _counters(events, threads)
    return [*threads.metadata(), *sorted(traced, key=lambda one: one["ts"])]


def _metadata(kind: str, at: dict[str, int], **args: Any) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "cat": "__metadata", **at, "ts": 0, "args": args}


def _names(events: Iterable[Event]) -> dict[bytes, str]:
    """Return what machines and actors are called."""
    names: dict[bytes, str] = {}
    for event in events:
        if event.kind.startswith("actor_") and event.name:
            names.setdefault(event.actor_id, event.name)
        elif event.kind is EventKind.NODE_ADDED:
            names.setdefault(event.node_id, event.name)
    return names


def _places(events: Sequence[Event]) -> list[_Place]:
    """Return where each event happened; what does not say so happened where its actor was last, or is first."""
    homes: dict[bytes, bytes] = {}
    for event in reversed(events):
        if event.actor_id and event.node_id:
            homes[event.actor_id] = event.node_id
    places = []
    for event in events:
        node_id = event.node_id
        if event.actor_id:
            node_id = homes[event.actor_id] = node_id or homes.get(event.actor_id, b"")
        places.append((node_id, event.actor_id, b"" if event.actor_id else event.worker_id))
    return places


def _attempt(event: Event) -> _Slice:
    outcome = next(word for word, kinds in _OUTCOMES if event.kind in kinds)
    end = _in_us(event.wall_s)
    start = min(end, _in_us(event.wall_s - event.duration_s))
    args = {"outcome": outcome, "attempt": event.attempt + 1, **_args(event)}
    return _Slice(event, event.name or event.kind.value, event.kind.value, start, end, args)


def _instant(event: Event, at: dict[str, int]) -> dict[str, Any]:
    name = event.kind.value.replace("_", " ")
    if event.kind is EventKind.INJECTED:
        name = f"injected: {event.detail}"
    elif event.injected:
        name = f"{name} (injected)"
    elif not event.actor_id and not event.worker_id and event.name:
        name = f"{name}: {event.name}"
    scope = _SCOPES.get(event.kind, "t")
    return {"ph": "i", "s": scope, "name": name, "cat": event.kind.value, **at, "ts": _in_us(event.wall_s),
            "args": _args(event)}  # fmt: skip


def _args(event: Event) -> dict[str, Any]:
    """Return what a viewer shows of an event beside its time."""
    known: dict[str, Any] = {
        "kind": event.kind.value,
        "detail": event.detail,
        "injected": event.injected,
        "actor_id": event.actor_id.hex(),
        "task_id": event.task_id.hex(),
        "worker_id": event.worker_id.hex(),
    }
    args: dict[str, Any] = {name: value for name, value in known.items() if value}
    if event.actor_id:
        args["incarnation"] = event.incarnation
    if event.kind is EventKind.ACTOR_RECOVERED:
        args["replayed_calls"] = event.count
    return args


def _recoveries(events: Iterable[Event], places: Iterable[_Place]) -> Iterator[tuple[_Place, _Slice]]:
    """Yield a slice from each death until its actor was back."""
    died: dict[bytes, Event] = {}
    recovered: dict[bytes, Event] = {}
    for event, place in zip(events, places, strict=True):
        if event.kind is EventKind.ACTOR_DIED:
            died[event.actor_id] = event
        elif event.kind is EventKind.ACTOR_RECOVERED:
            recovered[event.actor_id] = event
        elif event.kind is EventKind.ACTOR_ALIVE and (death := died.pop(event.actor_id, None)) is not None:
            how = recovered.pop(event.actor_id, None)
            args = _args(death) | {"incarnation": event.incarnation}
            if how is not None:
                args |= {"recovered": how.detail, "replayed_calls": how.count}
            yield place, _Slice(event, _RECOVERY, _RECOVERY, _in_us(death.wall_s), _in_us(event.wall_s), args)


def _lanes(slices: Iterable[_Slice], at_most: int | None) -> list[list[_Slice]]:
    """Return slices in lanes in which nothing overlaps, in order of time; ``at_most`` is how many may run at a time.

    From the last to the first, each goes into the first lane in which it ends before the next one begins. Where it fits
    into none of so many lanes, its answer was read late: it is moved back.
    """
    lanes: list[list[_Slice]] = []
    later: list[int] = []  # of each lane, where what follows begins
    for one in sorted(slices, key=lambda each: (each.end, each.start), reverse=True):
        lane = next((number for number, start in enumerate(later) if start >= one.end), len(lanes))
        if lane == len(lanes) and lane == at_most:
            lane = max(range(lane), key=later.__getitem__)
            _move_back(one, later[lane])
        elif lane == len(lanes):
            lanes.append([])
            later.append(one.end)
        lanes[lane].append(one)
        later[lane] = min(later[lane], one.start if one.is_measured else one.end)
    for number in range(len(lanes)):
        lanes[number].reverse()
        _push_forward(lanes[number])
    return sorted(lanes, key=lambda lane: lane[0].start)


def _move_back(one: _Slice, end: int) -> None:
    if one.category != _RECOVERY:  # that was noticed when it was
        if one.is_measured:
            one.start -= one.end - end
        one.end = end


def _push_forward(lane: Iterable[_Slice]) -> None:
    """Have no slice begin before the one before it has ended."""
    free = 0
    for one in lane:
        one.start = max(min(one.start, one.end), free)
        one.end = free = max(one.end, one.start)


def _arrows(calls: Iterable[list[tuple[_Slice, dict[str, int]]]]) -> Iterator[dict[str, Any]]:
    """Yield the two ends of an arrow from each attempt to the next one of its call."""
    number = 0
    for attempts in calls:
        attempts.sort(key=lambda pair: (pair[0].event.wall_s, pair[0].event.attempt))
        for (one, here), (other, there) in pairwise(attempts):
            # The arrow belongs to the slice that is there at its time, and at its very end a slice is not there.
            leaves = min(max(one.start, one.end - 1), other.start)
            if leaves < one.start:  # the clocks of two machines disagree: time does not run backwards
                continue
            number += 1
            arrow = {"name": "retry", "cat": "retry", "id": number}
            yield {"ph": "s", **arrow, **here, "ts": leaves}
            yield {"ph": "f", "bp": "e", **arrow, **there, "ts": other.start}


def _counters(events: Iterable[Event], threads: _Threads) -> Iterator[dict[str, Any]]:
    """Yield, at each change, how many actors live on each machine, and how many retries there were."""
    living: defaultdict[bytes, set[bytes]] = defaultdict(set)
    homes: dict[bytes, bytes] = {}
    retries = 0
    for event in events:
        ts = _in_us(event.wall_s)
        if event.kind is EventKind.ACTOR_ALIVE:
            homes[event.actor_id] = event.node_id
            living[event.node_id].add(event.actor_id)
        elif event.kind is EventKind.ACTOR_DIED and event.actor_id in homes:
            living[homes[event.actor_id]].discard(event.actor_id)
        elif event.kind in _AGAIN:
            retries += 1
            yield _counter("retries", threads.pid(b""), ts, retries)
            continue
        else:
            continue
        home = homes[event.actor_id]
        yield _counter("actors alive", threads.pid(home), ts, len(living[home]))


def _counter(name: str, pid: int, ts: int, value: int) -> dict[str, Any]:
    return {"ph": "C", "name": name, "cat": "counter", "pid": pid, "tid": 0, "ts": ts, "args": {name: value}}


def _in_us(wall_s: float) -> int:
    return round(wall_s * _MICROSECONDS)
