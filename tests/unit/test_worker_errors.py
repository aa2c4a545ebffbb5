"""Exceptions on their way out of a worker: themselves where possible, text always."""

from __future__ import annotations

import linecache
import threading
from typing import Any

import numpy as np
import pytest

from ipyactors.ground import tracebacks
from ipyactors.ground.exceptions import TaskError
from ipyactors.owner import values
from ipyactors.wire import serialize
from ipyactors.wire.specs import FrameSpec, RemoteError
from ipyactors.worker.errors import describe_error


def described(error: BaseException) -> RemoteError:
    try:
        raise error
    except BaseException as caught:
        return describe_error(caught, function_name="f")


def loaded(remote: RemoteError) -> Any:
    assert remote.payload is not None, remote.pickling_problem
    return serialize.loads(remote.payload)


def test_an_exception_comes_back_as_it_was() -> None:
    error = ValueError("bad", 3)
    error.add_note("a note")
    remote = described(error)
    copy = loaded(remote)
    assert type(copy) is ValueError
    assert copy.args == ("bad", 3)
    assert copy.__notes__ == ["a note"]
    assert (remote.type_name, remote.message, remote.function_name) == ("ValueError", "('bad', 3)", "f")
    assert "ValueError: ('bad', 3)" in remote.traceback_text
    assert [frame.name for frame in remote.frames] == ["described"]
    assert tracebacks.describe(copy.__traceback__) == [
        (frame.filename, frame.line, frame.name) for frame in remote.frames
    ]


def test_causes_travel_with_their_tracebacks() -> None:
    try:
        try:
            int("x")
        except ValueError as inner:
            raise KeyError("outer") from inner
    except KeyError as outer:
        copy = loaded(describe_error(outer, function_name="f"))
    assert isinstance(copy.__cause__, ValueError)
    assert copy.__suppress_context__
    names = [name for _, _, name in tracebacks.describe(copy.__cause__.__traceback__)]
    assert names == ["test_causes_travel_with_their_tracebacks"]


def test_context_travels_unless_it_is_suppressed() -> None:
    def failing(suppress: bool) -> BaseException:
        try:
            try:
                int("x")
            except ValueError:
                if suppress:
                    raise KeyError("k") from None
                raise KeyError("k")  # noqa: B904 - the context is what is tested
        except KeyError as error:
            return error

    assert isinstance(loaded(described(failing(suppress=False))).__context__, ValueError)
    copy = loaded(described(failing(suppress=True)))
    assert copy.__context__ is None
    assert copy.__suppress_context__


class PickyError(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")
        self.one = one


def test_an_init_with_other_parameters_does_not_stop_an_exception() -> None:
    copy = loaded(described(PickyError(1, 2)))
    assert isinstance(copy, PickyError)
    assert (str(copy), copy.one) == ("1 and 2", 1)


def test_what_cannot_be_pickled_arrives_as_text_with_the_reason() -> None:
    error = RuntimeError("has a lock")
    error.lock = threading.Lock()  # type: ignore[attr-defined]
    remote = described(error)
    assert remote.payload is None
    assert "attribute 'lock' is a lock" in remote.pickling_problem
    assert "Nothing was sent" not in remote.pickling_problem
    assert "Only its text arrives" in remote.pickling_problem
    assert remote.message == "has a lock"
    assert "RuntimeError: has a lock" in remote.traceback_text


class BombError(Exception):
    def __reduce__(self) -> tuple[Any, ...]:
        return int, ("not a number",)


class ChangelingError(Exception):
    def __reduce__(self) -> tuple[Any, ...]:
        return int, ("5",)


def test_what_cannot_be_unpickled_arrives_as_text_too() -> None:
    assert "invalid literal" in described(BombError()).pickling_problem
    assert described(BombError()).payload is None
    assert described(ChangelingError()).pickling_problem == "it unpickles as a int"


def test_a_cause_that_cannot_be_pickled_is_replaced_and_named() -> None:
    cause = RuntimeError("inner")
    cause.lock = threading.Lock()  # type: ignore[attr-defined]
    error = ValueError("outer")
    error.__cause__ = cause
    copy = loaded(described(error))
    assert isinstance(copy, ValueError)
    assert isinstance(copy.__cause__, TaskError)
    assert "RuntimeError: inner" in str(copy.__cause__)


def test_an_endless_chain_is_cut() -> None:
    one, two = ValueError("1"), ValueError("2")
    one.__context__, two.__context__ = two, one
    assert isinstance(loaded(described(one)), ValueError)


def test_an_exception_whose_methods_raise_is_described() -> None:
    class EvilError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    assert "RuntimeError" in described(EvilError()).message


def test_source_of_a_cell_travels() -> None:
    name, text = "<cell of a test>", "def boom():\n    raise ValueError('x')\n"
    namespace: dict[str, Any] = {}
    exec(compile(text, name, "exec"), namespace)
    tracebacks.remember_source(name, text, "Cell In[1]")
    try:
        namespace["boom"]()
    except ValueError as error:
        remote = describe_error(error, function_name="boom")
    finally:
        linecache.cache.pop(name, None)
        tracebacks._labels.pop(name, None)
    assert remote.frames[-1] == FrameSpec(name, 2, "boom")
    assert [(source.filename, source.text, source.label) for source in remote.sources] == [(name, text, "Cell In[1]")]


def test_writing_to_a_read_only_array_says_what_to_do() -> None:
    array = np.ones(3)
    array.flags.writeable = False
    for write in (lambda: array.__setitem__(0, 1), lambda: array.sort(), lambda: np.add(array, 1, out=array)):
        with pytest.raises(ValueError, match="read-only") as caught:
            write()
        remote = describe_error(caught.value, function_name="f")
        assert "large arrays of arguments and references are shared, and read-only: use array.copy()" in (
            remote.traceback_text
        )
        assert loaded(remote).__notes__ == remote.traceback_text.splitlines()[-1:]
    assert not hasattr(loaded(described(ValueError("the file is read-only"))), "__notes__")
    memory = memoryview(b"abc")
    with pytest.raises(TypeError) as refused:
        memory[0] = 1  # type: ignore[index]
    assert not hasattr(loaded(describe_error(refused.value, function_name="f")), "__notes__")


class NamedError(UnicodeDecodeError):
    """A subclass of the user's."""


@pytest.mark.parametrize(
    ("error", "names"),
    [
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"), ["encoding", "object", "start", "end", "reason"]),
        (UnicodeEncodeError("ascii", "\xff", 0, 1, "invalid"), ["encoding", "object", "start", "end", "reason"]),
        (NamedError("utf-8", b"\xff", 0, 1, "invalid"), ["reason"]),
        (SyntaxError("invalid syntax", ("f.py", 3, 2, "a b")), ["msg", "filename", "lineno", "offset", "text"]),
        (ImportError("no module", name="m", path="/p"), ["msg", "name", "path"]),
        (FileNotFoundError(2, "no such file", "/f", None, "/g"), ["errno", "strerror", "filename", "filename2"]),
        (StopIteration(3), ["value"]),
        (SystemExit(3), ["code"]),
        (ExceptionGroup("several", [ValueError(1)]), ["message"]),
    ],
)
def test_what_is_raised_has_all_that_its_type_keeps_outside_of_its_attributes(
    error: BaseException, names: list[str]
) -> None:
    raised = values.exception_of(described(error))
    assert isinstance(raised, TaskError)
    assert isinstance(raised, type(error))
    assert str(raised) == str(error)
    assert repr(raised.args) == repr(error.args)
    for name in names:
        assert getattr(raised, name) == getattr(error, name)
