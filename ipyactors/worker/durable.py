"""All parts of a durable actor's process, put together: its folder, its log, its recovery, its loop."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import os
import pathlib
import platform
import socket
from collections.abc import Callable
from types import CoroutineType
from typing import Any, NamedTuple, NoReturn, Protocol

import msgspec

from ipyactors.durable import recovery, spec_file, waste
from ipyactors.durable.actor_log import ActorLog, Remains, read_remains
from ipyactors.durable.begun import Begun
from ipyactors.durable.checkpoint_store import open_store
from ipyactors.durable.folder import Folder
from ipyactors.durable.lock import FolderLock
from ipyactors.durable.log import segments_of
from ipyactors.durable.record import Open
from ipyactors.durable.recovery import History
from ipyactors.ground import faultpoints
from ipyactors.ground.exceptions import HeadUnavailableError, RecoveryFailedError, ReplayDivergenceError
from ipyactors.owner.actors import HandleToken
from ipyactors.owner.kv import HeadKv
from ipyactors.owner.objects import Entry
from ipyactors.owner.session import Session
from ipyactors.wire.deaths import TRY_AGAIN
from ipyactors.wire.durable_messages import (
    ActorBusy,
    ActorCaughtUp,
    ActorProgressed,
    ActorUpgraded,
    CheckpointMade,
    ConfirmReady,
)
from ipyactors.wire.head_messages import ActorInitFailed
from ipyactors.wire.interrupts import deferred
from ipyactors.wire.liveness import boot_id
from ipyactors.wire.marks import Marks
from ipyactors.wire.specs import ActorSpec, Definition, Payload, RemoteError
from ipyactors.worker import carried
from ipyactors.worker.answers import Answers
from ipyactors.worker.call_log import CallLog
from ipyactors.worker.checkpoint import Checkpointer, Made
from ipyactors.worker.disk_room import needs_room
from ipyactors.worker.durable_loop import DurableLoop, DurableParts, Line
from ipyactors.worker.durable_threads import DurableThreadedLoop
from ipyactors.worker.errors import describe_error
from ipyactors.worker.execute import Executor, load_definition
from ipyactors.worker.exit import leave, wait_to_be_ended
from ipyactors.worker.guarded_log import GuardedLog
from ipyactors.worker.hosting import HostedActor
from ipyactors.worker.journal import LogJournal
from ipyactors.worker.log_file import log_only
from ipyactors.worker.logged import LoggedCalls
from ipyactors.worker.logged_answers import LoggedAnswers
from ipyactors.worker.logged_call import LoggedCall
from ipyactors.worker.loop import Loop
from ipyactors.worker.mailbox import Mailbox
from ipyactors.worker.nested import Nested, complete_entry
from ipyactors.worker.out import WorkerSession
from ipyactors.worker.output import Output
from ipyactors.worker.replay import Recovered, Replayer
from ipyactors.worker.replay_progress import ReplayProgress
from ipyactors.worker.rounds import Rounds
from ipyactors.worker.taken_up import take_up
from ipyactors.worker.turn import Turn

Load = Callable[[ActorSpec], tuple[type, tuple[Any, ...], dict[str, Any]]]


class OpenedLoop(Loop, Protocol):
    """A way to run calls that begins when the actor is there."""

    def open(self, parts: DurableParts, unfinished: list[LoggedCall]) -> None:
        """Go on with an actor that is there; what was unfinished runs first."""
        ...


class Back(NamedTuple):
    """How an actor came back: from where in words (empty if it is new), and how many calls were replayed, how long."""

    words: str = ""
    replay_s: float = 0.0
    replayed: int = 0


class DurableActor:
    """Brings a durable actor up, and keeps it. Used by the main thread of its process.

    ``path`` is its folder; ``has_past``: there is a log of it, from a process before this one.
    """

    def __init__(
        self,
        session: WorkerSession,
        actor: HostedActor,
        line: Line,
        executor: Executor,
        answers: Answers,
        output: Output,
        marks: Marks,
        box: Mailbox,
    ) -> None:
        assert isinstance(session, Session)
        assert isinstance(answers, LoggedAnswers)
        self._session = session
        self._actor = actor
        self._executor = executor
        self._answers = answers
        self._tell_busy = functools.partial(_tell_busy, session, actor)
        self._output = output
        self._rounds = self._make_rounds(box, line, marks)
        self.loop = self._choose_loop(box, line, marks)
        self.has_past = False
        self.path = pathlib.Path(session.paths.actor_dir(actor.actor_id))
        self._disk = Folder(self.path)
        self._lock = FolderLock(self.path)
        self._begun = Begun(self.path / "begun")
        self._store = open_store(actor.durability.store, self.path, actor.actor_id, HeadKv(session))
        self._nested = Nested(session.submit, self._complete, functools.partial(HandleToken, session.count_handle))
        self._runner: Any = None
        self._checkpointer: Checkpointer | None = None
        self._is_in_danger = False
        if self._rounds is None:
            executor.run_coroutine = self.run_coroutine

    def _make_rounds(self, box: Mailbox, line: Line, marks: Marks) -> Rounds | None:
        """Return what says which calls run side by side; None where they run one after the other."""
        limit = self._actor.spec.max_concurrency
        if limit == 1:
            return None
        told = self._note_progress, self._give_up, self._tell_busy
        return Rounds(box, line, self._executor, self._answers, marks, limit, *told)

    def _choose_loop(self, box: Mailbox, line: Line, marks: Marks) -> OpenedLoop:
        session, executor, answers, rounds = self._session, self._executor, self._answers, self._rounds
        if rounds is None:
            return DurableLoop(session, box, line, executor, answers, marks, self._note_progress, self._give_up)
        if self._actor.spec.is_async:
            from ipyactors.worker.durable_async_loop import DurableAsyncLoop  # asyncio takes long to import

            return DurableAsyncLoop(session, box, executor, marks, answers, rounds)
        return DurableThreadedLoop(session, box, executor, rounds)

    # -- coming back --------------------------------------------------------------------------------------------

    def bring_up(self, load: Load) -> Back:
        """Make the actor what its log says that it is; return how it came back, if it did.

        Raises RecoveryFailedError, LogDamagedError, ReplayDivergenceError: it cannot be. Raises what its constructor
        raises, if it has no history. Raises NoRoomForLogError: the disk is full.
        """
        actor = self._actor
        self.has_past = bool(segments_of(self._disk))
        is_lasting = self._store.is_lasting or actor.durability.by_itself
        remains = read_remains(self._disk, actor.actor_id, boot_id(), is_lasting=is_lasting)
        faultpoints.hit("durable.open.read")
        if not spec_file.is_there(self._disk):
            with needs_room(self.path):
                spec_file.write(self._disk, actor.spec)
        replayer = Replayer(
            actor,
            remains,
            self._disk,
            self._store,
            functools.partial(self._construct, load),
            self._load_class,
            self._run,
        )
        replayer.progress = ReplayProgress(self._tell_busy)
        history = replayer.newest_history()
        interrupted = self._interrupted(history)
        # Before the constructor may run, which may take something from outside.
        with needs_room(self.path):
            log = self._open_log(remains, history, interrupted)
        journal = LogJournal(log, self._session, self._nested)
        with self._output.silenced(when=self.has_past):
            recovered = replayer.bring_back(journal)
        waste.remove(self._disk, remains.checkpoints, remains.problems)
        log.log.adopt(recovered.history.tables)
        crashes = recovered.history.crashes
        for lsn in interrupted:
            crashes[lsn] = (*crashes.get(lsn, ()), history.incarnation)
        self._serve(log, journal, recovered)
        if not remains.problems:  # or one that is there and cannot be read may be that which was saved last
            self._remove_unmade(remains)
        if recovery.has_progressed(remains.contents, next(iter(remains.checkpoints), None)):
            self._note_progress()  # its word of that may not have arrived
        return Back(recovered.in_words(), recovered.replay_s, recovered.replayed) if self.has_past else Back()

    def confirm(self) -> None:
        """Return when the head knows that the actor is back, if what runs next has ended a process before.

        A process that is ended at once takes along what it has just said: the head would count that against the actor.
        """
        if self._is_in_danger:
            _wait_until_heard(self._session, self._actor)

    def _remove_unmade(self, remains: Remains) -> None:
        """Have what was saved last removed, unless it has become a checkpoint."""
        assert self._checkpointer is not None
        if any(one.data.checkpoint_id == self._begun.unmade for one in remains.checkpoints):
            self._checkpointer.removal.note_made()
        self._checkpointer.removal.of_unmade()

    def _interrupted(self, history: History) -> list[int]:
        """Return the lsns of the calls that ran when the process before this one ended.

        Where several did, nobody can tell which of them is to blame: each of them is. They begin in their order; one
        that died in its recovery had begun none.
        """
        lsns, last = [lsn for lsn, _ in history.tables.open.values()], self._begun.last
        return [lsn for lsn in lsns if lsn == last or (lsn < last and self._rounds is not None)]

    def _open_log(self, remains: Remains, history: History, interrupted: list[int]) -> GuardedLog:
        """Open the log for writing behind all that is there."""
        actor = self._actor
        opened = Open(
            history.definition_id or actor.definition_id,
            actor.durability.level,
            socket.gethostname(),
            boot_id(),
            platform.python_version(),
            os.environ.get("PYTHONHASHSEED", ""),
            interrupted[0] if interrupted else 0,
            tuple(interrupted[1:]),
        )
        log = ActorLog(self._disk, remains, history, actor.incarnation, opened)
        self._begun.note(0)  # it is in the log now; this process has begun none
        return GuardedLog(log, self._disk, actor.actor_id)

    def _construct(self, load: Load, turn: Turn | None) -> None:
        actor = self._actor
        definition = self._definition(actor.definition_id)
        actor.build(functools.partial(load, msgspec.structs.replace(actor.spec, definition=definition)), turn)

    def _load_class(self, definition_id: bytes) -> type:
        cls: type = load_definition(self._definition(definition_id))
        return cls

    def _definition(self, definition_id: bytes) -> Definition:
        """Return a class that the actor runs, or ran. Raises RecoveryFailedError."""
        definition = self._actor.spec.definition
        if definition.definition_id == definition_id:
            return definition
        try:
            return spec_file.read_class(self._disk, definition_id)
        except (OSError, ValueError) as error:
            text = f"a class that it ran, {spec_file.class_name(definition_id)} in its folder, cannot be had: {error}"
            raise RecoveryFailedError(text, actor_id=self._actor.actor_id.hex()) from error

    def _serve(self, log: GuardedLog, journal: LogJournal, recovered: Recovered) -> None:
        """Have the loop go on from where the log ends."""
        actor = self._actor
        call_log = CallLog(log, self._session)
        calls = LoggedCalls(
            call_log,
            self._session,
            self._executor.describe,
            self._answers.send,
            self._session.custody.lend,
            self._output.outlet.claim,
        )
        checkpointer = Checkpointer(
            actor,
            call_log,
            actor.durability,
            self._store,
            self._tell_checkpoint,
            carry=carried.carrier(self._nested.unanswered, self._session, log, actor.actor_id),
            goes_on=self._rounds is None,
            saving=self._begun.saving,
            noted=self._begun,
            deaths=self._begun.saving_deaths,
        )
        checkpointer.note_replayed(recovered.replayed, recovered.replay_s)
        checkpointer.asks_actor = not recovered.is_of_older_class  # or those would expire without which it is lost
        calls.checkpointer = self._checkpointer = checkpointer
        calls.crashes = recovered.history.crashes
        actor.keeper = self
        actor.changes.start_at(call_log.last_lsn)
        self._answers.open(log, self._rounds or calls)
        unfinished = take_up(calls, recovered, self._session, actor.actor_id)
        log.write()  # what was given up is over, also if the next call ends this process at once
        if recovered.checkpoint is not None:  # before anything else is sent: these were made first
            made = recovered.checkpoint.data.carried
            self._nested.take_up(carried.send_again(self._session, made, self._disk))
        # To each head: one that is started again would keep for ever what the processes before this one had held.
        told = functools.partial(self._session.repeat_to_head, ActorCaughtUp(actor.actor_id, actor.incarnation))
        parts = DurableParts(log, journal, calls, self._begun, checkpointer, unfinished, told)
        self._is_in_danger = any(logged.is_begun for logged in unfinished)
        self.loop.open(parts, unfinished)
        self._nested.release()
        if not unfinished:
            told()
        faultpoints.hit("durable.open.served")

    # -- running ------------------------------------------------------------------------------------------------

    def run_coroutine(self, coroutine: CoroutineType[Any, Any, Any]) -> Any:
        """Run a coroutine to its end, always in the same event loop: what the actor keeps may belong to it."""
        if self._runner is None:
            import asyncio

            self._runner = asyncio.Runner()
        # A context of each call's own: a runner keeps that of its first, and with it the call that runs there.
        return self._runner.run(coroutine, context=contextvars.copy_context())

    def _run(self, function: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
        value = function(*args, **kwargs)
        return self.run_coroutine(value) if type(value) is CoroutineType else value

    def _complete(self, entry: Entry, given: Payload | RemoteError) -> None:
        """Give an object what the log says that it is."""
        with deferred(), self._session.lock:
            complete_entry(entry, given)

    def _note_progress(self) -> None:
        """Tell the head that this incarnation has ended its first call."""
        self._session.tell_head(ActorProgressed(self._actor.actor_id, self._actor.incarnation))

    def _give_up(self, error: Exception) -> NoReturn:
        """End the process: what it has in memory is not what the log says. The next one begins with the log."""
        self._answers.flush()
        self._output.end_all()
        print(error, file=log_only())
        if isinstance(error, (ReplayDivergenceError, RecoveryFailedError)):
            described = describe_error(error, function_name=f"{self._actor.class_name} (recovery)")
            actor = self._actor
            self._session.repeat_to_head(ActorInitFailed(actor.actor_id, actor.incarnation, described, True))
            wait_to_be_ended(self._session)
        leave(self._session, TRY_AGAIN)

    # -- checkpoints and classes --------------------------------------------------------------------------------

    def checkpoint(self) -> str:
        """See :class:`~ipyactors.worker.hosting.Keeper`."""
        assert self._checkpointer is not None
        return self._checkpointer.make().checkpoint_id

    def upgrade(self, definition: bytes, handle: bytes) -> None:
        """See :class:`~ipyactors.worker.hosting.Keeper`. Raises what prevents it; then all is as before."""
        assert self._checkpointer is not None
        actor = self._actor
        new = msgspec.msgpack.decode(definition, type=Definition)
        spec_file.write_class(self._disk, actor.spec.definition)
        spec_file.write_class(self._disk, new)
        faultpoints.hit("durable.upgrade.kept")
        self._checkpointer.make()
        faultpoints.hit("durable.upgrade.checkpointed")
        cls: type = load_definition(new)
        old_id, old = actor.definition_id, actor.instance
        try:
            actor.restore(cls, actor.dump_state())
            actor.definition_id = new.definition_id
            faultpoints.hit("durable.upgrade.switched")
            self._checkpointer.make()
        except BaseException:
            actor.definition_id = old_id
            actor.go_on_as(old)
            raise
        self._checkpointer.asks_actor = True
        faultpoints.hit("durable.upgrade.done")
        self._session.tell_head(ActorUpgraded(actor.actor_id, actor.incarnation, new, handle))
        _wait_until_heard(self._session, actor)  # who gets a handle after this has the methods of the new class

    def _tell_checkpoint(self, made: Made) -> None:
        actor = self._actor
        detail = f"checkpoint {made.checkpoint_id[:10]} after call {made.lsn}, {made.size:,} bytes"
        message = CheckpointMade(
            actor.actor_id, actor.incarnation, made.checkpoint_id, made.lsn, made.duration_s, detail
        )
        self._session.tell_head(message)


def _wait_until_heard(session: Session, actor: HostedActor) -> None:
    """Return when the head knows what it was told, or cannot be reached."""
    with contextlib.suppress(HeadUnavailableError):
        session.ask_head(lambda request_id: ConfirmReady(request_id, actor.actor_id, actor.incarnation))


def _tell_busy(session: Session, actor: HostedActor, words: str) -> None:
    """Tell the head what the actor is at for long."""
    session.tell_head(ActorBusy(actor.actor_id, actor.incarnation, words))
