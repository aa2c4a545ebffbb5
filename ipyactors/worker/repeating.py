"""Calls of a log done again: each with what it had, and compared with how it had ended.

Nothing that they do leaves this process, and what they take from outside comes from the log. Used by the thread that
will run the actor's calls.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from ipyactors.durable import blobs, routes
from ipyactors.durable.blobs import BlobDamagedError
from ipyactors.durable.disk import Disk
from ipyactors.durable.record import Answer, Blob, Call, Done
from ipyactors.durable.recovery import Past
from ipyactors.ground import faultpoints
from ipyactors.ground.exceptions import NotReplayableError, RecoveryFailedError, ReplayDivergenceError
from ipyactors.ground.tracebacks import in_words
from ipyactors.owner import current
from ipyactors.owner.current import CurrentCall
from ipyactors.owner.templates import STREAMING
from ipyactors.wire import serialize
from ipyactors.wire.specs import Payload
from ipyactors.worker import ends
from ipyactors.worker.exit import ActorExit
from ipyactors.worker.hosting import HostedActor
from ipyactors.worker.results import items_of, load_args, not_unpickled, parts_of
from ipyactors.worker.row import Journal, diverged
from ipyactors.worker.turn import Turn

_decode_answer = msgspec.msgpack.Decoder(Answer).decode

Run = Callable[[Callable[..., Any], Sequence[Any], dict[str, Any]], Any]


class Repeater:
    """Does calls of one actor again, on the instance that it has. ``disk`` has their large values.

    ``run`` calls a method and returns its result, or that of the coroutine that it returned. ``_journal`` gives what
    they take from outside; ``_problems`` are sentences on what was of no use.
    """

    def __init__(self, actor: HostedActor, disk: Disk, run: Run, problems: list[str]) -> None:
        self._actor = actor
        self._disk = disk
        self._run = run
        self._journal: Journal | None = None
        self._problems = problems

    def _again(self, past: Past) -> None:
        call = past.call
        name = self._actor.name_of(call.method)
        assert self._journal is not None
        turn = Turn(self._journal, past.lsn, name, past.values, is_over=True)
        running = CurrentCall(b"", 0, call.call_id, name, self._actor.actor_id, turn=turn)
        running.thread = threading.get_ident()
        payloads = self._bring_arguments(call)
        results: list[Payload] = []
        error: BaseException | None
        token = current.call.set(running)
        pid = os.getpid()
        try:
            args, kwargs = self._load_arguments(call, payloads)
            value = self._run(self._actor.method(call.method), args, kwargs)
            results += _packed(value, call.num_returns, name)
            error = None
        except (ActorExit, SystemExit):  # no end of a call is like that
            raise
        except BaseException as raised:  # the user's code, and what it returns: as it was executed the first time
            error = raised
        finally:
            running.is_over = True
            current.call.reset(token)
        if os.getpid() != pid:  # a child that the method has forked, and that is at its end here
            os._exit(0)
        faultpoints.hit("durable.replay.call")
        turn.check_end("" if error is None else in_words(error))
        assert isinstance(past.end, Done)
        answer = _decode_answer(past.end.answer)
        if call.num_returns == 0 and answer.error is None and error is None:
            return  # nobody gets what it returns
        self._compare(past.lsn, name, answer, results, error)

    def _bring_arguments(self, call: Call) -> tuple[Payload, ...]:
        try:
            return blobs.arguments_of(self._disk, call)
        except BlobDamagedError as error:
            raise self._failed(f"the arguments of {call.method} are gone: {error}") from error

    def _check_unfinished(self, calls: Sequence[Past]) -> None:
        """Raise RecoveryFailedError if what a call has that is about to go on cannot be read any more."""
        for past in calls:
            for blob in routes.blobs_of_call(past.call, past.values):
                try:
                    blobs.read(self._disk, blob)
                except BlobDamagedError as error:
                    name = self._actor.name_of(past.call.method)
                    raise self._failed(f"what {name} (lsn {past.lsn}) was given is gone: {error}") from error

    def _load_arguments(self, call: Call, payloads: Sequence[Payload]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        payload, *rest = payloads
        try:
            return load_args(payload, tuple(rest))
        except Exception as error:  # the user's unpickling: the call was answered with that, and did not run
            raise not_unpickled(self._actor.name_of(call.method), error) from error

    def _compare(
        self, lsn: int, name: str, answer: Answer, results: Sequence[Payload], error: BaseException | None
    ) -> None:
        """Raise ReplayDivergenceError unless a call has ended as it did before."""

        def read(blob: Blob) -> Payload | None:
            try:
                return blobs.read(self._disk, blob)
            except BlobDamagedError as problem:
                self._pass_over(f"what {name} (lsn {lsn}) returned", problem)
                return None

        found = ends.difference(answer, results, error, read)
        if found is not None:
            raise self._diverged(lsn, name, *found) from error

    def _pass_over(self, what: str, problem: BlobDamagedError) -> None:
        """Go on without a comparison: a result that is gone is its caller's loss, and not the actor's."""
        self._problems.append(f"{what} cannot be compared: {problem}")

    def _diverged(self, lsn: int, name: str, was: str, now: str) -> ReplayDivergenceError:
        return diverged(name, lsn, f"it {was}, and now {now}", self._actor.actor_id)

    def _failed(self, why: str) -> RecoveryFailedError:
        problems = "".join(f"\n  {problem}" for problem in self._problems)
        return RecoveryFailedError(f"{why}{problems}", actor_id=self._actor.actor_id.hex())


def check_given(turn: Turn | None) -> None:
    """Raise RecoveryFailedError if a call could not be given what it had: how it has ended tells nothing then."""
    if turn is not None:
        with contextlib.suppress(ReplayDivergenceError, NotReplayableError):
            turn.check_end()


def _packed(value: Any, count: int, name: str) -> Iterator[Payload]:
    """Yield the results of a call, or its items. Raises what the first execution has raised where that cannot be."""
    if count == STREAMING:
        for index, item in enumerate(items_of(value, name)):
            yield serialize.dumps_result(item, name, f"item {index + 1}")
    elif count == 1:
        yield serialize.dumps_result(value, name)
    elif count > 1:
        for index, part in enumerate(parts_of(value, count, name)):
            yield serialize.dumps_result(part, name, f"result {index + 1}")
