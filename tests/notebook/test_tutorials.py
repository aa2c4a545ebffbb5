"""The notebooks that are shipped: run as they are, their shown outputs compared with what a run gives."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import nbformat
import pytest

from tests.support.programs import Finish, Program, side_by_side

pytestmark = [pytest.mark.notebook, pytest.mark.timeout(300)]

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = ROOT / "notebooks"
FIRST = "01_survive_a_crash.ipynb"
TUTORIALS = sorted(FOLDER.glob("*.ipynb"))

COMPARE = (
    *("-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(FOLDER), "-c", "/dev/null"),
    *("--nbval", "--nbval-current-env", "--nbval-cell-timeout", "120"),
    *("--nbval-sanitize-with", str(FOLDER / "sanitize.cfg")),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Where the programs write."""
    return tmp_path_factory.mktemp("tutorials")


@pytest.fixture(scope="module")
def finish(folder: pathlib.Path) -> Iterator[Finish]:
    """All that runs a notebook, begun when the first test asks: each has a kernel and a session of its own."""
    copy = folder / "copy.ipynb"
    copy.write_bytes((FOLDER / FIRST).read_bytes())
    execute = ("-m", "jupyter", "execute", "--timeout=120", "--inplace", str(copy))
    programs = {path.name: Program((*COMPARE, str(path)), ROOT) for path in TUTORIALS}
    programs["execute"] = Program(execute, folder)
    programs["demo"] = Program((str(FOLDER / "demo.py"), str(folder)), ROOT)
    with side_by_side(programs, at_once=len(programs)) as started:
        yield started


def printed(finish: Finish, name: str) -> str:
    """Wait for a program that must end well; return what it printed, which is also what a failure shows."""
    done = finish(name)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.name)
def test_outputs_are_what_a_run_gives(finish: Finish, path: pathlib.Path) -> None:
    printed(finish, path.name)


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.name)
def test_outputs_are_committed_and_name_no_machine(path: pathlib.Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in cells)
    shown = "".join(str(cell.outputs) for cell in cells)
    assert "/home/" not in shown
    assert "/root/" not in shown
    assert "Traceback" not in shown


def test_jupyter_executes_the_first_one(finish: Finish, folder: pathlib.Path) -> None:
    printed(finish, "execute")
    assert nbformat.read(folder / "copy.ipynb", as_version=4).cells[-1].execution_count


def test_the_demo_says_what_came_back_and_where_it_lies(finish: Finish, folder: pathlib.Path) -> None:
    said = printed(finish, "demo")
    assert "actor acct, incarnation 0" in said
    assert "actor immortal, incarnation 1" in said
    assert "task potentially_fail #1, attempt 1" in said
    for name in (FIRST, "01_survive_a_crash.html"):
        assert str(folder / name) in said
        assert (folder / name).stat().st_size > 0
