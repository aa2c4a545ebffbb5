"""What :func:`ipyactors.describe_cluster` returns: the session at one moment, for programs and for people."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

from ipyactors.api import runtime
from ipyactors.api.inspect import nodes
from ipyactors.api.reprs import nodes_as_table
from ipyactors.engines import description
from ipyactors.ground import tables
from ipyactors.owner import process
from ipyactors.wire.interrupts import deferred
from ipyactors.wire.specs import ActorState


@dataclasses.dataclass(frozen=True, slots=True)
class ClusterReport:
    """The session at one moment; shown as a table of its machines.

    ``machines`` has a dict for each, as :func:`ipyactors.nodes` returns them; ``actors`` counts those that live, by
    their state; ``waiting`` says what waits, and why: for resources, and calls of this process for their
    arguments.
    """

    machines: tuple[dict[str, Any], ...]
    actors: dict[str, int]
    waiting: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return "\n".join([nodes_as_table(self.machines)["text/plain"], "", *tables.facts_as_text(self._facts())])

    def _repr_html_(self) -> str:
        return nodes_as_table(self.machines)["text/html"] + tables.facts_as_html(self._facts())

    def _facts(self) -> list[tuple[str, str]]:
        actors = ", ".join(f"{number} {state}" for state, number in self.actors.items())
        return [("actors", actors or "none alive"), *(("waiting", words) for words in self.waiting)]


def describe_cluster() -> ClusterReport:
    """Return what the session has: its machines and what is held of them, its actors, and what waits and why.

    The function twin of ``%cluster``. Raises SessionError without a session.
    """
    __tracebackhide__ = True
    cluster = runtime.engine_for("describe_cluster").describe_cluster()
    living = Counter(one.state.value for one in cluster.actors if one.state is not ActorState.DEAD)
    session = process.session()
    waiting: tuple[str, ...] = ()
    if session is not None:
        with deferred(), session.lock:
            waiting = description.waiting(session.state, cluster)
    return ClusterReport(tuple(nodes()), dict(living), waiting)
