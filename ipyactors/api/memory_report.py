"""What :func:`ipyactors.memory` returns: rows for programs, and a table of them for people."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Iterable, Sequence
from typing import Any, overload

from ipyactors.api.memory_rows import MemoryGroup, MemoryNode, MemoryPlace, MemoryRow
from ipyactors.ground import ids
from ipyactors.ground.quantities import words_of_bytes

#: A table has at most this many rows, and printed no cell is wider than this.
_ROWS_SHOWN = 30
_CELL_SHOWN = 90

ROW_HEADINGS = ("size", "what", "where", "age", "call site", "owner", "held by")
GROUP_HEADINGS = ("size", "objects", "oldest", "key")

#: The columns that are numbers.
NUMBERS = frozenset({"size", "objects", "oldest", "age"})


@dataclasses.dataclass(frozen=True, slots=True)
class MemoryReport(Sequence[MemoryRow]):
    """The objects of a session at one moment: a sequence of :class:`MemoryRow`, shown as a table.

    ``rows`` are as they were asked for: sorted, at most ``limit`` of them. ``groups`` are all objects by call site or
    owner, and empty unless ``group_by`` says which. ``nodes`` are the stores. ``left_out`` objects, of
    ``left_out_bytes`` together, are not among the rows. ``silent`` are those who did not answer in time, in words:
    what they own and hold is missing.
    """

    rows: tuple[MemoryRow, ...]
    nodes: tuple[MemoryNode, ...]
    groups: tuple[MemoryGroup, ...] = ()
    group_by: str | None = None
    left_out: int = 0
    left_out_bytes: int = 0
    silent: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        """The bytes of all rows together; an object that is on two machines counts once."""
        return sum(row.size_bytes for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as dicts, lists, strings and numbers, ready for JSON."""
        found = dataclasses.asdict(self)
        for row, plain in zip(self.rows, found["rows"], strict=True):
            plain["what"] = row.what
        return found

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> MemoryRow: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[MemoryRow]: ...
    def __getitem__(self, index: int | slice) -> MemoryRow | Sequence[MemoryRow]:
        return self.rows[index]

    def __repr__(self) -> str:
        headings, lines = self.table()
        shown = [tuple(_shorten(cell) for cell in line) for line in lines[:_ROWS_SHOWN]]
        text = self.summary()
        if shown:
            text += ["", *_align(headings, shown), *_left_out(lines)]
        return "\n".join(text)

    def _repr_html_(self) -> str:
        headings, lines = self.table()
        summary = "<br>".join(map(html.escape, self.summary()))
        head = _html_row("th", headings, headings)
        body = "".join(_html_row("td", headings, line) for line in lines[:_ROWS_SHOWN])
        table = f"<table><thead>{head}</thead><tbody>{body}</tbody></table>" if lines else ""
        return f"<div>{summary}</div>{table}{''.join(f'<div>{line}</div>' for line in _left_out(lines))}"

    # -- for people --------------------------------------------------------------------------------------------

    def summary(self) -> list[str]:
        """Return what is known of the whole, a line each."""
        text = f"{_counted(len(self.rows), 'object')}, {words_of_bytes(self.size_bytes)}"
        if self.left_out:
            text += f"; {self.left_out} more ({words_of_bytes(self.left_out_bytes)}) are not listed"
        lines = [text, *map(self._node_words, self.nodes)]
        if self.silent:
            lines.append(f"No answer in time from {', '.join(self.silent)}: what is theirs is missing here.")
        return lines

    def table(self) -> tuple[Sequence[str], list[tuple[str, ...]]]:
        """Return the headings, and the cells of each row: of the groups, where there are any."""
        if self.group_by is not None:
            headings = (*GROUP_HEADINGS[:-1], "call site" if self.group_by == "site" else "owner")
            return headings, [_group_cells(group) for group in self.groups]
        return ROW_HEADINGS, [self._row_cells(row) for row in self.rows]

    def _row_cells(self, row: MemoryRow) -> tuple[str, ...]:
        where = ", ".join(map(self._place_words, row.places))
        if row.state != "ready":
            where = f"{row.state}, {where}" if where else row.state
        return (
            words_of_bytes(row.size_bytes) if row.size_bytes or row.state == "ready" else "",
            row.what,
            where,
            words_of_age(row.age_s),
            "" if row.site is None else str(row.site),
            str(row.owner),
            "; ".join(holder.words(row.owner) for holder in row.holders) or "nobody",
        )

    def _place_words(self, place: MemoryPlace) -> str:
        return f"{place.medium} of {_short(place.node_id)}" if place.node_id and len(self.nodes) > 1 else place.medium

    def _node_words(self, node: MemoryNode) -> str:
        used, limit, pool, disk = map(
            words_of_bytes, (node.used_bytes, node.limit_bytes, node.pool_bytes, node.spilled_bytes)
        )
        if node.mapped_bytes:
            pool = f"{words_of_bytes(node.mapped_bytes)} of it freed and still mapped, {pool}"
        return (
            f"{node.hostname} ({_short(node.node_id)}): {used} of {limit} shared memory in use "
            f"({pool} of it kept for new values), "
            f"{disk} on disk, {_counted(node.objects, 'object')} in the store"
        )


def _left_out(lines: Sequence[object]) -> list[str]:
    """Return the line below a table that is cut."""
    more = len(lines) - _ROWS_SHOWN
    return [f"... and {more} more; iterate over it to have them all"] if more > 0 else []


def words_of_age(age_s: float | None) -> str:
    """Return an age as people say it: ``0.3 s``, ``12 s``, ``5 min``, ``3.2 h``."""
    if age_s is None:
        return ""
    if age_s < 100:
        return f"{age_s:.1f} s" if age_s < 10 else f"{age_s:.0f} s"
    return f"{age_s / 60:.0f} min" if age_s < 6000 else f"{age_s / 3600:.1f} h"


def _group_cells(group: MemoryGroup) -> tuple[str, ...]:
    return words_of_bytes(group.size_bytes), str(group.objects), words_of_age(group.oldest_s), group.key


def _short(node_id: str) -> str:
    return node_id[: 2 * ids.SHORT_BYTES]


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _shorten(cell: str) -> str:
    return cell if len(cell) <= _CELL_SHOWN else f"{cell[: _CELL_SHOWN - 3]}..."


def _align(headings: Sequence[str], lines: Iterable[Sequence[str]]) -> list[str]:
    """Return lines of columns, two spaces apart, numbers to the right."""
    table = [headings, *lines]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(map(_justify, headings, line, widths)).rstrip() for line in table]


def _justify(heading: str, cell: str, width: int) -> str:
    return cell.rjust(width) if heading in NUMBERS else cell.ljust(width)


def _html_row(tag: str, headings: Sequence[str], cells: Sequence[str]) -> str:
    # An amount and its unit stay on one line.
    styles = (
        "text-align: right; white-space: nowrap" if heading in NUMBERS else "text-align: left" for heading in headings
    )
    inside = (f'<{tag} style="{style}">{html.escape(cell)}</{tag}>' for style, cell in zip(styles, cells, strict=True))
    return f"<tr>{''.join(inside)}</tr>"
