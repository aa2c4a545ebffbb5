"""Attempts: one row per call, what became of each attempt, and the waits between them."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ipyactors.notebook.plots import event_source
from ipyactors.notebook.plots.attempt_rows import Calls, Row, choose_calls
from ipyactors.notebook.plots.event_source import Source, Whose
from ipyactors.notebook.plots.figures import (
    BAR,
    BOLT,
    DEATH,
    FLASH,
    INK,
    LOST,
    QUIET,
    TEXT,
    WORK,
    Ink,
    Style,
    axes_of,
    cut,
    dress_rows,
    new_picture,
    points_of,
    put_legend,
    room_of,
    say_nothing,
)
from ipyactors.notebook.plots.wording import count

_BAR_STYLES: dict[str, Style] = {
    "wait": {"facecolor": "none", "edgecolor": QUIET, "linestyle": (0, (3, 2)), "linewidth": 1.0},
    "lost": {"facecolor": "white", "edgecolor": LOST, "hatch": "....", "linewidth": 1.0},
    "failed": {"facecolor": "white", "edgecolor": DEATH, "hatch": "xxxx", "linewidth": 1.0},
    "again": {"facecolor": "white", "edgecolor": WORK, "hatch": "////", "linewidth": 1.0},
    "ok": {"facecolor": WORK, "edgecolor": WORK},
}
_MARK_STYLES: dict[str, Style] = {
    "cap": {"marker": "|", "color": DEATH, "markersize": 14, "markeredgewidth": 3},
    "end": {"marker": "X", "color": DEATH, "markersize": 8, "markeredgecolor": "white"},
    "injected": {"marker": BOLT, "color": FLASH, "markersize": 13, "markeredgecolor": INK, "markeredgewidth": 0.8},
}  # fmt: skip
_LEGEND = (
    ("ok", "ended well"),
    ("lost", "attempt that was lost"),
    ("failed", "last attempt, failed"),
    ("again", "ended well, and its value was lost later"),
    ("wait", "waiting for the next attempt"),
    ("cap", "end of an attempt that was lost"),
    ("end", "given up"),
    ("injected", "ended by an injection"),
)

#: What is written at the right has at most this part of the width, and so many points between it and the bars.
_WORDS_AT_MOST = 0.72
_GAP_POINTS = 14.0

#: So many ticks has an axis of the full width; so much of its length is left free before the first bar.
_TICKS = 9
_LEFT = 0.005

#: How an attempt's end is marked that did not go well.
_ENDS = {"lost": "cap", "failed": "end", "not run": "end"}
_HALF = (-BAR / 2, BAR / 2)


def attempts(events: Source = None, ax: Axes | None = None, *, actor: Whose = None) -> Figure:
    """Draw each call of a task or a method as a row, and its attempts as the bars in it; return the figure.

    Those that failed come first, then those of most attempts, then up to 10 that ended well at once; at most 40 rows,
    and a line says how many are left out.
    At the right: how many attempts, how long from the first one's beginning to the last one's end, in which incarnation
    of the actor it ended, and what it failed of. An attempt that failed is drawn from when it was sent, or from when
    its process had answered the call before; one that was not run has no bar.

    ``events``, ``ax``, ``actor`` and errors are as with :func:`ipyactors.plots.lifelines`.
    """
    __tracebackhide__ = True
    calls = choose_calls(event_source.read(events, actor))
    figure, axes = axes_of(new_picture("attempts", rows=len(calls.rows)), ax)
    if calls.rows:
        _draw(axes, calls)
    else:
        say_nothing(axes, "no attempts: no call has ended yet")
    return figure


def _draw(axes: Axes, calls: Calls) -> None:
    rows = calls.rows
    labels = [row.label for row in rows]
    began_s = min(row.attempts[0].start_s for row in rows)
    length_s = max(row.attempts[-1].end_s for row in rows) - began_s
    ink = Ink(axes, _BAR_STYLES, _MARK_STYLES, length_s)
    for height, row in enumerate(rows):
        _draw_row(ink, height, row, began_s)
    ink.dry()
    dress_rows(axes, range(len(rows)), labels, len(rows))
    room = room_of(axes, labels)
    words = [cut(row.in_words(), room * _WORDS_AT_MOST - _GAP_POINTS) for row in rows]
    bars = 1 - (max(map(points_of, words)) + _GAP_POINTS) / room  # as a part of the axes' width
    for height, text in enumerate(words):
        axes.annotate(text, (bars, height), xycoords=("axes fraction", "data"), xytext=(_GAP_POINTS - 2, 0),
                      textcoords="offset points", va="center", fontsize=TEXT, color=INK, parse_math=False)  # fmt: skip
    shown_s = length_s or 1e-3
    ticks = MaxNLocator(nbins=max(2, round(bars * _TICKS))).tick_values(0, shown_s)
    axes.set_xticks([tick for tick in ticks if 0 <= tick <= 1.02 * shown_s])
    axes.spines["bottom"].set_bounds(0, shown_s)
    axes.set_xlim(-_LEFT * shown_s, shown_s / bars)
    axes.set_xlabel(f"seconds since the first attempt began{_left_out(calls)}", color=INK, loc="left")
    put_legend(axes, ink.legend(_LEGEND), labels=labels)


def _draw_row(ink: Ink, height: int, row: Row, began_s: float) -> None:
    before_s: float | None = None
    for one in row.attempts:
        start_s, end_s = one.start_s - began_s, one.end_s - began_s
        if before_s is not None:
            _draw_wait(ink, before_s, start_s, height)
        if one.what != "not run":
            ink.bar(one.what, start_s, end_s, height, part=_HALF)
        if one.what in _ENDS:
            ink.mark(_ENDS[one.what], end_s, height)
        if one.is_injected:
            ink.mark("injected", end_s, height - BAR * 0.8)
        before_s = end_s
    if row.is_open and before_s is not None:
        _draw_wait(ink, before_s, ink.length_s, height)


def _left_out(calls: Calls) -> str:
    if not calls.left_out:
        return ""
    which = "all of which ended well at once"
    if calls.left_out_with_trouble:
        which = f"{calls.left_out_with_trouble:,} of which failed or ran again"
    return f" \u00b7 {count(calls.left_out, 'more call')} left out, {which}"


def _draw_wait(ink: Ink, start_s: float, end_s: float, height: int) -> None:
    if end_s > start_s:
        ink.bar("wait", start_s, end_s, height, part=(0.0, 0.0))
