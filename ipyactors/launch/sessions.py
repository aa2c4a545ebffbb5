"""A session's folders: made by the driver before anything starts, swept by the next driver if nobody cleaned up.

Who holds a session is said by a ``flock`` on its lock file. The driver takes it and hands the open file to the agent
through ``exec``: the lock belongs to the open file, so there is no moment at which the session looks abandoned. The
kernel releases it however the agent dies. Making and sweeping exclude each other by a second lock, on the folder of
all sessions.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import secrets
import shutil
import time
from collections.abc import Iterator

from ipyactors.ground.config import home
from ipyactors.ground.exceptions import StartError
from ipyactors.launch.address import unpublish
from ipyactors.launch.folders import PreparedSession, end_machine, is_private, make_folders
from ipyactors.launch.machines import sweep_machines

#: The logs of this many ended sessions are kept.
KEEP_SESSIONS = 5


def prepare_session(name: str | None = None) -> PreparedSession:
    """Sweep what earlier sessions left behind, then make the folders of a new one, and lock it.

    Raises StartError when a folder cannot be made or trusted, or a live session has that name.
    """
    sessions = home() / "sessions"
    name = name or f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
    if name != pathlib.Path(name).name or name.startswith("."):
        raise StartError(f"{name!r} cannot name a session: it must be a plain folder name, without '/' or leading dot")
    try:
        sessions.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(sessions):
            _sweep(sessions, spare=name)
            return _make(sessions / name, name)
    except OSError as error:
        raise StartError(
            f"session {name!r} was not started: its folder under {sessions} cannot be used ({error}). "
            "Set IPYACTORS_HOME to a folder of yours on a local disk."
        ) from error


def sweep_sessions() -> None:
    """End what stale sessions left running, remove their sockets, and all but the newest few of their logs."""
    sessions = home() / "sessions"
    if sessions.is_dir():
        with locked(sessions):
            _sweep(sessions)


def sweep_session(state_dir: str | pathlib.Path) -> None:
    """End what one session has left running, if nobody holds it, and remove its sockets; its logs stay."""
    folder = pathlib.Path(state_dir)
    with locked(folder.parent):
        lock_fd = _try_lock(folder)
        if lock_fd is not None:
            try:
                _end_session(folder)
            finally:
                os.close(lock_fd)


@contextlib.contextmanager
def locked(sessions: pathlib.Path) -> Iterator[None]:
    """Keep other drivers from making or sweeping sessions meanwhile."""
    descriptor = os.open(sessions, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _make(state_dir: pathlib.Path, name: str) -> PreparedSession:
    """Take the lock and make the folders."""
    for folder in (state_dir, state_dir / "logs"):
        folder.mkdir(mode=0o700, exist_ok=True)
        if not is_private(folder):
            raise StartError(
                f"session {name!r} was not started: {folder} must be a folder that belongs to you, with mode 0700"
            )
    lock_fd = _try_lock(state_dir)
    if lock_fd is None:
        raise StartError(f"session {name!r} was not started: a live session of that name exists. Choose another name.")
    try:
        # A session of this name that ended may have left something; with its lock in hand it is ours to sweep.
        _end_session(state_dir)
        paths = make_folders(name, state_dir)
    except BaseException:
        os.close(lock_fd)
        raise
    return PreparedSession(paths, lock_fd)


def _try_lock(state_dir: pathlib.Path) -> int | None:
    """Return the locked lock file, or None if somebody holds it."""
    descriptor = os.open(state_dir / "session.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _end_session(state_dir: pathlib.Path) -> None:
    """End the processes of a session that nobody holds, and remove its folders; the logs stay."""
    end_machine(state_dir)
    sweep_machines(state_dir)
    unpublish(state_dir)


def _sweep(sessions: pathlib.Path, spare: str = "") -> None:
    """Sweep every session whose lock is free; ``spare`` is about to be made again. Trouble with one stops nothing."""
    ended: list[tuple[float, pathlib.Path]] = []
    for state_dir in sessions.iterdir():
        if state_dir.name == spare or not is_private(state_dir):
            continue
        with contextlib.suppress(OSError):
            lock_fd = _try_lock(state_dir)
            if lock_fd is not None:
                try:
                    _end_session(state_dir)
                    ended.append((state_dir.stat().st_mtime, state_dir))
                finally:
                    os.close(lock_fd)
    ended.sort(reverse=True)
    for _, state_dir in ended[KEEP_SESSIONS:]:
        shutil.rmtree(state_dir, ignore_errors=True)
