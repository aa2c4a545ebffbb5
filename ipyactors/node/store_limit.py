"""How much shared memory values may take on this machine."""

from __future__ import annotations

import os
from typing import NamedTuple

from ipyactors.node.store_room import in_mb

#: Without a wish, values may take this share of the memory that all processes here have together ...
MEMORY_SHARE = 0.3
#: ... and in any case no more than this share of what the store's file system has free at the start.
FREE_SHARE = 0.8


class Limit(NamedTuple):
    """The limit in bytes, and a warning if it is less than what could be expected."""

    limit_bytes: int
    warning: str


def plan_limit(given_bytes: int, memory_bytes: int, free_bytes: int, folder: str) -> Limit:
    """Return the limit: what is given, or a share of memory (for 0), as far as ``folder`` has room for it.

    The warning is for a wish that cannot be met, and for a small ``/dev/shm`` (a container has 64 MB by default).
    """
    wanted = given_bytes or int(memory_bytes * MEMORY_SHARE)
    limit = min(wanted, int(free_bytes * FREE_SHARE))
    if limit == wanted or (not given_bytes and 2 * limit >= wanted):
        return Limit(limit, "")
    asked = f"instead of the {in_mb(given_bytes)} asked for" if given_bytes else f"instead of {in_mb(wanted)}"
    warning = (
        f"values may take {in_mb(limit)} of shared memory on this machine, {asked}: the file system of {folder} has "
        f"{in_mb(free_bytes)} free. What does not fit goes to disk, which is slower. In a container, give it more with "
        "--shm-size"
    )
    return Limit(limit, warning)


def free_bytes(folder: str) -> int:
    """Return how much the file system of a folder has left for this user; 0 if it cannot be asked."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return 0
    return found.f_bavail * found.f_frsize
