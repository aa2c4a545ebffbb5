"""Pictures and tables of what happened. Needs matplotlib, which comes with the extra ``[notebook]``."""

from __future__ import annotations

from ipyactors.notebook.plots import lifelines
from ipyactors.notebook.recovery_plot import recovery_times
from ipyactors.notebook.recovery_table import recoveries
from ipyactors.notebook.rerun_plot import reruns

__all__ = ["lifelines", "recoveries", "recovery_times", "reruns"]
