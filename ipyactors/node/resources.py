"""What this machine offers: processors, memory and GPUs that this process may really use.

A container's share counts, not the machine's size: the affinity mask, the cgroup's quota and its memory limit, in
version 2 (``cpu.max``, ``memory.max``) and version 1 (``cpu.cfs_quota_us``, ``memory.limit_in_bytes``).
"""

from __future__ import annotations

import os
import pathlib
import re
import sys
from collections.abc import Iterator, Mapping

from ipyactors.ground.quantities import UNITS_PER_ONE, Units

#: Where cgroups are mounted.
CGROUP_ROOT = pathlib.Path("/sys/fs/cgroup")


def detect_total(given: Mapping[str, int], environment: Mapping[str, str] = os.environ) -> Units:
    """Return what the node offers, in units: what is detected, overruled by ``given`` (0 there means none)."""
    total: Units = {
        "CPU": count_cpus() * UNITS_PER_ONE,
        "GPU": count_gpus(environment) * UNITS_PER_ONE,
        "memory": memory_bytes() * UNITS_PER_ONE,
    }
    total.update(given)
    return {name: units for name, units in total.items() if units > 0}


def count_cpus(root: pathlib.Path = CGROUP_ROOT) -> int:
    """Return how many processors can be busy at once: at least 1; a quota of 1.5 counts as 1."""
    count = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    quotas = [_cpu_quota(group) for group in cgroups("cpu", root)]
    return max(1, int(min([count, *(quota for quota in quotas if quota is not None)])))


def memory_bytes(root: pathlib.Path = CGROUP_ROOT) -> int:
    """Return the memory that all processes here may use together: the machine's, or the cgroup's limit if lower."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for group in cgroups("memory", root):
        for name in ("memory.max", "memory.limit_in_bytes"):
            if (words := read_words(group / name)) and words[0].isdecimal():
                total = min(total, int(words[0]))
    return total


def count_gpus(environment: Mapping[str, str], devices: pathlib.Path = pathlib.Path("/dev")) -> int:
    """Return how many NVIDIA GPUs are visible: those that ``CUDA_VISIBLE_DEVICES`` lists, else all."""
    listed = environment.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        return sum(re.fullmatch(r"nvidia\d+", path.name) is not None for path in devices.glob("nvidia*"))
    count = 0
    for name in listed.split(","):
        # CUDA itself stops at the first entry that names no device.
        if name.strip() in ("", "-1", "NoDevFiles", "none", "void"):
            break
        count += 1
    return count


def cgroups(controller: str, root: pathlib.Path = CGROUP_ROOT) -> Iterator[pathlib.Path]:
    """Yield the folders whose limits hold for this process: its own cgroup's and those above it, if they are visible.

    Inside a container the path in ``/proc/self/cgroup`` is often the host's and not there; the mount's root is then
    the container's own group.
    """
    for line in _read_text(pathlib.Path("/proc/self/cgroup")).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base = root
        elif controller in controllers.split(","):
            base = root / controller
        else:
            continue
        group = base / path.strip("/")
        yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(base) and folder.is_dir())


def read_words(path: pathlib.Path) -> list[str]:
    """Return the words of a small file; none if it cannot be read."""
    return _read_text(path).split()


def _read_text(path: pathlib.Path) -> str:
    """Return the text of a small file; empty if it cannot be read."""
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def _cpu_quota(group: pathlib.Path) -> float | None:
    """Return how many processors a cgroup may use, or None without a limit."""
    words = read_words(group / "cpu.max") or [
        *read_words(group / "cpu.cfs_quota_us"),
        *read_words(group / "cpu.cfs_period_us"),
    ]
    if len(words) != 2 or not words[0].isdecimal() or not words[1].isdecimal() or int(words[1]) == 0:
        return None
    return int(words[0]) / int(words[1])
