"""A head that was started again knows nothing: tell it what this process has and wants.

The head's tables are in memory for now. Calls go on meanwhile, because they never pass it. The leases that the old
head granted are finished and not renewed; their workers are ended when idle, because no head would account for them.
"""

from __future__ import annotations

from ipyactors.owner import orphans, outbox
from ipyactors.owner.out import Out
from ipyactors.owner.state import OwnerState
from ipyactors.wire.head_messages import AskBorrower, HoldActor, OwnsObjects, RegisterOwner, WatchEvents, WatchOwner


def registration(state: OwnerState, pid: int) -> RegisterOwner:
    """Return what this process tells a head that does not know it."""
    held = {client.actor_id: client.weight for client in state.actors.values() if client.weight}
    leased = tuple(lease.worker_id for lease in state.leases.leases.values())
    return RegisterOwner(state.address, state.is_driver, pid, held, leased, state.node_id)


def on_head_restarted(state: OwnerState, out: Out, again: RegisterOwner) -> None:
    """Register again, repeat wishes and unanswered requests, let go of the old leases."""
    out.to_head(again)
    if state.is_driver:
        out.to_head(WatchEvents())
    elif state.objects.exported:
        out.to_head(OwnsObjects())
    for lease in state.leases.leases.values():
        lease.reclaimed = lease.is_orphan = True
    for shape in state.leases.by_id.values():
        shape.wished = 0
        state.leases.touched.add(shape)
    for owner_id in state.watched:
        out.to_head(WatchOwner(owner_id))
    for lender_id, borrower_id in state.objects.unsettled:
        out.to_head(AskBorrower(borrower_id, lender_id, state.address))
    orphans.repeat_claims(state, out)
    for search in state.searches.values():
        out.to_head(search.request)
    for client in state.actors.values():
        # The old head may have died before it acted on a kill; a worker that does leave ignores what it is sent.
        client.exiting = ""
        state.ready_actors.add(client)
        if client.creation is not None and client.creation.request_id not in state.requests:
            out.to_head(client.creation)
    for actor_id in state.constructors.keys() - state.actors.keys():
        # How it is was told to nobody here if the old head died first. Who holds it is told, and then lets go of it.
        outbox.client_of(state, actor_id).weight = 1
        out.to_head(HoldActor(actor_id))
    for request in state.requests.values():
        out.to_head(request)
