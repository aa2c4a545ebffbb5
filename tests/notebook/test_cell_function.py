"""A cell as a function: what it returns, what travels with it, and where its lines stand. No process is needed."""

from __future__ import annotations

import ast
import asyncio
import traceback
from typing import Any

import pytest

from ipyactors.notebook.cells import cell_function
from ipyactors.notebook.cells.cell_names import read_early


def make(text: str, namespace: dict[str, Any] | None = None, **more: Any) -> Any:
    return cell_function.make(text, "the-cell", {"__name__": "__main__"} | (namespace or {}), name="In[1]", **more)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 1", 2),
        ("x = 3\nx * 2", 6),
        ("x = 3", None),
        ("", None),
        ("'a string'", "a string"),
        ("def f(n): return 1 if n < 2 else n * f(n - 1)\nf(5)", 120),
        ("class A:\n    def f(self): return __class__\nA().f().__name__", "A"),
        ("total = total + 1\ntotal", 11),
        ("total += 1\ntotal", 11),
        ("[total * i for i in range(2)]", [0, 10]),
        ("global total\ntotal = 5\ntotal", 5),
        ("from __future__ import annotations\ndef f(x: nowhere): pass\nf.__annotations__['x']", "nowhere"),
        ("if total > 99:\n    text = 'large'\ntext", "the notebook's"),
        ("for text in []: pass\ntext", "the notebook's"),
        ("def late(): return text\nif total > 99:\n    text = 1\nlate()", "the notebook's"),
        ("del text\ntotal", 10),
    ],
)
def test_a_cell_returns_its_last_expression_and_finds_the_names_of_the_notebook(text: str, value: object) -> None:
    assert make(text, {"total": 10, "text": "the notebook's"})() == value


def test_what_a_cell_assigns_stays_there() -> None:
    namespace = {"total": 10}
    assert make("total = total + 1\nfresh = 2\ntotal + fresh", namespace)() == 13
    assert namespace == {"total": 10}


def test_a_parameter_is_bound() -> None:
    assert make("self.value += 1\nself.value", {"self": "not this"}, parameters=("self",)).__code__.co_argcount == 1


def test_a_cell_may_await() -> None:
    function = make("import asyncio\nawait asyncio.sleep(0)\nawait asyncio.sleep(0, x)", {"x": 7})
    assert asyncio.iscoroutinefunction(function)
    assert asyncio.run(function()) == 7


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1\nreturn x", "'return' outside function"),
        ("yield 1", "'yield' outside function"),
        ("from math import *", "import the names"),
        ("x = = 1", "invalid syntax"),
    ],
)
def test_what_no_cell_can_do_no_cell_elsewhere_can(text: str, words: str) -> None:
    with pytest.raises(SyntaxError, match=words):
        make(text)


def test_a_traceback_names_the_line_and_no_function() -> None:
    function = make("\n\nx = 0\n1 / x")
    with pytest.raises(ZeroDivisionError) as caught:
        function()
    frame = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (frame.filename, frame.lineno, frame.name) == ("the-cell", 4, "<module>")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("x = 1\nx", ""),
        ("x", "x"),
        ("x += 1", "x"),
        ("x = x", "x"),
        ("x: int = 1\nx", ""),
        ("x: int\nx", "x"),
        ("import a.b, c as d\na, d, c", "c"),
        ("with y as x: x", "y"),
        ("for x in y: x", "y"),
        ("for x in y: pass\nx", "x y"),
        ("while y: x = 1\nx", "x y"),
        ("if y: x = 1\nelse: x = 2\nx", "y"),
        ("if y: x = 1\nx", "x y"),
        ("try: x = 1\nexcept E as e: x = 2; e\nx", "E"),
        ("try: x = 1\nexcept E: pass\nx", "E x"),
        ("try: pass\nfinally: x = 1\nx", ""),
        ("try: x = 1\nexcept* E: x = 2\nx", "E"),
        ("match y:\n    case [x, *z]: x, z\nx", "x y"),
        ("match y:\n    case {'a': 1, **x} if x: x", "y"),
        ("def f(x): return x + y\nf", "y"),
        ("f(); async def f(): pass".replace("; ", "\n"), "f"),
        ("class C(B):\n    x = y\nC", "B y"),
        ("lambda x: x + y", "y"),
        ("{x: y for x in z if x}", "y z"),
        ("[x async for x in z]", "z"),
        ("y and (x := 1)\nx", "x y"),
        ("del x\nx", "x"),
        ("x = 1\ndel x\nx", "x"),
        ("async for x in y: x\nelse: x", "x y"),
        ("x[0] = y", "x y"),
        ("@d\ndef f(): pass", "d"),
    ],
)
def test_names_that_may_be_read_before_they_are_assigned(text: str, names: str) -> None:
    assert read_early(ast.parse(text).body) == set(names.split())
