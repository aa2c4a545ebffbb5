"""Whether two values are equal that came to be in different processes."""

from __future__ import annotations

import functools
import threading
from typing import Any

import numpy as np
import pytest

from ipyactors.wire import serialize
from ipyactors.wire.specs import Payload
from ipyactors.worker import differences, equality


def pickled(value: Any) -> Payload:
    return serialize.owned(serialize.dumps(value))


class Thing:
    def __init__(self, **parts: Any) -> None:
        vars(self).update(parts)


def test_equal_states_are_the_same_however_they_came_to_be() -> None:
    shared = ["x"]
    many = {f"name {index}" for index in range(100)}
    other = {f"name {index}" for index in reversed(range(100))}
    first = Thing(a=[shared, shared], b=Thing(names=many), c=np.zeros(3), d=len, e=float("nan"), f=Thing)
    second = Thing(a=[["x"], ["x"]], b=Thing(names=other), c=np.zeros(3), d=len, e=float("nan"), f=Thing)
    assert equality.compare(equality.keep(first), second) == ((), ())


def test_what_is_different_is_told_with_both() -> None:
    first, second = Thing(a=1, b=[1], c="same", gone=2), Thing(a=2, b=(1,), c="same", new="x")
    found = equality.compare(equality.keep(first), second)
    assert [tuple(one) for one in found.differences] == [
        ("a", "1", "2"),
        ("b", "[1]", "(1,)"),
        ("gone", "2", ""),
        ("new", "", "'x'"),
    ]


def test_what_cannot_be_compared_is_named() -> None:
    loop: list[Any] = []
    loop.append(loop)
    first, second = Thing(lock=threading.Lock(), loop=loop), Thing(lock=threading.Lock(), loop=loop)
    assert set(equality.compare(equality.keep(first), second).unknown) <= {"lock", "loop"}
    assert not equality.compare(equality.keep(first), second).differences


def test_slots_and_contents_are_part_of_a_state() -> None:
    class Slotted:
        __slots__ = ("a", "b")

    class Named(dict[str, int]):
        pass

    slotted = Slotted()
    slotted.a = 1  # type: ignore[attr-defined]
    assert equality.parts_of(slotted) == {"a": 1}
    named = Named(x=1)
    named.y = 2  # type: ignore[attr-defined]
    assert equality.parts_of(named) == {"y": 2, "(entries)": {"x": 1}}


def test_what_a_cached_property_keeps_is_no_part_of_a_state() -> None:
    class Circle:
        def __init__(self) -> None:
            self.radius = 1.0

        @functools.cached_property
        def area(self) -> float:
            return 3 * self.radius**2

    first, second = Circle(), Circle()
    assert second.area == 3
    assert equality.compare(equality.keep(first), second) == ((), ())


# -- results ---------------------------------------------------------------------------------------------------


class _Named(type):
    """Makes classes that no other process can import."""


def make_class() -> type:
    return _Named("Local", (), {"__module__": "__main__", "__eq__": object.__eq__, "__hash__": object.__hash__})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda: [("x" * 100)] * 2, lambda: ["x" * 100, "".join(["x"] * 100)]),
        (lambda: {f"n{i}" for i in range(99)}, lambda: {f"n{i}" for i in reversed(range(99))}),
        (lambda: {1: frozenset("abc")}, lambda: {1: frozenset("cba")}),
        (lambda: {"a": 1, "b": 2}, lambda: {"b": 2, "a": 1}),
        (lambda: float("nan"), lambda: float("nan")),
        (lambda: np.arange(9.0), lambda: np.arange(9.0)),
        (make_class, make_class),
        (lambda: make_class()(), lambda: make_class()()),
    ],
)
def test_equal_results_are_the_same_however_they_came_to_be(one: Any, other: Any) -> None:
    assert equality.same(pickled(one()), pickled(other()))


@pytest.mark.parametrize(("one", "other"), [(1, 2), (1, 1.0), ([1], (1,)), (np.arange(3), np.arange(4)), ({1}, {2})])
def test_other_results_are_not_the_same(one: Any, other: Any) -> None:
    assert not equality.same(pickled(one), pickled(other))


class PlainError(Exception):
    """Has an attribute."""


class Odd:
    """Is equal to nothing, and looks as all others."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __repr__(self) -> str:
        return "odd"


def error_of(*args: Any, note: str = "", kind: type[BaseException] = PlainError, **attributes: Any) -> BaseException:
    error = kind(*args)
    vars(error).update(attributes)
    if note:
        error.add_note(note)
    return error


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (error_of("x", code=1, other=2, note="n"), error_of("x", other=2, code=1, note="n")),
        (error_of("x", lock=object()), error_of("x", lock=object())),
        (error_of("<Thing object at 0x7f01>"), error_of("<Thing object at 0x7f02>")),
        (ExceptionGroup("g", [ValueError(1)]), ExceptionGroup("g", [ValueError(1)])),
        ("a <Thing object at 0x7f01> b", "a <Thing object at 0x7f02> b"),
        ({"<Thing at 0x1>": "x"}, {"<Thing at 0x2>": "x"}),
    ],
)
def test_exceptions_and_addresses_are_the_same_in_another_process(one: Any, other: Any) -> None:
    for wrap in (lambda value: value, lambda value: {"errors": [value]}):
        assert equality.are_alike(wrap(one), wrap(other))


@pytest.mark.parametrize(
    "other",
    [
        error_of("y", code=1, note="n"),
        error_of("x", code=2, note="n"),
        error_of("x", code=1, note="m"),
        error_of("x", code=1),
        error_of("x", code=1, more=1, note="n"),
        error_of("x", code=1, note="n", kind=ValueError),
    ],
)
def test_other_exceptions_are_not_the_same(other: BaseException) -> None:
    one = error_of("x", code=1, note="n")
    assert not equality.are_alike(one, other)
    assert not equality.are_alike([one], [other])


def test_a_number_that_is_told_in_hexadecimal_is_no_address() -> None:
    assert not equality.are_alike(hex(1), hex(2))


@pytest.mark.parametrize(
    ("one", "other", "first", "second"),
    [
        (1, 2, "1", "2"),
        (error_of("x", code=1), error_of("x", code=2), "code is 1", "code is 2"),
        ([error_of("x", note="n")], [error_of("x", note="m")], "[0].__notes__[0] is 'n' around", "is 'm' around"),
        (["a" * 200 + "b" + "a" * 200], ["a" * 200 + "c" + "a" * 200], "aaab", "aaac"),
        ("a" * 200 + "b" + "a" * 200, "a" * 200 + "c" + "a" * 200, "around character 200", "aaac"),
        ({"k": Odd({"x": 1})}, {"k": Odd({"x": 2})}, "['k'].inner['x'] is 1", "['k'].inner['x'] is 2"),
        (Odd(1), Odd(None), "inner is 1, a builtins.int", "inner is None, a builtins.NoneType"),
        (Odd({}), Odd({"y": 1}), "inner['y'] is not there", "inner['y'] is 1"),
        (list(range(40)), list(range(41)), "__len__() is 40", "__len__() is 41"),
    ],
)
def test_it_is_told_where_two_values_differ_that_look_the_same(one: Any, other: Any, first: str, second: str) -> None:
    told = differences.told(one, other)
    assert told[0] != told[1]
    assert first in told[0]
    assert second in told[1]


def test_what_cannot_be_unpickled_is_not_the_same() -> None:
    assert not equality.same(pickled(1), Payload(b"no pickle"))
