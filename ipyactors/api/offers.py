"""What machines offer, as ``init()`` is told; checked before anything is started."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ipyactors.ground.exceptions import OptionError, OptionTypeError
from ipyactors.ground.option_values import NUMBER_AT_MOST
from ipyactors.ground.options import OPTIONS, nearest

#: What can be said of a machine, in the order in which messages name it.
NAMES = ("num_cpus", "num_gpus", "memory", "resources", "object_store_memory")

#: Less shared memory than this is a mistake, such as a number of megabytes.
STORE_AT_LEAST_BYTES = 1_000_000


#: Who writes ``"1GB"`` is shown how to.
BYTES_EXAMPLE = "such as 1_000_000_000"


@contextlib.contextmanager
def nothing_started() -> Iterator[None]:
    """Have each OptionError that is raised inside say that nothing was started."""
    try:
        yield
    except OptionError as error:
        raise type(error)(f"{error} Nothing was started.", **vars(error)) from None


def parse_offer(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a machine offers, checked; None is passed on and means: detect it. Raises OptionError."""
    return {name: None if value is None else _parse(name, value) for name, value in given.items()}


def parse_nodes(nodes: Any) -> tuple[dict[str, Any], ...] | None:
    """Return what each machine offers, checked; None if nothing is said. Raises OptionError, OptionTypeError."""
    if nodes is None:
        return None
    if not isinstance(nodes, (list, tuple)):
        raise OptionTypeError(
            f"nodes={nodes!r}: takes a list with a dict for each machine, not {type(nodes).__name__}.", option="nodes"
        )
    if not nodes:
        raise OptionError("nodes=[]: takes a dict for each machine, the first for this one.", option="nodes")
    return tuple(_parse_node(index, node) for index, node in enumerate(nodes))


def check_together(given: Mapping[str, Any]) -> None:
    """Raise OptionError if arguments of ``init()`` are given together that contradict each other."""
    if given["nodes"] is not None:
        _check_alone("nodes", given, NAMES, "say what this machine offers in nodes[0].")
    if given["address"] is not None:
        others = (*NAMES, "nodes", "session")
        _check_alone("address", given, others, "the session at that address runs already, with the machines it has.")


def _check_alone(option: str, given: Mapping[str, Any], others: Sequence[str], why: str) -> None:
    if beside := [name for name in others if given[name] is not None]:
        raise OptionError(f"{option} and {', '.join(beside)} cannot be given together: {why}", option=option)


def _parse_node(index: int, node: Any) -> dict[str, Any]:
    where = f"nodes[{index}]"
    if not isinstance(node, Mapping):
        raise OptionTypeError(f"{where}={node!r}: takes a dict, not {type(node).__name__}.", option="nodes")
    for name in node:
        if name not in NAMES:
            near = nearest(str(name), NAMES)
            raise OptionError(
                f"{where}: there is no {name!r}.{near} A machine takes: {', '.join(NAMES)}.", option="nodes"
            )
    try:
        return parse_offer(node)
    except OptionTypeError as error:
        raise OptionTypeError(f"{where}: {error}", option="nodes") from None
    except OptionError as error:
        raise OptionError(f"{where}: {error}", option="nodes") from None


def _parse(name: str, value: Any) -> Any:
    if name != "object_store_memory":
        return OPTIONS[name].parse(value)
    takes = f"a number of bytes >= {STORE_AT_LEAST_BYTES:,}, {BYTES_EXAMPLE}"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise OptionTypeError(f"{name}={value!r}: takes {takes}, not {type(value).__name__}.", option=name)
    if not STORE_AT_LEAST_BYTES <= value <= NUMBER_AT_MOST:
        raise OptionError(f"{name}={value!r}: takes {takes}.", option=name)
    return int(value)
