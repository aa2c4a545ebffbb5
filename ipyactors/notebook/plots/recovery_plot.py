"""How long recoveries took: a histogram, with the median and the slow end in words.

Drawn without pyplot, like the lifelines, so that it may be called from any thread.
"""

from __future__ import annotations

import math
import statistics

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ipyactors.notebook.plots import event_source
from ipyactors.notebook.plots.event_source import Source, Whose
from ipyactors.notebook.plots.figures import GRID, INK, LIFE, TEXT, axes_of, new_picture, say_nothing
from ipyactors.notebook.plots.recoveries import find_recoveries

#: The picture is as high as one of so many rows.
_ROWS = 3.3


def recovery_times(events: Source = None, ax: Axes | None = None, *, actor: Whose = None) -> Figure:
    """Return a histogram of how long actors were gone, in milliseconds: from each death until its actor was back.

    That is from the notice of the death until the next incarnation's constructor had returned and, of a durable actor,
    all that it had to do again was done. Deaths that nothing came back from are not in it.

    ``events``, ``ax``, ``actor`` and errors are as with :func:`ipyactors.plots.lifelines`.
    """
    __tracebackhide__ = True
    found = find_recoveries(event_source.read(events, actor))
    times_ms = sorted(one.back_s * 1000 for one in found if one.kind == "actor" and one.back_s is not None)
    figure, axes = axes_of(new_picture("recovery times", rows=_ROWS), ax)
    axes.set_title(_in_words(times_ms), loc="left", fontsize=TEXT, color=INK)
    if not times_ms:
        say_nothing(axes, "no actor has died and come back")
        return figure
    axes.hist(times_ms, bins=min(40, max(8, math.isqrt(4 * len(times_ms)))), color=LIFE, edgecolor="white")
    axes.axvline(statistics.median(times_ms), color=INK, linewidth=1.2)
    axes.set_xlim(left=0)
    axes.set_xlabel("milliseconds from a death until the actor was back", color=INK)
    axes.set_ylabel("recoveries", color=INK)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", color=GRID, linewidth=0.6)
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
