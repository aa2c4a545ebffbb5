"""The owner's shell: two channels, a lock, a clock, and turns.

User code submits from any thread without taking the lock: a call is appended to a queue, and whichever thread
takes the next turn hands it to the reactor. A turn reads what has arrived, takes what was submitted, lets the
reactor settle, and sends one batch to each peer. Only the leader (see :mod:`ipyactors.wire.leader`) sleeps on the
sockets, but any thread may take a turn.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from ipyactors.ground import ids
from ipyactors.ground.clock import SystemClock
from ipyactors.ground.config import MAX_LINEAGE_BYTES, SessionPaths
from ipyactors.ground.exceptions import SessionError
from ipyactors.owner import deadlock, leases, living, reactor, retries, stranded, withdrawal
from ipyactors.owner.actors import ActorClient
from ipyactors.owner.announcer import Announcer
from ipyactors.owner.calls import PendingCall
from ipyactors.owner.custody import Custody
from ipyactors.owner.doors import Doors
from ipyactors.owner.event_log import EventLog
from ipyactors.owner.lending import Lending
from ipyactors.owner.mail import Mail
from ipyactors.owner.output import front_end
from ipyactors.owner.post import Post
from ipyactors.owner.reconnect import on_head_restarted, registration
from ipyactors.owner.state import OwnerState
from ipyactors.owner.storage import Storage
from ipyactors.owner.submissions import Submissions
from ipyactors.wire.census_messages import ReportObjects
from ipyactors.wire.codec import Message
from ipyactors.wire.creator_messages import ConfirmOutput, OutputConfirmed
from ipyactors.wire.head_messages import EventsReported, OwnerLost, WatchEvents, WorkerBlocked
from ipyactors.wire.interrupts import deferred
from ipyactors.wire.leader import LeaderFollowers
from ipyactors.wire.node_messages import AttachProcess, HeadRestarted, SessionStopping
from ipyactors.wire.store_messages import StoreToProcess
from ipyactors.wire.worker_messages import Written

_log = logging.getLogger("ipyactors.owner")

#: A burst of submissions is sent in batches of this size while earlier ones are under way.
_BURST = 64

#: So long a leader sleeps between turns that each end some of many withdrawn calls (4 ms), for the user's thread has a
#: cell to end meanwhile.
_ENDING_PAUSE_S = 0.003


class Traffic:
    """Reads, decides, sends. ``lock`` guards ``state`` and ``mail``; see the module."""

    def __init__(
        self,
        paths: SessionPaths,
        process_id: bytes,
        *,
        is_driver: bool,
        namespace: str = "",
        node_id: bytes = b"",
        max_lineage_bytes: int = MAX_LINEAGE_BYTES,
    ) -> None:
        self.paths = paths
        self.process_id = process_id
        self.is_driver = is_driver
        self.namespace = namespace
        self.node_id = node_id
        self.lock = threading.RLock()
        self.is_closed = False
        self.discarded: list[object] = []
        """Things of the user's to let go of where their finalizers do not run under the lock: after a turn."""
        self.stopping_detail = ""
        self.on_output: Callable[[Written, int], None] = front_end()
        """Shows what calls print and display; told of each which scope its call has. Not under the lock."""
        address = paths.process_address(process_id)
        self._doors = Doors(process_id, address)
        self.log = EventLog(SystemClock())
        self.mail = Mail(self._doors.outbound, self._doors.inbound, self.log)
        self.state = OwnerState(
            process_id, address, is_driver=is_driver, node_id=node_id, max_lineage_bytes=max_lineage_bytes
        )
        self.state.actors_dir = paths.actors_dir
        self.mail.fail = functools.partial(retries.on_unsent, self.state)
        self.state.leases.announced.wake = self.state.unasked.wake = self._wake
        self.leader = LeaderFollowers(self._turn, self._doors.descriptors, f"ipyactors-{ids.short(process_id)}")
        self.post = Post(self.lock, self._doors, self.leader)
        self.lending = Lending(self.tell_head)
        self._submissions = Submissions()
        self.custody = Custody(
            self.state, self.mail, self.lock, count_handle=self.count_handle, flush=self.flush, wake=self._wake
        )
        self._finalizing: set[int] = set()  # threads that let go of what is discarded
        self._turner: int | None = None  # the thread that is in the middle of a turn
        self._again = False
        self._serve: Callable[[bytes, Any], None] | None = None
        self._on_turn: Callable[[float], float | None] | None = None
        self.storage: Storage | None = None
        self.announcer = Announcer(self.lock, self.mail, self.log, lambda *written: self.on_output(*written))

    # -- life -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Connect to the head and the agent, register, and start the standby thread."""
        with self.lock:
            self._doors.outbound.connect(ids.HEAD_ID, self.paths.head_address)
            self._doors.outbound.connect(ids.AGENT_ID, self.paths.agent_address)
            self._doors.outbound.send(ids.AGENT_ID, [AttachProcess(self.is_driver, os.getpid())])
            self.mail.to_head(registration(self.state, os.getpid()))
            if self.is_driver:
                self.mail.to_head(WatchEvents())
            self.mail.flush()
        self.leader.start()

    def watch_agent(self, alive_fd: int, what_to_say: str) -> None:
        """End the session here when its agent is gone, however it went. To be called before :meth:`start`.

        ``alive_fd`` is the write end of the pipe of which the agent alone has the read end.
        """

        def on_gone() -> None:
            with deferred(), self.lock:
                self.stopping_detail = self.stopping_detail or what_to_say
                self.leader.end_waits()

        self.leader.watch_reader(alive_fd, on_gone)

    def close(self) -> None:
        """Close the sockets. Calls under way are abandoned; what was queued to leave gets half a second."""
        with deferred(), self.lock:
            if self.is_closed:
                return
            self._submissions.take(self.state, self.mail)
            withdrawal.end_some(self.state, len(self.state.withdrawn))
            self.state.unasked.close(self.mail)
            reactor.on_closed(self.state, SessionError(self.end_words()))
            self.mail.flush()
            self.is_closed = self.post.is_closed = True
        self.announcer.tell_news()
        self.leader.close()
        self._doors.close()
        if self.storage is not None:
            self.storage.close()

    def end_words(self) -> str:
        """Return what to say of a session that has ended."""
        why = self.stopping_detail or "shutdown() was called"
        return (
            f"the session {self.paths.name} has ended ({why}); what was under way is lost. "
            "Call ipyactors.init() to start another."
        )

    def serve(self, on_message: Callable[[bytes, Any], None], on_turn: Callable[[float], float | None]) -> None:
        """Hand calls that others make of this process to a worker's shell.

        Both functions are called by whichever thread takes a turn, under the lock: ``on_message(peer, message)``
        for each, ``on_turn(now_s)`` near the end of a turn; it returns after how many seconds it wants another.
        """
        self._serve = on_message
        self._on_turn = on_turn

    # -- sending ----------------------------------------------------------------------------------------------

    def submit(self, call: PendingCall) -> None:
        """Queue a call for the reactor; sent at once if nothing is under way, else in batches.

        One of a durable actor's turn is taken at once: what is settled with it must not depend on what comes after it.
        """
        waiting = self._submissions.add(call)
        if not self.state.unanswered or waiting >= _BURST or call.is_of_turn:
            self._push()
        elif waiting == 1:
            self.leader.wake()

    def answer(self, peer: bytes, *messages: Message) -> None:
        """Queue answers to a caller; they leave with the next turn or :meth:`flush`. Callable from any thread."""
        for message in messages:
            self.mail.answers.append((peer, message))

    def tell_head(self, message: Message) -> None:
        """Send to the head, now."""
        with deferred(), self.lock:
            self.mail.to_head(message)
        self.flush()

    def flush(self) -> None:
        """Send what is queued. Callable from any thread."""
        with deferred(), self.lock:
            if not self.is_closed and self.mail.flush():
                self.post.wake_if_arrived()

    def turn(self) -> None:
        """Take a turn on the calling thread, whoever leads; inside a turn, have that one go round once more."""
        self._turn()
        self.leader.wake()

    def count_handle(self, client: ActorClient, change: int) -> None:
        """Count a handle object up or down. Takes no lock: it is called from ``__del__``, at any moment."""
        self._submissions.count(client, change)
        if change < 0:
            self._wake()

    def let_go(self, call: PendingCall) -> None:
        """Cancel a call whose results nobody can take any more. Takes no lock: it is called from ``__del__``."""
        self._submissions.let_go(call)
        self._wake()

    def _wake(self) -> None:
        """Have a turn taken soon. Takes no lock."""
        if not self.is_closed:
            self.leader.wake()

    # -- turns ------------------------------------------------------------------------------------------------

    def _turn(self) -> float | None:
        """Read, submit, settle, send; return how long a leader may sleep."""
        with deferred():
            with self.lock:
                if self.is_closed:
                    return 0.05
                if self._turner == threading.get_ident():
                    # A turn within a turn would read ahead of what the outer one has in hand: that one goes on.
                    self._again = True
                    return 0.0
                self._turner = threading.get_ident()
                try:
                    pause_s = self._turn_locked(time.monotonic())
                finally:
                    self._turner = None
            if self.discarded:
                self._finalizing.add(threading.get_ident())
                self.discarded.clear()
                self._finalizing.discard(threading.get_ident())
            self.announcer.tell_news()
        return pause_s

    def _push(self) -> None:
        """Send what was submitted, and read nothing: the thread that submits is about to wait, or to submit more."""
        with deferred():
            with self.lock:
                if self.is_closed:
                    return
                if self._turner == threading.get_ident():
                    self._again = True
                    return
                self._turner = threading.get_ident()
                try:
                    self.state.now_s = time.monotonic()
                    self._submissions.take(self.state, self.mail)
                    reactor.settle(self.state, self.mail, self.state.now_s)
                    if self.mail.flush():
                        self.post.wake_if_arrived()
                finally:
                    self._turner = None
                again, self._again = self._again, False
            self.announcer.tell_news()
        if again:  # a finalizer submitted something meanwhile
            self._turn()

    def _turn_locked(self, now_s: float) -> float | None:
        state, mail = self.state, self.mail
        state.now_s = now_s
        while True:
            self._again = False
            for peer, message in self._doors.receive():
                self._on_message(peer, message, now_s)
            self._submissions.take(self.state, self.mail)
            if state.withdrawn:
                withdrawal.end_some(state)
            reactor.settle(state, mail, now_s)
            if state.endless_waits:
                deadlock.send_due(state, mail, now_s)
            if self.storage is not None and self.storage.freed:
                self.storage.free_dropped()
            pause_s = self._on_turn(now_s) if self._on_turn is not None else None
            # Sending may have used up the descriptor's edge: look before anyone sleeps on it.
            has_arrived = mail.flush() and self._doors.has_arrived()
            if self._doors.is_behind:
                return 0.0  # whoever waits looks whether his wait is over, and comes back
            if not (has_arrived or self._submissions.has_calls or self._again):
                break
        next_probe_s = deadlock.next_probe_s(state) if state.endless_waits else None
        ending_s = now_s + _ENDING_PAUSE_S if state.withdrawn else None
        warning_s = stranded.next_warning_s(state)
        for due_s in (leases.next_expiry_s(state.leases), warning_s, next_probe_s, state.unasked.count_at_s, ending_s):
            if due_s is not None:
                left_s = max(0.0, due_s - now_s)
                pause_s = left_s if pause_s is None else min(pause_s, left_s)
        return pause_s

    def _on_message(self, peer: bytes, message: Any, now_s: float) -> None:
        handler = reactor.HANDLERS.get(type(message))
        try:
            if handler is not None:
                handler(self.state, self.mail, peer, message, now_s)
                if self._serve is not None and type(message) is OwnerLost:
                    self._serve(peer, message)
            else:
                self._on_other(peer, message, now_s)
        except Exception as error:
            _log.exception("a message of type %s could not be handled", type(message).__name__)
            reactor.on_unhandled(self.state, peer, message, error)

    def _on_other(self, peer: bytes, message: Any, now_s: float) -> None:
        match message:
            case ReportObjects():
                self.mail.to_head(living.report(self.state, message, now_s))
            case ConfirmOutput():
                self.mail.to_caller(peer, OutputConfirmed())
            case EventsReported():
                self.log.extend(message.events)
            case HeadRestarted() if message.head_epoch > self.state.head_epoch:
                self.state.head_epoch = message.head_epoch
                again = registration(self.state, os.getpid())
                on_head_restarted(self.state, self.mail, again)
                if self.lending.is_under_way:
                    self.mail.to_head(WorkerBlocked())
            case SessionStopping():
                self.stopping_detail = message.detail or "its agent stopped"
                self.leader.end_waits()
            case _ if self.storage is not None and isinstance(message, StoreToProcess):
                self.storage.on_message(message)
            case _ if self._serve is not None:
                self._serve(peer, message)
