"""References that have outlived their session: which session an object is of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipyactors.ground import ids
from ipyactors.owner.objects import Entry

if TYPE_CHECKING:
    from ipyactors.owner.session import Session


def is_of_another(session: Session, entry: Entry) -> bool:
    """Return whether an entry is from an earlier session of this process."""
    if entry.owner_address:
        return session.state.objects.borrowed.get(entry.object_id) is not entry
    return ids.owner_of(entry.object_id) != session.process_id


def went_with_its_session(session: Session, entry: Entry) -> bool:
    """Return whether nobody can have the value of an entry any more: small ones outlive their session."""
    if entry.failure is not None or not is_of_another(session, entry):
        return False
    return not entry.done or entry.stored is not None
