"""What a run found: plain data for JSON, and the table that people read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from benchmarks.measure import median
from benchmarks.peers import OURS, Entry
from benchmarks.question import Metric

#: Metric key -> peer name -> ``{"median": .., "repeats": [..]}``, or "absent", "failed" or "missing" with the reason.
Results = dict[str, dict[str, dict[str, Any]]]


class Run(NamedTuple):
    """What was asked and what was heard."""

    entries: Sequence[Entry]
    metrics: Sequence[Metric]
    results: Results
    versions: Mapping[str, str | None]
    repeats: int
    is_short: bool

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "short": self.is_short,
            "repeats": self.repeats,
            "versions": dict(self.versions),
            "peers": {entry.name: entry.title for entry in self.entries},
            "metrics": [metric._asdict() for metric in self.metrics],
            "results": self.results,
            "remarks": {entry.name: entry.remarks for entry in self.entries},
        }


def summarize(metric: str, heard: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Join what one peer answered in its processes. A single failure is told, even if other repeats have figures."""
    summary: dict[str, Any] = {}
    if figures := [answers["figures"][metric] for answers in heard if metric in answers["figures"]]:
        summary = {"median": median(figures), "repeats": figures}
    for reason in ("missing", "absent", "failed"):
        if told := next((answers[reason][metric] for answers in heard if metric in answers.get(reason, ())), None):
            summary[reason] = told
    return summary


def ratio(metric: Metric, by_peer: Mapping[str, Mapping[str, Any]], peer: str) -> float | None:
    """Return how many times better ours is: 2.0 is half the time or twice the rate. None if one has no figure."""
    ours, theirs = by_peer.get(OURS, {}).get("median"), by_peer[peer].get("median")
    if not ours or not theirs or not metric.unit:
        return None
    return float(ours / theirs if metric.higher_is_better else theirs / ours)


def format_table(run: Run) -> str:
    """Return a Markdown table, and below it what a reader must know to compare fairly."""
    header = ["", *[_heading(run, entry) for entry in run.entries]]
    body = [[metric.title, *[_cell(run, metric, entry) for entry in run.entries]] for metric in run.metrics]
    widths = [max(map(len, column)) for column in zip(header, *body, strict=True)]
    lines = [_line(row, widths) for row in (header, ["-" * width for width in widths], *body)]
    lines += [
        "",
        f"Medians of {run.repeats} fresh processes each, in turn. In brackets: how many times better ours is.",
    ]
    if run.is_short:
        lines.append("This is the short form: it shows that everything works. Its figures mean nothing.")
    return "\n".join([*lines, "", *_reasons(run), *_remarks(run)])


def format_figure(value: float, unit: str) -> str:
    """Return three significant digits with the unit, or all digits of a large number."""
    number = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return number + (unit if unit.startswith("/") else f" {unit}".rstrip())


def _heading(run: Run, entry: Entry) -> str:
    return f"{entry.title} {run.versions.get(entry.distribution or entry.name) or ''}".rstrip()


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return f"| {' | '.join(text.ljust(width) for text, width in zip(row, widths, strict=True))} |"


def _cell(run: Run, metric: Metric, entry: Entry) -> str:
    by_peer = run.results[metric.key]
    answer = by_peer[entry.name]
    if "median" not in answer:
        return next((word for word in ("missing", "failed") if word in answer), "-")
    text = format_figure(answer["median"], metric.unit)
    times = None if entry.name == OURS else ratio(metric, by_peer, entry.name)
    if times is None:
        return text
    return f"{text} ({times:.2g}x)" if times < 10 else f"{text} ({times:,.0f}x)"


def _reasons(run: Run) -> list[str]:
    """Say why there is no figure: once for each reason, with the peers it holds for."""
    told: dict[str, dict[str, None]] = {}
    for metric in run.metrics:
        for entry in run.entries:
            answer = run.results[metric.key][entry.name]
            if "absent" in answer:
                told.setdefault(f"- no such thing: {answer['absent']}", {})[entry.title] = None
            elif "missing" in answer:
                told.setdefault(f"- missing: {answer['missing']}", {})[entry.title] = None
            elif "failed" in answer:
                told.setdefault(f"- FAILED, {metric.title}: {answer['failed']}", {})[entry.title] = None
    return [f"{reason} ({', '.join(titles)})" for reason, titles in told.items()]


def _remarks(run: Run) -> list[str]:
    """Say, row by row, how each peer was measured where that is not obvious."""
    lines = []
    for metric in run.metrics:
        told = [
            f"{entry.title}: {remark}"
            for entry in run.entries
            if "median" in run.results[metric.key][entry.name] and (remark := entry.remarks.get(metric.key))
        ]
        if told:
            lines.append(f"- {metric.title}: {'. '.join(told)}")
    return lines
