"""The progress bar in a notebook: tqdm's widget, whose last state is also in the text that a saved notebook keeps."""

from __future__ import annotations

import contextlib
from typing import Any

from ipyactors.api import progress
from ipyactors.api.progress import Bar, bar_options, make_tqdm

_STYLES = {"red": "danger", "yellow": "warning"}


def install(shell: Any) -> None:
    """Have progress bars be such widgets from now on, if ``shell`` is a kernel's."""
    if hasattr(shell, "kernel"):
        progress.set_bar_maker(_make_bar)


def uninstall() -> None:
    """Have them be what tqdm makes of them again."""
    progress.set_bar_maker(make_tqdm)


def _make_bar(total: int | None, desc: str) -> Bar:
    try:
        from IPython.display import display
        from tqdm.notebook import IProgress, tqdm_notebook
    except ImportError:
        return make_tqdm(total, desc)
    if IProgress is None:  # there are no widgets
        return make_tqdm(total, desc)

    class NotebookBar(tqdm_notebook):  # type: ignore[misc]
        """See the head of this file. Made here, for the class that it is of may not be importable."""

        monitor_interval = 0
        _style = ""

        def __init__(self) -> None:
            super().__init__(**bar_options(total, desc), display=False)
            self._handle = display(self.container, display_id=True)

        @property
        def colour(self) -> None:
            return None  # of the text; the widget's is its style

        @colour.setter
        def colour(self, colour: str | None) -> None:
            self._style = _STYLES.get(colour or "", "")

        def close(self) -> None:
            if self.disable:
                return
            super().close()
            if self._style:
                self.container.children[1].bar_style = self._style
            with contextlib.suppress(Exception):
                self._handle.update(self.container)

    bar: Bar = NotebookBar()
    return bar
