"""``init()``: checks what it is given, and starts the session of this process or comes to another's."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from ipyactors.api import keywords, offers, runtime
from ipyactors.api.runtime import SessionContext
from ipyactors.ground.exceptions import OptionError, OptionTypeError
from ipyactors.ground.option_values import NUMBER_AT_MOST, why_no_text


@keywords.checked("init")
def init(
    address: str | None = None,
    *,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    memory: int | None = None,
    resources: Mapping[str, float] | None = None,
    object_store_memory: int | None = None,
    nodes: Sequence[Mapping[str, Any]] | None = None,
    namespace: str | None = None,
    session: str | None = None,
    hosts: object = None,
    engine: str = "local",
    log_to_driver: bool | None = None,
    max_lineage_bytes: int | None = None,
) -> SessionContext:
    """Start the session of this process and return it; return the live one if there is one.

    With ``address``, which is the name of a session or the path of its folder, this process comes to a session that
    another one has started on this machine; :func:`shutdown` then leaves it, and it goes on.

    In a notebook whose kernel was restarted, this process comes back to the session that the kernel before has left, if
    detached actors live in it, and says so. :func:`shutdown` then leaves it; ``shutdown(everything=True)`` ends it.
    Which notebook this is, is known from Jupyter's server, from VS Code, or from IPYACTORS_NOTEBOOK (a path) in the
    environment; where nobody says it, as in a script, a session ends with its driver.

    ``num_cpus``, ``num_gpus``, ``memory`` (bytes), ``resources`` and ``object_store_memory`` (bytes of shared memory
    for large values) are what this machine offers; what is not given is detected. ``nodes`` starts several machines,
    each with an agent, workers and a store of its own, all on this computer: a list with a dict of such amounts for
    each; the first one is this machine's own. ``namespace`` is where this process names its actors. ``session`` names
    the session's folder. What workers print appears here, unless ``log_to_driver`` is False. ``max_lineage_bytes`` is
    how much each process keeps to make lost objects again (default: the environment's IPYACTORS_MAX_LINEAGE_BYTES, else
    1 GiB; 0: nothing).

    Raises OptionError for a wrong argument, StartError if the processes cannot be started, SessionError if there is
    no session at ``address``. A second call with other arguments changes nothing and warns.
    """
    offer = {
        "num_cpus": num_cpus,
        "num_gpus": num_gpus,
        "memory": memory,
        "resources": resources,
        "object_store_memory": object_store_memory,
    }
    with offers.nothing_started():
        _check_available(engine, hosts=hosts)
        given = {
            **offers.parse_offer(offer),
            "nodes": offers.parse_nodes(nodes),
            "address": _text_or_none("address", address),
            "namespace": _text_or_none("namespace", namespace),
            "session": _text_or_none("session", session),
            "log_to_driver": _flag_or_none("log_to_driver", log_to_driver),
            "max_lineage_bytes": _bytes_or_none("max_lineage_bytes", max_lineage_bytes),
        }
        offers.check_together(given)
    return runtime.start(given, meanwhile=_import_what_comes_next)


def _import_what_comes_next() -> None:
    """Import what is called once there is a session: the roof has loaded none of it yet if ``init()`` came first."""
    importlib.import_module("ipyactors.api.remote")


def _check_available(engine: str, **unavailable: object) -> None:
    for name, value in unavailable.items():
        if value is not None:
            raise OptionError(f"init({name}=...) is not available in this version; leave it out.", option=name)
    if engine != "local":
        raise OptionError(f"engine={engine!r}: takes 'local', the only one in this version.", option="engine")


def _text_or_none(name: str, value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise OptionTypeError(f"{name}={value!r}: takes a non-empty str, not {type(value).__name__}.", option=name)
    if value == "":
        raise OptionError(f"{name}={value!r}: takes a non-empty str.", option=name)
    if value is not None and (problem := why_no_text(value)):
        raise OptionError(f"{name}={value!r}: takes a non-empty str; {problem}.", option=name)
    return value


def _flag_or_none(name: str, value: object) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise OptionTypeError(f"{name}={value!r}: takes True or False, not {type(value).__name__}.", option=name)
    return value


def _bytes_or_none(name: str, value: object) -> int | None:
    takes = f"takes a number of bytes >= 0, {offers.BYTES_EXAMPLE}"
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise OptionTypeError(f"{name}={value!r}: {takes}, not {type(value).__name__}.", option=name)
    if value is not None and not 0 <= value <= NUMBER_AT_MOST:
        raise OptionError(f"{name}={value!r}: {takes}.", option=name)
    return value
