"""Ray's ``ray.actor``, with the interface for checkpoints that it had until 2020."""

from __future__ import annotations

from ipyactors.actor import Checkpoint, Checkpointable, CheckpointContext, exit_actor, get_checkpoints_for_actor
from ipyactors.api.actor import ActorClass
from ipyactors.api.handles import ActorHandle

__all__ = [
    "ActorClass",
    "ActorHandle",
    "Checkpoint",
    "CheckpointContext",
    "Checkpointable",
    "exit_actor",
    "get_checkpoints_for_actor",
]
