"""When checkpoints were made, what recoveries did again since, and what one would cost now."""

from __future__ import annotations

import math
import time
from bisect import bisect_right
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ipyactors.notebook.plots import event_source
from ipyactors.notebook.plots.checkpoint_rows import Replay, Row, make_rows
from ipyactors.notebook.plots.event_source import Source, Whose
from ipyactors.notebook.plots.figures import (
    BAR,
    BOLT,
    CHECKPOINT,
    DEATH,
    FLASH,
    GRID,
    INK,
    LIFE,
    QUIET,
    REPLAY,
    TEXT,
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
from ipyactors.notebook.plots.wording import ROWS_AT_MOST, count, in_size, in_time, shorten

#: Lines of a row: its bar, and what it comes to in words.
_LINES = 2

#: So many rows are as high as the picture of a single actor.
_ROWS_OF_ONE = 6

#: So much is left free on both sides, of the time that is drawn.
_MARGIN = 0.04

#: The age and the size below a checkpoint are so many points apart from those below the next one.
_APART = 8.0

#: The words beside a bolt are so many points right of its middle, and keep as many from the next one.
_BESIDE_BOLT = 9.0

#: With more checkpoints, the line that falls to zero at each would cover everything.
_TEETH_WITH_LINES = 150

_BAR_STYLES: dict[str, Style] = {
    "life": {"facecolor": "#eef1f5", "edgecolor": GRID, "linewidth": 0.6},
    "due": {"facecolor": REPLAY, "edgecolor": LIFE, "hatch": "....", "linewidth": 0.4},
    "replay": {"facecolor": REPLAY, "edgecolor": LIFE, "linewidth": 0.6},
}
_MARK_STYLES: dict[str, Style] = {
    "checkpoint": {"marker": "D", "color": CHECKPOINT, "markersize": 6, "markeredgecolor": "white"},
    "begun": {"marker": "D", "color": "white", "markersize": 6, "markeredgecolor": CHECKPOINT,
              "markeredgewidth": 1.6},
    "death": {"marker": "v", "color": DEATH, "markersize": 9, "markeredgecolor": "white"},
    "injected death": {"marker": BOLT, "color": FLASH, "markersize": 13, "markeredgecolor": INK,
                       "markeredgewidth": 0.8},
}  # fmt: skip
_LEGEND = (
    ("checkpoint", "checkpoint"),
    ("begun", "checkpoint that a recovery began with"),
    ("due", "would be replayed now"),
    ("replay", "replay"),
    ("death", "process died"),
    ("injected death", "death that was injected"),
)


def checkpoints(events: Source = None, ax: Axes | None = None, *, actor: Whose = None) -> Figure:
    """Draw the checkpoints of durable actors, and what would be replayed if they died now; return the figure.

    With one actor, which may be chosen by ``actor`` (a handle, a name, or the beginning of an id), the line is the
    number of calls that a recovery would have had to do again at each moment: it falls to zero at each checkpoint, and
    what a death cost is written beside it. With several, a row for each, at most 40. Calls are those that this process
    has had answered, also readonly ones, which are not replayed. Work is never lost: replay costs time. The picture
    ends with the last event, or now if the events are the session's own.

    ``events``, ``ax`` and errors are as with :func:`ipyactors.plots.lifelines`.
    """
    __tracebackhide__ = True
    until_s = time.time() if events is None else 0.0
    rows = list(make_rows(event_source.read(events, actor), until_s))
    shown = rows[:ROWS_AT_MOST]
    lines = _ROWS_OF_ONE if len(rows) == 1 else _LINES * len(rows[:ROWS_AT_MOST])
    figure, axes = axes_of(new_picture("checkpoints", rows=lines), ax)
    if len(rows) == 1:
        _draw_one(axes, rows[0])
    elif rows:
        _draw_rows(axes, shown, len(rows) - len(shown))
    else:
        say_nothing(axes, "no checkpoints: no durable actor has made one or has come back")
    return figure


def _draw_rows(axes: Axes, rows: Sequence[Row], left_out: int) -> None:
    length_s = max(row.now_s for row in rows) - min(row.begun_s for row in rows)
    ink = Ink(axes, _BAR_STYLES, _MARK_STYLES, length_s)
    heights = [index * _LINES for index in range(len(rows))]
    half = (-BAR / 2, BAR / 2)
    for height, row in zip(heights, rows, strict=True):
        ink.bar("life", row.begun_s, row.now_s, height, part=half)
        for replay in row.replays:
            ink.bar("replay", replay.at_s - replay.duration_s, replay.at_s, height, part=half)
        if row.due_calls and not row.is_gone:
            ink.bar("due", row.saved[-1].at_s if row.saved else row.begun_s, row.now_s, height, part=half)
        for saved in row.saved:
            ink.mark("begun" if saved.begun else "checkpoint", saved.at_s, height)
        for at_s, is_injected in row.deaths:
            ink.mark("injected death" if is_injected else "death", at_s, height - BAR)
        below = (0, height + 0.75)
        text = row.in_words()
        axes.annotate(text, below, xycoords=("axes fraction", "data"), va="center", fontsize=TEXT, color=INK)
    ink.dry()
    dress_rows(axes, heights, [row.label for row in rows], _LINES * len(rows))
    note = f" \u00b7 {count(left_out, 'more actor')} left out" if left_out else ""
    axes.set_xlabel(f"seconds since the first event{note}", color=INK)
    put_legend(axes, ink.legend(_LEGEND), labels=[row.label for row in rows])


def _draw_one(axes: Axes, row: Row) -> None:
    length_s = row.now_s - row.begun_s
    ink = Ink(axes, _BAR_STYLES, _MARK_STYLES, length_s)
    if row.steps.at_s:
        times, calls = (row.begun_s, *row.steps.at_s), (0, *row.steps.calls)
        axes.fill_between(times, calls, step="post", color=REPLAY, alpha=0.45, linewidth=0)
        if len(row.saved) <= _TEETH_WITH_LINES:
            axes.step(times, calls, where="post", color=LIFE, linewidth=1.2)
    highest = max(row.steps.calls, default=0) or 1
    for saved in row.saved:
        ink.mark("begun" if saved.begun else "checkpoint", saved.at_s, 0.0)
    for at_s, is_injected in row.deaths:
        ink.mark("injected death" if is_injected else "death", at_s, highest * 1.12)
    ink.dry()
    room = room_of(axes)
    points_per_s = _set_range(axes, row, room, length_s or 1.0)
    _write_replays(axes, row, highest, points_per_s)
    _write_ages(axes, row, points_per_s)
    axes.set_ylim(-0.28 * highest, 1.25 * highest)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    axes.set_yticks([tick for tick in axes.get_yticks() if 0 <= tick <= highest])
    axes.set_ylabel("calls to replay", color=INK)
    axes.set_xlabel("seconds since the first event", color=INK)
    axes.grid(axis="y", color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "left", "right"]].set_visible(False)
    title = f"{shorten(row.label)}: {row.in_words()}"
    if points_of(title) > room:
        title = title.replace(" \u00b7 ", "\n")
    axes.set_title(title, loc="left", fontsize=TEXT, color=INK, pad=26, parse_math=False)
    put_legend(axes, ink.legend(_LEGEND), columns=5)


def _set_range(axes: Axes, row: Row, room: float, length_s: float) -> float:
    """Set what is shown, so that the words beside the last death are in it; return how many points a second has."""
    right = _MARGIN
    if row.replays:
        died_s, text = _beside_death(row, row.replays[-1])
        points = points_of(text) + 2 * _BESIDE_BOLT
        right = max(right, margin_for((died_s - row.begun_s) / length_s, points, room, _MARGIN))
    axes.set_xlim(row.begun_s - _MARGIN * length_s, row.begun_s + (1 + right) * length_s)
    return room / (length_s * (1 + _MARGIN + right))


def _write_replays(axes: Axes, row: Row, highest: float, points_per_s: float) -> None:
    """Write what each recovery did again beside the death before it, where there is room before the next death."""
    for replay in row.replays:
        died_s, text = _beside_death(row, replay)
        later = bisect_right(row.deaths, died_s, key=_when)
        room = (row.deaths[later][0] - died_s) * points_per_s if later < len(row.deaths) else math.inf
        if room > 2 * _BESIDE_BOLT and room >= points_of(text) + 2 * _BESIDE_BOLT:
            axes.annotate(text, (died_s, highest * 1.12), xytext=(_BESIDE_BOLT, 0), textcoords="offset points",
                          va="center", fontsize=TEXT, color=INK)  # fmt: skip


def _beside_death(row: Row, replay: Replay) -> tuple[float, str]:
    """Return when the death was that a recovery followed, and what is said of the recovery beside it."""
    later = bisect_right(row.deaths, replay.at_s, key=_when)
    died_s = _when(row.deaths[later - 1]) if later else replay.at_s
    if not replay.calls:
        return died_s, "nothing to replay"
    return died_s, f"{count(replay.calls, 'call')}, {in_time(replay.duration_s)}"


def _when(death: tuple[float, bool]) -> float:
    return death[0]


def _write_ages(axes: Axes, row: Row, points_per_s: float) -> None:
    """Write age and size below checkpoints, the newest first, where there is room."""
    free_points = math.inf
    for saved in reversed(row.saved):
        middle = (saved.at_s - row.begun_s) * points_per_s
        if middle > free_points:
            continue
        text = f"{in_time(row.now_s - saved.at_s)} old\n{in_size(saved.size_bytes)}"
        half = points_of(text) / 2
        if middle + half > free_points:
            continue
        free_points = middle - half - _APART
        axes.annotate(text, (saved.at_s, 0), xytext=(0, -6), textcoords="offset points", ha="center", va="top",
                      fontsize=TEXT, color=QUIET)  # fmt: skip
