"""Further copies of a value on other machines."""

from __future__ import annotations

from collections.abc import Sequence

from ipyactors.ground.exceptions import ObjectStoreFullError, OptionError
from ipyactors.owner.objects import Entry
from ipyactors.owner.session import Session
from ipyactors.wire.interrupts import deferred
from ipyactors.wire.specs import Location, NodeStatus


def spread(session: Session, entry: Entry, copies: int, nodes: Sequence[NodeStatus]) -> None:
    """Have a stored value on ``copies`` machines; returns when it is. Raises OptionError, ObjectStoreFullError."""
    storage, stored = session.storage, entry.stored
    assert storage is not None, "a value is in a store, and this process has none"
    assert stored is not None, "a small value has no copies"
    here = storage.location
    others = [
        Location(node.node_id, node.address)
        for node in nodes
        if node.is_alive and not node.is_leaving and node.node_id != here.node_id
    ]
    if copies > 1 + len(others):
        raise OptionError(
            f"copies={copies}: this session has {1 + len(others)} machine(s), and a machine has one copy at most. "
            "Nothing was stored."
        )
    places = [here]
    problems: list[str] = []
    for place in others:
        if len(places) < copies:
            problem = storage.copy_to(place, stored)
            if problem:
                problems.append(problem)
            else:
                places.append(place)
    if len(places) < copies:
        raise ObjectStoreFullError(
            f"put with copies={copies} could make only {len(places)}: {'; '.join(problems)}. Nothing was stored."
        )
    with deferred(), session.lock:
        entry.move(tuple(places))
