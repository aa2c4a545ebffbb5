"""A durable actor whose calls run side by side, through its incarnations: on a simulated disk, stepped by hand.

All parts are the real ones, but for the process around them. A caller sends calls, and those that have no answer again
to each incarnation. What it is told is checked against what the actor is after each crash.
"""

from __future__ import annotations

import asyncio
import collections
import itertools
from collections.abc import Callable, Generator
from types import SimpleNamespace
from typing import Any, NoReturn

import msgspec

from ipyactors.durable.actor_log import ActorLog, read_remains
from ipyactors.durable.record import Open
from ipyactors.ground import ids
from ipyactors.wire import serialize
from ipyactors.wire.codec import Message
from ipyactors.wire.specs import ActorSpec, Definition, Durability, Payload
from ipyactors.wire.worker_messages import (
    ActorVersion,
    CallCancelled,
    CallMethod,
    CallRaised,
    CallSucceeded,
    CancelCall,
    FinishAndExit,
    ItemYielded,
)
from ipyactors.worker import mailbox
from ipyactors.worker.call_log import CallLog
from ipyactors.worker.checkpoint import Checkpointer
from ipyactors.worker.durable_loop import DurableParts, Line
from ipyactors.worker.execute import Executor
from ipyactors.worker.exit import exit_actor
from ipyactors.worker.guarded_log import GuardedLog
from ipyactors.worker.hosting import HostedActor
from ipyactors.worker.journal import LogJournal
from ipyactors.worker.logged import LoggedCalls
from ipyactors.worker.logged_answers import LoggedAnswers
from ipyactors.worker.logged_call import LoggedCall
from ipyactors.worker.mailbox import Mailbox
from ipyactors.worker.nested import Nested
from ipyactors.worker.output import Output
from ipyactors.worker.replay import Replayer
from ipyactors.worker.results import IN_MESSAGES
from ipyactors.worker.rounds import Rounds
from tests.support.sim_disk import ProcessDied, SimDisk

ACTOR = b"a" + b"7" * (ids.ACTOR_ID_BYTES - 1)
CALLER = b"d1234567"
SPEC = ActorSpec(
    ACTOR,
    "Ledger",
    CALLER,
    Definition(b"c" * 16, "Ledger", Payload(b"")),
    Payload(b""),
    max_concurrency=3,
    is_async=True,
    durability=Durability("process"),
)


class Step:
    """Awaited where a method may be overtaken by others."""

    def __await__(self) -> Generator[None, None, None]:
        yield


class Ledger:
    """Notes the beginning and the end of everything that changes it."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.ended: list[int] = []

    async def add(self, uid: int, *, fails: bool = False) -> int:
        self.begun.append(uid)
        try:
            await Step()
            if fails:
                raise ValueError(f"no {uid}")
            await Step()
        finally:
            self.ended.append(uid)
        return uid

    async def meet(self, uid: int) -> int:
        self.begun.append(uid)
        try:
            while max(self.begun) <= uid:  # until a later call has begun
                await Step()
        finally:
            self.ended.append(uid)
        return uid

    async def stream(self, uid: int) -> Any:
        self.begun.append(uid)
        yield uid
        await Step()
        yield -uid
        self.ended.append(uid)

    async def look(self) -> list[int]:
        before = list(self.begun)
        await Step()
        return before + self.begun

    async def watch(self) -> Any:
        yield list(self.begun)
        await Step()
        yield list(self.begun)

    async def leave(self, uid: int) -> None:
        self.begun.append(uid)
        await Step()
        exit_actor()


class Store:
    """Where the data of checkpoints is; ``is_broken``: nothing can be saved."""

    is_lasting = True

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.is_broken = False

    def save(self, name: str, data: bytes) -> str:
        if self.is_broken:
            raise OSError("no room")
        self.kept[name] = data
        return name

    def load(self, locator: str) -> bytes:
        return self.kept[locator]

    def remove(self, locator: str) -> None:
        del self.kept[locator]


def die(*_: object) -> NoReturn:
    raise ProcessDied


class Incarnation:
    """One process of the actor. ``sent`` is what it has said to its caller."""

    def __init__(self, disk: SimDisk, store: Store, number: int, limit: int = 3) -> None:
        self.sent: list[Message] = []
        self.tasks: dict[int, tuple[LoggedCall, Generator[Any, None, None]]] = {}
        self.hosted = HostedActor(SPEC, number)
        self.box = Mailbox(is_actor=True, incarnation=number)
        session: Any = SimpleNamespace(
            answer=lambda _peer, *messages: self.sent.extend(messages),
            flush=lambda: None,
            leader=SimpleNamespace(wake=lambda: None),
        )
        line = Line(self.box)
        self.answers = LoggedAnswers(session, line)
        self.answers.defer = lambda _flush: None  # whoever has something done here flushes; no clock decides
        self.executor = Executor(
            self.answers, Output(lambda *_: None), self.box.definitions, actor=self.hosted, leave=die
        )
        marks: Any = SimpleNamespace(mark=lambda *_: None, note_leaving=lambda: None)
        self.now_s = 0.0
        self.told: list[str] = []
        more = (lambda: None, self._give_up, self.told.append, lambda: self.now_s)
        self.rounds = Rounds(self.box, line, self.executor, self.answers, marks, limit, *more)
        self._keys = itertools.count()
        self._bring_up(disk, store, number)

    def _bring_up(self, disk: SimDisk, store: Store, number: int) -> None:
        """As ``DurableActor.bring_up``."""
        remains = read_remains(disk, ACTOR)
        construct: Callable[[Any], None] = lambda turn: self.hosted.build(lambda: (Ledger, (), {}), turn)  # noqa: E731
        replayer = Replayer(self.hosted, remains, disk, store, construct, lambda _id: Ledger, die)
        history = replayer.newest_history()
        lsns = [lsn for lsn, _ in history.tables.open.values()]
        opened = Open(b"c" * 16, "process", interrupted=lsns[0] if lsns else 0, beside=tuple(lsns[1:]))
        log = ActorLog(disk, remains, history, number, opened)
        guarded = GuardedLog(log, disk, ACTOR, die)
        journal = LogJournal(guarded, IN_MESSAGES, Nested(lambda _call: None))
        recovered = replayer.bring_back(journal)
        log.tables = recovered.history.tables
        call_log = CallLog(guarded, IN_MESSAGES)
        self.calls = LoggedCalls(call_log, IN_MESSAGES, self.executor.describe, self.answers.send, lambda *_: None)
        self.checkpointer = Checkpointer(self.hosted, call_log, SPEC.durability, store, lambda _made: None)  # type: ignore[arg-type]
        self.calls.checkpointer = self.checkpointer
        keeper: Any = SimpleNamespace(checkpoint=lambda: self.checkpointer.make().checkpoint_id)
        self.hosted.keeper = keeper
        self.answers.open(guarded, self.rounds)
        self.hosted.changes.start_at(call_log.last_lsn)
        self.tables = log.tables
        #: The state that a crash leaves; what is unfinished has no part in it.
        self.restored: list[int] = list(self.hosted.instance.begun)
        assert self.restored == sorted(self.restored, key=self.restored.index)
        assert collections.Counter(self.restored) == collections.Counter(self.hosted.instance.ended), "half of a call"
        unfinished = [self.calls.reopen(past.call, past.lsn, past.values) for past in recovered.unfinished()]
        begun: Any = SimpleNamespace(note=lambda _lsn: None)
        parts = DurableParts(
            guarded, journal, self.calls, begun, self.checkpointer, unfinished, lambda: self.told.append("caught up")
        )
        self.rounds.open(parts, unfinished)

    def _give_up(self, _error: Exception) -> NoReturn:
        self.answers.flush()
        die()

    def deliver(self, call: CallMethod | FinishAndExit | CancelCall) -> None:
        if isinstance(call, CancelCall):
            mailbox.on_cancel(self.box, self, CALLER, call)  # type: ignore[arg-type]
        elif isinstance(call, FinishAndExit):
            mailbox.on_finish(self.box, CALLER, call)
        else:
            mailbox.on_call(self.box, self, CALLER, call)  # type: ignore[arg-type]

    def look(self) -> None:
        """Start what may start."""
        for logged in self.rounds.take():
            task: Any = self.executor.run_async(logged.running, logged.call)
            self.tasks[next(self._keys)] = logged, task

    def step(self, which: int) -> None:
        """Have one of the tasks go on."""
        key = list(self.tasks)[which % len(self.tasks)]
        logged, task = self.tasks[key]
        try:
            if logged.running.cancelled:
                task.throw(asyncio.CancelledError())
            else:
                task.send(None)
        except StopIteration:
            del self.tasks[key]
        except asyncio.CancelledError:  # it had not begun
            del self.tasks[key]
            self.rounds.cancel(logged)
        self.rounds._gate.check_invariants()
        self.tables.check_invariants()

    def end(self) -> None:
        """Let go of what a dead process cannot do any more."""
        self.answers.finish = self.answers.send = lambda *_: None  # type: ignore[method-assign]
        self.executor._finish = lambda *_: None  # type: ignore[method-assign,assignment]
        for _, task in self.tasks.values():
            task.close()

    # -- the mailbox's out ----------------------------------------------------------------------------------------

    def answer(self, peer: bytes, message: Message) -> None:
        self.answers.finish(peer, message)

    def refuse(self, peer: bytes, seq: int, name: str, why: str) -> None:
        raise AssertionError(why)

    def interrupt(self, peer: bytes, seq: int, recursive: bool) -> None:
        running = self.executor.running.find((peer, seq))
        if running is not None:
            running.cancelled = True
            self.rounds.note_cancelled()


class Caller:
    """Sends calls to whichever incarnation there is, and keeps what it was told.

    ``lasting`` are those that must be in the actor's state once and for good, ``never`` those that must not.
    """

    def __init__(self) -> None:
        self.made = 0
        self.open: dict[int, CallMethod] = {}
        self.by_seq: dict[int, int] = {}
        self.process: Incarnation | None = None
        self.cancelled: set[int] = set()
        self.lasting: set[int] = set()
        self.never: set[int] = set()
        self.streams: dict[int, list[int]] = {}
        self.versions: dict[int, ActorVersion | None] = {}

    def make(self, method: str, *args: Any, is_readonly: bool = False, num_returns: int = 1, **kwargs: Any) -> int:
        """Make a call; return its uid, which is its first argument if it changes the actor."""
        self.made += 1
        uid = self.made
        given = () if is_readonly or method.startswith("__") else (uid, *args)
        self.open[uid] = CallMethod(
            0,
            ids.object_id(CALLER, uid),
            method,
            serialize.dumps_call(given, kwargs, what=method),
            num_returns=num_returns,
            is_readonly=is_readonly,
            is_persist=not is_readonly,
            counter=uid,
            crashes_allowed=-1,
        )
        return uid

    def send(self, uid: int, process: Incarnation, *, again: bool = False) -> None:
        self.streams.pop(uid, None)
        if process is not self.process:
            self.process, self.by_seq = process, {}
        seq = len(self.by_seq) + 1
        self.by_seq[seq] = uid
        call = self.open[uid] = msgspec.structs.replace(
            self.open[uid], seq=seq, incarnation=process.box.incarnation, may_be_known=again
        )
        process.deliver(call)
        if uid in self.cancelled:
            process.deliver(CancelCall(seq))

    def hear(self, process: Incarnation) -> None:
        """Take what an incarnation has said."""
        sent, process.sent = process.sent, []
        for message in sent:
            if isinstance(message, ItemYielded):
                uid = self.by_seq[message.seq]
                items = self.streams.setdefault(uid, [])
                assert message.index == len(items)
                items.append(serialize.loads(message.payload))
                if self.open[uid].is_readonly:
                    self.lasting.update(items[-1])  # type: ignore[call-overload]
                continue
            uid = self.by_seq[message.seq]  # type: ignore[attr-defined]
            call = self.open.pop(uid)
            if call.is_readonly:
                if isinstance(message, CallSucceeded) and message.results:
                    self.versions[uid] = message.version
                    self.lasting.update(serialize.loads(message.results[0]))
            elif call.method.startswith("__"):
                pass  # a checkpoint that was asked for is there, or is not
            else:
                self._judge(uid, call, message)

    def _judge(self, uid: int, call: CallMethod, message: Message) -> None:
        match message:
            case CallSucceeded():
                self.lasting.add(uid)
                if call.method == "stream":
                    assert self.streams[uid] == [uid, -uid]
                else:
                    assert serialize.loads(message.results[0]) == uid
            case CallRaised(error=error):
                if error.type_name == "CallAbortedError":
                    self.never.add(uid)
                else:
                    assert error.type_name == "ValueError", error
                    self.lasting.add(uid)
            case CallCancelled(started=started):
                assert uid in self.cancelled
                (self.lasting if started else self.never).add(uid)
            case _:
                raise AssertionError(message)

    def check(self, state: list[int]) -> None:
        """Raise AssertionError if a state that nothing undoes is not as this caller was told."""
        counted = collections.Counter(state)
        assert all(count == 1 for count in counted.values()), f"twice: {counted}"
        assert self.lasting <= counted.keys(), f"lost: {self.lasting - counted.keys()}"
        assert not self.never & counted.keys(), f"failed, and yet done: {self.never & counted.keys()}"
