"""Runs one call from its arguments to its answer, on whichever thread it is told to.

Everything that the user's code can do in between ends here as one answer: a result, an exception as it was raised,
a cancellation; or it ends the process, which the agent reports. What is pickled is code too: arguments and results
that misbehave while they are pickled count as the call's own failure.

:meth:`Executor.run` is on the path of every call; it is written for speed where that costs no clarity.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from types import CoroutineType
from typing import Any, NoReturn

from ipyactors.ground.exception_parts import is_a
from ipyactors.ground.exceptions import SerializationError
from ipyactors.ground.tracebacks import in_words, remember_source
from ipyactors.owner import current
from ipyactors.owner.current import CurrentCall
from ipyactors.owner.missing import SegmentsMissing
from ipyactors.owner.templates import ANY_EXCEPTION, STREAMING
from ipyactors.wire import serialize
from ipyactors.wire.codec import ProtocolError
from ipyactors.wire.specs import Definition, Payload
from ipyactors.wire.worker_messages import (
    ActorHasChanged,
    ArgumentsMissing,
    CallCancelled,
    CallMethod,
    CallRaised,
    CallSucceeded,
    NestedCallsLeft,
    RunTask,
)
from ipyactors.worker import chaos, main_module
from ipyactors.worker.answers import Answers
from ipyactors.worker.cancel import Interrupts
from ipyactors.worker.changes import HasChangedError
from ipyactors.worker.definitions import Definitions
from ipyactors.worker.errors import describe_error
from ipyactors.worker.exit import ActorExit, tell_exit
from ipyactors.worker.hosting import HostedActor
from ipyactors.worker.log_file import log_only
from ipyactors.worker.mailbox import Call
from ipyactors.worker.output import Output
from ipyactors.worker.results import IN_MESSAGES, Items, Results, Values, items_of, load_args, not_unpickled
from ipyactors.worker.running import Running

#: Who runs no longer has written nothing into the log by other ways than ``print``: one byte takes 0.8 µs. A look would
#: cost such a call 3 %.
_SHORTEST_WRITE_S = 2e-7

_monotonic = time.monotonic
_loads = pickle.loads
_set_call = current.call.set


class Executor:
    """Runs calls. ``running`` holds those that have started and are not answered.

    ``actor`` is what lives here, or None in a worker that runs tasks; ``leave`` ends the process with a status.
    ``lend(caller, *payloads)`` counts the references and handles in what is answered, before it is.
    ``values`` keeps large results and brings large arguments.
    ``interrupts`` makes calls interruptible; None where they do not run in the main thread. ``run_coroutine`` runs that
    of an ``async`` function in the serial way.
    """

    def __init__(
        self,
        answers: Answers,
        output: Output,
        definitions: Definitions,
        *,
        actor: HostedActor | None = None,
        interrupts: Interrupts | None = None,
        lend: Callable[..., object] = lambda _caller, *_payloads: None,
        values: Values = IN_MESSAGES,
        leave: Callable[[int], NoReturn],
    ) -> None:
        self.running = output.running = Running()
        self.busy_since_s = 0.0
        self.exit: ActorExit | None = None
        self._answers = answers
        self._finish = answers.finish
        self.output = output
        self._definitions = definitions
        self._actor = actor
        self._changes = None if actor is None else actor.changes
        self._interruptible = None if interrupts is None else interrupts.call
        self._leave = leave
        self._lend = lend
        self._values = values
        self._results = Results(values)
        self._functions = definitions.functions
        self._retry_on: dict[bytes, tuple[type[BaseException], ...]] = {}
        self.run_coroutine: Callable[[Any], Any] = _run_coroutine

    # -- running ----------------------------------------------------------------------------------------------

    def run(self, running: CurrentCall, call: Call) -> None:
        """Run ``call``, admitted as ``running``, on this thread and queue its answer."""
        caller = running.caller
        self._begin(running)
        items = Items(self._answers, self._lend, self._results, running, call, self._changes)
        interruptible = self._interruptible
        try:
            function, args, kwargs = self._prepare(call, running)
            started_s = _monotonic()
            if interruptible is None:
                value = function(*args, **kwargs)
            else:
                value = interruptible(running, function, args, kwargs)
            if call.num_returns == 1 and type(value) is not CoroutineType:
                duration_s = _monotonic() - started_s
                if self._changes is not None:
                    self._changes.check(running)
                results: tuple[Payload, ...] = (self._results.first(value, call, running.name),)
            else:
                if type(value) is CoroutineType:
                    run, value = self.run_coroutine, _known_by(running, value)
                    value = run(value) if interruptible is None else interruptible(running, run, (value,), {})
                if call.num_returns == STREAMING:
                    self._stream(value, running, items)
                    value = None
                duration_s = _monotonic() - started_s
                if self._changes is not None:
                    self._changes.check(running)
                results = self._results.split(value, call, running.name)
        except BaseException as error:  # whatever the user's code raises is its answer
            self._fail(caller, call, running, error)
        else:
            self._succeed(running, CallSucceeded(call.seq, results, duration_s))

    async def run_async(self, running: CurrentCall, call: Call) -> None:
        """Run ``call`` in this coroutine's own context and queue its answer; methods may be ``async``."""
        caller = running.caller
        now = self._begin(running)
        items = Items(self._answers, self._lend, self._results, running, call, self._changes)
        try:
            function, args, kwargs = self._prepare(call, running)
            value = function(*args, **kwargs)
            if type(value) is CoroutineType:  # and nothing else that can be awaited: a reference is a result
                value = await value
            if call.num_returns == STREAMING:
                if isinstance(value, AsyncIterator):
                    async for item in value:
                        items.send(item, running.name)
                        if items.is_enough:
                            if isinstance(value, AsyncGenerator):
                                await value.aclose()
                            break
                else:
                    self._stream(value, running, items)
                value = None
            duration_s = _monotonic() - now
            if self._changes is not None:
                self._changes.check(running)
            results = self._results.split(value, call, running.name)
        except BaseException as error:  # whatever the user's code raises is its answer
            self._fail(caller, call, running, error)
        else:
            self._succeed(running, CallSucceeded(call.seq, results, duration_s))

    def refuse(self, caller: bytes, seq: int, name: str, error: Exception) -> None:
        """Answer a call that will not be run."""
        self._finish(caller, CallRaised(seq, describe_error(error, function_name=name)))

    def cancel_unstarted(self, caller: bytes, seq: int) -> None:
        """Answer a call that was cancelled between being taken and being run."""
        self.running.pop((caller, seq), None)
        self._finish(caller, CallCancelled(seq, started=False))

    # -- taking -----------------------------------------------------------------------------------------------

    def admit(self, caller: bytes, call: Call) -> CurrentCall | None:
        """Count a call just taken from the line as running; answer it and return None if it has been cancelled."""
        running = self.describe(caller, call)
        if self.running.admit((caller, call.seq), running):
            if chaos.armed is not None:
                chaos.armed.before(running, call)
            return running
        self.cancel_unstarted(caller, call.seq)
        return None

    def describe(self, caller: bytes, call: Call) -> CurrentCall:
        """Return what the running code can know of its call."""
        if type(call) is CallMethod:
            actor = self._actor
            assert actor is not None, "a method call came into the line of a worker without an actor"
            name = actor.name_of(call.method)
            call_id = call.task_id if call.identity is None else call.identity.call_id  # as in the log, for replays
            running = CurrentCall(caller, call.seq, call_id, name, actor.actor_id, call.attempt)
        else:
            assert type(call) is RunTask
            running = CurrentCall(caller, call.seq, call.task_id, call.name, b"", call.attempt)
        if call.counter:
            running.counter, running.settled = call.counter, call.settled
            if type(call) is RunTask:
                running.given = call.values
        return running

    def _begin(self, running: CurrentCall) -> float:
        _set_call(running)
        self.busy_since_s = now = _monotonic()
        self.output.begin_call(running, now)
        outlet = self.output.outlet
        if outlet.last_caller != running.caller and running.caller:
            outlet.greet(running.caller)
        return now

    def _succeed(self, running: CurrentCall, answer: CallSucceeded) -> None:
        if running.exit_detail:
            self._note_exit(running, ActorExit(running.exit_detail))
            return
        if self._changes is not None:
            answer.version = self._changes.seen_by(running)
            self._changes.end(running)
        caller = running.caller
        self._end(running, answer.duration_s)
        for payload in answer.results:
            if payload.refs or payload.actor_ids:
                self._lend(caller, *answer.results)
                break
        self._finish(caller, answer)

    def _end(self, running: CurrentCall, duration_s: float = 1.0) -> None:
        caller, seq = running.caller, running.seq
        if duration_s > _SHORTEST_WRITE_S:
            self.output.look()
        running.is_over = True
        if running.unanswered:
            self._answers.queue(caller, NestedCallsLeft(seq))
            running.unanswered.when_none(lambda: self._answers.queue(caller, NestedCallsLeft(seq, is_over=True)))
        self.running.pop((caller, seq), None)
        self.busy_since_s = 0.0
        if self.output.open:
            self.output.end_call(caller, seq)

    def _stream(self, value: Any, running: CurrentCall, items: Items) -> None:
        value, done = items_of(value, running.name), object()
        interruptible = self._interruptible
        while True:
            # Only the user's part of the loop may be interrupted.
            item = next(value, done) if interruptible is None else interruptible(running, next, (value, done), {})
            if item is done:
                return
            items.send(item, running.name)
            if items.is_enough:
                if isinstance(value, Generator):
                    value.close() if interruptible is None else interruptible(running, value.close, (), {})
                return

    # -- before -----------------------------------------------------------------------------------------------

    def _bring(self, payload: Payload, arg_values: tuple[Payload, ...]) -> tuple[Payload, tuple[Payload, ...]]:
        """Return a call's arguments with their bytes. Raises SegmentsMissing."""
        if payload.stored is None and all(value.stored is None for value in arg_values):
            return payload, arg_values
        payload, *values = self._values.bring((payload, *arg_values))
        return payload, tuple(values)

    def _prepare(self, call: Call, running: CurrentCall) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        """Return what to call and with what. From then on a method counts as begun."""
        if type(call) is CallMethod:
            assert self._actor is not None
            function = self._actor.method(call.method)
        else:
            assert type(call) is RunTask
            function = self._functions.get(call.definition_id) or self._load_function(call)
        try:
            payload = call.args
            if payload.buffers or payload.stored or call.arg_values:
                args, kwargs = load_args(*self._bring(payload, call.arg_values))
            else:
                args, kwargs = _loads(payload.data)
        except SegmentsMissing:
            raise
        except Exception as error:
            raise not_unpickled(running.name, error) from error
        if type(call) is CallMethod and self._changes is not None:
            self._changes.begin(running, call)
        if chaos.armed is not None:
            function = chaos.armed.wrap(running, function)
        return function, args, kwargs

    def _load_function(self, call: RunTask) -> Callable[..., Any]:
        definition = self._definitions.get(call.definition_id)
        if definition is None:
            raise ProtocolError(
                f"Task {call.name} names a function that its caller never sent to this worker. It was not run."
            )
        function: Callable[..., Any] = load_definition(definition)
        self._definitions.note_loaded(call.definition_id, function)
        return function

    # -- after ------------------------------------------------------------------------------------------------

    def _fail(
        self,
        caller: bytes,
        call: Call,
        running: CurrentCall,
        error: BaseException,
    ) -> None:
        """Answer a call whose code raised, or do what it asks for: end the actor, end the process."""
        if self._changes is not None:
            self._changes.end(running)
        if is_a(error, HasChangedError):
            self._end(running)
            self._finish(caller, ActorHasChanged(call.seq))
            return
        if is_a(error, SegmentsMissing):
            self._end(running)
            self._finish(caller, ArgumentsMissing(call.seq, error.segment_ids))
            return
        if self._actor is not None and (running.exit_detail or is_a(error, ActorExit)):
            self._note_exit(running, error if is_a(error, ActorExit) else ActorExit(running.exit_detail))
            return
        if is_a(error, SystemExit):
            code = tell_exit(running.name, error, is_child=self.output.is_child)
            self.output.end_all()
            self._leave(code)
        self._end(running)
        is_cancelled = running.cancelled
        if is_cancelled and _is_interruption(error):
            self._finish(caller, CallCancelled(call.seq, started=True))
            return
        retryable = not is_cancelled and self.is_retryable(call.retry_on, error)
        described = describe_error(error, function_name=running.name, with_details=True)
        if described.payload is not None and described.payload.names_any:
            self._lend(caller, described.payload)
        self._finish(caller, CallRaised(call.seq, described, retryable))

    def _note_exit(self, running: CurrentCall, reason: ActorExit) -> None:
        """Leave the call among the running: its caller is told that the actor is ending."""
        self.exit = reason
        self.output.look()
        if self.output.open:
            self.output.end_call(running.caller, running.seq)

    def is_retryable(self, retry_on: bytes, error: BaseException) -> bool:
        """Return whether an exception is one of those with which a call asked to be run again."""
        if not retry_on:
            return False
        if retry_on == ANY_EXCEPTION:
            return is_a(error, Exception)
        try:
            kinds = self._retry_on.get(retry_on)
            if kinds is None:
                kinds = self._retry_on[retry_on] = tuple(_loads(retry_on))
            return is_a(error, kinds)
        except BaseException as problem:  # pickled by the user's process, may fail in any way
            print(f"retry_exceptions could not be read, so nothing is retried: {in_words(problem)}", file=log_only())
            self._retry_on[retry_on] = ()
            return False


def _run_coroutine(coroutine: Any) -> Any:
    from asyncio import run  # a worker that runs no coroutine need not import it

    return run(coroutine)


async def _known_by(running: CurrentCall, coroutine: Any) -> Any:
    """Run a call's coroutine; from then on its task is known from others that it may make."""
    from asyncio import current_task

    running.task = id(current_task())
    return await coroutine


def _is_interruption(error: BaseException) -> bool:
    """Return whether an exception is how a cancel shows: in the main thread, or in a coroutine."""
    from asyncio import CancelledError

    return is_a(error, (KeyboardInterrupt, CancelledError))


def load_definition(definition: Definition) -> Any:
    """Return the function or class, with its source known to tracebacks. Raises SerializationError."""
    for source in definition.sources:
        remember_source(source.filename, source.text, source.label)
    try:
        thing = serialize.loads(definition.payload)
    except Exception as error:
        raise SerializationError(
            f"{definition.name} could not be unpickled in the worker: {in_words(error)}. "
            "Nothing was run. What it uses must be importable there, or defined in the notebook."
        ) from error
    main_module.expose(thing)
    return thing
