"""User code that forks and comes back twice, and exceptions that cannot even be pickled without harm."""

from __future__ import annotations

import os
from typing import Any

import psutil
import pytest

from ipyactors import exceptions
from tests.support.gates import until


def _has_ended(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def test_a_forked_child_that_comes_back_from_its_task_ends_and_the_parent_answers(shared_runtime: Any) -> None:
    ia = shared_runtime

    @ia.remote
    def fork() -> tuple[int, int]:
        return os.fork(), os.getpid()

    child, worker = ia.get(fork.remote())
    assert child > 0
    until(lambda: _has_ended(child), "the child's end")
    assert not _has_ended(worker)
    assert ia.get(fork.remote())[1] > 0


class ExitingError(Exception):
    def __reduce__(self) -> tuple[Any, ...]:
        return _leave, ()


def _leave() -> None:
    raise SystemExit(3)


@pytest.mark.parametrize("options", [{}, {"max_concurrency": 2}])
def test_an_exception_that_exits_when_unpickled_harms_nobody(shared_runtime: Any, options: dict[str, Any]) -> None:
    ia = shared_runtime

    @ia.remote
    class Thrower:
        def throw(self) -> None:
            raise ExitingError("oh")

        def ping(self) -> str:
            return "pong"

    thrower = Thrower.options(**options).remote()
    for ref in [thrower.throw.remote() for _ in range(3)]:
        with pytest.raises(exceptions.TaskError, match="ExitingError"):
            ia.get(ref)
    assert ia.get(thrower.ping.remote()) == "pong"


def test_a_value_that_exits_when_it_is_unpickled_is_an_error_of_that_value(shared_runtime: Any) -> None:
    ia = shared_runtime

    class Leaver:
        def __reduce__(self) -> tuple[Any, ...]:
            return _leave, ()

    @ia.remote
    def give() -> Any:
        return Leaver()

    ref = give.remote()
    with pytest.raises(exceptions.SerializationError, match="SystemExit"):
        ia.get(ref)
    assert isinstance(ref.future().exception(60), exceptions.SerializationError)
    assert ia.get(ia.remote(lambda: 1).remote()) == 1
