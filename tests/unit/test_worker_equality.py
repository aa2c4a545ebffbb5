"""Whether two values are equal that came to be in different processes."""

from __future__ import annotations

import functools
import threading
from typing import Any

import numpy as np
import pytest

from ipyactors.wire import serialize
from ipyactors.wire.specs import Payload
from ipyactors.worker import equality


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


def test_what_cannot_be_unpickled_is_not_the_same() -> None:
    assert not equality.same(pickled(1), Payload(b"no pickle"))
