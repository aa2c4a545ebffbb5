"""Lifelines: one row per actor and per task, time from left to right, what died and what came back."""

from __future__ import annotations

import math
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ipyactors.notebook.plots import event_source
from ipyactors.notebook.plots.event_source import Source, Whose
from ipyactors.notebook.plots.figures import (
    BAR,
    BOLT,
    CHECKPOINT,
    DEATH,
    FLASH,
    INK,
    LIFE,
    LOST,
    REPLAY,
    TEXT,
    WORK,
    Ink,
    Style,
    axes_of,
    dress_rows,
    margin_for,
    new_picture,
    points_of,
    put_legend,
    room_of,
    say_nothing,
)
from ipyactors.notebook.plots.lifeline_rows import Row, Span, choose_rows, make_rows
from ipyactors.notebook.plots.wording import count

#: Where an actor was down more often, the milliseconds of each time are left out, and numbers stay within their bars.
GAPS_WITH_TIMES = 10

#: A text begins so many points right of its bar's beginning, or of the mark there, and keeps so many free behind it.
_BESIDE_TEXT = 3.0
_BESIDE_MARK = 8.0
_BEHIND_TEXT = 1.5

#: No text is narrower than this.
_NARROWEST_TEXT = 5.0

#: The number of a durable actor's incarnation is so much higher, above the work that a replay did again.
_RAISED = 0.03

#: So much is left free before the first event and after the last one, of the time between them.
_MARGIN = 0.01

SPAN_STYLES: dict[str, Style] = {
    "life": {"facecolor": LIFE, "edgecolor": LIFE},
    "gap": {"facecolor": "white", "edgecolor": INK, "hatch": "////", "linewidth": 0.6},
    "redone": {"facecolor": REPLAY, "edgecolor": LIFE, "hatch": "....", "linewidth": 0.4},
    "replay": {"facecolor": REPLAY, "edgecolor": LIFE, "linewidth": 0.6},
    "done": {"facecolor": WORK, "edgecolor": WORK},
    "lost": {"facecolor": "white", "edgecolor": LOST, "hatch": "....", "linewidth": 1.0},
    "failed": {"facecolor": "white", "edgecolor": DEATH, "hatch": "xxxx", "linewidth": 1.0},
}
MARK_STYLES: dict[str, Style] = {
    "death": {"marker": "v", "color": DEATH, "markersize": 9, "markeredgecolor": "white"},
    "injected death": {"marker": BOLT, "color": FLASH, "markersize": 13, "markeredgecolor": INK,
                       "markeredgewidth": 0.8},
    "injection": {"marker": BOLT, "color": "white", "markersize": 11, "markeredgecolor": INK, "markeredgewidth": 0.8},
    "end": {"marker": "X", "color": DEATH, "markersize": 8, "markeredgecolor": "white"},
    "retry": {"marker": "$\u21bb$", "color": INK, "markersize": 8},
    "unanswered": {"marker": "$?$", "color": DEATH, "markersize": 8},
    "given up": {"marker": "$!$", "color": INK, "markersize": 9},
    "call": {"marker": "|", "color": "white", "markersize": 7},
    "checkpoint": {"marker": "D", "color": CHECKPOINT, "markersize": 5, "markeredgecolor": "white"},
    "upgrade": {"marker": "^", "color": WORK, "markersize": 8, "markeredgecolor": "white"},
}  # fmt: skip
_MARKS_ABOVE = ("death", "injected death", "injection")
_ABOVE, _BELOW, _LANE, _GAP_TEXT = 0.42, -0.42, -0.62, 0.48
_HEIGHTS = {**dict.fromkeys(_MARKS_ABOVE, _ABOVE), "end": 0.0, "call": 0.0}
_LEGEND = (
    ("life", "actor's process, which incarnation"),
    ("gap", "down"),
    ("redone", "done again after the death"),
    ("replay", "replay, and of how many calls"),
    ("done", "task's attempt, and which"),
    ("lost", "attempt that was lost"),
    ("failed", "last attempt, failed"),
    ("death", "process died"),
    ("injected death", "death that was injected"),
    ("injection", "injected fault"),
    ("retry", "call or task sent again"),
    ("unanswered", "call that nobody answered"),
    ("given up", "call given up, without effect"),
    ("checkpoint", "checkpoint"),
    ("upgrade", "another class"),
    ("end", "gone for good"),
)


def lifelines(events: Source = None, ax: Axes | None = None, *, actor: Whose = None) -> Figure:
    """Draw what became of every actor and every task; return the figure.

    ``events`` are those of :func:`ipyactors.events` (the default), of :func:`ipyactors.load_events`, or the path of a
    file that :func:`ipyactors.export_events` has written. With ``actor`` (a handle, a name, or the beginning of an id;
    or a list of these) nothing else is drawn, with ``ax`` it is drawn there.

    Actors come first, a bar for each incarnation with its number in it and a hatched gap while it was down; a bolt of
    lightning is a death that was injected, a triangle any other. Then tasks, a bar for each attempt. White ticks are
    the ends of calls. A durable actor has its calls counted instead, for after a recovery many end at one moment, in a
    line that sums up: a call is lost if nobody has answered it. It has also its checkpoints, which of them each
    recovery began with (a line from it to there), and what was done again since then, with the number of calls. At most
    40 rows: those without trouble are left out first, and a line says how many. Seconds count from the first event; of
    the session's own events, whoever lives is drawn until now.

    Raises SessionError without events and without a session, ActorNotFoundError if ``actor`` is not in the events,
    OptionError if it is an empty list, and EventFileError for a file that holds no events.
    """
    __tracebackhide__ = True
    until_s = time.time() if events is None else 0.0
    rows, left_out = choose_rows(list(make_rows(event_source.read(events, actor), until_s)))
    figure, axes = axes_of(new_picture("lifelines", rows=sum(map(_height, rows))), ax)
    if rows:
        _draw(axes, rows, left_out)
    else:
        say_nothing(axes, "nothing has happened yet: no actor was made and no task has ended")
    return figure


def _draw(axes: Axes, rows: Sequence[Row], left_out: int) -> None:
    labels = [row.label for row in rows]
    ends = [span.end_s for row in rows for span in row.spans]
    end_s = max(ends, default=0.0)
    length_s = end_s - min((span.start_s for row in rows for span in row.spans), default=0.0)
    ink = Ink(axes, SPAN_STYLES, MARK_STYLES, length_s)
    room = room_of(axes, labels)
    points_per_s = room / length_s if length_s else math.inf
    written: list[tuple[Span, float]] = []
    heights: list[int] = []
    total = 0
    for row in rows:
        heights.append(total)
        _draw_row(ink, total, row)
        for span, at_s in _readable(row, points_per_s):
            _write(axes, at_s, total - (_RAISED if row.sum_up and span.what == "life" else 0.0), span)
            written.append((span, at_s))
        total += _height(row)
    ink.dry()
    dress_rows(axes, heights, labels, total)
    note = f" \u00b7 {count(left_out, 'more row')} left out, those without trouble first" if left_out else ""
    axes.set_xlabel(f"seconds since the first event{note}", color=INK)
    if end_s > 0:
        rights = (margin_for(at_s / end_s, _points_of(span), room, _MARGIN) for span, at_s in written)
        right = max(rights, default=0.0)
        axes.set_xlim(-_MARGIN * end_s, (1 + max(right, _BESIDE_MARK / room)) * end_s)
    put_legend(axes, _keys(ink, is_any_durable=any(row.sum_up for row in rows)), labels=labels)


def _draw_row(ink: Ink, height: int, row: Row) -> None:
    for span in row.spans:
        part = (0.08, BAR / 2) if span.what == "redone" else (-BAR / 2, BAR / 2)
        ink.bar(span.what, span.start_s, span.end_s, height, part=part)
    for mark in row.marks:
        # The calls of a plain actor that were not run end with one that was: both can be seen.
        is_lower = mark.what == "given up" and not row.sum_up
        ink.mark(mark.what, mark.at_s, height - (_LANE if is_lower else _HEIGHTS.get(mark.what, _BELOW)))
    for checkpoint_s, back_s in row.restores:
        lane, foot = height - _LANE, height - _BELOW
        ink.path([(checkpoint_s, foot), (checkpoint_s, lane), (back_s, lane), (back_s, height + BAR / 2)])
    if row.sum_up:
        ink.axes.annotate(row.sum_up, (0, height + 0.98), xycoords=("axes fraction", "data"), va="center",
                          fontsize=TEXT, color=INK, parse_math=False)  # fmt: skip


def _readable(row: Row, points_per_s: float) -> Iterator[tuple[Span, float]]:
    """Yield the spans whose texts have room, if a second is so wide, and where each begins.

    None lies over another one, or under a mark. That of a task's attempt is beside a bar that is too short for it.
    """
    is_crowded = sum(span.what == "gap" for span in row.spans) > GAPS_WITH_TIMES
    marks_s = sorted(mark.at_s for mark in row.marks if mark.what in _MARKS_ABOVE)
    inside_s = [span.start_s for span in row.spans if span.text and span.what != "gap"]
    for span in row.spans:
        if not span.text:
            continue
        is_gap = span.what == "gap"
        others_s = marks_s if is_gap else inside_s
        behind = bisect_right(others_s, span.start_s)
        until_s = others_s[behind] if behind < len(others_s) else math.inf
        if is_crowded or span.what == "replay":
            until_s = span.start_s if is_gap else span.end_s
        if (until_s - span.start_s) * points_per_s < _NARROWEST_TEXT:
            continue  # of thousands of texts, few need to be measured
        points = _points_of(span)
        is_beside = not row.is_actor and points > (span.end_s - span.start_s) * points_per_s
        at_s = span.end_s if is_beside else span.start_s
        if points <= (until_s - at_s) * points_per_s:
            yield span, at_s


def _points_of(span: Span) -> float:
    """Return how much a span's text needs, from where the span begins."""
    return points_of(span.text) + (2 * _BESIDE_MARK if span.what == "gap" else _BESIDE_TEXT + _BEHIND_TEXT)


def _height(row: Row) -> int:
    """Return how many lines a row takes."""
    return 2 if row.sum_up else 1


def _write(axes: Axes, at_s: float, height: float, span: Span) -> None:
    """Write a span's text in its bar, which may be too short, or beside it; that of a gap above it."""
    is_gap, is_beside = span.what == "gap", at_s > span.start_s
    ground = SPAN_STYLES[span.what]["facecolor"]
    written = axes.annotate(
        span.text,
        (at_s, height - (_GAP_TEXT if is_gap else 0)),
        xytext=(_BESIDE_MARK if is_gap else _BESIDE_TEXT, 0),
        textcoords="offset points",
        va="center",
        fontsize=TEXT,
        color="white" if span.what in {"life", "done"} and not is_beside else INK,
        bbox=None if is_gap or is_beside else {"facecolor": ground, "edgecolor": "none", "pad": 0.3},
        zorder=5,
        clip_on=True,
    )
    written.set_in_layout(False)


def _keys(ink: Ink, *, is_any_durable: bool) -> list[Patch | Line2D]:
    keys = list(ink.legend(_LEGEND))
    if "call" in ink.shown:  # white, and so on a piece of the bar
        label = "end of a call (not of durable actors)" if is_any_durable else "end of a call"
        style = {**MARK_STYLES["call"], "color": LIFE, "markeredgecolor": "white"}
        keys.insert(1, Line2D([], [], linewidth=7, solid_capstyle="butt", label=label, **style))
    return keys
