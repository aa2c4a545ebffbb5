"""Lifelines: one row per actor and per task, time from left to right, what died and what came back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure

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
    WORK,
    Ink,
    Style,
    axes_of,
    dress_rows,
    new_picture,
    put_legend,
    say_nothing,
)
from ipyactors.notebook.plots.lifeline_rows import Row, Span, choose_rows, make_rows
from ipyactors.notebook.plots.wording import count

#: Where an actor was down more often, the milliseconds of each time would lie over each other, and other texts are
#: written only where they have room.
GAPS_WITH_TIMES = 10

#: The milliseconds of one time, as a part of the picture's width.
_GAPS_APART = 0.045

#: So much of the picture's width, at most, is a digit in a bar, and what is left free on both sides of a number.
_DIGIT = 0.0075
_BESIDE = 0.0055

#: The number of a durable actor's incarnation is so much higher, above the work that a replay did again.
_RAISED = 0.07

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
    "call": {"marker": "|", "color": "white", "markersize": 7},
    "checkpoint": {"marker": "D", "color": CHECKPOINT, "markersize": 5, "markeredgecolor": "white"},
    "upgrade": {"marker": "^", "color": WORK, "markersize": 8, "markeredgecolor": "white"},
}  # fmt: skip
_ABOVE, _BELOW, _LANE = 0.42, -0.42, -0.62
_HEIGHTS = {"death": _ABOVE, "injected death": _ABOVE, "injection": _ABOVE, "end": 0.0, "call": 0.0}
_LEGEND = (
    ("life", "actor's process: incarnation, calls"),
    ("gap", "down"),
    ("redone", "work that a replay did again"),
    ("replay", "replay, and of how many calls"),
    ("done", "task's attempt, and which"),
    ("lost", "attempt that was lost"),
    ("failed", "last attempt, failed"),
    ("death", "process died"),
    ("injected death", "death that was injected"),
    ("injection", "injected fault"),
    ("retry", "call or task sent again"),
    ("unanswered", "call that nobody answered"),
    ("checkpoint", "checkpoint"),
    ("upgrade", "another class"),
    ("end", "gone for good"),
)


def lifelines(events: Source = None, ax: Axes | None = None, *, actor: Whose = None) -> Figure:
    """Draw what became of every actor and every task; return the figure.

    ``events`` are those of :func:`ipyactors.events` (the default), of :func:`ipyactors.load_events`, or the path of a
    file that :func:`ipyactors.export_events` has written. With ``actor`` (a handle, a name, or the beginning of an id)
    only that one is drawn, with ``ax`` it is drawn there.

    Actors come first, a bar for each incarnation with its number in it and a hatched gap while it was down; a bolt of
    lightning is a death that was injected, a triangle any other. Then tasks, a bar for each attempt. Of a durable
    actor, also its checkpoints, which of them each recovery began with (a line from it to there), what was done again
    since then, with the number of calls, and a line that sums up: a call is lost if nobody has answered it. At most 40
    rows: those without trouble are left out first, and a line says how many. Seconds count from the first event; of the
    session's own events, whoever lives is drawn until now.

    Raises SessionError without events and without a session, ActorNotFoundError if ``actor`` is not in the events, and
    EventFileError for a file that holds no events.
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
    ends = [span.end_s for row in rows for span in row.spans]
    length_s = max(ends, default=0.0) - min((span.start_s for row in rows for span in row.spans), default=0.0)
    ink = Ink(axes, SPAN_STYLES, MARK_STYLES, length_s)
    heights: list[int] = []
    total = 0
    for row in rows:
        heights.append(total)
        _draw_row(ink, total, row)
        total += _height(row)
    ink.dry()
    dress_rows(axes, heights, [row.label for row in rows], total)
    note = f" \u00b7 {count(left_out, 'more row')} left out, those without trouble first" if left_out else ""
    axes.set_xlabel(f"seconds since the first event{note}", color=INK)
    if (end_s := max(ends, default=0.0)) > 0:
        axes.set_xlim(-_MARGIN * end_s, (1 + _MARGIN) * end_s)
    put_legend(axes, ink.legend(_legend(ink.shown)))


def _draw_row(ink: Ink, height: int, row: Row) -> None:
    gaps_s = [span.start_s for span in row.spans if span.what == "gap"]
    apart_s = min((later - one for one, later in pairwise(gaps_s)), default=ink.length_s)
    is_crowded = len(gaps_s) > GAPS_WITH_TIMES or apart_s < _GAPS_APART * ink.length_s
    for span in row.spans:
        part = (0.08, BAR / 2) if span.what == "redone" else (-BAR / 2, BAR / 2)
        ink.bar(span.what, span.start_s, span.end_s, height, part=part)
        room = (span.end_s - span.start_s) / ink.length_s if ink.length_s else 0.0
        has_room = span.what != "gap" and room > _DIGIT * len(span.text) + _BESIDE
        if span.text and (has_room or not (is_crowded or span.what == "replay")):
            _write(ink.axes, height - (_RAISED if row.sum_up and span.what == "life" else 0.0), span)
    for mark in row.marks:
        ink.mark(mark.what, mark.at_s, height - _HEIGHTS.get(mark.what, _BELOW))
    for checkpoint_s, back_s in row.restores:
        lane, foot = height - _LANE, height - _BELOW
        ink.path([(checkpoint_s, foot), (checkpoint_s, lane), (back_s, lane), (back_s, height + BAR / 2)])
    if row.sum_up:
        below = (0, height + 0.98)
        ink.axes.annotate(
            row.sum_up, below, xycoords=("axes fraction", "data"), va="center", fontsize=9, color=INK, parse_math=False
        )


def _height(row: Row) -> int:
    """Return how many lines a row takes."""
    return 2 if row.sum_up else 1


def _write(axes: Axes, height: float, span: Span) -> None:
    is_gap = span.what == "gap"
    ground = SPAN_STYLES[span.what]["facecolor"]
    written = axes.annotate(
        span.text,
        (span.start_s, height - (_ABOVE if is_gap else 0)),
        xytext=(7 if is_gap else 3, 0),
        textcoords="offset points",
        va="center",
        fontsize=7 if is_gap else 8,
        color="white" if span.what in {"life", "done"} else INK,
        bbox=None if is_gap else {"facecolor": ground, "edgecolor": "none", "pad": 0.8},
        zorder=5,
        clip_on=True,
    )
    written.set_in_layout(False)


def _legend(shown: set[str]) -> list[tuple[str, str]]:
    if "call" in shown:
        return list(_LEGEND)
    return [(what, "actor's process: incarnation" if what == "life" else text) for what, text in _LEGEND]
