"""Recoveries as a table for people and as JSON for programs, both from the same measured facts."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Sequence
from typing import Any

from ipyactors.notebook.plots import event_source
from ipyactors.notebook.plots.event_source import Source, Whose
from ipyactors.notebook.plots.recoveries import Recovery, find_recoveries

#: The facts for programs. Not plain ``application/json``: JupyterLab would show that instead of the table.
FACTS = "application/vnd.ipyactors.recoveries+json"

HEADINGS = ("what died", "how", "what came back", "after")


class RecoveryTable(Sequence[Recovery]):
    """What was killed, what came back, how fast; oldest first."""

    def __init__(self, found: Sequence[Recovery]) -> None:
        self._found = tuple(found)

    def __len__(self) -> int:
        return len(self._found)

    def __getitem__(self, index: int) -> Recovery:  # type: ignore[override]
        return self._found[index]

    def __repr__(self) -> str:
        return align([HEADINGS, *map(describe, self._found)])

    def _repr_mimebundle_(self, **_wanted: object) -> dict[str, Any]:
        """Return what a front end, or a program that reads the notebook, chooses from."""
        head = _html_row("th", HEADINGS)
        rows = "".join(_html_row("td", describe(recovery)) for recovery in self._found)
        return {
            "text/plain": repr(self),
            "text/html": f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>",
            FACTS: [dataclasses.asdict(recovery) for recovery in self._found],
        }


def recoveries(events: Source = None, *, actor: Whose = None) -> RecoveryTable:
    """Return every death with what followed, as a table.

    ``events``, ``actor`` and errors are as with :func:`ipyactors.plots.lifelines`.
    """
    __tracebackhide__ = True
    return RecoveryTable(find_recoveries(event_source.read(events, actor)))


def describe(recovery: Recovery) -> tuple[str, str, str, str]:
    """Return one row: ``('actor acct, incarnation 0', 'killed, signal 9', 'incarnation 1', '9 ms')``."""
    noun, first = ("incarnation", 0) if recovery.kind == "actor" else ("attempt", 1)  # as people count them
    what = f"{recovery.kind} {recovery.name}, {noun} {recovery.number + first}"
    if recovery.next_number is None:
        return what, recovery.cause, "nothing", ""
    back = f"{noun} {recovery.next_number + first}"
    if recovery.retried_calls:
        back += f"; {_calls(recovery.retried_calls)} sent again"
    if recovery.replayed_calls is not None:
        back += f"; {_calls(recovery.replayed_calls)} replayed"
    return what, recovery.cause, back, "" if recovery.back_s is None else f"{recovery.back_s * 1000:.0f} ms"


def _calls(number: int) -> str:
    return f"{number} call{'s' * (number != 1)}"


def _html_row(tag: str, cells: Sequence[str]) -> str:
    inside = "".join(f'<{tag} style="text-align: left">{html.escape(cell)}</{tag}>' for cell in cells)
    return f"<tr>{inside}</tr>"


def align(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as lines of columns, two spaces apart."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
