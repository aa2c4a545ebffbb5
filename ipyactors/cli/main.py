"""The command ``ipyactors``: looks at sessions from outside, without a part in them.

A subcommand is a function in a file of its own, added to the group here.
"""

from __future__ import annotations

import click

from ipyactors.cli.fsck import fsck
from ipyactors.cli.memory import memory
from ipyactors.cli.replay import replay
from ipyactors.cli.session_commands import sessions
from ipyactors.ground.version import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ipyactors")
def main() -> None:
    """Look at sessions of ipyactors on this computer, and at what durable actors have left on disk."""


main.add_command(fsck)
main.add_command(memory)
main.add_command(replay)
main.add_command(sessions)
