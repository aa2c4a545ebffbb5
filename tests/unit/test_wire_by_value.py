"""Functions by value: the notebook's names that a class inside one reads travel, and no others."""

from __future__ import annotations

import pickle
from typing import Any

import cloudpickle
import pytest

from ipyactors.wire import serialize


def _defined(source: str, **names: Any) -> Any:
    """Return ``function`` of ``source``, defined among these names as a cell of a notebook would."""
    namespace: dict[str, Any] = {"__name__": "__main__", "LARGE": bytearray(1000), **names}
    exec(compile(source, "<cell>", "exec", dont_inherit=True), namespace)
    return namespace["function"]


def _sent(function: Any) -> Any:
    return serialize.loads(serialize.dumps(function))


BODIES = {
    "an attribute": "def function():\n class P:\n  n = SIZE\n return P.n",
    "a default": "def function():\n class P:\n  def get(self, n=SIZE): return n\n return P().get()",
    "an annotation": "def function():\n class P:\n  n: KIND = 3\n return P.__annotations__['n']('3')",
    "a decorator": "def function():\n class P:\n  @CHANGE\n  def n(): pass\n return P.n",
    "a class in a class": "def function():\n class P:\n  class Q:\n   n = SIZE\n return P.Q.n",
    "in a function in it": "def function():\n def inner():\n  class P:\n   n = SIZE\n  return P.n\n return inner()",
    "in a method": "class C:\n def go(self):\n  class P:\n   n = SIZE\n  return P.n\nfunction = lambda: C().go()",
    "read, then written": "def function():\n class P:\n  SIZE = SIZE\n return P.SIZE",
}


@pytest.mark.parametrize("body", BODIES)
def test_the_names_that_a_class_body_reads_travel(body: str) -> None:
    function = _defined(BODIES[body], SIZE=3, KIND=int, CHANGE=lambda _: 3)
    assert function() == _sent(function)() == 3
    assert b"LARGE" not in serialize.dumps(function).data


def test_a_name_that_the_class_body_has_given_a_value_itself_does_not_travel() -> None:
    source = (
        "def function():\n class P:\n  @property\n  def x(self): return 1\n  @x.setter\n  def x(self, v): pass\n"
        "  y = 2\n  z = y\n return P.z"
    )
    function = _defined(source, x=bytearray(1000), y=bytearray(1000))
    assert set(_sent(function).__globals__) - {"__builtins__"} <= {"__name__"}


def test_what_has_no_class_in_it_travels_as_cloudpickle_alone_has_it() -> None:
    function = _defined("def function(n):\n def inner(): return SIZE\n return inner() + n", SIZE=3)
    alone = pickle.loads(cloudpickle.dumps(function))
    assert _sent(function).__globals__.keys() == alone.__globals__.keys()


def test_a_function_of_a_module_goes_by_its_name() -> None:
    assert _sent(serialize.dumps) is serialize.dumps
