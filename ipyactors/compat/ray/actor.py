"""Ray's ``ray.actor``."""

from __future__ import annotations

from ipyactors.actor import exit_actor
from ipyactors.api.actor import ActorClass
from ipyactors.api.handles import ActorHandle

__all__ = ["ActorClass", "ActorHandle", "exit_actor"]
