"""Tables for people: the same cells as plain text and as HTML."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def as_text(headings: Sequence[str], rows: Sequence[Sequence[str]], numbers: Collection[str] = ()) -> list[str]:
    """Return the lines of a table; the columns named in ``numbers`` are set to the right."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if heading in numbers else cell.ljust(width)
            for heading, cell, width in zip(headings, row, widths, strict=True)
        ).rstrip()
        for row in (headings, *rows)
    ]


def as_html(headings: Sequence[str], rows: Sequence[Sequence[str]], numbers: Collection[str] = ()) -> str:
    """Return the table in HTML; every cell is escaped."""
    aligns = ["right" if heading in numbers else "left" for heading in headings]
    named = zip(headings, aligns, strict=True)
    head = "".join(f'<th style="text-align: {align}">{_escape(one)}</th>' for one, align in named)
    body = "".join(f"<tr>{''.join(map(_cell, row, aligns))}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def facts_as_text(facts: Sequence[tuple[str, str]]) -> list[str]:
    """Return one line for each fact that has a value: its name, and the value at one distance."""
    told = [(name, value) for name, value in facts if value]
    width = max((len(name) for name, _ in told), default=0)
    return [f"  {name.ljust(width)}  {value}" for name, value in told]


def facts_as_html(facts: Sequence[tuple[str, str]]) -> str:
    """Return the facts that have a value as a table without a head."""
    rows = "".join(
        f'<tr><th style="text-align: left; vertical-align: top">{_escape(name)}</th>{_cell(value, "left")}</tr>'
        for name, value in facts
        if value
    )
    return f"<table><tbody>{rows}</tbody></table>"


def _cell(text: str, align: str) -> str:
    lines = _escape(text).replace("\n", "<br>")  # where styles are taken out, lines stay lines
    return f'<td style="text-align: {align}; white-space: pre-wrap">{lines}</td>'


def _escape(text: str) -> str:
    import html  # every process loads this file, and few ever show a page

    return html.escape(text)
