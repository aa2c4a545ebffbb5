"""Where a session lives, and what its processes are told when they start.

State (logs, the lock, later the journal and the actors' logs) is under ``IPYACTORS_HOME``, by default the XDG state
folder. Sockets are in a runtime folder of mode 0700 that only this user can enter; its path is short, because a
socket's path may have at most 107 bytes on Linux and 103 on macOS.
"""

from __future__ import annotations

import os
import pathlib
import sys

import msgspec

from ipyactors.ground.quantities import Units

SOCKET_PATH_BYTES = 103 if sys.platform == "darwin" else 107


def home() -> pathlib.Path:
    """Return the folder of all sessions: ``$IPYACTORS_HOME``, else ``$XDG_STATE_HOME/ipyactors``."""
    if given := os.environ.get("IPYACTORS_HOME"):
        return pathlib.Path(given)
    state = os.environ.get("XDG_STATE_HOME") or pathlib.Path.home() / ".local" / "state"
    return pathlib.Path(state) / "ipyactors"


class SessionPaths(msgspec.Struct, frozen=True):
    """The files of one session. ``state_dir`` and ``run_dir`` exist, with mode 0700, before any process starts."""

    name: str
    state_dir: str
    run_dir: str

    @property
    def head_address(self) -> str:
        """Where the head listens."""
        return f"ipc://{self.run_dir}/head"

    @property
    def agent_address(self) -> str:
        """Where this machine's agent listens."""
        return f"ipc://{self.run_dir}/agent"

    def process_address(self, process_id: bytes) -> str:
        """Where a driver or worker listens."""
        return f"ipc://{self.run_dir}/{process_id[:1].decode()}{process_id[1:].hex()}"

    def log_path(self, worker_id: bytes) -> str:
        """Where a worker's standard output and error go, line by line as they are written."""
        return f"{self.state_dir}/logs/{worker_id[:1].decode()}{worker_id[1:].hex()}.log"

    def marks_path(self, worker_id: bytes) -> str:
        """Where a worker marks which calls it has started; read by the agent after its death."""
        return f"{self.run_dir}/{worker_id[:1].decode()}{worker_id[1:].hex()}.marks"


class AgentConfig(msgspec.Struct, frozen=True):
    """What a driver tells the agent that it starts, over its standard input.

    ``total`` is what this node offers, in units. ``sys_path`` and ``cwd`` make workers import what the driver can.
    ``namespace`` is where drivers and workers name actors by default.
    """

    paths: SessionPaths
    node_id: bytes
    total: Units
    driver_pid: int = 0
    sys_path: tuple[str, ...] = ()
    cwd: str = ""
    worker_limit: int = 4096
    namespace: str = ""


class WorkerConfig(msgspec.Struct, frozen=True):
    """What a worker inherits from its zygote through the fork."""

    paths: SessionPaths
    node_id: bytes
    sys_path: tuple[str, ...] = ()
    cwd: str = ""
    namespace: str = ""
