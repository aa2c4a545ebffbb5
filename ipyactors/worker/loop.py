"""The three ways to run what the mailbox holds: one after the other, in threads, in an event loop.

All three take calls from the same line and mark each before it starts. They differ in which thread reads the
sockets meanwhile: in the serial way the main thread itself does whenever it has nothing to run, so a call comes in,
runs and is answered on one thread; in threads, the main thread does nothing else; with an event loop, the session's
standby thread reads and the loop is told (:mod:`ipyactors.worker.async_loop`).
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Protocol

from ipyactors.owner import current
from ipyactors.owner.current import CurrentCall
from ipyactors.wire.marks import Marks
from ipyactors.wire.worker_messages import FinishAndExit
from ipyactors.worker.cancel import Interrupts
from ipyactors.worker.execute import Executor
from ipyactors.worker.exit import ActorExit
from ipyactors.worker.mailbox import Mailbox
from ipyactors.worker.out import WorkerSession

#: How long a loop rests when a wait ended without a reason: the session closes, or a signal was not meant for it.
_REST_S = 0.001

FINISHED = "it was told to finish"


class Loop(Protocol):
    """One way to run calls."""

    def run(self, start: Callable[[], None]) -> ActorExit:
        """Call ``start`` (which builds the actor, if any), then run calls in the main thread until the actor ends.

        Calls that run when it ends have finished when this returns.
        """
        ...

    def on_joined(self, count: int) -> None:
        """``count`` calls have joined the line. Called under the session's lock, from any thread."""
        ...

    def interrupt(self, running: CurrentCall) -> None:
        """Cancel a call that runs, as far as this way of running can. Called like :meth:`on_joined`."""
        ...


class SerialLoop:
    """One call at a time, on the main thread. ``interrupts`` is given for tasks: a running method is only flagged."""

    def __init__(
        self, session: WorkerSession, box: Mailbox, executor: Executor, marks: Marks, interrupts: Interrupts | None
    ) -> None:
        self._session = session
        self._box = box
        self._executor = executor
        self._marks = marks
        self._interrupts = interrupts

    def run(self, start: Callable[[], None]) -> ActorExit:
        """See :class:`Loop`."""
        start()
        executor = self._executor
        interrupts, marks, log = self._interrupts, self._marks, executor.output.log
        take = self._box.ready.popleft
        admit, mark, run = executor.admit, marks.mark, executor.run
        while executor.exit is None:
            try:
                caller, call = take()
            except IndexError:
                self._rest()
                continue
            if isinstance(call, FinishAndExit):
                return ActorExit(call.detail or FINISHED)
            running = admit(caller, call)
            if running is not None:
                if interrupts is None:
                    mark(caller, call.seq)
                    run(running, call)
                else:
                    # A worker serves many tasks: what one leaves behind must not be taken for the next one's.
                    marks.note_log(log.size() if log is not None else 0)
                    mark(caller, call.seq)
                    run(running, call)
                    interrupts.tidy()
            del call, running  # its arguments must not live on while this thread waits for the next
        return executor.exit

    def _rest(self) -> None:
        """Wait for work; nothing runs meanwhile."""
        self._executor.busy_since_s = 0.0
        current.call.set(None)
        if not self._session.wait(self._has_work):
            time.sleep(_REST_S)

    def _has_work(self) -> bool:
        return bool(self._box.ready)

    def on_joined(self, count: int) -> None:
        """Do nothing: the main thread looks at the line itself."""

    def interrupt(self, running: CurrentCall) -> None:
        """Interrupt the task, or set the method's flag."""
        if self._interrupts is not None:
            self._interrupts.interrupt(running)
        else:
            running.cancelled = True


class ThreadedLoop:
    """Up to ``limit`` calls at a time, each on a thread; threads are made when first needed and then kept."""

    def __init__(self, session: WorkerSession, box: Mailbox, executor: Executor, marks: Marks, limit: int) -> None:
        self._session = session
        self._box = box
        self._executor = executor
        self._marks = marks
        self._limit = limit
        self._tokens: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._take_lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._idle = threading.Semaphore(0)
        self._started = False
        self._exit: ActorExit | None = None

    def run(self, start: Callable[[], None]) -> ActorExit:
        """See :class:`Loop`."""
        start()
        with self._session.lock:
            self._started = True
            self.on_joined(len(self._box.ready))
        while self._exit is None:
            if not self._session.wait(lambda: self._exit is not None):
                time.sleep(_REST_S)
        for _ in self._threads:
            self._tokens.put(False)
        for thread in self._threads:
            # A call that runs may need the sockets read for it: this thread goes on doing so.
            while not self._session.wait(lambda thread=thread: not thread.is_alive(), 0.01):  # type: ignore[misc]
                pass
        return self._exit

    def on_joined(self, count: int) -> None:
        """Hand each call to a thread."""
        if not self._started:
            return
        for _ in range(count):
            self._tokens.put(True)
            if not self._idle.acquire(blocking=False) and len(self._threads) < self._limit:
                thread = threading.Thread(target=self._work, name=f"method-{len(self._threads) + 1}", daemon=True)
                self._threads.append(thread)
                thread.start()

    def interrupt(self, running: CurrentCall) -> None:
        """Set the method's flag: a thread cannot be interrupted."""
        running.cancelled = True

    def _work(self) -> None:
        while self._tokens.get() and self._run_next():
            self._idle.release()
        self._session.leader.wake()

    def _run_next(self) -> bool:
        """Run the call at the head of the line, if it has not been cancelled meanwhile; return False to end."""
        with self._take_lock:  # calls of one caller are marked in their order
            if self._exit is not None:
                return False
            try:
                caller, call = self._box.ready.popleft()
            except IndexError:
                return True
            if isinstance(call, FinishAndExit):
                self._exit = ActorExit(call.detail or FINISHED)
                return False
            running = self._executor.admit(caller, call)
            if running is None:
                return True
            self._marks.mark(caller, call.seq)
        running.thread = threading.get_ident()
        self._executor.run(running, call)
        current.call.set(None)
        with self._take_lock:
            if self._exit is None:
                self._exit = self._executor.exit
        return self._exit is None
