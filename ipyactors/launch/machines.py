"""Further machines of a session on this computer: each has an agent, a store and folders of its own.

What is noted of one is in a folder of its own below the session's, and swept with the session, or as soon as the first
machine's agent sees that the machine's own is gone.
"""

from __future__ import annotations

import os
import pathlib
import shutil

from ipyactors.ground import ids
from ipyactors.ground.config import SessionPaths
from ipyactors.ground.exceptions import StartError
from ipyactors.launch.folders import PreparedSession, end_machine, is_private, make_folders


def prepare_machine(first: SessionPaths, node_id: bytes) -> PreparedSession:
    """Make the folders of a further machine of the session whose first machine has ``first``.

    Raises StartError when they cannot be made, or the session is gone.
    """
    state_dir = pathlib.Path(first.state_dir)
    if not os.path.exists(first.run_dir):
        raise StartError(
            f"no machine was added to session {first.name!r}: the session has ended. Nothing was started. "
            "Start another one: init(nodes=[...]) or LocalCluster()."
        )
    try:
        paths = make_folders(first.name, state_dir, label=ids.short(node_id), head_dir=first.run_dir)
    except OSError as error:
        raise StartError(
            f"no machine was added to session {first.name!r}: its folders could not be made ({error})."
        ) from error
    return PreparedSession(paths, lock_fd=-1)


def folder_of(state_dir: str | pathlib.Path, label: str) -> pathlib.Path:
    """Return where things are noted of the further machine with that label."""
    return pathlib.Path(SessionPaths("", str(state_dir), "", label=label).node_dir)


def sweep_machine(folder: pathlib.Path) -> None:
    """End what a further machine has left running, and remove all that it had; its agent is gone, or the session is."""
    if is_private(folder):
        end_machine(folder)
        shutil.rmtree(folder, ignore_errors=True)


def sweep_machines(state_dir: str | pathlib.Path) -> None:
    """Sweep every further machine of a session that has ended, or is just ending."""
    folder = pathlib.Path(state_dir, "nodes")
    for machine in folder.iterdir() if is_private(folder) else ():
        sweep_machine(machine)
    shutil.rmtree(folder, ignore_errors=True)
