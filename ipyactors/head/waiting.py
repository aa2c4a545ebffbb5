"""The line of all that waits for resources: wishes for task workers, and actors that need a process.

Served by ticket, lowest first. Three rules keep it fair:

* A wish that gets one lease goes to the end of the line, so owners take turns.
* Who cannot be served, but could if leases were returned, has room *reserved* on one node: later demands cannot take
  what comes free there, or a demand for two CPUs would never see both free at once. Nothing is reserved against
  resources that no lease can give back (long-lived actors hold them): that would stop everybody for one.
* Leases are asked back for it, longest held first, if they belong to somebody who has clearly more: at least one
  when the asker has none, at least two more otherwise. A lease is left alone for its first moments, so that each
  gets some work done even when two owners share one CPU.
"""

from __future__ import annotations

import heapq

from ipyactors.ground.quantities import Units, add, fits
from ipyactors.head import actors, leases, placement
from ipyactors.head.machine import Node
from ipyactors.head.out import Out
from ipyactors.head.tables import Actor, Lease, Tables, Wish
from ipyactors.wire.events import EventKind
from ipyactors.wire.head_messages import ReclaimLease

#: A lease is not asked back before it is this old.
LEAVE_ALONE_S = 0.05

#: Who asks: owner and shape of a wish; None for an actor.
_Group = tuple[bytes, int] | None


def place_waiting(tables: Tables, out: Out, now_s: float, wall_s: float) -> None:
    """Serve the line as far as resources go. Called after every change that may have freed or demanded something.

    It waits for every machine that this head can know of: what seems to have no process may have one there.
    """
    if not tables.knows_all_nodes:
        return
    tables.needs_placing = False
    tables.look_again_s = None
    for node in tables.nodes.values():
        leases.start_missing(tables, out, node, now_s)
    reserved: dict[bytes, Units] = {}
    line: list[tuple[int, Wish | Actor]] = [(wish.ticket, wish) for wish in tables.wishes.values()]
    line += [(actor.ticket, actor) for actor in map(tables.actors.__getitem__, tables.pending)]
    # Tickets differ, but for restarting actors (0): the id of the entry keeps the heap from comparing those.
    heap = [(ticket, index, entry) for index, (ticket, entry) in enumerate(line)]
    heapq.heapify(heap)
    while heap:
        _ticket, index, entry = heapq.heappop(heap)
        if isinstance(entry, Actor):
            _serve_actor(tables, out, entry, reserved, now_s, wall_s)
        elif leases.is_wanting(entry) and _serve_wish(tables, out, entry, reserved, now_s):
            heapq.heappush(heap, (entry.ticket, index, entry))
    leases.trim_idle(tables, out, now_s)


def _serve_wish(tables: Tables, out: Out, wish: Wish, reserved: dict[bytes, Units], now_s: float) -> bool:
    """Decide one lease; return whether it was possible."""
    nodes = tables.open_nodes()
    if not placement.can_ever_fit(nodes, wish.demand):
        if not wish.waits:
            leases.refuse_wish(tables, out, wish)
        return False
    serving = [node for node in nodes if leases.can_serve(node, now_s)]
    node = placement.choose_node(serving, wish.demand, reserved, wish.prefer)
    if node is not None:
        leases.grant_or_start(tables, out, wish, node, now_s)
        return True
    for paused in nodes:
        if paused.no_start_before_s > now_s:
            leases.look_again_at(tables, paused.no_start_before_s)
    if placement.choose_node(nodes, wish.demand, reserved) is None:
        _make_room(tables, out, wish.demand, (wish.owner_id, wish.shape_id), reserved, now_s)
    return False


def _serve_actor(
    tables: Tables, out: Out, actor: Actor, reserved: dict[bytes, Units], now_s: float, wall_s: float
) -> None:
    """Give the actor a process, or tell its holders once that it waits.

    It waits for a machine to join if it has lived, or could have on one that was there; what is new is refused.
    """
    demand = actor.spec.demand
    nodes = tables.open_nodes()
    can_ever_fit = placement.can_ever_fit(nodes, demand)
    actor.was_feasible |= can_ever_fit or actor.incarnation > 0
    if not actor.was_feasible:
        actors.refuse(tables, out, actor, wall_s)
        return
    node = placement.choose_node(nodes, demand, reserved)
    if node is not None:
        actors.start_process(tables, out, actor, node)
        return
    if actor.is_stranded is can_ever_fit:
        actor.is_stranded, actor.is_told = not can_ever_fit, False
        if actor.is_stranded:
            detail = f"waits for a machine: {placement.explain_waiting(nodes, demand)}"
            actors.note(tables, actor, EventKind.ACTOR_STRANDED, wall_s, detail=detail)
    if can_ever_fit:
        _make_room(tables, out, demand, None, reserved, now_s)
    if not actor.is_told:
        actors.tell(tables, out, actor)


def _make_room(
    tables: Tables, out: Out, demand: Units, asker: _Group, reserved: dict[bytes, Units], now_s: float
) -> None:
    """Reserve room on the first node where returned leases would make enough, and ask those leases back."""
    for node in tables.open_nodes():
        if not fits(demand, node.total):
            continue
        promised = placement.spare(node, reserved)
        add(promised, leases.coming_back(tables, node))
        asked = _choose_leases(demand, promised, _reclaimable(tables, node, asker))
        if asked is None:
            continue
        add(reserved.setdefault(node.node_id, {}), demand)
        for lease in asked:
            ripe_s = lease.granted_s + LEAVE_ALONE_S
            if now_s < ripe_s:
                leases.look_again_at(tables, ripe_s)
                continue
            lease.is_reclaimed = True
            out.to_owner(lease.owner_id, ReclaimLease(lease.lease_id))
        return


def _choose_leases(demand: Units, promised: Units, candidates: list[Lease]) -> list[Lease] | None:
    """Return which of ``candidates`` must come back so that ``promised`` covers ``demand``; None if all do not do."""
    left = dict(promised)
    chosen = []
    for lease in candidates:
        held = lease.claim.held
        if any(left.get(name, 0) < amount and held.get(name, 0) > 0 for name, amount in demand.items()):
            chosen.append(lease)
            add(left, held)
    return chosen if fits(demand, left) else None


def _reclaimable(tables: Tables, node: Node, asker: _Group) -> list[Lease]:
    """Return the leases on ``node`` that may be asked back for ``asker``, longest held first."""
    sizes: dict[_Group, int] = {}
    for lease in tables.leases.values():
        if lease.worker_id and not lease.is_reclaimed and not lease.is_orphaned:
            group = (lease.owner_id, lease.shape_id)
            sizes[group] = sizes.get(group, 0) + 1
    own = sizes.pop(asker, 0)
    at_least = own + 2 if own else 1
    found = []
    for worker_id in node.workers:
        worker = tables.workers[worker_id]
        lease_or_none = tables.leases.get(worker.lease_id)
        if lease_or_none is None or worker.is_ending or lease_or_none.is_reclaimed:
            continue
        if sizes.get((lease_or_none.owner_id, lease_or_none.shape_id), 0) >= at_least:
            found.append(lease_or_none)
    return sorted(found, key=lambda lease: (lease.granted_s, lease.lease_id))
