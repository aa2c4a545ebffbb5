"""The calls of a durable actor that run side by side, from the mailbox to their answers.

What each has done is in a checkpoint before anybody hears of it, and no checkpoint has half of a call: they run in
rounds (:mod:`ipyactors.worker.gate`). A crash undoes the round that was under way, and the next incarnation runs its
calls again. So do not have a method wait for what only a later call brings: the gate may be closed to that one.

Every call that changes the actor ends like one that is declared so, ``effect="persist"``; that includes the few that
the system makes itself, such as ``__ray_call__``. There is no policy for checkpoints besides: one that is asked for,
and a change of the class, wait for the end of a round and hold back the next.
"""

from __future__ import annotations

import dataclasses
import sys
import threading
import time
from collections.abc import Callable
from typing import NoReturn

from ipyactors.ground import faultpoints
from ipyactors.owner.current import CurrentCall
from ipyactors.owner.missing import SegmentsMissing
from ipyactors.wire.codec import Message
from ipyactors.wire.marks import Marks
from ipyactors.wire.worker_messages import ArgumentsMissing, CallMethod, CallSucceeded, FinishAndExit, ItemYielded
from ipyactors.worker import chaos
from ipyactors.worker.durable_loop import DurableParts, Line
from ipyactors.worker.execute import Executor
from ipyactors.worker.exit import ActorExit
from ipyactors.worker.gate import Gate, Kind
from ipyactors.worker.held import HeldRound
from ipyactors.worker.logged import UNLOGGED, UndoneError
from ipyactors.worker.logged_answers import LoggedAnswers
from ipyactors.worker.logged_call import LoggedCall
from ipyactors.worker.loop import FINISHED
from ipyactors.worker.mailbox import Mailbox
from ipyactors.worker.running import Key

_READY = "__ray_ready__"


@dataclasses.dataclass(slots=True)
class _Waiting:
    """A call that waits for its turn; or the word to finish, which has no ``running``."""

    caller: bytes
    call: CallMethod | FinishAndExit
    running: CurrentCall | None


class Rounds:
    """Says what starts, and takes what ends. Any thread, but not under the session's lock.

    ``on_progress`` is called when this incarnation has ended its first round, ``give_up`` when it cannot go on.
    ``tell`` has people know what holds a round; empty: nothing does. ``exit`` is set when the actor was told to finish,
    and all before that is over.
    """

    def __init__(
        self,
        box: Mailbox,
        line: Line,
        executor: Executor,
        answers: LoggedAnswers,
        marks: Marks,
        limit: int,
        on_progress: Callable[[], None],
        give_up: Callable[[Exception], NoReturn],
        tell: Callable[[str], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._box = box
        self._line = line
        self._executor = executor
        self._answers = answers
        self._marks = marks
        self._on_progress: Callable[[], None] | None = on_progress
        self._give_up = give_up
        self._tell = tell
        self._monotonic = monotonic
        self._held_round = HeldRound()
        self._lock = threading.RLock()
        self._gate: Gate[Key] = Gate(limit)
        self._waiting: dict[Key, _Waiting] = {}
        self._finishes = 0
        self._has_cancelled = False
        self._resumed: dict[Key, LoggedCall] = {}
        self._names: dict[Key, str] = {}
        self._ended: dict[Key, tuple[LoggedCall, Message]] = {}
        self._held: list[tuple[bytes, Message]] = []
        self._parts: DurableParts | None = None
        self.exit: ActorExit | None = None

    def open(self, parts: DurableParts, unfinished: list[LoggedCall]) -> None:
        """Go on with an actor that is there; what was unfinished runs first, side by side."""
        self._parts, self._line.calls = parts, parts.calls
        self._resumed = {_key_of(logged): logged for logged in unfinished}
        self._names = {key: logged.running.name for key, logged in self._resumed.items()}
        self._gate.resume(self._resumed)

    # -- starting -----------------------------------------------------------------------------------------------

    def take(self) -> list[LoggedCall]:
        """Return what starts now, in the order in which it is to; what changes the actor is in the log."""
        parts, gate = self._parts, self._gate
        assert parts is not None, "the actor is not there yet"
        with self._lock:
            if gate.may_look_up:
                self._line.lose_gone(parts.calls.forget_process)
            self._sort_in()
            if self._has_cancelled:
                self._has_cancelled = False
                self._drop_cancelled()
            if gate.is_wanted and self._held_round.may_reopen(self._monotonic()):
                gate.reopen()
            taken: list[LoggedCall] = []
            while self.exit is None and self._executor.exit is None and (key := gate.start()) is not None:
                logged = self._resumed.pop(key, None) or self._admit(self._waiting.pop(key))
                if logged is None:
                    gate.forget(key)
                else:
                    taken.append(logged)
            if any(logged.lsn for logged in taken):
                parts.log.write()
                faultpoints.hit("durable.call.written")
            for logged in taken:
                self._prepare(logged)
            return taken

    def look_in_s(self) -> float | None:
        """Return in how many seconds to :meth:`take` and to ask here again, should nothing come or end; None: never.

        Called by the main thread. What holds a round for long is said here.
        """
        with self._lock:
            if not self._gate.is_held:
                return None
            held_round, now_s = self._held_round, self._monotonic()
            words = warning = ""
            if held_round.is_to_be_told(now_s):
                ended, running = ([self._names[key] for key in keys] for keys in self._gate.held)
                words = held_round.to_tell(now_s, ended, running)
                warning = held_round.to_warn(now_s, ended, running)
            due_s = held_round.look_in_s(now_s, is_wanted=self._gate.is_wanted)
        if words:
            self._tell(words)
        if warning:
            print(warning, file=sys.stderr)
        return due_s

    @property
    def is_held(self) -> bool:
        """Whether calls have ended that wait for others; somebody is to ask :meth:`look_in_s` then. Takes no lock."""
        return self._gate.is_held

    def note_cancelled(self) -> None:
        """Calls were cancelled that may be waiting: :meth:`take` looks. Takes no lock."""
        self._has_cancelled = True

    def _sort_in(self) -> None:
        """Have what is in the mailbox wait for its turn."""
        ready, cancelled = self._box.ready, self._box.cancelled
        while True:
            try:
                caller, call = ready.popleft()
            except IndexError:
                return
            if self._line.is_lost(caller):
                continue
            if isinstance(call, FinishAndExit):
                self._finishes += 1
                key, waiting, kind = (b"", -self._finishes), _Waiting(caller, call, None), Kind.ALONE
            else:
                assert isinstance(call, CallMethod), "an actor gets no tasks"
                key, running = (caller, call.seq), self._executor.describe(caller, call)
                waiting, kind = _Waiting(caller, call, running), _kind_of(call)
                is_admitted = self._executor.running.admit(key, running)
                if not is_admitted or (cancelled and key in cancelled):
                    cancelled.discard(key)
                    running.cancelled = self._has_cancelled = True
            self._waiting[key] = waiting
            self._gate.join(key, kind)

    def _drop_cancelled(self) -> None:
        cancelled = {key for key, one in self._waiting.items() if one.running is not None and one.running.cancelled}
        dropped = {key for key in cancelled if self._give_back(self._waiting[key])}
        self._gate.drop(dropped)
        for key in dropped:
            del self._waiting[key]

    def _give_back(self, waiting: _Waiting) -> bool:
        """Answer a cancelled call that has not run; return False for one that the log has: it is too late."""
        call, running, parts = waiting.call, waiting.running, self._parts
        assert isinstance(call, CallMethod)
        assert running is not None
        assert parts is not None
        if call.may_be_known and not call.is_readonly and not parts.calls.is_new(call):
            running.cancelled = False
            return False
        self._executor.cancel_unstarted(waiting.caller, call.seq)
        return True

    def _admit(self, waiting: _Waiting) -> LoggedCall | None:
        """Return the call if it is to run; it is in the log then, if it changes the actor."""
        caller, call, running, parts = waiting.caller, waiting.call, waiting.running, self._parts
        assert parts is not None
        if isinstance(call, FinishAndExit):
            self.exit = ActorExit(call.detail or FINISHED)
            return None
        assert running is not None
        if running.cancelled and self._give_back(waiting):
            return None
        try:
            logged = parts.calls.take(caller, call)
        except SegmentsMissing as error:
            logged = None
            self._answers.send(caller, ArgumentsMissing(call.seq, error.segment_ids))
        if logged is None:
            self._executor.running.pop((caller, call.seq), None)
        else:
            logged.running = running
        return logged

    def _prepare(self, logged: LoggedCall) -> None:
        running, parts = logged.running, self._parts
        assert parts is not None
        if chaos.armed is not None:
            chaos.armed.before(running, logged.call, is_logged=bool(logged.lsn))
        if logged.lsn:
            self._names[_key_of(logged)] = running.name
            parts.begin(logged, may_overlap=True)
        if running.caller:
            self._marks.mark(running.caller, running.seq)
        self._answers.begin(logged)

    # -- ending -------------------------------------------------------------------------------------------------

    def finish(self, logged: LoggedCall, message: Message) -> None:
        """Take a call that has ended; see :class:`~ipyactors.worker.logged_answers.Endings`."""
        if logged.lsn:
            self._check_end(logged, message)
        key = _key_of(logged)
        with self._lock:
            if logged.lsn:
                self._ended[key] = logged, message
            else:
                if isinstance(message, CallSucceeded) and not self._gate.is_settled:
                    message.version = None  # it has seen what may never have been
                self._held.append((logged.running.caller, message))
            if self._gate.end(key):
                took_s = message.duration_s if isinstance(message, CallSucceeded) else 0.0
                self._held_round.close(self._monotonic(), took_s)
        self._go_on()

    def keep_item(self, logged: LoggedCall, item: ItemYielded) -> bool:
        """See :class:`~ipyactors.worker.logged_answers.Endings`."""
        if logged.lsn:
            assert self._parts is not None
            if not self._parts.calls.keep_item(logged, item):
                logged.hold_back(item)
            return True
        with self._lock:
            if self._gate.is_settled:
                return False
            item.version = None
            self._held.append((logged.running.caller, item))
            return True

    def cancel(self, logged: LoggedCall) -> None:
        """A call was started and cancelled before its first step: it has not run."""
        parts, running = self._parts, logged.running
        assert parts is not None
        with self._lock:
            self._answers.forget(logged)
            if logged.lsn:
                self._executor.running.pop((running.caller, running.seq), None)
                parts.calls.cancel(logged)
                parts.note_over(logged.lsn)
            else:
                self._executor.cancel_unstarted(running.caller, running.seq)
            self._names.pop(_key_of(logged), None)
            self._gate.forget(_key_of(logged))
        self._go_on()

    def leave(self) -> None:
        """Answer what has ended beside the call that ended the actor, of which a checkpoint would have half.

        The actor never comes back, however this process ends: nobody will see it otherwise than as these answers say.
        """
        parts = self._parts
        assert parts is not None
        self._marks.note_leaving()
        with self._lock:
            for logged, message in self._ended.values():
                parts.calls.end_unsaved(logged, message)
            self._ended.clear()
            self._let_out()
        self._answers.flush()

    def _check_end(self, logged: LoggedCall, message: Message) -> None:
        """End the process if a call that was run again did something else: others ran beside it this time."""
        parts = self._parts
        assert parts is not None
        reason = parts.calls.objection_to(logged, message, may_diverge=True)
        if reason:
            with self._lock:
                parts.calls.undo(logged, reason)
            self._give_up(UndoneError(f"{logged.running.name} (lsn {logged.lsn}) is undone, because {reason}"))

    def _go_on(self) -> None:
        """End the round if nothing of it runs any more; let out what nothing can undo."""
        with self._lock:
            ended = [self._ended[key] for key in self._gate.take_ended()]
            if not ended and self._gate.is_settled:
                self._let_out()
        if ended:
            self._save(sorted(ended, key=lambda one: one[0].lsn))

    def _save(self, ended: list[tuple[LoggedCall, Message]]) -> None:
        """End calls by a checkpoint. The gate is closed meanwhile: nobody else uses the log's tables."""
        parts = self._parts
        assert parts is not None
        try:
            parts.calls.finish_together(ended)
        except UndoneError as error:
            self._give_up(error)
        parts.note_over(*(logged.lsn for logged, _ in ended))
        with self._lock:
            self._ended.clear()
            self._names.clear()
            self._gate.saved()
            self._let_out()
            was_told = self._held_round.end()
            on_progress, self._on_progress = self._on_progress, None
        if on_progress is not None:
            on_progress()
        if was_told:
            self._tell("")

    def _let_out(self) -> None:
        held, self._held = self._held, []
        for caller, message in held:
            self._answers.send(caller, message)


def _key_of(logged: LoggedCall) -> Key:
    return logged.running.caller, logged.running.seq


def _kind_of(call: CallMethod) -> Kind:
    if call.is_readonly or call.method == _READY:
        return Kind.READING
    return Kind.ALONE if call.method in UNLOGGED else Kind.CHANGING
