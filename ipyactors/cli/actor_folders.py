"""Folders of durable actors on this machine: which ones are meant, and where the data of their checkpoints is."""

from __future__ import annotations

import errno
import pathlib
import re

import click

from ipyactors.durable import fsck_facts
from ipyactors.durable.checkpoint_store import open_store
from ipyactors.durable.folder import Folder
from ipyactors.durable.fsck import is_of_an_actor
from ipyactors.durable.fsck_evidence import Load
from ipyactors.durable.session_kv import SessionKv
from ipyactors.ground.exceptions import OptionError

_ACTOR_ID = re.compile(r"[0-9a-f]{32}")

#: What was given is no folder of an actor, or cannot be read.
EXIT_UNREADABLE = 3


def find_actor_folders(path: pathlib.Path) -> list[pathlib.Path]:
    """Return the folders of the actors at ``path``: an actor's, a session's, or ``actors`` in one.

    Raises ClickException, with exit status 3, if there are none.
    """
    try:
        if any(is_of_an_actor(one.name) for one in path.iterdir()):
            return [path]
        actors = path / "actors" if (path / "actors").is_dir() else path
        found = sorted(one for one in actors.iterdir() if _ACTOR_ID.fullmatch(one.name) and any(one.iterdir()))
    except OSError as error:
        raise _Unreadable(f"{path} cannot be read: {error.strerror or error}.") from error
    if not found:
        raise _Unreadable(f"{path} is not the folder of a durable actor, nor that of a session that has any.")
    return found


class _Unreadable(click.ClickException):
    exit_code = EXIT_UNREADABLE


def actor_id_of(path: pathlib.Path) -> bytes | None:
    """Return whose folder it is, as its name says; None for a copy that has another name."""
    name = path.resolve().name
    return bytes.fromhex(name) if _ACTOR_ID.fullmatch(name) else None


def loader_of(path: pathlib.Path) -> Load:
    """Return what loads checkpoints' data that is not in the folder, from where the actor's specification says.

    What it needs to get in comes from the environment and the configuration of fsspec, as for the actor itself.
    """
    folder = Folder(path)
    spec, problem = fsck_facts.spec_of(folder, folder.names())
    if spec is None or spec.durability is None:
        return _refuse("the actor's specification does not say where" if not problem else f"spec: {problem}")
    try:
        return open_store(spec.durability.store, path, spec.actor_id, SessionKv(path.resolve().parents[1])).load
    except (OptionError, ImportError) as error:
        return _refuse(str(error))


def _refuse(reason: str) -> Load:
    def load(locator: str) -> bytes:
        raise OSError(errno.EINVAL, f"{locator} cannot be loaded: {reason}")

    return load
