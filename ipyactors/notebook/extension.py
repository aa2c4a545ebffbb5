"""``%load_ext ipyactors`` and ``%unload_ext ipyactors``: one is the inverse of the other, each may be repeated.

Loading starts no process. It registers the magics, takes our frames out of tracebacks, and has
what workers print appear under the cell that is running.
"""

from __future__ import annotations

import dataclasses
import weakref
from typing import Any

from ipyactors.notebook import tracebacks
from ipyactors.notebook.magics import RemoteMagics
from ipyactors.notebook.output import CellOutput

_MAGICS = {"cell": ("remote",), "line": ("remote_init", "actors", "kill")}
_BEFORE_CELL = "pre_run_cell"


@dataclasses.dataclass(frozen=True, slots=True)
class _Loaded:
    """What was put into one shell."""

    magics: RemoteMagics
    output: CellOutput


_loaded: weakref.WeakKeyDictionary[Any, _Loaded] = weakref.WeakKeyDictionary()


def load_ipython_extension(shell: Any) -> None:
    """Make ``shell`` (an IPython shell) know the magics. Loading again changes nothing."""
    if shell in _loaded:
        return
    ours = _loaded[shell] = _Loaded(RemoteMagics(shell), CellOutput(shell))
    shell.register_magics(ours.magics)
    shell.events.register(_BEFORE_CELL, ours.magics.note_cell)
    shell.events.register(_BEFORE_CELL, ours.output.note_cell)
    ours.output.note_cell()
    tracebacks.install(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Take back what :func:`load_ipython_extension` did; a running session goes on, and so do its actors."""
    ours = _loaded.pop(shell, None)
    if ours is None:
        return
    shell.events.unregister(_BEFORE_CELL, ours.magics.note_cell)
    shell.events.unregister(_BEFORE_CELL, ours.output.note_cell)
    ours.output.release()
    tracebacks.uninstall(shell)
    for kind, names in _MAGICS.items():
        for name in names:
            shell.magics_manager.magics[kind].pop(name, None)
    shell.magics_manager.registry.pop(RemoteMagics.__name__, None)
