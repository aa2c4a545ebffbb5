"""How a process learns that another one is gone, and how it is sure to end the right one.

A process is named by its pid *and* the moment it started: pids are used again, the pair is not. On Linux the moment
is field 22 of ``/proc/<pid>/stat``, in clock ticks since boot; it needs no import and does not move with the clock.

Death is noticed without polling: by end of file on an inherited pipe (every system, every way to die), by a pidfd
(Linux; for a process that is not a child), and children are tied to their parent with ``PR_SET_PDEATHSIG``.
That signal fires when the *thread* that forked ends, so only processes whose main thread forks may rely on it, and
it misses a parent that died before the call: hence the second look at the parent's pid.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Collection
from typing import NamedTuple

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_START_TIME_FIELD = 22
_LOOK_AGAIN_S = 0.005


class Identity(NamedTuple):
    """One process, for ever: its pid and when it started (an opaque number, the same at each reading)."""

    pid: int
    started: int


def _read_stat(pid: int) -> tuple[str, int] | None:
    """Return the state letter and the start time of a process on Linux, or None if there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The second field is the name in parentheses; it may hold spaces and parentheses itself.
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return fields[0].decode(), int(fields[_START_TIME_FIELD - 3])


def identify(pid: int) -> Identity | None:
    """Return who has this pid now (a zombie counts), or None."""
    if sys.platform == "linux":
        stat = _read_stat(pid)
        return None if stat is None else Identity(pid, stat[1])
    import psutil  # only where /proc is missing: it costs 20 ms to import

    with contextlib.suppress(psutil.Error):
        return Identity(pid, round(psutil.Process(pid).create_time() * 1000))
    return None


def children_of(pid: int) -> list[int]:
    """Return the pids of a process's children on Linux, zombies included; elsewhere nothing."""
    found = []
    if sys.platform == "linux":
        for name in filter(str.isdecimal, os.listdir("/proc")):
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                if int(file.read().rpartition(b")")[2].split()[1]) == pid:
                    found.append(int(name))
    return found


def find_stragglers(numbers: Collection[int]) -> list[Identity]:
    """Return the processes whose group *and* session have one of these numbers (Linux; elsewhere nothing).

    The leaders of both may be gone: their pids are not used again while the group or the session has a member.
    Zombies do not count.
    """
    found = []
    if sys.platform == "linux":
        for name in filter(str.isdecimal, os.listdir("/proc")):
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
                if int(fields[2]) in numbers and int(fields[3]) in numbers and fields[0] not in (b"Z", b"X"):
                    found.append(Identity(int(name), int(fields[_START_TIME_FIELD - 3])))
    return found


def is_running(identity: Identity) -> bool:
    """Return whether that very process still runs; a zombie does not."""
    if sys.platform == "linux":
        stat = _read_stat(identity.pid)
        return stat is not None and stat[1] == identity.started and stat[0] not in "ZX"
    return identify(identity.pid) == identity


def kill(identity: Identity, number: int = signal.SIGKILL, *, group: bool = False) -> bool:
    """Send that process a signal, with ``group`` its process group too. Return False if it is gone already."""
    if identify(identity.pid) != identity:
        return False
    try:
        if group:
            os.killpg(identity.pid, number)
        else:
            os.kill(identity.pid, number)
    except ProcessLookupError:
        return False
    return True


def continue_later(pid: int, seconds: float) -> list[str]:
    """Return the command of a helper that continues a stopped process after so many seconds."""
    return ["/bin/sh", "-c", 'sleep "$1"; kill -CONT "$2"', "sh", f"{seconds:.3f}", str(pid)]


def wait_gone(identity: Identity, timeout_s: float) -> bool:
    """Wait until that process has ended (it may remain a zombie). Return False if it has not in time."""
    deadline = time.monotonic() + timeout_s
    descriptor = open_pidfd(identity.pid)
    try:
        while is_running(identity):
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return False
            if descriptor is not None:
                wait_readable(descriptor, left_s)
            else:
                time.sleep(min(_LOOK_AGAIN_S, left_s))
    finally:
        if descriptor is not None:
            os.close(descriptor)
    return True


def wait_readable(descriptor: int, timeout_s: float) -> bool:
    """Wait until ``descriptor`` is readable or at its end. Return False if it is not in time."""
    # poll, not select: a notebook may have more than 1,024 descriptors open.
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(max(0.0, timeout_s) * 1000))


def open_pidfd(pid: int) -> int | None:
    """Return a descriptor that becomes readable when the process ends, or None where there is no such thing."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            return os.pidfd_open(pid)
    return None


def boot_id() -> str:
    """Return what tells this boot of the machine from others; start times are only comparable within one."""
    with contextlib.suppress(OSError), open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()
    return "-"


def die_with_parent(parent_pid: int) -> None:
    """Have this process killed when its parent ends (Linux; elsewhere the end of a pipe must do).

    ``parent_pid`` was read before the fork. Does not return if the parent is gone already.
    """
    if sys.platform == "linux":
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends (Linux), so that none can get away."""
    if sys.platform == "linux":
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    """Call ``prctl(2)``."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
