"""A ``%%remote`` cell, taken apart: which of its statements become remote, with which options, and how it is run.

A cell is an ordinary Python program. Its top-level functions and classes are made remote as if ``@remote`` stood
above all their other decorators; every other statement runs here, in order, in the user's namespace. All of it is
compiled before any of it runs, so that a cell with a syntax error or an option that fits nothing has no effect.

Everything here is pure but for :func:`run`. A definition is compiled under the name that IPython gives the cell, and
as many lines down as it stands there, so that a traceback says ``Cell In[n], line k`` and means the line that the
user sees, the magic line counted.
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from ipyactors.ground.exceptions import OptionError
from ipyactors.ground.options import OPTIONS, Place

#: What the shell's compiler does: ``(tree, filename, mode) -> code``; it remembers ``from __future__`` imports.
Compile = Callable[[ast.AST, str, str], types.CodeType]

#: Values of options by option name.
Options = dict[str, Any]

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclasses.dataclass(frozen=True, slots=True)
class Definition:
    """A top-level ``def`` or ``class`` of the cell. ``source`` is its code, without comments and spaces."""

    name: str
    is_class: bool
    source: str = dataclasses.field(default="", compare=False, repr=False)

    @property
    def place(self) -> Place:
        """Return which options the definition takes."""
        return Place.ACTOR if self.is_class else Place.TASK

    @property
    def digest(self) -> bytes:
        """Return 8 bytes that are the same for the same code, in this kernel and in the next."""
        return hashlib.blake2b(self.source.encode(), digest_size=8).digest()


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """A run of statements, compiled. ``definition`` is what the step defines, and None if it only runs."""

    code: types.CodeType
    definition: Definition | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Cell:
    """A cell that is ready to run."""

    steps: tuple[Step, ...]

    @property
    def definitions(self) -> tuple[Definition, ...]:
        """Return what the cell makes remote, in order; a name that is defined twice is there twice."""
        return tuple(step.definition for step in self.steps if step.definition is not None)


def pad(body: str, first_line: int, raw_cell: str = "") -> str:
    """Return ``body`` as it stands in ``raw_cell``, whose ``first_line``-th line (from 1) is its first.

    The lines above it are comments, so that a traceback can show the magic line.
    """
    above = [f"# {line}" if line.strip() else "" for line in raw_cell.splitlines()[: first_line - 1]]
    above += [""] * (first_line - 1 - len(above))
    return "".join(f"{line}\n" for line in above) + body


def first_line_of_body(raw_cell: str) -> int:
    """Return the number (from 1) of the line after the magic line, empty lines before it counted."""
    for number, line in enumerate(raw_cell.splitlines(), start=1):
        if line.strip():
            return number + 1
    return 2


def empty_lines_before(body: str) -> int:
    """Return how many empty lines ``body`` begins with; IPython takes them away."""
    return len(body[: len(body) - len(body.lstrip())].split("\n")) - 1


def compile_cell(text: str, filename: str, compile_tree: Compile) -> Cell:
    """Return the cell in ``text``, which is plain Python with its lines where they stand. Raises SyntaxError."""
    tree = ast.parse(text, filename)
    return Cell(tuple(_compile_steps(tree.body, filename, compile_tree)))


def _compile_steps(body: Sequence[ast.stmt], filename: str, compile_tree: Compile) -> Iterator[Step]:
    for statements, definition in _split(body):
        # A last expression is shown as in any other cell: the display hook prints what "single" mode evaluates.
        if statements[-1] is body[-1] and isinstance(body[-1], ast.Expr):
            if before := statements[:-1]:
                yield Step(compile_tree(ast.Module(before, []), filename, "exec"))
            yield Step(compile_tree(ast.Interactive([body[-1]]), filename, "single"))
        else:
            yield Step(compile_tree(ast.Module(statements, []), filename, "exec"), definition)


def _split(body: Iterable[ast.stmt]) -> Iterator[tuple[list[ast.stmt], Definition | None]]:
    """Yield each definition on its own, and the statements between two definitions together."""
    between: list[ast.stmt] = []
    for statement in body:
        if isinstance(statement, (*_FUNCTIONS, ast.ClassDef)):
            if between:
                yield between, None
                between = []
            yield [statement], Definition(statement.name, isinstance(statement, ast.ClassDef), ast.unparse(statement))
        else:
            between.append(statement)
    if between:
        yield between, None


def fit_options(given: Options, definitions: Sequence[Definition]) -> dict[Definition, Options]:
    """Return for each definition those of the ``given`` options that fit it.

    Raises OptionError if the cell defines nothing, or if an option fits nothing that it defines.
    """
    if not definitions:
        raise OptionError(
            "this %%remote cell defines no function or class at its top level, so there is nothing to make remote. "
            "Take %%remote away, or define something."
        )
    here = {definition.place for definition in definitions}
    for name in given:
        if OPTIONS[name].places.isdisjoint(here):
            elsewhere = " or ".join(sorted(OPTIONS[name].places))
            names = ", ".join(definition.name for definition in definitions)
            raise OptionError(
                f"{flag(name)} is an option of a {elsewhere}, and none is defined here, only a "
                f"{' and a '.join(sorted(here))}: {names}. Nothing was defined. Leave the option out; "
                "%%remote? lists them all.",
                option=name,
            )
    return {
        definition: {name: value for name, value in given.items() if definition.place in OPTIONS[name].places}
        for definition in definitions
    }


def flag(name: str) -> str:
    """Return an option's name as it is written after ``%%remote``."""
    return "--" + name.replace("_", "-")


def run(cell: Cell, namespace: dict[str, Any], make_remote: Callable[[Definition, Any], Any]) -> None:
    """Run the cell in ``namespace``; put ``make_remote(definition, value)`` in the place of each defined value.

    What a statement raises comes through, and the statements before it have had their effect, as in any cell.
    """
    __tracebackhide__ = True
    for step in cell.steps:
        if step.definition is None:
            exec(step.code, namespace)
        else:
            _define(step.code, step.definition, namespace, make_remote)


def _define(
    code: types.CodeType,
    definition: Definition,
    namespace: dict[str, Any],
    make_remote: Callable[[Definition, Any], Any],
) -> None:
    """Run one definition; if it cannot be made remote, its name means afterwards what it meant before."""
    __tracebackhide__ = True
    name = definition.name
    before = {name: namespace[name]} if name in namespace else {}
    exec(code, namespace)
    try:
        namespace[name] = make_remote(definition, namespace[name])
    except BaseException:
        del namespace[name]
        namespace.update(before)
        raise
