"""The list of a session's processes, kept in a file, so that the next session can end what outlived a crash.

One line per process, appended when it starts: boot id, pid, start time. Lines are never removed; a process is only
touched if all three still match, so an old line can do no harm. What user code has started is not on the list, but
bears the numbers of a worker's process group and of the zygote's session; only what left both is out of reach.
"""

from __future__ import annotations

import contextlib
import os
import pathlib

from ipyactors.ground.config import SessionPaths
from ipyactors.wire import liveness
from ipyactors.wire.liveness import Identity

_END_WITHIN_S = 2.0


def _file_of(state_dir: str | pathlib.Path) -> pathlib.Path:
    """Return where the list is of a session's first machine, or of another one, given its folder."""
    return pathlib.Path(state_dir) / "processes"


class ProcessList:
    """The writing side, held by the agent. Each line leaves in one ``write``, so a crash cannot tear it."""

    def __init__(self, paths: SessionPaths) -> None:
        self._descriptor = os.open(
            _file_of(paths.node_dir), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        self._boot_id = liveness.boot_id()

    def add(self, identity: Identity) -> None:
        """Note a process that has started. A full disk is no reason to stop: only the sweep would miss it."""
        line = f"{self._boot_id} {identity.pid} {identity.started}\n"
        with contextlib.suppress(OSError):
            os.write(self._descriptor, line.encode())

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def read_processes(state_dir: str | pathlib.Path) -> list[Identity]:
    """Return every process that an agent noted there during this boot of the machine."""
    try:
        lines = _file_of(state_dir).read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []
    boot_id = liveness.boot_id()
    found = []
    for line in lines:
        words = line.split()
        if len(words) == 3 and words[0] == boot_id and words[1].isdecimal() and words[2].isdecimal():
            found.append(Identity(int(words[1]), int(words[2])))
    return found


def end_leftovers(state_dir: str | pathlib.Path) -> int:
    """Kill what still runs of a session that nobody holds any more; return how many processes that were.

    Call it only with the session's lock in hand, or as the parent of an agent that has ended.
    """
    listed = read_processes(state_dir)
    alive = [identity for identity in listed if liveness.is_running(identity)]
    # The number of a process that is gone may be another's by now; then its group and its session are gone as well.
    numbers = {identity.pid for identity in listed if liveness.identify(identity.pid) in (identity, None)}
    alive += liveness.find_stragglers(numbers)
    for identity in alive:
        liveness.kill(identity)
    for identity in alive:
        liveness.wait_gone(identity, _END_WITHIN_S)
    return len(alive)
