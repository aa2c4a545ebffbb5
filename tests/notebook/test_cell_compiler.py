"""Cells taken apart, without a shell: what becomes remote, which options fit, which lines tracebacks name."""

from __future__ import annotations

import sys
import traceback
from typing import Any

import pytest

from ipyactors.ground.exceptions import OptionError
from ipyactors.notebook.cells import cell_compiler
from ipyactors.notebook.cells.cell_compiler import Cell, Definition


def compiled(text: str, filename: str = "<cell>") -> Cell:
    return cell_compiler.compile_cell(text, filename, compile)


def ran(text: str, namespace: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run a cell whose definitions become ``("remote", name, original)``."""
    namespace = {} if namespace is None else namespace
    cell_compiler.run(compiled(text), namespace, lambda definition, value: ("remote", definition.name, value))
    return namespace


def test_top_level_functions_and_classes_become_remote_and_all_else_runs_in_order() -> None:
    namespace = ran(
        """
log = ["start"]
def f(): return 1
log.append(f[0])
async def g(): return 2
class C:
    def method(self): return 3
if True:
    def helper(): return 4
log.append(C[0])
"""
    )
    assert namespace["log"] == ["start", "remote", "remote"]
    assert [namespace[name][:2] for name in "fgC"] == [("remote", "f"), ("remote", "g"), ("remote", "C")]
    assert namespace["helper"]() == 4


def test_decorators_of_a_definition_are_kept_and_run_first() -> None:
    namespace = {"twice": lambda function: lambda: 2 * function()}
    ran("@twice\ndef f(): return 21\n", namespace)
    assert namespace["f"][:2] == ("remote", "f")
    assert namespace["f"][2]() == 42


def test_a_function_that_names_itself_finds_the_remote_one() -> None:
    namespace = ran("def f(): return f\n")
    assert namespace["f"][2]() is namespace["f"]


def test_a_future_import_holds_for_the_rest_of_the_cell() -> None:
    import codeop

    namespace: dict[str, Any] = {}
    text = "from __future__ import annotations\ndef f(x: nowhere): return x\n"
    cell = cell_compiler.compile_cell(text, "<cell>", codeop.Compile())
    cell_compiler.run(cell, namespace, lambda _, value: value)
    assert namespace["f"].__annotations__ == {"x": "nowhere"}


def test_the_last_expression_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[object] = []
    monkeypatch.setattr(sys, "displayhook", shown.append)
    ran("1\ndef f(): pass\n2\n3\n")
    assert shown == [3]


def test_nothing_runs_if_any_of_it_does_not_compile() -> None:
    namespace: dict[str, Any] = {}
    with pytest.raises(SyntaxError):
        ran("x = 1\ndef f():\n    return = 2\n", namespace)
    assert "x" not in namespace


@pytest.mark.parametrize(
    ("raw_cell", "line"),
    [("%%remote\nx = 1", 2), ("%%remote --max-retries 2\nx = 1", 2), ("\n\n  \n%%remote\nx = 1", 5), ("", 2)],
)
def test_the_first_line_of_the_body_counts_the_magic_and_what_is_above(raw_cell: str, line: int) -> None:
    assert cell_compiler.first_line_of_body(raw_cell) == line


def test_a_traceback_names_the_line_that_the_user_sees() -> None:
    raw_cell = "\n%%remote\ndef f():\n    pass\n\n1 / 0\n"
    body = raw_cell.split("%%remote\n")[1]
    text = cell_compiler.pad(body, cell_compiler.first_line_of_body(raw_cell))
    with pytest.raises(ZeroDivisionError) as caught:
        cell_compiler.run(compiled(text, "<the cell>"), {}, lambda _, value: value)
    assert traceback.extract_tb(caught.value.__traceback__)[-1].lineno == raw_cell.splitlines().index("1 / 0") + 1


# -- options ---------------------------------------------------------------------------------------------------

TASK, ACTOR = Definition("f", is_class=False), Definition("C", is_class=True)


def test_each_definition_gets_the_options_that_fit_it() -> None:
    given = {"max_retries": 1, "max_restarts": 2, "num_cpus": 0.5}
    assert cell_compiler.fit_options(given, [TASK, ACTOR]) == {
        TASK: {"max_retries": 1, "num_cpus": 0.5},
        ACTOR: {"max_restarts": 2, "num_cpus": 0.5},
    }


def test_an_option_that_fits_nothing_is_an_error_that_says_what_it_is_for() -> None:
    with pytest.raises(OptionError, match=r"--max-restarts is an option of a remote class.*only a remote function: f"):
        cell_compiler.fit_options({"max_restarts": 2}, [TASK])
    with pytest.raises(OptionError, match=r"--max-retries is an option of a remote function.*only a remote class: C"):
        cell_compiler.fit_options({"max_retries": 2}, [ACTOR])


def test_a_cell_that_defines_nothing_is_an_error() -> None:
    with pytest.raises(OptionError, match="nothing to make remote"):
        cell_compiler.fit_options({}, compiled("x = 1\n").definitions)


def test_definitions_come_in_order() -> None:
    assert [item.name for item in compiled("class C: pass\ndef f(): pass\ndef g(): pass\n").definitions] == list("Cfg")
