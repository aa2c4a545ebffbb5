"""What a value is in short: right for what is common, and nothing of a hostile class is ever run."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import pathlib
import time
from typing import Any, NamedTuple

import numpy as np
import pytest

from ipyactors.ground.secret_names import SECRET, is_secret
from ipyactors.ground.value_texts import Captured, text_of, value_of


class Pair(NamedTuple):
    left: int
    right: Any


@dataclasses.dataclass
class Point:
    x: int
    y: int


class Account:
    def __init__(self) -> None:
        self.balance = 3.5
        self.owner = "ann"


class Slotted:
    __slots__ = ("filled", "unset")

    def __init__(self) -> None:
        self.filled = 1


class Colour(enum.Enum):
    RED = 1


class Celsius(float):
    pass


@pytest.mark.parametrize(
    "value",
    [0, -7, True, None, 1.5, "a'b", b"x", [1, "two", [3.0]], (1,), (), {1, 2}, set(), {"a": {"b": None}}, {}],
)
def test_plain_values_come_back_as_they_were(value: Any) -> None:
    text, is_exact = text_of(value)
    assert is_exact
    assert text == repr(value)
    assert value_of(text, is_exact) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (float("nan"), "nan"),
        (..., "Ellipsis"),
        (frozenset({1}), "frozenset({1})"),
        (Pair(1, [2]), "Pair(left=1, right=[2])"),
        (Point(1, 2), "Point(x=1, y=2)"),
        (Account(), "<Account balance=3.5, owner='ann'>"),
        (Slotted(), "<Slotted filled=1>"),
        (object(), "<object>"),
        (Colour.RED, "Colour.RED"),
        (Celsius(3.5), "Celsius(3.5)"),
        (collections.OrderedDict(a=1), "OrderedDict({'a': 1})"),
        (collections.deque([1, 2]), "deque([1, 2])"),
        (ValueError("bad", 3), "ValueError('bad', 3)"),
        (KeyError("k"), "KeyError('k',)"),
        (len, "<function len>"),
        (Account, "<class Account>"),
        (dataclasses, "<module dataclasses>"),
        ("".join, "<function join>"),
        (dt.date(2020, 1, 2), "datetime.date(2020, 1, 2)"),
        (decimal.Decimal("1.5"), "Decimal('1.5')"),
        (pathlib.PurePosixPath("/a"), "PurePosixPath('/a')"),
        (np.arange(3), "array([0, 1, 2])"),
        (np.zeros((100, 3)), "<ndarray shape=(100, 3) dtype=float64>"),
        (np.float64(1.5), repr(np.float64(1.5))),
        (2**10_000, "<int of 10001 bits>"),
    ],
)
def test_other_values_are_told_in_short(value: Any, text: str) -> None:
    told, is_exact = text_of(value)
    assert (told, is_exact) == (text, False)
    assert repr(value_of(told, is_exact)) == text


def test_tables_are_told_by_their_shape() -> None:
    pandas = pytest.importorskip("pandas")
    assert text_of(pandas.DataFrame({"a": range(1000)}))[0] == "<DataFrame shape=(1000, 1)>"
    assert text_of(pandas.Series([1, 2]))[0] == "<Series shape=(2,) dtype=int64>"


def test_what_is_long_is_cut_and_says_how_long_it_is() -> None:
    text, is_exact = text_of("x" * 10_000)
    assert (len(text), is_exact) == (200, False)
    assert text.endswith("... (10000 characters)")
    text, is_exact = text_of(list(range(1_000_000)))
    assert text.startswith("[0, 1, 2, ")
    assert text.endswith(", ... 1000000 in all]")
    assert (len(text) <= 200, is_exact) == (True, False)
    assert len(text_of(dict.fromkeys(range(50), "y" * 50))[0]) <= 210
    assert len(text_of([["z" * 50] * 50] * 50)[0]) <= 210


def test_what_holds_itself_or_is_deep_ends() -> None:
    circle: list[Any] = [1]
    circle.append(circle)
    assert text_of(circle) == ("[1, ...]", False)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert text_of(deep) == ("[[[[[[...]]]]]]", False)
    while deep:  # taking it apart at once would need as many frames
        deep = deep.pop()
    assert text_of([circle[:1], circle[:1]]) == ("[[1], [1]]", True), "twice the same is no circle"


class Meta(type):
    def __getattribute__(cls, name: str) -> Any:
        raise AssertionError(f"the metaclass was asked for {name}")


class Hostile(metaclass=Meta):
    def _refuse(self, *args: Any) -> Any:
        raise AssertionError("code of a value's class was run")

    __repr__ = __str__ = __len__ = __iter__ = __eq__ = __hash__ = __bool__ = __getattr__ = _refuse
    __getattribute__ = __format__ = __reduce__ = _refuse
    __class__ = property(_refuse)


class HostileList(list[int]):
    def _refuse(self, *args: Any) -> Any:
        raise AssertionError("code of a value's class was run")

    __repr__ = __len__ = __iter__ = __getitem__ = __getattribute__ = _refuse


class HostileDict(dict[str, int]):
    __repr__ = __len__ = __iter__ = items = keys = HostileList._refuse


class HostileError(Exception):
    args = property(HostileList._refuse)
    __repr__ = __str__ = HostileList._refuse


class Proxy:
    """As some libraries make them: all that one asks is computed elsewhere."""

    __dict__ = property(HostileList._refuse)
    __getattribute__ = HostileList._refuse


class Slow:
    def __repr__(self) -> str:
        time.sleep(600)
        return ""


class FalseNumpy:
    """Claims to be of a library."""

    __module__ = "numpy"

    @property
    def shape(self) -> Any:
        raise AssertionError("code of a value's class was run")


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: object.__new__(Hostile), "<Hostile>"),
        (lambda: HostileList([1, 2]), "HostileList([1, 2])"),
        (lambda: HostileDict(a=1), "HostileDict({'a': 1})"),
        (lambda: HostileError("a"), "HostileError('a',)"),
        (lambda: Proxy(), "<Proxy>"),
        (lambda: Slow(), "<Slow>"),
        (lambda: FalseNumpy(), "<FalseNumpy>"),
        (lambda: [object.__new__(Hostile)], "[<Hostile>]"),
    ],
)
def test_no_code_of_a_values_class_is_run(make: Any, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert text_of(make())[0] == text
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "value", "is_hidden"),
    [
        ("password", "x", True),
        ("dbPassword", "x", True),
        ("DB_SECRET", 1234, True),
        ("password", None, False),
        ("has_password", True, False),
        ("token", "abc", True),
        ("tokens", ["abc"], True),
        ("n_tokens", 512, False),
        ("tokenizer", "bert", False),
        ("api_key", "0123456789abcdef", True),
        ("key", b"0123456789abcdef", True),
        ("key", "a", False),
        ("key", 5, False),
        ("monkey", "0123456789abcdef", False),
        ("passenger", "ann", False),
    ],
)
def test_secrets_are_known_by_their_names(name: str, value: Any, is_hidden: bool) -> None:
    assert is_secret(name, value) is is_hidden


def test_secrets_are_hidden_inside_of_values_too() -> None:
    class Login:
        def __init__(self) -> None:
            self.user = "ann"
            self.password = "hunter2"

    told = text_of([{"password": "hunter2", b"AWS_SECRET_KEY": "hunter2"}, Login()])[0]
    assert "hunter2" not in told
    assert told.count(SECRET) == 3
    assert "user='ann'" in told


def test_what_stands_for_a_value_says_so_when_asked_for_more() -> None:
    value = Captured("<Account balance=3>")
    assert text_of(value) == ("<Account balance=3>", False), "it may travel again"
    with pytest.raises(AttributeError, match=r"^.balance: the value itself stayed in .*: <Account balance=3>$"):
        _ = value.balance
    with pytest.raises(TypeError, match=r"^\[0\]: the value itself stayed in the worker"):
        _ = value[0]


def test_a_pair_whose_first_part_names_a_secret_is_written_as_an_item_of_a_dict() -> None:
    hidden = "<not shown: the name looks like a secret's>"
    assert text_of([("Authorization", "Bearer zzz"), ("Accept", "text")]) == (
        f"[('Authorization', {hidden}), ('Accept', 'text')]",
        False,
    )
    assert text_of((b"password", b"zzz"))[0] == f"(b'password', {hidden})"
    assert text_of(("token", 3)) == ("('token', 3)", True)
    assert text_of(("token", "zzz", 3)) == ("('token', 'zzz', 3)", True)
    assert text_of(["token", "zzz"]) == ("['token', 'zzz']", True)
