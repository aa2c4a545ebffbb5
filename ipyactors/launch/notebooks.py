"""Which session is a notebook's: so that its next kernel finds what the one before has left behind.

A kernel knows its notebook by what its front end says: Jupyter's server sets ``JPY_SESSION_NAME`` to the notebook's
path, VS Code puts it among the user's names, and ``IPYACTORS_NOTEBOOK`` (a path) says it where neither does. In a
terminal, in a script, under nbclient nobody says it, and no session is found again.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

import msgspec

from ipyactors.ground.config import home
from ipyactors.launch.address import Driven, SessionNote, live_sessions, publish, read_note
from ipyactors.launch.sessions import locked
from ipyactors.wire import liveness
from ipyactors.wire.liveness import Identity


def this_notebook() -> str:
    """Return the path of the notebook that this process is the kernel of; empty if it is none, or nobody says it."""
    given = os.environ.get("IPYACTORS_NOTEBOOK", "")
    if not given:
        shell = _kernels_shell()
        if shell is not None:  # else the variable is that of the kernel which started this
            given = shell.user_ns.get("__vsc_ipynb_file__") or os.environ.get("JPY_SESSION_NAME", "")
    return os.path.realpath(given) if given else ""


def is_nameless() -> bool:
    """Return whether this process is a kernel that nobody has told of which notebook."""
    return _kernels_shell() is not None and not this_notebook()


def _kernels_shell() -> Any:
    """Return the shell of the kernel that this process is; None if it is none."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell if getattr(shell, "kernel", None) is not None else None


def sign(state_dir: str, notebook: str, started_with: Mapping[str, Any]) -> None:
    """Note that this process drives the session in ``state_dir`` for a notebook, and what it was started with."""
    note = read_note(state_dir)
    if note is not None:
        _sign(note, notebook, msgspec.to_builtins(started_with))


def unsign(state_dir: str) -> None:
    """Note that nobody drives the session in ``state_dir``, if it was this process that did."""
    note = read_note(state_dir)
    if note is not None and note.driven is not None and note.driven.by == _this_process():
        publish(msgspec.structs.replace(note, driven=msgspec.structs.replace(note.driven, by=None)))


def left(notebook: str) -> list[SessionNote]:
    """Return the live sessions of a notebook that nobody drives, the latest last."""
    return [note for note in _live(notebook) if _is_left(note)]


def held(notebook: str) -> list[SessionNote]:
    """Return the live sessions of a notebook that another process drives, the latest last."""
    return [note for note in _live(notebook) if not _is_left(note)]


def _live(notebook: str) -> list[SessionNote]:
    if not notebook:
        return []
    mine = [note for note in live_sessions() if note.driven is not None and note.driven.notebook == notebook]
    return sorted(mine, key=lambda note: note.agent.started)


def claim(notebook: str, name: str | None = None) -> SessionNote | None:
    """Return the live session of a notebook whose driver is gone, if there is one; this process drives it from now on.

    With ``name``, only a session of that name. Of several, the latest.
    """
    sessions = home() / "sessions"
    if not sessions.is_dir():
        return None
    with locked(sessions):  # two kernels must not find the same one
        found = [note for note in left(notebook) if name in (None, note.paths.name)]
        if not found:
            return None
        note = found[-1]
        assert note.driven is not None
        _sign(note, notebook, note.driven.started_with)
        return note


def _is_left(note: SessionNote) -> bool:
    """Return whether nobody drives the session: who asks does not any more, or he would not ask."""
    by = None if note.driven is None else note.driven.by
    return by is None or by == _this_process() or not liveness.is_running(by)


def _sign(note: SessionNote, notebook: str, started_with: dict[str, Any]) -> None:
    publish(msgspec.structs.replace(note, driven=Driven(notebook, _this_process(), started_with)))


def _this_process() -> Identity:
    me = liveness.identify(os.getpid())
    assert me is not None, "a process that asks runs"
    return me
