"""Injected faults that only the agent can do to a process: signals, whatever that process is at."""

from __future__ import annotations

import contextlib
import os
import signal

from ipyactors.node.processes import Processes
from ipyactors.wire import liveness


def signal_worker(processes: Processes, pid: int, number: int, continue_after_s: float) -> None:
    """Send a worker's process a signal, and nobody else; a helper sends SIGCONT later, should that be wanted."""
    processes.kill_worker(pid, number, group=False)
    if continue_after_s:
        os.posix_spawn("/bin/sh", liveness.continue_later(pid, continue_after_s), os.environ)


def kill_head(processes: Processes) -> None:
    """End the head with SIGKILL."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(processes.head_pid, signal.SIGKILL)
