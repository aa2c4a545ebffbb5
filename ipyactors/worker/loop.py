"""The three ways to run what the mailbox holds: one after the other, in threads, in an event loop.

All three take calls from the same line and mark each before it starts. They differ in which thread reads the
sockets meanwhile: in the serial way the main thread itself does whenever it has nothing to run, so a call comes in,
runs and is answered on one thread; in threads, the main thread does nothing else; with an event loop, the session's
standby thread reads and the loop is told.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from typing import Protocol

from ipyactors.owner import current
from ipyactors.wire.marks import Marks
from ipyactors.wire.worker_messages import FinishAndExit
from ipyactors.worker.answers import Answers
from ipyactors.worker.cancel import Interrupts
from ipyactors.worker.execute import Executor, Key
from ipyactors.worker.exit import ActorExit
from ipyactors.worker.mailbox import Call, Mailbox
from ipyactors.worker.out import WorkerSession

#: How long a loop rests when a wait ended without a reason: the session closes, or a signal was not meant for it.
_REST_S = 0.001

_FINISHED = "it was told to finish"


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

    def interrupt(self, key: Key) -> None:
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
        take = self._box.ready.popleft
        mark = self._marks.mark
        run = executor.run
        while executor.exit is None:
            try:
                caller, call = take()
            except IndexError:
                self._rest()
                continue
            if isinstance(call, FinishAndExit):
                return ActorExit(call.detail or _FINISHED)
            mark(caller, call.seq)
            run(caller, call)
            del call  # its arguments must not live on while this thread waits for the next
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

    def interrupt(self, key: Key) -> None:
        """Interrupt the task, or set the method's flag."""
        running = self._executor.running.get(key)
        if running is None:
            return
        if self._interrupts is not None:
            self._interrupts.interrupt(running)
        else:
            running.cancelled.set()


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

    def interrupt(self, key: Key) -> None:
        """Set the method's flag: a thread cannot be interrupted."""
        running = self._executor.running.get(key)
        if running is not None:
            running.cancelled.set()

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
                self._exit = ActorExit(call.detail or _FINISHED)
                return False
            self._marks.mark(caller, call.seq)
        self._executor.run(caller, call)
        current.call.set(None)
        with self._take_lock:
            if self._exit is None:
                self._exit = self._executor.exit
        return self._exit is None


class AsyncLoop:
    """Up to ``limit`` calls at a time as tasks of one event loop on the main thread."""

    def __init__(
        self, session: WorkerSession, box: Mailbox, executor: Executor, marks: Marks, answers: Answers, limit: int
    ) -> None:
        self._session = session
        self._box = box
        self._executor = executor
        self._marks = marks
        self._answers = answers
        self._limit = limit
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_scheduled = False
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._exit: ActorExit | None = None
        self._ended: asyncio.Event | None = None

    def run(self, start: Callable[[], None]) -> ActorExit:
        """See :class:`Loop`; ``start`` is called inside the event loop, so a constructor may create tasks."""
        asyncio.run(self._main(start))
        assert self._exit is not None
        return self._exit

    async def _main(self, start: Callable[[], None]) -> None:
        self._ended = asyncio.Event()
        start()
        loop = asyncio.get_running_loop()
        self._answers.defer = loop.call_soon
        with self._session.lock:
            self._loop = loop
        self._dispatch()
        await self._ended.wait()
        while self._tasks:
            await asyncio.wait(list(self._tasks.values()))
        self._answers.defer = None

    def on_joined(self, count: int) -> None:
        """Have the event loop look at the line; once for however many come together."""
        if self._loop is not None and not self._is_scheduled and count:
            self._is_scheduled = True
            self._loop.call_soon_threadsafe(self._dispatch)

    def interrupt(self, key: Key) -> None:
        """Cancel the call's task."""
        running = self._executor.running.get(key)
        if running is not None:
            running.cancelled.set()
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._cancel, key)

    # -- in the event loop ------------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        self._is_scheduled = False  # before the line is read: a call that joins later schedules again
        assert self._loop is not None
        while self._exit is None and len(self._tasks) < self._limit:
            try:
                caller, call = self._box.ready.popleft()
            except IndexError:
                return
            if isinstance(call, FinishAndExit):
                self._end(ActorExit(call.detail or _FINISHED))
                return
            self._start(caller, call)

    def _start(self, caller: bytes, call: Call) -> None:
        assert self._loop is not None
        key = (caller, call.seq)
        self._marks.mark(caller, call.seq)
        task = self._loop.create_task(self._executor.run_async(caller, call))
        self._tasks[key] = task
        task.add_done_callback(lambda task: self._on_done(key, task))

    def _on_done(self, key: Key, task: asyncio.Task[None]) -> None:
        del self._tasks[key]
        if task.cancelled():  # before its first step: nothing has answered the call
            self._executor.cancel_unstarted(*key)
        if self._executor.exit is not None:
            self._end(self._executor.exit)
        elif self._box.ready:
            self._dispatch()

    def _cancel(self, key: Key) -> None:
        task = self._tasks.get(key)
        if task is not None:
            task.cancel()

    def _end(self, reason: ActorExit) -> None:
        if self._exit is None:
            self._exit = reason
        assert self._ended is not None
        self._ended.set()
