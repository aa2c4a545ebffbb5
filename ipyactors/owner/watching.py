"""Whose death this process wants to hear of."""

from __future__ import annotations

from ipyactors.owner.objects import Entry
from ipyactors.owner.out import Out
from ipyactors.owner.state import OwnerState
from ipyactors.wire.head_messages import WatchOwner


def watch(state: OwnerState, out: Out, process_id: bytes) -> dict[bytes, Entry]:
    """Have the head tell when a process is gone, or that it is; return what is awaited from there, by object id."""
    watched = state.watched.get(process_id)
    if watched is None:
        watched = state.watched[process_id] = {}
        out.to_head(WatchOwner(process_id))
    return watched
