"""What a user sees of a task: its exceptions as if they had been raised here, and what it prints."""

from __future__ import annotations

import linecache
import os
import pathlib
import re
import subprocess
import sys
import threading
import time
import traceback
from typing import Any

import pytest

from ipyactors import exceptions
from tests.support.gates import until


@pytest.fixture
def ia(shared_runtime: Any) -> Any:
    return shared_runtime


def raised_by(ia: Any, function: Any, *args: Any) -> Any:
    """Run ``function`` as a task and return what ``get`` raises."""
    with pytest.raises(BaseException) as caught:
        ia.get(ia.remote(function).remote(*args))
    return caught.value


def test_a_failure_that_nobody_asks_for_is_told(ia: Any, tasks: Any, capsys: pytest.CaptureFixture[str]) -> None:
    seen, unseen = tasks.fail.remote("seen"), tasks.fail.remote("unseen")
    with pytest.raises(ValueError, match="seen"):
        ia.get(seen)
    ia.wait([unseen])
    del seen, unseen
    ia.get(tasks.echo.remote(1))  # takes a turn, and shows what there is to show before it returns
    told = [line for line in capsys.readouterr().err.splitlines() if "nobody asked" in line]
    assert told == ["(ipyactors) Tasks.fail failed, and nobody asked for its result: ValueError: unseen"]


def test_a_generator_that_fails_when_nobody_can_take_its_items_is_told(
    ia: Any, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def items(begun: str) -> Any:
        try:
            yield 1
            open(begun, "w").close()
            time.sleep(600)
        finally:
            raise ValueError("cannot stop")

    begun = tmp_path / "begun"
    stream = ia.remote(items).options(name="items").remote(str(begun))
    assert ia.get(next(stream)) == 1
    until(begun.exists, "the generator to go on")
    del stream
    lines: list[str] = []

    def is_told() -> bool:
        lines.extend(line for line in capsys.readouterr().err.splitlines() if "nobody asked" in line)
        return bool(lines)

    until(is_told, "the failure to be told")
    assert lines == ["(ipyactors) items failed, and nobody asked for its result: ValueError: cannot stop"]


# -- exceptions --------------------------------------------------------------------------------------------------


def test_an_exception_is_of_its_own_type_and_a_task_error(ia: Any) -> None:
    def raise_one(key: str) -> None:
        raise KeyError(key)

    error = raised_by(ia, raise_one, "x")
    assert isinstance(error, KeyError)
    assert isinstance(error, exceptions.TaskError)
    assert type(error).__name__ == "KeyError"
    assert error.args == ("x",)
    assert type(error.cause) is KeyError
    assert error.function_name.endswith("raise_one")


def test_the_traceback_shows_the_remote_lines_and_none_of_ours(ia: Any) -> None:
    def inner(number: int) -> float:
        return 1 / number  # the line to see

    def raise_two() -> None:
        inner(0)

    error = raised_by(ia, raise_two)
    assert "return 1 / number  # the line to see" in error.remote_traceback
    assert "in raise_two" in error.remote_traceback
    assert "/ipyactors/" not in error.remote_traceback
    names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    assert names[-2:] == ["raise_two", "inner"]
    assert "/ipyactors/worker/" not in "".join(traceback.format_exception(error))


def test_source_that_lies_in_no_file_is_shown_too(ia: Any) -> None:
    source = "def raise_three():\n    raise ValueError('here')  # from a cell\n"
    scope: dict[str, Any] = {"__name__": "__main__"}
    linecache.cache["<cell 7>"] = (len(source), None, source.splitlines(keepends=True), "<cell 7>")
    exec(compile(source, "<cell 7>", "exec"), scope)
    error = raised_by(ia, scope["raise_three"])
    assert "raise ValueError('here')  # from a cell" in error.remote_traceback
    assert 'File "<cell 7>", line 2, in raise_three' in error.remote_traceback
    assert "# from a cell" in "".join(traceback.format_exception(error))


def test_causes_and_contexts_come_with_it(ia: Any) -> None:
    def raise_four() -> None:
        try:
            {}["missing"]
        except KeyError as error:
            raise ValueError("outer") from error

    def raise_five() -> None:
        try:
            {}["missing"]
        except KeyError:
            raise ValueError("outer")  # noqa: B904 - the context is the point

    def raise_six() -> None:
        raise ValueError("outer") from None

    error = raised_by(ia, raise_four)
    assert isinstance(error.__cause__, KeyError)
    assert '{}["missing"]' in "".join(traceback.format_exception(error))
    error = raised_by(ia, raise_five)
    assert error.__cause__ is None
    assert isinstance(error.__context__, KeyError)
    assert raised_by(ia, raise_six).__suppress_context__


def test_each_get_raises_a_fresh_copy(ia: Any) -> None:
    @ia.remote
    def fail() -> None:
        raise ValueError("again")

    @ia.remote(num_cpus=100)
    def never() -> None: ...

    for ref in (fail.remote(), never.remote()):
        ia.wait([ref])
        errors = []
        for _ in range(2):
            with pytest.raises((ValueError, exceptions.PlacementError)) as caught:
                ia.get(ref)
            errors.append(caught.value)
        assert errors[0] is not errors[1]
        assert str(errors[0]) == str(errors[1])
        assert len(traceback.extract_tb(errors[0].__traceback__)) == len(traceback.extract_tb(errors[1].__traceback__))


def test_an_exception_with_an_init_of_its_own_arrives_whole(ia: Any) -> None:
    class OrderError(Exception):
        def __init__(self, order: int, *, reason: str) -> None:
            super().__init__(f"order {order}: {reason}")
            self.order = order

    def raise_seven() -> None:
        error = OrderError(7, reason="late")
        error.add_note("ask the shop")
        raise error

    error = raised_by(ia, raise_seven)
    assert type(error).__name__ == "OrderError"
    assert isinstance(error, exceptions.TaskError)
    assert (str(error), error.order, error.__notes__) == ("order 7: late", 7, ["ask the shop"])


def test_an_exception_that_cannot_be_pickled_arrives_as_text(ia: Any) -> None:
    def raise_eight() -> None:
        import threading

        error = ValueError("holds a lock")
        error.lock = threading.Lock()  # type: ignore[attr-defined]
        raise error

    error = raised_by(ia, raise_eight)
    assert type(error) is exceptions.TaskError
    assert error.cause is None
    assert "raised ValueError: holds a lock" in str(error)
    assert "raise error" in str(error)
    assert "cannot pickle" in str(error)


def test_an_exception_group_and_a_builtin_with_facts_keep_what_they_hold(ia: Any) -> None:
    def raise_nine() -> None:
        raise ExceptionGroup("two", [ValueError(1), KeyError(2)])

    def raise_ten() -> None:
        pathlib.Path("/no/such/file").read_text()

    group = raised_by(ia, raise_nine)
    assert [type(part) for part in group.exceptions] == [ValueError, KeyError]
    missing = raised_by(ia, raise_ten)
    assert isinstance(missing, FileNotFoundError)
    assert (missing.errno, missing.filename) == (2, "/no/such/file")


def test_an_error_passes_through_several_processes_unchanged(ia: Any) -> None:
    @ia.remote
    def deepest() -> None:
        raise LookupError("deep down")

    def raise_eleven() -> None:
        ia.get(deepest.remote())

    error = raised_by(ia, raise_eleven)
    assert isinstance(error, LookupError)
    assert str(error) == "deep down"
    assert "in deepest" in "".join(traceback.format_exception(error))


# -- pickling ----------------------------------------------------------------------------------------------------


def test_what_cannot_be_pickled_is_named_with_the_path_to_it(ia: Any) -> None:
    guard = threading.Lock()

    def closes_over() -> Any:
        return guard

    def take(*_args: Any, **_kwargs: Any) -> None: ...

    def give_back() -> Any:
        import threading

        return {"a": [threading.Lock()]}

    with pytest.raises(exceptions.SerializationError, match=r"variable 'guard' \(from the enclosing function\) is a"):
        ia.remote(closes_over).remote()
    with pytest.raises(exceptions.SerializationError, match=r": argument 2 -> \['a'\] -> \[1\] is a lock"):
        ia.remote(take).remote(1, {"a": [0, guard]})
    with pytest.raises(exceptions.SerializationError, match=r": argument 'key' is a lock"):
        ia.remote(take).remote(key=guard)
    with pytest.raises(exceptions.SerializationError, match=r"the value cannot be sent .*: \[0\] is a lock"):
        ia.put([guard])
    text = str(raised_by(ia, give_back))
    assert "the result of" in text
    assert ": ['a'] -> [0] is a lock" in text
    assert "The call ran to its end" in text


# -- what a script sees ------------------------------------------------------------------------------------------

SCRIPT = """
import math
import sys

import ipyactors as ia

factor = 3


class Point:
    scale = 10

    def __init__(self, x):
        self.x = x

    def __eq__(self, other):
        return type(other) is Point and other.x == self.x


def helper(x):
    return math.sqrt(x) * factor


@ia.remote
def work(point):
    print("first", point.x)
    print("to stderr", file=sys.stderr)
    for number in range(200):
        print("line", number)
    print("no newline", end="")
    return Point(helper(point.x) * Point.scale)


@ia.remote
def count(n):
    return n if n == 0 else 1 + ia.get(count.remote(n - 1))


@ia.remote
def which():
    return "old"


old = which.remote()


@ia.remote
def which():
    return "new"


def speak():
    print("nested")


@ia.remote(name="outer")
def outer():
    ia.get(ia.remote(speak).options(name="inner").remote())
    print("after")


for _ in range(20):
    got = ia.get(work.remote(Point(4)))
    print("result", got == Point(60.0))
print(ia.get(count.remote(3)), ia.get(old), ia.get(which.remote()))
ia.get(outer.remote())
"""


def test_a_script_sees_its_tasks_lines_named_and_in_order_and_nothing_else(tmp_path: pathlib.Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    lines = ["first 4", *[f"line {number}" for number in range(200)], "no newline"]
    once = [*[f"(work) {line}" for line in lines], "result True"]
    assert done.stdout.splitlines() == [*once * 20, "3 old new", "(inner) nested", "(outer) after"]
    assert done.stderr.splitlines() == ["(work) to stderr"] * 20


def test_who_asks_for_a_call_that_was_not_run_is_told_which_argument_had_failed(ia: Any, tasks: Any) -> None:
    failed = tasks.fail.remote("so it goes")
    last = tasks.echo.remote(tasks.echo.remote(failed))
    with pytest.raises(ValueError, match="so it goes") as caught:
        ia.get(last)
    notes = [re.sub(r"#\d+", "#", note) for note in caught.value.__notes__]
    first = "Tasks.echo # was not run: its argument Tasks."
    assert notes[-2:] == [f"{first}fail # failed.", f"{first}echo # failed."]

    @ia.remote(max_retries=0)
    def die() -> None:
        os._exit(3)

    crashed = die.remote()
    with pytest.raises(exceptions.WorkerCrashedError) as died:
        ia.get(tasks.echo.remote(crashed))
    assert "was not run: its argument die #" in died.value.__notes__[-1]
    with pytest.raises(exceptions.WorkerCrashedError) as again:
        ia.get(crashed)
    assert not hasattr(again.value, "__notes__")
