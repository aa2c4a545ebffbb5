"""How long recoveries took: a histogram, with the median and the slow end in words.

Drawn without pyplot, like the lifelines, so that it may be called from any thread.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.ticker import MaxNLocator

from ipyactors.notebook.plots import Lifelines
from ipyactors.notebook.recoveries import find_recoveries
from ipyactors.wire.events import Event

_INK = "#1f2933"
_BARS = "#2a6fbb"
_GRID = "#d8dee6"


class RecoveryTimes(Lifelines):
    """A figure that shows itself in a notebook."""

    def __repr__(self) -> str:
        return "<recovery times>"


def recovery_times(events: Iterable[Event]) -> Lifelines:
    """Return a histogram of how long actors were gone, in milliseconds: from each death until its actor was back.

    That is from the notice of the death until the next incarnation's constructor had returned and, of a durable actor,
    all that it had to do again was done. Deaths that nothing came back from are not in it.
    """
    found = find_recoveries(list(events))
    times_ms = sorted(one.back_s * 1000 for one in found if one.kind == "actor" and one.back_s is not None)
    figure = RecoveryTimes(figsize=(10, 2.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    if times_ms:
        axes.hist(times_ms, bins=min(40, max(8, math.isqrt(4 * len(times_ms)))), color=_BARS, edgecolor="white")
        axes.axvline(statistics.median(times_ms), color=_INK, linewidth=1.2)
    axes.set_title(_in_words(times_ms), loc="left", fontsize=9, color=_INK)
    axes.set_xlim(left=0)
    axes.set_xlabel("milliseconds from a death until the actor was back", color=_INK)
    axes.set_ylabel("recoveries", color=_INK)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", color=_GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    return figure


def _in_words(times_ms: list[float]) -> str:
    if not times_ms:
        return "no recoveries"
    slow_ms = times_ms[math.ceil(0.95 * len(times_ms)) - 1]
    many = f"{len(times_ms):,} recover{'ies' if len(times_ms) > 1 else 'y'}"
    median_ms = statistics.median(times_ms)
    return f"{many} \u00b7 median (the line) {median_ms:.0f} ms \u00b7 95% within {slow_ms:.0f} ms"
