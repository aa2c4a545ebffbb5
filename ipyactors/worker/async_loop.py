"""The third way to run calls: as tasks of an event loop, for actors with ``async def`` methods.

In a file of its own because it needs asyncio, which takes longer to import than a worker takes to fork.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ipyactors.owner.current import CurrentCall
from ipyactors.wire.marks import Marks
from ipyactors.wire.worker_messages import FinishAndExit
from ipyactors.worker.answers import Answers
from ipyactors.worker.execute import Executor
from ipyactors.worker.exit import ActorExit
from ipyactors.worker.loop import FINISHED
from ipyactors.worker.mailbox import Call, Mailbox
from ipyactors.worker.out import WorkerSession
from ipyactors.worker.running import Key


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

    def interrupt(self, running: CurrentCall) -> None:
        """Cancel the call's task."""
        running.cancelled = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._cancel, (running.caller, running.seq))

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
                self._end(ActorExit(call.detail or FINISHED))
                return
            self._start(caller, call)

    def _start(self, caller: bytes, call: Call) -> None:
        assert self._loop is not None
        running = self._executor.admit(caller, call)
        if running is None:
            return
        key = (caller, call.seq)
        self._marks.mark(caller, call.seq)
        task = self._loop.create_task(self._executor.run_async(running, call))
        running.task = id(task)
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
