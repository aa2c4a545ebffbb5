"""Where a call would best run: on the machine that has most of what it needs."""

from __future__ import annotations

from ipyactors.owner.calls import PendingCall


def preferred_node(call: PendingCall) -> bytes:
    """Return the machine that has most bytes of a call's stored arguments; empty if none of them is in a store."""
    sizes: dict[bytes, int] = {}
    for payload in (call.args, *call.arg_values()):
        if (stored := payload.stored) is not None:
            for place in stored.locations:
                sizes[place.node_id] = sizes.get(place.node_id, 0) + stored.size
    return max(sizes, key=sizes.__getitem__, default=b"")
