"""Tasks and actors from a notebook cell that survive a crash."""

from __future__ import annotations

from typing import Any

from ipyactors import actor, exceptions, util
from ipyactors.api.actor import ActorClass
from ipyactors.api.calls import as_completed, cancel, get, get_actor, kill, put, wait
from ipyactors.api.context import RuntimeContext, get_runtime_context
from ipyactors.api.descriptions import method
from ipyactors.api.handles import ActorHandle
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
from ipyactors.api.runtime import SessionContext, init, is_initialized, shutdown
from ipyactors.ground.version import __version__
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
    "cluster_resources",
    "events",
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
    "util",
    "wait",
]


def load_ipython_extension(shell: Any) -> None:
    """Make the magics known; called by ``%load_ext ipyactors``."""
    from ipyactors.notebook import extension

    extension.load_ipython_extension(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Take back all that loading did; called by ``%unload_ext ipyactors``."""
    from ipyactors.notebook import extension

    extension.unload_ipython_extension(shell)
