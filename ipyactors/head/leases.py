"""Task workers: wishes for them, leases of them, and the idle ones between two leases.

A lease is decided as soon as a node has room, and its resources are held from that moment; which worker serves it
is left open until one is free. So a worker that comes back serves whoever has waited longest on its node, and
whoever had a new process started for it gets that one when it is up, or another that is free sooner.
"""

from __future__ import annotations

from ipyactors.ground.quantities import Units
from ipyactors.head import placement
from ipyactors.head.machine import Node
from ipyactors.head.out import Out
from ipyactors.head.tables import Lease, Owner, Tables, Wish, Worker, WorkerUse
from ipyactors.wire.head_messages import (
    DropWorker,
    KillLeasedWorker,
    LeaseGranted,
    LeaseLost,
    OwnsObjects,
    ReturnLease,
    ShapeUnplaceable,
    WantLeases,
)
from ipyactors.wire.node_messages import KillWorker, KillWorkerAt, StartWorker
from ipyactors.wire.specs import Death

#: An idle task worker is ended after this long.
IDLE_S = 60.0

#: At most so many task workers are being started on one node; a wish for a thousand is served in portions.
MAX_STARTING = 16

#: After the n-th failure in a row to start a worker, the node is left alone for this long, doubled n - 1 times.
_START_PAUSE_S = 0.05
_START_PAUSE_AT_MOST_S = 5.0


# -- what owners say -------------------------------------------------------------------------------------------


def on_want_leases(tables: Tables, owner: Owner, message: WantLeases) -> None:
    """Replace the owner's wish of this shape; leases that were decided for it and are too many now are undone."""
    key = (owner.owner_id, message.shape_id)
    if message.count <= 0:
        withdraw_wish(tables, key)
        return
    wish = tables.wishes.get(key)
    if wish is None:
        wish = Wish(owner.owner_id, message.shape_id, message.demand, 0, message.name, tables.next_ticket())
        tables.wishes[key] = wish
        owner.shapes.add(message.shape_id)
    wish.count, wish.prefer, wish.waits = message.count, message.prefer, message.waits
    _undo_unbound(tables, wish, wish.count)
    tables.needs_placing = True


def on_return_lease(tables: Tables, out: Out, owner: Owner, message: ReturnLease, now_s: float) -> None:
    """Take the worker back. A lease that is not the owner's is ignored: its worker died, or the head restarted."""
    lease = tables.leases.get(message.lease_id)
    if lease is None or lease.owner_id != owner.owner_id or not lease.worker_id:
        return
    worker = tables.workers[lease.worker_id]
    if worker.is_ending:
        return
    drop_lease(tables, lease)
    worker.lease_id, worker.claim = 0, None
    worker.leased_before.add(owner.owner_id)
    worker.use = WorkerUse.IDLE
    if worker.is_used_up:
        kill_unused(tables, out, worker, "a task on it was cancelled by force")
    if not worker.is_ending:
        offer_worker(tables, out, worker, now_s)


def on_kill_leased_worker(tables: Tables, out: Out, owner: Owner, message: KillLeasedWorker) -> None:
    """Have the agent end the worker if it is at that call; ``LeaseLost`` then follows with its death report.

    That the agent has spared it is never told, so the next owner could be hit by what was meant for this one: the
    worker is used up.
    """
    worker = tables.workers.get(message.worker_id)
    if worker is None or worker.is_ending:
        return
    lease = tables.leases.get(worker.lease_id)
    if worker.use is WorkerUse.ADOPTED or (lease is not None and lease.owner_id == owner.owner_id):
        worker.is_used_up = True
        word = KillWorkerAt(worker.worker_id, owner.owner_id, message.seq, message.detail)
        out.to_node(worker.node_id, word)


def on_drop_worker(tables: Tables, out: Out, message: DropWorker) -> None:
    """End a worker that was leased by the previous head; its lease cannot be returned, since nobody knows it."""
    worker = tables.workers.get(message.worker_id)
    if worker is not None and worker.use is WorkerUse.ADOPTED:
        kill_worker(tables, out, worker, "no longer needed")


def on_owns_objects(tables: Tables, owner: Owner, message: OwnsObjects) -> None:
    """Spare the worker when it is idle, while values that others may ask for would be lost with it."""
    owner.owns_objects = message.owns
    worker = tables.workers.get(owner.owner_id)
    if worker is not None:
        worker.owns_objects = message.owns


def on_worker_blocked(tables: Tables, owner: Owner) -> None:
    """Lend the CPUs of the worker whose session says so; anything else that says so has none to lend."""
    worker = tables.workers.get(owner.owner_id)
    if worker is not None and worker.claim is not None:
        tables.lend(worker.claim)


def on_worker_unblocked(tables: Tables, owner: Owner) -> None:
    """Take the CPUs back at once, even if that overdraws the node: the code runs already."""
    worker = tables.workers.get(owner.owner_id)
    if worker is not None and worker.claim is not None:
        tables.take_back(worker.claim)


# -- decisions ---------------------------------------------------------------------------------------------------


def is_wanting(wish: Wish) -> bool:
    """Return whether leases remain to be decided for the wish."""
    return wish.count > wish.unbound


def refuse_wish(tables: Tables, out: Out, wish: Wish) -> None:
    """Tell the owner that no node could ever hold this, and drop the wish."""
    existing = placement.nearest_total(tables.open_nodes(), wish.demand)
    out.to_owner(wish.owner_id, ShapeUnplaceable(wish.shape_id, wish.demand, existing))
    withdraw_wish(tables, (wish.owner_id, wish.shape_id))


def can_serve(node: Node, now_s: float) -> bool:
    """Return whether a lease decided now for ``node`` would get a worker: an idle one, or one that may be started."""
    return bool(node.idle) or (len(node.unbound) < MAX_STARTING and now_s >= node.no_start_before_s)


def grant_or_start(tables: Tables, out: Out, wish: Wish, node: Node, now_s: float) -> None:
    """Decide one lease of ``wish`` on ``node``, which has room; grant it now or when a worker is up."""
    claim = tables.claim(node, wish.demand)
    lease = Lease(tables.next_lease_id(), wish.owner_id, wish.shape_id, claim)
    tables.leases[lease.lease_id] = lease
    tables.owners[wish.owner_id].leases.add(lease.lease_id)
    node.unbound[lease.lease_id] = None
    wish.unbound += 1
    wish.ticket = tables.next_ticket()
    if node.idle:
        worker_id, _since_s = node.idle.popitem()  # the one used last has the warmest memory
        _bind(tables, out, node, tables.workers[worker_id], now_s)
    else:
        start_missing(tables, out, node, now_s)


def start_missing(tables: Tables, out: Out, node: Node, now_s: float) -> None:
    """Start as many workers as there are leases waiting on ``node`` for one, unless starting fails there."""
    if now_s < node.no_start_before_s:
        look_again_at(tables, node.no_start_before_s if node.unbound else None)
        return
    while len(node.starting) < len(node.unbound):
        worker = Worker(tables.new_worker_id(), node.node_id, WorkerUse.STARTING)
        add_worker(tables, node, worker)
        node.starting.add(worker.worker_id)
        out.to_node(node.node_id, StartWorker(worker.worker_id))


def offer_worker(tables: Tables, out: Out, worker: Worker, now_s: float) -> None:
    """Give a free task worker to the first who waits on its node, else to the idle pool."""
    node = tables.nodes[worker.node_id]
    worker.use = WorkerUse.IDLE
    if node.unbound:
        _bind(tables, out, node, worker, now_s)
        return
    node.idle[worker.worker_id] = now_s
    tables.needs_placing = True


def trim_idle(tables: Tables, out: Out, now_s: float) -> None:
    """End the workers that have been idle for too long, and of too many idle ones those that were so longest.

    Its own leases, wishes and actors end with a worker, so one that has any (a task on it started others and
    returned) is kept until they are done. On a machine that is to leave, all the others are ended.
    """
    for node in tables.nodes.values():
        too_many = len(node.idle) - node.idle_limit
        for worker_id, since_s in list(node.idle.items()):
            is_surplus = node.is_leaving or too_many > 0 or now_s - since_s >= IDLE_S
            is_spared = tables.workers[worker_id].owns_objects and not node.is_leaving
            if is_surplus and not is_spared and not _has_own_work(tables, worker_id):
                too_many -= 1
                kill_worker(tables, out, tables.workers[worker_id], "idle, and not needed")


def on_worker_up(tables: Tables, out: Out, worker: Worker, now_s: float) -> None:
    """Learn that a started task worker has registered: it is free."""
    node = tables.nodes[worker.node_id]
    node.starting.discard(worker.worker_id)
    node.start_failures, node.no_start_before_s, node.start_problem = 0, 0.0, ""
    tables.needs_placing = True
    offer_worker(tables, out, worker, now_s)


def on_start_failed(tables: Tables, node: Node, problem: str, now_s: float) -> None:
    """Leave the node alone for a moment after a task worker died before it was up; longer each time in a row."""
    pause_s = min(_START_PAUSE_S * 2.0 ** min(node.start_failures, 10), _START_PAUSE_AT_MOST_S)
    node.start_failures += 1
    node.no_start_before_s = now_s + pause_s
    node.start_problem = problem
    tables.needs_placing = True


def lose_lease(tables: Tables, out: Out, worker: Worker, death: Death) -> None:
    """End the lease of a worker that is dead, and tell the holder."""
    lease = tables.leases.get(worker.lease_id)
    if lease is None:
        return
    drop_lease(tables, lease)
    if not lease.is_orphaned:
        out.to_owner(lease.owner_id, LeaseLost(lease.lease_id, worker.worker_id, death))


def end_leases_of(tables: Tables, out: Out, owner: Owner) -> None:
    """Drop the wishes of an owner that is gone, and kill the workers it had leased: they may run orphaned work."""
    for shape_id in list(owner.shapes):
        withdraw_wish(tables, (owner.owner_id, shape_id))
    for lease_id in list(owner.leases):
        lease = tables.leases[lease_id]
        lease.is_orphaned = True
        owner.leases.discard(lease_id)
        kill_worker(tables, out, tables.workers[lease.worker_id], "the process that had leased it is gone")


# -- small steps -------------------------------------------------------------------------------------------------


def add_worker(tables: Tables, node: Node, worker: Worker) -> None:
    """Enter a worker in the tables."""
    tables.workers[worker.worker_id] = worker
    node.workers.add(worker.worker_id)


def kill_worker(tables: Tables, out: Out, worker: Worker, detail: str, *, final: bool = False) -> None:
    """Have the agent end the worker, once; it keeps its resources until its death is reported.

    With ``final``, the actor that it hosts is not to return, whichever head hears of its death.
    """
    if worker.is_ending:
        return
    worker.is_ending = True
    node = tables.nodes.get(worker.node_id)
    if node is not None:
        node.idle.pop(worker.worker_id, None)
        out.to_node(worker.node_id, KillWorker(worker.worker_id, intended=True, detail=detail, final=final))


def kill_unused(tables: Tables, out: Out, worker: Worker, detail: str) -> None:
    """End a worker that nobody uses, unless it has leases, wishes or actors of its own: those would end with it."""
    if not _has_own_work(tables, worker.worker_id):
        kill_worker(tables, out, worker, detail)


def drop_lease(tables: Tables, lease: Lease) -> None:
    """Forget a lease and give back its resources."""
    tables.release(lease.claim)
    del tables.leases[lease.lease_id]
    node = tables.nodes.get(lease.claim.node_id)
    if node is not None:
        node.unbound.pop(lease.lease_id, None)
    owner = tables.owners.get(lease.owner_id)
    if owner is not None:
        owner.leases.discard(lease.lease_id)


def withdraw_wish(tables: Tables, key: tuple[bytes, int]) -> None:
    """Forget a wish and undo what was decided for it and not granted yet; harmless if there is none."""
    wish = tables.wishes.pop(key, None)
    if wish is not None:
        _undo_unbound(tables, wish, 0)
        tables.owners[wish.owner_id].shapes.discard(wish.shape_id)


def undo_unbound_on(tables: Tables, node: Node) -> None:
    """Undo the leases that were decided for ``node`` and wait for a worker there; they are decided anew."""
    for lease_id in list(node.unbound):
        lease = tables.leases[lease_id]
        drop_lease(tables, lease)
        tables.wishes[lease.owner_id, lease.shape_id].unbound -= 1
    tables.needs_placing = True


def look_again_at(tables: Tables, at_s: float | None) -> None:
    """Have the waiting looked at again at ``at_s`` (monotonic), even if nothing happens until then."""
    if at_s is not None and (tables.look_again_s is None or at_s < tables.look_again_s):
        tables.look_again_s = at_s


def coming_back(tables: Tables, node: Node) -> Units:
    """Return what is held on ``node`` by those who were told to give it back, or to die."""
    coming: Units = {}
    for worker_id in node.workers:
        worker = tables.workers[worker_id]
        lease = tables.leases.get(worker.lease_id)
        if worker.claim is not None and (worker.is_ending or (lease is not None and lease.is_reclaimed)):
            for name, amount in worker.claim.held.items():
                coming[name] = coming.get(name, 0) + amount
    return coming


def _has_own_work(tables: Tables, worker_id: bytes) -> bool:
    owner = tables.owners.get(worker_id)
    return owner is not None and bool(owner.leases or owner.shapes or owner.owned)


def _bind(tables: Tables, out: Out, node: Node, worker: Worker, now_s: float) -> None:
    """Serve the first lease that waits on ``node`` with ``worker``."""
    lease_id = next(iter(node.unbound))
    del node.unbound[lease_id]
    lease = tables.leases[lease_id]
    lease.worker_id, lease.granted_s = worker.worker_id, now_s
    worker.use, worker.lease_id, worker.claim = WorkerUse.LEASED, lease_id, lease.claim
    wish = tables.wishes[lease.owner_id, lease.shape_id]
    wish.unbound -= 1
    wish.count -= 1
    if wish.count == 0:
        withdraw_wish(tables, (wish.owner_id, wish.shape_id))
    granted = LeaseGranted(lease_id, lease.shape_id, worker.worker_id, worker.address, node.node_id)
    out.to_owner(lease.owner_id, granted)


def _undo_unbound(tables: Tables, wish: Wish, keep: int) -> None:
    """Undo the newest decided leases of ``wish`` until ``keep`` of them wait for a worker."""
    if wish.unbound <= keep:
        return
    owner = tables.owners[wish.owner_id]
    for lease_id in sorted(owner.leases, reverse=True):
        lease = tables.leases[lease_id]
        if lease.shape_id == wish.shape_id and not lease.worker_id:
            drop_lease(tables, lease)
            wish.unbound -= 1
            if wish.unbound <= keep:
                return
