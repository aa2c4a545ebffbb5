"""The agent's shell: reads facts off sockets, pipes and signals, hands them to the reactor, does what it says.

One thread, one poll, a handful of descriptors: the driver's alive pipe and pidfd, the zygote's socketpair, two
ZeroMQ channels, and the pipe that signals write to. The order at the start matters: zygote and head are forked
before the first ZeroMQ context exists.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import shutil
import signal
import socket
import sys
import time
import traceback
from typing import NoReturn

import msgspec
import zmq

from ipyactors.ground import ids
from ipyactors.ground.clock import Clock, SystemClock
from ipyactors.ground.config import AgentConfig, SessionPaths
from ipyactors.launch.local import READY
from ipyactors.node import reactor, resources
from ipyactors.node.children import Child
from ipyactors.node.entry import Roles, drain, preload, wakeup_descriptor
from ipyactors.node.evidence import Coroner, OomCounter
from ipyactors.node.processes import Ending, Processes
from ipyactors.wire import liveness
from ipyactors.wire.marks import read_marks
from ipyactors.wire.node_messages import (
    AttachProcess,
    ForkFailed,
    ForkWorker,
    HeadToNode,
    KillWorker,
    KillWorkerAt,
    NodeToHead,
    NodeToProcess,
    ProcessToNode,
    StartWorker,
    StopSession,
    WorkerExited,
    WorkerForked,
)
from ipyactors.wire.zmq_channel import ZmqChannel

_log = logging.getLogger(__name__)

#: How long the end may take before the rest is left to the next session's sweep.
_END_WITHIN_S = 3.0

#: What is queued when the session ends has this long to leave.
_LINGER_MS = 50

_HEAD_BINDS_WITHIN_S = 1.0
_ORPHAN_ENDS_WITHIN_S = 5.0


def main() -> None:
    """Be the agent. Arguments: alive descriptor, ready descriptor, lock descriptor. Ends the process."""
    run_agent(Roles())


def run_agent(roles: Roles) -> NoReturn:
    """Be an agent whose head and workers are ``roles``."""
    alive_fd, ready_fd, lock_fd = (int(word) for word in sys.argv[2:5])
    # For the head that is exec'd later: these are the agent's own. The lock's descriptor stays open until the end.
    for descriptor in (alive_fd, ready_fd, lock_fd):
        os.set_inheritable(descriptor, False)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s agent %(levelname)s: %(message)s")
    code = 1
    agent = None
    try:
        config = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=AgentConfig)
        sys.argv[1:] = []
        agent = Agent(config, roles, alive_fd)
        agent.start()
        os.write(ready_fd, READY)
        os.close(ready_fd)
        agent.serve()
        code = agent.exit_code
    except BaseException:
        _log.exception("the agent ends because of an error of its own; everything on this machine ends with it")
        with contextlib.suppress(OSError):
            os.write(ready_fd, traceback.format_exc().encode())
    finally:
        if agent is not None:
            agent.end()
        logging.shutdown()
        os._exit(code)


class Agent:
    """See the head of this file. The reactor's ``Out`` is this object."""

    def __init__(self, config: AgentConfig, roles: Roles, alive_fd: int, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._config = config
        self._roles = roles
        self._alive_fd = alive_fd
        self._driver_fd = liveness.open_pidfd(config.driver_pid) if config.driver_pid else None
        self._wakeup = wakeup_descriptor(signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        self._processes = Processes(config, roles, self._wakeup)
        total = resources.detect_total(config.total)
        self._state = reactor.NodeState(config.paths, config.node_id, socket.gethostname(), total, config.worker_limit)
        self._coroner = Coroner(config.paths, resources.memory_bytes(), OomCounter())
        self._to_head: list[NodeToHead] = []
        self._to_processes: dict[bytes, list[NodeToProcess]] = {}
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._is_ending = False
        self.exit_code = 0

    # -- life --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start zygote and head, open the doors, greet the head."""
        liveness.adopt_orphans()
        preload(self._roles.worker, self._roles.head)
        self._processes.fork_zygote()
        self._processes.fork_head()
        self._context = zmq.Context()
        self._bound = ZmqChannel(
            self._context, ids.AGENT_ID, ProcessToNode, bind=self._config.paths.agent_address, linger_ms=_LINGER_MS
        )
        _await_head(self._config.paths)
        self._connect_head()
        reactor.on_started(self._state, self, self._clock.monotonic())
        self._flush()
        if self._config.driver_pid and os.getppid() != self._config.driver_pid:
            reactor.on_driver_gone(self._state, self, self._clock.monotonic())

    def serve(self) -> None:
        """Turn until the session ends."""
        while True:
            self._turn()
            if self._is_ending:
                return
            # The zygote's and the head's descriptors change when they are started again, so the set is made anew.
            poll = select.poll()
            for descriptor in (self._alive_fd, self._wakeup, self._bound.fileno(), self._outbound.fileno()):
                poll.register(descriptor, select.POLLIN)
            if self._driver_fd is not None:
                poll.register(self._driver_fd, select.POLLIN)
            zygote = self._processes.zygote
            if zygote is not None and zygote.at_end:
                self._processes.kill_zygote()
            elif zygote is not None:
                poll.register(zygote, select.POLLIN | (select.POLLOUT if zygote.has_unsent() else 0))
            self._act_on(dict(poll.poll()))

    def end(self) -> None:
        """End every process, then remove the sockets and everything else in the runtime folder."""
        if not self._processes.end_all(_END_WITHIN_S):
            _log.warning("some processes did not end within %g s; the next session will sweep them", _END_WITHIN_S)
        if self._context is not None:
            self._context.destroy(linger=_LINGER_MS)
        shutil.rmtree(self._config.paths.run_dir, ignore_errors=True)
        self._processes.close()

    # -- facts -------------------------------------------------------------------------------------------------

    def _act_on(self, events: dict[int, int]) -> None:
        """Tell the reactor what the poll found; messages are read by the turn that follows."""
        now = self._clock.monotonic()
        if self._alive_fd in events or (self._driver_fd is not None and self._driver_fd in events):
            reactor.on_driver_gone(self._state, self, now)
        if self._wakeup in events:
            if signal.SIGTERM in drain(self._wakeup):
                reactor.on_terminated(self._state, self, now)
            self._act_on_endings(self._processes.reap(), now)

    def _turn(self) -> None:
        """Read and act until nothing is left; ZeroMQ's descriptors only tell of what comes after that."""
        while not self._is_ending:
            now = self._clock.monotonic()
            self._read_zygote(now)
            batches = self._bound.receive()
            for peer, messages in batches:
                for message in messages:
                    self._on_process_message(peer, message, now)
            orders = self._outbound.receive()
            for _, messages in orders:
                for message in messages:
                    self._on_head_message(message, now)
            self._flush()
            if not (batches or orders or self._bound.has_arrived() or self._outbound.has_arrived()):
                return

    def _on_process_message(self, peer: bytes, message: ProcessToNode, now: float) -> None:
        """Act on the word of a driver or worker."""
        match message:
            case AttachProcess():
                reactor.on_attach(self._state, self, peer, message, now)
            case StopSession():
                reactor.on_stop_session(self._state, self, peer, message, now)

    def _on_head_message(self, message: HeadToNode, now: float) -> None:
        """Act on the word of the head."""
        match message:
            case StartWorker():
                reactor.on_start_worker(self._state, self, message, now)
            case KillWorker():
                reactor.on_kill_worker(self._state, self, message, now)
            case KillWorkerAt():
                started = read_marks(self._config.paths.marks_path(message.worker_id))
                reactor.on_kill_worker_at(self._state, self, message, started, now)

    def _read_zygote(self, now: float) -> None:
        """Act on what the zygote reports."""
        zygote = self._processes.zygote
        if zygote is None or zygote.at_end:
            return
        zygote.flush()
        for message in zygote.receive():
            match message:
                case WorkerForked():
                    self._processes.add_worker(message.pid)
                    reactor.on_worker_forked(self._state, self, message, now)
                case ForkFailed():
                    reactor.on_fork_failed(self._state, self, message, now)
                case WorkerExited():
                    child = self._state.children.get(message.worker_id)
                    if child is not None:
                        self._bury(child, Ending(message.status, message.max_rss_bytes), now)

    def _act_on_endings(self, ended: dict[int, Ending], now: float) -> None:
        """Act on the ends of head and zygote; those of other children need nothing but the reaping."""
        if self._processes.zygote_pid in ended:
            self._read_zygote(now)
            reactor.on_zygote_lost(self._state, self, now)
            for child in [child for child in self._state.children.values() if child.orphaned]:
                ending = ended.get(child.pid) or self._processes.wait_orphan(child.pid, _ORPHAN_ENDS_WITHIN_S)
                self._bury(child, ending, now)
        if self._processes.head_pid in ended:
            _log.warning("the head ended: %s", ended[self._processes.head_pid])
            reactor.on_head_lost(self._state, self, now)

    def _bury(self, child: Child, ending: Ending, now: float) -> None:
        """Have a death reported."""
        evidence = self._coroner.examine(child, ending.status, ending.max_rss_bytes, self._clock.wall())
        self._processes.forget_worker(child.pid)
        reactor.on_worker_exited(self._state, self, child.worker_id, evidence, now)

    # -- deeds: the reactor's Out --------------------------------------------------------------------------------

    def tell_head(self, message: NodeToHead) -> None:
        """Queue for the head."""
        self._to_head.append(message)

    def tell_process(self, process_id: bytes, message: NodeToProcess) -> None:
        """Queue for a driver or worker."""
        self._to_processes.setdefault(process_id, []).append(message)

    def fork(self, order: ForkWorker) -> None:
        """Pass an order to the zygote."""
        assert self._processes.zygote is not None
        self._processes.zygote.send(order)

    def kill(self, child: Child) -> None:
        """End a worker."""
        self._processes.kill_worker(child.pid)

    def start_zygote(self) -> None:
        """Start another zygote."""
        _log.warning("the zygote died; starting another")
        self._processes.exec_zygote()

    def start_head(self, head_epoch: int) -> None:
        """Start another head; what was queued for the old one is dropped with the socket."""
        self._to_head.clear()
        self._processes.exec_head(head_epoch)
        self._outbound.close()
        self._connect_head()

    def stop(self, detail: str, *, failed: bool) -> None:
        """Leave the loop after this turn."""
        _log.log(logging.ERROR if failed else logging.INFO, "the session ends: %s", detail)
        self._is_ending = True
        self.exit_code = int(failed)
        self._flush()

    # -- details -----------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Send what is queued."""
        if self._to_head:
            messages, self._to_head = self._to_head, []
            if not self._outbound.send(ids.HEAD_ID, messages):
                _log.warning("%d messages to the head were lost", len(messages))
        waiting, self._to_processes = self._to_processes, {}
        for process_id, words in waiting.items():
            self._bound.send(process_id, words)

    def _connect_head(self) -> None:
        """Open a fresh socket to the head.

        A ROUTER that reconnects by itself drops, at some moment of its I/O thread's, what was queued meanwhile; a
        greeting could be lost that way.
        """
        assert self._context is not None
        self._outbound = ZmqChannel(self._context, self._config.node_id, HeadToNode)
        self._outbound.connect(ids.HEAD_ID, self._config.paths.head_address)


def _await_head(paths: SessionPaths) -> None:
    """Give the forked head a moment to bind: connecting too early costs ZeroMQ's reconnect interval (20 ms)."""
    socket_path = paths.head_address.removeprefix("ipc://")
    deadline = time.monotonic() + _HEAD_BINDS_WITHIN_S
    while not os.path.exists(socket_path) and time.monotonic() < deadline:
        time.sleep(0.0005)
