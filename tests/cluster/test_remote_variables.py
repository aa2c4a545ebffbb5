"""Which variables a remote frame had: for every kind of call, in every tool, and never in an actor's log."""

from __future__ import annotations

import logging
import pathlib
import subprocess
import sys
import traceback
import types
from typing import Any

import pytest

import ipyactors as ia
from tests.support.durable import folder, get, kill, recoveries

pytestmark = pytest.mark.usefixtures("shared_runtime")

MARK = "only-in-a-variable"


def failing(call: Any) -> Any:
    with pytest.raises(LookupError) as caught:
        get(call)
    return caught.value


def frames(error: BaseException) -> dict[str, types.FrameType]:
    return {frame.f_code.co_name: frame for frame, _ in traceback.walk_tb(error.__traceback__)}


def variables(error: BaseException, name: str) -> dict[str, Any]:
    return dict(frames(error)[name].f_locals)


def inner(number: int) -> None:
    text = f"{MARK}-{number}"
    raise LookupError(len(text))


@ia.remote
def deepest(number: int) -> None:
    inner(number + 1)


@ia.remote
def outermost(number: int) -> None:
    get(deepest.remote(number + 1))


class _Worker:
    def method(self, number: int) -> None:
        inner(number)

    def items(self, number: int) -> Any:
        yield 1
        inner(number)


class _Async:
    async def method(self, number: int) -> None:
        inner(number)

    async def items(self, number: int) -> Any:
        yield 1
        inner(number)


def test_through_tasks_of_tasks() -> None:
    error = failing(outermost.remote(1))
    assert variables(error, "outermost") == {"number": 1}
    assert variables(error, "deepest") == {"number": 2}
    assert variables(error, "inner") == {"number": 3, "text": f"{MARK}-3"}


@pytest.mark.parametrize(
    ("cls", "options"), [(_Worker, {}), (_Worker, {"max_concurrency": 2}), (_Async, {}), (_Worker, {"durable": True})]
)
def test_of_every_kind_of_actor(cls: type, options: dict[str, Any]) -> None:
    actor = (ia.remote(**options)(cls) if options else ia.remote(cls)).remote()
    error = failing(actor.method.remote(4))
    assert variables(error, "inner")["text"] == f"{MARK}-4"
    assert variables(error, "method")["number"] == 4
    assert repr(variables(error, "method")["self"]) == f"<{cls.__name__}>"
    assert error.__notes__ == [f"actor {cls.__name__}, incarnation 0"]
    assert "run_until_complete" not in frames(error)


@pytest.mark.parametrize("cls", [_Worker, _Async])
def test_of_a_generator(cls: type) -> None:
    items = ia.remote(cls).remote().items.options(num_returns="streaming").remote(5)
    assert get(next(items)) == 1
    with pytest.raises(LookupError) as caught:
        get(next(items))
    assert variables(caught.value, "items")["number"] == 5


def test_of_the_last_attempt() -> None:
    error = failing(deepest.options(retry_exceptions=[LookupError], max_retries=2).remote(6))
    assert error.__notes__ == ["attempt 3 of 3 · task deepest"]
    assert variables(error, "inner")["number"] == 7
    error = failing(deepest.options(retry_exceptions=[KeyError]).remote(6))
    assert error.__notes__ == ["attempt 1 of 4 (retry_exceptions does not name LookupError) · task deepest"]


def test_an_actor_says_its_incarnation() -> None:
    actor = ia.remote(max_restarts=1, max_task_retries=1)(_Worker).options(name="remembered").remote()
    failing(actor.method.remote(1))
    kill(actor)
    assert failing(actor.method.remote(1)).__notes__ == ["actor remembered, incarnation 1"]
    ia.kill(actor)


def test_a_log_of_exceptions_shows_the_remote_lines(caplog: pytest.LogCaptureFixture) -> None:
    try:
        get(deepest.remote(1))
    except LookupError:
        logging.getLogger("test").exception("it failed")
    assert "inner(number + 1)" in caplog.text
    assert "/ipyactors/worker/" not in caplog.text


# -- durable actors ----------------------------------------------------------------------------------------------


class _Ledger:
    def __init__(self) -> None:
        self.calls = 0
        self.caught: list[Any] = []

    def fail(self, number: int) -> None:
        self.calls += 1
        inner(number)

    def catch(self) -> list[Any]:
        try:
            get(deepest.remote(7))
        except LookupError as error:
            self.caught.append([sorted(frame.f_locals) for frame in frames(error).values()][-2:])
        return self.caught


def log_of(actor: Any) -> bytes:
    return b"".join(path.read_bytes() for path in pathlib.Path(folder(actor)).rglob("*") if path.is_file())


def test_no_variable_is_in_a_log_and_an_answer_from_there_has_its_traceback() -> None:
    actor = ia.remote(durable=True)(_Ledger).remote()
    fail = actor.fail.options(key="k")
    assert variables(failing(fail.remote(8)), "inner")["text"] == f"{MARK}-8"
    assert MARK.encode() not in log_of(actor)
    for _ in range(2):
        error = failing(fail.remote(8))
        assert variables(error, "inner") == {}
        assert "raise LookupError(len(text))" in "".join(traceback.format_exception(error))
        kill(actor)
    assert get(actor.catch.remote()) == [[[], []]], "live code gets what a replay will get"
    assert MARK.encode() not in log_of(actor)
    kill(actor)
    assert len(get(actor.catch.remote())) == 2
    assert len(recoveries(actor)) == 3, "and no replay has diverged"


# -- plain Python ------------------------------------------------------------------------------------------------

SCRIPT = """
import pdb, sys, traceback
import ipyactors as ia

def inner(number):
    low = number - number
    return number / low  # the line to see

@ia.remote
def task(number):
    return inner(number + 1)

ia.init(num_cpus=1)
try:
    ia.get(task.remote(1))
except ZeroDivisionError as error:
    traceback.print_exc()
    sys.last_traceback, sys.last_value = error.__traceback__, error
    pdb.pm()
"""


def test_plain_python_prints_them_and_its_debugger_finds_the_variables(tmp_path: pathlib.Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script)],
        input="args\np low\nup\np number\nlist\nq\n",
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "return number / low  # the line to see" in done.stderr
    for expected in ("number = 2", "(Pdb) 0", "(Pdb) 1", "->\t    return inner(number + 1)"):
        assert expected in done.stdout, done.stdout
