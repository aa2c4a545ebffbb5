"""The way to run the calls of a durable actor side by side in threads."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

from ipyactors.owner import current
from ipyactors.owner.current import CurrentCall
from ipyactors.worker.durable_loop import DurableParts
from ipyactors.worker.execute import Executor
from ipyactors.worker.exit import ActorExit, fatal
from ipyactors.worker.logged_call import LoggedCall
from ipyactors.worker.mailbox import Mailbox
from ipyactors.worker.out import WorkerSession
from ipyactors.worker.rounds import Rounds

_REST_S = 0.001


class DurableThreadedLoop:
    """See :class:`ipyactors.worker.loop.Loop`. What ``rounds`` says may start runs on a thread.

    Threads are made when first needed and then kept. Whoever ends a call looks for what may start then; the main thread
    looks when something has come.
    """

    def __init__(self, session: WorkerSession, box: Mailbox, executor: Executor, rounds: Rounds) -> None:
        self._session = session
        self._box = box
        self._executor = executor
        self._rounds = rounds
        self._jobs: queue.SimpleQueue[LoggedCall | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._idle = 0
        self._is_stirred = self._has_timer = False

    def open(self, parts: DurableParts, unfinished: list[LoggedCall]) -> None:
        """Go on with an actor that is there; what was unfinished runs first."""
        self._rounds.open(parts, unfinished)

    def run(self, start: Callable[[], None]) -> ActorExit:
        """See :class:`Loop`."""
        start()
        while (reason := self._exit()) is None:
            # Before looking: what is cancelled or ends later has this thread look again.
            self._is_stirred = self._has_timer = False
            self._look()
            due_in_s = self._rounds.look_in_s()
            self._has_timer = due_in_s is not None
            if not self._session.wait(self._has_work, due_in_s):
                time.sleep(_REST_S)
        with self._lock:  # who looks now has nothing to give
            for _ in self._threads:
                self._jobs.put(None)
        for thread in self._threads:
            # A call that runs may need the sockets read for it: this thread goes on doing so.
            while not self._session.wait(lambda thread=thread: not thread.is_alive(), 0.01):  # type: ignore[misc]
                pass
        self._rounds.leave()
        return reason

    def on_joined(self, count: int) -> None:
        """Do nothing: the main thread looks at the line itself."""

    def interrupt(self, running: CurrentCall) -> None:
        """Set the method's flag: a thread cannot be interrupted. A call that waits is given up."""
        running.cancelled = True
        self._rounds.note_cancelled()
        self._stir()

    def _exit(self) -> ActorExit | None:
        return self._executor.exit or self._rounds.exit

    def _has_work(self) -> bool:
        return bool(self._box.ready) or self._is_stirred or self._exit() is not None

    def _stir(self) -> None:
        self._is_stirred = True
        self._session.leader.wake()

    def _look(self) -> None:
        """Give what may start to threads."""
        with self._lock:  # one at a time, so that calls get their threads in the order in which they start
            for logged in self._rounds.take():
                self._jobs.put(logged)
                if self._idle:
                    self._idle -= 1
                else:
                    thread = threading.Thread(target=self._work, name=f"method-{len(self._threads) + 1}", daemon=True)
                    self._threads.append(thread)
                    thread.start()

    def _work(self) -> None:
        with fatal(self._session):
            self._serve()

    def _serve(self) -> None:
        while (logged := self._jobs.get()) is not None:
            logged.running.thread = threading.get_ident()
            self._executor.run(logged.running, logged.call)
            del logged  # its arguments must not live on while this thread waits for the next
            current.call.set(None)
            with self._lock:
                self._idle += 1
            if self._exit() is None:
                self._look()
            if self._exit() is not None or (self._rounds.is_held and not self._has_timer):
                self._stir()
        self._stir()
