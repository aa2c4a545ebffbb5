"""A world in miniature for durable actors that call each other: a bank, its accounts, drivers, tasks that are retried.

All that decides is the real thing: the owner's reactor and its tables on the side of who calls; log, turns, journal,
nested calls, replay and checkpoints on the side of who is called. Simulated are the processes, what travels between
them, the head (it only tells of incarnations) and the disks. Methods are generators that yield the references whose
values they want, so that everything is in one thread and every step is taken as the random numbers say.
"""

from __future__ import annotations

import random
import threading
import zlib
from collections import deque
from collections.abc import Callable, Generator, Sequence
from types import GeneratorType
from typing import Any, NoReturn

from ipyactors.durable.actor_log import ActorLog, read_remains
from ipyactors.durable.carried import CarriedCall
from ipyactors.durable.record import Open
from ipyactors.engines import nesting, submission
from ipyactors.ground import ids
from ipyactors.owner import current, outbox, reactor, values
from ipyactors.owner.actors import ActorClient, MethodCall
from ipyactors.owner.current import CurrentCall
from ipyactors.owner.objects import Entry
from ipyactors.owner.refs import ObjectRef
from ipyactors.owner.retriable import Retriable
from ipyactors.owner.state import OwnerState
from ipyactors.owner.templates import MethodTemplate
from ipyactors.wire import serialize
from ipyactors.wire.codec import Message
from ipyactors.wire.head_messages import ActorChanged
from ipyactors.wire.specs import ActorSpec, ActorState, ActorStatus, Definition, Durability, Payload
from ipyactors.wire.worker_messages import CallMethod, CallRaised, CallSucceeded
from ipyactors.worker import carried
from ipyactors.worker.call_log import CallLog
from ipyactors.worker.checkpoint import Checkpointer
from ipyactors.worker.errors import describe_error
from ipyactors.worker.guarded_log import GuardedLog
from ipyactors.worker.hosting import HostedActor
from ipyactors.worker.journal import LogJournal
from ipyactors.worker.logged import LoggedCalls
from ipyactors.worker.logged_call import LoggedCall
from ipyactors.worker.nested import Nested
from ipyactors.worker.replay import Recovered, Replayer
from ipyactors.worker.results import IN_MESSAGES, load_args
from ipyactors.worker.turn import Turn
from tests.support.owner_scenario import HEAD, OWNER, RecordingOut
from tests.support.sim_disk import ProcessDied, SimDisk

#: Nothing that lives takes so many steps once everything works.
_STEPS_AT_MOST = 20_000

Script = Generator[list[ObjectRef], list[Any], Any]


class Process(RecordingOut):
    """One process: it owns what it submits. What it sends goes onto the world's links."""

    def __init__(self, world: World, process_id: bytes) -> None:
        super().__init__()
        self.world = world
        self.process_id = process_id
        self.state = OwnerState(process_id, "mem://")
        self.receive = lambda _sender, _payload: None
        self._made = 0
        world.processes[process_id] = self

    def to_head(self, message: Message) -> None:
        """Nobody counts handles here."""

    def to_worker(self, worker_id: bytes, message: Message) -> None:
        assert worker_id in self.connected
        self.world.send(self.process_id, worker_id, message)

    def hear(self, peer: bytes, message: Message) -> None:
        """Take a message of an actor's worker or of the head."""
        reactor.HANDLERS[type(message)](self.state, self, peer, message, 0.0)
        reactor.settle(self.state, self, 0.0)

    def submit(self, call: MethodCall) -> None:
        """Take a call; the engine and a replay's release come here."""
        reactor.submit(self.state, self, call)
        reactor.settle(self.state, self, 0.0)

    def client_of(self, actor: SimActor) -> ActorClient:
        """Return the client of an actor; the head tells how the actor is."""
        client = self.state.actors.get(actor.actor_id)
        if client is None:
            client = outbox.client_of(self.state, actor.actor_id)
            client.class_name, client.weight = actor.cls.__name__, 1
            self.world.send(HEAD, self.process_id, ActorChanged(actor.status()))
        return client

    def call(self, actor: SimActor, method: str, *args: Any, last: Entry | None = None) -> ObjectRef:
        """Call a method, as the engine does. ``last`` is one more argument, which may not be there yet."""
        client = self.client_of(actor)
        template = MethodTemplate(method, max_task_retries=-1, is_durable=True, is_persist=method == "collect")
        self._made += 1
        parent = current.call.get()
        task_id = ids.object_id(self.process_id, self._made)
        given = args if last is None else (*args, serialize.ArgSlot(0))
        deps = () if last is None else (last,)
        call = MethodCall(template, client, task_id, serialize.dumps_call(given, {}, what=method), deps, parent)
        nested = None
        digest = nesting.digest_of(actor.actor_id, method, args, {})
        if parent is not None and parent.turn is not None:
            nested = nesting.begin(parent.turn, digest, call.name, 1)
        nesting.identify(call, parent, nested, digest)
        session: Any = self
        origin: Any = None
        made = submission.submit(session, call, 1, None, origin, nested)
        assert isinstance(made, ObjectRef)
        return made


class TaskRun(Process):
    """One attempt of a task: a script whose calls have the same ids in every attempt."""

    def __init__(self, world: World, number: int, attempt: int, script: Callable[[Process], Script]) -> None:
        super().__init__(world, world.new_id(b"w"))
        self.number = number
        task_id = ids.object_id(OWNER, number)
        settled = world.retriable.below()
        self.running = CurrentCall(b"", 1, task_id, "task", attempt=attempt, counter=number, settled=settled)
        self.script = script(self)
        self.wanted: list[ObjectRef] | None = None
        self.result: Any = None
        self.is_over = False
        self.late: Entry | None = None

    @property
    def is_quiet(self) -> bool:
        """Whether it is over, and all that it has called."""
        return self.is_over and not self.running.unanswered

    def step(self) -> None:
        """Go on, if what it waits for is there."""
        if self.late is not None and self.world.random.random() < 0.05:
            late, self.late = self.late, None
            late.complete(serialize.dumps(5, what="an argument"))
            reactor.settle(self.state, self, 0.0)
        if self.wanted is None and not self.is_over:  # it is sent to its worker now
            self.running.settled = self.world.retriable.below()
        if self.is_over or (self.wanted and not all(ref._entry.done for ref in self.wanted)):
            return
        token = current.call.set(self.running)
        try:
            got = None if self.wanted is None else [values.value_of(ref._entry) for ref in self.wanted]
            self.wanted = self.script.send(got)  # type: ignore[arg-type]  # None begins it
        except StopIteration as end:
            self.result, self.is_over = end.value, True
            self._end()
        finally:
            current.call.reset(token)

    def _end(self) -> None:
        """Tell the owner, as the executor does."""
        running, retriable = self.running, self.world.retriable
        running.is_over = True
        if running.unanswered:
            retriable.keep(self.number, self.process_id, 1)
            running.unanswered.when_none(lambda: retriable.let_go(self.process_id, 1))
        retriable.remove(self.number)


class SimStore:
    """Where the data of an actor's checkpoints is."""

    is_lasting = True

    def __init__(self, world: World) -> None:
        self.world = world
        self.kept: dict[str, bytes] = {}

    def save(self, name: str, data: bytes) -> str:
        self.world.maybe_die()
        self.kept[name] = data
        self.world.maybe_die()
        return name

    def load(self, locator: str) -> bytes:
        if locator not in self.kept:
            raise FileNotFoundError(locator)
        return self.kept[locator]

    def remove(self, locator: str) -> None:
        self.world.maybe_die()
        self.kept.pop(locator, None)


class SimActor:
    """An actor through all its incarnations; ``process`` is None while there is none."""

    def __init__(self, world: World, cls: type, level: str) -> None:
        self.world = world
        self.cls = cls
        self.actor_id = world.new_id(b"a", ids.ACTOR_ID_BYTES)
        definition = Definition(b"c" * 16, cls.__name__, Payload(b""))
        durability = Durability(level, keep=world.random.choice((1, 2, 3)))
        self.spec = ActorSpec(self.actor_id, cls.__name__, b"", definition, Payload(b""), durability=durability)
        self.disk = SimDisk(world.random.randrange(1 << 30))
        self.store = SimStore(world)
        self.incarnation = -1
        self.begun = 0
        self.process: ActorProcess | None = None

    def status(self) -> ActorStatus:
        if self.process is None:
            return ActorStatus(self.actor_id, ActorState.RESTARTING, self.incarnation, -1)
        worker_id = self.process.process_id
        return ActorStatus(self.actor_id, ActorState.ALIVE, self.incarnation, -1, worker_id, address="mem://")

    def start(self) -> None:
        """Start the next incarnation, unless it dies on the way."""
        world = self.world
        self.incarnation += 1
        self.disk.dies_at = 0
        if world.death_rate and world.random.random() < 0.1:
            self.disk.dies_at = self.disk.steps + world.random.randrange(1, 60)
        process = ActorProcess(self)
        try:
            process.bring_up()
        except ProcessDied:
            self.lose(process)
            return
        self.process = process
        world.tell(self)

    def crash(self) -> None:
        if self.process is not None:
            process, self.process = self.process, None
            self.lose(process)
            self.world.tell(self)

    def lose(self, process: ActorProcess) -> None:
        process.end()
        if self.spec.durability.level == "host" and self.world.random.random() < 0.5:  # type: ignore[union-attr]
            self.disk.cut_power()
            self.begun = 0
        self.world.lose(process)


class ActorProcess(Process):
    """One incarnation of a durable actor."""

    def __init__(self, actor: SimActor) -> None:
        super().__init__(actor.world, actor.world.new_id(b"w"))
        self.actor = actor
        self.hosted = HostedActor(actor.spec, actor.incarnation)
        self.inbox: deque[tuple[bytes, CallMethod]] = deque()
        self.line: deque[LoggedCall] = deque()
        self.kept: deque[tuple[bytes, Message]] = deque()
        self.current: LoggedCall | None = None
        self.script: Script | None = None
        self.wanted: list[ObjectRef] | None = None
        self.ending: Message | None = None

    # -- coming back --------------------------------------------------------------------------------------------

    def bring_up(self) -> None:
        """As ``DurableActor.bring_up``."""
        actor = self.actor
        remains = read_remains(actor.disk, actor.actor_id)
        replayer = Replayer(
            self.hosted, remains, actor.disk, actor.store, self._construct, lambda _id: actor.cls, self._replay
        )
        history = replayer.newest_history()
        interrupted = actor.begun if actor.begun in {lsn for lsn, _ in history.tables.open.values()} else 0
        assert actor.spec.durability is not None
        opened = Open(b"c" * 16, actor.spec.durability.level, interrupted=interrupted)
        log = ActorLog(actor.disk, remains, history, actor.incarnation, opened)
        self.guarded = GuardedLog(log, actor.disk, actor.actor_id, _die)
        submit: Any = self.submit
        self.nested = Nested(submit)
        self.journal = LogJournal(self.guarded, IN_MESSAGES, self.nested)
        recovered = replayer.bring_back(self.journal)
        log.tables = recovered.history.tables
        self._serve(recovered)

    def _serve(self, recovered: Recovered) -> None:
        call_log = CallLog(self.guarded, IN_MESSAGES)
        self.aside = carried.Aside(self.guarded, IN_MESSAGES)
        self.calls = LoggedCalls(call_log, IN_MESSAGES, self._describe, self._send, lambda *_: None)
        assert self.actor.spec.durability is not None
        self.calls.checkpointer = self.checkpointer = Checkpointer(
            self.hosted,
            call_log,
            self.actor.spec.durability,
            self.actor.store,
            lambda _made: self.world.count_checkpoint(),
            carry=self._carry,
        )
        self.line.extend(self.calls.reopen(past.call, past.lsn, past.values) for past in recovered.unfinished())
        self.world.maybe_die()
        if recovered.checkpoint is not None:
            self._send_again(recovered.checkpoint.data.carried)
        self.nested.release()

    def _carry(self, timeout_s: float) -> tuple[CarriedCall, ...]:
        wait: Callable[[Callable[[], bool], float], bool] = lambda _is_done, _s: False  # noqa: E731
        unanswered = self.nested.unanswered
        return carried.carry_all(unanswered, wait, self.actor.actor_id, timeout_s, put_aside=self.aside.put)

    def _send_again(self, calls: Sequence[CarriedCall]) -> None:
        for kept in calls:
            one = carried.brought_back(kept, self.actor.disk)
            self._made += 1
            client = self.client_of(next(actor for actor in self.world.actors if actor.actor_id == kept.actor_id))
            call = carried.call_again(one, client, ids.object_id(self.process_id, self._made))
            self.submit(call)
            self.nested.take_up([call])

    def _construct(self, turn: Turn) -> None:
        self.hosted.build(lambda: (self.actor.cls, (), {}), turn)

    def _replay(self, function: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
        self.world.here = self
        value = function(*args, **kwargs)
        if not isinstance(value, GeneratorType):
            return value
        turn = current.turn()
        assert turn is not None
        take: Callable[[], list[ObjectRef]] = lambda: next(value)  # noqa: E731
        try:
            while True:
                wanted = [ref._entry for ref in take()]
                try:
                    given = _given(turn, wanted)
                except Exception as error:
                    take = _bound(value.throw, error.with_traceback(None))
                    continue
                assert given is not None, "a call that is over is given everything"
                take = _bound(value.send, given)
        except StopIteration as end:
            return end.value

    def _describe(self, caller: bytes, call: CallMethod) -> CurrentCall:
        name = self.hosted.name_of(call.method)
        return CurrentCall(caller, call.seq, call.task_id, name, self.actor.actor_id)

    # -- running ------------------------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        return not (self.current or self.line or self.inbox or self.kept)

    def step(self) -> None:
        """Do the next thing that there is to do."""
        self.world.here = self
        if self.current is not None:
            self._go_on()
        elif self.line:
            self._begin(self.line.popleft())
        elif self.inbox:
            self._take()
        if self.world.random.random() < 0.5 or not self.line:
            self.flush()
        self.world.maybe_die()

    def _take(self) -> None:
        """Put some calls into the log together; behind one that is over by a checkpoint none may be open."""
        for _ in range(self.world.random.randrange(1, 5)):
            if not self.inbox or (self.line and self.line[-1].call.is_persist):
                break
            logged = self.calls.take(*self.inbox.popleft())
            if logged is not None:
                self.line.append(logged)
        self.guarded.write()

    def flush(self) -> None:
        """Let answers leave."""
        if self.kept:
            self.guarded.secure()
            while self.kept:
                self.world.maybe_die()
                peer, message = self.kept.popleft()
                self.world.send(self.process_id, peer, message)

    def checkpoint(self) -> None:
        if self.current is None and not self.line:
            self.checkpointer.make_if_due()

    def end(self) -> None:
        """Let go of what a dead process cannot do any more."""
        script, self.script = self.script, None
        if script is not None:
            script.close()

    def _send(self, peer: bytes, message: Message) -> None:
        if peer:
            self.kept.append((peer, message))

    def _begin(self, logged: LoggedCall) -> None:
        running = logged.running
        self.actor.begun = running.lsn = logged.lsn
        running.thread = threading.get_ident()
        running.turn = Turn(self.journal, logged.lsn, running.name, logged.past, is_over=False)
        self.current = logged
        args, kwargs = load_args(logged.call.args, logged.call.arg_values)
        self._run(lambda: self._started(self.hosted.method(logged.call.method)(*args, **kwargs)))

    def _started(self, value: Any) -> list[ObjectRef]:
        if isinstance(value, GeneratorType):
            self.script = value
            wanted: list[ObjectRef] = next(value)
            return wanted
        raise StopIteration(value)

    def _run(self, take: Callable[[], list[ObjectRef]]) -> None:
        """Run the method to where it has to wait, or to its end."""
        assert self.current is not None
        running, self.wanted = self.current.running, None
        turn = running.turn
        assert turn is not None
        token = current.call.set(running)
        try:
            while True:
                wanted = take()
                self.world.maybe_die()
                try:
                    given = _given(turn, [ref._entry for ref in wanted])
                except Exception as error:  # its traceback would keep what is here alive, until nobody knows when
                    take = _bound(self._script().throw, error.with_traceback(None))
                    continue
                if given is None:
                    self.wanted = wanted
                    return
                take = _bound(self._script().send, given)
        except StopIteration as end:
            payload = serialize.dumps_result(end.value, running.name)
            self.ending = CallSucceeded(running.seq, (payload,))
        except RuntimeError as error:  # a generator may not raise StopIteration, and must not hide what it is
            raise AssertionError(error) from error
        except Exception as error:  # as the executor does
            self.ending = CallRaised(running.seq, describe_error(error, function_name=running.name))
        finally:
            current.call.reset(token)
        self._finish()

    def _script(self) -> Script:
        assert self.script is not None
        return self.script

    def _go_on(self) -> None:
        if self.wanted is None:
            self._finish()
        elif all(ref._entry.done for ref in self.wanted):
            entries = [ref._entry for ref in self.wanted]
            logged = self.current
            assert logged is not None
            turn = logged.running.turn
            assert turn is not None
            try:
                got = [values.value_of(entry) for entry in entries]
            except Exception as error:
                failure = turn.failed(entries, error)
                self._run(_bound(self._script().throw, failure.with_traceback(None)))
            else:
                turn.received(entries)
                self._run(_bound(self._script().send, got))

    def _finish(self) -> None:
        logged, ending = self.current, self.ending
        assert logged is not None
        assert ending is not None
        if logged.call.is_persist and any(map(carried.obstacle, self.nested.unanswered())):
            return  # the real one waits there
        self.script = self.wanted = None
        self.world.maybe_die()
        self.calls.finish(logged, ending)
        self.current = self.ending = None
        self.checkpointer.note_call(0.001)


def _bound(function: Callable[[Any], Any], value: Any) -> Callable[[], Any]:
    return lambda: function(value)


def _given(turn: current.Turn, entries: Sequence[Entry]) -> list[Any] | None:
    given = turn.given(entries)
    if isinstance(given, BaseException):
        raise given
    return given


def _die(problem: str) -> NoReturn:
    raise ProcessDied(problem)


# -- the users' code -------------------------------------------------------------------------------------------


class Here:
    """The world in which the users' code runs."""

    world: World


def call(number: int, method: str, uid: str, amount: int) -> ObjectRef:
    """Call a method of an account."""
    world = Here.world
    return world.here.call(world.accounts[number], method, uid, amount, ballast_of(uid))


def ballast_of(uid: str) -> bytes:
    """Return what is sent along with some deposits: large for worlds as small as these."""
    return b"" if zlib.crc32(uid.encode()) % 3 else uid.encode() * 200


class Account:
    """Has seen every deposit once."""

    def __init__(self) -> None:
        self.balance = 0
        self.seen: list[str] = []

    def deposit(self, uid: str, amount: int, ballast: bytes = b"") -> int:
        if ballast and ballast != ballast_of(uid):
            raise AssertionError(f"what was sent along with {uid} has not arrived as it was")
        self.balance += amount
        self.seen.append(uid)
        if uid.endswith("x"):
            raise KeyError(uid)  # what it has done before stays done
        return len(self.seen)

    def pass_on(self, uid: str, number: int, amount: int) -> int:
        """Give to another account, and do not ask what became of it."""
        call(number, "deposit", uid + "p", amount)
        return self.deposit(uid, -amount)


class Bank:
    """Moves money between the two accounts, in all the ways in which results can be taken, or not."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.kept: list[tuple[str, list[ObjectRef]]] = []
        self.got: dict[str, list[int]] = {}

    def _move(self, uid: str, amount: int, mark: str = "") -> list[ObjectRef]:
        return [call(0, "deposit", f"{uid}o{mark}", -amount), call(1, "deposit", f"{uid}i", amount)]

    @staticmethod
    def _random() -> float:
        turn = current.turn()
        assert turn is not None
        return turn.random()

    def _end(self, uid: str) -> int:
        self.order.append(uid)
        return len(self.order)

    def transfer(self, uid: str, amount: int) -> Script:
        self.got[uid] = yield self._move(uid, amount)
        return self._end(uid)

    def slow(self, uid: str, amount: int) -> Script:
        got = yield [call(0, "deposit", f"{uid}o", -amount)]
        got += yield [call(1, "deposit", f"{uid}i", amount)]
        self.got[uid] = got
        return self._end(uid)

    def gamble(self, uid: str, amount: int) -> Script:
        """What it calls with depends on what was noted."""
        self.got[uid] = yield self._move(uid, int(amount * self._random()))
        return self._end(uid)

    def send(self, uid: str, amount: int) -> int:
        self._move(uid, amount)
        return self._end(uid)

    def lend(self, uid: str, amount: int) -> int:
        self.kept.append((uid, self._move(uid, amount)))
        return self._end(uid)

    def take(self, uid: str, _amount: int) -> Script:
        for name, refs in self.kept[:1]:
            del self.kept[0]
            self.got[name] = yield refs
        return self._end(uid)

    def perhaps(self, uid: str, _amount: int) -> Script:
        for name, refs in self.kept[:1]:
            del self.kept[0]
            if self._random() < 0.5:
                self.got[name] = yield refs
        return self._end(uid)

    def fail(self, uid: str, amount: int) -> Script:
        refs = self._move(uid, amount, "x")
        try:
            yield refs
        except KeyError:
            call(0, "deposit", f"{uid}e", 0)
        yield refs[1:]
        return self._end(uid)

    def collect(self, uid: str, _amount: int) -> Script:
        """A method that is over by a checkpoint."""
        while self.kept:
            name, refs = self.kept.pop(0)
            self.got[name] = yield refs
        return self._end(uid)


_MOVES = ("transfer", "slow", "gamble", "send", "lend", "fail")
_METHODS = (*_MOVES, "lend", "take", "take", "perhaps", "collect")


class World:
    """A bank, two accounts, some drivers, some tasks; and what is said between them."""

    def __init__(self, seed: int) -> None:
        Here.world = self
        self.random = random.Random(seed)
        self.death_rate = self.random.choice((0.0, 0.01, 0.04))
        self.processes: dict[bytes, Process] = {}
        self.links: dict[tuple[bytes, bytes], deque[Message]] = {}
        self.checkpoints = 0
        self.names = 0
        level = self.random.choice(("process", "process", "host"))
        self.bank = SimActor(self, Bank, level)
        self.accounts = [SimActor(self, Account, level) for _ in range(2)]
        self.actors = [self.bank, *self.accounts]
        self.drivers = [Process(self, self.new_id(b"d")) for _ in range(self.random.randrange(1, 3))]
        self.here: Process = self.drivers[0]
        self.retriable = Retriable()
        self.tasks = [self.new_task(self.retriable.add()) for _ in range(self.random.randrange(4))]
        self.asked: list[tuple[str, str, ObjectRef]] = []
        self.deposits: list[str] = []
        self.moves: list[tuple[str, str]] = []
        for task in self.tasks:
            self.moves.append((f"t{task.number}", "transfer"))
            self.deposits += [f"t{task.number}d", f"t{task.number}n", f"t{task.number}l"]

    def new_id(self, kind: bytes, size: int = ids.PROCESS_ID_BYTES) -> bytes:
        self.names += 1
        return kind + b"%0*d" % (size - 1, self.names)

    def new_task(self, number: int, attempt: int = 0) -> TaskRun:
        return TaskRun(self, number, attempt, lambda process: self._task(process, number))

    def _task(self, process: Process, number: int) -> Script:
        first = process.call(self.bank, "transfer", f"t{number}", 1)
        second = process.call(self.accounts[0], "deposit", f"t{number}d", 5)
        got = yield [first]
        got += yield [second]
        process.call(self.accounts[0], "deposit", f"t{number}n", 5)  # nobody waits for it: the task may end before
        if isinstance(process, TaskRun):
            process.late = Entry(ids.object_id(process.process_id, 1 << 20))
            process.call(self.accounts[0], "deposit", f"t{number}l", last=process.late)
        return got

    def maybe_die(self) -> None:
        if self.death_rate and self.random.random() < self.death_rate:
            raise ProcessDied

    def count_checkpoint(self) -> None:
        self.checkpoints += 1

    # -- what is said -------------------------------------------------------------------------------------------

    def send(self, sender: bytes, receiver: bytes, message: Message) -> None:
        if receiver in self.processes:
            self.links.setdefault((sender, receiver), deque()).append(message)

    def tell(self, actor: SimActor) -> None:
        """Have the head tell everyone how an actor is."""
        for process in self.processes.values():
            if actor.actor_id in process.state.actors:
                self.send(HEAD, process.process_id, ActorChanged(actor.status()))

    def lose(self, process: Process) -> None:
        """A process is gone: with it what it was being told, and perhaps the last things that it has said."""
        del self.processes[process.process_id]
        for (sender, receiver), link in list(self.links.items()):
            if receiver == process.process_id:
                del self.links[sender, receiver]
            elif sender == process.process_id:
                for _ in range(self.random.randrange(len(link) + 1)):
                    link.pop()

    def deliver(self) -> None:
        links = [(ends, link) for ends, link in self.links.items() if link]
        if not links:
            return
        (sender, receiver), link = self.random.choice(links)
        for _ in range(self.random.randrange(1, 4)):
            if link:
                message, process = link.popleft(), self.processes[receiver]
                if isinstance(message, CallMethod):
                    assert isinstance(process, ActorProcess)
                    process.inbox.append((sender, message))
                else:
                    process.hear(sender, message)

    # -- steps --------------------------------------------------------------------------------------------------

    def step(self) -> None:
        """Do one thing."""
        usual = (self.call, self.deliver, self.deliver, self.work, self.work, self.work, self.run_task, self.checkpoint)
        self.random.choice((*usual, self.crash) if self.death_rate else usual)()

    def call(self) -> None:
        """A driver makes a call."""
        number = self.random.randrange(len(self.drivers))
        driver, uid = self.drivers[number], f"d{number}-{len(self.asked)}"
        what = self.random.randrange(8)
        if what < 6:
            method = self.random.choice(_METHODS)
            self.moves.append((uid, method))
            ref = driver.call(self.bank, method, uid, self.random.randrange(1, 9))
        elif what < 7:
            method = "deposit"
            self.deposits.append(uid)
            ref = driver.call(self.accounts[self.random.randrange(2)], method, uid, 5)
        else:
            method, giver = "pass_on", self.random.randrange(2)
            self.deposits += [uid, uid + "p"]
            ref = driver.call(self.accounts[giver], method, uid, 1 - giver, 3)
        self.asked.append((uid, method, ref))

    def work(self) -> None:
        """An actor does something, or is started."""
        actor = self.random.choice(self.actors)
        self.guard(actor, lambda process: process.step())

    def checkpoint(self) -> None:
        self.guard(self.random.choice(self.actors), lambda process: process.checkpoint())

    def guard(self, actor: SimActor, action: Callable[[ActorProcess], None]) -> None:
        """Have a process do something; if it dies on the way, it is dead."""
        if actor.process is None:
            actor.start()
            return
        try:
            action(actor.process)
        except ProcessDied:
            actor.crash()

    def run_task(self) -> None:
        for task in self.tasks[:]:
            if task.wanted is None and self.random.random() < 0.95:
                continue
            task.step()
            if not task.is_over and self.death_rate and self.random.random() < 0.05:
                self.lose(task)
                self.tasks[self.tasks.index(task)] = self.new_task(task.number, task.running.attempt + 1)

    def crash(self) -> None:
        self.random.choice(self.actors).crash()

    # -- the end ------------------------------------------------------------------------------------------------

    def heal(self) -> None:
        """Let everything work till all is done; then once more from the logs."""
        self.death_rate = 0.0
        self._settle()
        states = [self._state(actor) for actor in self.actors]
        for actor in self.actors:
            actor.crash()
        self._settle()
        assert [self._state(actor) for actor in self.actors] == states, "a recovery has come to another state"

    def _settle(self) -> None:
        for _ in range(_STEPS_AT_MOST):
            if self._is_quiet():
                return
            self.deliver()
            self.run_task()
            for actor in self.actors:
                self.guard(actor, lambda process: process.step())
        raise AssertionError("it does not come to an end")

    def _is_quiet(self) -> bool:
        return (
            all(actor.process is not None and actor.process.is_idle for actor in self.actors)
            and not any(self.links.values())
            and all(ref._entry.done for _, _, ref in self.asked)
            and all(task.is_quiet for task in self.tasks)
            and not any(process.state.unanswered for process in self.processes.values())
        )

    @staticmethod
    def _state(actor: SimActor) -> dict[str, Any]:
        assert actor.process is not None
        state = dict(vars(actor.process.hosted.instance))
        state["kept"] = [uid for uid, _ in state.get("kept", ())]
        return state

    def check(self) -> None:
        """Raise AssertionError unless everything has taken effect exactly once, and everybody was told so."""
        bank: Bank = self.bank.process.hosted.instance  # type: ignore[union-attr]
        accounts: list[Account] = [one.process.hosted.instance for one in self.accounts]  # type: ignore[union-attr]
        expected = list(self.deposits)
        for uid, method in self.moves:
            if method in _MOVES:
                expected += [f"{uid}ox", f"{uid}i", f"{uid}e"] if method == "fail" else [f"{uid}o", f"{uid}i"]
        seen = [uid for account in accounts for uid in account.seen]
        assert sorted(seen) == sorted(expected), set(seen) ^ set(expected) or "something is there twice"
        assert sorted(bank.order) == sorted(uid for uid, _ in self.moves)
        brought = sum(5 for uid in self.deposits if uid[-1] == "d" or not self._is_passed(uid))
        assert sum(account.balance for account in accounts) == brought, "money was lost or made"
        for uid, method, ref in self.asked:
            answer = values.value_of(ref._entry)
            lists = [one.seen for one in accounts] if method in ("deposit", "pass_on") else [bank.order]
            assert any(len(one) >= answer and one[answer - 1] == uid for one in lists), (uid, method, answer)
        for uid, got in bank.got.items():
            assert [accounts[0].seen[got[0] - 1], accounts[1].seen[got[1] - 1]] == [f"{uid}o", f"{uid}i"]
        for number in range(len(self.drivers)):
            made = [int(uid.partition("-")[2]) for uid in bank.order if uid.startswith(f"d{number}-")]
            assert made == sorted(made), "the calls of one caller have overtaken each other"
        for task in self.tasks:
            first, second = task.result
            assert bank.order[first - 1] == f"t{task.number}"
            assert accounts[0].seen[second - 1] == f"t{task.number}d"
        for actor in self.actors:
            actor.process.guarded.log.tables.check_invariants()  # type: ignore[union-attr]

    def _is_passed(self, uid: str) -> bool:
        return uid.endswith("p") or uid + "p" in self.deposits
