"""The session explains itself: nodes, resources, actors, events, and why something waits."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from ipyactors.api import runtime
from ipyactors.api.actor_table import ActorTable
from ipyactors.api.event_files import compressed
from ipyactors.api.handles import ActorHandle, client_of, handle_of
from ipyactors.api.reprs import Rows, nodes_as_table
from ipyactors.api.trace import trace_of
from ipyactors.ground import quantities
from ipyactors.ground.exceptions import ActorNotFoundError
from ipyactors.ground.files import write_atomically
from ipyactors.ground.quantities import Units, from_units
from ipyactors.owner.refs import ObjectRef, ObjectRefGenerator
from ipyactors.wire.deaths import describe_death
from ipyactors.wire.events import Event
from ipyactors.wire.specs import ActorState, ActorStatus

#: So many names of actors are in an error at most.
_NAMES_SHOWN = 10


def nodes() -> list[dict[str, Any]]:
    """Return one dict per machine, those that were lost lately included, with keys that Ray has and some more.

    A cell shows the list as a table.

    ``Alive`` is False for a machine that was lost; it offers nothing. ``NodeManagerAddress`` and ``AgentPid`` are those
    of its agent. ``Leaving``: nothing is started on it any more. ``ObjectStoreMemory`` is in bytes.
    """
    machines = [
        {
            "NodeID": node.node_id.hex(),
            "Alive": node.is_alive,
            "NodeManagerHostname": node.hostname,
            "NodeManagerAddress": node.address,
            "AgentPid": node.pid,
            "Resources": from_units(node.total),
            "Available": from_units(node.available),
            "Workers": node.workers,
            "Leaving": node.is_leaving,
            "ObjectStoreMemory": node.store_limit_bytes,
        }
        for node in runtime.engine().describe_cluster().nodes
    ]
    return Rows(machines, nodes_as_table)


def cluster_resources() -> dict[str, float]:
    """Return the sum of what the live machines offer; memory in bytes."""
    return _sum([node.total for node in runtime.engine().describe_cluster().nodes])


def available_resources() -> dict[str, float]:
    """Return the sum of what is free on the live machines at this moment."""
    return _sum([node.available for node in runtime.engine().describe_cluster().nodes])


def _sum(amounts: list[Units]) -> dict[str, float]:
    total: Units = {}
    for one in amounts:
        quantities.add(total, one)
    return from_units(total)


def explain(subject: ObjectRef | ObjectRefGenerator | ActorHandle | str) -> str:
    """Return in words what a reference, a generator or an actor is doing or waiting for, and why.

    An actor is given by its handle, or by its name in this process's namespace. Raises TypeError for other things,
    ActorNotFoundError for a name that no live actor has, SessionError without a session.
    """
    __tracebackhide__ = True
    if isinstance(subject, (ActorHandle, str)):
        handle = handle_of(subject, "explain")
        return runtime.engine_for("explain").explain(handle._ipyactors_client)
    if not isinstance(subject, (ObjectRef, ObjectRefGenerator)):
        raise TypeError(f"explain takes a reference, or an actor's handle or name, not {type(subject).__name__}.")
    return runtime.engine_for("explain").explain(subject)


# -- actors ----------------------------------------------------------------------------------------------------


def list_actors() -> list[dict[str, Any]]:
    """Return one dict per actor that the head knows, dead ones included; a cell shows them as a table.

    ``durable`` is the level of a durable actor, ``"process"`` or ``"host"``, and empty of any other.

    Raises SessionError without a session, as all that looks at what has been done in one: none is started for that.
    """
    __tracebackhide__ = True
    engine = runtime.engine_for("list_actors")
    found = {one.actor_id.hex(): one for one in engine.describe_cluster().actors}

    def as_table(rows: Sequence[dict[str, Any]]) -> dict[str, str]:
        return ActorTable([found[row["actor_id"]] for row in rows], engine.namespace)._repr_mimebundle_()

    return Rows(map(_row, found.values()), as_table)


def list_named_actors(all_namespaces: bool = False) -> list[Any]:
    """Return the names of the live actors of this namespace, or dicts of name and namespace for all namespaces.

    Raises SessionError without a session.
    """
    __tracebackhide__ = True
    engine = runtime.engine_for("list_named_actors")
    live = [one for one in engine.describe_cluster().actors if one.name and one.state is not ActorState.DEAD]
    if all_namespaces:
        return [{"name": one.name, "namespace": one.namespace} for one in live]
    return [one.name for one in live if one.namespace == engine.namespace]


def _row(status: ActorStatus) -> dict[str, Any]:
    return {
        "actor_id": status.actor_id.hex(),
        "class_name": status.class_name,
        "name": status.name,
        "namespace": status.namespace,
        "state": status.state.value,
        "incarnation": status.incarnation,
        "restarts_left": status.restarts_left,
        "detached": status.detached,
        "durable": status.level,
        "node_id": status.node_id.hex(),
        "pid": status.pid,
        "waiting_for": status.waiting_for,
        "busy_with": status.busy_with,
        "death": describe_death(status.death) if status.death is not None else "",
    }


# -- events ----------------------------------------------------------------------------------------------------


def events() -> list[Event]:
    """Return what has happened, oldest first: everything in a driver, in a worker what its own calls did.

    Raises SessionError without a session: events go with theirs.
    """
    __tracebackhide__ = True
    return runtime.engine_for("events").events()


def on_event(callback: Callable[[Event], None]) -> Callable[[], None]:
    """Call ``callback`` at each event; return a function that ends this.

    It is called on the thread that reads for the session at that moment, which may be one that waits for results.
    So the callback must be quick and must not wait for results itself.
    """
    if not callable(callback):
        raise TypeError(f"on_event takes a function of one event, not {type(callback).__name__}.")
    return runtime.engine().subscribe(callback)


def timeline(
    filename: str | os.PathLike[str] | None = None, *, actor: ActorHandle | str | None = None
) -> list[dict[str, Any]]:
    """Return what has happened as Chrome trace events, for ui.perfetto.dev or ``chrome://tracing``.

    A process is a machine, a thread an actor or a worker; where an actor ran calls side by side it has several. A slice
    is an attempt of a call, or the time from a death until the actor was back; its arguments say incarnation, attempt
    and outcome. Deaths, checkpoints and injections are instants, a retry is an arrow from an attempt to the next one,
    live actors and retries are counted. Times are whole microseconds since the epoch.

    With ``filename`` they are written there too, as JSON, compressed if the name ends in ``.gz``, as a whole or not at
    all. With ``actor`` (a handle, a name, or the beginning of an id) only that actor and its calls are in it.

    Raises SessionError without a session, ActorNotFoundError if nothing is known of ``actor``, and OSError if the file
    cannot be written.
    """
    __tracebackhide__ = True
    recorded = runtime.engine_for("timeline").events()
    traced = trace_of(recorded if actor is None else events_of(recorded, actor))
    if filename is not None:
        path = pathlib.Path(filename)
        write_atomically(path, compressed(json.dumps(traced).encode(), path))
    return traced


def events_of(recorded: Sequence[Event], actor: ActorHandle | str) -> list[Event]:
    """Return the events of one actor and its calls. ``actor`` is a handle, a name, or the beginning of an id.

    Where several had the name, one after the other, they are all meant. Raises ActorNotFoundError if it is in no event.
    """
    __tracebackhide__ = True
    names = {one.actor_id: one.name for one in recorded if one.kind.value.startswith("actor_") and one.name}
    if isinstance(actor, ActorHandle):
        wanted = {client_of(actor, "events_of").actor_id}
    elif not isinstance(actor, str):
        raise TypeError(f"actor= takes a handle, a name or the beginning of an id, not {type(actor).__name__}.")
    else:
        wanted = {actor_id for actor_id, name in names.items() if name == actor}
        wanted = wanted or {actor_id for actor_id in names if actor and actor_id.hex().startswith(actor)}
    found = [event for event in recorded if event.actor_id in wanted]
    if not found:
        there = ", ".join(sorted(set(names.values()))[:_NAMES_SHOWN]) or "none"
        raise ActorNotFoundError(
            f"No event tells of an actor {actor!r}: it has no such name and no id that begins so. Nothing was made of "
            f"the events. Actors in them: {there}."
        )
    return found
