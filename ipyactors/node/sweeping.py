"""Clearing up after further machines of this computer whose agent is gone: the first machine's agent does it.

An agent that is killed can clear up nothing; the processes that it had go with it, but not what they had started, and
not its folders, one of which is in memory. Removing gigabytes takes time, so it is done beside the agent's own work.
"""

from __future__ import annotations

import threading

from ipyactors.ground import ids
from ipyactors.ground.config import SessionPaths
from ipyactors.launch import machines


class Sweeper:
    """Clears up one machine at a time, in threads that end with it."""

    def __init__(self, paths: SessionPaths) -> None:
        self._paths = paths
        self._threads: list[threading.Thread] = []

    def clear_up(self, node_id: bytes) -> None:
        """End and remove what that machine has left. Does not wait until it is done."""
        folder = machines.folder_of(self._paths.state_dir, ids.short(node_id))
        thread = threading.Thread(target=machines.sweep_machine, args=(folder,), daemon=True)
        thread.start()
        self._threads.append(thread)

    def close(self) -> None:
        """Clear up after all further machines, for the session ends; on one of these, nothing happens."""
        if self._paths.label:
            return
        for thread in self._threads:
            thread.join()
        machines.sweep_machines(self._paths.state_dir)
