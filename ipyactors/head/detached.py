"""Whether the session holds actors that are detached: the first machine's agent has to know it before its driver goes.

A notebook's session that holds some outlives its driver (see ``node/membership.py``).
"""

from __future__ import annotations

from ipyactors.head.out import Out
from ipyactors.head.tables import Tables
from ipyactors.wire.node_messages import HoldsDetached


def tell_agent(tables: Tables, out: Out) -> None:
    """Tell the first machine's agent if that has changed; a head that was started again waits until it has settled."""
    if not (tables.has_first_node and tables.is_settled):
        return
    holds_any = bool(tables.detached)
    if holds_any != tables.is_detached_told:
        tables.is_detached_told = holds_any
        out.to_node(next(iter(tables.nodes)), HoldsDetached(holds_any))
