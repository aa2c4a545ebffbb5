"""The notebooks that are shipped: run as they are, their shown outputs compared with what a run gives."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import nbformat
import pytest

pytestmark = [pytest.mark.notebook, pytest.mark.timeout(300)]

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = ROOT / "notebooks"
TUTORIALS = sorted(FOLDER.glob("*.ipynb"))


def run(*arguments: str, folder: pathlib.Path = ROOT) -> str:
    """Run a module of this Python; return what it printed, which is also what a failure shows."""
    done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.name)
def test_outputs_are_what_a_run_gives(path: pathlib.Path) -> None:
    run(
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(FOLDER), "-c", "/dev/null"),
        *("--nbval", "--nbval-current-env", "--nbval-cell-timeout", "120"),
        *("--nbval-sanitize-with", str(FOLDER / "sanitize.cfg"), str(path)),
    )


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.name)
def test_outputs_are_committed_and_name_no_machine(path: pathlib.Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in cells)
    shown = "".join(str(cell.outputs) for cell in cells)
    assert "/home/" not in shown
    assert "/root/" not in shown
    assert "Traceback" not in shown


def test_jupyter_executes_the_first_one(tmp_path: pathlib.Path) -> None:
    copy = tmp_path / "copy.ipynb"
    copy.write_bytes((FOLDER / "01_survive_a_crash.ipynb").read_bytes())
    run("-m", "jupyter", "execute", "--timeout=120", "--inplace", str(copy), folder=tmp_path)
    assert nbformat.read(copy, as_version=4).cells[-1].execution_count


def test_the_demo_says_what_came_back_and_where_it_lies(tmp_path: pathlib.Path) -> None:
    said = run(str(FOLDER / "demo.py"), str(tmp_path))
    assert "actor acct, incarnation 0" in said
    assert "actor immortal, incarnation 1" in said
    assert "task potentially_fail #1, attempt 0" in said
    for name in ("01_survive_a_crash.ipynb", "01_survive_a_crash.html"):
        assert str(tmp_path / name) in said
        assert (tmp_path / name).stat().st_size > 0
