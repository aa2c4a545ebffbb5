"""``%timeline``: what happened, as a picture here or as a trace in a file."""

from __future__ import annotations

from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, magics_class

from ipyactors.api import runtime
from ipyactors.api.inspect import timeline
from ipyactors.notebook.magics.flags import flag, line_magic_with, parse_line, without_quotes
from ipyactors.notebook.magics.usage import as_usage_error
from ipyactors.notebook.magics.which_actor import look_up


@magics_class
class PlotMagics(Magics):  # type: ignore[misc]
    """The magics that show what happened."""

    @line_magic_with(
        flag("file", nargs="?", metavar="FILE", help="Write a trace there; compressed if it ends in .gz."),
        flag("--actor", metavar="ACTOR", help="Only this actor and its calls: its name, id, or a variable."),
    )
    def timeline(self, line: str) -> Any:
        """Show the lifelines of actors and tasks: who died, what came back, what was done again.

        With FILE, such as trace.json.gz, write a trace for ui.perfetto.dev instead.

        In a script: ipyactors.plots.lifelines(), ipyactors.timeline("trace.json.gz").
        """
        __tracebackhide__ = "__ipython_bottom__"
        with as_usage_error():
            given = parse_line(self.timeline, line)
            if runtime.live_engine() is None:
                words = runtime.without_session("there is no session, and so nothing has happened.")
                raise UsageError(f"{words} Nothing was done.")
            whose = None
            if given.actor is not None:
                whose = look_up(given.actor, None, self.shell.user_ns, dead_too=True).actor_id.hex()
            if given.file is None:
                return _lifelines(whose)
            path = without_quotes(given.file)
            try:
                traced = timeline(path, actor=whose)
            except OSError as error:
                raise UsageError(f"the trace was not written: {error}") from None
        print(f"{path}: {len(traced):,} trace events; open it at https://ui.perfetto.dev")
        return None


def _lifelines(whose: str | None) -> Any:
    try:
        from ipyactors.plots import lifelines  # matplotlib takes its time, and may be missing
    except ModuleNotFoundError as error:
        raise UsageError(
            f"pictures need {error.name}, which is not installed: install ipyactors[notebook]. "
            "%timeline FILE needs nothing."
        ) from None
    return lifelines(actor=whose)
