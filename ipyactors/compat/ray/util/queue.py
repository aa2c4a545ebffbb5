"""Ray's ``ray.util.queue``."""

from __future__ import annotations

from ipyactors.util.queue import Empty, Full, Queue

__all__ = ["Empty", "Full", "Queue"]
