"""A cell as a function: what ``%%task`` and ``%%on`` send to another process.

The body runs there as it would here. Names that it only reads are the function's globals, which are those of the
notebook and travel by value with the function. What it assigns stays there; where it may read such a name first
(``cell_names.py``), the notebook's value is the default of a parameter. The value of a last expression is returned.
"""

from __future__ import annotations

import ast
import inspect
import types
from collections.abc import Sequence
from typing import Any

from ipyactors.notebook.cells.cell_names import read_early

_NAME = "cell"


def make(
    text: str, filename: str, namespace: dict[str, Any], *, name: str, parameters: Sequence[str] = (), flags: int = 0
) -> types.FunctionType:
    """Return a function named ``name`` that runs the cell in ``text``; an async one if it awaits.

    ``text`` is plain Python with its lines where they stand, ``namespace`` the notebook's, ``flags`` what its compiler
    has learnt of ``from __future__`` imports. Raises SyntaxError.
    """
    tree = ast.parse(text, filename)
    _check_imports(tree, filename)
    cell = compile(tree, filename, "exec", flags | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    is_async = bool(cell.co_flags & inspect.CO_COROUTINE)

    def define(taken: Sequence[str]) -> types.FunctionType:
        module = _wrapped(tree.body, parameters, taken, is_async=is_async)
        found: dict[str, Any] = {}
        exec(compile(module, filename, "exec", flags, dont_inherit=True), namespace, found)
        function: types.FunctionType = found[_NAME]
        return function

    code = define(()).__code__
    own = {*code.co_varnames, *code.co_cellvars}.difference(parameters)
    taken = {one: namespace[one] for one in sorted(own & read_early(tree.body)) if one in namespace}
    function = define(tuple(taken))
    function.__code__ = function.__code__.replace(co_name="<module>", co_qualname="<module>")  # as in any cell
    function.__name__ = function.__qualname__ = name
    function.__kwdefaults__ = taken
    return function


def _wrapped(
    body: Sequence[ast.stmt], parameters: Sequence[str], taken: Sequence[str], *, is_async: bool
) -> ast.Module:
    """Return a module that defines the function; ``from __future__`` imports can stand in no function."""
    imports = [one for one in body if isinstance(one, ast.ImportFrom) and one.module == "__future__"]
    steps = [one for one in body if one not in imports] or [ast.Pass()]
    if isinstance(steps[-1], ast.Expr):
        steps[-1] = ast.copy_location(ast.Return(steps[-1].value), steps[-1])
    arguments = ast.arguments(
        posonlyargs=[],
        args=[ast.arg(one) for one in parameters],
        kwonlyargs=[ast.arg(one) for one in taken],
        kw_defaults=[None] * len(taken),
        defaults=[],
    )
    kind = ast.AsyncFunctionDef if is_async else ast.FunctionDef
    function = kind(name=_NAME, args=arguments, body=steps, decorator_list=[], lineno=1, col_offset=0)
    return ast.fix_missing_locations(ast.Module([*imports, function], []))


def _check_imports(tree: ast.Module, filename: str) -> None:
    """Raise SyntaxError for an ``import *``, which no function can have."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
            raise SyntaxError(
                "import * is not possible in a cell that runs elsewhere: import the names that it uses",
                (filename, node.lineno, node.col_offset + 1, ast.unparse(node)),
            )
