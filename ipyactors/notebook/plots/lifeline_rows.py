"""Events into lifelines: one row per actor and per task, with stretches and moments. Pure."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from ipyactors.notebook.plots.checkpoint_rows import id_in
from ipyactors.notebook.plots.recoveries import ACTOR_KINDS, actor_events, free_since, injected_ends, task_events
from ipyactors.notebook.plots.wording import ROWS_AT_MOST, count, in_time, shorten
from ipyactors.wire.events import Became, Event, EventKind

_TROUBLE = frozenset({"death", "injected death", "retry", "end", "unanswered", "given up"})

#: What a call that failed is known to have done: nothing, in whichever way.
_WITHOUT_EFFECT = frozenset({Became.NOT_RUN, Became.NO_EFFECT})

_MOMENTS = {
    EventKind.CALL_RETRY: "retry",
    EventKind.CHECKPOINT_MADE: "checkpoint",
    EventKind.ACTOR_UPGRADED: "upgrade",
}

#: What is marked as injected and shown by another mark already: the death that an injection led to.
_SHOWN_AS_DEATHS = frozenset({EventKind.ACTOR_DIED, EventKind.ACTOR_RESTARTING, EventKind.ACTOR_DEAD})


@dataclasses.dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a row, in seconds.

    ``what`` is ``life``, ``gap``, ``replay``, ``redone`` (what the next replay did again), ``done``, ``lost`` or
    ``failed``.
    """

    what: str
    start_s: float
    end_s: float
    text: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Mark:
    """A moment of a row.

    ``what`` is ``death``, ``injected death``, ``injection``, ``retry``, ``unanswered``, ``given up``, ``end``, ``call``
    (the end of one), ``checkpoint`` or ``upgrade``.
    """

    what: str
    at_s: float


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """Everything that is drawn for one actor or one task. ``sum_up`` is the line below a durable actor.

    ``restores`` are pairs of times: of a checkpoint, and of when the actor was back that began with it.
    """

    label: str
    spans: tuple[Span, ...]
    marks: tuple[Mark, ...]
    is_actor: bool
    sum_up: str = ""
    restores: tuple[tuple[float, float], ...] = ()

    @property
    def has_trouble(self) -> bool:
        """Return whether something died or was retried here."""
        return any(mark.what in _TROUBLE for mark in self.marks)


def make_rows(events: Sequence[Event], until_s: float = 0.0) -> Iterator[Row]:
    """Yield rows: actors as they appeared, then tasks as they were submitted. Times count from the first event.

    Whoever lives is drawn to the last event, and to ``until_s`` (wall clock) if that is later.
    """
    drawn = [event for event in events if event.actor_id or event.task_id]
    if not drawn:
        return
    origin_s = min(event.wall_s - event.duration_s for event in drawn)
    end_s = max(until_s, *(event.wall_s for event in drawn)) - origin_s
    is_injected, since = injected_ends(events), free_since(drawn)
    for history in actor_events(drawn).values():
        if any(event.kind in ACTOR_KINDS for event in history):
            yield _Life(origin_s).row(history, end_s)
    for label, history in task_events(drawn).items():
        yield _task_row(label, history, origin_s, is_injected, since)


def choose_rows(rows: Sequence[Row]) -> tuple[list[Row], int]:
    """Return at most :data:`ROWS_AT_MOST` rows, in order, those with trouble kept first; and how many are left out."""
    ranked = sorted(range(len(rows)), key=lambda index: (not rows[index].has_trouble, not rows[index].is_actor, index))
    kept = sorted(ranked[:ROWS_AT_MOST])
    return [rows[index] for index in kept], len(rows) - len(kept)


@dataclasses.dataclass(slots=True)
class _Life:
    """Reads an actor's history, event by event. Times are seconds since ``origin_s``."""

    origin_s: float
    spans: list[Span] = dataclasses.field(default_factory=list)
    marks: list[Mark] = dataclasses.field(default_factory=list)
    restores: list[tuple[float, float]] = dataclasses.field(default_factory=list)
    #: Since when it lives, or is down, or has died; which incarnation, and which has ended last; when it had answered
    #: last, and which checkpoints it has made, newest last.
    alive_s: float | None = None
    down_s: float | None = None
    died: tuple[float, float] = (0.0, 0.0)
    incarnation: int = 0
    ended: int = -1
    answered_s: float = 0.0
    checkpoints: dict[str, float] = dataclasses.field(default_factory=dict)
    recovered: Event | None = None

    def row(self, history: Sequence[Event], end_s: float) -> Row:
        """Return the row; whoever lives on is drawn to ``end_s``."""
        for event in history:
            self._take(event, event.wall_s - self.origin_s)
        if self.alive_s is not None:
            self.spans.append(Span("life", self.alive_s, max(end_s, self.alive_s), f"{self.incarnation}"))
        name = next((event.name for event in history if event.kind in ACTOR_KINDS and event.name), "actor")
        sum_up = _sum_up(name, history)
        # A durable actor's calls are counted instead: after a recovery, many answers come at one moment.
        shown = (mark for mark in self.marks if mark.what != "call" or not sum_up)
        return Row(name, tuple(self.spans), tuple(shown), True, sum_up, tuple(self.restores))

    def _take(self, event: Event, at_s: float) -> None:
        if event.kind is EventKind.ACTOR_ALIVE:
            self._live(event, at_s)
        elif event.kind is EventKind.ACTOR_RECOVERED:
            self.recovered = event
        elif event.kind in {EventKind.ACTOR_DIED, EventKind.ACTOR_DEAD}:
            self._die(event, at_s)
        elif event.kind is EventKind.CALL_ATTEMPT:
            self._answer(event, at_s)
            self.marks.append(Mark("call", at_s))
            self.answered_s = at_s
        elif _is_given_up(event):
            self.marks.append(Mark("given up", at_s))
        elif _is_lost(event):
            self.marks.append(Mark("unanswered", at_s))
        elif event.kind in _MOMENTS:
            self.marks.append(Mark(_MOMENTS[event.kind], at_s))
            if event.kind is EventKind.CHECKPOINT_MADE:
                self.checkpoints[id_in(event.detail)] = at_s
            elif event.kind is EventKind.CALL_RETRY:
                self._interrupt(event, at_s)
        if event.injected and event.kind not in _SHOWN_AS_DEATHS:
            self.marks.append(Mark("injection", at_s))

    def _live(self, event: Event, at_s: float) -> None:
        if self.down_s is not None:
            self.spans.append(Span("gap", self.down_s, at_s, in_time(at_s - self.down_s)))
        if self.recovered is not None:
            self._come_back(self.recovered, at_s)
        if self.alive_s is None or self.incarnation != event.incarnation:
            self.alive_s, self.incarnation, self.answered_s = at_s, event.incarnation, at_s
        self.down_s, self.recovered = None, None

    def _answer(self, event: Event, at_s: float) -> None:
        """Whoever answers is alive, also if the head was killed before it could tell."""
        if self.alive_s is None and event.incarnation > self.ended:
            self._live(event, max(at_s - event.duration_s, self.down_s or 0.0))

    def _come_back(self, recovered: Event, at_s: float) -> None:
        """Note from where the actor has come back, and what it has done again for that."""
        checkpoint_s = self.checkpoints.get(id_in(recovered.detail))
        if checkpoint_s is not None:
            self.restores.append((checkpoint_s, at_s))
        if recovered.count:
            lived_s, died_s = self.died
            if lived_s < died_s:
                self.spans.append(Span("redone", max(lived_s, checkpoint_s or 0.0), died_s))
            ended_s = recovered.wall_s - self.origin_s
            self.spans.append(Span("replay", ended_s - recovered.duration_s, ended_s, f"{recovered.count}"))

    def _die(self, event: Event, at_s: float) -> None:
        is_last = event.kind is EventKind.ACTOR_DEAD
        if self.alive_s is not None:
            self.spans.append(Span("life", self.alive_s, at_s, f"{self.incarnation}"))
            self.died = (self.alive_s, at_s)
        if event.injected and not is_last:
            self._forget_injection()
        self.marks.append(Mark("end" if is_last else "injected death" if event.injected else "death", at_s))
        self.alive_s, self.down_s, self.ended = None, None if is_last else at_s, event.incarnation

    def _forget_injection(self) -> None:
        """Take back the mark of what this incarnation now dies of: the death has one of its own."""
        for index in range(len(self.marks) - 1, -1, -1):
            mark = self.marks[index]
            if self.alive_s is None or mark.at_s < self.alive_s:
                return
            if mark.what == "injection":
                del self.marks[index]
                return

    def _interrupt(self, event: Event, at_s: float) -> None:
        """Note the part of a call that was under way when the process died; the call will be done again as a whole."""
        lived_s, died_s = (self.alive_s, at_s) if self.alive_s is not None else self.died
        start_s = max(lived_s, self.answered_s, at_s - event.duration_s)
        if start_s < min(at_s, died_s):
            self.spans.append(Span("lost", start_s, min(at_s, died_s)))


def _is_given_up(event: Event) -> bool:
    return event.kind is EventKind.CALL_FAILED and event.became in _WITHOUT_EFFECT


def _is_lost(event: Event) -> bool:
    """Whether it is of a call that failed without a worker that said so: nobody has answered it."""
    return event.kind is EventKind.CALL_FAILED and not event.worker_id and not _is_given_up(event)


def _sum_up(name: str, history: Sequence[Event]) -> str:
    """Return what a durable actor has come through, in words; nothing of another one."""
    number = Counter(event.kind for event in history)
    if not number.keys() & {EventKind.ACTOR_RECOVERED, EventKind.CHECKPOINT_MADE}:
        return ""
    replayed = sum(event.count for event in history if event.kind is EventKind.ACTOR_RECOVERED)
    injected = sum(event.injected for event in history if event.kind is EventKind.ACTOR_DIED)
    lost, given_up = sum(map(_is_lost, history)), sum(map(_is_given_up, history))
    answered = number[EventKind.CALL_ATTEMPT] + number[EventKind.CALL_FAILED] - lost - given_up
    parts = [
        _deaths(number[EventKind.ACTOR_DIED], injected),
        count(number[EventKind.CHECKPOINT_MADE], "checkpoint"),
        f"{count(replayed, 'call')} replayed",
        f"{count(answered, 'call')} answered",
        f"{given_up:,} given up, without effect" if given_up else "",
        f"{count(lost, 'call')} lost" if lost else "none lost",
    ]
    return f"{shorten(name)}: " + " \u00b7 ".join(part for part in parts if part)


def _deaths(died: int, injected: int) -> str:
    """Return ``1 death, injected``, ``3 deaths, all injected`` or ``3 deaths, 1 of them injected``."""
    words = count(died, "death")
    if not injected:
        return words
    if injected < died:
        return f"{words}, {injected:,} of them injected"
    return f"{words}, {'all ' if died > 1 else ''}injected"


def _task_row(
    label: str,
    history: Sequence[Event],
    origin_s: float,
    is_injected: Callable[[Event], bool],
    since: Callable[[Event], float],
) -> Row:
    spans: list[Span] = []
    marks: list[Mark] = []
    last_end_s: float | None = None
    for attempt, event in enumerate(history, 1):
        at_s = event.wall_s - origin_s
        is_final = event.kind is EventKind.TASK_FAILED
        if event.kind is EventKind.TASK_ATTEMPT:
            spans.append(Span("done", at_s - event.duration_s, at_s, str(attempt)))
        else:
            # An attempt whose beginning nobody has told began, if it was a retry, where the one before ended.
            start_s = at_s - event.duration_s if event.duration_s or last_end_s is None else last_end_s
            start_s = max(start_s, since(event) - origin_s)
            if start_s < at_s:
                spans.append(Span("failed" if is_final else "lost", start_s, at_s, str(attempt)))
            marks.append(Mark("end" if is_final else "retry", at_s))
        if is_injected(event):
            marks.append(Mark("injected death", at_s))
        last_end_s = at_s
    return Row(label, tuple(spans), tuple(marks), is_actor=False)
