"""Ray's names for ours: ``import ipyactors.compat.ray as ray`` is the only line of a Ray program that changes."""

from __future__ import annotations

import cloudpickle

from ipyactors.api.actor import ActorClass
from ipyactors.api.calls import cancel, get, get_actor, kill, put
from ipyactors.api.context import get_runtime_context
from ipyactors.api.descriptions import method
from ipyactors.api.handles import ActorHandle
from ipyactors.api.inspect import available_resources, cluster_resources, nodes, timeline
from ipyactors.api.remote import remote
from ipyactors.api.runtime import is_initialized
from ipyactors.compat.ray import actor, exceptions, util
from ipyactors.compat.ray.session import init, shutdown, wait
from ipyactors.ground.version import __version__
from ipyactors.owner.refs import ObjectRef, ObjectRefGenerator

__all__ = [
    "ActorClass",
    "ActorHandle",
    "ObjectRef",
    "ObjectRefGenerator",
    "__version__",
    "actor",
    "available_resources",
    "cancel",
    "cloudpickle",
    "cluster_resources",
    "exceptions",
    "get",
    "get_actor",
    "get_runtime_context",
    "init",
    "is_initialized",
    "kill",
    "method",
    "nodes",
    "put",
    "remote",
    "shutdown",
    "timeline",
    "util",
    "wait",
]
