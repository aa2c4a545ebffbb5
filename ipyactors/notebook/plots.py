"""Lifelines: one row per actor and per task, time from left to right, what died and what came back.

Drawn with matplotlib's objects, without pyplot and its global state, so that it may be called from any thread and
never opens a window. Nothing is told by colour alone: every kind of mark has a shape or a hatch of its own.
"""

from __future__ import annotations

import dataclasses
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ipyactors.notebook.recoveries import ACTOR_KINDS, actor_events, task_events
from ipyactors.wire.events import Event, EventKind

#: Rows that fit a page. Tasks that never failed are left out first.
ROWS_AT_MOST = 40

#: Where an actor was down more often, the milliseconds of each time would lie over each other, and other texts are
#: written only where they have room.
GAPS_WITH_TIMES = 10

_INK = "#1f2933"
_LIFE = "#2a6fbb"
_WORK = "#4c9f70"
_LOST = "#d9822b"
_DEATH = "#b42318"
_GAP = "#d8dee6"
_REPLAY = "#a9c8e8"
_CHECKPOINT = "#6b3fa0"

_BAR = 0.52
_HATCH = "////"
_DOT_PIXELS_PER_INCH = 144
_MIN_SPAN_S = 1e-3

#: So much of the picture's width, at most, is a digit in a bar, and what is left free on both sides of a number.
_DIGIT = 0.0075
_BESIDE = 0.0055


@dataclasses.dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a row: ``what`` is ``life``, ``gap``, ``replay``, ``done``, ``lost`` or ``failed``. In seconds."""

    what: str
    start_s: float
    end_s: float
    text: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Mark:
    """A moment of a row. ``what`` is ``death``, ``retry``, ``end``, ``call``, ``checkpoint`` or ``upgrade``."""

    what: str
    at_s: float


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """Everything that is drawn for one actor or one task. ``sum_up`` is the line below a durable actor."""

    label: str
    spans: tuple[Span, ...]
    marks: tuple[Mark, ...]
    is_actor: bool
    sum_up: str = ""

    @property
    def has_trouble(self) -> bool:
        """Return whether something died or was retried here."""
        return any(mark.what in {"death", "retry", "end"} for mark in self.marks)


class Lifelines(Figure):
    """A figure that shows itself in a notebook whether or not ``%matplotlib`` was called."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """Return the picture at twice the density of a page, and its size in page pixels."""
        file = io.BytesIO()
        self.savefig(file, format="png", dpi=_DOT_PIXELS_PER_INCH, bbox_inches=None)
        width, height = (round(inches * _DOT_PIXELS_PER_INCH / 2) for inches in self.get_size_inches())
        return file.getvalue(), {"width": width, "height": height}

    def __repr__(self) -> str:
        return "<lifelines>"


def lifelines(events: Sequence[Event], ax: Axes | None = None) -> Figure:
    """Draw what became of every actor and every task in ``events``; return the figure.

    Actors come first, a bar for each incarnation with its number in it and a hatched gap while it was down; then
    tasks, a bar for each attempt. Of a durable actor, also its checkpoints, the replays before it was back, with the
    number of calls that were replayed, and a line that sums up: a call is lost if nobody has answered it. At most 40
    rows: those without trouble are left out first, and a line says how many. With ``ax`` it is drawn there. Seconds
    count from the first event.
    """
    rows, left_out = choose_rows(list(make_rows(events)))
    if ax is None:
        figure = Lifelines(figsize=(10, 1.5 + 0.34 * max(sum(map(_height, rows)), 1)), layout="constrained")
        FigureCanvasAgg(figure)
        ax = figure.add_subplot()
    _draw(ax, rows, left_out)
    figure_of_axes = ax.get_figure(root=True)
    assert figure_of_axes is not None
    return figure_of_axes


# -- from events to rows ---------------------------------------------------------------------------------------


def make_rows(events: Sequence[Event]) -> Iterator[Row]:
    """Yield rows: actors as they appeared, then tasks as they were submitted. Times count from the first event."""
    drawn = [event for event in events if event.actor_id or event.task_id]
    if not drawn:
        return
    origin_s = min(event.wall_s - event.duration_s for event in drawn)
    end_s = max(event.wall_s for event in drawn) - origin_s
    for history in actor_events(drawn).values():
        if any(event.kind in ACTOR_KINDS for event in history):
            yield _actor_row(history, origin_s, end_s)
    for label, history in task_events(drawn).items():
        yield _task_row(label, history, origin_s)


def choose_rows(rows: Sequence[Row]) -> tuple[list[Row], int]:
    """Return at most :data:`ROWS_AT_MOST` rows, in order, those with trouble kept first; and how many are left out."""
    ranked = sorted(range(len(rows)), key=lambda index: (not rows[index].has_trouble, not rows[index].is_actor, index))
    kept = sorted(ranked[:ROWS_AT_MOST])
    return [rows[index] for index in kept], len(rows) - len(kept)


def _actor_row(history: Sequence[Event], origin_s: float, end_s: float) -> Row:
    spans: list[Span] = []
    marks: list[Mark] = []
    alive_s: float | None = None
    down_s: float | None = None
    replay: list[Span] = []
    incarnation = 0
    for event in history:
        at_s = event.wall_s - origin_s
        if event.kind is EventKind.ACTOR_ALIVE:
            if down_s is not None:
                spans.append(Span("gap", down_s, at_s, f"{(at_s - down_s) * 1000:.0f} ms"))
            spans.extend(replay)
            replay.clear()
            alive_s, down_s, incarnation = at_s, None, event.incarnation
        elif event.kind is EventKind.ACTOR_RECOVERED:
            replay = [Span("replay", at_s - event.duration_s, at_s, f"{event.count}")] if event.count else []
        elif event.kind in _MOMENTS:
            marks.append(Mark(_MOMENTS[event.kind], at_s))
        elif event.kind in {EventKind.ACTOR_DIED, EventKind.ACTOR_DEAD}:
            if alive_s is not None:
                spans.append(Span("life", alive_s, at_s, f"{incarnation}"))
            if event.kind is EventKind.ACTOR_DIED:
                marks.append(Mark("death", at_s))
            else:
                marks.append(Mark("end", at_s))
            alive_s, down_s = None, at_s if event.kind is EventKind.ACTOR_DIED else None
        elif event.kind is EventKind.CALL_ATTEMPT:
            marks.append(Mark("call", at_s - event.duration_s))
    if alive_s is not None:
        spans.append(Span("life", alive_s, max(end_s, alive_s), f"{incarnation}"))
    name = next((event.name for event in history if event.kind in ACTOR_KINDS and event.name), "actor")
    sum_up = _sum_up(history)
    # A durable actor's calls are counted instead: after a recovery, many answers come at one moment.
    shown = (mark for mark in marks if mark.what != "call" or not sum_up)
    return Row(name, tuple(spans), tuple(shown), is_actor=True, sum_up=sum_up)


def _sum_up(history: Sequence[Event]) -> str:
    """Return what a durable actor has come through, in words; nothing of another one."""
    number = Counter(event.kind for event in history)
    if not number.keys() & {EventKind.ACTOR_RECOVERED, EventKind.CHECKPOINT_MADE}:
        return ""
    replayed = sum(event.count for event in history if event.kind is EventKind.ACTOR_RECOVERED)
    # A call that has failed without a worker that said so was answered by nobody.
    lost = sum(event.kind is EventKind.CALL_FAILED and not event.worker_id for event in history)
    answered = number[EventKind.CALL_ATTEMPT] + number[EventKind.CALL_FAILED] - lost
    return " \u00b7 ".join(
        (
            _count(number[EventKind.ACTOR_DIED], "death"),
            _count(number[EventKind.CHECKPOINT_MADE], "checkpoint"),
            f"{_count(replayed, 'call')} replayed",
            f"{_count(answered, 'call')} answered",
            f"{_count(lost, 'call')} lost" if lost else "none lost",
        )
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _task_row(label: str, history: Sequence[Event], origin_s: float) -> Row:
    spans: list[Span] = []
    marks: list[Mark] = []
    last_end_s: float | None = None
    for attempt, event in enumerate(history):
        at_s = event.wall_s - origin_s
        is_final = event.kind is EventKind.TASK_FAILED
        if event.kind is EventKind.TASK_ATTEMPT:
            spans.append(Span("done", at_s - event.duration_s, at_s, str(attempt)))
        else:
            # An attempt whose beginning nobody has told began, if it was a retry, where the one before ended.
            start_s = at_s - event.duration_s if event.duration_s or last_end_s is None else last_end_s
            if start_s < at_s:
                spans.append(Span("failed" if is_final else "lost", start_s, at_s, str(attempt)))
            marks.append(Mark("end" if is_final else "retry", at_s))
        last_end_s = at_s
    return Row(label, tuple(spans), tuple(marks), is_actor=False)


_MOMENTS = {
    EventKind.CALL_RETRY: "retry",
    EventKind.CHECKPOINT_MADE: "checkpoint",
    EventKind.ACTOR_UPGRADED: "upgrade",
}

# -- from rows to ink ------------------------------------------------------------------------------------------

_SPAN_STYLES: dict[str, dict[str, Any]] = {
    "life": {"facecolor": _LIFE, "edgecolor": _LIFE},
    "gap": {"facecolor": "white", "edgecolor": _INK, "hatch": _HATCH, "linewidth": 0.6},
    "replay": {"facecolor": _REPLAY, "edgecolor": _LIFE, "linewidth": 0.6},
    "done": {"facecolor": _WORK, "edgecolor": _WORK},
    "lost": {"facecolor": "white", "edgecolor": _LOST, "hatch": "....", "linewidth": 1.0},
    "failed": {"facecolor": "white", "edgecolor": _DEATH, "hatch": "xxxx", "linewidth": 1.0},
}
_MARK_STYLES: dict[str, dict[str, Any]] = {
    "death": {"marker": "v", "color": _DEATH, "markersize": 9, "markeredgecolor": "white"},
    "end": {"marker": "X", "color": _DEATH, "markersize": 8, "markeredgecolor": "white"},
    "retry": {"marker": "$\u21bb$", "color": _INK, "markersize": 8},
    "call": {"marker": "|", "color": "white", "markersize": 7},
    "checkpoint": {"marker": "D", "color": _CHECKPOINT, "markersize": 5, "markeredgecolor": "white"},
    "upgrade": {"marker": "^", "color": _WORK, "markersize": 8, "markeredgecolor": "white"},
}
_HEIGHTS = {"death": 0.42, "retry": -0.42, "end": 0.0, "call": 0.0, "checkpoint": -0.42, "upgrade": -0.42}
_LEGEND = (
    ("life", "actor's process: incarnation, calls"),
    ("gap", "down"),
    ("replay", "replay, and of how many calls"),
    ("done", "task's attempt, and which"),
    ("lost", "attempt that was lost"),
    ("failed", "last attempt, failed"),
    ("death", "process died"),
    ("retry", "call or task sent again"),
    ("checkpoint", "checkpoint"),
    ("upgrade", "another class"),
    ("end", "gone for good"),
)


def _draw(ax: Axes, rows: Sequence[Row], left_out: int) -> None:
    shown: set[str] = set()
    ends = [span.end_s for row in rows for span in row.spans]
    length_s = max(ends, default=0.0) - min((span.start_s for row in rows for span in row.spans), default=0.0)
    heights = [sum(map(_height, rows[:index])) for index in range(len(rows))]
    for height, row in zip(heights, rows, strict=True):
        is_crowded = sum(span.what == "gap" for span in row.spans) > GAPS_WITH_TIMES
        for span in row.spans:
            room = (span.end_s - span.start_s) / length_s if length_s else 0.0
            has_room = span.what != "gap" and room > _DIGIT * len(span.text) + _BESIDE
            _draw_span(ax, height, span, has_text=has_room or not is_crowded)
            shown.add(span.what)
        for mark in row.marks:
            ax.plot(mark.at_s, height - _HEIGHTS[mark.what], linestyle="none", zorder=4, **_MARK_STYLES[mark.what])
            shown.add(mark.what)
        if row.sum_up:
            _write_below(ax, height, row.sum_up)
    ax.set_yticks(heights, [row.label for row in rows])
    ax.set_ylim(max(sum(map(_height, rows)), 1) - 0.2, -0.8)
    note = f" · {left_out} more rows without trouble are left out" if left_out else ""
    ax.set_xlabel(f"seconds since the first event{note}", color=_INK)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x", color=_GAP, linewidth=0.6)
    ax.set_axisbelow(True)
    for side in ("top", "left", "right"):
        ax.spines[side].set_visible(False)
    if handles := list(_legend(shown)):
        ax.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1.01), ncols=4, frameon=False, fontsize=8)


def _height(row: Row) -> int:
    """Return how many lines a row takes."""
    return 2 if row.sum_up else 1


def _write_below(ax: Axes, height: int, text: str) -> None:
    ax.annotate(text, (0, height + 0.95), xycoords=("axes fraction", "data"), va="center", fontsize=9, color=_INK)


def _draw_span(ax: Axes, height: int, span: Span, *, has_text: bool) -> None:
    length = max(span.end_s - span.start_s, _MIN_SPAN_S)
    ax.barh(height, length, left=span.start_s, height=_BAR, zorder=2, **_SPAN_STYLES[span.what])
    if not span.text or not has_text:
        return
    is_gap = span.what == "gap"
    is_solid = span.what in {"life", "done"}
    ground = _SPAN_STYLES[span.what]["facecolor"]
    ax.annotate(
        span.text,
        (span.start_s, height - (_HEIGHTS["death"] if is_gap else 0)),
        xytext=(7 if is_gap else 3, 0),
        textcoords="offset points",
        va="center",
        fontsize=7 if is_gap else 8,
        color="white" if is_solid else _INK,
        bbox=None if is_gap else {"facecolor": ground, "edgecolor": "none", "pad": 0.8},
        zorder=5,
        clip_on=True,
    )


def _legend(shown: Iterable[str]) -> Iterator[Any]:
    there = set(shown)
    for what, text in _LEGEND:
        if what not in there:
            continue
        if what == "life" and "call" not in there:
            text = "actor's process: incarnation"
        if what in _SPAN_STYLES:
            yield Patch(label=text, **_SPAN_STYLES[what])
        else:
            yield Line2D([], [], linestyle="none", label=text, **_MARK_STYLES[what])
