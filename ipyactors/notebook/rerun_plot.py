"""Which calls ran again because their results were lost, when, and why.

One row for each call, time from left to right, like the lifelines; a call that ran again has a second, hatched bar and
its reason in words. Drawn without pyplot, so that it may be called from any thread.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ipyactors.notebook.plots import Lifelines
from ipyactors.wire.events import Event, EventKind

#: Rows that fit a page. Calls that ran once are left out first, the oldest before the others.
ROWS_AT_MOST = 40

_INK = "#1f2933"
_FIRST = "#4c9f70"
_AGAIN = "#d9822b"
_LOSS = "#b42318"

_BAR = 0.55

#: A bar is drawn at least this part of the picture wide, or it could not be seen.
_NARROWEST = 0.008
_ATTEMPTS = frozenset({EventKind.TASK_ATTEMPT, EventKind.CALL_ATTEMPT})


@dataclasses.dataclass(slots=True)
class Run:
    """One call. ``spans`` are start and end (s, wall clock) of the runs that ended well; ``reasons`` say why again."""

    name: str
    spans: list[tuple[float, float]] = dataclasses.field(default_factory=list)
    reasons: list[str] = dataclasses.field(default_factory=list)


def runs_of(events: Iterable[Event]) -> list[Run]:
    """Return the calls that ran, in the order in which they first ended."""
    found: dict[bytes, Run] = {}
    for event in events:
        if event.kind in _ATTEMPTS:
            run = found.setdefault(event.task_id, Run(event.name))
            run.spans.append((event.wall_s - event.duration_s, event.wall_s))
        elif event.kind is EventKind.OBJECT_LOST and event.task_id in found:
            found[event.task_id].reasons.append(event.detail)
    return [run for run in found.values() if run.spans]


def reruns(events: Iterable[Event]) -> Lifelines:
    """Return a figure of the calls in ``events`` (as :func:`ipyactors.events` gives them), those that ran again marked.

    A vertical line is the loss of a machine. At most 40 rows: calls that ran once are left out first.
    """
    known = sorted(events, key=lambda event: event.wall_s)
    rows = _most_telling(runs_of(known))
    losses = [event.wall_s for event in known if event.kind is EventKind.NODE_LOST]
    figure = Lifelines(figsize=(9.0, 1.3 + 0.34 * max(len(rows), 1)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    spans = [span for run in rows for span in run.spans]
    start_s = min([span[0] for span in spans] + losses, default=0.0)
    narrowest_s = _NARROWEST * (max([span[1] for span in spans] + losses, default=0.0) - start_s)
    for place, run in enumerate(rows):
        _draw(axes, place, run, start_s, narrowest_s)
    for loss in losses:
        axes.axvline(loss - start_s, color=_LOSS, linewidth=1.5)
    axes.set_yticks(range(len(rows)), [run.name for run in rows])
    axes.set_ylim(max(len(rows), 1) - 0.4, -0.6)
    axes.set_xlabel("seconds")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    keys: list[Patch | Line2D] = [
        Patch(facecolor=_FIRST, label="first run"),
        Patch(facecolor=_AGAIN, hatch="////", edgecolor="white", label="ran again"),
    ]
    if losses:
        keys.append(Line2D([], [], color=_LOSS, label="a machine was lost"))
    figure.legend(handles=keys, loc="outside upper left", ncols=3, frameon=False, fontsize="small")
    return figure


def _most_telling(runs: Sequence[Run]) -> list[Run]:
    """Return what fits: all that ran again, then the latest others, in the order given."""
    again = [index for index, run in enumerate(runs) if len(run.spans) > 1]
    once = [index for index, run in enumerate(runs) if len(run.spans) == 1]
    kept = [*again, *reversed(once)][:ROWS_AT_MOST]
    return [runs[index] for index in sorted(kept)]


def _draw(axes: Axes, place: int, run: Run, start_s: float, narrowest_s: float) -> None:
    for number, (begin, end) in enumerate(run.spans):
        is_first = number == 0
        axes.barh(
            place,
            max(end - begin, narrowest_s),
            left=begin - start_s,
            height=_BAR,
            color=_FIRST if is_first else _AGAIN,
            hatch=None if is_first else "////",
            edgecolor="white",
            linewidth=0.5,
        )
    if len(run.spans) > 1 and run.reasons:
        end = run.spans[-1][1] - start_s
        reason = run.reasons[-1].partition(":")[0]
        axes.annotate(
            reason, (end, place), (8, 0), textcoords="offset points", va="center", fontsize="small", color=_INK
        )
