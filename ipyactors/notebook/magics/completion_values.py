"""What may stand as the value of a magic's argument: actors, classes, methods, checkpoints, files, words of a list."""

from __future__ import annotations

import argparse
import builtins
import contextlib
import glob
import os
from collections.abc import Iterable, Mapping
from typing import Any

from ipyactors.api import runtime
from ipyactors.api.actor import ActorClass
from ipyactors.api.chaos_storm import KINDS, MORE_KINDS
from ipyactors.api.checkpoint_list import list_checkpoints
from ipyactors.api.config import SETTINGS
from ipyactors.api.handles import ActorHandle
from ipyactors.api.remote import ConfiguredFunction, RemoteFunction
from ipyactors.ground import ids
from ipyactors.ground.exceptions import IpyactorsError
from ipyactors.ground.options import OPTIONS, Kind
from ipyactors.notebook.magics.chaos_magic import DURABLE_ONLY, FUNCTIONS_TOO, fault_in
from ipyactors.notebook.magics.completion_words import Expected
from ipyactors.notebook.magics.which_actor import handle_of
from ipyactors.wire.specs import ActorState

#: What may be written as the value of an option, by its kind, or by its name where that says more.
_OF_KIND = {
    Kind.FLAG: ("True", "False"),
    Kind.LEVEL: ("process", "host", "True", "False"),
    Kind.RETURNS: ("streaming",),
}
_OF_OPTION = {"lifetime": ("detached", "non_detached"), "checkpoint_store": ("kv",), "retry_exceptions": ("True",)}

#: Magics that are of use for durable actors only.
_DURABLE_MAGICS = frozenset({"checkpoints", "upgrade"})


def words_for(
    action: argparse.Action, wanted: Expected, magic: str, variables: Mapping[str, Any]
) -> tuple[str, Iterable[str]]:
    """Return what sort of words an argument of ``magic`` takes, and which there are; not all begin as the user has."""
    begun = wanted.begun
    if begun.startswith("$"):
        return "variable", sorted(f"${name}" for name in variables if not name.startswith("_"))
    if action.choices is not None:
        words = map(str, action.choices)
        return "value", (word.replace("_", "-") for word in words) if "-" in begun else words
    if action.dest == "actor":
        return _targets(fault_in(wanted.given) if magic == "chaos" else "", magic, variables)
    if action.dest == "restore":
        return "checkpoint", _checkpoints(wanted.given, variables)
    if action.dest == "kinds":
        return "value", _listed(begun, [*KINDS, *sorted(MORE_KINDS)])
    match action.metavar:
        case "CLASS":
            return "class", _variables_with(ActorClass, variables)
        case "METHOD":
            return "method", _methods(wanted.given, variables)
        case "FILE":
            return "path", _paths(begun)
        case "NAME=VALUE":
            return "value", (f"{name}={choice}" for name, one in SETTINGS.items() for choice in one.choices)
    return _values_of_option(action.dest, begun, variables)


def _values_of_option(name: str, begun: str, variables: Mapping[str, Any]) -> tuple[str, Iterable[str]]:
    option = OPTIONS.get(name)
    if option is None:
        return "value", ()
    if option.kind is Kind.EXCEPTIONS:
        return "class", _listed(begun, _exceptions(variables))
    if option.kind is Kind.POLICY:
        return "value", _listed(begun, ("calls=", "seconds="))
    return "value", _OF_OPTION.get(option.name, _OF_KIND.get(option.kind, ()))


def _listed(begun: str, words: Iterable[str]) -> list[str]:
    """Return the words that may come after the last comma of a list, with what stands before it."""
    before, comma, _ = begun.rpartition(",")
    given = before.split(",")
    return [f"{before}{comma}{word}" for word in words if not any(one.startswith(word) for one in given)]


def _targets(fault: str, magic: str, variables: Mapping[str, Any]) -> tuple[str, Iterable[str]]:
    """Return what is meant by the word for an actor; ``fault`` is what ``%chaos`` is to do to it, if it was said."""
    if fault == "kill_node":
        return "machine", _machines()
    durable = magic in _DURABLE_MAGICS or fault in DURABLE_ONLY
    found = [*_names_of_actors(durable=durable), *_variables_of_actors(variables, durable=durable)]
    if fault in FUNCTIONS_TOO:
        found += _variables_with((RemoteFunction, ConfiguredFunction), variables)
    return "actor", found


def _names_of_actors(*, durable: bool) -> list[str]:
    """Return the names of the live actors of this namespace; none if nobody can say now."""
    engine = runtime.live_engine()
    try:
        actors = engine.describe_cluster().actors if engine is not None else ()
    except IpyactorsError:
        return []
    return sorted(
        one.name
        for one in actors
        if engine is not None
        and one.name
        and one.namespace == engine.namespace
        and one.state is not ActorState.DEAD
        and (one.level or not durable)
    )


def _variables_of_actors(variables: Mapping[str, Any], *, durable: bool) -> list[str]:
    names = _variables_with(ActorHandle, variables)
    return [name for name in names if variables[name]._ipyactors_plans.is_durable] if durable else names


def _machines() -> list[str]:
    """Return the beginnings of the ids of the machines that can be killed: all live ones but the session's first."""
    engine = runtime.live_engine()
    try:
        nodes = engine.describe_cluster().nodes if engine is not None else ()
    except IpyactorsError:
        return []
    return [ids.short(node.node_id) for node in nodes[1:] if node.is_alive]


def _checkpoints(given: Iterable[str], variables: Mapping[str, Any]) -> list[str]:
    """Return the checkpoints of the actor that one of the other words means, as a table shows them."""
    for word in given:
        with contextlib.suppress(IpyactorsError):
            return [one.checkpoint_id[:10] for one in list_checkpoints(handle_of(word, None, variables))]
    return []


def _methods(given: Iterable[str], variables: Mapping[str, Any]) -> list[str]:
    """Return the methods of the actor that one of the other words means."""
    for word in given:
        with contextlib.suppress(IpyactorsError):
            handle = handle_of(word, None, variables)
            return [name for name in dir(handle) if name in handle._ipyactors_plans.methods]
    return []


def _variables_with(kind: type | tuple[type, ...], variables: Mapping[str, Any]) -> list[str]:
    return sorted(name for name, value in variables.items() if isinstance(value, kind) and not name.startswith("_"))


def _exceptions(variables: Mapping[str, Any]) -> list[str]:
    known = {**vars(builtins), **variables}
    return sorted(name for name, value in known.items() if isinstance(value, type) and issubclass(value, Exception))


def _paths(begun: str) -> list[str]:
    found = sorted(glob.glob(glob.escape(begun) + "*"))
    return [path + os.sep if os.path.isdir(path) else path for path in found]
