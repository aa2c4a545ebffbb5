"""The folders that a machine has for the time of a session: for sockets, for values in memory, for values on disk.

They are noted in the machine's folder (that of the session, for the first one), so that whoever sweeps finds them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import shutil
import stat
import tempfile
import warnings

from ipyactors.ground import ids
from ipyactors.ground.config import SOCKET_PATH_BYTES, SessionPaths
from ipyactors.ground.exceptions import StartError
from ipyactors.launch.leftovers import end_leftovers

_PREFIX = "ipyactors-"

#: Where files are in memory, on Linux; another folder may be named in the environment.
_SHARED_MEMORY = "/dev/shm"
_MEMORY_DIR_VARIABLE = "IPYACTORS_MEMORY_DIR"

#: With less shared memory than this, the driver is warned.
_SMALL_BYTES = 256 * 1024 * 1024

#: Notes in a machine's folder: each holds the path of a folder that goes with the machine.
_NOTES = ("run_dir", "store_dir")


@dataclasses.dataclass(slots=True)
class PreparedSession:
    """A machine whose folders exist; of a session's first one, this process holds the session's lock (else -1)."""

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
        remove_folders(self.paths.node_dir)


def make_folders(name: str, state_dir: pathlib.Path, *, label: str = "", head_dir: str = "") -> SessionPaths:
    """Make a machine's folders, mode 0700, and note them; nothing is left if that fails. Raises StartError, OSError.

    ``label`` and ``head_dir`` are given for a further machine: see :class:`SessionPaths`.
    """
    node_dir = pathlib.Path(SessionPaths(name, str(state_dir), "", label=label).node_dir)
    try:
        for folder in (*((node_dir.parent, node_dir) if label else ()), node_dir / "spill"):
            folder.mkdir(mode=0o700, exist_ok=True)
        run_dir = _make_run_dir()
        (node_dir / "run_dir").write_text(run_dir, encoding="utf-8")
        store_dir = _make_store_dir(run_dir)
        (node_dir / "store_dir").write_text(store_dir, encoding="utf-8")
    except BaseException:
        remove_folders(node_dir)
        raise
    return SessionPaths(name, str(state_dir), run_dir, store_dir, head_dir, label)


def remove_folders(node_dir: str | pathlib.Path) -> None:
    """Remove the folders that are noted in a machine's folder, and what was spilled."""
    for name in _NOTES:
        note = pathlib.Path(node_dir, name)
        with contextlib.suppress(OSError, UnicodeDecodeError):
            remove_folder(pathlib.Path(note.read_text(encoding="utf-8")))
            note.unlink()
    shutil.rmtree(pathlib.Path(node_dir, "spill"), ignore_errors=True)


def end_machine(node_dir: str | pathlib.Path) -> None:
    """End the processes of a machine that nobody holds any more, and remove its folders.

    To be called with the session's lock in hand, or when the machine's agent has certainly ended.
    """
    end_leftovers(node_dir)
    remove_folders(node_dir)
    with contextlib.suppress(OSError):
        pathlib.Path(node_dir, "processes").unlink()


def is_private(folder: pathlib.Path) -> bool:
    """Return whether it is a real folder (no symbolic link) of this user's that nobody else can enter."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077


def remove_folder(folder: pathlib.Path) -> None:
    """Remove a folder, if it is one of ours and belongs to this user."""
    if folder.name.startswith(_PREFIX) and is_private(folder):
        shutil.rmtree(folder, ignore_errors=True)


def _make_run_dir() -> str:
    """Make the folder for sockets in the first place whose path is short enough."""
    tried = []
    for parent in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"):
        if not parent or not os.path.isabs(parent) or parent in tried:
            continue
        tried.append(parent)
        # mkdtemp adds eight characters; a process's socket has the longest name of all.
        sample = SessionPaths("", "", os.path.join(parent, _PREFIX + "x" * 8))
        address = sample.process_address(b"w" + bytes(ids.PROCESS_ID_BYTES - 1))
        if len(os.fsencode(address.removeprefix("ipc://"))) > SOCKET_PATH_BYTES:
            continue
        with contextlib.suppress(OSError):
            return tempfile.mkdtemp(prefix=_PREFIX, dir=parent)
    raise StartError(
        f"the session was not started: no folder for its sockets. Tried {', '.join(tried)}: each is either not "
        f"writable, or so long that a socket's path would exceed {SOCKET_PATH_BYTES} bytes. "
        "Set XDG_RUNTIME_DIR or TMPDIR to a short path that you can write to."
    )


def _make_store_dir(run_dir: str) -> str:
    """Make the folder for values in memory; where no file system in memory is, below the folder for sockets."""
    parent = os.environ.get(_MEMORY_DIR_VARIABLE) or (_SHARED_MEMORY if _is_in_memory(_SHARED_MEMORY) else "")
    if parent:
        with contextlib.suppress(OSError):
            _warn_if_small(parent)
            return tempfile.mkdtemp(prefix=_PREFIX, dir=parent)
    return tempfile.mkdtemp(prefix=_PREFIX, dir=run_dir)


def _is_in_memory(folder: str) -> bool:
    """Return whether a file system in memory is mounted there (Linux; elsewhere there is none)."""
    with contextlib.suppress(OSError), open("/proc/self/mounts", encoding="utf-8", errors="replace") as mounts:
        return any(line.split()[1:3] == [folder, "tmpfs"] for line in mounts)
    return False


def _warn_if_small(folder: str) -> None:
    """Tell the driver that values will soon go to disk, as in a container, which has 64 MB if it was given no more."""
    found = os.statvfs(folder)
    size = found.f_blocks * found.f_frsize
    if size < _SMALL_BYTES:
        warnings.warn(
            f"{folder} has only {size / 1e6:.0f} MB: most values over 64 KiB will be kept on disk, which is slower. In "
            f"a container, give it more with --shm-size, or name another folder in memory with {_MEMORY_DIR_VARIABLE}.",
            stacklevel=2,
        )
