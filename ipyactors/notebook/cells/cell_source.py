"""The cell that runs, as IPython names it: for the magics that compile its body themselves."""

from __future__ import annotations

import types
from collections.abc import Sequence
from typing import Any

from IPython.core.error import UsageError

from ipyactors.notebook.cells import cell_compiler, cell_function


class CellSource:
    """Knows the cell that one shell runs. ``raw_cell`` is its text, magic line included."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self.raw_cell = ""

    @property
    def number(self) -> int:
        """The number of the cell, as in ``In [5]``; execution_count is one ahead from IPython 9.8 on."""
        return int(self._shell.displayhook.prompt_count)

    def note_cell(self, info: Any) -> None:
        """Remember the cell that starts now; called by IPython before each cell."""
        self.raw_cell = info.raw_cell or ""

    def read(self, magic: str, line: str, body: str) -> tuple[str, str]:
        """Return the ``body`` of a cell magic as plain Python, each line where it stands, and the cell's file name.

        A traceback then says ``Cell In[n], line k`` and means the line that the user sees, the magic line counted.
        """
        shell = self._shell
        raw_cell = self.raw_cell if body.strip() in self.raw_cell else f"%%{magic} {line}\n{body}"
        first = cell_compiler.first_line_of_body(raw_cell) + cell_compiler.empty_lines_before(body)
        text = cell_compiler.pad(shell.transform_cell(body), first, raw_cell)
        return text, shell.compile.cache(text, self.number, raw_code=raw_cell)

    def function(
        self, magic: str, line: str, body: str, *, parameters: Sequence[str] = (), into: str = ""
    ) -> types.FunctionType:
        """Return the ``body`` of a cell magic as a function of ``parameters`` that can run elsewhere.

        ``into`` is the variable that is to have the reference to its result.
        Raises SyntaxError; UsageError for magics and shell commands in it, which need this process.
        """
        text, filename = self.read(magic, line, body)
        shell = self._shell
        name, flags = f"In[{self.number}]", shell.compile.flags
        function = cell_function.make(text, filename, shell.user_ns, name=name, parameters=parameters, flags=flags)
        if "get_ipython" in function.__code__.co_names:
            unchanged = f", and {into} is unchanged" if into else ""
            raise UsageError(
                f"%%{magic}: magics (%) and shell commands (!) work in the notebook's own process, and this cell is to "
                f"run in another. Nothing was sent{unchanged}. Use functions, such as subprocess.run for a command."
            )
        return function
