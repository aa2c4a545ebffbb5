"""One call from its arguments to its answer, and the serial loop; without sockets, on the test's own thread."""

from __future__ import annotations

import asyncio
import pathlib
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest

from ipyactors.ground.exceptions import SerializationError
from ipyactors.owner import current
from ipyactors.owner.retriable import Unanswered
from ipyactors.wire import serialize
from ipyactors.wire.codec import Codec, encode
from ipyactors.wire.marks import Marks, read_marks
from ipyactors.wire.serialize import ArgSlot
from ipyactors.wire.specs import ActorSpec, Definition, Payload, RefSpec
from ipyactors.wire.worker_messages import (
    ActorExiting,
    CallCancelled,
    CallMethod,
    CallRaised,
    CallsReturned,
    CallSucceeded,
    CancelCall,
    Define,
    FinishAndExit,
    ItemYielded,
    NestedCallsLeft,
    OutputWritten,
    RunTask,
    WorkerToCaller,
)
from ipyactors.worker.answers import Answers
from ipyactors.worker.call_stream import CallStream
from ipyactors.worker.cancel import Interrupts
from ipyactors.worker.execute import Executor
from ipyactors.worker.exit import ActorExit, exit_actor
from ipyactors.worker.host import WorkerHost
from ipyactors.worker.hosting import HostedActor
from ipyactors.worker.loop import SerialLoop
from ipyactors.worker.mailbox import Mailbox
from ipyactors.worker.output import Output
from ipyactors.worker.places import Places
from tests.support.fake_session import FakeSession

A = b"d1234567"


class Left(BaseException):
    """Stands for the end of the process."""


def leave(code: int) -> NoReturn:
    raise Left(code)


class World:
    """A worker without its process. ``call`` sends one call and runs what is in line."""

    def __init__(self, folder: pathlib.Path, actor_class: type | None = None) -> None:
        self.session = FakeSession()
        self.marks_path = str(folder / "marks")
        self.actor = None
        if actor_class is not None:
            spec = ActorSpec(b"a" * 16, actor_class.__name__, A, Definition(b"c", "C", Payload(b"")), Payload(b""))
            self.actor = HostedActor(spec, 0)
            self.actor.build(lambda: (actor_class, (), {}))
        self.box = Mailbox(is_actor=self.actor is not None)
        answers = Answers(self.session, self.box.ready)
        self.output = Output(answers.add, "" if self.actor is None else self.actor.source)
        self.executor = Executor(
            answers,
            self.output,
            self.box.definitions,
            actor=self.actor,
            interrupts=Interrupts() if self.actor is None else None,
            lend=self.session.custody.lend,
            leave=leave,
        )
        self.loop = SerialLoop(self.session, self.box, self.executor, Marks(self.marks_path), None)
        places = Places(self.box, self.executor.running, is_serial=self.actor is not None, has_event_loop=False)
        self.host = WorkerHost(self.session, self.box, self.executor, answers, self.loop, places)
        self.seq = 0

    def send(self, what: Callable[..., Any] | str, *args: Any, values: tuple[Any, ...] = (), **fields: Any) -> int:
        """Send a call of a function, or of a method by its name."""
        self.seq += 1
        payload = fields.pop("payload", None) or serialize.dumps_call(args, fields.pop("kwargs", {}), what="f")
        arg_values = tuple(serialize.dumps(value) for value in values)
        if isinstance(what, str):
            message: Any = CallMethod(self.seq, b"t" * 16, what, payload, arg_values, **fields)
        else:
            name = what.__name__
            definition = Definition(name.encode(), name, serialize.dumps(what))
            self.host.on_message(A, Define(definition))
            message = RunTask(self.seq, b"t" * 16, name.encode(), name, payload, arg_values, **fields)
        self.host.on_message(A, message)
        return self.seq

    def run(self) -> list[Any]:
        """Run everything in line, and return what was answered, as it would arrive."""
        self.host.on_message(A, FinishAndExit())
        self.loop.run(lambda: None)
        self.box.check_invariants()
        codec = Codec(WorkerToCaller)
        return [codec.decode(encode([message]))[0] for message in self.session.take()]

    def call(self, what: Callable[..., Any] | str, *args: Any, **fields: Any) -> Any:
        """Send one call; return its one answer."""
        self.send(what, *args, **fields)
        [answer] = self.run()
        assert answer.seq == self.seq
        return answer


@pytest.fixture(autouse=True)
def _no_call_afterwards() -> Iterator[None]:
    yield
    current.call.set(None)


@pytest.fixture
def tasks(tmp_path: pathlib.Path) -> World:
    return World(tmp_path)


@pytest.fixture
def make_actor(tmp_path: pathlib.Path) -> Callable[[type], World]:
    return lambda actor_class: World(tmp_path, actor_class)


def values(answer: CallSucceeded) -> list[Any]:
    assert isinstance(answer, CallSucceeded), answer
    return [serialize.loads(payload) for payload in answer.results]


def error(answer: CallRaised) -> BaseException:
    assert isinstance(answer, CallRaised), answer
    assert answer.error.payload is not None, answer.error.pickling_problem
    caught = serialize.loads(answer.error.payload)
    assert isinstance(caught, BaseException)
    return caught


# -- tasks -------------------------------------------------------------------------------------------------------


def test_a_task_returns_its_value_and_is_marked(tasks: World) -> None:
    def add(a: int, b: int = 0) -> int:
        return a + b

    answer = tasks.call(add, 1, kwargs={"b": 2})
    assert values(answer) == [3]
    assert answer.duration_s >= 0
    assert read_marks(tasks.marks_path) == {A: 1}
    assert tasks.executor.running == {}


def test_slots_at_the_top_level_are_filled(tasks: World) -> None:
    def show(*args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    answer = tasks.call(show, ArgSlot(1), 5, kwargs={"k": ArgSlot(0)}, values=("zero", "one"))
    assert values(answer) == [(("one", 5), {"k": "zero"})]


def test_the_running_code_knows_its_call(tasks: World) -> None:
    def who() -> Any:
        call = current.call.get()
        assert call is not None
        return call.caller, call.seq, call.task_id, call.name, call.attempt

    assert values(tasks.call(who, attempt=2)) == [(A, 1, b"t" * 16, "who", 2)]


@pytest.mark.parametrize(("count", "expected"), [(0, []), (1, [(1, 2)]), (2, [1, 2])])
def test_number_of_results(tasks: World, count: int, expected: list[Any]) -> None:
    def pair() -> tuple[int, int]:
        return 1, 2

    assert values(tasks.call(pair, num_returns=count)) == expected


def test_wrong_number_of_results_is_explained(tasks: World) -> None:
    def pair() -> tuple[int, int]:
        return 1, 2

    def one() -> int:
        return 1

    assert str(error(tasks.call(pair, num_returns=3))) == "pair has num_returns=3, but it returned 2 values"
    assert "one has num_returns=2" in str(error(tasks.call(one, num_returns=2)))


def test_a_coroutine_function_may_be_a_task(tasks: World) -> None:
    async def later() -> int:
        await asyncio.sleep(0)
        return 7

    assert values(tasks.call(later)) == [7]


def test_an_exception_is_the_answer_without_our_frames(tasks: World) -> None:
    def fail() -> None:
        raise ValueError("no")

    answer = tasks.call(fail)
    assert isinstance(error(answer), ValueError)
    assert [frame.name for frame in answer.error.frames] == ["fail"]
    assert "ipyactors/worker" not in answer.error.traceback_text
    assert not answer.retryable


@pytest.mark.parametrize(
    ("retry_on", "expected"),
    [
        (b"", False),
        (b"*", True),
        (pickle.dumps((KeyError, OSError)), False),
        (pickle.dumps((LookupError, ValueError)), True),
        (b"not a pickle", False),
    ],
)
def test_which_exceptions_are_retryable(tasks: World, retry_on: bytes, expected: bool) -> None:
    def fail() -> None:
        raise ValueError("no")

    assert tasks.call(fail, retry_on=retry_on).retryable is expected


def test_arguments_that_do_not_unpickle_are_the_calls_failure(tasks: World) -> None:
    def never() -> None:
        raise AssertionError("it ran")

    answer = tasks.call(never, payload=Payload(b"\x80\x05cno_such_module\nthing\n."))
    caught = error(answer)
    assert isinstance(caught, SerializationError)
    assert "arguments of never" in str(caught)
    assert isinstance(caught.__cause__, ModuleNotFoundError)
    assert read_marks(tasks.marks_path) == {A: 1}  # unpickling runs the user's code: it has started


def test_a_result_that_does_not_pickle_is_the_calls_failure(tasks: World) -> None:
    def lock() -> Any:
        import threading

        return {"held": threading.Lock()}

    assert "['held']" in str(error(tasks.call(lock)))


def test_an_unknown_definition_is_answered(tasks: World) -> None:
    tasks.host.on_message(A, RunTask(1, b"t", b"nope", "mystery", serialize.dumps_call((), {}, what="x")))
    [answer] = tasks.run()
    assert "mystery" in answer.error.message


def test_a_generator_streams_from_where_the_caller_is(tasks: World) -> None:
    def count(n: int) -> Iterator[int]:
        yield from range(n)

    tasks.send(count, 3, num_returns=-1, skip_items=1)
    *items, last = tasks.run()
    assert [(item.index, serialize.loads(item.payload)) for item in items] == [(1, 1), (2, 2)]
    assert all(isinstance(item, ItemYielded) for item in items)
    assert last.results == ()


def test_a_generator_is_closed_when_the_caller_has_enough(tasks: World, capsys: pytest.CaptureFixture[str]) -> None:
    def count() -> Iterator[int]:
        try:
            index = 0
            while True:
                yield index
                index += 1
        finally:
            print("closed")

    tasks.send(count, num_returns=-1, skip_items=1, until_item=3)
    *items, last = tasks.run()
    assert [item.index for item in items] == [1, 2]
    assert capsys.readouterr().out == "closed\n"
    assert last.results == ()
    tasks.send(lambda: iter([1, 2, 3]), num_returns=-1, until_item=1)
    assert [type(answer) for answer in tasks.run()] == [ItemYielded, CallSucceeded]


def test_a_generator_that_fails_has_given_what_came_before(tasks: World) -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise ValueError("then")

    tasks.send(broken, num_returns=-1)
    item, last = tasks.run()
    assert item.index == 0
    assert str(error(last)) == "then"


def test_streaming_what_is_no_generator_is_explained(tasks: World) -> None:
    def five() -> int:
        return 5

    assert "must return a generator" in str(error(tasks.call(five, num_returns=-1)))


def test_sys_exit_ends_the_process_with_its_code(tasks: World, capsys: pytest.CaptureFixture[str]) -> None:
    def quit_now() -> None:
        sys.exit(3)

    tasks.send(quit_now)
    with pytest.raises(Left) as left:
        tasks.run()
    assert left.value.args == (3,)
    assert "quit_now called sys.exit(3)" in capsys.readouterr().err


def test_what_is_printed_comes_before_the_answer(tasks: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = CallStream(tasks.output, 1)
    monkeypatch.setattr(stream, "_write_log", stream._unwritten.clear)
    monkeypatch.setattr(sys, "stdout", stream)

    def talk() -> None:
        print("one")
        print("two", end="")

    tasks.send(talk)
    first, second, answer = tasks.run()
    assert first == OutputWritten(1, "talk", 1, "one\n")
    assert second == OutputWritten(1, "talk", 1, "two\n")
    assert isinstance(answer, CallSucceeded)


def test_references_and_handles_are_counted_on_the_way_in_and_out(
    tasks: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def echo(value: int) -> int:
        return value

    arrived = Payload(pickle.dumps(((5,), {}), 5), (), (RefSpec(b"x", "ipc://x"),))
    result = Payload(pickle.dumps(5, 5), (), (), (b"actor",))
    tasks.send(echo, payload=arrived)
    monkeypatch.setattr(serialize, "dumps_result", lambda value, name: result)
    tasks.run()
    assert tasks.session.custody.received == [(A, arrived)]
    assert tasks.session.custody.lent == [(A, result)]


def test_waiting_tasks_are_given_back_while_a_long_one_runs(tasks: World) -> None:
    def quick() -> int:
        return 1

    tasks.send(quick)
    tasks.send(quick)
    tasks.executor.busy_since_s = 1000.0
    assert tasks.host.on_turn(1000.01) == pytest.approx(0.01)
    assert tasks.host.on_turn(1000.03) is None
    assert tasks.session.take() == [CallsReturned((1, 2))]
    tasks.send(quick)
    tasks.session.is_blocked = True
    assert tasks.host.on_turn(1000.0) is None
    assert tasks.session.take() == [CallsReturned((3,))]


def test_between_two_tasks_none_counts_as_long(tasks: World) -> None:
    def quick() -> int:
        return 1

    tasks.call(quick)
    assert tasks.host.on_turn(1e9) is None
    tasks.send(quick)
    assert tasks.host.on_turn(1e9) == pytest.approx(0.02)  # the one in line may be about to start, and be long
    assert tasks.session.take() == []


# -- cancelling --------------------------------------------------------------------------------------------------


@pytest.fixture
def interrupts() -> Iterator[Interrupts]:
    """Interrupts that have SIGINT in this process until the test ends."""
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGALRM)
    installed = Interrupts()
    installed.install()
    yield installed
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    signal.signal(signal.SIGINT, before[0])
    signal.signal(signal.SIGALRM, before[1])


def test_what_a_task_does_to_signals_ends_with_it(interrupts: Interrupts) -> None:
    ours = signal.getsignal(signal.SIGINT)
    for left_behind in (signal.SIG_IGN, signal.default_int_handler, lambda *_: None):
        signal.signal(signal.SIGINT, left_behind)
        interrupts.tidy()
        assert signal.getsignal(signal.SIGINT) is ours
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGUSR1})
    try:
        interrupts.tidy()
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == {signal.SIGUSR1}
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it went off"))
    signal.alarm(600)
    interrupts.tidy()
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_call_cancelled_as_it_is_taken_is_not_run(tasks: World) -> None:
    def victim() -> None:
        pytest.fail("it ran")

    def other() -> int:
        return 1

    first = tasks.send(victim)
    tasks.send(other)
    entry = tasks.box.ready.popleft()  # a thread that runs calls has it in its hand
    tasks.host.on_message(A, CancelCall(first))
    tasks.box.ready.appendleft(entry)
    cancelled, done = tasks.run()
    assert cancelled == CallCancelled(first, started=False)
    assert values(done) == [1]
    assert tasks.executor.running == {}


def test_a_flag_set_before_the_code_runs_stops_it(tasks: World) -> None:
    interrupts = Interrupts()
    call = current.CurrentCall(A, 1, b"t", "f")
    interrupts.interrupt(call)
    with pytest.raises(KeyboardInterrupt):
        interrupts.call(call, lambda: pytest.fail("it ran"), (), {})
    interrupts.on_signal(2, None)  # too late, or meant for nobody: ignored


def test_a_signal_raises_only_in_the_call_that_it_is_for() -> None:
    interrupts = Interrupts()
    mine, other = current.CurrentCall(A, 1, b"t", "f"), current.CurrentCall(A, 2, b"t", "f")
    other.cancelled = True

    def work() -> str:
        interrupts.on_signal(2, None)
        mine.cancelled = True
        interrupts.on_signal(2, None)
        return "not reached"

    with pytest.raises(KeyboardInterrupt):
        interrupts.call(mine, work, (), {})


def test_a_cancelled_task_says_so_and_is_not_retried(tasks: World) -> None:
    flags: list[threading.Event] = []

    def stopped() -> None:
        call = current.call.get()
        assert call is not None
        call.cancelled = True
        raise KeyboardInterrupt

    def stubborn() -> None:
        call = current.call.get()
        assert call is not None
        call.cancelled = True
        raise ValueError("on the way out")

    assert flags == []
    assert tasks.call(stopped) == CallCancelled(1, started=True)
    assert tasks.call(stubborn, retry_on=b"*").retryable is False


def test_cancelling_a_running_call_cancels_what_it_submitted(tasks: World) -> None:
    running = current.CurrentCall(A, 1, b"task", "f")
    tasks.executor.running[A, 1] = running
    tasks.host.on_message(A, CancelCall(1))
    assert running.cancelled
    assert tasks.session.cancelled_children == []
    tasks.host.on_turn(0.0)
    assert tasks.session.cancelled_children == [b"task"]
    tasks.host.on_message(A, CancelCall(9))  # not here, or done: nothing


# -- actors ------------------------------------------------------------------------------------------------------


class Counter:
    def __init__(self) -> None:
        self.n = 0

    def increment(self, by: int = 1) -> int:
        self.n += by
        return self.n

    def who(self) -> Any:
        call = current.call.get()
        assert call is not None
        return call.name, call.actor_id

    def leave(self) -> None:
        try:
            exit_actor()
        except Exception:  # must not stop it
            pytest.fail("caught")


def test_methods_keep_state_and_know_their_call(make_actor: Callable[[type], World]) -> None:
    actor = make_actor(Counter)
    actor.send("increment")
    actor.send("increment", 5)
    actor.send("who")
    assert [values(answer)[0] for answer in actor.run()] == [1, 6, ("Counter.who", b"a" * 16)]


def test_a_missing_method_is_an_attribute_error(make_actor: Callable[[type], World]) -> None:
    assert isinstance(error(make_actor(Counter).call("nope")), AttributeError)


def test_methods_by_rays_names(make_actor: Callable[[type], World]) -> None:
    actor = make_actor(Counter)
    assert values(actor.call("__ray_ready__")) == [True]
    assert values(actor.call("__ray_call__", lambda self, by: self.increment(by), 3)) == [3]
    actor.send("__ray_terminate__")
    assert actor.run() == []
    assert isinstance(actor.executor.exit, ActorExit)


def test_exit_actor_ends_the_loop_and_names_the_call(make_actor: Callable[[type], World]) -> None:
    actor = make_actor(Counter)
    actor.send("increment")
    actor.send("leave")
    actor.send("increment")
    reason = actor.loop.run(lambda: None)
    assert "Counter.leave" in reason.detail
    actor.host.tell_callers_of_exit(reason.detail)
    done, exiting = actor.session.take()
    assert values(done) == [1]
    assert exiting == ActorExiting(reason.detail)
    actor.send("increment")  # too late: the caller hears of the death from the head
    assert actor.session.take() == []


def test_exit_actor_outside_an_actor_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="outside an actor"):
        exit_actor()


def test_a_call_for_another_incarnation_is_refused(make_actor: Callable[[type], World]) -> None:
    answer = make_actor(Counter).call("increment", incarnation=3)
    assert "incarnation 3" in str(error(answer))
    assert not answer.retryable


def test_goodbye_calls_the_first_hook_that_exists(make_actor: Callable[[type], World]) -> None:
    said: list[str] = []

    class Polite:
        def __ray_shutdown__(self) -> None:
            said.append("bye")

    actor = make_actor(Polite).actor
    assert actor is not None
    actor.say_goodbye()
    assert said == ["bye"]


# -- when answers leave ------------------------------------------------------------------------------------------


def test_answers_travel_together_while_more_work_waits() -> None:
    session, line = FakeSession(), [1]
    answers = Answers(session, line)
    for seq in range(1, 4):
        answers.finish(A, CallSucceeded(seq))
    assert session.leader.woken == 1  # it looks again within the millisecond
    line.clear()
    answers.finish(A, CallSucceeded(4))
    assert [message.seq for _, message in session.sent] == [1, 2, 3, 4]


def test_what_waits_is_sent_by_whoever_reads() -> None:
    session = FakeSession()
    answers = Answers(session, [1])
    assert answers.on_turn(0.0) is None
    answers.add(A, CallSucceeded(1))
    since_s = answers._since_s
    left_s = answers.on_turn(since_s)
    assert left_s is not None
    assert left_s == pytest.approx(0.001)
    assert answers.on_turn(since_s + 1) is None
    assert len(session.sent) == 1


def test_a_batch_is_bounded() -> None:
    session = FakeSession()
    answers = Answers(session, [1])
    for seq in range(1, 66):
        answers.finish(A, CallSucceeded(seq))
    assert len(session.sent) >= 64


def test_an_event_loop_sends_once_per_round() -> None:
    session = FakeSession()
    answers = Answers(session, [])
    rounds: list[Callable[[], None]] = []
    answers.defer = rounds.append
    answers.finish(A, CallSucceeded(1))
    answers.finish(A, CallSucceeded(2))
    assert session.sent == []
    [send] = rounds
    send()
    assert len(session.sent) == 2


# -- calls that a call has left -----------------------------------------------------------------------------------


class _Leaves:
    """Makes a call that is not answered; known by its name where it runs, so that it can be asked afterwards."""

    running: current.CurrentCall

    @classmethod
    def run(cls, *, is_raised: bool) -> None:
        running = current.call.get()
        assert running is not None
        cls.running = running
        running.unanswered = Unanswered()
        running.unanswered.add("a")
        if is_raised:
            raise ValueError


def leave_some(*, is_raised: bool) -> None:
    _Leaves.run(is_raised=is_raised)


@pytest.mark.parametrize("is_raised", [False, True])
def test_a_call_that_ends_before_its_calls_are_answered_says_so(tasks: World, *, is_raised: bool) -> None:
    """Its owner must not take it for over: those calls may still be sent, and sent again."""
    tasks.send(leave_some, kwargs={"is_raised": is_raised})
    before, answer = tasks.run()
    assert before == NestedCallsLeft(1)
    assert isinstance(answer, CallRaised if is_raised else CallSucceeded)
    running = _Leaves.running
    assert running.is_over, "what it calls from now on is called by its process"
    assert running.unanswered is not None
    running.unanswered.remove("a")
    assert tasks.session.take() == [NestedCallsLeft(1, is_over=True)]
