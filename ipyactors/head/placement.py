"""Where a demand goes: pure choices over the nodes, and the words that explain a wait."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ipyactors.ground.quantities import Units, describe, fits, subtract
from ipyactors.head.tables import Node

#: More nodes than this are not listed in a reason; people stop reading.
_NODES_IN_REASON = 3


def spare(node: Node, reserved: Mapping[bytes, Units]) -> Units:
    """Return what is available on ``node`` once ``reserved`` (by node id) is set aside."""
    left = dict(node.available)
    subtract(left, reserved.get(node.node_id, {}))
    return left


def choose_node(nodes: Iterable[Node], demand: Units, reserved: Mapping[bytes, Units] = {}) -> Node | None:
    """Return the node for ``demand``, or None if it fits nowhere now.

    Of the nodes with room, the one with most CPUs to spare: that spreads work, and gives those who ask for nothing
    (actors, by default; they fit even where CPUs are overdrawn) the quietest machine. Between equals, the one that
    joined first.
    """
    best: Node | None = None
    best_cpus = 0
    for node in nodes:
        left = spare(node, reserved)
        cpus = left.get("CPU", 0)
        if fits(demand, left) and (best is None or cpus > best_cpus):
            best, best_cpus = node, cpus
    return best


def can_ever_fit(nodes: Iterable[Node], demand: Units) -> bool:
    """Return whether some node's total covers ``demand``."""
    return any(fits(demand, node.total) for node in nodes)


def largest_totals(nodes: Iterable[Node]) -> Units:
    """Return the largest total of each resource on any one node."""
    largest: Units = {}
    for node in nodes:
        for name, amount in node.total.items():
            largest[name] = max(amount, largest.get(name, 0))
    return largest


def explain_waiting(nodes: Iterable[Node], demand: Units) -> str:
    """Return why ``demand`` waits: ``'needs 2 CPU; free now: 0.5 CPU on host a (4 in all)'``."""
    listed = list(nodes)
    if not listed:
        return f"needs {describe(demand)}; no machine has joined yet"
    fitting = [node for node in listed if fits(demand, node.total)]
    if not fitting:
        return f"needs {describe(demand)}; no machine has that much (at most {describe(largest_totals(listed))})"
    with_room = [node for node in fitting if fits(demand, node.available)]
    for node in with_room:
        if node.start_problem:
            return f"needs a worker; workers on host {node.hostname} do not start: {node.start_problem}"
        if node.unbound or node.starting:
            return f"needs a worker; one is being started on host {node.hostname}"
    if with_room:
        return f"needs {describe(demand)}; there is room, but an older demand is next in line for it"
    places = [_free_words(node, demand) for node in fitting[:_NODES_IN_REASON]]
    if len(fitting) > _NODES_IN_REASON:
        places.append(f"and too little on {len(fitting) - _NODES_IN_REASON} more")
    return f"needs {describe(demand)}; free now: {', '.join(places)}"


def _free_words(node: Node, demand: Units) -> str:
    free = {name: max(0, node.available.get(name, 0)) for name in demand}
    total = {name: node.total.get(name, 0) for name in demand}
    in_all = describe(total)
    if len(total) == 1:
        in_all = in_all.removesuffix(f" {next(iter(total))}")
    return f"{describe(free)} on host {node.hostname} ({in_all} in all)"
