"""What a task takes from outside is the same in every attempt, and its calls to durable actors count once."""

from __future__ import annotations

import os
import pathlib
import signal
from typing import Any

import pytest

from ipyactors import exceptions
from tests.support.gates import LIMIT_S


@pytest.fixture
def ia(shared_runtime: Any) -> Any:
    return shared_runtime


def _note(path: pathlib.Path, value: object) -> int:
    with open(path, "a", encoding="utf-8") as file:
        file.write(f"{value!r}\n")
    return len(path.read_text(encoding="utf-8").splitlines())


def test_every_attempt_of_a_task_is_given_the_same(ia: Any, tmp_path: pathlib.Path) -> None:
    path, called = tmp_path / "taken", tmp_path / "called"

    @ia.remote
    def take() -> object:
        context = ia.get_runtime_context()
        taken = context.now(), context.random(), context.uuid4(), context.once(_note, called, "once")
        if _note(path, taken) < 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return taken

    taken = ia.get(take.remote(), timeout=LIMIT_S)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines == [repr(taken)] * 3
    assert called.read_text(encoding="utf-8") == "'once'\n"


def test_what_a_function_raises_once_is_raised_again(ia: Any, tmp_path: pathlib.Path) -> None:
    path, called = tmp_path / "taken", tmp_path / "called"

    def fail() -> None:
        raise ValueError(f"call {_note(called, 'fail')}")

    @ia.remote
    def take() -> str:
        try:
            ia.get_runtime_context().once(fail)
        except ValueError as error:
            if _note(path, str(error)) < 2:
                os.kill(os.getpid(), signal.SIGKILL)
            return str(error)
        return "nothing was raised"

    assert ia.get(take.remote(), timeout=LIMIT_S) == "call 1"


def test_an_attempt_that_asks_for_something_else_is_told(ia: Any, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "attempts"

    @ia.remote
    def take() -> None:
        context = ia.get_runtime_context()
        if _note(path, "attempt") == 1:
            context.now()
            os.kill(os.getpid(), signal.SIGKILL)
        context.random()

    with pytest.raises(exceptions.ReplayDivergenceError, match="it was the time, and now it asks for a random number"):
        ia.get(take.remote(), timeout=LIMIT_S)


def test_a_task_that_is_not_retried_just_takes(ia: Any) -> None:
    @ia.remote(max_retries=0)
    def take() -> float:
        return float(ia.get_runtime_context().random())

    assert 0 <= ia.get(take.remote(), timeout=LIMIT_S) < 1


def test_a_retried_task_calls_a_durable_actor_once(ia: Any, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "attempts"

    @ia.remote(durable=True)
    class Account:
        def __init__(self) -> None:
            self.balance = 0.0

        def deposit(self, amount: float) -> float:
            self.balance += amount
            return self.balance

    @ia.remote
    def pay(account: Any) -> float:
        amount = 1 + ia.get_runtime_context().random()
        first = ia.get(account.deposit.remote(amount))
        second = account.deposit.remote(-amount / 2)
        if _note(path, first) < 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return float(ia.get(second))

    account = Account.remote()
    balance = ia.get(pay.remote(account), timeout=LIMIT_S)
    assert balance == ia.get(account.deposit.remote(0.0), timeout=LIMIT_S)
    assert 0.5 <= balance < 1
    assert len(set(path.read_text(encoding="utf-8").splitlines())) == 1


def test_answers_are_kept_for_as_long_as_they_may_be_asked_for_and_no_longer(ia: Any) -> None:
    @ia.remote(durable=True)
    class Counter:
        def __init__(self) -> None:
            self.count = 0

        def add(self) -> int:
            self.count += 1
            return self.count

        @ia.method(effect="readonly")
        def kept(self) -> int:
            import gc

            from ipyactors.durable.call_tables import CallTables

            return max(len(one.recorded) for one in gc.get_objects() if type(one) is CallTables)

    @ia.remote
    def task(counter: Any) -> int:
        return int(ia.get(counter.add.remote()))

    @ia.remote
    class Plain:
        def add(self, counter: Any) -> int:
            return int(ia.get(counter.add.remote()))

    counter = Counter.remote()
    plain, retried = Plain.remote(), Plain.options(max_restarts=1, max_task_retries=1).remote()
    for _ in range(20):
        ia.get([plain.add.remote(counter), retried.add.remote(counter), task.remote(counter)], timeout=LIMIT_S)
        ia.get(counter.add.remote(), timeout=LIMIT_S)
    assert ia.get(counter.add.remote(), timeout=LIMIT_S) == 81
    assert ia.get(counter.kept.remote(), timeout=LIMIT_S) < 10
