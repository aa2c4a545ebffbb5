"""The matplotlib backend of workers: ``plt.show()`` displays, and so does the end of a call.

Drawn by Agg, sent as PNG. As in a notebook, figures that a call leaves open are shown when it ends, and closed, so that
the next call starts with none; a figure that was kept may be drawn on, and displayed again. Each call shows its own.
"""

from __future__ import annotations

from typing import Any

from matplotlib._pylab_helpers import Gcf
from matplotlib.backend_bases import FigureManagerBase
from matplotlib.backends.backend_agg import FigureCanvasAgg

from ipyactors.owner import current
from ipyactors.worker import displays


class FigureManager(FigureManagerBase):
    """One figure that pyplot knows, and the call that has made it."""

    def __init__(self, canvas: Any, num: int | str) -> None:
        super().__init__(canvas, num)
        self.call = current.call.get()
        self.was_shown = False
        displays.at_end(self._end)

    def show(self) -> None:
        """Display the figure."""
        figure = self.canvas.figure
        displays.publish({"image/png": displays.png_of(figure), "text/plain": repr(figure)}, {})

    @classmethod
    def pyplot_show(cls, *, block: bool | None = None) -> None:  # noqa: ARG003  # pyplot gives it
        """Display the call's figures, and close them."""
        call = current.call.get()
        for manager in Gcf.get_all_fig_managers():
            if not isinstance(manager, cls) or manager.call is call:
                manager.show()
                Gcf.destroy(manager)

    def _end(self) -> None:
        if self in Gcf.figs.values():
            if not self.was_shown:
                self.show()
            Gcf.destroy(self)


class FigureCanvas(FigureCanvasAgg):  # type: ignore[misc]
    """Where figures are drawn."""

    manager_class = FigureManager
