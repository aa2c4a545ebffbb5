"""The census: the head asks everybody what they own, hold and store, and puts the answers together for who asked.

It keeps none of it. Who asks may be anybody that can reach the head, so that a look from outside needs no part in the
session. Who is gone before it has answered is not waited for; who is alive and does not answer within ``ANSWER_S``
(native code holds its interpreter, say) is named as silent.
"""

from __future__ import annotations

from ipyactors.ground import ids
from ipyactors.head.describe import node_status
from ipyactors.head.out import Out
from ipyactors.head.tables import Census, Owner, Tables
from ipyactors.wire.census_messages import (
    CensusReply,
    ObjectsReported,
    ProcessRecord,
    ReportObjects,
    ReportStore,
    StoreReported,
    TakeCensus,
)

#: How long is waited for those who do not answer.
ANSWER_S = 2.0


def on_take_census(tables: Tables, out: Out, asker_id: bytes, message: TakeCensus, now_s: float) -> None:
    """Ask every process and every machine; whoever it was that asked is answered by :func:`answer_complete`.

    Those who have yet to come back to a head that was started again are waited for as well. The asker may be one of
    them: what it had said to the head before reaches this one first.
    """
    number = tables.next_search_id()
    owners = [owner.owner_id for owner in tables.owners.values() if owner.is_registered]
    everybody = {*owners, *tables.awaited, *tables.nodes}
    census = Census(asker_id, message.request_id, now_s + ANSWER_S, message.at_most, everybody, set(everybody))
    tables.censuses[number] = census
    _ask(tables, out, number, census)


def _ask(tables: Tables, out: Out, number: int, census: Census) -> None:
    """Ask those who are there by now, and were not before."""
    for asked_id in list(census.unasked):
        owner = tables.owners.get(asked_id)
        if asked_id in tables.nodes:
            out.to_node(asked_id, ReportStore(number, census.at_most))
        elif owner is not None and owner.is_registered:
            out.to_owner(asked_id, ReportObjects(number, census.at_most))
        else:
            continue
        census.unasked.discard(asked_id)


def on_objects_reported(tables: Tables, owner: Owner, message: ObjectsReported) -> None:
    """Note what a process has; too late is too late."""
    census = tables.censuses.get(message.census_id)
    if census is not None and owner.owner_id in census.waiting:
        census.waiting.discard(owner.owner_id)
        census.objects[owner.owner_id] = message


def on_store_reported(tables: Tables, node_id: bytes, message: StoreReported) -> None:
    """Note what a machine's store has."""
    census = tables.censuses.get(message.census_id)
    if census is not None and node_id in census.waiting:
        census.waiting.discard(node_id)
        census.stores[node_id] = message


def answer_complete(tables: Tables, out: Out, now_s: float) -> float | None:
    """Answer those whose census is complete, or late; return the seconds until the next one is late, if any.

    Part of every turn, so that nobody has to say here that a process or a machine is gone.
    """
    for number, census in list(tables.censuses.items()):
        census.waiting.intersection_update(tables.owners.keys() | tables.nodes.keys() | tables.awaited)
        census.unasked.intersection_update(census.waiting)
        _ask(tables, out, number, census)
        if not census.waiting or now_s >= census.until_s:
            del tables.censuses[number]
            out.to_owner(census.asker_id, _reply(tables, census))
    return min((census.until_s - now_s for census in tables.censuses.values()), default=None)


def _reply(tables: Tables, census: Census) -> CensusReply:
    return CensusReply(
        census.request_id,
        tuple(map(node_status, tables.nodes.values())),
        tuple(_process(tables, owner) for owner in tables.owners.values() if owner.is_registered),
        census.objects,
        census.stores,
        tuple(sorted(census.waiting | tables.awaited)),
    )


def _process(tables: Tables, owner: Owner) -> ProcessRecord:
    worker = tables.workers.get(owner.owner_id)
    actor = tables.actors.get(worker.actor_id) if worker is not None else None
    runs = ""
    if actor is not None:
        name = repr(actor.spec.name) if actor.spec.name else ids.short(actor.actor_id)
        runs = f"{actor.spec.class_name} {name}"
    node_id = worker.node_id if worker is not None else owner.node_id
    return ProcessRecord(owner.owner_id, owner.is_driver, owner.pid, node_id, runs)
