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

from ipyactors.ground.exceptions import OptionError
from ipyactors.ground.quantities import Units

#: How much one process keeps to make lost objects again, if nothing else is said.
MAX_LINEAGE_BYTES = 1 << 30

SOCKET_PATH_BYTES = 103 if sys.platform == "darwin" else 107


def home() -> pathlib.Path:
    """Return the folder of all sessions: ``$IPYACTORS_HOME``, else ``$XDG_STATE_HOME/ipyactors``."""
    if given := os.environ.get("IPYACTORS_HOME"):
        return pathlib.Path(given)
    state = os.environ.get("XDG_STATE_HOME") or pathlib.Path.home() / ".local" / "state"
    return pathlib.Path(state) / "ipyactors"


def lineage_limit_bytes(given_bytes: int | None) -> int:
    """Return what is given, else ``$IPYACTORS_MAX_LINEAGE_BYTES``, else 1 GiB. Raises OptionError."""
    if given_bytes is not None:
        return given_bytes
    name = "IPYACTORS_MAX_LINEAGE_BYTES"
    given = os.environ.get(name, "")
    if given and not given.isdecimal():
        raise OptionError(
            f"{name}={given!r}: takes a number of bytes >= 0, such as 1000000000. Nothing was started.", option=name
        )
    return int(given) if given else MAX_LINEAGE_BYTES


class SessionPaths(msgspec.Struct, frozen=True):
    """The files of one session on one machine. All folders exist, with mode 0700, before any process starts.

    ``store_dir`` is on a file system in memory where there is one. ``head_dir`` is the runtime folder in which the head
    listens, if that is another machine's. ``label`` tells a further machine's files from the first one's, whose own is
    empty.
    """

    name: str
    state_dir: str
    run_dir: str
    store_dir: str = ""
    head_dir: str = ""
    label: str = ""

    @property
    def node_dir(self) -> str:
        """What this machine alone keeps on disk: the first one in the session's folder, others in folders below it."""
        return f"{self.state_dir}/nodes/{self.label}" if self.label else self.state_dir

    @property
    def head_address(self) -> str:
        """Where the head listens: in the runtime folder of the session's first machine."""
        return f"ipc://{self.head_dir or self.run_dir}/head"

    @property
    def first_agent_address(self) -> str:
        """Where the agent of the session's first machine listens."""
        return f"ipc://{self.head_dir or self.run_dir}/agent"

    @property
    def spill_dir(self) -> str:
        """Where values go that shared memory has no room for."""
        return f"{self.node_dir}/spill"

    @property
    def agent_address(self) -> str:
        """Where this machine's agent listens."""
        return f"ipc://{self.run_dir}/agent"

    @property
    def alive_path(self) -> str:
        """Where the first machine's agent has the only read end of a named pipe, for drivers that come to a session."""
        return f"{self.run_dir}/alive"

    def process_address(self, process_id: bytes) -> str:
        """Where a driver or worker listens."""
        return f"ipc://{self.run_dir}/{process_id[:1].decode()}{process_id[1:].hex()}"

    def role_log_path(self, role: str) -> str:
        """Where this machine's agent, head or zygote writes."""
        return f"{self.state_dir}/logs/{role}-{self.label}.log" if self.label else f"{self.state_dir}/logs/{role}.log"

    def log_path(self, worker_id: bytes) -> str:
        """Where a worker's standard output and error go, line by line as they are written."""
        return f"{self.state_dir}/logs/{worker_id[:1].decode()}{worker_id[1:].hex()}.log"

    @property
    def actors_dir(self) -> str:
        """Where the logs of durable actors are, each in a folder of its own."""
        return f"{self.state_dir}/actors"

    def actor_dir(self, actor_id: bytes) -> str:
        """Where a durable actor's log is: the same for every process of the session."""
        return f"{self.actors_dir}/{actor_id.hex()}"

    def marks_path(self, worker_id: bytes) -> str:
        """Where a worker marks which calls it has started; read by the agent after its death."""
        return f"{self.run_dir}/{worker_id[:1].decode()}{worker_id[1:].hex()}.marks"

    def faults_path(self, worker_id: bytes) -> str:
        """Where a worker notes what it does of the faults that were ordered; read by the agent after its death."""
        return f"{self.run_dir}/{worker_id[:1].decode()}{worker_id[1:].hex()}.faults"


class AgentConfig(msgspec.Struct, frozen=True):
    """What a driver tells the agent that it starts, over its standard input.

    ``total`` is what this node offers, in units. ``sys_path`` and ``cwd`` make workers import what the driver can.
    ``namespace`` is where drivers and workers name actors by default. ``store_limit_bytes`` is how much shared memory
    values may take; 0 has the agent choose. With ``joins`` the machine joins a session whose head is another's; the
    agent ends with that of the first machine, the process that ``first_agent`` names: its pid, and when it started.
    ``max_lineage_bytes`` is for each process: see :mod:`ipyactors.owner.lineage`. With ``outlives_driver`` the session
    goes on without its driver while it holds detached actors.
    """

    paths: SessionPaths
    node_id: bytes
    total: Units
    driver_pid: int = 0
    sys_path: tuple[str, ...] = ()
    cwd: str = ""
    worker_limit: int = 4096
    namespace: str = ""
    store_limit_bytes: int = 0
    joins: bool = False
    max_lineage_bytes: int = MAX_LINEAGE_BYTES
    first_agent: tuple[int, int] = (0, 0)
    outlives_driver: bool = False


class WorkerConfig(msgspec.Struct, frozen=True):
    """What a worker inherits from its zygote through the fork."""

    paths: SessionPaths
    node_id: bytes
    sys_path: tuple[str, ...] = ()
    cwd: str = ""
    namespace: str = ""
    max_lineage_bytes: int = MAX_LINEAGE_BYTES
