"""Children that a durable actor's methods fork: they are not the actor, and leave its log alone."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from tests.support.gates import LIMIT_S


@pytest.fixture
def ia(shared_runtime: Any) -> Any:
    return shared_runtime


def _make(ia: Any) -> Any:
    @ia.remote(durable=True)
    class Forker:
        def __init__(self) -> None:
            self.count = 0

        def add(self) -> int:
            self.count += 1
            return self.count

        def fork_and_return(self) -> int:
            self.count += 1
            child = os.fork()
            if child:
                os.waitpid(child, 0)
            return self.count

        def ask_in_a_child(self) -> str:
            reading, writing = os.pipe()
            child = os.fork()
            if not child:
                try:
                    ia.get_runtime_context().now()
                except Exception as error:
                    os.write(writing, type(error).__name__.encode())
                os._exit(0)
            os.close(writing)
            os.waitpid(child, 0)
            with open(reading, "rb") as file:
                return file.read().decode()

        def leave_a_child(self) -> int:
            self.count += 1
            if not os.fork():
                signal.pause()
            return self.count

        @ia.method(effect="readonly")
        def pid(self) -> int:
            return os.getpid()

    return Forker.remote()


def _kill(ia: Any, actor: Any) -> None:
    os.kill(ia.get(actor.pid.remote(), timeout=LIMIT_S), signal.SIGKILL)


def test_a_child_that_comes_back_from_a_call_ends_and_the_log_is_whole(ia: Any) -> None:
    forker = _make(ia)
    assert [ia.get(forker.fork_and_return.remote(), timeout=LIMIT_S) for _ in range(3)] == [1, 2, 3]
    assert ia.get(forker.add.remote(), timeout=LIMIT_S) == 4
    _kill(ia, forker)
    assert ia.get(forker.add.remote(), timeout=LIMIT_S) == 5


def test_a_child_that_asks_for_what_is_noted_is_refused(ia: Any) -> None:
    forker = _make(ia)
    assert ia.get(forker.ask_in_a_child.remote(), timeout=LIMIT_S) == "SessionError"
    _kill(ia, forker)
    assert ia.get(forker.ask_in_a_child.remote(), timeout=LIMIT_S) == "SessionError"


def test_a_child_that_outlives_the_actor_does_not_keep_its_log(ia: Any) -> None:
    forker = _make(ia)
    assert ia.get(forker.leave_a_child.remote(), timeout=LIMIT_S) == 1
    _kill(ia, forker)
    assert ia.get(forker.add.remote(), timeout=LIMIT_S) == 2
