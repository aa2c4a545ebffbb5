"""The way to run the calls of a durable actor with ``async def`` methods side by side: as tasks of an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ipyactors.owner.current import CurrentCall
from ipyactors.wire.marks import Marks
from ipyactors.worker.answers import Answers
from ipyactors.worker.async_loop import AsyncLoop
from ipyactors.worker.durable_loop import DurableParts
from ipyactors.worker.execute import Executor
from ipyactors.worker.exit import fatal
from ipyactors.worker.logged_call import LoggedCall
from ipyactors.worker.mailbox import Mailbox
from ipyactors.worker.out import WorkerSession
from ipyactors.worker.rounds import Rounds


class DurableAsyncLoop(AsyncLoop):
    """What ``rounds`` says may start becomes a task. A call that is cancelled while it runs ends as it ends.

    What it has changed by then stays, as with any exception. While a checkpoint is made nothing else runs.
    """

    def __init__(
        self, session: WorkerSession, box: Mailbox, executor: Executor, marks: Marks, answers: Answers, rounds: Rounds
    ) -> None:
        super().__init__(session, box, executor, marks, answers, limit=0)
        self._rounds = rounds
        self._timer: asyncio.TimerHandle | None = None

    def open(self, parts: DurableParts, unfinished: list[LoggedCall]) -> None:
        """Go on with an actor that is there; what was unfinished runs first."""
        self._rounds.open(parts, unfinished)

    def interrupt(self, running: CurrentCall) -> None:
        """Cancel the call's task; one that waits is given up."""
        super().interrupt(running)
        self._rounds.note_cancelled()
        self.on_joined(1)

    async def _main(self, start: Callable[[], None]) -> None:
        await super()._main(start)
        self._rounds.leave()

    def _dispatch(self) -> None:
        self._is_scheduled = False  # before the line is read: a call that joins later schedules again
        assert self._loop is not None
        if self._exit is not None:
            return
        with fatal(self._session):
            for logged in self._rounds.take():
                running = logged.running
                task = self._loop.create_task(self._executor.run_async(running, logged.call))
                running.task = id(task)
                self._tasks[running.caller, running.seq] = task
                task.add_done_callback(lambda task, logged=logged: self._on_ended(logged, task))  # type: ignore[misc]
            self._set_timer(self._rounds.look_in_s())
        if self._rounds.exit is not None:
            self._end(self._rounds.exit)

    def _set_timer(self, due_in_s: float | None) -> None:
        """Look again in so many seconds; not for what comes or ends before."""
        if due_in_s is None:
            return  # one that is set does no harm
        assert self._loop is not None
        due_s = self._loop.time() + due_in_s
        if self._timer is not None:
            if self._timer.when() <= due_s:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(due_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._dispatch()

    def _on_ended(self, logged: LoggedCall, task: asyncio.Task[None]) -> None:
        del self._tasks[logged.running.caller, logged.running.seq]
        with fatal(self._session):
            if task.cancelled():  # before its first step: nothing has answered the call
                self._rounds.cancel(logged)
            elif (error := task.exception()) is not None:  # none of the user's: that would be the answer
                raise error
        if self._executor.exit is not None:
            self._end(self._executor.exit)
        else:
            self._dispatch()
