"""``ipyactors memory``: what :func:`ipyactors.memory` says, from another terminal."""

from __future__ import annotations

import json
import sys

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ipyactors.api.memory import GROUPINGS, ORDERS, make_report
from ipyactors.api.memory_report import NUMBERS, MemoryReport
from ipyactors.cli.sessions import choose_session, take_census

#: A pipe or a file has no width of its own.
_WIDTH_OF_A_FILE = 240


@click.command()
@click.option("--session", "name", metavar="NAME", help="Name of the session, or the path of its folder.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.option("--group-by", type=click.Choice(GROUPINGS), help="Add up by line of code, or by owner.")
@click.option("--sort-by", type=click.Choice(ORDERS), default="size", show_default=True, help="What comes first.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Show at most N rows.")
def memory(name: str | None, as_json: bool, group_by: str | None, sort_by: str, limit: int | None) -> None:
    """List the objects of a session: size, place, owner, who holds them, and which line made them."""
    note = choose_session(name)
    report = make_report(take_census(note), group_by=group_by, sort_by=sort_by, limit=limit)
    if as_json:
        click.echo(json.dumps(report.to_dict(), indent=2))
    else:
        _print(note.paths.name, report)


def _print(name: str, report: MemoryReport) -> None:
    console = Console(width=None if sys.stdout.isatty() else _WIDTH_OF_A_FILE, highlight=False)
    console.print(Text(f"session {name}", style="bold"))
    for line in report.summary():
        console.print(Text(line))
    headings, lines = report.table()
    if not lines:
        return
    table = Table(box=box.SIMPLE)
    for heading in headings:
        is_number = heading in NUMBERS
        table.add_column(heading, justify="right" if is_number else "left", no_wrap=is_number, overflow="fold")
    for cells in lines:
        table.add_row(*map(Text, cells))
    console.print(table)
