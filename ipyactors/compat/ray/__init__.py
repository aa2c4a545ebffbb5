"""Ray's names for ours: ``import ipyactors.compat.ray as ray`` is the only line of a Ray program that changes.

Where data is lost, one thing differs. Ray makes the result of an actor's method again when the method may be retried
(``max_task_retries`` other than 0), and so gives another value, or changes the actor twice, if the method depends on
the actor's state or changes it. Here ``max_task_retries`` is about calls that have not been answered. A result that was
there and is lost is asked for again only of a method that says that it changes nothing,
``@ipyactors.method(effect="readonly")``, and then whatever ``max_task_retries`` is.
"""

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
