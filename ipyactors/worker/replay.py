"""How a durable actor comes to be, and comes back: checkpoint, replay, and the calls that were not over.

A replay runs the calls that the log has, in their order, with what they took from outside at the time. Nothing that
they do leaves this process, what they print is not shown, and each must come to the end that the log says, or it is no
replay.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import CoroutineType
from typing import Any

import msgspec

from ipyactors.durable import blobs
from ipyactors.durable.actor_log import Remains
from ipyactors.durable.blobs import BlobDamagedError
from ipyactors.durable.disk import Disk
from ipyactors.durable.manifest import Manifest
from ipyactors.durable.record import Answer, Call, Done, Value
from ipyactors.durable.recovery import History, Past, made_of
from ipyactors.ground import faultpoints
from ipyactors.ground.checkpointable import Checkpoint
from ipyactors.ground.exceptions import LogDamagedError, RecoveryFailedError, ReplayDivergenceError, SerializationError
from ipyactors.ground.tracebacks import in_words
from ipyactors.owner import current
from ipyactors.owner.current import CurrentCall
from ipyactors.owner.templates import STREAMING
from ipyactors.wire import serialize
from ipyactors.wire.specs import Payload
from ipyactors.worker.checkpoint import Store
from ipyactors.worker.equality import same, shown
from ipyactors.worker.exit import ActorExit
from ipyactors.worker.hosting import HostedActor
from ipyactors.worker.results import load_args, parts_of
from ipyactors.worker.row import Journal, diverged
from ipyactors.worker.turn import Turn

_decode_answer = msgspec.msgpack.Decoder(Answer).decode

_ADDRESS = re.compile(r"0x[0-9a-fA-F]+")

Run = Callable[[Callable[..., Any], Sequence[Any], dict[str, Any]], Any]


@dataclasses.dataclass(slots=True)
class Recovered:
    """What a recovery has come to. ``checkpoint`` is what it began with, None for the constructor.

    ``replayed`` calls were run again in ``replay_s``; ``problems`` are sentences on checkpoints that were of no use.
    """

    history: History
    checkpoint: Manifest | None
    replayed: int = 0
    replay_s: float = 0.0
    problems: tuple[str, ...] = ()

    def unfinished(self) -> list[Past]:
        """Return the calls that are in the log and not over, in their order."""
        return [past for past in self.history.past.values() if past.end is None]


class Replayer:
    """Brings an actor back, in the thread that will run its calls. ``construct`` runs its constructor.

    ``run`` calls a method and returns its result, or that of the coroutine that it returned.
    """

    def __init__(
        self,
        actor: HostedActor,
        remains: Remains,
        disk: Disk,
        store: Store,
        construct: Callable[[Turn | None], None],
        load_class: Callable[[bytes], type],
        run: Run,
    ) -> None:
        self._actor = actor
        self._remains = remains
        self._disk = disk
        self._store = store
        self._journal: Journal | None = None
        self._histories: dict[int, History] = {}
        self._construct = construct
        self._load_class = load_class
        self._run = run
        self._problems: list[str] = [f"{name}: {problem}" for name, problem in remains.problems.items()]

    def newest_history(self) -> History:
        """Return what became of the actor since its newest checkpoint. Raises LogDamagedError, RecoveryFailedError."""
        for checkpoint in self._remains.checkpoints:
            with contextlib.suppress(LogDamagedError):
                return self._since(checkpoint)
        return self._since(None)

    def bring_back(self, journal: Journal) -> Recovered:
        """Make the actor what the log says that it is.

        Raises RecoveryFailedError; what the constructor raises, if the actor has no history; ReplayDivergenceError.
        """
        self._journal = journal
        by_itself = self._actor.durability.by_itself
        recovered = self._by_itself() if by_itself else self._from_checkpoint()
        if recovered is None:
            history = self._since(None)
            self._actor.definition_id = self._made_of
            self._build(history)
            recovered = Recovered(history, None)
        faultpoints.hit("durable.replay.began")
        self._replay(recovered)
        faultpoints.hit("durable.replay.ended")
        recovered.problems = tuple(self._problems)
        return recovered

    # -- where to begin -----------------------------------------------------------------------------------------

    def _from_checkpoint(self) -> Recovered | None:
        """Restore the newest checkpoint that can be; None if the constructor has to be run."""
        for checkpoint in self._remains.checkpoints:
            try:
                history = self._since(checkpoint)
                self._restore(checkpoint.data.definition_id, self._read(checkpoint))
            except Exception as error:  # the disk, the store, the user's unpickling
                self._problems.append(f"checkpoint {checkpoint.data.checkpoint_id}: {in_words(error)}")
                continue
            return Recovered(history, checkpoint)
        return None

    @property
    def _made_of(self) -> bytes:
        """The class whose constructor made the actor. What the session knows is the one that it was upgraded to."""
        return made_of(self._remains.contents) or self._actor.spec.definition.definition_id

    def _restore(self, definition_id: bytes, state: bytes) -> None:
        cls = self._load_class(definition_id)
        self._actor.restore(cls, state)
        self._actor.definition_id = definition_id

    def _read(self, checkpoint: Manifest) -> bytes:
        data = checkpoint.data
        state = self._store.load(data.locator)
        if len(state) != data.size or hashlib.blake2b(state, digest_size=16).digest() != data.digest:
            raise ValueError(f"its data at {data.locator} is not what was saved")
        return state

    def _by_itself(self) -> Recovered | None:
        """Run the constructor, and have the actor load one of its checkpoints; None if it loads none."""
        offered = list(self._remains.checkpoints)
        while offered:
            # Those that another class has saved are that one's to load.
            cls = self._actor.definition_id = offered[0].data.definition_id
            self._build(None)
            own = [one for one in offered if one.data.definition_id == cls]
            listed = [Checkpoint(one.data.checkpoint_id, int(one.data.wall_s * 1000)) for one in own]
            try:
                with current.outside_calls():
                    chosen = self._actor.instance.load_checkpoint(self._actor.actor_id.hex(), listed)
            except Exception as error:  # the user's code: there may be an older one
                self._problems.append(f"load_checkpoint raised {in_words(error)}")
                del offered[0]
                continue
            if chosen is None:
                return None
            found = next((one for one in own if one.data.checkpoint_id == chosen), None)
            if found is not None:
                return Recovered(self._since(found), found)
            self._problems.append(f"load_checkpoint returned {chosen!r}, which is none of those that it was given")
            del offered[0]
        return None

    def _since(self, checkpoint: Manifest | None) -> History:
        number = 0 if checkpoint is None else checkpoint.number
        if number not in self._histories:
            self._histories[number] = self._follow(checkpoint)
        return self._histories[number]

    def _follow(self, checkpoint: Manifest | None) -> History:
        try:
            return self._remains.since(checkpoint)
        except LogDamagedError as error:
            if checkpoint is None and self._remains.checkpoints:
                raise self._failed(
                    "no checkpoint can be used, and the log does not reach back to the beginning: that was dropped "
                    f"when they were made. {error}"
                ) from error
            raise

    def _build(self, history: History | None) -> None:
        """Run the constructor, with what it took from outside the first time; None: before a checkpoint is loaded."""
        past = history.construction if history is not None else self._constructed_with()
        has_history = history is not None and bool(history.past)
        name = f"{self._actor.class_name}.__init__"
        assert self._journal is not None
        turn = None
        if past is not None:
            turn = Turn(self._journal, 0, name, past, is_over=has_history or history is None)
        try:
            self._construct(turn)
            if turn is not None:
                turn.check_end()
        except (ReplayDivergenceError, RecoveryFailedError):
            raise
        except Exception as error:
            if history is not None and not has_history:
                raise
            raise self._failed(f"its constructor raised {in_words(error)}, and had not before") from error

    def _constructed_with(self) -> list[Value] | None:
        """Return what the constructor took from outside; None if the log has lost it, and it takes something new.

        So does that of a class that the actor was upgraded to.
        """
        if self._actor.definition_id != self._made_of:
            return None
        try:
            return self._since(None).construction
        except (LogDamagedError, RecoveryFailedError):
            return None

    # -- again --------------------------------------------------------------------------------------------------

    def _replay(self, recovered: Recovered) -> None:
        began_s = time.monotonic()
        finished = [past for past in recovered.history.past.values() if isinstance(past.end, Done)]
        if finished and self._actor.spec.max_concurrency > 1:
            raise self._failed(
                f"the call at lsn {finished[-1].lsn} ran side by side with others, so that only the checkpoint made "
                "when it ended has what it did, and that cannot be used"
            )
        open_lsn = next((past.lsn for past in recovered.history.past.values() if past.end is None), None)
        if open_lsn is not None and finished and finished[-1].lsn > open_lsn:
            raise self._failed(f"the call at lsn {open_lsn} has no end in the log, and later ones have")
        switches = list(recovered.history.switches)
        for past in finished:
            while switches and switches[0][0] < past.lsn:
                self._switch(*switches.pop(0))
            self._again(past)
        for lsn, definition_id in switches:
            self._switch(lsn, definition_id)
        recovered.replayed, recovered.replay_s = len(finished), time.monotonic() - began_s

    def _switch(self, lsn: int, definition_id: bytes) -> None:
        """Do an upgrade again; a checkpoint that has brought no other class is none."""
        if definition_id == self._actor.definition_id:
            return
        try:
            with current.outside_calls():
                state = self._actor.dump_state()
            self._restore(definition_id, state)
        except Exception as error:  # the disk, the user's pickling
            raise self._failed(
                f"it was upgraded to another class after lsn {lsn}, and that cannot be done again: {in_words(error)}"
            ) from error

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

    def _load_arguments(self, call: Call, payloads: Sequence[Payload]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        payload, *rest = payloads
        try:
            return load_args(payload, tuple(rest))
        except Exception as error:  # the user's unpickling: the call was answered with that, and did not run
            raise SerializationError(
                f"the arguments of {call.method} cannot be unpickled: {in_words(error)}"
            ) from error

    def _compare(
        self, lsn: int, name: str, answer: Answer, results: Sequence[Payload], error: BaseException | None
    ) -> None:
        """Raise ReplayDivergenceError unless a call has ended as it did before."""
        if answer.error is not None:
            was = _ADDRESS.sub("0x", answer.error.words)
            now = "returned" if error is None else _ADDRESS.sub("0x", in_words(error))
            if error is None or type(error).__qualname__ != answer.error.type_name:
                raise self._diverged(lsn, name, f"raised {was}", f"it {now}" if error is None else f"it raised {now}")
            return
        if answer.is_cancelled:
            return
        if error is not None:
            raise self._diverged(lsn, name, "returned", f"it raised {in_words(error)}") from error
        if len(results) != len(answer.results):
            raise self._diverged(lsn, name, f"gave {len(answer.results)} values", f"it gave {len(results)}")
        aside = {blob.index: blob for blob in answer.blobs}
        for index, (was_payload, now_payload) in enumerate(zip(answer.results, results, strict=True)):
            if index not in aside and now_payload.data == was_payload.data and not now_payload.buffers:
                continue
            whole = blobs.read(self._disk, aside[index]) if index in aside else was_payload
            if not same(whole, now_payload):
                was, now = (shown(serialize.loads(one)) for one in (whole, now_payload))
                raise self._diverged(lsn, name, f"returned {was}", f"it is {now}")

    def _diverged(self, lsn: int, name: str, was: str, now: str) -> ReplayDivergenceError:
        return diverged(name, lsn, f"it {was}, and now {now}", self._actor.actor_id)

    def _failed(self, why: str) -> RecoveryFailedError:
        problems = "".join(f"\n  {problem}" for problem in self._problems)
        return RecoveryFailedError(f"{why}{problems}", actor_id=self._actor.actor_id.hex())


def _packed(value: Any, count: int, name: str) -> Iterator[Payload]:
    """Yield the results of a call, or its items. Raises what the first execution has raised where that cannot be."""
    if count == STREAMING:
        for index, item in enumerate(value):
            yield serialize.dumps_result(item, name, f"item {index + 1}")
    elif count == 1:
        yield serialize.dumps_result(value, name)
    elif count > 1:
        for index, part in enumerate(parts_of(value, count, name)):
            yield serialize.dumps_result(part, name, f"result {index + 1}")


def plain_run(function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Call a method; one that is a coroutine is run to its end."""
    value = function(*args, **kwargs)
    if type(value) is CoroutineType:
        import asyncio

        return asyncio.run(value)
    return value
