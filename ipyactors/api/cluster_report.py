"""What :func:`ipyactors.describe_cluster` returns: the session at one moment, for programs and for people."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from typing import Any

from ipyactors.api import runtime
from ipyactors.api.inspect import nodes
from ipyactors.api.memory_report import words_of_bytes
from ipyactors.engines import description
from ipyactors.ground import tables
from ipyactors.owner import process
from ipyactors.wire.interrupts import deferred
from ipyactors.wire.specs import ActorState

_HEADINGS = ("machine", "CPUs held", "memory held", "other resources held", "workers")
_NUMBERS = ("CPUs held", "memory held", "workers")
_RARE = ("other resources held",)


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
        headings, rows = self._table()
        return "\n".join([*tables.as_text(headings, rows, _NUMBERS), "", *tables.facts_as_text(self._facts())])

    def _repr_html_(self) -> str:
        headings, rows = self._table()
        return tables.as_html(headings, rows, _NUMBERS) + tables.facts_as_html(self._facts())

    def _table(self) -> tuple[list[str], list[list[str]]]:
        """Return the headings and the rows, without the columns that few need if there is nothing to show in them."""
        rows = list(map(_row, self.machines))
        shown = [index for index, name in enumerate(_HEADINGS) if name not in _RARE or any(row[index] for row in rows)]
        return [_HEADINGS[index] for index in shown], [[row[index] for index in shown] for row in rows]

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


def _row(machine: Mapping[str, Any]) -> tuple[str, ...]:
    total, free = machine["Resources"], machine["Available"]
    held = {name: amount - free.get(name, 0.0) for name, amount in total.items()}
    state = " (lost)" if not machine["Alive"] else " (leaving)" if machine["Leaving"] else ""
    memory = [words_of_bytes(int(amounts.get("memory", 0))) for amounts in (held, total)]
    return (
        machine["NodeManagerHostname"] + state,
        f"{held.get('CPU', 0):g} of {total.get('CPU', 0):g}",
        " of ".join(memory),
        ", ".join(f"{name} {held[name]:g} of {total[name]:g}" for name in total if name not in ("CPU", "memory")),
        str(machine["Workers"]),
    )
