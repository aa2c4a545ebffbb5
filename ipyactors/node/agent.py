"""The agent's shell: reads facts off sockets, pipes and signals, hands them to the reactor, does what it says.

One thread, one poll, a handful of descriptors: the driver's alive pipe and other lifelines, the zygote's socketpair,
two or three ZeroMQ channels, and the pipe that signals write to. The order at the start matters: the head is forked
before the first ZeroMQ context exists, and the zygote before this file is imported (``main.py``).
"""

from __future__ import annotations

import functools
import logging
import os
import select
import shutil
import signal
import socket
import time

from ipyactors.ground.clock import Clock, SystemClock
from ipyactors.ground.config import AgentConfig, SessionPaths
from ipyactors.ground.exceptions import StartError
from ipyactors.launch.local import READY, last_words
from ipyactors.node import faults, membership, reactor, resources
from ipyactors.node.children import Child
from ipyactors.node.entry import drain
from ipyactors.node.evidence import Coroner, OomCounter
from ipyactors.node.frames import FrameSocket
from ipyactors.node.joining import FirstMachine
from ipyactors.node.lifelines import Lifelines, ReadyPipe
from ipyactors.node.mail import Mail
from ipyactors.node.processes import Ending, Processes
from ipyactors.node.store_keeper import StoreKeeper
from ipyactors.node.sweeping import Sweeper
from ipyactors.wire.codec import Message
from ipyactors.wire.marks import read_marks
from ipyactors.wire.node_messages import (
    DetachProcess,
    DieNow,
    ForkFailed,
    ForkWorker,
    HoldsDetached,
    KillWorker,
    KillWorkerAt,
    LeaveSession,
    NodeRegistered,
    NodeToHead,
    NodeToProcess,
    SignalWorker,
    StartWorker,
    WorkerExited,
    WorkerForked,
)
from ipyactors.wire.store_messages import ProcessToStore, StoreToStore

_log = logging.getLogger(__name__)

#: How long the end may take before the rest is left to the next session's sweep.
_END_WITHIN_S = 3.0

#: How often an agent reads its doors at most before it looks at everything else.
_ROUNDS_PER_TURN = 8

_HEAD_BINDS_WITHIN_S = 1.0
_ORPHAN_ENDS_WITHIN_S = 5.0


class Agent:
    """See the head of this file. The reactor's ``Out`` is this object."""

    def __init__(self, config: AgentConfig, processes: Processes, alive_fd: int, ready: ReadyPipe) -> None:
        self._clock: Clock = SystemClock()
        self._config = config
        self._lifelines = Lifelines(config, alive_fd)
        self._first_machine: FirstMachine | None = None
        self._sweeper = Sweeper(config.paths)
        self.kill_head = functools.partial(faults.kill_head, processes)
        self.watch, self.unwatch = self._lifelines.watch, self._lifelines.unwatch
        self._ready = ready
        self.say_ready = functools.partial(ready.say, READY)
        self.clear_up = self._sweeper.clear_up
        self._processes = processes
        self._wakeup = processes.wakeup
        total = resources.detect_total(config.total)
        self._state = reactor.NodeState(
            config.paths, config.node_id, socket.gethostname(), total, config.worker_limit,
            pid=os.getpid(), joins=config.joins, store_limit_bytes=config.store_limit_bytes,
            outlives_driver=config.outlives_driver,
        )  # fmt: skip
        self._coroner = Coroner(config.paths, resources.memory_bytes(), OomCounter())
        self._mail: Mail | None = None
        self._store: StoreKeeper | None = None
        self._is_ending = False
        self.exit_code = 0

    # -- life --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the head if this is the first machine; open the doors, and make this machine known."""
        if not self._config.joins:
            self._processes.fork_head()
            self._lifelines.open_for_visitors(self._config.paths.alive_path)
        self._mail = mail = Mail(self._config)
        self._store = StoreKeeper(self._config, mail, self._clock)
        self._state.store_limit_bytes = self._store.table.limit_bytes
        _await_zygote(self._processes.zygote, self._config.paths)
        _await_head(self._config.paths)
        mail.connect_head()
        if self._config.joins:
            self._first_machine = FirstMachine(mail.context, self._config)
        membership.on_started(self._state, self, self._clock.monotonic())
        mail.flush()
        if self._config.driver_pid and os.getppid() != self._config.driver_pid:
            reactor.on_driver_gone(self._state, self, self._clock.monotonic())

    def serve(self) -> None:
        """Turn until the session ends."""
        assert self._mail is not None
        assert self._store is not None
        while True:
            is_more_left = self._turn(self._mail, self._store)
            if self._is_ending:
                return
            # The zygote's and the head's descriptors change when they are started again, so the set is made anew.
            poll = select.poll()
            for descriptor in (self._wakeup, *self._lifelines.descriptors):
                poll.register(descriptor, select.POLLIN)
            for descriptor in (*self._mail.descriptors, *self._store.descriptors):
                poll.register(descriptor, select.POLLIN)
            if self._first_machine is not None:
                poll.register(self._first_machine, select.POLLIN)
            zygote = self._processes.zygote
            if zygote is not None and zygote.at_end:
                self._processes.kill_zygote()
            elif zygote is not None:
                poll.register(zygote, select.POLLIN | (select.POLLOUT if zygote.has_unsent() else 0))
            pauses = [self._lifelines.look_again_s, self._store.pause_s(self._clock.monotonic())]
            if is_more_left:
                pauses.append(0.0)
            pause_s = min((pause_s for pause_s in pauses if pause_s is not None), default=None)
            self._act_on(dict(poll.poll(None if pause_s is None else pause_s * 1000)))

    def end(self) -> None:
        """End every process, then remove the sockets and the store, with everything else in their folders."""
        if not self._processes.end_all(_END_WITHIN_S):
            _log.warning("some processes did not end within %g s; the next session will sweep them", _END_WITHIN_S)
        if self._store is not None:
            self._store.close()
        if self._mail is not None:
            self._mail.close()
        paths = self._config.paths
        for folder in (paths.run_dir, paths.store_dir, paths.spill_dir):
            shutil.rmtree(folder, ignore_errors=True)
        self._sweeper.close()
        self._processes.close()

    # -- facts -------------------------------------------------------------------------------------------------

    def _act_on(self, events: dict[int, int]) -> None:
        """Tell the reactor what the poll found; messages are read by the turn that follows."""
        now = self._clock.monotonic()
        if not events or any(descriptor in events for descriptor in self._lifelines.descriptors):
            ends = self._lifelines.look()
            for process_id in ends.others:
                membership.on_watched_gone(self._state, self, process_id)
                if self._store is not None:
                    self._store.on_process_gone(process_id, now)
            if ends.is_told_to_stop:
                reactor.on_told_to_stop(self._state, self, now)
            if ends.is_driver_gone:
                reactor.on_driver_gone(self._state, self, now)
            if ends.is_session_over:
                membership.on_session_over(self._state, self)
        if self._wakeup in events:
            if signal.SIGTERM in drain(self._wakeup):
                reactor.on_terminated(self._state, self, now)
            self._act_on_endings(self._processes.reap(), now)

    def _turn(self, mail: Mail, store: StoreKeeper) -> bool:
        """Read and act until nothing is left; ZeroMQ's descriptors only tell of what comes after that.

        Return whether something is: a stream of messages must not keep the agent from noticing a death.
        """
        for _ in range(_ROUNDS_PER_TURN):
            if self._is_ending:
                return False
            now = self._clock.monotonic()
            self._read_zygote(now)
            batches, orders = mail.receive()
            for peer, messages in batches:
                for message in messages:
                    if isinstance(message, ProcessToStore | StoreToStore):
                        store.on_message(peer, message, now)
                        continue
                    membership.on_process_message(self._state, self, peer, message, now)
                    if isinstance(message, DetachProcess):
                        store.on_process_gone(peer, now)
            news = self._first_machine.receive() if self._first_machine is not None else []
            for word in news:
                membership.on_first_machine_message(self._state, self, word, now)
            for _, messages in orders:
                for message in messages:
                    self._on_head_message(message, store, now)
            is_store_busy = store.take_turn(now)
            mail.flush()
            if not (batches or news or orders or is_store_busy or mail.has_arrived()):
                return False
        return True

    def _on_head_message(self, message: Message, store: StoreKeeper, now: float) -> None:
        """Act on the word of the head."""
        match message:
            case StartWorker():
                reactor.on_start_worker(self._state, self, message, now)
            case KillWorker():
                reactor.on_kill_worker(self._state, self, message, now)
            case KillWorkerAt():
                started = read_marks(self._config.paths.marks_path(message.worker_id))
                reactor.on_kill_worker_at(self._state, self, message, started, now)
            case SignalWorker():
                reactor.on_signal_worker(self._state, self, message, now)
            case DieNow():
                os.kill(os.getpid(), signal.SIGKILL)
            case HoldsDetached():
                reactor.on_holds_detached(self._state, self, message, now)
            case NodeRegistered():
                membership.on_registered(self._state, self)
            case LeaveSession():
                membership.on_leave(self._state, self, [one.segment_id for one in store.table.segments()])
            case _:
                store.on_head_message(message, now)

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
        if self._store is not None:
            self._store.on_process_gone(child.worker_id, now)

    # -- deeds: the reactor's Out --------------------------------------------------------------------------------

    def tell_head(self, message: NodeToHead) -> None:
        """Queue for the head."""
        if self._mail is not None:
            self._mail.tell_head(message)

    def tell_process(self, process_id: bytes, message: NodeToProcess) -> None:
        """Queue for a driver or worker."""
        if self._mail is not None:
            self._mail.tell_process(process_id, message)

    def fork(self, order: ForkWorker) -> None:
        """Pass an order to the zygote."""
        assert self._processes.zygote is not None
        self._processes.zygote.send(order)

    def kill(self, child: Child) -> None:
        """End a worker."""
        self._processes.kill_worker(child.pid)

    def signal(self, child: Child, number: int, *, continue_after_s: float = 0.0) -> None:
        """Send a worker a signal."""
        faults.signal_worker(self._processes, child.pid, number, continue_after_s)

    def start_zygote(self) -> None:
        """Start another zygote."""
        _log.warning("the zygote died; starting another")
        self._processes.exec_zygote()

    def start_head(self, head_epoch: int) -> None:
        """Start another head; what was queued for the old one is dropped with the socket."""
        self._processes.exec_head(head_epoch)
        if self._mail is not None:
            self._mail.connect_head()

    def move_away(self, segment_ids: tuple[bytes, ...]) -> None:
        """Have the first machine fetch what is here."""
        if self._first_machine is not None:
            self._first_machine.move_away(segment_ids)

    def stop(self, detail: str, *, failed: bool) -> None:
        """Leave the loop after this turn."""
        _log.log(logging.ERROR if failed else logging.INFO, "the session ends: %s", detail)
        self._is_ending = True
        self.exit_code = int(failed)
        self._ready.say(f"It says: {detail}.".encode())  # unless it was ready
        if self._mail is not None:
            self._mail.flush()


def _await_zygote(zygote: FrameSocket | None, paths: SessionPaths) -> None:
    """Wait until the first zygote has its imports done. Raises StartError with its last words if it never will."""
    assert zygote is not None
    if not zygote.wait():
        words = last_words(paths.role_log_path("zygote"))
        raise StartError(f"the process that forks workers ended before it could fork any. {words}")


def _await_head(paths: SessionPaths) -> None:
    """Give the forked head a moment to bind: connecting too early costs ZeroMQ's reconnect interval (20 ms)."""
    socket_path = paths.head_address.removeprefix("ipc://")
    deadline = time.monotonic() + _HEAD_BINDS_WITHIN_S
    while not os.path.exists(socket_path) and time.monotonic() < deadline:
        time.sleep(0.0005)
