"""``%%task``: the cell's body as a task."""

from __future__ import annotations

from typing import Any

from IPython.core.magic import Magics, magics_class, output_can_be_silenced

from ipyactors.api.remote import RemoteFunction
from ipyactors.ground.options import Place, TaskOptions
from ipyactors.notebook.cells.cell_source import CellSource
from ipyactors.notebook.magics.flags import INTO, cell_magic_with_options, name_of, parse_flags, read_options
from ipyactors.notebook.magics.usage import as_usage_error, warnings_as_lines


@magics_class
class TaskMagics(Magics):  # type: ignore[misc]
    """The magic that submits a task."""

    def __init__(self, shell: Any, source: CellSource) -> None:
        super().__init__(shell)
        self._source = source

    @output_can_be_silenced  # type: ignore[untyped-decorator]
    @cell_magic_with_options(Place.TASK, before=[INTO])
    def task(self, line: str, cell: str) -> Any:
        """Run this cell as a task, in a worker, and go on at once.

        The value of the cell is the reference to the result, which is the value of the last expression:
        ipyactors.get(_), or await _. With -o NAME it is put under that name instead, and nothing is shown.

        The notebook's variables that the cell reads travel with it, as they are now. What it assigns stays in the
        worker: only the result comes back. Top-level await works.

        What it prints appears below this cell, also after the cell has ended. Where a notebook is run without a page
        (jupyter execute, nbconvert, papermill), only what comes while a cell runs is kept: there, call a remote
        function and get its result in the same cell.

        In a script, do the same with a function: ipyactors.remote(f).remote(), with its options
        ipyactors.remote(f).options(num_cpus=2).remote().
        """
        __tracebackhide__ = "__ipython_bottom__"
        variables = self.shell.user_ns
        with as_usage_error():
            given = parse_flags(self.task, line, Place.TASK)
            into = name_of(given.pop("into"))
            options = TaskOptions().but(read_options(given, variables))
        function = self._source.function("task", line, cell, into=into)
        with warnings_as_lines():
            submitted = RemoteFunction(function, options).remote()
        if not into:
            return submitted
        variables[into] = submitted
        return None
