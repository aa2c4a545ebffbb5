"""``ipyactors sessions``: which sessions run on this computer, and the end of one that nobody ends any more."""

from __future__ import annotations

import click

from ipyactors.cli.sessions import choose_session
from ipyactors.ground.config import home
from ipyactors.launch.address import SessionNote, live_sessions
from ipyactors.launch.visiting import end_session
from ipyactors.wire import liveness


@click.group(invoke_without_command=True)
@click.pass_context
def sessions(context: click.Context) -> None:
    """List the sessions that run on this computer; `ipyactors sessions end NAME` ends one."""
    if context.invoked_subcommand is not None:
        return
    notes = live_sessions()
    if not notes:
        click.echo(f"No session is live under {home() / 'sessions'}.")
    for note in notes:
        click.echo(f"{note.paths.name}  {_state_of(note)}")


@sessions.command()
@click.argument("name", metavar="NAME")
def end(name: str) -> None:
    """End a session with everything in it: its detached actors too, and what its drivers are at.

    NAME is the session's name, or the path of its folder, which stays: the logs of durable actors are in it.
    """
    note = choose_session(name)
    end_session(note)
    click.echo(f"{note.paths.name} has ended. What its durable actors have logged is in {note.paths.actors_dir}.")


def _state_of(note: SessionNote) -> str:
    driven = note.driven
    if driven is None:
        return f"agent: process {note.agent.pid}"
    if driven.by is not None and liveness.is_running(driven.by):
        return f"notebook {driven.notebook}, kernel: process {driven.by.pid}"
    return f"notebook {driven.notebook}, no kernel: its detached actors go on"
