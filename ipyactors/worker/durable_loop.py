"""The way to run the calls of a durable actor: one after the other, in the order in which they are in the log.

What waits is put into the log together, with one write, and then run call by call; so the cost of the log is shared
when there is much to do. Nothing else is logged before all of that is over: then no call is open, and a checkpoint can
be made.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import NoReturn

from ipyactors.durable.begun import Begun
from ipyactors.ground import faultpoints
from ipyactors.ground.exceptions import RecoveryFailedError, ReplayDivergenceError
from ipyactors.owner import current
from ipyactors.owner.current import CurrentCall
from ipyactors.owner.missing import SegmentsMissing
from ipyactors.wire.marks import Marks
from ipyactors.wire.worker_messages import ArgumentsMissing, FinishAndExit
from ipyactors.worker import chaos
from ipyactors.worker.checkpoint import Checkpointer
from ipyactors.worker.execute import Executor
from ipyactors.worker.exit import ActorExit
from ipyactors.worker.guarded_log import GuardedLog
from ipyactors.worker.journal import LogJournal
from ipyactors.worker.logged import LoggedCalls, UndoneError
from ipyactors.worker.logged_answers import LoggedAnswers
from ipyactors.worker.logged_call import LoggedCall
from ipyactors.worker.loop import FINISHED
from ipyactors.worker.mailbox import Mailbox
from ipyactors.worker.out import WorkerSession
from ipyactors.worker.turn import Turn

#: So many calls are put into the log together at most.
BATCH = 128

_REST_S = 0.001

#: An incarnation that has nothing to do for so long has come to something: what it was before is done with.
IDLE_IS_PROGRESS_S = 1.0


#: Of so many callers that are gone the ids are kept.
KEPT_LOST = 10_000


class Line:
    """What waits to be run: calls that are in the log, before those in the mailbox.

    ``gone`` are callers whose processes have ended lately. Of those that are lost nothing is known any more: what they
    had sent and is not in the log is not run, for it may have been in an earlier incarnation. ``calls`` is what has
    those in the log, once the actor is there.
    """

    def __init__(self, box: Mailbox) -> None:
        self._box = box
        self.logged: deque[LoggedCall | FinishAndExit] = deque()
        self.gone: deque[bytes] = deque()
        self.calls: LoggedCalls | None = None
        self._lost: OrderedDict[bytes, None] = OrderedDict()

    def awaited_by(self, process_id: bytes) -> list[tuple[int, CurrentCall]]:
        """Return the calls in the log that a process waits for, each with the number that it has there. Any thread."""
        logged_calls = () if self.calls is None else tuple(self.calls.open.values())
        return [
            (waiter.seq, logged.running)
            for logged in logged_calls
            for waiter in tuple(logged.waiters)
            if waiter.peer == process_id
        ]

    def lose_gone(self, forget: Callable[[bytes], None]) -> None:
        """Have what is known of callers forgotten that are gone. What they had sent arrives soon if at all."""
        while self.gone:
            process_id = self.gone.popleft()
            forget(process_id)
            self._lost[process_id] = None
            if len(self._lost) > KEPT_LOST:
                self._lost.popitem(last=False)

    def is_lost(self, process_id: bytes) -> bool:
        """Return whether nothing is known of a caller any more."""
        return process_id in self._lost

    def __len__(self) -> int:
        return len(self.logged) + len(self._box.ready)

    def __bool__(self) -> bool:  # asked after every call
        return bool(self.logged or self._box.ready)

    @property
    def has_logged(self) -> bool:
        """Whether calls wait that are in the log. One that is not is always the last: no more is taken behind it."""
        first = self.logged[0] if self.logged else None
        return first is not None and not isinstance(first, FinishAndExit) and bool(first.lsn)


class DurableParts:
    """What the loop works with once the actor is there: recovery makes it.

    ``on_caught_up`` is called when what it had found ``unfinished`` is over.
    """

    def __init__(
        self,
        log: GuardedLog,
        journal: LogJournal,
        calls: LoggedCalls,
        begun: Begun,
        checkpointer: Checkpointer,
        unfinished: Iterable[LoggedCall] = (),
        on_caught_up: Callable[[], None] = lambda: None,
    ) -> None:
        self.log = log
        self.calls = calls
        self.checkpointer = checkpointer
        self._journal = journal
        self._begun = begun
        self._unfinished = {logged.lsn for logged in unfinished}
        self._on_caught_up = on_caught_up

    def note_over(self, *lsns: int) -> None:
        """Note that calls are over, and that in the log."""
        if self._unfinished:
            self._unfinished.difference_update(lsns)
            if not self._unfinished:
                self._on_caught_up()

    def begin(self, logged: LoggedCall, *, may_overlap: bool) -> None:
        """Let a call that is in the log begin, in this thread: whoever comes after its end knows that it had."""
        running = logged.running
        running.lsn, running.thread = logged.lsn, threading.get_ident()
        logged.is_begun = True
        self._begun.note(logged.lsn)
        faultpoints.hit("durable.call.begun")
        running.turn = Turn(
            self._journal, logged.lsn, running.name, logged.past, is_over=False, may_overlap=may_overlap
        )


class DurableLoop:
    """See :class:`ipyactors.worker.loop.Loop`.

    ``on_progress`` is called when this incarnation has ended its first call, or had none to run for a while;
    ``give_up`` when it cannot go on.
    """

    def __init__(
        self,
        session: WorkerSession,
        box: Mailbox,
        line: Line,
        executor: Executor,
        answers: LoggedAnswers,
        marks: Marks,
        on_progress: Callable[[], None],
        give_up: Callable[[Exception], NoReturn],
    ) -> None:
        self._session = session
        self._box = box
        self._line = line
        self._executor = executor
        self._answers = answers
        self._marks = marks
        self._on_progress: Callable[[], None] | None = on_progress
        self._give_up = give_up
        self._parts: DurableParts | None = None

    def open(self, parts: DurableParts, unfinished: list[LoggedCall]) -> None:
        """Go on with an actor that is there; what was unfinished runs first."""
        self._parts, self._line.calls = parts, parts.calls
        self._line.logged.extend(unfinished)

    def run(self, start: Callable[[], None]) -> ActorExit:
        """See :class:`Loop`."""
        start()
        executor, logged = self._executor, self._line.logged
        while executor.exit is None:
            if not logged and not self._take():
                self._rest()
                continue
            call = logged.popleft() if logged else None
            if isinstance(call, FinishAndExit):
                self._answers.flush()
                return ActorExit(call.detail or FINISHED)
            if call is not None:
                self._run(call)
                if not call.running.caller:
                    self._catch_up(call.lsn)
            del call  # its arguments must not live on while this thread waits for the next
        self._answers.flush()
        return executor.exit

    def on_joined(self, count: int) -> None:
        """Do nothing: the main thread looks at the line itself."""

    def interrupt(self, running: CurrentCall) -> None:
        """Set the call's flag: one that has not begun is given up, one that runs may look at it."""
        running.cancelled = True

    # -- taking -------------------------------------------------------------------------------------------------

    def _take(self) -> bool:
        """Put what waits into the log; return whether anything was there."""
        parts = self._parts
        assert parts is not None, "the actor is not there yet"
        self._line.lose_gone(parts.calls.forget_process)
        room = parts.checkpointer.calls_until_due(BATCH)
        has_any = False
        while room > 0:
            try:
                caller, call = self._box.ready.popleft()
            except IndexError:
                break
            has_any = True
            if isinstance(call, FinishAndExit):
                self._line.logged.append(call)
                break
            if self._line.is_lost(caller):
                continue
            try:
                logged = parts.calls.take(caller, call)  # type: ignore[arg-type]  # an actor gets no tasks
            except SegmentsMissing as error:
                self._answers.send(caller, ArgumentsMissing(call.seq, error.segment_ids))
                continue
            is_cancelled = self._is_cancelled(caller, call.seq)
            if logged is None:
                if is_cancelled:
                    parts.calls.cancel_open(caller, call)  # type: ignore[arg-type]
                continue
            logged.running.cancelled |= is_cancelled
            if not self._executor.running.admit((caller, call.seq), logged.running):
                logged.running.cancelled = True
            self._line.logged.append(logged)
            room -= 1
            if not logged.lsn or call.is_persist:  # type: ignore[union-attr]
                break
        if has_any:
            parts.log.write()
            faultpoints.hit("durable.call.written")
        return has_any

    def _catch_up(self, lsn: int) -> None:
        """Have the end of a call that was found in the log outlive this process, and hear who waits for such calls.

        There may be many, and long ones. Nobody waits for them until they are sent again, so that no answer which is
        about to leave has their ends written; and what is sent again is in line behind all of them.
        """
        parts, ready = self._parts, self._box.ready
        assert parts is not None
        parts.log.write()
        parts.note_over(lsn)
        while ready:
            caller, call = ready[0]
            if isinstance(call, FinishAndExit) or call.is_readonly or parts.calls.is_new(call):  # type: ignore[union-attr, arg-type]
                return
            ready.popleft()
            try:
                parts.calls.take(caller, call)  # type: ignore[arg-type]  # an actor gets no tasks
            except SegmentsMissing as error:
                self._answers.send(caller, ArgumentsMissing(call.seq, error.segment_ids))

    def _is_cancelled(self, caller: bytes, seq: int) -> bool:
        """Return whether a call was cancelled while it was in line, and is not to run unless the log has it."""
        cancelled = self._box.cancelled
        if not cancelled or (caller, seq) not in cancelled:
            return False
        cancelled.discard((caller, seq))
        return True

    def _rest(self) -> None:
        """Wait for work; nothing runs meanwhile. A checkpoint may become due by the clock."""
        self._executor.busy_since_s = 0.0
        current.call.set(None)
        parts = self._parts
        assert parts is not None
        if parts.checkpointer.is_due(asks=False):
            self._make_checkpoint(parts)
            return
        due_in_s = parts.checkpointer.due_in_s()
        limit_s = due_in_s
        if self._on_progress is not None:  # it may be killed for nothing it does, and must not be given up for that
            limit_s = IDLE_IS_PROGRESS_S if due_in_s is None else min(due_in_s, IDLE_IS_PROGRESS_S)
        if self._session.wait(self._has_work, limit_s):
            return
        if limit_s is None:
            time.sleep(_REST_S)
        elif limit_s == IDLE_IS_PROGRESS_S:
            self._note_progress()

    def _note_progress(self) -> None:
        if self._on_progress is not None:
            self._on_progress()
            self._on_progress = None

    def _has_work(self) -> bool:
        return bool(self._box.ready)

    # -- running ------------------------------------------------------------------------------------------------

    def _run(self, logged: LoggedCall) -> None:
        parts, running = self._parts, logged.running
        assert parts is not None
        if running.cancelled:
            self._executor.running.pop((running.caller, running.seq), None)
            if not logged.lsn:
                self._executor.cancel_unstarted(running.caller, running.seq)
                return
            if not parts.calls.hand_over(logged):
                parts.calls.cancel(logged)
                return
        if chaos.armed is not None:
            chaos.armed.before(running, logged.call, is_logged=bool(logged.lsn))
        if logged.lsn:
            parts.begin(logged, may_overlap=logged.call.is_persist)
        if running.caller:
            self._marks.mark(running.caller, running.seq)
        if logged.lsn:
            self._answers.begin(logged)
        began_s = time.monotonic()
        try:
            self._executor.run(running, logged.call)
        except (UndoneError, ReplayDivergenceError, RecoveryFailedError) as error:
            self._give_up(error)
        finally:
            self._answers.forget(logged)
        if self._executor.exit is not None:
            return
        self._note_progress()
        if logged.lsn:
            if not logged.call.is_persist:  # the checkpoint that it has ended with has it
                parts.checkpointer.note_call(time.monotonic() - began_s)
            self._after(parts, running)
        elif parts.checkpointer.is_due(asks=False):
            self._make_checkpoint(parts)

    def _after(self, parts: DurableParts, running: CurrentCall) -> None:
        turn = running.turn
        assert isinstance(turn, Turn)
        if turn.wants_checkpoint:
            parts.checkpointer.request()
        if not self._line.has_logged and parts.checkpointer.is_due():
            self._make_checkpoint(parts)

    def _make_checkpoint(self, parts: DurableParts) -> None:
        self._answers.flush()  # whoever waits need not wait for this too
        parts.checkpointer.make_if_due()
