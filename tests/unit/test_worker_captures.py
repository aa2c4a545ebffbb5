"""The local variables of remote frames: taken in the worker, put into the frames of a rebuilt traceback."""

from __future__ import annotations

import asyncio
import gc
import io
import linecache
import pdb
import threading
import traceback
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import ANY

import msgspec
import numpy as np
import pytest

from ipyactors.ground import tracebacks
from ipyactors.ground.secret_names import SECRET
from ipyactors.ground.stub_frames import hidden_before, is_stub
from ipyactors.ground.value_texts import Captured
from ipyactors.owner import values
from ipyactors.worker import captures, execute
from ipyactors.worker.errors import describe_error


def raised(function: Callable[..., Any], *args: Any) -> BaseException:
    try:
        function(*args)
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def travelled(error: BaseException) -> Any:
    """Return an exception as the caller gets it."""
    return values.exception_of(describe_error(error, function_name="f", with_details=True))


def frames(error: BaseException) -> dict[str, types.FrameType]:
    return {frame.f_code.co_name: frame for frame, _ in traceback.walk_tb(error.__traceback__)}


def as_in_a_worker(error: BaseException) -> BaseException:
    """Return an exception without the frame of :func:`raised`: there, the outermost frame is ours."""
    assert error.__traceback__ is not None
    return error.with_traceback(error.__traceback__.tb_next)


def divide(x: int, /, rows: list[int], *more: int, by: int = 0, **options: Any) -> float:
    total = sum(rows)
    array = np.zeros((100, 3))
    return total / by + len(array)


def test_a_frame_has_its_variables_and_its_arguments_first() -> None:
    error = travelled(raised(divide, 7, [1, 2], 3))
    frame = frames(error)["divide"]
    local = dict(frame.f_locals)
    assert list(local) == ["x", "rows", "by", "more", "options", "total", "array"]
    assert repr(local.pop("array")) == "<ndarray shape=(100, 3) dtype=float64>"
    assert local == {"x": 7, "rows": [1, 2], "by": 0, "more": (3,), "options": {}, "total": 3}
    code = frame.f_code
    assert code.co_varnames[: code.co_argcount] == ("x", "rows", "by", "more", "options")


def test_a_debugger_finds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def outer(name: str) -> float:
        return divide(1, [2])

    out = io.StringIO()
    typed = io.StringIO("args\np total, by\npp locals()\nlist\nup\np name\nargs\ndown\np rows[0]\nq\n")
    debugger = pdb.Pdb(stdin=typed, stdout=out, readrc=False)
    debugger.reset()
    debugger.interaction(None, travelled(raised(outer, "here")).__traceback__)
    said = out.getvalue()
    for expected in (
        "rows = [2]",
        "(2, 0)",
        "'total': 2",
        "'here'",
        "name = 'here'",
        "->\t    return total / by + len(array)",
    ):
        assert expected in said, said
    assert "***" not in said, said


def test_what_is_not_plain_is_there_as_its_text() -> None:
    def fail(path: object) -> None:
        raise ValueError

    value = frames(travelled(raised(fail, object())))["fail"].f_locals["path"]
    assert isinstance(value, Captured)
    assert repr(value) == "<object>"


def test_secrets_do_not_leave_the_worker() -> None:
    def login(user: str, password: str) -> None:
        settings = {"api_key": "0123456789abcdef", "host": "h"}
        raise PermissionError(user, len(settings))

    error = as_in_a_worker(raised(login, "ann", "hunter2"))
    said = repr(describe_error(error, function_name="f", with_details=True).details)
    assert "hunter2" not in said
    assert "0123456789abcdef" not in said
    assert said.count(SECRET) == 2
    assert "'host': 'h'" in said


def test_all_of_it_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    def deep(count: int, text: str) -> None:
        one = two = three = four = "y" * 1000
        if not count:
            raise ValueError(one + two + three + four)
        deep(count - 1, text)

    details = captures.details_of(raised(deep, 200, "x" * 1000))[0]
    found = [one for frame in details.frames for one in frame.variables]
    assert sum(len(one.text) + len(one.name) for one in found) < 33 * 1024
    assert max(len(one.text) for one in found) <= 200
    assert details.frames[0].index == details.length - 1, "the innermost are taken first"
    many = {f"name_{index}": index for index in range(1000)}
    wide = raised(exec, "raise ValueError", {"__builtins__": __builtins__}, many)
    assert len(captures.details_of(wide)[0].frames[0].variables) == 50
    monkeypatch.setattr(captures, "_AT_MOST_S", 0.0)
    assert not any(one.variables for one in captures.details_of(wide)[0].frames), "there is no time left"


def test_it_can_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPYACTORS_CAPTURE_LOCALS", "0")
    error = travelled(raised(divide, 7, [1, 2]))
    assert frames(error)["divide"].f_locals == {}
    assert "return total / by" in "".join(traceback.format_exception(error))


def test_a_module_and_a_class_body_tell_what_they_define_and_no_more() -> None:
    source = "one = 1\nclass Two:\n    three = 3\n    raise ValueError\n"
    namespace: dict[str, Any] = {"__name__": "m", "__doc__": "d"}
    error = travelled(raised(exec, compile(source, "<m>", "exec"), namespace))
    assert frames(error)["<module>"].f_locals == {"one": 1}
    assert frames(error)["Two"].f_locals == {"three": 3}


class OddNamespace(dict[str, Any]):
    def __iter__(self) -> Iterator[str]:
        raise AssertionError("code of the user's was run")


def test_what_a_namespace_holds_may_be_anything() -> None:
    class Odd:
        pass

    odd = Odd()
    setattr(odd, "\udc80", 1)
    namespace: dict[Any, Any] = {1: 2, "\udc80": 3, "odd": odd, "text": "\udc80"}
    remote = describe_error(raised(exec, "raise ValueError", {}, namespace), function_name="f", with_details=True)
    sent = msgspec.msgpack.decode(msgspec.msgpack.encode(remote.details), type=tuple[tracebacks.TraceDetails, ...])
    found = {one.name: one.text for one in sent[0].frames[0].variables}
    assert found == {"\\udc80": "3", "odd": "<Odd \\udc80=1>", "text": "'\\udc80'"}
    (trace,) = captures.details_of(raised(exec, "raise ValueError", {}, OddNamespace(a=1)))
    assert [one.index for one in trace.frames] == [0], "that of raised() alone: nothing is known of the other"


# -- through what an exception goes ------------------------------------------------------------------------------


def test_causes_contexts_and_members_of_groups_have_theirs() -> None:
    def part(x: int) -> None:
        raise ValueError(x)

    def whole() -> None:
        found = []
        for number in (1, 2):
            try:
                part(number)
            except ValueError as error:
                found.append(error)
        try:
            divide(1, [5])
        except ZeroDivisionError as error:
            raise ExceptionGroup("several", found) from error

    group = travelled(raised(whole))
    assert [frames(member)["part"].f_locals["x"] for member in group.exceptions] == [1, 2]
    assert frames(group.__cause__)["divide"].f_locals["total"] == 5
    text = "".join(traceback.format_exception(group))
    assert text.count("raise ValueError(x)") == 2


def test_what_stands_for_a_group_that_cannot_travel_gets_no_others_variables() -> None:
    class StuckError(Exception):
        def __reduce__(self) -> Any:
            raise TypeError

    def part(x: int) -> None:
        raise StuckError

    def fail() -> None:
        group = ExceptionGroup("g", [StuckError()])
        try:
            raise group from raised(part, 1)
        except ExceptionGroup as inner:
            raise ValueError("outer") from inner

    error = travelled(raised(fail))
    assert "group" in frames(error)["fail"].f_locals
    assert "it could not be pickled" in str(error.__cause__)
    assert "x" not in frames(error.__cause__)["fail"].f_locals
    assert frames(error.__cause__.__cause__)["part"].f_locals == {"x": 1, "StuckError": ANY}


def test_an_exception_that_cannot_be_pickled_has_them_too() -> None:
    def fail(x: int) -> None:
        error = ValueError("holds")
        error.lock = threading.Lock()  # type: ignore[attr-defined]
        raise error

    error = travelled(raised(fail, 4))
    assert type(error).__name__ == "TaskError"
    assert frames(error)["fail"].f_locals["x"] == 4


def test_they_travel_on_from_process_to_process() -> None:
    first = travelled(raised(divide, 7, [1, 2]))

    def outer(name: str) -> None:
        raise first

    second = travelled(raised(outer, "there"))
    found = frames(second)
    assert found["outer"].f_locals["name"] == "there"
    assert found["divide"].f_locals["rows"] == [1, 2]
    assert repr(found["divide"].f_locals["array"]) == "<ndarray shape=(100, 3) dtype=float64>"
    assert is_stub(found["divide"])


def test_a_generator_and_a_coroutine_have_theirs() -> None:
    def items(limit: int) -> Iterator[int]:
        yield 1
        raise ValueError(limit)

    async def wait(limit: int) -> None:
        await asyncio.sleep(0)
        raise ValueError(limit)

    assert frames(travelled(raised(list, items(3))))["items"].f_locals == {"limit": 3}
    error = as_in_a_worker(raised(execute._run_coroutine, wait(5)))
    found = frames(travelled(error))
    assert list(found) == ["wait"], "nothing of the event loop in which we run it"
    assert found["wait"].f_locals == {"limit": 5}
    assert "asyncio" not in tracebacks.format_text(error)


def test_an_event_loop_of_the_users_own_is_shown() -> None:
    async def wait() -> None:
        raise ValueError

    assert "run_until_complete" in frames(travelled(raised(asyncio.run, wait())))


# -- the frames themselves ---------------------------------------------------------------------------------------


def test_the_workers_frames_are_known_and_not_shown() -> None:
    async def wait(limit: int) -> None:
        raise ValueError(limit)

    first = travelled(as_in_a_worker(raised(execute._run_coroutine, wait(1))))
    names = [name for _, _, name in hidden_before(frames(first)["wait"])]
    assert names == ["_run_coroutine"]
    assert "_run_coroutine" not in "".join(traceback.format_exception(first))
    again = frames(travelled(first))["wait"]
    assert [name for _, _, name in hidden_before(again)] == ["_run_coroutine"], "also from further away"


class Kept:
    """Can be referred to weakly."""


class PlainError(Exception):
    """Can be referred to weakly, and need not be made again with the error."""


def test_nothing_is_kept_alive_neither_here_nor_there() -> None:
    def fail(kept: Kept) -> None:
        raise PlainError(kept is None)

    linecache.clearcache()
    gc.collect()
    gc.disable()
    try:
        kept = Kept()
        known = weakref.ref(kept)
        remote = describe_error(raised(fail, kept), function_name="f", with_details=True)
        del kept
        assert known() is None, "in the worker"
        values.exception_of(remote)  # the first one makes a class, which is in circles as all classes are
        gc.collect()
        error = values.exception_of(remote)
        frame = frames(error)["fail"]
        assert frame.f_back is None
        assert repr(frame.f_locals["kept"]) == "<Kept>"
        gone = weakref.ref(error)
        del error, frame
        assert gone() is None, "in the caller"
        assert gc.collect() == 0, "and no circle is left"
    finally:
        gc.enable()
