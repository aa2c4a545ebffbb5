"""A world in miniature for the protocol of durable actors: actors that append to a list, callers, crashes, a bad disk.

One thread, no clock: every step is taken by :meth:`World.step` as the random numbers say, so a seed is the whole story.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import random
from collections.abc import Callable

from ipyactors.durable import call_tables, log, manifest, segment
from ipyactors.durable.actor_log import ActorLog, read_remains
from ipyactors.durable.call_tables import Recorded, Verdict
from ipyactors.durable.log import LogSealedError
from ipyactors.durable.manifest import CheckpointData
from ipyactors.durable.record import Abort, Call, Done, Open, Outcome, Value, ValueKind
from ipyactors.durable.recovery import Past
from ipyactors.ground.exceptions import StorageFullError
from ipyactors.testing.history import Operation
from ipyactors.wire.specs import Payload
from tests.support.sim_disk import ProcessDied, SimDisk


def rolled(before: str, uid: str) -> str:
    """Return the hash of a list that has one more entry."""
    return hashlib.blake2b(f"{before}{uid}".encode(), digest_size=8).hexdigest()


@dataclasses.dataclass
class State:
    """The user's object: what was appended, with what was random about it, and the hash of all of it."""

    entries: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    hash: str = ""

    def append(self, uid: str, draw: Callable[[], str]) -> str:
        drawn = draw() if uid.endswith("r") else ""
        self.entries.append((uid, drawn))
        self.hash = rolled(self.hash, uid + drawn)
        if uid.endswith("x"):
            raise KeyError(uid)  # what it has done before stays done
        return f"{len(self.entries) - 1} {self.hash}"


class SimActor:
    """An actor with a disk, through all its incarnations; ``process`` is None while there is none."""

    def __init__(self, world: World, actor_id: bytes, level: str) -> None:
        self.world = world
        self.actor_id = actor_id
        self.level = level
        self.disk = SimDisk(world.random.randrange(1 << 30))
        self.data: dict[str, list[tuple[str, str]]] = {}
        self.keep = world.random.choice((1, 2, 3, 3))
        self.incarnation = -1
        self.boots = 0
        self.process: SimProcess | None = None

    @property
    def boot_id(self) -> str:
        """What tells this boot of the actor's machine from others."""
        return f"boot {self.boots}"

    def start(self) -> SimProcess | None:
        """Start the next incarnation; None if it died on the way."""
        self.incarnation += 1
        self.disk.dies_at = 0
        if self.world.random.random() < 0.2:
            self.disk.dies_at = self.disk.steps + self.world.random.randrange(1, 40)
        try:
            self.process = SimProcess(self)
        except (ProcessDied, LogSealedError):
            self.crash()
        return self.process

    def reaches_back(self) -> bool:
        """Return whether the log has everything from the beginning on."""
        return segment.name_at(0) in self.disk.files

    def check_kept(self) -> None:
        """Raise AssertionError unless there is what is to be there once a checkpoint was made."""
        made, _ = manifest.read_all(self.disk)
        assert 1 <= len(made) <= self.keep
        first = log.segments_of(self.disk)[0]
        assert first <= made[-1].position, "the log does not reach back to the oldest checkpoint"
        if self.level == "process" and self.boots:
            return  # what the power has taken was not dropped
        assert first == 0 or len(made) == self.keep, "the log was dropped while a checkpoint gone bad would need it"

    def crash(self) -> None:
        self.process = None
        if self.level == "host" and self.world.random.random() < 0.5:
            self.cut_power()

    def cut_power(self) -> None:
        self.disk.cut_power()
        self.boots += 1


class SimProcess:
    """One incarnation: recovers when it is made, then takes calls, and lets answers go when they are safe."""

    def __init__(self, actor: SimActor) -> None:
        self.actor = actor
        self.random = actor.world.random
        remains = read_remains(actor.disk, actor.actor_id, actor.boot_id)
        chosen = next((one for one in remains.checkpoints if one.data.checkpoint_id in actor.data), None)
        history = remains.since(chosen)
        assert history.incarnation < actor.incarnation, "a later incarnation has written already"
        self.state = State()
        if chosen is not None:
            self.state.entries = list(actor.data[chosen.data.checkpoint_id])
            for uid, drawn in self.state.entries:
                self.state.hash = rolled(self.state.hash, uid + drawn)
        unfinished = [past for past in history.past.values() if past.end is None]
        for past in history.past.values():
            if isinstance(past.end, Done):
                self._replay(past, past.end)
        interrupted = (
            unfinished[0].lsn if unfinished and actor.world.began.get(actor.actor_id) == unfinished[0].lsn else 0
        )
        opened = Open(b"class", actor.level, boot_id=actor.boot_id, interrupted=interrupted)
        self.log = ActorLog(actor.disk, remains, history, actor.incarnation, opened)
        self.answers: list[tuple[bytes, Recorded]] = []
        self.waiting: dict[bytes, list[bytes]] = {}
        for past in unfinished:
            self.execute(past)
        self.log.tables.check_invariants()

    def _replay(self, past: Past, done: Done) -> None:
        values = iter(past.values)
        outcome, answer = self._call(past, lambda: next(values).data.decode())
        assert (outcome, answer) == (done.outcome, done.answer), f"the replay of lsn {past.lsn} came out differently"

    def _call(self, past: Past, draw: Callable[[], str]) -> tuple[Outcome, bytes]:
        try:
            return Outcome.RETURNED, self.state.append(past.call.args.data.decode(), draw).encode()
        except KeyError as error:
            return Outcome.RAISED, f"{error} {self.state.hash}".encode()

    def execute(self, past: Past) -> None:
        """Execute a call for real, given what it had taken from outside before its process died."""
        world = self.actor.world
        world.began[self.actor.actor_id] = past.lsn
        self.maybe_die()
        drawn = iter(tuple(past.values))
        index = len(past.values)

        def draw() -> str:
            value = next(drawn, None)
            if value is None:
                value = Value(index, ValueKind.RANDOM, f"{self.random.random():.6f}".encode())
                self.log.add_value(past.lsn, value)
                self.log.secure()
                self.maybe_die()
            return value.data.decode()

        outcome, answer = self._call(past, draw)
        self.maybe_die()
        done = Done(past.call.call_id, outcome, answer, 0.001)
        if not past.call.is_persist:
            self.log.finish(done)
        elif not self.checkpoint(done):
            self.log.abort(Abort(done.call_id, "no checkpoint"))
            self.log.secure()
            raise ProcessDied  # with the state in memory, which is not to be

    def maybe_die(self) -> None:
        if self.random.random() < self.actor.world.death_rate:
            raise ProcessDied

    def take(self, calls: list[Call]) -> list[tuple[Call, Recorded | Exception]]:
        """Take calls in this order; return what their callers may be told now."""
        told: list[tuple[Call, Recorded | Exception]] = []
        taken: list[Call] = []
        waiting: list[Call] = []
        for call in calls:
            if taken and taken[-1].is_persist:
                break  # behind one that is over by a checkpoint none may be open
            try:
                verdict = self.log.take(call)
            except StorageFullError as error:
                told.append((call, error))
                break  # those behind it would overtake it
            assert verdict is not Verdict.DIVERGED
            if verdict is Verdict.NEW:
                taken.append(call)
            if verdict is not Verdict.SETTLED:
                waiting.append(call)
        self.log.write()
        for call in taken:
            lsn, _ = self.log.tables.open[call.call_id]
            self.execute(Past(lsn, call))
        self.log.secure()
        self.log.tables.check_invariants()
        told += [(call, call_tables.find(self.log.tables, call)) for call in waiting]
        return told

    def give_up(self, call: Call) -> Recorded | None:
        """Make sure that a call has no effect; None if it is too late for that."""
        if call_tables.judge(self.log.tables, call) is not Verdict.NEW:
            return None
        aborted = self.log.abort(Abort(call.call_id, "given up", call.caller_id, call.counter))
        self.log.secure()
        return aborted

    def checkpoint(self, *ended: Done) -> bool:
        """Save the state, then make it a checkpoint; return whether it is one. Calls may be over by it only."""
        actor = self.actor
        name = f"{actor.incarnation}-{self.log.position}"
        self.maybe_die()
        actor.data[name] = list(self.state.entries)
        self.maybe_die()
        try:
            expired = self.log.add_checkpoint(CheckpointData(name), actor.keep, ended=ended)
        except (OSError, StorageFullError):
            return False
        self.maybe_die()
        for one in expired:
            actor.data.pop(one.data.checkpoint_id, None)
        actor.check_kept()
        return True


@dataclasses.dataclass
class SimCaller:
    """Makes calls in an order, and keeps each until it has its answer."""

    caller_id: bytes
    counter: int = 0
    unanswered: dict[int, tuple[Call, Operation]] = dataclasses.field(default_factory=dict)
    answered: list[Call] = dataclasses.field(default_factory=list)

    @property
    def settled(self) -> int:
        """The counter below which it has all answers."""
        return min(self.unanswered, default=self.counter + 1)


class World:
    """One actor and some callers. ``history`` is what the callers can tell."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = 0
        self.death_rate = self.random.choice((0.0, 0.02, 0.1))
        self.faults = self.random.randrange(5)
        self.lost = 0
        self.began: dict[bytes, int] = {}
        self.history: list[Operation] = []
        self.actor = SimActor(self, b"a" * 16, self.random.choice(("process", "host")))
        self.callers = [SimCaller(b"driver%02d" % number) for number in range(self.random.randrange(1, 4))]
        self.sent: dict[bytes, int] = {}

    # -- steps ------------------------------------------------------------------------------------------------

    def step(self) -> None:
        """Do one thing."""
        self.now += 1
        faults = (self.crash, self.give_up, self.fill, self.lose_checkpoint)[: self.faults]
        usual = (self.call, self.call, self.deliver, self.deliver, self.deliver, self.repeat, self.checkpoint)
        action = self.random.choice((*usual, *faults))
        self.guard(action)

    def guard(self, action: Callable[[], None]) -> None:
        """Do it; whoever dies on the way is dead."""
        try:
            action()
        except (ProcessDied, LogSealedError):
            self.actor.crash()

    def process(self) -> SimProcess | None:
        """Return the process that runs, started if there is none."""
        return self.actor.process or self.actor.start()

    def call(self) -> None:
        caller = self.random.choice(self.callers)
        caller.counter += 1
        uid = f"{caller.caller_id.decode()}-{caller.counter}{self.random.choice('nnrxp')}"
        call_id = caller.caller_id + b"%012d" % caller.counter
        call = Call(
            call_id,
            caller.caller_id,
            caller.counter,
            "append",
            Payload(uid.encode()),
            digest=uid.encode(),
            is_persist=uid.endswith("p"),
        )
        operation = Operation(caller.caller_id.decode(), caller.counter, uid, invoked=self.now)
        self.history.append(operation)
        caller.unanswered[caller.counter] = call, operation

    def deliver(self) -> None:
        """Bring a caller's unanswered calls to the actor, the first so many of them; perhaps the answers get lost."""
        caller = self.random.choice(self.callers)
        process = self.process()
        if process is None:
            return
        call_tables.settle(process.log.tables, caller.caller_id, caller.settled)
        count = self.random.randrange(1, 5)
        told = process.take([call for call, _ in list(caller.unanswered.values())[:count]])
        process.maybe_die()
        if self.random.random() < 0.2:
            return
        for call, what in told:
            self.answer(caller, call, what)

    def answer(self, caller: SimCaller, call: Call, what: Recorded | Exception) -> None:
        _, operation = caller.unanswered.pop(call.counter)
        caller.answered.append(call)
        operation.completed = self.now
        if isinstance(what, Exception) or what.outcome is Outcome.ABORTED:
            operation.outcome = "failed"
            return
        operation.outcome = "ok"
        if what.outcome is Outcome.RETURNED:
            index, _, operation.digest = what.answer.decode().partition(" ")
            operation.index = int(index)

    def repeat(self) -> None:
        """Bring a call again whose answer its caller has had: nothing may come of it."""
        process, caller = self.process(), self.random.choice(self.callers)
        taken = [call for call in caller.answered if call.counter < caller.settled]
        if process is not None and taken:
            call_tables.settle(process.log.tables, caller.caller_id, caller.settled)
            before = list(process.state.entries)
            process.take([self.random.choice(taken)])
            assert process.state.entries == before

    def give_up(self) -> None:
        """A caller does not want its last call any more."""
        process, caller = self.process(), self.random.choice(self.callers)
        if process is None or not caller.unanswered:
            return
        call, _ = caller.unanswered[max(caller.unanswered)]
        try:
            aborted = process.give_up(call)
        except StorageFullError:
            return
        process.maybe_die()
        if aborted is not None:
            self.answer(caller, call, aborted)

    def checkpoint(self) -> None:
        process = self.process()
        if process is not None:
            process.checkpoint()

    def crash(self) -> None:
        self.actor.crash()

    def fill(self) -> None:
        """Fill the disk, or make room."""
        if not self.actor.disk.fails.pop("allocate", 0):
            self.actor.disk.fails["allocate"] = errno.ENOSPC

    def lose_checkpoint(self) -> None:
        """Lose the data of the newest checkpoint: the one before it is as good, and so is all of the log."""
        whole, _ = manifest.read_all(self.actor.disk)
        there = [one.data.checkpoint_id for one in whole if one.data.checkpoint_id in self.actor.data]
        if self.lost < 2 and there and (len(there) > 1 or self.actor.reaches_back()):
            del self.actor.data[there[0]]
            self.lost += 1
            self.actor.crash()

    # -- the end ----------------------------------------------------------------------------------------------

    def heal(self) -> list[str]:
        """Let everything work, answer everybody, and return what the actor has, from a last recovery."""
        self.death_rate = 0.0
        self.actor.disk.fails.clear()
        self.actor.crash()
        while any(caller.unanswered for caller in self.callers) or self.actor.process is None:
            self.now += 1
            self.guard(self.deliver)
        self.actor.crash()
        while (process := self.process()) is None:
            pass
        return [uid for uid, _ in process.state.entries]
