"""Pools and queues over actors, with the names and ways that Ray's users know."""

from __future__ import annotations

from ipyactors.api.inspect import list_named_actors
from ipyactors.util import multiprocessing, queue
from ipyactors.util.actor_pool import ActorPool
from ipyactors.util.queue import Empty, Full, Queue

__all__ = ["ActorPool", "Empty", "Full", "Queue", "list_named_actors", "multiprocessing", "queue"]
