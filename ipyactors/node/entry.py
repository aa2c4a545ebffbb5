"""What every process that the agent starts has in common: how it is found, and what it keeps of its parent.

A role's function is named ``"package.module:function"`` everywhere, because the agent needs it both ways: called in
a fork at first, named in the argv of a fresh interpreter later, when the agent has threads and may fork no more.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import msgspec

from ipyactors.ground.config import SessionPaths
from ipyactors.wire import liveness

_log = logging.getLogger(__name__)


class Roles(msgspec.Struct, frozen=True):
    """Who plays which part; tests put others in.

    ``worker`` is called as ``run(config, worker_id, actor, incarnation)`` in a fresh fork of the zygote, ``head`` as
    ``run(paths, head_epoch, alive_fd)`` in a process of its own, until ``alive_fd`` is at its end.
    """

    worker: str = "ipyactors.worker.main:run"
    head: str = "ipyactors.head.server:run"


def find_role(role: str) -> Callable[..., Any]:
    """Return the function that ``"package.module:function"`` names, importing its module."""
    module, function = role.split(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found


def preload(role: str) -> Callable[..., Any]:
    """Import what the forks of this process will need, and return the function of their role."""
    # What is imported stays, so the collector need not look at it: not now, and, frozen, never in a fork either,
    # whose pages are shared for as long as nobody writes to them.
    gc.disable()
    found = find_role(role)
    # The whole roof too: then ``import ipyactors`` in a user's function costs nothing.
    roof = importlib.import_module("ipyactors")
    for name in roof.__all__:
        getattr(roof, name)
    gc.freeze()
    gc.enable()
    if os.path.isdir("/proc/self/task") and (count := len(os.listdir("/proc/self/task"))) > 1:
        _log.warning("%d threads run before workers are forked; they will be missing there", count)
    return found


def fork_role(run: Callable[[], object], log: str, keep: Sequence[int]) -> int:
    """Fork; call ``run`` in the child and end it then. Return the child's pid. Only while there is one thread.

    The child gets a session of its own, writes to the file ``log``, keeps the descriptors ``keep`` and no others,
    and dies with its parent.
    """
    parent_pid = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        liveness.die_with_parent(parent_pid)
        os.setsid()
        reset_signals()
        redirect_output(log)
        close_descriptors(keep)
        run()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(1)


def head_main() -> NoReturn:
    """Be a head that was exec'd (after the first one died). Arguments: role, epoch, alive descriptor, parent's pid."""
    role, epoch, alive_fd, parent_pid = sys.argv[2:6]
    liveness.die_with_parent(int(parent_pid))
    paths = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=SessionPaths)
    find_role(role)(paths, int(epoch), int(alive_fd))
    os._exit(0)


def reset_signals() -> None:
    """Put the handlers back that a fresh interpreter has, and no wakeup descriptor."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def redirect_output(log: str) -> None:
    """Read nothing, and write to the end of the file ``log``."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)


def close_descriptors(keep: Sequence[int]) -> None:
    """Close every descriptor but the three standard ones and ``keep``."""
    for name in os.listdir("/dev/fd"):
        if (descriptor := int(name)) > 2 and descriptor not in keep:
            with contextlib.suppress(OSError):
                os.close(descriptor)


def wakeup_descriptor(*numbers: signal.Signals) -> int:
    """Return a descriptor that becomes readable, with the signal's number in a byte, when one of them comes.

    For the main thread of a process of ours; never for a driver.
    """
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in numbers:
        signal.signal(number, _note)
    return reading


def _note(_number: int, _frame: object) -> None:
    """Do nothing: the byte in the wakeup pipe says it all."""


def drain(descriptor: int) -> bytes:
    """Return what is in a non-blocking pipe."""
    said = b""
    with contextlib.suppress(BlockingIOError):
        while chunk := os.read(descriptor, 4096):
            said += chunk
    return said
