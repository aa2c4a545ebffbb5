"""The processes of this machine, as the operating system sees them: started, reaped, ended.

Head and zygote are forked at first, while the agent has one thread and no ZeroMQ context, which saves them the start of
an interpreter. Later ones are exec'd. The agent is their parent, and the adoptive parent of every
orphan below it (``PR_SET_CHILD_SUBREAPER``), so ``wait4(-1)`` sees all of them end, and nothing can hide from
:meth:`Processes.end_all`.
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
import signal
import socket
import subprocess
import time
from typing import NamedTuple

import msgspec

from ipyactors.ground.config import AgentConfig, WorkerConfig
from ipyactors.launch.leftovers import ProcessList
from ipyactors.launch.local import spawn
from ipyactors.node.entry import Roles, find_role, fork_role
from ipyactors.node.frames import FrameSocket
from ipyactors.node.zygote import run_zygote
from ipyactors.wire import liveness
from ipyactors.wire.liveness import Identity
from ipyactors.wire.node_messages import ZygoteToAgent

_ZYGOTE_ROLE = "ipyactors.node.zygote:main"
_HEAD_ROLE = "ipyactors.node.entry:head_main"
_LOOK_AGAIN_S = 0.01


class Ending(NamedTuple):
    """A wait status and the peak of resident memory."""

    status: int
    max_rss_bytes: int


class Processes:
    """Starts and ends them; decides nothing. ``wakeup`` is readable when a child may have ended."""

    def __init__(self, config: AgentConfig, roles: Roles, wakeup: int) -> None:
        self._config = config
        self._roles = roles
        self.wakeup = wakeup
        self._list = ProcessList(config.paths)
        self._workers: dict[int, Identity] = {}
        self._execed: dict[int, subprocess.Popen[bytes]] = {}
        self._head_alive_w = -1
        self.head_pid = 0
        self.zygote_pid = 0
        self.zygote: FrameSocket | None = None
        self.note(os.getpid())

    def note(self, pid: int) -> Identity | None:
        """Put a process on the list for the sweep, if it still exists."""
        identity = liveness.identify(pid)
        if identity is not None:
            self._list.add(identity)
        return identity

    # -- start -------------------------------------------------------------------------------------------------

    def fork_zygote(self) -> None:
        """Fork the first zygote. It is not ready yet: it has its imports to do, while the agent does its own."""
        ours, theirs = socket.socketpair()
        run = functools.partial(run_zygote, theirs, self._worker_config(), self._roles.worker)
        self.zygote_pid = fork_role(run, self._log("zygote"), keep=(theirs.fileno(),))
        self._adopt_zygote(ours, theirs)

    def exec_zygote(self) -> None:
        """Start another zygote with a fresh interpreter."""
        ours, theirs = socket.socketpair()
        arguments = [str(theirs.fileno()), str(os.getpid()), self._roles.worker]
        config = msgspec.msgpack.encode(self._worker_config())
        self.zygote_pid = self._exec(_ZYGOTE_ROLE, arguments, config, theirs.fileno(), "zygote")
        self._adopt_zygote(ours, theirs)

    def fork_head(self) -> None:
        """Fork the first head."""
        alive_r, alive_w = os.pipe()
        run = functools.partial(find_role(self._roles.head), self._config.paths, 0, alive_r)
        self.head_pid = fork_role(run, self._log("head"), keep=(alive_r,))
        self._adopt_head(alive_r, alive_w)

    def exec_head(self, head_epoch: int) -> None:
        """Start another head with a fresh interpreter."""
        alive_r, alive_w = os.pipe()
        arguments = [self._roles.head, str(head_epoch), str(alive_r), str(os.getpid())]
        config = msgspec.msgpack.encode(self._config.paths)
        self.head_pid = self._exec(_HEAD_ROLE, arguments, config, alive_r, "head")
        self._adopt_head(alive_r, alive_w)

    def add_worker(self, pid: int) -> None:
        """Remember a worker that the zygote has forked."""
        identity = self.note(pid)
        if identity is not None:
            self._workers[pid] = identity

    # -- end ---------------------------------------------------------------------------------------------------

    def reap(self) -> dict[int, Ending]:
        """Return every child that has ended since the last call: head, zygote, and orphans of the latter."""
        ended: dict[int, Ending] = {}
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
                if pid == 0:
                    break
                # Kibibytes on Linux. Elsewhere nobody is adopted, so only head and zygote come through here.
                ended[pid] = Ending(status, usage.ru_maxrss * 1024)
                if pid in self._execed:
                    self._execed.pop(pid).returncode = os.waitstatus_to_exitcode(status)
        return ended

    def kill_zygote(self) -> None:
        """End a zygote that has closed its side; :meth:`reap` returns it then."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.zygote_pid, signal.SIGKILL)

    def kill_worker(self, pid: int, number: int = signal.SIGKILL, *, group: bool = True) -> None:
        """End a worker and its process group; or send it another signal."""
        identity = self._workers.get(pid)
        if identity is not None:
            liveness.kill(identity, number, group=group)

    def forget_worker(self, pid: int) -> None:
        """Drop a worker that has ended."""
        self._workers.pop(pid, None)

    def wait_orphan(self, pid: int, timeout_s: float) -> Ending:
        """Wait until a killed worker of a dead zygote has ended. Its status is known only where we adopt orphans."""
        identity = self._workers.get(pid)
        if identity is not None:
            liveness.wait_gone(identity, timeout_s)
        with contextlib.suppress(ChildProcessError):
            ended, status, usage = os.wait4(pid, os.WNOHANG)
            if ended:
                return Ending(status, usage.ru_maxrss * 1024)
        return Ending(signal.SIGKILL, 0)

    def end_all(self, timeout_s: float) -> bool:
        """End every process below this one and wait for it. Return False if some did not end in time."""
        for identity in self._workers.values():
            liveness.kill(identity, group=True)
        for pid in (self.head_pid, self.zygote_pid):
            if pid > 0:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + timeout_s
        poll = select.poll()
        poll.register(self.wakeup, select.POLLIN)
        while not self._has_no_child():
            if time.monotonic() > deadline:
                return False
            poll.poll(_LOOK_AGAIN_S * 1000)
            # Those that are left had lost their own parents; each one that ends may hand us its children in turn.
            for pid in liveness.children_of(os.getpid()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        return True

    def close(self) -> None:
        """Close what stays open until the end."""
        self._list.close()

    def _has_no_child(self) -> bool:
        """Reap what has ended; return whether nothing is left."""
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return True
        return False

    # -- details -----------------------------------------------------------------------------------------------

    def _exec(self, role: str, arguments: list[str], config: bytes, descriptor: int, name: str) -> int:
        """Start a fresh interpreter that inherits one descriptor."""
        process = spawn(
            role,
            arguments,
            config,
            session=self._config.paths.name,
            sys_path=self._config.sys_path,
            pass_fds=(descriptor,),
            log=self._log(name),
        )
        self._execed[process.pid] = process
        return process.pid

    def _adopt_zygote(self, ours: socket.socket, theirs: socket.socket) -> None:
        """Keep our end of the socketpair only."""
        theirs.close()
        if self.zygote is not None:
            self.zygote.close()
        self.zygote = FrameSocket(ours, ZygoteToAgent)
        self.note(self.zygote_pid)

    def _adopt_head(self, alive_r: int, alive_w: int) -> None:
        """Keep the write end of the alive pipe only."""
        os.close(alive_r)
        if self._head_alive_w >= 0:
            os.close(self._head_alive_w)
        self._head_alive_w = alive_w
        self.note(self.head_pid)

    def _worker_config(self) -> WorkerConfig:
        """Return what workers are told."""
        config = self._config
        return WorkerConfig(
            config.paths, config.node_id, config.sys_path, config.cwd, config.namespace, config.max_lineage_bytes
        )

    def _log(self, name: str) -> str:
        """Return where a process of ours writes."""
        return self._config.paths.role_log_path(name)
