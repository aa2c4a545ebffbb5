"""The cluster as people see it: nodes, actors, and what waits and why."""

from __future__ import annotations

import msgspec

from ipyactors.head import actors, placement
from ipyactors.head.leases import is_wanting
from ipyactors.head.machine import Node
from ipyactors.head.out import Out
from ipyactors.head.tables import Actor, Owner, Tables
from ipyactors.wire.head_messages import ClusterReply, DescribeCluster
from ipyactors.wire.specs import ActorStatus, NodeStatus, WaitingDemand


def on_describe_cluster(tables: Tables, out: Out, owner: Owner, message: DescribeCluster, wall_s: float) -> None:
    """Answer with the cluster at this moment; machines and actors that were lost lately are in it."""
    reply = ClusterReply(
        message.request_id,
        (*map(node_status, tables.nodes.values()), *(lost.status for lost in tables.lost_nodes.values())),
        tuple(_actor_status(tables, actor, wall_s) for actor in tables.actors.values()),
        tuple(waiting(tables)),
    )
    out.to_owner(owner.owner_id, reply)


def _actor_status(tables: Tables, actor: Actor, wall_s: float) -> ActorStatus:
    """Return an actor as it is now; a frozen process cannot say that it is."""
    status = actors.status_of(tables, actor)
    words = tables.faults.frozen_words(actor.worker_id, wall_s)
    return msgspec.structs.replace(status, busy_with=words) if words else status


def node_status(node: Node) -> NodeStatus:
    """Return a machine as it is now. What is available shows as 0 while blocked workers resume and overdraw it."""
    available = {name: max(0, amount) for name, amount in node.available.items()}
    return NodeStatus(
        node.node_id,
        node.hostname,
        dict(node.total),
        available,
        workers=len(node.workers),
        address=node.address,
        pid=node.pid,
        is_leaving=node.is_leaving,
        store_limit_bytes=node.store_limit_bytes,
    )


def waiting(tables: Tables) -> list[WaitingDemand]:
    """Return all that waits for resources or for a worker to start, with the reason in words."""
    nodes = tables.open_nodes()
    found = []
    for wish in tables.wishes.values():
        if is_wanting(wish):
            reason = placement.explain_waiting(nodes, wish.demand)
            found.append(WaitingDemand(wish.owner_id, wish.demand, wish.count - wish.unbound, wish.name, reason))
        if wish.unbound:
            reason = "a worker is being started for it"
            if problems := [node.start_problem for node in nodes if node.start_problem and node.unbound]:
                reason = f"workers do not start: the last {problems[0]}"
            found.append(WaitingDemand(wish.owner_id, wish.demand, wish.unbound, wish.name, reason))
    for actor_id in tables.pending:
        spec = tables.actors[actor_id].spec
        reason = placement.explain_waiting(nodes, spec.demand)
        name = spec.name or spec.class_name
        found.append(WaitingDemand(spec.owner_id, spec.demand, 1, name, reason, actor_id))
    return found
