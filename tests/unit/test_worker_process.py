"""A worker as a real process, called over a real socket; no agent and no head, so only what callers see."""

from __future__ import annotations

import os
import pathlib
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from typing import Any

import cloudpickle
import pytest
import zmq

from ipyactors.ground import ids
from ipyactors.ground.config import SessionPaths, WorkerConfig
from ipyactors.wire import serialize
from ipyactors.wire.marks import log_start, read_marks
from ipyactors.wire.specs import ActorSpec, Definition
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
    OutputWritten,
    RunTask,
    WorkerToCaller,
)
from ipyactors.wire.zmq_channel import ZmqChannel

cloudpickle.register_pickle_by_value(sys.modules[__name__])

_ANSWERS_MS = 60_000

_START = textwrap.dedent(
    """
    import pickle, sys
    from ipyactors.worker.main import run
    with open(sys.argv[1], "rb") as file:
        arguments = pickle.load(file)
    run(*arguments)
    """
)


class Worker:
    """One worker process and its one caller. ``first`` is code that it runs before all else."""

    def __init__(self, folder: pathlib.Path, actor_class: type | None = None, *, first: str = "", **spec: Any) -> None:
        paths = SessionPaths("test", str(folder), str(folder))
        self.paths = paths
        self.caller = ids.new_driver_id()
        self.worker_id = ids.new_worker_id()
        self.marks_path = paths.marks_path(self.worker_id)
        self.log = pathlib.Path(paths.log_path(self.worker_id))
        self.log.parent.mkdir(parents=True, exist_ok=True)
        actor = None
        if actor_class is not None:
            definition = Definition(b"c" * 16, actor_class.__name__, serialize.dumps(actor_class))
            args = serialize.dumps_call((), {}, what="x")
            actor = ActorSpec(ids.new_actor_id(), actor_class.__name__, self.caller, definition, args, **spec)
        start = folder / "start"
        start.write_bytes(pickle.dumps((WorkerConfig(paths, ids.new_node_id()), self.worker_id, actor, 0)))
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([sys.executable, "-c", first + _START, str(start)], stdout=log, stderr=log)
        self._context: zmq.Context[Any] = zmq.Context()
        self._channel = ZmqChannel(self._context, self.caller, WorkerToCaller)
        self._channel.connect(self.worker_id, paths.process_address(self.worker_id))
        self._inbox: list[Any] = []
        self._seq = 0

    def send(self, what: Callable[..., Any] | str, *args: Any, **fields: Any) -> int:
        """Call a function, or a method by its name; return the call's number."""
        self._seq += 1
        payload = serialize.dumps_call(args, {}, what="x")
        if isinstance(what, str):
            self.say(CallMethod(self._seq, b"t" * 16, what, payload, **fields))
        else:
            name = what.__name__
            definition = Definition(name.encode(), name, serialize.dumps(what))
            self.say(Define(definition), RunTask(self._seq, b"t" * 16, name.encode(), name, payload, **fields))
        return self._seq

    def say(self, *messages: Any) -> None:
        assert self._channel.send(self.worker_id, messages)

    def hear(self, *kinds: type) -> Any:
        """Return the next message; it must be one of ``kinds``."""
        while not self._inbox:
            poller = zmq.Poller()
            poller.register(self._channel._socket, zmq.POLLIN)
            if not poller.poll(_ANSWERS_MS):
                pytest.fail(f"no answer. The worker's log:\n{self.log.read_text()}")
            for _, messages in self._channel.receive():
                self._inbox += messages
        message = self._inbox.pop(0)
        assert isinstance(message, kinds), f"{message}\n{self.log.read_text()}"
        return message

    def value(self) -> Any:
        """Return the value that the next message brings."""
        return serialize.loads(self.hear(CallSucceeded).results[0])

    def wait(self) -> int:
        """Return the process's status, once it has ended."""
        return self.process.wait(_ANSWERS_MS / 1000)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._channel.close()
        self._context.term()


@pytest.fixture
def start(run_folders: Any) -> Iterator[Callable[..., Worker]]:
    folders, workers = [], []

    def start_one(actor_class: type | None = None, **spec: Any) -> Worker:
        folder = pathlib.Path(tempfile.mkdtemp(prefix="ipyw", dir="/tmp"))  # a socket's path must be short
        folders.append(folder)
        workers.append(Worker(folder, actor_class, **spec))
        return workers[-1]

    yield start_one
    for worker in workers:
        worker.close()
    for folder in folders:
        shutil.rmtree(folder)


def double(x: int) -> int:
    return 2 * x


def say_and_wait(path: str) -> None:
    """Tell the caller that it runs, by printing, then sleep until it is interrupted."""
    import time

    print("running", flush=True)
    time.sleep(600)


# -- tasks -------------------------------------------------------------------------------------------------------


def test_tasks_run_in_order_and_are_marked(start: Callable[..., Worker]) -> None:
    worker = start()
    for number in range(200):
        worker.send(double, number)
    assert [worker.value() for _ in range(200)] == [2 * number for number in range(200)]
    assert read_marks(worker.marks_path) == {worker.caller: 200}


def test_a_running_task_is_interrupted_and_the_worker_goes_on(start: Callable[..., Worker]) -> None:
    worker = start()
    seq = worker.send(say_and_wait, "")
    assert worker.hear(OutputWritten).text == "running\n"
    worker.say(CancelCall(seq))
    assert worker.hear(CallCancelled) == CallCancelled(seq, started=True)
    worker.send(double, 4)
    assert worker.value() == 8


def test_a_task_that_ignores_interrupts_does_so_for_itself_alone(start: Callable[..., Worker]) -> None:
    def ignore() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    worker = start()
    worker.send(ignore)
    assert worker.value() is None
    seq = worker.send(say_and_wait, "")
    worker.hear(OutputWritten)
    worker.say(CancelCall(seq))
    assert worker.hear(CallCancelled) == CallCancelled(seq, started=True)


def test_where_a_task_begins_to_write_is_marked(start: Callable[..., Worker]) -> None:
    worker = start()
    worker.send(say, "of the first")
    worker.hear(OutputWritten)
    assert worker.value() is None
    first = worker.log.read_text()
    worker.send(say, "of the second")
    worker.hear(OutputWritten)
    assert worker.value() is None
    begun = log_start(worker.marks_path)
    text = worker.log.read_bytes()
    assert first == "of the first"  # though its line had no end
    assert text[begun:] == b"of the second"


def say(text: str) -> None:
    print(text, end="")


def test_a_stray_interrupt_does_nothing(start: Callable[..., Worker]) -> None:
    worker = start()
    worker.send(double, 1)
    assert worker.value() == 2
    worker.process.send_signal(signal.SIGINT)
    worker.send(double, 2)
    assert worker.value() == 4


def test_tasks_behind_a_long_one_are_given_back(start: Callable[..., Worker]) -> None:
    worker = start()
    seq = worker.send(say_and_wait, "")
    worker.hear(OutputWritten)
    worker.send(double, 1)
    worker.send(double, 2)
    returned = list(worker.hear(CallsReturned).seqs)
    while len(returned) < 2:
        returned += worker.hear(CallsReturned).seqs
    assert returned == [2, 3]
    worker.say(CancelCall(seq))
    worker.hear(CallCancelled)
    assert read_marks(worker.marks_path) == {worker.caller: 1}


def test_answers_leave_before_a_task_exits_the_process(start: Callable[..., Worker]) -> None:
    def die() -> None:
        print("last words", end="")
        os._exit(7)

    worker = start()
    for number in range(50):
        worker.send(double, number)
    seq = worker.send(die)
    assert [worker.value() for _ in range(50)] == [2 * number for number in range(50)]
    assert worker.wait() == 7
    assert read_marks(worker.marks_path) == {worker.caller: seq}
    assert "last words" in worker.log.read_text()


def test_sys_exit_ends_the_worker_and_says_so(start: Callable[..., Worker]) -> None:
    worker = start()
    worker.send(quit_with, 5)
    assert "called sys.exit(5)" in worker.hear(OutputWritten).text
    assert worker.wait() == 5


def quit_with(code: int) -> None:
    sys.exit(code)


def test_a_child_that_the_task_forks_may_exit(start: Callable[..., Worker]) -> None:
    def fork() -> int:
        pid = os.fork()
        if pid == 0:
            print("in the child")
            os._exit(3)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    worker = start()
    worker.send(fork)
    assert worker.hear(OutputWritten).text == "in the child\n"
    assert worker.value() == 3
    assert "in the child" in worker.log.read_text()


# -- actors ------------------------------------------------------------------------------------------------------


class Actor:
    def __init__(self) -> None:
        print("built")
        self.n = 0

    def add(self, by: int) -> int:
        self.n += by
        return self.n

    def fail(self) -> None:
        raise ValueError("no")

    def leave(self) -> None:
        from ipyactors.worker.exit import exit_actor

        exit_actor()

    def __ray_shutdown__(self) -> None:
        print("goodbye", self.n)


def test_an_actor_keeps_state_and_its_constructor_is_heard(start: Callable[..., Worker]) -> None:
    worker = start(Actor, name="a1")
    worker.send("add", 1)
    worker.send("add", 2)
    worker.send("fail")
    heard = worker.hear(OutputWritten)
    assert (heard.seq, heard.source, heard.text) == (0, "Actor 'a1'", "built\n")
    assert [worker.value(), worker.value()] == [1, 3]
    assert worker.hear(CallRaised).error.type_name == "ValueError"


def test_an_actor_that_is_told_to_finish_runs_what_it_has_first(start: Callable[..., Worker]) -> None:
    worker = start(Actor)
    worker.send("add", 1)
    worker.say(FinishAndExit("enough"))
    worker.hear(OutputWritten)
    assert worker.value() == 1
    assert worker.hear(ActorExiting) == ActorExiting("enough")
    assert worker.wait() == 0
    assert "goodbye 1" in worker.log.read_text()


def test_an_actor_that_exits_names_the_call_that_ended_it(start: Callable[..., Worker]) -> None:
    worker = start(Actor)
    worker.send("leave")
    worker.hear(OutputWritten)
    exiting = worker.hear(ActorExiting)
    assert "Actor.leave" in exiting.detail
    assert worker.wait() == 0


def test_a_constructor_that_raises_ends_the_process(start: Callable[..., Worker]) -> None:
    """There is no head that could hear of it and have the process ended."""
    at_once = "import ipyactors.worker.exit; ipyactors.worker.exit.HEAD_HEARS_WITHIN_S = 0.1\n"

    class Broken:
        def __init__(self) -> None:
            raise ValueError("cannot")

    assert start(Broken, first=at_once).wait() == 1


class Meeting:
    """Its two methods can only return together."""

    def __init__(self) -> None:
        import threading

        self.barrier = threading.Barrier(2)

    def meet(self) -> int:
        return self.barrier.wait(60)

    def wait_for_cancel(self) -> bool:
        from ipyactors.owner import current

        call = current.call.get()
        assert call is not None
        print("running")
        while not call.cancelled:  # as a method that takes its time is meant to: it looks now and then
            time.sleep(0.01)
        return call.cancelled


def test_a_threaded_actor_runs_calls_side_by_side(start: Callable[..., Worker]) -> None:
    worker = start(Meeting, max_concurrency=2)
    for _ in range(10):
        worker.send("meet")
    assert sorted(worker.value() for _ in range(10)) == [0] * 5 + [1] * 5
    worker.say(FinishAndExit("enough"))
    worker.hear(ActorExiting)
    assert worker.wait() == 0


def test_a_threaded_method_is_only_told_that_it_is_cancelled(start: Callable[..., Worker]) -> None:
    worker = start(Meeting, max_concurrency=2)
    seq = worker.send("wait_for_cancel")
    worker.hear(OutputWritten)
    worker.say(CancelCall(seq))
    assert worker.value() is True


def test_a_threaded_method_may_end_the_process_with_its_own_status(start: Callable[..., Worker]) -> None:
    class Quitter:
        def add(self) -> int:
            return 1

        def leave(self) -> None:
            sys.exit(9)

    worker = start(Quitter, max_concurrency=3)
    worker.send("add")
    worker.send("leave")
    assert worker.value() == 1
    worker.hear(OutputWritten)
    assert worker.wait() == 9


class Async:
    def __init__(self) -> None:
        import asyncio

        self.event = asyncio.Event()
        self.started = asyncio.get_running_loop().time()

    async def wait_event(self) -> str:
        await self.event.wait()
        return "set"

    def set_event(self) -> str:
        self.event.set()
        return "done"

    async def sleep(self) -> None:
        import asyncio

        print("sleeping")
        await asyncio.sleep(600)

    async def count(self, n: int) -> Any:
        for number in range(n):
            yield number

    async def leave(self) -> None:
        from ipyactors.worker.exit import exit_actor

        self.event.set()
        exit_actor()


def test_an_async_actor_interleaves_its_calls(start: Callable[..., Worker]) -> None:
    worker = start(Async, is_async=True, max_concurrency=100)
    waiting = [worker.send("wait_event") for _ in range(5)]
    setting = worker.send("set_event")
    answers = [worker.hear(CallSucceeded) for _ in range(6)]
    assert answers[0].seq == setting
    assert [answer.seq for answer in answers[1:]] == waiting


def test_an_async_call_is_cancelled(start: Callable[..., Worker]) -> None:
    worker = start(Async, is_async=True, max_concurrency=1)
    seq = worker.send("sleep")
    worker.hear(OutputWritten)
    behind = worker.send("set_event")
    worker.say(CancelCall(seq))
    assert worker.hear(CallCancelled) == CallCancelled(seq, started=True)
    assert worker.hear(CallSucceeded).seq == behind


def test_an_async_generator_streams(start: Callable[..., Worker]) -> None:
    worker = start(Async, is_async=True, max_concurrency=10)
    worker.send("count", 3, num_returns=-1)
    items = [worker.hear(ItemYielded) for _ in range(3)]
    assert [serialize.loads(item.payload) for item in items] == [0, 1, 2]
    worker.hear(CallSucceeded)


def test_an_async_generator_is_closed_when_the_caller_has_enough(start: Callable[..., Worker]) -> None:
    worker = start(Async, is_async=True, max_concurrency=10)
    seq = worker.send("count", 1_000_000, num_returns=-1, skip_items=1, until_item=2)
    assert worker.hear(ItemYielded).index == 1
    assert worker.hear(CallSucceeded).seq == seq


def test_calls_beside_the_one_that_exits_finish(start: Callable[..., Worker]) -> None:
    worker = start(Async, is_async=True, max_concurrency=10)
    waiting = worker.send("wait_event")
    worker.send("leave")
    assert worker.hear(CallSucceeded).seq == waiting
    worker.hear(ActorExiting)
    assert worker.wait() == 0
