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


class NastyText(str):  # noqa: SLOT000 - as people write it
    def __str__(self) -> str:
        raise RuntimeError("no text")


class NastyError(Exception):
    __cause__ = property(lambda self: _leave())  # type: ignore[assignment]
    __class__ = property(lambda self: _leave())  # type: ignore[assignment]

    def __str__(self) -> str:
        raise KeyboardInterrupt


class NastyNumber(int):
    def __repr__(self) -> str:
        raise RuntimeError("no number")


@pytest.mark.parametrize("options", [{}, {"max_concurrency": 2}, {"durable": True}])
def test_no_exception_ends_the_process_in_which_it_is_raised(shared_runtime: Any, options: dict[str, Any]) -> None:
    ia = shared_runtime
    nasty = (
        lambda: ValueError(NastyText("hi")),
        lambda: NastyError("hi"),
        lambda: ExceptionGroup("several", [NastyError("hi"), ValueError(NastyText("hi"))]),
        lambda: type("NastyName", (Exception,), {"__qualname__": NastyText("nasty")})("hi"),
    )

    @ia.remote
    class Thrower:
        def throw(self, index: int) -> None:
            error = nasty[index]()
            raise error

        def pid(self) -> int:
            return os.getpid()

    @ia.remote(max_retries=0, retry_exceptions=[NastyError])
    def throw(index: int) -> None:
        error = nasty[index]()
        raise error

    thrower = Thrower.options(**options).remote()
    pid = ia.get(thrower.pid.remote())
    for index in range(len(nasty)):
        for ref in (thrower.throw.remote(index), throw.remote(index)):
            with pytest.raises(exceptions.TaskError) as caught:
                ia.get(ref)
            assert not issubclass(caught.type, exceptions.WorkerCrashedError)
    assert ia.get(thrower.pid.remote()) == pid


def test_an_exit_with_an_odd_status_is_told_and_is_that_of_the_worker(
    shared_runtime: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    ia = shared_runtime

    @ia.remote(max_retries=0)
    def leaving() -> None:
        raise SystemExit(NastyNumber(3))

    with pytest.raises(exceptions.WorkerCrashedError, match="3"):
        ia.get(leaving.remote())
    printed = capfd.readouterr().err
    assert "leaving called sys.exit(NastyNumber(3)): the worker exits with 3" in printed


@pytest.mark.parametrize("is_actor", [False, True])
def test_a_forked_child_that_exits_says_nothing_of_the_worker(
    shared_runtime: Any, is_actor: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    ia = shared_runtime

    def fork() -> int:
        child = os.fork()
        if not child:
            raise SystemExit(3)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    @ia.remote
    class Forker:
        def fork(self) -> int:
            return fork()

    ref = Forker.remote().fork.remote() if is_actor else ia.remote(fork).remote()
    assert ia.get(ref) == 3
    assert "worker exits" not in capfd.readouterr().err
