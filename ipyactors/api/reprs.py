"""What handles, remote functions and classes, and the session show of themselves: a line of text, a table on a page.

As with references (:mod:`ipyactors.owner.ref_words`): nobody is asked, nothing is started, and text is the same at each
run of a program. What depends on the moment is in the table only, and not in one that nobody looks at.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ipyactors.api.descriptions import ClassDescription
from ipyactors.ground import ids, tables
from ipyactors.ground.options import ActorOptions, TaskOptions
from ipyactors.ground.quantities import words_of_bytes
from ipyactors.owner.actors import ActorClient
from ipyactors.owner.output import is_interactive
from ipyactors.wire.deaths import describe_death
from ipyactors.wire.specs import ActorState

#: So many methods are listed.
_METHODS_AT_MOST = 30

#: What an option may show that is different on each machine.
_PLACES = ("checkpoint_store",)

_NODE_HEADINGS = ("machine", "state", "CPUs held", "memory held", "other resources held", "workers")
_NUMBERS = ("CPUs held", "memory held", "workers")


class Rows(list[dict[str, Any]]):
    """A list of dicts that a cell shows as a table, of what people look for; the dicts have more.

    ``as_table`` returns the table by its media type, as text and as HTML.
    """

    def __init__(
        self, rows: Iterable[dict[str, Any]], as_table: Callable[[Sequence[dict[str, Any]]], dict[str, str]]
    ) -> None:
        super().__init__(rows)
        self._as_table = as_table

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)

    def _repr_pretty_(self, printer: Any, _is_in_circle: bool) -> None:
        """Print the table as text, which is what a terminal shows; IPython asks a list for nothing else."""
        printer.text(self._as_table(self)["text/plain"])

    def _repr_html_(self) -> str:
        """Return the table for a page."""
        return self._as_table(self)["text/html"]


# -- actors ----------------------------------------------------------------------------------------------------


def actor_label(client: ActorClient, class_name: str) -> str:
    """Return ``Counter 'c1' #2``: the second actor that its driver has made. What a worker makes has no number."""
    number = ids.number_of_actor(client.actor_id)
    return f"{class_name}{f' {client.name!r}' if client.name else ''}{f' #{number}' if number else ''}"


def handle_as_html(client: ActorClient, description: ClassDescription, *, is_live: bool) -> str:
    """Return the table of a handle. What changes is as this process has last heard of it."""
    facts = [("Actor", actor_label(client, description.class_name)), ("durable", _durable(description))]
    if not is_live:
        facts.append(("state", "its session has ended"))
    elif is_interactive():
        facts += _now(client)
    return tables.facts_as_html([*facts, ("methods", _methods(description))])


def _now(client: ActorClient) -> list[tuple[str, str]]:
    state, why = client.state, ""
    if state is ActorState.PENDING:
        why = client.waiting_for
    elif client.death is not None and state in (ActorState.RESTARTING, ActorState.DEAD):
        why = f"its process {first_sentence(describe_death(client.death))}"
    facts = [("state", f"{state.value}: {why}" if why else state.value)]
    if state is not ActorState.PENDING:
        facts += [
            ("incarnation", str(client.incarnation)),
            ("restarts left", restarts(client.restarts_left) if state is not ActorState.DEAD else ""),
        ]
    return [*facts, ("id", ids.short(client.actor_id))]


def restarts(left: int) -> str:
    """Return how many restarts are left in words."""
    return "no limit" if left == -1 else str(left)


def first_sentence(words: str) -> str:
    """Return what there is room for in a table; errors have the rest."""
    return words.partition("\n")[0].partition(". ")[0].removesuffix(".")


def _durable(description: ClassDescription) -> str:
    survives = {"process": "survives crashes", "host": "survives crashes and power loss of its host"}
    return survives.get(description.level, description.level)


def _methods(description: ClassDescription) -> str:
    public = [one for one in description.methods if not one.name.startswith("_")]
    lines = [
        f"{one.name}({_parameters(one.parameters)})"
        + ("  (readonly)" if one.is_readonly else "  (persist)" if one.is_persist else "")
        for one in public[:_METHODS_AT_MOST]
    ]
    more = len(public) - len(lines)
    return "\n".join(lines + [f"and {more} more"] * bool(more))


def _parameters(parameters: str) -> str:
    return parameters.replace("=...", "=…")  # such a default stays where the class is


# -- remote functions and classes ------------------------------------------------------------------------------


def words_of(name: str, options: TaskOptions | ActorOptions) -> str:
    """Return ``add, num_cpus=2``: what it is, and the options that were given, without those that tell of places."""
    return ", ".join([name, *(f"{option}={value}" for option, value in _given(options) if option not in _PLACES)])


def function_as_html(name: str, parameters: str, options: TaskOptions, doc: str | None) -> str:
    """Return the table of a remote function."""
    return _definition("RemoteFunction", f"{name}({_parameters(parameters)})", options, doc)


def class_as_html(description: ClassDescription, parameters: str, options: ActorOptions, doc: str | None) -> str:
    """Return the table of a remote class."""
    name = f"{description.class_name}({_parameters(parameters)})"
    return _definition("ActorClass", name, options, doc, [("methods", _methods(description))])


def _definition(
    kind: str,
    name: str,
    options: TaskOptions | ActorOptions,
    doc: str | None,
    more: Sequence[tuple[str, str]] = (),
) -> str:
    given = "\n".join(f"{option}={value}" for option, value in _given(options) if option not in _PLACES)
    about = (doc or "").strip().partition("\n")[0]
    return tables.facts_as_html([(kind, name), ("about", about), ("options", given), *more])


def _given(options: TaskOptions | ActorOptions) -> list[tuple[str, str]]:
    """Return the options that are not as they are when nothing is said."""
    fresh = type(options)()
    names = [field.name for field in dataclasses.fields(options)]
    values = [(name, getattr(options, name)) for name in names if getattr(options, name) != getattr(fresh, name)]
    return [(name, _value(value)) for name, value in values]


def _value(value: object) -> str:
    match value:
        case "process":
            return "True"
        case tuple():
            return f"[{', '.join(one.__name__ if isinstance(one, type) else repr(one) for one in value)}]"
        case float():
            return f"{value:.10g}"
    return repr(value)


# -- the session -----------------------------------------------------------------------------------------------


def session_as_html(facts: Sequence[tuple[str, str]], given: Mapping[str, Any], clients: Sequence[ActorClient]) -> str:
    """Return the table of a session: ``given`` to ``init()``, and the actors that this process has handles of."""
    offered = [
        f"{name}={_value(given[name])}" for name in ("num_cpus", "num_gpus", "resources") if given.get(name) is not None
    ]
    machines = len(given.get("nodes") or ())
    if machines > 1:
        offered.append(f"{machines} machines")
    rows = [*facts, ("started with", ", ".join(offered))]
    if is_interactive():
        living = Counter(client.state.value for client in clients if client.handles > 0)
        rows.append(("actors known here", ", ".join(f"{number} {state}" for state, number in sorted(living.items()))))
    return tables.facts_as_html(rows)


# -- lists -----------------------------------------------------------------------------------------------------


def _node_cells(row: Mapping[str, Any], hosts: Counter[str]) -> tuple[str, ...]:
    """Return what is shown of a machine; ``hosts`` counts the machines on each host."""
    total, free, host = row["Resources"], row["Available"], row["NodeManagerHostname"]
    held = {name: amount - free.get(name, 0.0) for name, amount in total.items()}
    others = [f"{name} {held[name]:g} of {total[name]:g}" for name in total if name not in ("CPU", "memory")]
    return (
        host if hosts[host] == 1 else f"{host} {row['NodeID'][: 2 * ids.SHORT_BYTES]}",
        "lost" if not row["Alive"] else "leaving" if row["Leaving"] else "alive",
        f"{held.get('CPU', 0):g} of {total.get('CPU', 0):g}",
        " of ".join(words_of_bytes(int(amounts.get("memory", 0))) for amounts in (held, total)),
        ", ".join(others),
        str(row["Workers"]),
    )


def nodes_as_table(machines: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the table of machines by its media type, without the columns in which there is nothing."""
    hosts = Counter(one["NodeManagerHostname"] for one in machines)
    rows = [_node_cells(one, hosts) for one in machines]
    shown = [index for index in range(len(_NODE_HEADINGS)) if any(row[index] for row in rows)]
    cells = [[row[index] for index in shown] for row in rows]
    headings = [_NODE_HEADINGS[index] for index in shown]
    return {
        "text/plain": "\n".join(tables.as_text(headings, cells, _NUMBERS)),
        "text/html": tables.as_html(headings, cells, _NUMBERS),
    }
