"""``ipyactors fsck``: what :func:`ipyactors.durable.fsck.check` finds in the folders of durable actors."""

from __future__ import annotations

import datetime as dt
import json
import pathlib
import shlex
import sys

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ipyactors.cli.actor_folders import actor_id_of, find_actor_folders, loader_of
from ipyactors.durable import salvage
from ipyactors.durable.folder import Folder
from ipyactors.durable.fsck import check
from ipyactors.durable.fsck_report import FsckReport, RecordFacts, Status
from ipyactors.durable.lock import holder_of
from ipyactors.wire.liveness import boot_id

#: A pipe or a file has no width of its own.
_WIDTH_OF_A_FILE = 240

#: So much of a checkpoint's id is shown, as everywhere.
_ID_DIGITS = 10

_COLOURS = {Status.CLEAN: "green", Status.RECOVERABLE: "yellow", Status.LOST: "red", Status.UNREADABLE: "red"}


@click.command()
@click.argument("path", metavar="DIR", type=click.Path(path_type=pathlib.Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.option("-v", "--verbose", is_flag=True, help="List every record of the log.")
@click.option(
    "--data", "with_data", is_flag=True, help="Also load checkpoints that are in another place, to check them."
)
@click.option(
    "--save-to",
    metavar="NEW",
    type=click.Path(path_type=pathlib.Path),
    help="Write what can be saved of one actor into a new folder.",
)
def fsck(path: pathlib.Path, as_json: bool, verbose: bool, with_data: bool, save_to: pathlib.Path | None) -> None:
    """Check the logs and checkpoints of durable actors, and say what can be saved.

    DIR is the folder of an actor, or of a session: then all its actors are checked. Nothing in it is ever changed.

    Exit status: 0 nothing is wrong (a torn end of a log is not); 1 something is wrong, and no call is lost; 2 something
    is lost; 3 DIR is no actor's folder, or cannot be read. Of several actors, the worst.
    """
    folders = find_actor_folders(path)
    if save_to is not None and len(folders) > 1:
        raise click.UsageError(f"{path} has {len(folders)} actors; --save-to is for one of them.")
    reports = [(folder, _check(folder, verbose=verbose, with_data=with_data)) for folder in folders]
    if as_json:
        actors = [{"path": str(folder)} | report.to_dict(shlex.quote(str(folder))) for folder, report in reports]
        click.echo(json.dumps({"actors": actors}, indent=2))
    else:
        console = Console(width=None if sys.stdout.isatty() else _WIDTH_OF_A_FILE, highlight=False)
        for folder, report in reports:
            _print(console, folder, report)
    if save_to is not None:
        _save(*reports[0], save_to)
    sys.exit(int(max(report.status for _, report in reports)))


def _check(folder: pathlib.Path, *, verbose: bool, with_data: bool) -> FsckReport:
    load = loader_of(folder) if with_data else None
    disk = Folder(folder)
    try:
        return check(
            disk, actor_id_of(folder), load=load, held_by=holder_of(folder), with_listing=verbose, boot_id=boot_id()
        )
    finally:
        disk.close()


def _save(folder: pathlib.Path, report: FsckReport, target: pathlib.Path) -> None:
    """Write what can be saved, and check it. Raises ClickException."""
    if report.saved is None:
        raise click.ClickException("Nothing was written: no state can be had.")
    if report.held_by:
        raise click.ClickException("Nothing was written: the actor is running, and what it does now would be missing.")
    if target.exists():
        raise click.ClickException(f"Nothing was written: {target} is there already.")
    disk = Folder(target)
    try:
        for name, content in salvage.save(Folder(folder), report):
            disk.replace(name, content)
        copied = check(disk, bytes.fromhex(report.actor_id))
    except OSError as error:
        raise click.ClickException(f"{target} could not be written: {error.strerror or error}.") from error
    click.echo(f"{target}: {copied.verdict}", err=True)


def _print(console: Console, folder: pathlib.Path, report: FsckReport) -> None:
    console.print(Text(_title(report), style="bold"))
    console.print(Text(str(folder), style="dim"))
    if report.status is not Status.UNREADABLE:
        for line in _summary(report):
            console.print(Text(line))
        if report.checkpoints:
            console.print(_checkpoint_table(report))
            console.print()
        for record in report.listing:
            console.print(Text(_record_line(record)), soft_wrap=True)
    for note in report.notes:
        console.print(Text(f"note: {note}"), soft_wrap=True)
    for finding in report.findings:
        console.print(Text(f"{finding.weight}: {finding.sentence}", style=_COLOURS[finding.status]), soft_wrap=True)
    console.print(Text(report.verdict, style=f"bold {_COLOURS[report.status]}"), soft_wrap=True)
    for line in (*report.explanation(), *report.advice(shlex.quote(str(folder)))):
        console.print(Text(line), soft_wrap=True)
    if report.status is Status.CLEAN and report.saved is not None and report.saved.lsn:
        again = f"ipyactors replay {shlex.quote(str(folder))} --verify"
        console.print(Text(f"Whether methods do the same again is not looked at here: {again}"), soft_wrap=True)
    console.print()


def _title(report: FsckReport) -> str:
    whose = f"{report.class_name} " if report.class_name else ""
    name = f"{report.name!r} " if report.name else ""
    level = f", durable={report.level}" if report.level else ""
    return f"actor {whose}{name}{report.actor_id}{level}" if report.actor_id else "no actor"


def _summary(report: FsckReport) -> list[str]:
    """Return what is in the folder, in a few lines."""
    used = sum(one.used_bytes for one in report.segments)
    allocated = sum(one.allocated_bytes for one in report.segments)
    first = report.incarnations[0].incarnation if report.incarnations else 0
    last = report.incarnations[-1].incarnation if report.incarnations else 0
    numbers = f", {first} to {last}" if last > first else f", {first}" if report.incarnations else ""
    segments = _count(len(report.segments), "segment")
    incarnations = _count(len({one.incarnation for one in report.incarnations}), "incarnation")
    last_lsn = f"; the last lsn is {report.lsn}"
    if report.begun is not None:
        last_lsn += f", {report.begun} was begun last"
    said = [
        f"log          {segments}, {used:,} of {allocated:,} bytes used, {incarnations}{numbers}",
        f"records      {', '.join(f'{count:,} {kind}' for kind, count in report.records.items())}",
        f"calls        {', '.join(f'{count:,} {outcome}' for outcome, count in report.calls.items())}{last_lsn}",
    ]
    values = report.blobs
    if values.referenced or values.waste:
        waste = f"; named by nothing (waste): {', '.join(values.waste)}" if values.waste else ""
        said.append(f"large values {_count(values.referenced, 'file')} named, {values.size:,} bytes{waste}")
    if report.waste:
        said.append(f"data         named by no checkpoint (waste): {', '.join(report.waste)}")
    if not report.checkpoints:
        said.append("checkpoints  none")
    return said


def _checkpoint_table(report: FsckReport) -> Table:
    """Return the checkpoints, in less than the 80 columns of a terminal; JSON has the rest of each."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="underline")
    for heading in ("no.", "checkpoint", "lsn", "inc.", "made", "bytes", "data", "fits"):
        is_number = heading in ("no.", "lsn", "inc.", "bytes")
        table.add_column(heading, justify="right" if is_number else "left", no_wrap=heading != "data", overflow="fold")
    for one in report.checkpoints:
        cells = (str(one.number), one.checkpoint_id[:_ID_DIGITS], f"{one.lsn:,}", str(one.incarnation))
        fits = "no" if one.problem else "yes"
        table.add_row(*map(Text, (*cells, _time(one.wall_s), f"{one.size:,}", one.data, fits)))
    return table


def _record_line(one: RecordFacts) -> str:
    safe = "" if one.is_safe else "  (torn, never safe)"
    caller = f"  from {one.caller}" if one.caller else ""
    return (
        f"{one.lsn:>8} {one.type:<10} {one.what}{caller}  {one.size:,} bytes, incarnation {one.incarnation}, "
        f"{one.file}:{one.offset}{safe}"
    )


def _time(wall_s: float) -> str:
    if not wall_s:
        return ""
    try:
        return dt.datetime.fromtimestamp(wall_s).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, OSError, ValueError):
        return str(wall_s)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"
