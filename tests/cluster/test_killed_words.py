"""What a call wrote just before its process was killed is shown, all of it, once, whoever has made the call."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable

import pytest

import ipyactors as ia
from ipyactors.exceptions import ActorDiedError, CallAbortedError, WorkerCrashedError
from tests.support.durable import get
from tests.support.gates import until

pytestmark = pytest.mark.usefixtures("shared_runtime")

Seen = Callable[[], str]


def die() -> None:
    """End this process as the memory killer does."""
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("count", [1, 300])
def test_all_lines_are_shown_once_and_in_order(seen: Seen, count: int) -> None:
    @ia.remote(max_retries=0)
    def write() -> None:
        for number in range(count):
            print(number)
        die()

    for _ in range(5):
        with pytest.raises(WorkerCrashedError):
            get(write.remote())
    assert seen() == "".join(f"(write) {number}\n" for number in range(count)) * 5


def test_a_crash_in_native_code_shows_both_streams_and_no_report_of_it(seen: Seen) -> None:
    @ia.remote(max_retries=0)
    def crash() -> None:
        print("out")
        print("err", file=sys.stderr)
        os.write(2, b"of a library\n")
        ctypes.string_at(0)

    with pytest.raises(WorkerCrashedError, match="Segmentation fault"):  # there it is of use
        get(crash.remote())
    assert seen() == "(crash) out\n(crash) of a library\n(crash) err\n"


def test_a_constructor_that_kills_its_process(seen: Seen) -> None:
    @ia.remote
    class Short:
        def __init__(self) -> None:
            print("in the constructor")
            die()

        def get(self) -> None: ...

    with pytest.raises(ActorDiedError):
        get(Short.remote().get.remote())
    assert seen() == "(Short) in the constructor\n"


def test_a_call_of_a_task_shows_it_to_the_driver(seen: Seen) -> None:
    @ia.remote
    class Inner:
        def end(self) -> None:
            print("about to die")
            die()

    @ia.remote(max_retries=0)
    def outer() -> str:
        try:
            get(Inner.remote().end.remote())
        except ActorDiedError:
            print("caught")
        return "returned"

    assert get(outer.remote()) == "returned"
    assert seen() == "(Inner) about to die\n(outer) caught\n"


def test_a_durable_call_that_ends_each_process_shows_each_attempt(seen: Seen) -> None:
    @ia.remote(durable=True, max_task_retries=2)
    class Fragile:
        def end(self) -> None:
            print("about to die")
            die()

        def add(self) -> int:
            return 1

    actor = Fragile.remote()
    with pytest.raises(CallAbortedError):
        get(actor.end.remote())
    assert get(actor.add.remote()) == 1
    until(lambda: seen().count("about to die") == 3, "the words of each attempt")
    assert seen() == "(Fragile) about to die\n" * 3


def test_of_calls_side_by_side_each_has_its_own(seen: Seen) -> None:
    @ia.remote(max_concurrency=3)
    class Both:
        def wait(self) -> None:
            print("waits")
            threading.Event().wait()

        def end(self) -> None:
            print("about to die")
            die()

    actor = Both.remote()
    waiting = actor.wait.remote()
    until(lambda: "waits" in seen(), "the first call runs")
    for ref in (actor.end.remote(), waiting):
        with pytest.raises(ActorDiedError):
            get(ref)
    assert seen() == "(Both) waits\n(Both) about to die\n"


def test_a_process_with_nothing_to_say_shows_nothing_again(seen: Seen) -> None:
    @ia.remote
    class Quiet:
        def __init__(self) -> None:
            print("made")

        def say(self) -> None:
            print("hello")

        def end(self) -> None:
            die()

    actor = Quiet.remote()
    get(actor.say.remote())
    with pytest.raises(ActorDiedError):
        get(actor.end.remote())
    assert seen() == "(Quiet) made\n(Quiet) hello\n"
