"""What a worker makes of each message, and of each turn of the thread that reads: mailbox, loop and session joined."""

from __future__ import annotations

from collections import deque
from typing import Any

from ipyactors.ground.exceptions import ActorUnavailableError
from ipyactors.owner.creator import Creator
from ipyactors.wire.chaos_messages import ArmFaults, DisarmFaults
from ipyactors.wire.codec import Message, ProtocolError
from ipyactors.wire.creator_messages import OutputConfirmed
from ipyactors.wire.head_messages import OwnerLost
from ipyactors.wire.worker_messages import (
    ActorExiting,
    CallCancelled,
    CallMethod,
    CancelCall,
    Define,
    FinishAndExit,
    ForgetDefinitions,
    ProbeCalls,
    RunTask,
    ValueKept,
)
from ipyactors.worker import chaos, mailbox
from ipyactors.worker.answers import Answers
from ipyactors.worker.execute import Executor
from ipyactors.worker.loop import Loop
from ipyactors.worker.mailbox import Mailbox
from ipyactors.worker.out import WorkerSession
from ipyactors.worker.places import Places


class WorkerHost:
    """Handed to :meth:`Session.serve`; also the out of the mailbox's reactor. All under the session's lock.

    ``gone`` gets the ids of callers that are gone, if it is set; whoever takes them out does so without the lock.
    ``is_starting`` while the actor's constructor runs; ``creator`` is who has created it.
    """

    def __init__(
        self,
        session: WorkerSession,
        box: Mailbox,
        executor: Executor,
        answers: Answers,
        loop: Loop,
        places: Places,
    ) -> None:
        self._session = session
        self._box = box
        self._executor = executor
        self._answers = answers
        self._loop = loop
        self._places = places
        self._orphans: list[bytes] = []
        self._has_joined = False
        self.is_leaving = False
        self.is_starting = box.is_actor
        self.gone: deque[bytes] | None = None
        self.creator: Creator | None = None

    def on_message(self, caller: bytes, message: Any) -> None:
        """Act on one message of a caller."""
        kind = type(message)
        if self.is_leaving:
            return
        if kind is CallMethod or kind is RunTask:
            if self.gone is not None and caller not in self._box.streams:
                self._session.custody.watch(caller)
            args = message.args
            if args.refs or args.actor_ids or message.arg_values:
                self._session.custody.receive(caller, args, *message.arg_values)
            if kind is RunTask and message.faults:
                chaos.of_process().add_task(caller, message)
            joined = mailbox.on_call(self._box, self, caller, message)
            if joined:
                self._has_joined = True
                self._loop.on_joined(joined)
            return
        match message:
            case Define(definition):
                if definition.payload.names_any:
                    self._session.custody.receive(caller, definition.payload)
                self._box.definitions.add(caller, definition)
                self._session.custody.watch(caller)
            case ForgetDefinitions():
                self._session.discarded.extend(self._box.definitions.forget(caller, message.definition_ids))
            case ValueKept():
                running = self._executor.running.get((caller, message.seq))
                if running is not None:
                    running.kept = message.index + 1
            case OwnerLost():
                if self.gone is not None:
                    self.gone.append(message.owner_id)
                if self.creator is not None:
                    self.creator.on_lost(message.owner_id)
                self._session.discarded.extend(self._box.definitions.forget_caller(message.owner_id))
            case OutputConfirmed():
                if self.creator is not None:
                    self.creator.on_confirmed()
            case ArmFaults() | DisarmFaults():
                chaos.on_orders(self._session, message)
            case CancelCall():
                mailbox.on_cancel(self._box, self, caller, message)
            case FinishAndExit():
                mailbox.on_finish(self._box, caller, message)
                self._loop.on_joined(1)
            case ProbeCalls():
                self._session.blocking.on_probe(message, self._places.held_up(caller, message.seqs))

    def on_turn(self, now: float) -> float | None:
        """Give waiting tasks back if it is time to, send what has waited; return when to look again."""
        while self._orphans:
            self._session.cancel_children(self._orphans.pop())
        wait_s: float | None = None
        if self._box.ready and not self._box.is_actor:
            busy_since_s = self._executor.busy_since_s
            busy_for_s = now - busy_since_s if busy_since_s else None
            wait_s = mailbox.plan_give_back(self._box, busy_for_s, self._session.is_blocked)
            if wait_s == 0.0:
                if mailbox.give_back(self._box, self):
                    self._session.flush()
                wait_s = None
        # A call that came in this turn may be in neither place: it has left the line, and is not yet admitted.
        is_busy = bool(self._executor.running) or self._has_joined or self.is_starting
        self._has_joined = False
        wait_s = _sooner(wait_s, self._executor.output.on_turn(now, is_busy=is_busy))
        return _sooner(wait_s, self._answers.on_turn(now))

    def tell_callers_of_exit(self, detail: str) -> None:
        """Tell every caller that the actor is ending."""
        self.is_leaving = True
        for caller in self._box.streams:
            self._session.answer(caller, ActorExiting(detail))

    # -- the mailbox's out ------------------------------------------------------------------------------------

    def answer(self, peer: bytes, message: Message) -> None:
        """Tell a caller something; it leaves soon, whatever runs."""
        if isinstance(message, CallCancelled):
            self._answers.finish(peer, message)
        else:
            self._session.answer(peer, message)

    def refuse(self, peer: bytes, seq: int, name: str, why: str) -> None:
        """Answer a call that will not be run."""
        error = ActorUnavailableError(why) if self._box.is_actor else ProtocolError(why)
        self._executor.refuse(peer, seq, name, error)

    def interrupt(self, peer: bytes, seq: int, recursive: bool) -> None:
        """Cancel a call that runs, and with ``recursive`` what it has submitted."""
        running = self._executor.running.find((peer, seq))
        if running is None:
            return
        self._loop.interrupt(running)
        if recursive:
            # At the end of the turn: cancelling takes a turn of its own, which must not overtake this batch.
            self._orphans.append(running.task_id)


def _sooner(one_s: float | None, other_s: float | None) -> float | None:
    if one_s is None or other_s is None:
        return other_s if one_s is None else one_s
    return min(one_s, other_s)
