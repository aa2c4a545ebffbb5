"""The table that ``%actors`` and ``list_actors()`` show: plain text, HTML on a page, the same facts in both."""

from __future__ import annotations

import html
from collections.abc import Sequence

from ipyactors.ground import ids
from ipyactors.wire.deaths import describe_death
from ipyactors.wire.specs import ActorState, ActorStatus

#: A sign beside each state's word, so that colour is not all that tells them apart.
_SIGNS = {
    ActorState.PENDING: "…",
    ActorState.STARTING: "…",
    ActorState.ALIVE: "●",
    ActorState.RESTARTING: "↻",
    ActorState.DEAD: "✕",
}
#: Those of the page's theme, light or dark, where it has one.
_COLOURS = {
    ActorState.PENDING: "var(--jp-warn-color1, #8a6d00)",
    ActorState.STARTING: "var(--jp-warn-color1, #8a6d00)",
    ActorState.ALIVE: "var(--jp-success-color1, #1a7f37)",
    ActorState.RESTARTING: "var(--jp-info-color1, #0550ae)",
    ActorState.DEAD: "var(--jp-error-color1, #b42318)",
}
_HEADINGS = ("actor", "namespace", "class", "durable", "state", "incarnation", "restarts left", "why")
_RARE = ("namespace", "durable")
#: How the process of a durable actor ends itself to go on with what its log has; it has said why.
_ON_PURPOSE = (74, 75)
_NUMBERS = {"incarnation", "restarts left"}


class ActorTable(Sequence[ActorStatus]):
    """Actors as the head saw them at one moment; a sequence of their statuses, for programs.

    Namespaces are shown where one is not ``namespace``, the session's own; what actors survive where one is durable.
    """

    def __init__(self, statuses: Sequence[ActorStatus], namespace: str) -> None:
        self._statuses = tuple(statuses)
        self._namespace = namespace

    def __len__(self) -> int:
        return len(self._statuses)

    def __getitem__(self, index: int) -> ActorStatus:  # type: ignore[override]
        return self._statuses[index]

    def __repr__(self) -> str:
        if not self._statuses:
            return "no actors"
        headings, rows = self._cells()
        widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
        lines = ["  ".join(map(_aligned, headings, row, widths)).rstrip() for row in (headings, *rows)]
        return "\n".join(lines)

    def _cells(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Return the headings and the rows, without the columns that few need if there is nothing to show in them."""
        headings: tuple[str, ...] = _HEADINGS
        rows = [_row(status, self._namespace) for status in self._statuses]
        for name in _RARE:
            column = headings.index(name)
            if not any(row[column] for row in rows):
                headings, rows = _without(headings, column), [_without(row, column) for row in rows]
        return headings, rows

    def _repr_mimebundle_(self, **_wanted: object) -> dict[str, str]:
        """Return what a front end chooses from."""
        return {"text/plain": repr(self), "text/html": self.as_html()}

    def as_html(self) -> str:
        """Return the table for a page."""
        if not self._statuses:
            return "<em>no actors</em>"
        headings, rows = self._cells()
        head = "".join(f'<th style="{_align(name)}">{name}</th>' for name in headings)
        body = "".join(_html_row(headings, row, status) for row, status in zip(rows, self._statuses, strict=True))
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def label(status: ActorStatus) -> str:
    """Return ``Counter 'c1'``, or ``Counter 3fa2b1c0`` for an actor without a name."""
    which = repr(status.name) if status.name else ids.short(status.actor_id)
    return f"{status.class_name} {which}"


def _row(status: ActorStatus, own_namespace: str) -> tuple[str, ...]:
    return (
        status.name or ids.short(status.actor_id),
        status.namespace if status.namespace != own_namespace else "",
        status.class_name,
        status.level,
        f"{_SIGNS[status.state]} {status.state.value}",
        str(status.incarnation),
        _restarts_left(status),
        _why(status),
    )


def _restarts_left(status: ActorStatus) -> str:
    if status.state is ActorState.DEAD:
        return ""
    return "no limit" if status.restarts_left == -1 else str(status.restarts_left)


def _why(status: ActorStatus) -> str:
    if status.state is ActorState.PENDING:
        return status.waiting_for and f"waiting: {status.waiting_for}"
    if status.busy_with:
        return status.busy_with
    death = status.death
    if death is None:
        return ""
    which = "" if status.state is ActorState.DEAD else f"incarnation {death.incarnation} "
    words = which + _first_sentence(describe_death(death))
    if status.level and death.exit_code in _ON_PURPOSE and death.last_output:
        words += f": {_first_sentence(death.last_output[-1])}"
    return words


def _first_sentence(words: str) -> str:
    """Return what there is room for in a table; errors have the rest."""
    return words.partition("\n")[0].partition(". ")[0].removesuffix(".")


def _without(cells: tuple[str, ...], column: int) -> tuple[str, ...]:
    return cells[:column] + cells[column + 1 :]


def _aligned(heading: str, text: str, width: int) -> str:
    return text.rjust(width) if heading in _NUMBERS else text.ljust(width)


def _align(heading: str) -> str:
    return f"text-align: {'right' if heading in _NUMBERS else 'left'}"


def _html_row(headings: Sequence[str], row: Sequence[str], status: ActorStatus) -> str:
    cells = []
    for heading, text in zip(headings, row, strict=True):
        colour = f"; color: {_COLOURS[status.state]}" if heading == "state" else ""
        cells.append(f'<td style="{_align(heading)}{colour}">{html.escape(text)}</td>')
    return f"<tr>{''.join(cells)}</tr>"
