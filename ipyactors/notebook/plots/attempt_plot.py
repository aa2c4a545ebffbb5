"""Attempts: one row per call, what became of each attempt, and the waits between them."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ipyactors.notebook.plots import event_source
from ipyactors.notebook.plots.attempt_rows import Calls, choose_calls
from ipyactors.notebook.plots.event_source import Source, Whose
from ipyactors.notebook.plots.figures import (
    BAR,
    BOLT,
    DEATH,
    FLASH,
    INK,
    LOST,
    QUIET,
    WORK,
    Ink,
    Style,
    axes_of,
    dress_rows,
    new_picture,
    put_legend,
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

#: So much of the picture is left for what is written at the right, of the width of the bars.
_RIGHT = 0.75
_HALF = (-BAR / 2, BAR / 2)


def attempts(events: Source = None, ax: Axes | None = None, *, actor: Whose = None) -> Figure:
    """Draw each call of a task or a method as a row, and its attempts as the bars in it; return the figure.

    Those that failed come first, then those of most attempts, then up to 10 that ended well at once; at most 40 rows,
    and a line says how many are left out.
    At the right: how many attempts, how long from the first one's beginning to the last one's end, in which incarnation
    of the actor it ended, and what it failed of. An attempt that failed is drawn from when it was sent, or from when
    its process had answered the call before.

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
    start_s = min(row.attempts[0].start_s for row in rows)
    end_s = max(row.attempts[-1].end_s for row in rows)
    ink = Ink(axes, _BAR_STYLES, _MARK_STYLES, end_s - start_s)
    for height, row in enumerate(rows):
        for index, one in enumerate(row.attempts):
            ink.bar(one.what, one.start_s, one.end_s, height, part=_HALF)
            if index:
                _draw_wait(ink, row.attempts[index - 1].end_s, one.start_s, height)
            if one.what in {"lost", "failed"}:
                ink.mark("cap" if one.what == "lost" else "end", one.end_s, height)
            if one.is_injected:
                ink.mark("injected", one.end_s, height - BAR * 0.8)
        if row.is_open:
            _draw_wait(ink, row.attempts[-1].end_s, end_s, height)
        axes.annotate(row.in_words(), (1 / (1 + _RIGHT), height), xycoords=("axes fraction", "data"), xytext=(14, 0),
                      textcoords="offset points", va="center", fontsize=8, color=INK, parse_math=False)  # fmt: skip
    ink.dry()
    dress_rows(axes, range(len(rows)), [row.label for row in rows], len(rows))
    length_s = (end_s - start_s) or 1e-3
    axes.set_xlim(start_s - 0.005 * length_s, start_s + length_s * (1 + _RIGHT))
    axes.set_xticks([tick for tick in axes.get_xticks() if start_s <= tick <= end_s + 0.02 * length_s])
    axes.spines["bottom"].set_bounds(start_s, end_s)
    axes.set_xlabel(f"seconds since the first attempt began{_left_out(calls)}", color=INK, loc="left")
    put_legend(axes, ink.legend(_LEGEND))


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
