"""Tasks and actors from a notebook cell that survive a crash.

The names are loaded when they are first used (PEP 562): every process of a session imports this package before
anything else, and the agent and the head need little of it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ipyactors.ground.version import __version__

if TYPE_CHECKING:
    from ipyactors import actor, chaos, exceptions, util
    from ipyactors import plots as plots
    from ipyactors import testing as testing
    from ipyactors.api.actor import ActorClass
    from ipyactors.api.actor_report import ActorReport, describe_actor
    from ipyactors.api.calls import as_completed, cancel, get, get_actor, kill, put, wait
    from ipyactors.api.checkpoint_list import CheckpointInfo, CheckpointList, list_checkpoints
    from ipyactors.api.cluster_report import ClusterReport, describe_cluster
    from ipyactors.api.config import config
    from ipyactors.api.context import RuntimeContext, get_runtime_context
    from ipyactors.api.descriptions import method
    from ipyactors.api.event_files import export_events, load_events
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
    from ipyactors.api.logs import WorkerLog, WorkerLogs, logs
    from ipyactors.api.memory import memory
    from ipyactors.api.memory_report import MemoryReport
    from ipyactors.api.memory_rows import MemoryRow
    from ipyactors.api.on import on
    from ipyactors.api.progress import Progress, progress
    from ipyactors.api.remote import RemoteFunction, remote
    from ipyactors.api.restoring import restore
    from ipyactors.api.runtime import SessionContext, is_initialized, shutdown
    from ipyactors.ground.every import every
    from ipyactors.owner.refs import ObjectRef, ObjectRefGenerator

__all__ = [
    "ActorClass",
    "ActorHandle",
    "ActorReport",
    "CheckpointInfo",
    "CheckpointList",
    "ClusterReport",
    "MemoryReport",
    "MemoryRow",
    "ObjectRef",
    "ObjectRefGenerator",
    "Progress",
    "RemoteFunction",
    "RuntimeContext",
    "SessionContext",
    "WorkerLog",
    "WorkerLogs",
    "__version__",
    "actor",
    "as_completed",
    "available_resources",
    "cancel",
    "chaos",
    "checkpoint",
    "cluster_resources",
    "config",
    "describe_actor",
    "describe_cluster",
    "events",
    "every",
    "exceptions",
    "explain",
    "export_events",
    "get",
    "get_actor",
    "get_runtime_context",
    "init",
    "is_initialized",
    "kill",
    "list_actors",
    "list_checkpoints",
    "list_named_actors",
    "load_events",
    "logs",
    "memory",
    "method",
    "nodes",
    "on",
    "on_event",
    "progress",
    "put",
    "remote",
    "restore",
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
    "ActorReport": "ipyactors.api.actor_report",
    "CheckpointInfo": "ipyactors.api.checkpoint_list",
    "CheckpointList": "ipyactors.api.checkpoint_list",
    "ClusterReport": "ipyactors.api.cluster_report",
    "MemoryReport": "ipyactors.api.memory_report",
    "MemoryRow": "ipyactors.api.memory_rows",
    "ObjectRef": "ipyactors.owner.refs",
    "ObjectRefGenerator": "ipyactors.owner.refs",
    "Progress": "ipyactors.api.progress",
    "RemoteFunction": "ipyactors.api.remote",
    "RuntimeContext": "ipyactors.api.context",
    "SessionContext": "ipyactors.api.runtime",
    "WorkerLog": "ipyactors.api.logs",
    "WorkerLogs": "ipyactors.api.logs",
    "actor": "ipyactors.actor",
    "as_completed": "ipyactors.api.calls",
    "available_resources": "ipyactors.api.inspect",
    "cancel": "ipyactors.api.calls",
    "chaos": "ipyactors.chaos",
    "checkpoint": "ipyactors.api.handles",
    "cluster_resources": "ipyactors.api.inspect",
    "config": "ipyactors.api.config",
    "describe_actor": "ipyactors.api.actor_report",
    "describe_cluster": "ipyactors.api.cluster_report",
    "events": "ipyactors.api.inspect",
    "every": "ipyactors.ground.every",
    "exceptions": "ipyactors.exceptions",
    "explain": "ipyactors.api.inspect",
    "export_events": "ipyactors.api.event_files",
    "get": "ipyactors.api.calls",
    "get_actor": "ipyactors.api.calls",
    "get_runtime_context": "ipyactors.api.context",
    "init": "ipyactors.api.init",
    "is_initialized": "ipyactors.api.runtime",
    "kill": "ipyactors.api.calls",
    "list_actors": "ipyactors.api.inspect",
    "list_checkpoints": "ipyactors.api.checkpoint_list",
    "list_named_actors": "ipyactors.api.inspect",
    "load_events": "ipyactors.api.event_files",
    "logs": "ipyactors.api.logs",
    "memory": "ipyactors.api.memory",
    "method": "ipyactors.api.descriptions",
    "nodes": "ipyactors.api.inspect",
    "on": "ipyactors.api.on",
    "on_event": "ipyactors.api.inspect",
    "progress": "ipyactors.api.progress",
    "put": "ipyactors.api.calls",
    "remote": "ipyactors.api.remote",
    "restore": "ipyactors.api.restoring",
    "shutdown": "ipyactors.api.runtime",
    "timeline": "ipyactors.api.inspect",
    "upgrade": "ipyactors.api.handles",
    "util": "ipyactors.util",
    "wait": "ipyactors.api.calls",
}

#: Modules that are there as attributes, but not for ``import *``: they need an extra, or are for tests.
_MODULES = ("plots", "testing")

if not TYPE_CHECKING:  # a type checker would believe that there is any name

    def __getattr__(name: str) -> Any:
        home = f"{__name__}.{name}" if name in _MODULES else _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = importlib.import_module(home)
        value = globals()[name] = module if home == f"{__name__}.{name}" else getattr(module, name)
        return value


def __dir__() -> list[str]:
    return sorted({*__all__, *_MODULES, *(name for name in globals() if name.startswith("__"))})


def load_ipython_extension(shell: Any) -> None:
    """Make the magics known; called by ``%load_ext ipyactors``."""
    from ipyactors.notebook import extension

    extension.load_ipython_extension(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Take back all that loading did; called by ``%unload_ext ipyactors``."""
    from ipyactors.notebook import extension

    extension.unload_ipython_extension(shell)
