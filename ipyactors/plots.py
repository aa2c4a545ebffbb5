"""Pictures and tables of what happened. Needs matplotlib, which comes with the extra ``[notebook]``.

Each takes events: those of the session if nothing is given, those that :func:`ipyactors.load_events` returns, or the
path of a file that :func:`ipyactors.export_events` has written, which needs no session.
"""

from __future__ import annotations

try:
    import matplotlib as mpl  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "ipyactors.plots needs matplotlib, which is not installed here: pip install 'ipyactors[notebook]'. "
        "Nothing was drawn; ipyactors.events() has what it would show, and export_events() keeps it.",
        name="matplotlib",
    ) from error

from ipyactors.notebook.plots.attempt_plot import attempts
from ipyactors.notebook.plots.checkpoint_plot import checkpoints
from ipyactors.notebook.plots.lifeline_plot import lifelines
from ipyactors.notebook.plots.recovery_plot import recovery_times
from ipyactors.notebook.plots.recovery_table import recoveries
from ipyactors.notebook.plots.rerun_plot import reruns
from ipyactors.notebook.plots.retry_plot import retries

__all__ = ["attempts", "checkpoints", "lifelines", "recoveries", "recovery_times", "reruns", "retries"]


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
