"""One replay of a durable actor's log, offline: begun with a state, done call by call, compared at each."""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import functools
import pathlib
import time
from collections.abc import Callable, Iterator
from types import CoroutineType
from typing import Any

from ipyactors.durable import constructions, replays, spec_file
from ipyactors.durable.blobs import BlobDamagedError
from ipyactors.durable.checkpoint_store import open_store
from ipyactors.durable.constructions import Stretch
from ipyactors.durable.disk import Disk
from ipyactors.durable.record import Abort, Done, Outcome
from ipyactors.durable.recovery import History, Past, Switch
from ipyactors.durable.replays import Plan, Start
from ipyactors.durable.session_kv import SessionKv
from ipyactors.ground.checkpointable import Checkpoint
from ipyactors.ground.exceptions import (
    RecoveryFailedError,
    ReplayDivergenceError,
    SerializationError,
)
from ipyactors.ground.tracebacks import in_words
from ipyactors.wire.specs import ActorSpec
from ipyactors.worker.execute import load_definition
from ipyactors.worker.exit import ActorExit
from ipyactors.worker.hosting import HostedActor
from ipyactors.worker.offline_session import OfflineSession, ReadingJournal
from ipyactors.worker.repeating import check_given
from ipyactors.worker.replay import Replayer
from ipyactors.worker.results import load_args
from ipyactors.worker.turn import Turn

#: What to do about a folder that is not in order.
FSCK = "`ipyactors fsck` tells what is wrong with the folder, and what can be saved"


@dataclasses.dataclass(frozen=True, slots=True)
class ReplayedCall:
    """One call of the log. ``outcome``: ``returned``, ``raised``, ``aborted`` (it has no effect), or ``not over``.

    ``logged_s`` is how long its method ran at the time, and ``replayed_s`` how long it took to do it again (seconds);
    None for what is not over, or aborted: that is not done again. ``problem`` tells what is not as the log says.
    """

    lsn: int
    name: str
    outcome: str
    logged_s: float | None = None
    replayed_s: float | None = None
    problem: str = ""


@dataclasses.dataclass(slots=True)
class Replayed:
    """What a replay has come to: the actor's ``instance``, as it was after the call ``until``.

    ``begun_with`` tells where it began, ``calls`` how many were done again, which took ``replayed_s``, and at the time
    ``logged_s``; beside them ``aborted`` calls had no effect, and ``unfinished`` ones are not over. ``notes`` are for
    people.
    """

    actor_id: str
    class_name: str
    begun_with: Start
    until: int
    instance: Any
    calls: int = 0
    aborted: int = 0
    unfinished: int = 0
    logged_s: float = 0.0
    replayed_s: float = 0.0
    notes: tuple[str, ...] = ()


def failed(spec: ActorSpec, why: str) -> RecoveryFailedError:
    """Return the error for an actor whose log cannot be replayed."""
    return RecoveryFailedError(f"{spec.class_name} {spec.actor_id.hex()}: {why}", actor_id=spec.actor_id.hex())


class Loops:
    """Runs coroutines, always in the same event loop: what the actor keeps may belong to it."""

    def __init__(self) -> None:
        self._runner: Any = None

    def run(self, function: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
        """Call a method, and run the coroutine that it returns."""
        value = function(*args, **kwargs)
        if type(value) is not CoroutineType:
            return value
        if self._runner is None:
            import asyncio

            self._runner = asyncio.Runner()
        return self._runner.run(value, context=contextvars.copy_context())

    def close(self) -> None:
        """Close the loop."""
        if self._runner is not None:
            self._runner.close()


class OfflineReplayer(Replayer):
    """One replay. What it lacks for a recovery is all that is done for real."""

    def __init__(
        self,
        spec: ActorSpec,
        disk: Disk,
        path: pathlib.Path,
        planned: Plan,
        session: OfflineSession,
        loops: Loops,
        on_call: Callable[[ReplayedCall], None],
        on_begin: Callable[[int], None],
    ) -> None:
        assert spec.durability is not None
        actor = HostedActor(spec, 0)
        store = open_store(spec.durability.store, path, spec.actor_id, SessionKv(path.resolve().parent.parent))
        super().__init__(actor, planned.remains, disk, store, self._construct_with, self._class_of, loops.run)
        self._problems.clear()
        self._reader = ReadingJournal(spec.actor_id, disk, session)
        self._journal = self._reader
        self._session = session
        self._on_call = on_call
        self._on_begin = on_begin
        self.on_checkpoint: Callable[[str, Any], None] = lambda _checkpoint_id, _instance: None
        self._passed: set[str] = set()
        self._made = [one.checkpoint for one in planned.starts if one.checkpoint is not None]

    def run(self, start: Start, until: int) -> Replayed:
        """Do again what follows ``start``, up to ``until``. Raises as :func:`~ipyactors.worker.offline.replay`."""
        self._remains = dataclasses.replace(
            self._remains, contents=replays.truncated(self._remains.contents, until), checkpoints=()
        )
        actor = self._actor
        history = self._begin(start)
        done = Replayed(actor.actor_id.hex(), actor.class_name, start, until, None)
        switches = list(start.switches)
        come_to = start.lsn
        for past in history.past.values():
            self._go_on(come_to, past.lsn - 1, switches)
            self._do(past, done)
            come_to = past.lsn
        self._go_on(come_to, until, switches)
        done.instance = actor.instance
        return done

    def _go_on(self, come_to: int, until: int, switches: list[Switch]) -> None:
        """Pass what is between two calls: checkpoints and upgrades."""
        self._pass(come_to, until)
        while switches and switches[0].lsn <= until:
            self._switch(switches.pop(0))
            self._pass(come_to, until)

    def _pass(self, come_to: int, until: int) -> None:
        """Tell of the checkpoints that are of the state now."""
        for one in self._made:
            data = one.data
            is_of_now = come_to <= one.lsn <= until and data.definition_id == self._actor.definition_id
            if is_of_now and data.checkpoint_id not in self._passed:
                self._passed.add(data.checkpoint_id)
                self.on_checkpoint(data.checkpoint_id, self._actor.instance)

    # -- where to begin -----------------------------------------------------------------------------------------

    def _begin(self, start: Start) -> History:
        checkpoint = start.checkpoint
        history = self._since(checkpoint)
        self._on_begin(start.lsn)
        if checkpoint is None:
            self._construct_with(self._turn_of(constructions.first_of(history.construction)))
        elif self._actor.durability.by_itself:
            self._load_by_itself(start)
        else:
            try:
                cls = self._load_class(checkpoint.data.definition_id)
                self._actor.restore(cls, self._read(checkpoint))
            except (OSError, ValueError) as error:
                raise self._failed(f"{start} cannot be had: {in_words(error)}. {FSCK}") from error
        return history

    @property
    def _constructor(self) -> str:
        return f"{self._actor.class_name}.__init__"

    def _turn_of(self, stretch: Stretch) -> Turn:
        return Turn(self._reader, 0, self._constructor, stretch.values, is_over=True, start=stretch.start)

    def _construct_with(self, turn: Turn | None) -> None:
        """Run the constructor, with what it took from outside; without, it takes something new."""
        try:
            self._actor.build(functools.partial(self._load, self._actor.spec), turn)
            if turn is not None:
                turn.check_end()
        except BaseException as error:
            with self._advising():
                check_given(turn)
            if isinstance(error, (RecoveryFailedError, SerializationError, KeyboardInterrupt)):
                raise
            self._check_possible(self._constructor)
            if isinstance(error, ReplayDivergenceError):
                raise
            raise self._diverged(0, self._constructor, "returned", f"it raised {in_words(error)}") from error

    def _load_by_itself(self, start: Start) -> None:
        """Have a ``Checkpointable`` load one checkpoint."""
        assert start.checkpoint is not None
        self._actor.definition_id = start.checkpoint.data.definition_id
        past = self._constructed_with(start.checkpoint)
        self._construct_with(None if past is None else self._turn_of(past))
        data = start.checkpoint.data
        listed = [Checkpoint(data.checkpoint_id, int(data.wall_s * 1000))]
        try:
            chosen = self._actor.instance.load_checkpoint(self._actor.actor_id.hex(), listed)
        except Exception as error:  # the user's code
            raise self._failed(f"load_checkpoint raised {in_words(error)} for {start}") from error
        if chosen != data.checkpoint_id:
            raise self._failed(f"load_checkpoint returned {chosen!r}, and was given {start} only")

    def _load(self, spec: ActorSpec) -> tuple[type, tuple[Any, ...], dict[str, Any]]:
        cls = self._class_of(self._actor.definition_id)
        payloads = (spec.args, *spec.arg_values)
        if any(one.stored is not None or one.stands_for is not None for one in payloads):
            raise self._failed("what its constructor was called with was in the memory of its session, and is gone")
        try:
            args, kwargs = load_args(spec.args, spec.arg_values)
        except Exception as error:  # the user's unpickling
            raise self._failed(f"the arguments of {self._constructor} cannot be had: {in_words(error)}") from error
        return cls, args, kwargs

    def _class_of(self, definition_id: bytes) -> type:
        definition = self._actor.spec.definition
        if definition.definition_id != definition_id:
            try:
                definition = spec_file.read_class(self._disk, definition_id)
            except (OSError, ValueError) as error:
                raise self._failed(f"a class that it ran cannot be had: {error}. {FSCK}") from error
        self._actor.definition_id = definition_id
        cls: type = load_definition(definition)
        return cls

    # -- again --------------------------------------------------------------------------------------------------

    def _do(self, past: Past, done: Replayed) -> None:
        name = self._actor.name_of(past.call.method)
        if not isinstance(past.end, Done):
            is_aborted = isinstance(past.end, Abort)
            done.aborted += is_aborted
            done.unfinished += not is_aborted
            self._on_call(ReplayedCall(past.lsn, name, "aborted" if is_aborted else "not over"))
            return
        self._on_begin(past.lsn)
        outcome = "returned" if past.end.outcome is Outcome.RETURNED else "raised"
        began_s = time.perf_counter()
        try:
            self._again_or_fail(past, name)
        except ReplayDivergenceError as error:
            took_s = time.perf_counter() - began_s
            self._on_call(ReplayedCall(past.lsn, name, outcome, past.end.duration_s, took_s, str(error)))
            raise
        took_s = time.perf_counter() - began_s
        done.calls += 1
        done.logged_s += past.end.duration_s
        done.replayed_s += took_s
        self._on_call(ReplayedCall(past.lsn, name, outcome, past.end.duration_s, took_s))

    def _again_or_fail(self, past: Past, name: str) -> None:
        try:
            with self._advising():
                self._again(past)
        except ReplayDivergenceError:
            self._check_possible(f"{name} (lsn {past.lsn})")
            raise
        except (ActorExit, SystemExit, GeneratorExit) as error:
            raise self._diverged(past.lsn, name, "ended", f"it ends the process: {in_words(error)}") from error

    @contextlib.contextmanager
    def _advising(self) -> Iterator[None]:
        """Tell also what to do about what is gone."""
        try:
            yield
        except RecoveryFailedError as error:
            raise RecoveryFailedError(f"{error}. {FSCK}", actor_id=self._actor.actor_id.hex()) from error

    def _check_possible(self, name: str) -> None:
        """Raise RecoveryFailedError if a call came to another end because it could not be given what it had."""
        if self._session.refused:
            raise self._failed(
                f"{name} cannot be replayed without its session, where nobody is there {self._session.refused[0]}: it "
                "asked for that past the log"
            )

    def _pass_over(self, what: str, problem: BlobDamagedError) -> None:
        """Refuse: there is nothing that this could be compared with, and that is what it is done for."""
        raise self._failed(f"{what} is gone: {problem}") from problem

    def _failed(self, why: str) -> RecoveryFailedError:
        return failed(self._actor.spec, why)
