"""Where a demand goes: pure choices over the nodes, and the words that explain a wait."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ipyactors.ground.quantities import UNITS_PER_ONE, Units, describe, fits, subtract
from ipyactors.head.machine import Node

#: A machine is filled up to this share before the next one is used; beyond it, work is spread.
FILL_FIRST = 0.5

#: More nodes than this are not listed in a reason; people stop reading.
_NODES_IN_REASON = 3


def spare(node: Node, reserved: Mapping[bytes, Units]) -> Units:
    """Return what is available on ``node`` once ``reserved`` (by node id) is set aside."""
    left = dict(node.available)
    subtract(left, reserved.get(node.node_id, {}))
    return left


def choose_node(
    nodes: Iterable[Node], demand: Units, reserved: Mapping[bytes, Units] = {}, prefer: bytes = b""
) -> Node | None:
    """Return the node for ``demand``, or None if it fits nowhere now.

    The node named ``prefer`` is taken if there is room on it. Else machines are filled up to half, one after the other
    in the order in which they joined, and from then on evenly: what belongs together stays together while there is
    little, and no machine is crowded while another is quiet. Those who ask for nothing (actors, by default; they fit
    even where CPUs are overdrawn) go where least is going on for each CPU.
    """
    best: Node | None = None
    best_pressure = 0.0
    for node in nodes:
        left = spare(node, reserved)
        if not fits(demand, left):
            continue
        if node.node_id == prefer:
            return node
        pressure = _pressure(node, left, demand) if demand else _bustle(node)
        if best is None or pressure < best_pressure:
            best, best_pressure = node, pressure
    return best


def _pressure(node: Node, left: Units, demand: Units) -> float:
    """Return how full the node would be with ``demand``, by its scarcest resource; 0 as long as it is half empty."""
    shares = [
        1.0 - (left.get(name, 0) - demand.get(name, 0)) / node.total[name]
        for name in ("CPU", *demand)
        if node.total.get(name)
    ]
    fullest = max(shares, default=0.0)
    return fullest if fullest > FILL_FIRST else 0.0


def _bustle(node: Node) -> float:
    """Return how many leases and actors the node has for each CPU."""
    return len(node.claims) / max(1.0, node.total.get("CPU", 0) / UNITS_PER_ONE)


def can_ever_fit(nodes: Iterable[Node], demand: Units) -> bool:
    """Return whether some node's total covers ``demand``."""
    return any(fits(demand, node.total) for node in nodes)


def nearest_total(nodes: Iterable[Node], demand: Units) -> Units:
    """Return the total of the node that comes nearest to ``demand``: which lacks the smallest shares of it, in sum.

    Of several it is the first one; without nodes, nothing.
    """

    def lack(total: Units) -> float:
        return sum(1.0 - min(1.0, total.get(name, 0) / amount) for name, amount in demand.items() if amount)

    return min((node.total for node in nodes), key=lack, default={})


def explain_waiting(nodes: Iterable[Node], demand: Units) -> str:
    """Return why ``demand`` waits: ``'needs 2 CPU; free now: 0.5 CPU on host a (4 in all)'``."""
    listed = list(nodes)
    if not listed:
        return f"needs {describe(demand)}; no machine has joined yet"
    fitting = [node for node in listed if fits(demand, node.total)]
    if not fitting:
        nearest = describe(nearest_total(listed, demand))
        return f"needs {describe(demand)}; no machine has that much, and the one that comes nearest has {nearest}"
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
