"""``%load_ext ipyactors`` and ``%unload_ext ipyactors``: one is the inverse of the other, each may be repeated.

Loading starts no process. It registers the magics, takes our frames out of tracebacks, and has
what workers print and display appear under the cell that made the call.
"""

from __future__ import annotations

import dataclasses
import weakref
from typing import Any

from ipyactors.notebook import progress_bar, tracebacks
from ipyactors.notebook.cells.cell_source import CellSource
from ipyactors.notebook.interrupts import Interrupts
from ipyactors.notebook.magics.actor_magic import ActorMagics
from ipyactors.notebook.magics.chaos_magic import ChaosMagics
from ipyactors.notebook.magics.cluster_magic import ClusterMagics
from ipyactors.notebook.magics.completion import MagicCompleter
from ipyactors.notebook.magics.on_magic import OnMagics
from ipyactors.notebook.magics.plot_magics import PlotMagics
from ipyactors.notebook.magics.remote_magic import RemoteMagics
from ipyactors.notebook.magics.task_magic import TaskMagics
from ipyactors.notebook.output import CellOutput, Cells
from ipyactors.notebook.thread_scopes import ThreadScopes

_BEFORE_CELL = "pre_run_cell"
_AFTER_CELL = "post_run_cell"


@dataclasses.dataclass(frozen=True, slots=True)
class _Loaded:
    """What was put into one shell."""

    magics: tuple[Any, ...]
    source: CellSource
    completer: MagicCompleter
    output: CellOutput
    interrupts: Interrupts
    threads: ThreadScopes


_loaded: weakref.WeakKeyDictionary[Any, _Loaded] = weakref.WeakKeyDictionary()

#: Kept when the extension is unloaded: what their calls have yet to print may come when it is loaded again.
_cells: weakref.WeakKeyDictionary[Any, Cells] = weakref.WeakKeyDictionary()


def load_ipython_extension(shell: Any) -> None:
    """Make ``shell`` (an IPython shell) know the magics. Loading again changes nothing."""
    if shell in _loaded:
        return
    source = CellSource(shell)
    magics = (
        RemoteMagics(shell, source),
        TaskMagics(shell, source),
        OnMagics(shell, source),
        ActorMagics(shell),
        PlotMagics(shell),
        ChaosMagics(shell),
        ClusterMagics(shell),
    )
    output = CellOutput(shell, _cells.setdefault(shell, Cells()))
    ours = _Loaded(magics, source, MagicCompleter(shell), output, Interrupts(shell), ThreadScopes())
    _loaded[shell] = ours
    shell.register_magics(*ours.magics)
    ours.completer.install()
    shell.events.register(_BEFORE_CELL, source.note_cell)
    shell.events.register(_BEFORE_CELL, ours.output.note_cell)
    shell.events.register(_AFTER_CELL, ours.output.note_end)
    ours.output.install()
    ours.output.note_cell()
    shell.events.register(_BEFORE_CELL, ours.interrupts.note_cell)
    shell.events.register(_AFTER_CELL, ours.interrupts.note_end)
    ours.interrupts.note_cell()  # after the output's: it has entered the scope
    ours.threads.install()
    progress_bar.install(shell)
    tracebacks.install(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Take back what :func:`load_ipython_extension` did; a running session goes on, and so do its actors."""
    ours = _loaded.pop(shell, None)
    if ours is None:
        return
    shell.events.unregister(_BEFORE_CELL, ours.source.note_cell)
    shell.events.unregister(_BEFORE_CELL, ours.output.note_cell)
    shell.events.unregister(_AFTER_CELL, ours.output.note_end)
    ours.output.release()
    shell.events.unregister(_BEFORE_CELL, ours.interrupts.note_cell)
    shell.events.unregister(_AFTER_CELL, ours.interrupts.note_end)
    ours.interrupts.release()
    ours.threads.release()
    progress_bar.uninstall()
    tracebacks.uninstall(shell)
    ours.completer.uninstall()
    for magics in ours.magics:
        for kind, names in magics.magics.items():
            for name in names:
                shell.magics_manager.magics[kind].pop(name, None)
        shell.magics_manager.registry.pop(type(magics).__name__, None)
        shell.configurables.remove(magics)
