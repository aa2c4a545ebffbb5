"""What all figures share: colours, bars and marks in rows, and showing themselves in a notebook.

Drawn with matplotlib's objects, without pyplot and its global state, so that a figure may be made from any thread and
never opens a window. Nothing is told by colour alone: every kind of bar has a hatch, every kind of mark a shape of its
own. Bars and marks of a kind are one object of matplotlib each, so that a hundred thousand of them are drawn quickly.
"""

from __future__ import annotations

import dataclasses
import functools
import io
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.textpath import TextToPath

from ipyactors.notebook.plots.wording import shorten

INK = "#1f2933"
QUIET = "#5f6c7b"
LIFE = "#2a6fbb"
WORK = "#4c9f70"
LOST = "#d9822b"
DEATH = "#b42318"
GRID = "#d8dee6"
REPLAY = "#a9c8e8"
CHECKPOINT = "#6b3fa0"
FLASH = "#f5c518"

#: A bolt of lightning, for what was injected.
BOLT = ((0.15, 1.0), (-0.55, -0.12), (-0.08, -0.12), (-0.2, -1.0), (0.55, 0.2), (0.06, 0.2), (0.5, 1.0), (0.15, 1.0))

#: The sizes of what is written, in points: it is read beside code, and on a wall. Axes have matplotlib's own, 10.
TEXT = 9.5
LEGEND = 9.0

#: How high a bar is, of the distance between two rows.
BAR = 0.52

#: Marks of a kind on one row that are nearer to each other than this part of a mark's width are drawn as one.
_OVERLAP = 0.5
_WIDTH_POINTS = 720.0
_TICK_POINTS = 3.0

#: A bar is at least this part of the picture wide, or it could not be seen.
_NARROWEST = 1 / 1000

#: A bar has its hatch if it is at least this part of the picture wide.
_HATCHED = 1 / 200

#: A key of a legend takes so much besides its words, with what is free beside it; rows are named in so large letters.
_KEY_POINTS = 44.0
_ROW_NAME = 10.0

#: What is left and right of the axes, besides the names of rows.
_BESIDE_POINTS = 36.0

_WIDTH_INCHES = 10.0
_ROW_INCHES = 0.34
_ROUND_ROWS_INCHES = 1.5
_DOTS_PER_INCH = 144
_POINTS_PER_INCH = 72

#: How something is drawn, as matplotlib names it.
Style = Mapping[str, Any]


class Picture(Figure):
    """A figure that shows itself in a notebook whether or not ``%matplotlib`` was called."""

    what = "picture"

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """Return the picture at twice the density of a page, and its size in page pixels."""
        file = io.BytesIO()
        self.savefig(file, format="png", dpi=_DOTS_PER_INCH, bbox_inches=None)
        width, height = (round(inches * _DOTS_PER_INCH / 2) for inches in self.get_size_inches())
        return file.getvalue(), {"width": width, "height": height}

    def __repr__(self) -> str:
        return f'<{self.what}; .savefig("{self.what.replace(" ", "_")}.png")>'


def new_picture(what: str, *, rows: float) -> Picture:
    """Return an empty figure with room for so many rows and what is around them."""
    height = _ROUND_ROWS_INCHES + _ROW_INCHES * max(rows, 1)
    figure = Picture(figsize=(_WIDTH_INCHES, height), layout="constrained")
    figure.what = what
    FigureCanvasAgg(figure)
    return figure


def axes_of(figure: Picture, ax: Axes | None) -> tuple[Figure, Axes]:
    """Return where to draw: in ``ax`` and its figure, or else in ``figure``."""
    if ax is None:
        return figure, figure.add_subplot()
    root = ax.get_figure(root=True)
    assert root is not None
    return root, ax


@functools.lru_cache(maxsize=4096)
def points_of(text: str, size: float = TEXT) -> float:
    """Return how wide a text is, in points; the widest of its lines."""
    font = FontProperties(size=size)
    widths = (TextToPath().get_text_width_height_descent(line, font, False)[0] for line in text.split("\n"))
    return float(max(widths))


def room_of(axes: Axes, labels: Iterable[str] = ()) -> float:
    """Return how wide axes are that have these names of rows, in points; they may turn out a little wider."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    width = figure.get_figwidth() * _POINTS_PER_INCH
    if not isinstance(figure, Picture):
        return float(axes.get_position().width * width)
    named = max((points_of(shorten(label), _ROW_NAME) for label in labels), default=0.0)
    return float(width - named - _BESIDE_POINTS)


def margin_for(start: float, points: float, room: float, left: float) -> float:
    """Return how much wider axes must be at the right that a text is in them, as a part of what they show without.

    The text begins at ``start``, from 0 to 1 of that, and needs so many points of ``room``; ``left`` is a margin too.
    """
    part = min(points / room, 0.5)
    return (start - 1 + part * (1 + left)) / (1 - part)


def cut(text: str, points: float, size: float = TEXT) -> str:
    """Return a text that is at most so wide; what is too long for that ends in an ellipsis."""
    if points_of(text, size) <= points:
        return text
    letters = len(text) - 1
    while letters and points_of(f"{text[:letters]}\u2026", size) > points:
        letters -= 1
    return f"{text[:letters].rstrip()}\u2026"


@dataclasses.dataclass(slots=True)
class Ink:
    """Bars, lines and marks at heights of rows, gathered by kind and drawn at once by :meth:`dry`."""

    axes: Axes
    bar_styles: Mapping[str, Style]
    mark_styles: Mapping[str, Style]
    length_s: float
    _bars: defaultdict[str, list[tuple[float, float, float, float]]] = dataclasses.field(
        default_factory=lambda: defaultdict(list)
    )
    _marks: defaultdict[str, list[tuple[float, float]]] = dataclasses.field(default_factory=lambda: defaultdict(list))
    _paths: list[Sequence[tuple[float, float]]] = dataclasses.field(default_factory=list)
    _taken: set[tuple[str, int, int, float]] = dataclasses.field(default_factory=set)

    def bar(self, what: str, start_s: float, end_s: float, height: float, *, part: tuple[float, float]) -> None:
        """Add a bar; ``part`` is its upper and lower edge, relative to ``height``."""
        narrowest_s = (self.length_s or 1.0) * _NARROWEST
        top, low = height + part[0], height + part[1]
        place = (what, round(start_s / narrowest_s), round(end_s / narrowest_s), top)
        if place not in self._taken:  # thousands of bars on one spot are as good as one
            self._taken.add(place)
            self._bars[what].append((start_s, max(end_s, start_s + narrowest_s), top, low))

    def mark(self, what: str, at_s: float, height: float) -> None:
        """Add a mark."""
        self._marks[what].append((at_s, height))

    def path(self, points: Sequence[tuple[float, float]]) -> None:
        """Add a thin line through points, in the colour of checkpoints."""
        self._paths.append(points)

    def dry(self) -> None:
        """Draw all that was gathered."""
        for what in [kind for kind in self.bar_styles if kind in self._bars]:
            style = dict(self.bar_styles[what])
            wide_s = self.length_s * _HATCHED
            narrow = [bar for bar in self._bars[what] if bar[1] - bar[0] < wide_s]
            self._fill([bar for bar in self._bars[what] if bar[1] - bar[0] >= wide_s], style)
            style.pop("hatch", None)  # a hatch takes long to draw, and cannot be seen in a narrow bar
            self._fill(narrow, style)
        if self._paths:
            lines = LineCollection(self._paths, colors=CHECKPOINT, linewidths=0.9, zorder=1.5)
            self.axes.add_collection(lines)
        for what in [kind for kind in self.mark_styles if kind in self._marks]:
            mark = self.mark_styles[what]
            points = _TICK_POINTS if mark["marker"] == "|" else mark["markersize"]
            places = thinned(self._marks[what], self.length_s * _OVERLAP * points / _WIDTH_POINTS)
            self.axes.plot(*places.T, linestyle="none", zorder=4, **mark)
        self.axes.autoscale_view()

    def _fill(self, bars: Sequence[tuple[float, float, float, float]], style: Style) -> None:
        corners = [((start, top), (end, top), (end, low), (start, low)) for start, end, top, low in bars]
        if corners:
            self.axes.add_collection(PolyCollection(corners, zorder=2, **style))

    @property
    def shown(self) -> set[str]:
        """What is there, for a legend."""
        return {*self._bars, *self._marks}

    def legend(self, texts: Iterable[tuple[str, str]]) -> Iterator[Patch | Line2D]:
        """Yield a key for each kind that is there, in the order of ``texts``: kind and words."""
        for what, text in texts:
            if what in self._bars:
                yield Patch(label=text, **self.bar_styles[what])
            elif what in self._marks:
                yield Line2D([], [], linestyle="none", label=text, **self.mark_styles[what])


def thinned(points: Sequence[tuple[float, float]], finest: float) -> Any:
    """Return points as an array of x and y, without those that lie on another one of their row."""
    array = np.asarray(points, dtype=float)
    if finest <= 0.0:
        return array
    cells = np.column_stack((np.round(array[:, 0] / finest), array[:, 1]))
    _, first = np.unique(cells, axis=0, return_index=True)
    return array[np.sort(first)]


def dress_rows(axes: Axes, heights: Sequence[float], labels: Sequence[str], total: float) -> None:
    """Name the rows, the first one at the top, and take away what is not needed around them."""
    axes.set_yticks(heights, [shorten(label) for label in labels])
    axes.set_ylim(max(total, 1) - 0.2, -0.8)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "left", "right"]].set_visible(False)


def say_nothing(axes: Axes, words: str) -> None:
    """Say in an empty picture that there is nothing, and why."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", color=QUIET, fontsize=11)


def put_legend(axes: Axes, handles: Iterable[Patch | Line2D], *, labels: Iterable[str] = (), columns: int = 4) -> None:
    """Put a legend above the rows of these names, if there is anything in it, in as many columns as have room."""
    if keys := list(handles):
        fitting = columns_of(keys, room_of(axes, labels), columns)
        axes.legend(
            handles=keys, loc="lower left", bbox_to_anchor=(0, 1.01), ncols=fitting, frameon=False, fontsize=LEGEND,
            borderaxespad=0.2,
        )  # fmt: skip


def columns_of(keys: Iterable[Patch | Line2D], room: float, at_most: int) -> int:
    """Return how many columns a legend of these keys may have, in so many points."""
    widths = [points_of(str(key.get_label()), LEGEND) + _KEY_POINTS for key in keys]
    return next((number for number in range(at_most, 1, -1) if _width_of_columns(widths, number) <= room), 1)


def _width_of_columns(widths: Sequence[float], columns: int) -> float:
    """Return how wide a legend is whose keys have these widths, which are put into columns from left to right."""
    return sum(max(column, default=0.0) for column in map(list, np.array_split(widths, columns)))
