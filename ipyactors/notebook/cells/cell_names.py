"""Which of the names that a cell assigns it may read before it has: the notebook's values of these travel with it.

A cell that runs elsewhere is a function there, and what a function assigns is its own: ``total = total + 1`` would
find no ``total``. What is certain to be assigned first does not travel, however large the notebook's value is. Where
only a run could tell, the name counts as read.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence


def read_early(body: Sequence[ast.stmt]) -> set[str]:
    """Return the names that ``body`` may read before it has assigned them; those that it never assigns too."""
    walk = _Walk()
    walk.run(body)
    return walk.early


class _Walk:
    """Goes through a body in the order of execution. ``bound`` are the names that have a value now, whatever happened.

    What a node has that is not said here is visited in the order of its fields.
    """

    def __init__(self) -> None:
        self.bound: set[str] = set()
        self.early: set[str] = set()

    def run(self, nodes: Iterable[ast.AST | None]) -> None:
        """Visit what runs, in this order."""
        for node in nodes:
            if node is not None:
                self._visit(node)

    def _maybe(self, *nodes: Iterable[ast.AST | None]) -> set[str]:
        """Visit what may run or not; return the names that are bound if it has."""
        before = set(self.bound)
        for some in nodes:
            self.run(some)
        after, self.bound = self.bound, before
        return after

    def _visit(self, node: ast.AST) -> None:
        match node:
            case ast.Name():
                self._name(node)
            case ast.alias():
                self.bound.add(node.asname or node.name.partition(".")[0])
            case ast.NamedExpr():  # its name stays uncertain: it may be skipped, in "a and (b := c)"
                self._visit(node.value)
            case ast.Assign():
                self.run([node.value, *node.targets])
            case ast.AnnAssign():
                self.run([] if node.value is None else [node.value, node.target])
            case ast.AugAssign():
                if isinstance(node.target, ast.Name):
                    self._read(node.target.id)
                self.run([node.value, node.target])
            case ast.If():
                self._visit(node.test)
                self.bound = self._maybe(node.body) & self._maybe(node.orelse)
            case ast.For() | ast.AsyncFor():
                self._visit(node.iter)
                self._maybe([node.target], node.body)
                self._maybe(node.orelse)
            case ast.While():
                self._visit(node.test)
                self._maybe(node.body)
                self._maybe(node.orelse)
            case ast.Try() | ast.TryStar():
                ends = [self._maybe(node.body, node.orelse), *(self._maybe([one]) for one in node.handlers)]
                self.bound = set.intersection(*ends)
                self.run(node.finalbody)
            case ast.ExceptHandler():
                self._handler(node)
            case ast.Match():
                self._visit(node.subject)
                for case in node.cases:
                    self._maybe([_binding(case.pattern), case.pattern, case.guard], case.body)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                self._read_within(node)
                self.bound.add(node.name)
            case ast.Lambda() | ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                self._read_within(node)
            case _:
                self.run(ast.iter_child_nodes(node))

    def _read(self, name: str) -> None:
        if name not in self.bound:
            self.early.add(name)

    def _name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Store):
            self.bound.add(node.id)
            return
        self._read(node.id)
        if isinstance(node.ctx, ast.Del):
            self.bound.discard(node.id)

    def _handler(self, node: ast.ExceptHandler) -> None:
        self.run([node.type])
        if node.name:
            self.bound.add(node.name)
        self.run(node.body)
        if node.name:  # Python takes it back
            self.bound.discard(node.name)

    def _read_within(self, scope: ast.AST) -> None:
        """Count what a scope of its own reads of the cell as read where it stands, though it may run later."""
        names = [node for node in ast.walk(scope) if isinstance(node, ast.Name)]
        own = {node.id for node in names if not isinstance(node.ctx, ast.Load)}
        own |= {node.arg for node in ast.walk(scope) if isinstance(node, ast.arg)}
        own |= {
            node.name
            for node in ast.walk(scope)
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        }
        self.early |= {node.id for node in names if isinstance(node.ctx, ast.Load)} - own - self.bound


def _binding(pattern: ast.pattern) -> ast.AST:
    """Return what binds the names that a pattern captures; they are no nodes of the pattern."""
    captured = [getattr(part, field, None) for part in ast.walk(pattern) for field in ("name", "rest")]
    return ast.Tuple([ast.Name(name, ast.Store()) for name in captured if name], ast.Store())
