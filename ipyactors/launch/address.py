"""How another process on this computer finds a session that runs: a note in the session's folder.

An address is the name of a session, or the path of its folder, where the two processes do not agree on the folder of
all sessions (``IPYACTORS_HOME``). Only its owner can enter that folder, so only its owner can come to the session.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
from typing import Any

import msgspec

from ipyactors.ground.config import SessionPaths, home
from ipyactors.ground.exceptions import OptionError, SessionError
from ipyactors.wire import liveness
from ipyactors.wire.liveness import Identity


class Driven(msgspec.Struct, frozen=True):
    """For which ``notebook`` (a path) a session is driven, ``by`` which process; what ``init()`` was given at first.

    ``by`` is None when the process that drove it has left it.
    """

    notebook: str
    by: Identity | None
    started_with: dict[str, Any]


class SessionNote(msgspec.Struct, frozen=True):
    """What one needs to know to come to a session: its first machine, that machine's agent, whose it is if known."""

    paths: SessionPaths
    node_id: bytes
    agent: Identity
    namespace: str = ""
    max_lineage_bytes: int = 0
    driven: Driven | None = None


def publish(note: SessionNote) -> None:
    """Write the note, in one step; a note of an earlier session of that name is replaced."""
    path = _file_of(note.paths.state_dir)
    draft = path.with_suffix(".tmp")
    draft.write_bytes(msgspec.json.encode(note))
    draft.replace(path)


def unpublish(state_dir: str | pathlib.Path) -> None:
    """Remove the note, because the session has ended; harmless if there is none."""
    with contextlib.suppress(OSError):
        _file_of(state_dir).unlink()


def find_session(address: str) -> SessionNote:
    """Return the note of the session at ``address``. Raises OptionError for a bad address, SessionError if it ended."""
    folder = pathlib.Path(address) if os.path.isabs(address) else home() / "sessions" / address
    if not address or address.startswith(".") or (not os.path.isabs(address) and "/" in address):
        raise OptionError(
            f"address={address!r}: takes the name of a session, or the absolute path of its folder.", option="address"
        )
    note = read_note(folder)
    if note is None:
        what = "has ended, or was not started" if folder.is_dir() else "does not exist"
        raise SessionError(f"address={address!r}: this session {what}. Nothing was started. {_which_there_are()}")
    if not liveness.is_running(note.agent):
        raise SessionError(
            f"address={address!r}: this session has ended; its agent, process {note.agent.pid}, is gone. "
            f"Nothing was started. {_which_there_are()}"
        )
    return note


def read_note(folder: str | pathlib.Path) -> SessionNote | None:
    """Return the note in a session's folder, if there is one."""
    try:
        return msgspec.json.decode(_file_of(folder).read_bytes(), type=SessionNote)
    except (OSError, msgspec.MsgspecError):
        return None


def _which_there_are() -> str:
    """Return in words what an address may be."""
    live = ", ".join(note.paths.name for note in live_sessions())
    if not live:
        return "No session is live here: call init() without address to start one."
    return f"Give cluster.address, or the name of a session, or of its folder. Live ones: {live}."


def live_sessions() -> list[SessionNote]:
    """Return the notes of this user's sessions that run on this computer, in the order of their names."""
    folder = home() / "sessions"
    names = sorted(os.listdir(folder)) if folder.is_dir() else []
    notes = [read_note(folder / name) for name in names if not name.startswith(".")]
    return [note for note in notes if note is not None and liveness.is_running(note.agent)]


def _file_of(state_dir: str | pathlib.Path) -> pathlib.Path:
    """Return where the note is."""
    return pathlib.Path(state_dir) / "session.json"
