"""Exceptions whose class does harm where it can: each is described all the same, and what arrives can be raised."""

from __future__ import annotations

import types
from typing import Any, NoReturn

import msgspec
import pytest

from ipyactors.ground import tracebacks
from ipyactors.ground.exceptions import TaskError
from ipyactors.owner import values
from ipyactors.wire.specs import RemoteError
from ipyactors.worker.errors import describe_error
from ipyactors.worker.exit import ActorExit, exit_code_of, exit_words


def harm(*_: Any, **__: Any) -> NoReturn:
    raise RuntimeError("harm")


def leave(*_: Any, **__: Any) -> NoReturn:
    raise SystemExit(3)


def interrupt(*_: Any, **__: Any) -> NoReturn:
    raise KeyboardInterrupt


def end_actor(*_: Any, **__: Any) -> NoReturn:
    raise ActorExit("from a method of an exception")


DEEDS = [harm, leave, interrupt, end_actor]


class Text(str):  # noqa: SLOT000 - as people write it
    """Text of the user's, none of whose methods works."""

    __str__ = __repr__ = __eq__ = __hash__ = __len__ = __format__ = endswith = isascii = encode = harm  # type: ignore[assignment]


class Own(str):  # noqa: SLOT000 - as people write it
    """Text of the user's that stays what it is."""

    def __str__(self) -> str:
        return self


class Thing:
    __str__ = __repr__ = __eq__ = __bool__ = __hash__ = __len__ = __reduce_ex__ = __getattr__ = __iter__ = harm  # type: ignore[assignment]


class Meta(type):
    def __getattribute__(cls, name: str) -> Any:
        if name in ("__qualname__", "__name__", "__reduce__", "__module__", "__mro__"):
            raise RuntimeError("harm")
        return super().__getattribute__(name)


def _with(**facts: Any) -> BaseException:
    """Return an exception of a class that has these attributes."""
    error: BaseException = type("NastyError", (Exception,), facts)("hi")
    return error


def _attributes(deed: Any) -> dict[str, BaseException]:
    """Return an exception for each attribute that may do harm when it is asked for, or set."""
    names = ("__class__", "__dict__", "__notes__", "__cause__", "__context__", "__suppress_context__", "args")
    names = (*names, "__traceback__", "with_traceback", "add_note", "__reduce__", "__reduce_ex__", "__getstate__")
    found = {name: _with(**{name: property(deed)}) for name in names}
    found["all attributes"] = _with(__getattribute__=deed)
    found["setting any"] = _with(__setattr__=deed)
    found["__getattr__"] = _with(__getattr__=deed)
    methods = ("__str__", "__repr__", "__eq__", "__bool__", "__hash__", "__len__", "__format__", "__setstate__")
    found |= {name: _with(**{name: deed}) for name in (*methods, "__reduce__", "__init_subclass__")}
    return found


def _named(name: str) -> BaseException:
    error: BaseException = type("NastyError", (Exception,), {"__qualname__": name})("hi")
    return error


def _noted(*notes: Any) -> BaseException:
    error = ValueError("hi")
    error.__notes__ = list(notes)
    return error


class LyingError(Exception):
    __class__ = ActorExit  # type: ignore[assignment]


NASTY: dict[str, BaseException] = {
    **{f"{deed.__name__}: {name}": error for deed in DEEDS for name, error in _attributes(deed).items()},
    "text that cannot be shown": ValueError(Text("hi")),
    "text that stays what it is": ValueError(Own("hi")),
    "array is read-only": ValueError(Text("array is read-only")),
    "a thing": ValueError(Thing()),
    "things": KeyError(Thing(), [Thing()]),
    "a name that is no plain text": _named(Text("NastyError")),
    "a name that is not UTF-8": _named("Nasty\udcff"),
    "notes that are things": _noted(Thing(), Text("note"), Own("note")),
    "notes that are none": _with(__notes__=Thing()),
    "a metaclass": Meta("NastyError", (Exception,), {})("hi"),
    "a group": ExceptionGroup("several", [_with(__str__=harm), _with(__class__=property(harm))]),
    "an exit": SystemExit(Thing()),
    "an attribute": type("NastyError", (Exception,), {"__init__": lambda self: setattr(self, "thing", Thing())})(),
    "another class": LyingError("hi"),
}


def _raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


@pytest.mark.parametrize("name", NASTY)
@pytest.mark.parametrize("where", ["itself", "its cause", "its context", "a member"])
def test_an_exception_that_does_harm_is_described(name: str, where: str) -> None:
    nasty = NASTY[name]
    error: BaseException = nasty
    if where == "its cause":
        error = ValueError("outer")
        error.__cause__ = nasty
    elif where == "its context":
        error = ValueError("outer")
        error.__context__ = nasty
    elif where == "a member":
        error = BaseExceptionGroup("outer", [nasty])
    remote = describe_error(_raised(error), function_name="f", with_details=True)
    assert remote.type_name
    assert remote.traceback_text
    for text in (remote.type_name, remote.message, remote.traceback_text, remote.pickling_problem):
        assert type(text) is str
    assert [frame.name for frame in remote.frames] == ["_raised"]
    plain = msgspec.structs.replace(remote, payload=None)
    assert isinstance(values.exception_of(plain), BaseException)
    if where == "itself":
        assert remote.type_name.startswith(("Nasty", "ValueError", "KeyError", "Exception", "System", "Lying"))


def test_what_names_the_frames_may_be_text_of_the_users() -> None:
    code = compile("raise ValueError('hi')", Own("<own>"), "exec").replace(co_name=Own("own"))
    with pytest.raises(ValueError, match="hi") as caught:
        types.FunctionType(code, {})()
    remote: RemoteError = describe_error(caught.value, function_name="f")
    assert {(type(frame.filename), type(frame.name)) for frame in remote.frames} == {(str, str)}
    assert remote.frames[-1].name == "own"


@pytest.mark.parametrize("deed", [harm, leave, end_actor])
def test_an_exception_in_words_is_told_whatever_its_methods_do(deed: Any) -> None:
    assert tracebacks.in_words(_with(__str__=deed)).startswith("NastyError: (its __str__ raised ")
    assert type(tracebacks.message_of(ValueError(Own("hi")))) is str


def test_an_exit_is_told_whatever_its_status_is() -> None:
    assert (exit_code_of(SystemExit(Thing())), exit_words(SystemExit(Thing()))) == (1, "sys.exit(<Thing>)")
    for error, code, words in (
        (SystemExit(), 0, "sys.exit()"),
        (SystemExit(259), 3, "sys.exit(259)"),
        (SystemExit(True), 1, "sys.exit(True)"),
        (SystemExit("bad"), 1, "sys.exit('bad')"),
    ):
        assert (exit_code_of(error), exit_words(error)) == (code, words)
    leaving = type("Leaving", (SystemExit,), {"code": property(harm)})(4)
    assert (exit_code_of(leaving), exit_words(leaving)) == (4, "sys.exit(4)")
    number = type("Number", (int,), {"__and__": harm, "__repr__": harm})(5)
    assert (exit_code_of(SystemExit(number)), exit_words(SystemExit(number))) == (5, "sys.exit(Number(5))")


@pytest.mark.parametrize("name", ["cause", "remote_traceback", "function_name", "add_note", "__notes__"])
def test_an_exception_that_means_something_else_by_a_name_of_ours_is_raised_with_what_is_known(name: str) -> None:
    error = describe_error(_raised(_with(**{name: property(harm)})), function_name="f")
    raised = values.exception_of(msgspec.structs.replace(error, place="It was the first attempt."))
    assert isinstance(raised, TaskError)
    assert "hi" in str(raised)
    assert (raised.function_name, raised.cause is None) == ("f", error.payload is None)
