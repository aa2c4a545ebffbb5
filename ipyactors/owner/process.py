"""The one session of this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # so that asking whether there is one imports no ZeroMQ
    from ipyactors.owner.session import Session

_session: Session | None = None


def session() -> Session | None:
    """Return this process's session, or None."""
    return _session


def set_session(new: Session | None) -> None:
    """Make ``new`` this process's session."""
    global _session
    _session = new
