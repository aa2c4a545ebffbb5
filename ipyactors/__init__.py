"""Tasks and actors from a notebook cell that survive a crash.

The names are loaded when they are first used (PEP 562): every process of a session imports this package before
anything else, and the agent and the head need little of it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ipyactors.ground.version import __version__

if TYPE_CHECKING:
    from ipyactors import actor, exceptions, util
    from ipyactors.api.actor import ActorClass
    from ipyactors.api.calls import as_completed, cancel, get, get_actor, kill, put, wait
    from ipyactors.api.context import RuntimeContext, get_runtime_context
    from ipyactors.api.descriptions import method
    from ipyactors.api.handles import ActorHandle, checkpoint, upgrade
    from ipyactors.api.init import init
    from ipyactors.api.inspect import (
        available_resources,
        cluster_resources,
        events,
        explain,
        list_actors,
        list_named_actors,
        nodes,
        on_event,
        timeline,
    )
    from ipyactors.api.memory import memory
    from ipyactors.api.memory_report import MemoryReport
    from ipyactors.api.memory_rows import MemoryRow
    from ipyactors.api.remote import RemoteFunction, remote
    from ipyactors.api.runtime import SessionContext, is_initialized, shutdown
    from ipyactors.ground.every import every
    from ipyactors.owner.refs import ObjectRef, ObjectRefGenerator

__all__ = [
    "ActorClass",
    "ActorHandle",
    "MemoryReport",
    "MemoryRow",
    "ObjectRef",
    "ObjectRefGenerator",
    "RemoteFunction",
    "RuntimeContext",
    "SessionContext",
    "__version__",
    "actor",
    "as_completed",
    "available_resources",
    "cancel",
    "checkpoint",
    "cluster_resources",
    "events",
    "every",
    "exceptions",
    "explain",
    "get",
    "get_actor",
    "get_runtime_context",
    "init",
    "is_initialized",
    "kill",
    "list_actors",
    "list_named_actors",
    "memory",
    "method",
    "nodes",
    "on_event",
    "put",
    "remote",
    "shutdown",
    "timeline",
    "upgrade",
    "util",
    "wait",
]

#: Where each name is: what the imports above say to type checkers.
_HOMES = {
    "ActorClass": "ipyactors.api.actor",
    "ActorHandle": "ipyactors.api.handles",
    "MemoryReport": "ipyactors.api.memory_report",
    "MemoryRow": "ipyactors.api.memory_rows",
    "ObjectRef": "ipyactors.owner.refs",
    "ObjectRefGenerator": "ipyactors.owner.refs",
    "RemoteFunction": "ipyactors.api.remote",
    "RuntimeContext": "ipyactors.api.context",
    "SessionContext": "ipyactors.api.runtime",
    "actor": "ipyactors.actor",
    "as_completed": "ipyactors.api.calls",
    "available_resources": "ipyactors.api.inspect",
    "cancel": "ipyactors.api.calls",
    "checkpoint": "ipyactors.api.handles",
    "cluster_resources": "ipyactors.api.inspect",
    "events": "ipyactors.api.inspect",
    "every": "ipyactors.ground.every",
    "exceptions": "ipyactors.exceptions",
    "explain": "ipyactors.api.inspect",
    "get": "ipyactors.api.calls",
    "get_actor": "ipyactors.api.calls",
    "get_runtime_context": "ipyactors.api.context",
    "init": "ipyactors.api.init",
    "is_initialized": "ipyactors.api.runtime",
    "kill": "ipyactors.api.calls",
    "list_actors": "ipyactors.api.inspect",
    "list_named_actors": "ipyactors.api.inspect",
    "memory": "ipyactors.api.memory",
    "method": "ipyactors.api.descriptions",
    "nodes": "ipyactors.api.inspect",
    "on_event": "ipyactors.api.inspect",
    "put": "ipyactors.api.calls",
    "remote": "ipyactors.api.remote",
    "shutdown": "ipyactors.api.runtime",
    "timeline": "ipyactors.api.inspect",
    "upgrade": "ipyactors.api.handles",
    "util": "ipyactors.util",
    "wait": "ipyactors.api.calls",
}

if not TYPE_CHECKING:  # a type checker would believe that there is any name

    def __getattr__(name: str) -> Any:
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = importlib.import_module(home)
        value = globals()[name] = module if home == f"{__name__}.{name}" else getattr(module, name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load_ipython_extension(shell: Any) -> None:
    """Make the magics known; called by ``%load_ext ipyactors``."""
    from ipyactors.notebook import extension

    extension.load_ipython_extension(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Take back all that loading did; called by ``%unload_ext ipyactors``."""
    from ipyactors.notebook import extension

    extension.unload_ipython_extension(shell)
