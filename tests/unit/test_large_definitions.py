"""Who captures something large is told so: once, at the line that sends it, with what to do."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import ipyactors
from tests.support.fake_engine import FakeEngine, fake_engine

LARGE = np.ones(1 << 18)  # 2 MiB


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with fake_engine() as one:
        yield one


def warned(send: Any) -> str:
    """Return the text of the one warning, which is about this file."""
    with pytest.warns(UserWarning, match="large when pickled") as caught:
        send()
    [warning] = caught
    assert warning.filename == __file__
    return str(warning.message)


@pytest.mark.usefixtures("engine")
def test_a_closure_over_an_array_is_named_with_it_once() -> None:
    array = LARGE * 2

    @ipyactors.remote
    def total(start: float) -> float:
        return float(array.sum()) + start

    text = warned(lambda: total.remote(0.0))
    assert "the remote function " in text
    assert "total is 2.1 MB large when pickled: it captures variable 'array' (ndarray, 2.1 MB)." in text
    assert "put() it once and give the reference" in text
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        total.remote(1.0)
        total.options(num_cpus=0).remote(1.0)


@pytest.mark.usefixtures("engine")
def test_what_a_class_captures_is_named() -> None:
    class Model:
        table = [bytes(1 << 20), bytes(1 << 20)]  # noqa: RUF012 - such is what people write

        def look(self, number: int) -> int:
            return self.table[0][number]

    text = warned(lambda: ipyactors.remote(Model).remote())
    assert "class attribute 'table' (list, 2.1 MB)" in text
    assert "to the constructor as an argument" in text


@pytest.mark.usefixtures("engine")
def test_the_function_that_is_needed_by_another_is_looked_into() -> None:
    data = bytes(3 << 20)
    inner = ipyactors.remote(functools.partial(len, data))

    @ipyactors.remote
    def outer() -> int:
        return int(ipyactors.get(inner.remote()))

    assert "argument 1 of the partial (bytes, 3.1 MB)" in warned(outer.remote)


@pytest.mark.usefixtures("engine")
def test_where_nothing_large_is_seen_its_size_is_told() -> None:
    class Odd:
        def __init__(self) -> None:
            self.hidden = bytes(2 << 20)

        @property
        def nbytes(self) -> int:
            raise ZeroDivisionError

    odd = Odd()
    assert "2.1 MB large when pickled. All of that" in warned(lambda: ipyactors.remote(lambda: odd).remote())


@pytest.mark.usefixtures("engine")
def test_what_is_not_large_is_not_warned_of() -> None:
    array = LARGE[:1000]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ipyactors.get(ipyactors.remote(lambda: float(array[0])).remote()) == 1.0
