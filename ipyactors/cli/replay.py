"""``ipyactors replay``: what durable actors have in their logs, done again (:mod:`ipyactors.worker.offline`)."""

from __future__ import annotations

import json
import pathlib
import shlex
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from ipyactors.cli.actor_folders import find_actor_folders
from ipyactors.cli.replay_child import AGREED, DIVERGED, IMPOSSIBLE
from ipyactors.cli.replay_runs import ActorReplay, Run, Wishes, replay_actor

#: A pipe or a file has no width of its own.
_WIDTH_OF_A_FILE = 240

_COLOURS = {AGREED: "green", DIVERGED: "red", IMPOSSIBLE: "yellow"}


@click.command()
@click.argument("path", metavar="DIR", type=click.Path(path_type=pathlib.Path))
@click.option("--verify", is_flag=True, help="Replay from every state that is kept: all must come to the same states.")
@click.option("--until", metavar="LSN", type=click.IntRange(min=0), help="Stop after this call.")
@click.option(
    "--from",
    "begin_with",
    metavar="WHICH",
    default="oldest",
    show_default=True,
    help="Where to begin: 'oldest', 'newest', or the id of a checkpoint.",
)
@click.option("--state", "with_state", is_flag=True, help="Show what the actor has come to.")
@click.option("--output", "with_output", is_flag=True, help="Show what the actor's code prints.")
@click.option("-v", "--verbose", is_flag=True, help="List every call.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def replay(
    path: pathlib.Path,
    *,
    verify: bool,
    until: int | None,
    begin_with: str,
    with_state: bool,
    with_output: bool,
    verbose: bool,
    as_json: bool,
) -> None:
    """Do the calls in the logs of durable actors again, and compare how they end.

    DIR is the folder of an actor, or of a session: then all its actors are replayed. No session is needed, nothing in
    DIR is written or locked, and of a running actor it is the log of a moment ago that is replayed.

    The actor's own code runs again, in a process for each replay: what it does outside of the actor (files that it
    writes, requests that it sends) it does again, but for what it called by once(). There is no dry run. Calls to other
    actors and tasks are not made: what they returned is in the log. Calls of methods with effect="persist" may do
    something else each time, and are neither done again nor compared: a replay begins behind them, or ends before. What
    the actor's code imports must be importable here; the current folder is on the path.

    With --verify the state itself is compared too, at each checkpoint that is kept and at the end: attribute by
    attribute, in processes of their own. What only one replay comes to is done twice. An attribute that readonly
    methods fill as well (other than functools.cached_property) shows as a difference: a replay does not run those.

    A replay begins with the constructor if the log reaches back to it, else with the oldest checkpoint.

    Exit status: 0 every call has ended as the log says; 1 one has not; 2 something cannot be replayed; 3 DIR is no
    actor's folder. Of several actors, the highest.
    """
    folders = find_actor_folders(path)
    if verify and begin_with != "oldest":
        raise click.UsageError("--verify begins with every state that is kept; --from is for one replay.")
    wishes = Wishes(
        until,
        begin_with,
        verifies=verify,
        tells_calls=verbose,
        tells_state=with_state,
        shows_output=with_output,
    )
    console = Console(width=None if sys.stdout.isatty() else _WIDTH_OF_A_FILE, highlight=False)
    done: list[ActorReplay] = []
    for folder in folders:
        done.append(replay_actor(folder, wishes))
        if not as_json:
            _print(console, done[-1])
    if as_json:
        click.echo(json.dumps({"actors": [one.to_dict() for one in done]}, indent=2))
    sys.exit(max(one.status for one in done))


def _print(console: Console, actor: ActorReplay) -> None:
    console.print(Text(actor.title, style="bold"))
    console.print(Text(str(actor.path), style="dim"))
    if actor.held_by:
        whose = f"process {actor.held_by}" if actor.held_by > 0 else "a process"
        _say(console, f"note: the actor is running in {whose}: this is its log as it was a moment ago.")
    for note in actor.notes:
        _say(console, f"note: {note}")
    for run in actor.runs:
        for call in run.calls:
            _say(console, _call_line(call), "red" if call["problem"] else "")
        for name, text in run.facts.get("state", {}).items():
            _say(console, f"    {name} = {text}")
        for line in _run_lines(run):
            _say(console, line, "" if run.status == AGREED else _COLOURS[run.status])
    for line in actor.left_out_words():
        _say(console, line)
    _say(console, actor.verdict(), f"bold {_COLOURS[actor.status]}")
    if actor.held_by and actor.status == IMPOSSIBLE:
        _say(console, "The actor has gone on meanwhile, perhaps: try again, or replay a copy of its folder.")
    elif actor.is_damaged:
        _say(
            console,
            f"To see what is wrong: ipyactors fsck {shlex.quote(str(actor.path))}",
        )
    console.print()


def _say(console: Console, line: str, style: str = "") -> None:
    console.print(Text(line, style=style), soft_wrap=True)


def _call_line(call: dict[str, Any]) -> str:
    line = f"{call['lsn']:>8} {call['name']}  {call['outcome']}"
    if call["logged_s"] is not None:
        line += f"  {_ms(call['logged_s'])} then"
    if call["replayed_s"] is not None:
        line += f", {_ms(call['replayed_s'])} now"
    return line + ("  and not so now" if call["problem"] else "")


def _ms(duration_s: float) -> str:
    return f"{duration_s * 1000:,.3f} ms"


def _run_lines(run: Run) -> list[str]:
    if run.problem:
        word = "Diverged" if run.status == DIVERGED else "Cannot be replayed"
        return [f"{word}, from {run.start}: {run.problem}"]
    facts = run.facts
    line = f"{_count(facts['calls'], 'call')} replayed in {facts['replayed_s']:.3f} s from {run.start}"
    others = [f"{facts[what]:,} {words}" for what, words in _NOT_DONE.items() if facts[what]]
    line += "; every one ended as the log says." if facts["calls"] else "."
    if others:
        line += f" Not done again: {', '.join(others)}."
    lines = [line]
    for at in facts.get("checkpoints", ()):
        if at["differences"]:
            where = f"at checkpoint {at['checkpoint'][:10]} (after lsn {at['lsn']}) "
            lines += _difference_lines(at["differences"], run, where, at["compared_with"])
            break  # what follows has it too
    lines += _difference_lines(facts.get("differences", ()), run, "", str(run.compared_with))
    if facts.get("unknown"):
        lines.append(f"Not comparable with what {run.compared_with} came to: {', '.join(facts['unknown'])}.")
    return lines


def _difference_lines(differences: Iterable[dict[str, str]], run: Run, where: str, other: str) -> Iterator[str]:
    before = f"{other} before" if other == str(run.start) else other
    for one in differences:
        first, second = one["first"] or "not there", one["second"] or "not there"
        yield f"Diverged, from {run.start}: {where}{one['attribute']} is {second}; from {before}: {first}"


_NOT_DONE = {"aborted": "aborted, without effect", "unfinished": "not over"}


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"
