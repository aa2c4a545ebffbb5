"""Which calls ran again because their results were lost, when, and why.

One row for each call, time from left to right, like the lifelines; a call that ran again has a second, hatched bar and
its reason in words. A value that was lost is a thin line from the end of the run that made it to its loss: what has no
such line was not kept until then. Where there were several machines they are numbered, and each run and each loss of a
machine has the number. Drawn without pyplot, so that it may be called from any thread.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ipyactors.notebook.plots import event_source
from ipyactors.notebook.plots.event_source import Source
from ipyactors.notebook.plots.figures import (
    DEATH,
    GRID,
    INK,
    LEGEND,
    LOST,
    QUIET,
    TEXT,
    WORK,
    axes_of,
    columns_of,
    new_picture,
    room_of,
    say_nothing,
)
from ipyactors.notebook.plots.wording import ROWS_AT_MOST, count
from ipyactors.wire.events import Event, EventKind

_BAR = 0.55

#: A bar is drawn at least this part of the picture wide, or it could not be seen.
_NARROWEST = 0.008

#: So much of the picture's width is left before the first bar, if it has a machine's number before it.
_ROOM_FOR_A_NUMBER = 0.02
_ATTEMPTS = frozenset({EventKind.TASK_ATTEMPT, EventKind.CALL_ATTEMPT})

#: How the details of events end if a call was made again, and what they hold if its value was there until it was lost.
_RUNS_AGAIN = "runs again"
_WAS_THERE = "no machine has a copy"

_MACHINES: dict[EventKind, dict[str, Any]] = {
    EventKind.NODE_LOST: {"color": DEATH, "linewidth": 1.5, "label": "a machine was lost"},
    EventKind.NODE_ADDED: {"color": QUIET, "linewidth": 1.2, "linestyle": "--", "label": "a machine was added"},
}
_VALUE: dict[str, Any] = {
    "color": WORK,
    "linewidth": 1.5,
    "solid_capstyle": "butt",
    "marker": "X",
    "markerfacecolor": DEATH,
    "markeredgecolor": "white",
    "markersize": 9,
    "markevery": [-1],
}


@dataclasses.dataclass(frozen=True, slots=True)
class Loss:
    """Why a call ran again. ``noticed_s`` is when that was known (s, wall clock)."""

    reason: str
    noticed_s: float

    @property
    def was_there(self) -> bool:
        """Whether the value was in a machine's store until it was lost; else it had been let go of before."""
        return _WAS_THERE in self.reason


@dataclasses.dataclass(slots=True)
class Run:
    """One call. ``spans`` are start and end (s, wall clock) of the runs that ended well; ``losses`` say why again.

    ``machines`` are the node ids of where the runs were, empty where that is not known.
    """

    name: str
    spans: list[tuple[float, float]] = dataclasses.field(default_factory=list)
    losses: list[Loss] = dataclasses.field(default_factory=list)
    machines: list[bytes] = dataclasses.field(default_factory=list)


def runs_of(events: Iterable[Event]) -> list[Run]:
    """Return the calls that ran, in the order of submission, which their ids hold.

    Where several have the same name, they are numbered: ``f #3``.
    """
    found: dict[bytes, Run] = {}
    for event in events:
        if event.kind in _ATTEMPTS:
            run = found.setdefault(event.task_id, Run(event.name))
            run.spans.append((event.wall_s - event.duration_s, event.wall_s))
            run.machines.append(event.node_id)
        elif event.kind is EventKind.OBJECT_LOST and event.task_id in found and event.detail.endswith(_RUNS_AGAIN):
            found[event.task_id].losses.append(Loss(event.detail.rpartition(":")[0], event.wall_s))
    runs = [run for _, run in sorted(found.items())]
    _number(runs)
    return runs


def _number(runs: Sequence[Run]) -> None:
    many = Counter(run.name for run in runs)
    seen: Counter[str] = Counter()
    for run in runs:
        seen[run.name] += 1
        if many[run.name] > 1:
            run.name = f"{run.name} #{seen[run.name]}"


def _numbers(events: Iterable[Event]) -> dict[bytes, int]:
    """Return a number for each machine on which something ran, from 1; nothing unless there are several."""
    ran_on = dict.fromkeys(event.node_id for event in events if event.kind in _ATTEMPTS and event.node_id)
    return {node_id: number for number, node_id in enumerate(ran_on, 1)} if len(ran_on) > 1 else {}


def reruns(events: Source = None, ax: Axes | None = None) -> Figure:
    """Return a figure of the calls, those that ran again because a value was lost marked.

    Vertical lines are machines that were lost and, after the first run began, added. At most 40 rows: calls that ran
    once are left out first. Seconds count from the beginning of the first run.

    ``events``, ``ax`` and errors are as with :func:`ipyactors.plots.lifelines`.
    """
    __tracebackhide__ = True
    known = event_source.read(events)
    runs = runs_of(known)
    rows = _most_telling(runs)
    times = [at_s for run in rows for span in run.spans for at_s in span]
    times += [event.wall_s for event in known if event.kind is EventKind.NODE_LOST]
    start_s, end_s = min(times, default=0.0), max(times, default=0.0)
    machines = [event for event in known if event.kind in _MACHINES and start_s <= event.wall_s <= end_s]
    figure, axes = axes_of(new_picture("reruns", rows=len(rows)), ax)
    if not rows:
        say_nothing(axes, "no call has ended")
        return figure
    numbers = _numbers(known)
    for event in machines:
        axes.axvline(event.wall_s - start_s, zorder=1, **_MACHINES[event.kind])
        if event.node_id in numbers:
            _tell_machine(axes, numbers[event.node_id], event.wall_s - start_s, 1.0, "axes fraction")
    lost_s = [event.wall_s for event in machines if event.kind is EventKind.NODE_LOST]
    for place, run in enumerate(rows):
        _draw_values(axes, place, run, start_s, lost_s)
        _draw(axes, place, run, start_s, _NARROWEST * (end_s - start_s))
        for (begin, _), node_id in zip(run.spans, run.machines, strict=True):
            if node_id in numbers:
                _tell_machine(axes, numbers[node_id], begin - start_s, place, "data")
    _dress(axes, rows, len(runs) - len(rows))
    keys = _legend(rows, {event.kind for event in machines})
    if numbers:
        axes.set_xlim(left=-_ROOM_FOR_A_NUMBER * (end_s - start_s))
        keys.append(Line2D([], [], linestyle="none", marker="$1$", color=INK, label="which machine"))
    columns = columns_of(keys, room_of(axes), len(keys))
    figure.legend(handles=keys, loc="outside upper left", ncols=columns, frameon=False, fontsize=LEGEND)
    return figure


def _dress(axes: Axes, rows: Sequence[Run], left_out: int) -> None:
    axes.set_yticks(range(len(rows)), [run.name for run in rows])
    axes.set_ylim(max(len(rows), 1) - 0.4, -0.6)
    note = f" \u00b7 {count(left_out, 'call')} left out, those that ran once first" if left_out else ""
    if not any(run.losses or len(run.spans) > 1 for run in rows):
        note = f" \u00b7 no value was lost{note}"
    axes.set_xlabel(f"seconds since the first run began{note}", color=INK)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)


def _legend(rows: Sequence[Run], machines: Collection[EventKind]) -> list[Patch | Line2D]:
    keys: list[Patch | Line2D] = [Patch(facecolor=WORK, label="first run")]
    if any(len(run.spans) > 1 for run in rows):
        keys.append(Patch(facecolor=LOST, hatch="////", edgecolor="white", label="ran again"))
    if any(loss.was_there for run in rows for loss in run.losses):
        keys.append(Line2D([0, 1], [0, 0], label="its value, until it was lost", **_VALUE))
    keys += [Line2D([], [], **style) for kind, style in _MACHINES.items() if kind in machines]
    return keys


def _most_telling(runs: Sequence[Run]) -> list[Run]:
    """Return what fits: all that ran again, then the latest others, in the order given."""
    again = [index for index, run in enumerate(runs) if len(run.spans) > 1]
    once = [index for index, run in enumerate(runs) if len(run.spans) == 1]
    kept = [*again, *reversed(once)][:ROWS_AT_MOST]
    return [runs[index] for index in sorted(kept)]


def _tell_machine(axes: Axes, number: int, x: float, y: float, y_of: str) -> None:
    """Write a machine's number to the left of what happened there; ``y_of`` says in which coordinates ``y`` is."""
    axes.annotate(
        str(number),
        (x, y),
        (-3, 0),
        xycoords=("data", y_of),
        textcoords="offset points",
        ha="right",
        va="center",
        fontsize=TEXT,
        color=INK,
    )


def _draw_values(axes: Axes, place: int, run: Run, start_s: float, machine_losses_s: Sequence[float]) -> None:
    """Draw how long values were there that were lost: until a machine was, or until it was noticed."""
    for loss in run.losses:
        made_s = max((end for _, end in run.spans if end <= loss.noticed_s), default=None)
        if made_s is None or not loss.was_there:
            continue
        gone_s = next((at_s for at_s in machine_losses_s if made_s <= at_s <= loss.noticed_s), loss.noticed_s)
        axes.plot([made_s - start_s, gone_s - start_s], [place, place], zorder=2, **_VALUE)


def _draw(axes: Axes, place: int, run: Run, start_s: float, narrowest_s: float) -> None:
    for number, (begin, end) in enumerate(run.spans):
        is_first = number == 0
        axes.barh(
            place,
            max(end - begin, narrowest_s),
            left=begin - start_s,
            height=_BAR,
            color=WORK if is_first else LOST,
            hatch=None if is_first else "////",
            edgecolor="white",
            linewidth=0.5,
            zorder=3,
        )
    if len(run.spans) > 1 and run.losses:
        begin, end = run.spans[-1]
        beside = (max(end, begin + narrowest_s) - start_s, place)
        why = run.losses[-1].reason
        axes.annotate(why, beside, (6, 0), textcoords="offset points", va="center", fontsize=TEXT, color=INK)
