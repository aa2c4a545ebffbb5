"""Which machine and which versions a run was made with. Figures without these mean nothing."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import pathlib
import platform
import subprocess
from typing import Any

import psutil

from ipyactors.ground.version import __version__

_LIBRARIES = ("cloudpickle", "msgspec", "numpy", "pyzmq")


def describe_machine() -> dict[str, Any]:
    """Return the processor, its cores, the memory and the operating system."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "system": platform.system(),
        "kernel": platform.release(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def find_version(distribution: str) -> str | None:
    """Return the installed version, or None if there is none."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(distribution)
    return None


def describe_versions(root: pathlib.Path, distributions: list[str]) -> dict[str, str | None]:
    """Return the versions of Python, of ours (with the commit, if ``root`` is a checkout) and of all measured."""
    versions: dict[str, str | None] = {"python": platform.python_version(), "ipyactors": __version__}
    versions["ipyactors commit"] = _commit(root)
    return versions | {name: find_version(name) for name in sorted({*distributions, *_LIBRARIES})}


def _cpu_model() -> str:
    with contextlib.suppress(OSError):
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit(root: pathlib.Path) -> str | None:
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() or None
    return None
