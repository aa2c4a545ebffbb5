"""The session explains itself: nodes, resources, actors, events, and why something waits."""

from __future__ import annotations

import gzip
import json
import os
import pathlib
from collections.abc import Callable
from typing import Any

from ipyactors.api import runtime
from ipyactors.api.handles import ActorHandle, client_of
from ipyactors.ground import quantities
from ipyactors.ground.quantities import Units, from_units
from ipyactors.owner.refs import ObjectRef, ObjectRefGenerator
from ipyactors.wire.deaths import describe_death
from ipyactors.wire.events import Event
from ipyactors.wire.specs import ActorState, ActorStatus

_MICROSECONDS = 1e6


def nodes() -> list[dict[str, Any]]:
    """Return one dict per machine, those that were lost lately included, with keys that Ray has and some more.

    ``Alive`` is False for a machine that was lost; it offers nothing. ``NodeManagerAddress`` and ``AgentPid`` are those
    of its agent. ``Leaving``: nothing is started on it any more. ``ObjectStoreMemory`` is in bytes.
    """
    return [
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


def explain(subject: ObjectRef | ObjectRefGenerator | ActorHandle) -> str:
    """Return in words what a reference, a generator or an actor is doing or waiting for, and why."""
    __tracebackhide__ = True
    if isinstance(subject, ActorHandle):
        return runtime.engine_for("explain").explain(client_of(subject, "explain"))
    if not isinstance(subject, (ObjectRef, ObjectRefGenerator)):
        raise TypeError(f"explain takes a reference or an actor handle, not {type(subject).__name__}.")
    return runtime.engine_for("explain").explain(subject)


# -- actors ----------------------------------------------------------------------------------------------------


def list_actors() -> list[dict[str, Any]]:
    """Return one dict per actor that the head knows, dead ones included; what a table of actors shows.

    ``durable`` is the level of a durable actor, ``"process"`` or ``"host"``, and empty of any other.

    Raises SessionError without a session, as all that looks at what has been done in one: none is started for that.
    """
    __tracebackhide__ = True
    return [_row(status) for status in runtime.engine_for("list_actors").describe_cluster().actors]


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


def timeline(filename: str | os.PathLike[str] | None = None) -> list[dict[str, Any]]:
    """Return the events as Chrome trace events (for Perfetto or ``chrome://tracing``); times in microseconds.

    With ``filename`` they are written there as JSON too, compressed if the name ends in ``.gz``. Raises SessionError
    without a session.
    """
    __tracebackhide__ = True
    traced = [_trace(event) for event in runtime.engine_for("timeline").events()]
    if filename is not None:
        path = pathlib.Path(filename)
        data = json.dumps(traced).encode()
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return traced


def _trace(event: Event) -> dict[str, Any]:
    traced: dict[str, Any] = {
        "name": event.name or event.kind.value,
        "cat": event.kind.value,
        "pid": event.node_id.hex() or "session",
        "tid": event.worker_id.hex() or event.actor_id.hex() or "session",
        "ts": (event.wall_s - event.duration_s) * _MICROSECONDS,
        "args": {
            "kind": event.kind.value,
            "detail": event.detail,
            "attempt": event.attempt,
            "incarnation": event.incarnation,
            "actor_id": event.actor_id.hex(),
            "task_id": event.task_id.hex(),
        },
    }
    if event.duration_s > 0:
        return traced | {"ph": "X", "dur": event.duration_s * _MICROSECONDS}
    return traced | {"ph": "i", "s": "t"}
