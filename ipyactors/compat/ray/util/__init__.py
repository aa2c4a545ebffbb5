"""Ray's ``ray.util``."""

from __future__ import annotations

from ipyactors.api.calls import as_completed
from ipyactors.api.inspect import list_named_actors
from ipyactors.compat.ray.util import multiprocessing, queue
from ipyactors.util import ActorPool

__all__ = ["ActorPool", "as_completed", "list_named_actors", "multiprocessing", "queue"]
