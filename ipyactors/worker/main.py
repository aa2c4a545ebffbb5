"""A worker's life: called in the fresh child of the zygote, never returns."""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import functools
import logging
import os
import sys
import traceback
from typing import TYPE_CHECKING, Any, NoReturn

from ipyactors.ground.config import WorkerConfig
from ipyactors.ground.exception_parts import is_a
from ipyactors.ground.exceptions import SessionError, StorageFullError
from ipyactors.owner import current, process
from ipyactors.owner.creator import Creator
from ipyactors.owner.session import Session
from ipyactors.wire.deaths import TRY_AGAIN
from ipyactors.wire.head_messages import ActorExited, ActorInitFailed, ActorReady
from ipyactors.wire.marks import Marks
from ipyactors.wire.specs import ActorSpec
from ipyactors.worker import chaos, displays, log_file
from ipyactors.worker.answers import Answers
from ipyactors.worker.cancel import Interrupts
from ipyactors.worker.errors import describe_error
from ipyactors.worker.execute import Executor, load_definition
from ipyactors.worker.exit import (
    FAILED,
    GOODBYE_AT_MOST_S,
    ActorExit,
    end_after,
    install_exit_hook,
    leave,
    tell_exit,
    wait_to_be_ended,
)
from ipyactors.worker.host import WorkerHost
from ipyactors.worker.hosting import HostedActor
from ipyactors.worker.loop import Loop, SerialLoop, ThreadedLoop
from ipyactors.worker.mailbox import Mailbox
from ipyactors.worker.out import WorkerSession
from ipyactors.worker.output import Output
from ipyactors.worker.places import Places
from ipyactors.worker.results import load_args

if TYPE_CHECKING:
    from ipyactors.worker.durable import DurableActor


def run(config: WorkerConfig, worker_id: bytes, actor: ActorSpec | None, incarnation: int) -> NoReturn:
    """Be a worker until the end: run tasks, or with ``actor`` be its ``incarnation``.

    Call it in the main and only thread of a process with no ZeroMQ context. Descriptors 1 and 2 lead to the log.
    """
    session = None
    try:
        set_up_process(config)
        session = Session(
            config.paths,
            worker_id,
            is_driver=False,
            namespace=config.namespace,
            node_id=config.node_id,
            max_lineage_bytes=config.max_lineage_bytes,
        )
        process.set_session(session)
        chaos.prepare(config.paths.faults_path(worker_id))
        current.make_notes = functools.partial(_take_notes, session)
        if actor is not None:
            current.set_actor(actor, incarnation)
        worker = Worker(session, config.paths.marks_path(worker_id), actor, incarnation)
        worker.open_log(config.paths.log_path(worker_id))
        if actor is not None and actor.owner_address:
            worker.set_creator(Creator(session, actor.owner_id, actor.owner_address))
        worker.run()
    except SessionError:  # it ended while this worker had nothing to do, as it should
        leave(session, 0)
    except BaseException:  # the last words of a process that could not go on
        traceback.print_exc(file=log_file.log_only())
    leave(session, FAILED)


def _take_notes(session: Session, running: current.CurrentCall) -> current.Turn:
    from ipyactors.worker.task_notes import notes_of  # few tasks need it

    return notes_of(session, running)


def set_up_process(config: WorkerConfig) -> None:
    """Make this process resemble the driver: where it is, what it can import."""
    # Only the thread that crashed: the report on a death quotes the last lines, and they are to show the culprit.
    faulthandler.enable(file=2, all_threads=False)
    # The agent's own, inherited: what the user's code logs goes where Python would put it, to sys.stderr.
    logging.getLogger().handlers.clear()
    sys.path[:0] = [entry for entry in config.sys_path if entry not in sys.path]
    if config.cwd:
        with contextlib.suppress(OSError):  # the driver's folder may be gone; then the worker stays where it is
            os.chdir(config.cwd)


#: A process that could not bring its actor back for what may be over soon waits so long before the next one tries.
_TRY_AGAIN_AFTER_S = 5.0


class Worker:
    """All parts of one worker, put together."""

    def __init__(
        self, session: WorkerSession, marks_path: str, spec: ActorSpec | None = None, incarnation: int = 0
    ) -> None:
        self._session = session
        self._actor = None if spec is None else HostedActor(spec, incarnation)
        self._box = Mailbox(is_actor=spec is not None, incarnation=incarnation)
        self._is_durable = spec is not None and spec.durability is not None
        self._answers = self._make_answers()
        self.output = Output(self._answers.add, "" if self._actor is None else self._actor.source)
        self.output.outlet.actor_id = b"" if spec is None else spec.actor_id
        self._interrupts = Interrupts()
        self._executor = Executor(
            self._answers,
            self.output,
            self._box.definitions,
            actor=self._actor,
            interrupts=self._interrupts if spec is None else None,
            lend=session.custody.lend,
            values=session,
            leave=functools.partial(leave, session),
        )
        is_beside = self._is_durable and spec is not None and spec.max_concurrency > 1
        chaos.serve(session, self._answers, self._executor.is_retryable, closes=not is_beside)
        self._marks = Marks(marks_path)
        self.output.outlet.keep = self._marks.words.keep
        self._durable: DurableActor | None = None
        self._loop = self._choose_loop()
        places = Places(
            self._box,
            self._executor.running,
            is_serial=spec is not None and spec.max_concurrency == 1,
            has_event_loop=spec is not None and spec.is_async,
        )
        self.host = WorkerHost(session, self._box, self._executor, self._answers, self._loop, places)
        if self._is_durable:
            self.host.gone, places.awaited_by = self._line.gone, self._line.awaited_by

    def set_creator(self, creator: Creator) -> None:
        """Have what belongs to no call shown by whoever has created the actor."""
        self.host.creator = creator
        self.output.outlet.tell_creator = creator.tell

    def _make_answers(self) -> Answers:
        if not self._is_durable:
            return Answers(self._session, self._box.ready)
        from ipyactors.worker import durable_loop, logged_answers  # here and below: others have no use for it

        self._line = durable_loop.Line(self._box)
        return logged_answers.LoggedAnswers(self._session, self._line)

    def _choose_loop(self) -> Loop:
        session, box, executor, marks = self._session, self._box, self._executor, self._marks
        if self._actor is None:
            return SerialLoop(session, box, executor, marks, self._interrupts)
        spec = self._actor.spec
        if spec.durability is not None:
            return self._make_durable(self._actor)
        if spec.is_async:
            from ipyactors.worker.async_loop import AsyncLoop

            return AsyncLoop(session, box, executor, marks, self._answers, spec.max_concurrency)
        if spec.max_concurrency > 1:
            return ThreadedLoop(session, box, executor, marks, spec.max_concurrency)
        return SerialLoop(session, box, executor, marks, None)

    def _make_durable(self, actor: HostedActor) -> Loop:
        from ipyactors.worker import durable

        self._durable = durable.DurableActor(
            self._session, actor, self._line, self._executor, self._answers, self.output, self._marks, self._box
        )
        return self._durable.loop

    def open_log(self, path: str) -> None:
        """Have what is in the log beside what was printed found there."""
        self.output.log = log = log_file.open_of_process(path)
        if log is not None:
            log.on_sent = self._marks.note_sent

    def run(self) -> NoReturn:
        """Serve until the actor ends (a worker that runs tasks only ends when it is killed)."""
        self._interrupts.install()
        self.output.install()
        self.output.wake = self._session.leader.wake
        self._session.on_output = self.output.relay
        displays.install(self.output)
        install_exit_hook(self._session, self.output.look)
        self._session.serve(self.host.on_message, self.host.on_turn)
        self._session.start()
        try:
            reason = self._loop.run(self._start)
        except ActorExit as left_early:  # in the constructor
            self._show_all()
            reason = left_early
        self._end(reason)

    def _start(self) -> None:
        self._build_actor()
        self.output.look()  # now: what its programs have written is no call's
        self.host.is_starting = False

    def _build_actor(self) -> None:
        """Run the constructor and tell the head how it went; ends the process if it raised."""
        actor = self._actor
        if actor is None:
            return
        ready = ActorReady(actor.actor_id, actor.incarnation)
        try:
            if self._durable is None:
                actor.build(functools.partial(self._load, actor.spec))
            else:
                ready = ActorReady(actor.actor_id, actor.incarnation, *self._durable.bring_up(self._load))
        except ActorExit:
            raise
        except (OSError, StorageFullError) as error:
            if self._durable is None or not self._durable.has_past:
                self._fail(actor, error)
            # The disk's fault, not the log's: the next process may have more luck, and the head counts how often.
            print(f"{actor.source} could not be brought back now: {error}", file=log_file.log_only())
            if isinstance(error, StorageFullError):
                from ipyactors.worker.disk_room import await_room  # of durable actors alone

                await_room(self._session, self._durable.path)
            else:
                self._session.wait(lambda: False, _TRY_AGAIN_AFTER_S)
            leave(self._session, TRY_AGAIN)
        except SystemExit as error:
            code = tell_exit(f"{actor.class_name}.__init__", error, is_child=self.output.is_child)
            self._show_all()
            leave(self._session, code)
        except BaseException as error:  # whatever the user's constructor raises is the answer
            self._fail(actor, error)
        self._show_all()
        # To each head: one that is started again may not have heard it, and has people told.
        self._session.repeat_to_head(ready)
        if self._durable is not None:
            self._durable.confirm()

    def _fail(self, actor: HostedActor, error: BaseException) -> NoReturn:
        """End the process because its actor cannot be made, for good; the head is told why."""
        described = describe_error(error, function_name=f"{actor.class_name}.__init__")
        self._show_all()
        # For the death report, should the head be gone that is told here.
        print(described.traceback_text, file=log_file.log_only())
        self._marks.note_leaving()  # final, even if the head does not hear of it
        is_recovery = self._durable is not None and self._durable.has_past
        if self._durable is not None and not is_recovery and not is_a(error, StorageFullError):
            from ipyactors.durable import unborn  # of durable actors alone
            from ipyactors.durable.folder import Folder

            with contextlib.suppress(OSError):  # it only spares those who read the log later a guess
                unborn.note(Folder(self._durable.path), f"its constructor raised {described.words}")
        self._session.repeat_to_head(ActorInitFailed(actor.actor_id, actor.incarnation, described, is_recovery))
        wait_to_be_ended(self._session)
        leave(self._session, FAILED)

    def _show_all(self) -> None:
        """Have all that the constructor has written shown before the head says what became of it."""
        if self.output.is_child:  # of the constructor's own making: the sockets are the parent's
            return
        self.output.end_all()
        if self.host.creator is not None:
            self.host.creator.wait_until_heard()

    def _load(self, spec: ActorSpec) -> tuple[type, tuple[Any, ...], dict[str, Any]]:
        """Return the actor's class and what to call it with; what is large is fetched and mapped, and may be lost."""
        held = self._session.custody.receive_constructor(spec)
        cls = load_definition(spec.definition)
        payload, *values = self._session.bring((spec.args, *spec.arg_values))
        args, kwargs = load_args(payload, tuple(values))
        del held  # from here on the references that were unpickled count for themselves
        return cls, args, kwargs

    def _end(self, reason: ActorExit) -> NoReturn:
        """End the actor for good, in good order."""
        actor = self._actor
        goodbye = end_after(GOODBYE_AT_MOST_S, 0)
        self.output.end_all()
        with self._session.lock:
            self.host.tell_callers_of_exit(reason.detail)
        if actor is not None:
            # Before the hooks: should one of them crash, the end was meant. The head hears why, if the word gets there.
            self._marks.note_leaving()
            self._session.tell_head(ActorExited(actor.actor_id, actor.incarnation, reason.detail))
            self._session.flush()
            try:
                actor.say_goodbye()
            except BaseException:  # the actor ends anyhow; its log tells why this went wrong
                traceback.print_exc()
        atexit._run_exitfuncs()  # os._exit runs none; what the user registered is part of a good end
        self.output.end_all()
        goodbye.cancel()
        leave(self._session, 0)
