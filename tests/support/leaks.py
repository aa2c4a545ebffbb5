"""What outlives a run: processes, sockets, shared memory, folders.

A run has folders of its own for state, for sockets and for shared memory, named in the environment that every process
of it inherits. So whatever still carries that environment, or still lies in those folders, was left behind by this run
and by no other.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator

import psutil

#: How long the last process may take to go after its session was shut down or its driver was killed.
PATIENCE_S = 20.0

_LOOK_AGAIN_S = 0.02

_SHARED_MEMORY = pathlib.Path("/dev/shm")
_MARK = "IPYACTORS_HOME"

#: Standard library helpers that live as long as the interpreter that runs the tests.
_HELPERS = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")


@dataclasses.dataclass(frozen=True, slots=True)
class RunFolders:
    """The folders of one run: ``home`` for state and logs, ``sockets`` for what must have a short path, ``memory``."""

    top: pathlib.Path

    @classmethod
    def make(cls) -> RunFolders:
        """Make the folders, mode 0700, under a path that leaves room for a socket's name."""
        folders = cls(pathlib.Path(tempfile.mkdtemp(prefix="ipa-", dir="/tmp")))
        for folder in (folders.home, folders.sockets, folders.memory):
            folder.mkdir(mode=0o700)
        return folders

    def remove(self) -> None:
        """Remove the folders."""
        for folder in (self.memory, self.top):
            shutil.rmtree(folder, ignore_errors=True)

    @property
    def home(self) -> pathlib.Path:
        return self.top / "home"

    @property
    def sockets(self) -> pathlib.Path:
        return self.top / "run"

    @property
    def memory(self) -> pathlib.Path:
        """Where stores are made: a folder of the run's own in shared memory, if there is any."""
        return (_SHARED_MEMORY if _SHARED_MEMORY.is_dir() else self.top) / f"{self.top.name}-memory"

    def environment(self) -> dict[str, str]:
        """Return what makes ipyactors, here and in children, use these folders."""
        return {_MARK: str(self.home), "XDG_RUNTIME_DIR": str(self.sockets), "IPYACTORS_MEMORY_DIR": str(self.memory)}


def processes_of(home: pathlib.Path) -> list[psutil.Process]:
    """Return the live processes whose environment says that they belong to the run with this ``home``."""
    ours = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    return [process for process in psutil.process_iter() if process.pid not in ours and _belongs(process, home)]


def _belongs(process: psutil.Process, home: pathlib.Path) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE or process.environ().get(_MARK) != str(home):
            return False
        command = " ".join(process.cmdline())
    except psutil.Error:
        return False
    return not any(helper in command for helper in _HELPERS)


def wait_processes_gone(home: pathlib.Path, patience_s: float = PATIENCE_S) -> list[psutil.Process]:
    """Wait until no process of the run is left; return those that are there when patience ends."""
    # Looked at again and again, not waited for: a zombie is gone, however long whoever adopted it takes to bury it.
    deadline = time.monotonic() + patience_s
    while (left := processes_of(home)) and time.monotonic() < deadline:
        time.sleep(_LOOK_AGAIN_S)
    return left


def find_leaks(folders: RunFolders, patience_s: float = PATIENCE_S) -> list[str]:
    """Return a line for each thing that the run has left behind; none if it was clean."""
    leaks = [f"process {process.pid}: {_command(process)}" for process in wait_processes_gone(folders.home, patience_s)]
    sessions = (path for path in below(folders.sockets) if path.name.startswith("ipyactors-"))
    leaks += [f"in the runtime folder: {path}" for path in sorted(sessions)]
    leaks += [f"socket: {path}" for path in sorted(below(folders.top)) if _is_socket(path)]
    leaks += [f"in shared memory: {path}" for path in sorted(below(folders.memory))]
    leaks += [f"spilled: {path}" for path in sorted(below(folders.home)) if path.name == "spill"]
    return leaks


def below(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yield all that is below a folder, which others may be at work in: what goes away meanwhile is passed over."""
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            yield pathlib.Path(parent, name)


def _is_socket(path: pathlib.Path) -> bool:
    try:
        return stat.S_ISSOCK(path.lstat().st_mode)
    except OSError:
        return False


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())[:200]
    except psutil.Error:
        return "(ended meanwhile)"
