"""The one session of this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # so that asking whether there is one imports no ZeroMQ
    from ipyactors.owner.session import Session

_session: Session | None = None

#: Drop what floors above keep over the session; they add themselves.
forgets: list[Callable[[], object]] = []


def session() -> Session | None:
    """Return this process's session, or None."""
    return _session


def set_session(new: Session | None) -> None:
    """Make ``new`` this process's session."""
    global _session
    _session = new


def leave_session() -> None:
    """Make this process one without a session, as it was before; the session is closed by who has made it."""
    set_session(None)
    for forget in forgets:
        forget()
