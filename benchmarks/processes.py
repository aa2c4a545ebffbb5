"""All processes of one measured system, wherever they hang in the process tree.

Some peers put themselves into the background, where the tree of the driver does not show them; others overwrite their
environment when they set a title. So a process counts if it descends from the driver *or* carries the mark that the
runner put into the driver's environment.
"""

from __future__ import annotations

import contextlib
import os
import sys

import psutil

MARK = "IPYACTORS_BENCHMARK_MARK"


def find_marked(mark: str) -> list[psutil.Process]:
    """Return every process that was started with ``mark`` in its environment, the caller excepted."""
    return [process for process in psutil.process_iter() if process.pid != os.getpid() and _mark_of(process) == mark]


def find_others() -> list[psutil.Process]:
    """Return all processes of the system that the calling driver has started, without the driver itself."""
    found = {process.pid: process for process in psutil.Process().children(recursive=True)}
    if mark := os.environ.get(MARK):
        found |= {process.pid: process for process in find_marked(mark)}
    return list(found.values())


def pss_mb(processes: list[psutil.Process]) -> float | None:
    """Return the proportional set size of all ``processes``, in MB of 10**6 bytes; None where there is no such figure.

    A page that two processes share counts half for each, so the sum is what the system as a whole takes.
    """
    if sys.platform != "linux":
        return None
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            total += process.memory_full_info().pss
    return total / 1e6


def end_marked(mark: str) -> None:
    """Kill what a measured system left behind: the processes with ``mark``, which the runner made up for it."""
    for process in find_marked(mark):
        with contextlib.suppress(psutil.Error):
            process.kill()


def _mark_of(process: psutil.Process) -> str | None:
    try:
        mark: str | None = process.environ().get(MARK)
    except (psutil.Error, OSError, ValueError):
        return None
    return mark
