"""Ray's ``ray.util.actor_pool``."""

from __future__ import annotations

from ipyactors.util.actor_pool import ActorPool

__all__ = ["ActorPool"]
