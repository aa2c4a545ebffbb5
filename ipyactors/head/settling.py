"""When a head that was started again knows everything again.

Agents register with the workers that live, owners with the counts they hold. For whom to wait is said by those who
know: the agent of the first machine names the machines that have joined (none registers with a head before that agent
knows of it), each agent the workers and drivers that live on its machine. All of them are *awaited*, and each is
watched by somebody who tells the head if it ends instead of coming back.

Until every machine is back, owners' messages wait (see ``reactor.py``): what an owner asks for or speaks of may be on
any of them. When all processes have come back or died too, or at the latest after ``SETTLE_S``, the head has *settled*:
whoever has not come back is taken for gone.
"""

from __future__ import annotations

from ipyactors.ground import ids
from ipyactors.head import claims, durable, faults, handles, leases, members, nodes
from ipyactors.head.out import Out
from ipyactors.head.tables import Owner, Tables, WorkerUse
from ipyactors.wire.events import Event, EventKind
from ipyactors.wire.head_messages import WorkerLost
from ipyactors.wire.specs import Death, LossReason

#: Above every number that a call can have.
_ANY_SEQ = (1 << 63) - 1

#: How long a head that was started again waits, at most, for processes that live and do not register.
SETTLE_S = 10.0


def is_to_settle(tables: Tables, now_s: float) -> bool:
    """Return whether a restarted head has waited for long enough: for everybody, or until its limit."""
    has_all = tables.knows_all_nodes and not tables.awaited
    return not tables.is_settled and (has_all or now_s >= tables.settle_at_s)


def give_up(tables: Tables, out: Out, now_s: float, wall_s: float) -> None:
    """Wait no longer for machines, if it has been long enough: owners are to be heard before the head settles."""
    if tables.awaited_nodes and now_s >= tables.settle_at_s:
        tables.given_up = sorted(tables.awaited_nodes)
        for node_id in tables.given_up:
            nodes.on_agent_gone(tables, out, node_id, now_s, wall_s)


def settle(tables: Tables, out: Out, wall_s: float) -> None:
    """Stop waiting, as a restarted head: whoever has not come back is gone, and what hung on it ends."""
    detail = _missing(tables)
    tables.is_settled = True
    tables.needs_placing = True
    injected = tables.faults.killed_head
    tables.events.add(
        Event(EventKind.HEAD_RESTARTED, wall_s, incarnation=tables.head_epoch, detail=detail, injected=injected)
    )
    tables.awaited.clear()
    absent = [owner_id for owner_id, owner in tables.owners.items() if not owner.is_registered]
    for owner_id in absent:
        if owner_id not in tables.workers:
            members.on_process_gone(tables, out, owner_id, wall_s)
    durable.adopt_all(tables)
    for actor in tables.live_actors():
        members.end_if_unwanted(tables, out, actor, wall_s)
    for actor_id, early in tables.early_holds.items():
        for owner_id in early:
            out.to_owner(owner_id, handles.no_such_actor(actor_id))
    tables.early_holds.clear()
    leased = {worker_id for owner in tables.owners.values() for worker_id in owner.leased_before}
    for worker in list(tables.workers.values()):
        if worker.use is WorkerUse.ADOPTED and worker.worker_id not in leased:
            leases.kill_unused(tables, out, worker, "it had been leased to nobody when the control plane ended")
    for owner in tables.owners.values():
        for worker_id in owner.leased_before:
            if worker_id not in tables.workers and worker_id not in tables.gone:
                out.to_owner(owner.owner_id, WorkerLost(worker_id, _unseen(worker_id, owner)))
        owner.leased_before = ()
    tables.unheard.clear()
    claims.on_settled(tables, out)
    faults.on_settled(tables, out, wall_s)


def _missing(tables: Tables) -> str:
    """Return for whom the head has waited in vain."""
    who = []
    if tables.given_up:
        who.append(f"machine {', '.join(map(ids.short, tables.given_up))}")
    if tables.awaited:
        who.append(f"{len(tables.awaited)} processes")
    return f"{' and '.join(who)} did not come back within {SETTLE_S:g} s" if who else ""


def _unseen(worker_id: bytes, owner: Owner) -> Death:
    """Return the report on a worker of which no agent knows: whatever the owner had given it may have begun."""
    detail = "no machine knows of it since the control plane was started again"
    return Death(LossReason.EXITED, detail=detail, worker_id=worker_id, started={owner.owner_id: _ANY_SEQ})
