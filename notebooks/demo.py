"""Run the first notebook without a browser, and say what was killed, what came back, and how fast.

``python notebooks/demo.py [FOLDER]`` executes ``01_survive_a_crash.ipynb`` in a kernel of its own and writes the
executed notebook and its HTML to FOLDER (default: ``out`` beside this folder). What it prints was measured in that
run: the table holds the facts that the notebook's last table carries with it. The exit code is 1 if a cell failed or
if nothing was killed.
"""

from __future__ import annotations

import pathlib
import sys
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbconvert import HTMLExporter

from ipyactors.notebook.plots.recoveries import Recovery
from ipyactors.notebook.plots.recovery_table import FACTS, RecoveryTable

HERE = pathlib.Path(__file__).resolve().parent
NOTEBOOK = HERE / "01_survive_a_crash.ipynb"

#: Generous: the notebook takes seconds, and a machine may be busy.
CELL_TIMEOUT_S = 120


def main(arguments: list[str]) -> int:
    """Run the demo; return the exit code."""
    folder = pathlib.Path(arguments[0] if arguments else HERE.parent / "out").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    print(f"running {NOTEBOOK.name}; it kills processes while they work", flush=True)
    problem = execute(notebook, folder / "kernel.log")
    paths = write(notebook, folder)
    if problem:
        print(problem, file=sys.stderr)
    recoveries = find_recoveries(notebook)
    if recoveries:
        print(f"\n{RecoveryTable(recoveries)!r}\n")
    else:
        print("nothing was killed, so nothing was shown to survive", file=sys.stderr)
    for path in paths:
        print(path)
    return 0 if recoveries and not problem else 1


def execute(notebook: Any, log: pathlib.Path) -> str:
    """Run all cells in place, the kernel's own messages going to ``log``; return what went wrong, or nothing."""
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT_S,
        kernel_name="python3",
        record_timing=False,  # so that the executed notebook may be committed in the place of the one before
        resources={"metadata": {"path": str(HERE)}},
    )
    with log.open("w", encoding="utf-8") as stream:
        try:
            client.execute(stderr=stream)
        except CellExecutionError as error:
            return str(error)
        except DeadKernelError:
            return f"the kernel died; its last words are in {log}"
    return ""


def write(notebook: Any, folder: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """Write the executed notebook and its HTML; return where they lie."""
    executed = folder / NOTEBOOK.name
    page = executed.with_suffix(".html")
    nbformat.write(notebook, executed)
    html, _ = HTMLExporter().from_notebook_node(notebook)
    page.write_text(html, encoding="utf-8")
    return executed, page


def find_recoveries(notebook: Any) -> list[Recovery]:
    """Return what the notebook's cells have shown as recoveries."""
    shown = [
        output["data"][FACTS]
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if FACTS in output.get("data", {})
    ]
    return [Recovery(**facts) for facts in shown[-1]] if shown else []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
