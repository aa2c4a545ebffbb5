"""A session's folders: made by the driver before anything starts, swept by the next driver if nobody cleaned up.

Who holds a session is said by a ``flock`` on its lock file. The driver takes it and hands the open file to the agent
through ``exec``: the lock belongs to the open file, so there is no moment at which the session looks abandoned. The
kernel releases it however the agent dies. Making and sweeping exclude each other by a second lock, on the folder of
all sessions.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import pathlib
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator

from ipyactors.ground import ids
from ipyactors.ground.config import SOCKET_PATH_BYTES, SessionPaths, home
from ipyactors.ground.exceptions import StartError
from ipyactors.launch.leftovers import end_leftovers

#: The logs of this many ended sessions are kept.
KEEP_SESSIONS = 5

_RUN_DIR_PREFIX = "ipyactors-"


@dataclasses.dataclass(slots=True)
class PreparedSession:
    """A session whose folders exist and whose lock this process holds, until :meth:`release`."""

    paths: SessionPaths
    lock_fd: int

    def release(self) -> None:
        """Close this process's copy of the lock; the agent's copy keeps it."""
        if self.lock_fd >= 0:
            os.close(self.lock_fd)
            self.lock_fd = -1

    def discard(self) -> None:
        """Take the folders away again, because nothing was started; the logs stay."""
        self.release()
        remove_run_dir(self.paths.run_dir)


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
        with _locked(sessions):
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
        with _locked(sessions):
            _sweep(sessions)


def remove_run_dir(run_dir: str | pathlib.Path) -> None:
    """Remove a runtime folder with its sockets, if it is one of ours and belongs to this user."""
    folder = pathlib.Path(run_dir)
    if folder.name.startswith(_RUN_DIR_PREFIX) and _is_private(folder):
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _locked(sessions: pathlib.Path) -> Iterator[None]:
    """Keep other drivers from making or sweeping sessions meanwhile."""
    descriptor = os.open(sessions, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _make(state_dir: pathlib.Path, name: str) -> PreparedSession:
    """Make both folders and take the lock."""
    for folder in (state_dir, state_dir / "logs"):
        folder.mkdir(mode=0o700, exist_ok=True)
        if not _is_private(folder):
            raise StartError(
                f"session {name!r} was not started: {folder} must be a folder that belongs to you, with mode 0700"
            )
    lock_fd = _try_lock(state_dir)
    if lock_fd is None:
        raise StartError(f"session {name!r} was not started: a live session of that name exists. Choose another name.")
    try:
        # A session of this name that ended may have left something; with its lock in hand it is ours to sweep.
        _end_session(state_dir)
        paths = SessionPaths(name, str(state_dir), _make_run_dir())
        (state_dir / "run_dir").write_text(paths.run_dir, encoding="utf-8")
    except BaseException:
        os.close(lock_fd)
        raise
    return PreparedSession(paths, lock_fd)


def _make_run_dir() -> str:
    """Make the folder for sockets, mode 0700, in the first place whose path is short enough."""
    tried = []
    for parent in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"):
        if not parent or not os.path.isabs(parent) or parent in tried:
            continue
        tried.append(parent)
        # mkdtemp adds eight characters; a process's socket has the longest name of all.
        sample = SessionPaths("", "", os.path.join(parent, _RUN_DIR_PREFIX + "x" * 8))
        address = sample.process_address(b"w" + bytes(ids.PROCESS_ID_BYTES - 1))
        if len(os.fsencode(address.removeprefix("ipc://"))) > SOCKET_PATH_BYTES:
            continue
        with contextlib.suppress(OSError):
            return tempfile.mkdtemp(prefix=_RUN_DIR_PREFIX, dir=parent)
    raise StartError(
        f"the session was not started: no folder for its sockets. Tried {', '.join(tried)}: each is either not "
        f"writable, or so long that a socket's path would exceed {SOCKET_PATH_BYTES} bytes. "
        "Set XDG_RUNTIME_DIR or TMPDIR to a short path that you can write to."
    )


def _is_private(folder: pathlib.Path) -> bool:
    """Return whether it is a real folder (no symbolic link) of this user's that nobody else can enter."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077


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
    """End the processes of a session that nobody holds, and remove its sockets."""
    end_leftovers(state_dir)
    note = state_dir / "run_dir"
    with contextlib.suppress(OSError, UnicodeDecodeError):
        remove_run_dir(note.read_text(encoding="utf-8"))
        note.unlink()
    with contextlib.suppress(OSError):
        (state_dir / "processes").unlink()


def _sweep(sessions: pathlib.Path, spare: str = "") -> None:
    """Sweep every session whose lock is free; ``spare`` is about to be made again. Trouble with one stops nothing."""
    ended: list[tuple[float, pathlib.Path]] = []
    for state_dir in sessions.iterdir():
        if state_dir.name == spare or not _is_private(state_dir):
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
