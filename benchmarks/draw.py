"""Draws a run: one panel for each metric, one bar for each peer, ours in colour, the limit as a line."""

from __future__ import annotations

import pathlib

from benchmarks.peers import LIMIT, OURS
from benchmarks.question import Metric
from benchmarks.report import Run, format_figure

_COLUMNS = 3
_PANEL_INCHES = (5.2, 2.6)
_OURS_COLOUR = "#d95f02"
_PEER_COLOUR = "#9aa5b1"
_LIMIT_COLOUR = "#1b7837"


def draw(run: Run, path: pathlib.Path) -> pathlib.Path:
    """Write a PNG to ``path``. Scales are logarithmic: the systems differ by factors of ten to a thousand."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    metrics = [metric for metric in run.metrics if metric.unit and _has_figures(run, metric)]
    rows = max(1, -(-len(metrics) // _COLUMNS))
    size = (_PANEL_INCHES[0] * _COLUMNS, _PANEL_INCHES[1] * rows)
    figure, axes = plt.subplots(rows, _COLUMNS, figsize=size, squeeze=False, layout="constrained")
    for panel in axes.flat[len(metrics) :]:
        panel.set_visible(False)
    for metric, panel in zip(metrics, axes.flat, strict=False):
        by_peer = run.results[metric.key]
        shown = [entry for entry in reversed(run.entries) if entry.name != LIMIT and "median" in by_peer[entry.name]]
        values = [by_peer[entry.name]["median"] for entry in shown]
        colours = [_OURS_COLOUR if entry.name == OURS else _PEER_COLOUR for entry in shown]
        bars = panel.barh([entry.title for entry in shown], values, color=colours)
        panel.bar_label(bars, [format_figure(value, metric.unit) for value in values], padding=3, fontsize=8)
        limit = by_peer.get(LIMIT, {}).get("median")
        if limit is not None:
            panel.axvline(limit, color=_LIMIT_COLOUR, linestyle="--", linewidth=1)
        known = values if limit is None else [*values, limit]
        panel.set_xscale("log")
        panel.set_xlim(min(known) / 2, max(known) * 6)  # room for the labels
        better = "more" if metric.higher_is_better else "less"
        panel.set_title(f"{metric.title} ({better} is better)", fontsize=9)
        panel.tick_params(labelsize=8)
    figure.suptitle("ipyactors and its peers; dashed: what the machine allows", fontsize=11)
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return path


def _has_figures(run: Run, metric: Metric) -> bool:
    return any("median" in answer for answer in run.results[metric.key].values())
