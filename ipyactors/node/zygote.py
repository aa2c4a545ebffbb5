"""The process that forks workers: everything is imported, nothing runs.

It has one thread and no ZeroMQ context, because neither survives a fork. It is told what to fork over a socketpair
(``frames.py``) and reports there who started and who ended. As the parent it gets each child's wait status and peak
memory; a wakeup descriptor turns SIGCHLD into something to poll, on every system. No child of anyone else's is
waited for: this process starts nothing but workers.

When the agent is gone, the socketpair is at its end and the zygote goes; its workers go with it.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

import msgspec

from ipyactors.ground.config import WorkerConfig
from ipyactors.launch.argv import worker_environment
from ipyactors.node.entry import (
    close_descriptors,
    drain,
    preload,
    redirect_output,
    reset_signals,
    wakeup_descriptor,
)
from ipyactors.node.frames import FrameSocket
from ipyactors.wire import liveness
from ipyactors.wire.node_messages import AgentToZygote, ForkFailed, ForkWorker, WorkerExited, WorkerForked, ZygoteReady
from ipyactors.wire.specs import ActorSpec

#: What becomes of a forked child: ``run(config, worker_id, actor, incarnation)``.
WorkerEntry = Callable[[WorkerConfig, bytes, ActorSpec | None, int], object]

#: Added to the kernel's badness of workers, so that a worker dies of low memory and not the control plane.
_OOM_SCORE = "500"


def main() -> None:
    """Be a zygote that was exec'd (after the first one died). Arguments: descriptor, parent's pid, worker's role."""
    descriptor, parent_pid, role = sys.argv[2:5]
    liveness.die_with_parent(int(parent_pid))
    config = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=WorkerConfig)
    run_zygote(socket.socket(fileno=int(descriptor)), config, role)


def run_zygote(stream: socket.socket, config: WorkerConfig, role: str) -> NoReturn:
    """Import what workers need, then fork workers, who play ``role``, until the agent is gone. Ends the process."""
    sys.argv[1:] = []
    # Here and not in each worker: libraries read these when they are loaded, and a preloaded one loads here.
    os.environ.update(worker_environment(os.environ))
    Zygote(stream, config, preload(role)).serve()
    os._exit(0)


class Zygote:
    """The loop. See the head of this file."""

    def __init__(self, stream: socket.socket, config: WorkerConfig, entry: WorkerEntry) -> None:
        self._frames = FrameSocket(stream, AgentToZygote)
        self._config = config
        self._entry = entry
        self._pid = os.getpid()
        self._wakeup = wakeup_descriptor(signal.SIGCHLD)
        self._children: dict[int, bytes] = {}

    def serve(self) -> None:
        """Return when the agent is gone and every child was told to go."""
        # A signal for the terminal's process group is the driver's business.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._frames.send(ZygoteReady())
        poll = select.poll()
        poll.register(self._wakeup, select.POLLIN)
        while not self._frames.at_end:
            poll.register(self._frames, select.POLLIN | (select.POLLOUT if self._frames.has_unsent() else 0))
            poll.poll()
            self._frames.flush()
            if drain(self._wakeup):
                self._reap()
            for order in self._frames.receive():
                self._fork(order)
        for pid in self._children:
            _end_group(pid)

    def _fork(self, order: ForkWorker) -> None:
        """Make one worker. In the child this does not return."""
        if order.actor is not None and order.actor.durability is not None:
            # Here and not in each: once, when the first one is made; those that come back have it.
            importlib.import_module("ipyactors.worker.durable")
        try:
            pid = os.fork()
        except OSError as error:
            self._frames.send(ForkFailed(order.worker_id, f"fork failed: {error}"))
            return
        if pid == 0:
            self._become(order)
        # Both sides do it: whoever is first, the group exists before anybody could want to end it.
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)
        self._children[pid] = order.worker_id
        self._frames.send(WorkerForked(order.worker_id, pid))

    def _become(self, order: ForkWorker) -> NoReturn:
        """Turn this fresh child into the worker."""
        code = 1
        try:
            with contextlib.suppress(OSError):
                os.setpgid(0, 0)
            liveness.die_with_parent(self._pid)
            _forget_the_zygote(self._config.paths.log_path(order.worker_id))
            if order.faults:
                chaos = importlib.import_module("ipyactors.worker.chaos")
                chaos.prepare(self._config.paths.faults_path(order.worker_id))
                chaos.of_process().add(order.faults)
            self._entry(self._config, order.worker_id, order.actor, order.incarnation)
            code = 0
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(BaseException):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code & 0xFF)

    def _reap(self) -> None:
        """Report every child that has ended."""
        for pid in list(self._children):
            if not _has_ended(pid):
                continue
            done, status, usage = os.wait4(pid, os.WNOHANG)
            if done:
                unit = 1 if sys.platform == "darwin" else 1024
                self._frames.send(WorkerExited(self._children.pop(pid), pid, status, usage.ru_maxrss * unit))


def _has_ended(pid: int) -> bool:
    """Return whether a child may be waited for; its group is ended then.

    Where that cannot be seen without waiting (macOS before Python 3.13), the group is left alone.
    """
    if not hasattr(os, "waitid"):
        return True
    if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        return False
    # The zombie still holds its pid, so the group's number cannot be anybody else's yet.
    _end_group(pid)
    return True


def _end_group(pid: int) -> None:
    """Kill what is left of a child's process group: the programs that it had started."""
    with contextlib.suppress(OSError):
        os.killpg(pid, signal.SIGKILL)


def _forget_the_zygote(log: str) -> None:
    """Drop what the fork brought along and a worker must not have: descriptors, signal handlers, random state."""
    reset_signals()
    redirect_output(log)
    close_descriptors(keep=())
    # CPython reseeds its own generator in a child; numpy's would repeat in every worker.
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed()
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write(_OOM_SCORE)
