"""``%%on``: the cell's body inside an actor."""

from __future__ import annotations

from typing import Any

from IPython.core.magic import Magics, magics_class, output_can_be_silenced

from ipyactors.api.calls import get
from ipyactors.api.on import on
from ipyactors.notebook.cells.cell_source import CellSource
from ipyactors.notebook.magics.flags import ACTOR, INTO, cell_magic_with, flag, name_of, parse_line
from ipyactors.notebook.magics.usage import as_usage_error
from ipyactors.notebook.magics.which_actor import handle_of


@magics_class
class OnMagics(Magics):  # type: ignore[misc]
    """The magic that runs a cell in an actor."""

    def __init__(self, shell: Any, source: CellSource) -> None:
        super().__init__(shell)
        self._source = source

    @output_can_be_silenced  # type: ignore[untyped-decorator]
    @cell_magic_with(
        *ACTOR,
        flag(
            "--readonly",
            action="store_true",
            help="It changes nothing in self; a durable actor does not record it, and puts back what it changes.",
        ),
        INTO,
    )
    def on(self, line: str, cell: str) -> Any:
        """Run this cell inside an actor, where self is its instance, and show the value of the last expression.

        It is a call like those of the actor's methods: it waits for its turn, and may change self. A durable actor
        records it, so that what it has changed survives a crash; it must do the same again when it is executed again.

        The notebook's variables that the cell reads travel with it, as they are now. What it assigns, other than to
        self, stays there and is gone when the cell has run. Top-level await works. With -o NAME the reference to the
        result is put under that name, and the notebook goes on at once.

        In a script, do the same with a function of the instance: ipyactors.on(handle, function).
        """
        __tracebackhide__ = "__ipython_bottom__"
        with as_usage_error():
            given = parse_line(self.on, line)
            into = name_of(given.into)
            handle = handle_of(given.actor, given.namespace, self.shell.user_ns)
        function = self._source.function("on", line, cell, parameters=("self",), into=into)
        submitted = on(handle, function, readonly=given.readonly)
        if not into:
            return get(submitted)
        self.shell.user_ns[into] = submitted
        return None
