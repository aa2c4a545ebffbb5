"""Tracebacks that travel: what is stripped, and that what is put together reads like the original."""

from __future__ import annotations

import gc
import linecache
import traceback
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from ipyactors.ground import tracebacks

CELL = "def f(x):\n    return g(x)\n\ndef g(x):\n    return 1 / x\n"
NAME = "/tmp/ipykernel_1/42.py"


@pytest.fixture
def cell() -> Iterator[dict[str, Any]]:
    namespace: dict[str, Any] = {}
    exec(compile(CELL, NAME, "exec"), namespace)
    tracebacks.remember_source(NAME, CELL, "Cell In[5]")
    yield namespace
    linecache.cache.pop(NAME, None)
    tracebacks._labels.pop(NAME, None)


class PlainError(Exception):
    """Can be referred to weakly."""


def raised(function: Any, *args: Any) -> BaseException:
    try:
        function(*args)
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def test_frames_are_taken_outermost_first(cell: dict[str, Any]) -> None:
    error = raised(cell["f"], 0)
    assert tracebacks.describe(error.__traceback__)[1:] == [(NAME, 2, "f"), (NAME, 5, "g")]


def test_our_own_frames_are_left_out() -> None:
    error = raised(tracebacks.rebuild, 5)
    assert [name for _, _, name in tracebacks.describe(error.__traceback__)] == ["raised"]
    assert "ground/tracebacks" not in tracebacks.format_text(error)


def test_a_rebuilt_traceback_shows_the_remote_lines(cell: dict[str, Any]) -> None:
    frames = tracebacks.describe(raised(cell["f"], 0).__traceback__)[1:]
    rebuilt = ZeroDivisionError("division by zero").with_traceback(tracebacks.rebuild(frames))
    text = "".join(traceback.format_exception(rebuilt))
    assert text == (
        "Traceback (most recent call last):\n"
        f'  File "{NAME}", line 2, in f\n    return g(x)\n'
        f'  File "{NAME}", line 5, in g\n    return 1 / x\n'
        "ZeroDivisionError: division by zero\n"
    )
    assert tracebacks.describe(rebuilt.__traceback__) == frames  # it can travel once more


def test_a_rebuilt_traceback_keeps_nothing_alive(cell: dict[str, Any]) -> None:
    frames = tracebacks.describe(raised(cell["f"], 0).__traceback__)[1:]
    gc.disable()
    try:
        error = tracebacks.rejoin(PlainError(), None, None, False, tuple(frames))
        trace = error.__traceback__
        assert [entry.f_back for entry, _ in traceback.walk_tb(trace)] == [None, None]
        assert [entry.f_lineno for entry, _ in traceback.walk_tb(trace)] == [2, 5], "debuggers look there"
        known = weakref.ref(error)
        del error, trace
        assert known() is None
    finally:
        gc.enable()


def test_rebuilding_nothing_gives_what_is_inside() -> None:
    assert tracebacks.rebuild([]) is None
    inner = raised(int, "x").__traceback__
    assert tracebacks.rebuild([], inner) is inner
    joined = tracebacks.rebuild([("a.py", 0, "a")], inner)
    assert joined is not None
    assert joined.tb_next is inner


def test_text_names_a_cell_as_people_do_and_follows_causes(cell: dict[str, Any]) -> None:
    def outer() -> None:
        try:
            cell["f"](0)
        except ZeroDivisionError as error:
            raise KeyError("k") from error

    text = tracebacks.format_text(raised(outer))
    assert 'File "Cell In[5]", line 5, in g\n    return 1 / x' in text
    assert "direct cause" in text
    assert NAME not in text


def test_a_remembered_source_outlives_a_check_of_the_cache(cell: dict[str, Any]) -> None:
    linecache.checkcache()
    assert tracebacks.source_of(NAME) == (CELL, "Cell In[5]")
    assert tracebacks.source_of(__file__) is None
    assert tracebacks.source_of("<nothing>") is None


def test_an_exception_that_cannot_be_shown_is_still_named() -> None:
    class EvilError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    assert "Evil" in tracebacks.format_text(EvilError())


def test_lone_surrogates_become_escapes() -> None:
    assert tracebacks.clean("a\udc80ü") == "a\\udc80ü"
    tracebacks.format_text(ValueError("\udc80")).encode()


def test_revived_without_init() -> None:
    class PickyError(Exception):
        def __init__(self, one: int, two: int) -> None:
            super().__init__(f"{one} and {two}")
            self.one = one

    error = tracebacks.revive(PickyError, ("1 and 2",), {"one": 1})
    assert isinstance(error, PickyError)
    assert (str(error), error.one) == ("1 and 2", 1)


def test_a_source_that_two_threads_parse_at_once_costs_no_exception(
    cell: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """CPython's parser then has a SystemError for one of them, if the garbage collector comes at a bad moment."""

    def spoilt(_source: str) -> None:
        raise SystemError("AST constructor recursion depth mismatch (before=63, after=69)")

    frames = [("two_threads.py", 2, "helper")]
    tracebacks.remember_source("two_threads.py", "def helper():\n    raise ValueError\n")
    with monkeypatch.context() as patch:
        patch.setattr("ast.parse", spoilt)
        trace = tracebacks.rebuild(frames)
        assert trace is not None
        assert (trace.tb_lineno, trace.tb_frame.f_code.co_firstlineno) == (2, 2)
    trace = tracebacks.rebuild(frames)
    assert trace is not None
    assert trace.tb_frame.f_code.co_firstlineno == 1, "what was spoilt is not remembered"
