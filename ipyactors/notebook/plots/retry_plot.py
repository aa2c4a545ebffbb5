"""What was retried, how often, and why: a bar for each function or method and each cause."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ipyactors.notebook.plots import event_source
from ipyactors.notebook.plots.event_source import Source, Whose
from ipyactors.notebook.plots.figures import (
    BAR,
    DEATH,
    INK,
    LOST,
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
from ipyactors.notebook.plots.recoveries import injected_ends
from ipyactors.notebook.plots.wording import ROWS_AT_MOST, count, gist
from ipyactors.wire.events import Became, Event, EventKind

_RETRIES = frozenset({EventKind.TASK_RETRY, EventKind.CALL_RETRY})
_ENDS = _RETRIES | {EventKind.TASK_FAILED, EventKind.CALL_FAILED}

_BAR_STYLES: dict[str, Style] = {
    "again": {"facecolor": LOST, "edgecolor": LOST},
    "failed": {"facecolor": "white", "edgecolor": DEATH, "hatch": "xxxx", "linewidth": 1.0},
}
_LEGEND = (("again", "attempt failed, and another one followed"), ("failed", "last attempt, failed"))
_HALF = (-BAR / 2, BAR / 2)
_CAUSE_LETTERS = 72

#: What is written is so far from its bar, and from the edge.
_GAP_POINTS = 6.0


@dataclasses.dataclass(frozen=True, slots=True)
class Cause:
    """How many attempts of what failed of what: ``again`` of them were followed by another one, ``failed`` were not."""

    name: str
    cause: str
    again: int
    failed: int


def count_causes(events: Sequence[Event]) -> list[Cause]:
    """Return a count for each function or method and each cause: those that failed most often first, by function.

    Of an exception only its type counts; an injected fault counts apart from what happened by itself. A call that was
    not run was no attempt.
    """
    again: Counter[tuple[str, str]] = Counter()
    failed: Counter[tuple[str, str]] = Counter()
    is_injected = injected_ends(events)
    for event in events:
        counter = again if event.kind in _RETRIES else failed
        if event.kind in _ENDS and event.became is not Became.NOT_RUN:
            cause = _cause(event)
            if is_injected(event) and "injected" not in cause:
                cause += " (injected)"
            counter[event.name, cause] += 1
    both = again + failed
    totals: Counter[str] = Counter()
    for (name, _), number in both.items():
        totals[name] += number
    keys = sorted(both, key=lambda key: (-totals[key[0]], key[0], -both[key], key[1]))
    return [Cause(*key, again[key], failed[key]) for key in keys]


def _cause(event: Event) -> str:
    """Return what ended an attempt: the exception's type, or how the process ended."""
    kind, colon, _ = event.detail.partition(": ")
    words = kind if colon and kind.replace(".", "").isidentifier() else gist(event.detail, _CAUSE_LETTERS)
    return words or "not known"


def retries(events: Source = None, ax: Axes | None = None, *, actor: Whose = None) -> Figure:
    """Draw how many attempts of each function and method failed, by cause; return the figure.

    A bar for each cause: solid for attempts that were followed by another one, hatched for those that were the last.
    At most 40 bars: those with most are kept.

    ``events``, ``ax``, ``actor`` and errors are as with :func:`ipyactors.plots.lifelines`.
    """
    __tracebackhide__ = True
    causes = count_causes(event_source.read(events, actor))
    shown = causes[:ROWS_AT_MOST]
    figure, axes = axes_of(new_picture("retries", rows=len(shown)), ax)
    if shown:
        _draw(axes, shown, causes[ROWS_AT_MOST:])
    else:
        say_nothing(axes, "no attempt has failed")
    return figure


def _draw(axes: Axes, causes: Sequence[Cause], left_out: Sequence[Cause]) -> None:
    longest = max(one.again + one.failed for one in causes)
    ink = Ink(axes, _BAR_STYLES, {}, longest)
    labels: list[str] = []
    words: list[tuple[int, str]] = []
    for height, one in enumerate(causes):
        total = one.again + one.failed
        if one.again:
            ink.bar("again", 0, one.again, height, part=_HALF)
        if one.failed:
            ink.bar("failed", one.again, total, height, part=_HALF)
        words.append((total, f"{total:,}  {one.cause}"))
        axes.annotate(words[-1][1], (total, height), xytext=(_GAP_POINTS, 0),
                      textcoords="offset points", va="center", fontsize=TEXT, color=INK, parse_math=False)  # fmt: skip
        is_first = not height or causes[height - 1].name != one.name
        labels.append(one.name if is_first else "")
    ink.dry()
    dress_rows(axes, range(len(causes)), labels, len(causes))
    room = room_of(axes, labels)
    rights = [margin_for(bar / longest, points_of(text) + 2 * _GAP_POINTS, room, 0.0) for bar, text in words]
    axes.set_xlim(0, longest * (1 + max(0.0, *rights)))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    axes.set_xticks([tick for tick in axes.get_xticks() if 0 <= tick <= longest])
    axes.spines["bottom"].set_bounds(0, longest)
    note = ""
    if left_out:
        rest = sum(one.again + one.failed for one in left_out)
        note = f" \u00b7 {rest:,} more of {count(len(left_out), 'other cause')} left out"
    axes.set_xlabel(f"attempts that failed{note}", color=INK, loc="left")
    put_legend(axes, ink.legend(_LEGEND), labels=labels)
