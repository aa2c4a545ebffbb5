"""What is always true of the tables between two messages; tests check it after each."""

from __future__ import annotations

from ipyactors.ground.quantities import Units, add
from ipyactors.head.actors import is_held
from ipyactors.head.machine import Node
from ipyactors.head.tables import Actor, Tables, WorkerUse
from ipyactors.wire.specs import ActorState


def check_invariants(tables: Tables) -> None:
    """Raise AssertionError, naming the thing, if the tables contradict themselves."""
    for node in tables.nodes.values():
        assert node.node_id not in tables.gone, f"{node.hostname} is lost and still there"
        assert not (node.is_leaving and node.unbound), f"leases wait for a worker on {node.hostname}, which is to leave"
        _check_resources(tables, node)
        _check_workers(tables, node)
    _check_leases(tables)
    _check_owners(tables)
    for actor in tables.actors.values():
        _check_actor(tables, actor)
    for key, actor_id in tables.names.items():
        assert not tables.actors[actor_id].is_ended, f"the name {key} leads to an actor that is dead or dying"
    for worker in tables.workers.values():
        assert worker.worker_id in tables.nodes[worker.node_id].workers, f"{worker} is unknown to its node"
    if tables.is_settled:
        assert not tables.early_holds, "counts still wait for actors, although the head has settled"
        assert not tables.awaited_nodes, "machines are awaited, although the head has settled"
    for search in tables.searches.values():
        assert search.waiting, f"{search} is complete and not answered"
        assert search.waiting <= tables.nodes.keys(), f"{search} waits for a machine that is not there"


def _check_resources(tables: Tables, node: Node) -> None:
    """Nothing leaks: what is available and what is held make the total, and everything held has a holder."""
    accounted: Units = dict(node.available)
    for claim in node.claims.values():
        add(accounted, claim.held)
    names = accounted.keys() | node.total.keys()
    wrong = {name for name in names if accounted.get(name, 0) != node.total.get(name, 0)}
    assert not wrong, f"{wrong} of {node.hostname}: {accounted} accounted for, {node.total} in all"
    users = {lease.claim.claim_id for lease in tables.leases.values() if lease.claim.node_id == node.node_id}
    for worker_id in node.workers:
        worker = tables.workers[worker_id]
        if worker.claim is not None:
            users.add(worker.claim.claim_id)
    assert users == node.claims.keys(), f"claims {node.claims.keys() ^ users} of {node.hostname} are nobody's, or gone"
    full = dict(node.available)
    for claim in node.claims.values():
        if claim.is_lent:
            for name, amount in claim.lendable.items():
                full[name] = full.get(name, 0) - amount
    assert all(amount <= node.total.get(name, 0) for name, amount in full.items()), f"{node.hostname} has too much"


def _check_workers(tables: Tables, node: Node) -> None:
    workers = [tables.workers[worker_id] for worker_id in node.workers]
    idle = {worker.worker_id for worker in workers if worker.use is WorkerUse.IDLE and not worker.is_ending}
    assert idle == node.idle.keys(), f"idle workers of {node.hostname}: {idle} against {node.idle.keys()}"
    starting = {worker.worker_id for worker in workers if worker.use is WorkerUse.STARTING}
    assert starting == node.starting, f"starting workers of {node.hostname}: {starting} against {node.starting}"
    assert not (node.idle and node.unbound), f"leases wait on {node.hostname} although workers are idle"
    for worker in workers:
        is_claiming = worker.claim is not None
        assert is_claiming == (worker.use in (WorkerUse.LEASED, WorkerUse.ACTOR)), f"{worker}: claim and use differ"


def _check_leases(tables: Tables) -> None:
    """Each lease has a live worker that knows of it, or waits for one; each is counted in its owner's wish."""
    unbound: dict[tuple[bytes, int], int] = {}
    for lease in tables.leases.values():
        if lease.worker_id:
            worker = tables.workers[lease.worker_id]
            assert worker.lease_id == lease.lease_id, f"{worker} does not know of {lease}"
            assert worker.claim is lease.claim, f"{worker} and {lease} hold different resources"
        else:
            assert lease.lease_id in tables.nodes[lease.claim.node_id].unbound, f"{lease} waits nowhere"
            key = (lease.owner_id, lease.shape_id)
            unbound[key] = unbound.get(key, 0) + 1
        if not lease.is_orphaned:
            assert lease.lease_id in tables.owners[lease.owner_id].leases, f"{lease} is unknown to its owner"
    wished = {key: wish.unbound for key, wish in tables.wishes.items() if wish.unbound}
    assert wished == unbound, f"leases that wait for a worker: {unbound}; wishes say {wished}"
    for wish in tables.wishes.values():
        assert 0 <= wish.unbound <= wish.count, f"{wish}"
        assert wish.shape_id in tables.owners[wish.owner_id].shapes, f"{wish} is unknown to its owner"


def _check_owners(tables: Tables) -> None:
    claimed = {(object_id, owner.owner_id) for owner in tables.owners.values() for object_id in owner.claimed}
    listed = {(object_id, owner_id) for object_id, claimants in tables.claims.items() for owner_id in claimants}
    assert claimed == listed, "objects are claimed by those who do not know it, or the other way round"
    assert all(tables.claims.values()), "an object is claimed by nobody, and kept"
    for waiting in tables.claimings.values():
        assert waiting is None or (waiting and waiting <= tables.owners.keys()), "an answer is awaited from nobody"
    for owner in tables.owners.values():
        assert owner.owner_id not in tables.gone, f"{owner} is gone and still there"
        for lease_id in owner.leases:
            assert tables.leases[lease_id].owner_id == owner.owner_id, f"{owner} has the lease of another"
        for actor_id in owner.holding:
            assert owner.owner_id in tables.actors[actor_id].holders, f"{owner} is not among the holders it claims"
        for actor_id in owner.owned:
            actor = tables.actors[actor_id]
            assert actor.owner_id == owner.owner_id, f"{owner} does not own {actor_id!r}"
            assert actor.state is not ActorState.DEAD, f"{owner} owns a dead actor"


def _check_actor(tables: Tables, actor: Actor) -> None:
    for owner_id, count in actor.holders.items():
        assert count != 0, f"{owner_id!r} is listed as a holder of {actor.actor_id!r} and holds none"
        assert actor.actor_id in tables.owners[owner_id].holding, f"holder {owner_id!r} does not know that it is one"
    if actor.worker_id:
        assert tables.workers[actor.worker_id].actor_id == actor.actor_id, f"{actor.actor_id!r} and its worker disagree"
    is_pending = actor.actor_id in tables.pending
    is_dead = actor.state is ActorState.DEAD
    is_one = is_pending + bool(actor.worker_id) + is_dead == 1
    assert is_one, f"{actor.actor_id!r} waits: {is_pending}, has a process: {actor.worker_id!r}, is dead: {is_dead}"
    if actor.state in (ActorState.STARTING, ActorState.ALIVE):
        assert actor.worker_id, f"{actor.actor_id!r} is {actor.state} without a process"
    assert (actor.actor_id in tables.dead) == is_dead, f"{actor.actor_id!r}: {actor.state}, but buried otherwise"
    if tables.is_settled and not actor.is_ended and not actor.spec.detached:
        assert is_held(tables, actor), f"{actor.actor_id!r} lives on without a handle"
        has_owner = actor.owner_id in tables.owners or any(
            actor.actor_id in other.created for other in tables.actors.values()
        )
        assert has_owner, f"{actor.actor_id!r} lives on without its owner"
