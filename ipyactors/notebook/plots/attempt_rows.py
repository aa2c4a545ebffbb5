"""Events into calls: one row for each call of a task or a method, with its attempts and the waits between. Pure."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from ipyactors.notebook.plots.recoveries import ACTOR_KINDS, TASK_KINDS, free_since, injected_ends
from ipyactors.notebook.plots.wording import ROWS_AT_MOST, count, gist, in_time
from ipyactors.wire.events import CALL_KINDS, Became, Event, EventKind

_GOOD = frozenset({EventKind.TASK_ATTEMPT, EventKind.CALL_ATTEMPT})
_GAVE_UP = frozenset({EventKind.TASK_FAILED, EventKind.CALL_FAILED})
_KINDS = TASK_KINDS | CALL_KINDS

#: So many calls are shown that ended well at once.
SMOOTH_AT_MOST = 10

#: The ranks of calls: those that failed, those of several attempts or with one to come, and the others.
_FAILED, _RETRIED, _SMOOTH = range(3)

#: What is written of an error, at most.
_ERROR_LETTERS = 60


@dataclasses.dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt.

    ``what`` is ``ok``, ``again`` (ended well, and the call ran again later), ``lost``, ``failed``, or ``not run``: the
    call failed before this one began.

    In seconds since the first event. ``why`` is how it ended, if not well.
    """

    what: str
    start_s: float
    end_s: float
    why: str = ""
    is_injected: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One call: its attempts in order, and where it ran last (empty for a task)."""

    label: str
    attempts: tuple[Attempt, ...]
    where: str = ""

    @property
    def has_failed(self) -> bool:
        """Whether the last that is known of the call is that it failed for good."""
        return self.attempts[-1].what in {"failed", "not run"}

    @property
    def is_open(self) -> bool:
        """Whether the call was sent again, and nothing is known of that yet."""
        return self.attempts[-1].what == "lost"

    def in_words(self) -> str:
        """Return ``3 attempts, 812 ms, incarnation 1`` and, if it failed, of what."""
        last = self.attempts[-1]
        began = [one for one in self.attempts if one.what != "not run"]
        words = []
        if began:
            took_s = began[-1].end_s - began[0].start_s
            words = [count(len(began), "attempt"), *([in_time(took_s)] if took_s else [])]
            if self.where:
                words.append(self.where)
        if last.what == "not run":
            words.append(f"not run{' again' if began else ''}: {gist(last.why, _ERROR_LETTERS)}")
        elif last.what == "failed":
            words.append(f"failed: {gist(last.why, _ERROR_LETTERS)}")
        elif last.what == "lost":
            words.append(f"sent again: {gist(last.why, _ERROR_LETTERS)}")
        return ", ".join(words)


@dataclasses.dataclass(frozen=True, slots=True)
class Calls:
    """What is drawn: ``rows``, and how many calls are not, of which so many failed or ran again."""

    rows: tuple[Row, ...] = ()
    left_out: int = 0
    left_out_with_trouble: int = 0


def choose_calls(events: Sequence[Event]) -> Calls:
    """Return at most :data:`ROWS_AT_MOST` calls.

    Those that failed come first, then those of several attempts, the most attempts before the others, then some of the
    others, each in the order in which they were submitted. Calls of one name are numbered in that order, ``f #3``.
    """
    calls: defaultdict[bytes, list[Event]] = defaultdict(list)
    for event in events:
        if event.kind in _KINDS and event.task_id:
            calls[event.task_id].append(event)
    if not calls:
        return Calls()
    origin_s = min(event.wall_s - event.duration_s for history in calls.values() for event in history)
    ranked = sorted(calls, key=lambda call_id: (*_rank(calls[call_id]), call_id))
    troubled = sum(_rank(history)[0] < _SMOOTH for history in calls.values())
    kept = ranked[: min(ROWS_AT_MOST, troubled + SMOOTH_AT_MOST)]
    labels = _labels(calls, events)
    is_injected, since = injected_ends(events), free_since(events)
    rows = tuple(_row(labels[call_id], calls[call_id], origin_s, is_injected, since) for call_id in kept)
    return Calls(rows, len(calls) - len(kept), max(0, troubled - len(kept)))


def _rank(history: Sequence[Event]) -> tuple[int, int]:
    last = history[-1].kind
    if last in _GAVE_UP:
        return _FAILED, -len(history)
    return _SMOOTH if last in _GOOD and len(history) == 1 else _RETRIED, -len(history)


def _labels(calls: dict[bytes, list[Event]], events: Sequence[Event]) -> dict[bytes, str]:
    actors = {event.actor_id: event.name for event in events if event.kind in ACTOR_KINDS and event.name}
    names = {}
    for call_id in sorted(calls):
        first = calls[call_id][0]
        called = actors.get(first.actor_id, "")
        class_name, _, method = (first.name or "call").rpartition(".")
        names[call_id] = f"{called}.{method}" if called and class_name else first.name or "task"
    many, seen = Counter(names.values()), Counter[str]()
    for call_id, name in names.items():
        seen[name] += 1
        names[call_id] = f"{name} #{seen[name]:,}" if many[name] > 1 else name
    return names


def _row(
    label: str,
    history: Sequence[Event],
    origin_s: float,
    is_injected: Callable[[Event], bool],
    since: Callable[[Event], float],
) -> Row:
    attempts: list[Attempt] = []
    free_s = 0.0
    for event in history:
        end_s = event.wall_s - origin_s
        # What failed began when it was sent, or after the attempt before it, or when its process was free for it.
        start_s = max(end_s - event.duration_s, free_s) if event.duration_s or not attempts else end_s
        if event.kind not in _GOOD:
            start_s = max(start_s, since(event) - origin_s)
        start_s = min(start_s, end_s)
        what = "ok" if event.kind in _GOOD else "failed" if event.kind in _GAVE_UP else "lost"
        if event.became is Became.NOT_RUN:
            attempts.append(Attempt("not run", end_s, end_s, event.detail))
        else:
            attempts.append(Attempt(what, start_s, end_s, event.detail, is_injected(event)))
        free_s = end_s
    last = max((index for index, one in enumerate(attempts) if one.what == "ok"), default=0)
    ran_again = [
        dataclasses.replace(one, what="again") if one.what == "ok" and index < last else one
        for index, one in enumerate(attempts)
    ]
    incarnation = f"incarnation {history[-1].incarnation}" if history[-1].actor_id else ""
    return Row(label, tuple(ran_again), incarnation)
