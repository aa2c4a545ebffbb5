"""Which checkpoints an actor has: read from its folder, without asking anybody."""

from __future__ import annotations

import pathlib
import re

from ipyactors.api import runtime
from ipyactors.api.handles import ActorHandle, handle_of
from ipyactors.durable import manifest
from ipyactors.durable.folder import Folder
from ipyactors.durable.manifest import Manifest
from ipyactors.ground.checkpointable import Checkpoint
from ipyactors.ground.exceptions import ActorNotFoundError, SessionError
from ipyactors.owner import process

_ACTOR_ID = re.compile("[0-9a-f]{32}")


def of_actor(actor: str | ActorHandle) -> list[Checkpoint]:
    """Return the checkpoints of an actor, newest first: see :func:`ipyactors.actor.get_checkpoints_for_actor`."""
    __tracebackhide__ = True
    return [
        Checkpoint(one.data.checkpoint_id, int(one.data.wall_s * 1000))
        for one in manifests_of(actor, "get_checkpoints_for_actor")
    ]


def manifests_of(actor: str | ActorHandle, what: str) -> list[Manifest]:
    """Return what is noted of the checkpoints of an actor, newest first, for ``what``."""
    __tracebackhide__ = True
    actor_id = _id_of(actor, what)
    runtime.engine_for(what)
    session = process.session()
    if session is None:
        raise SessionError(f"{what}: there is no live session in this process. Call ipyactors.init().")
    path = pathlib.Path(session.paths.actor_dir(actor_id))
    if not path.is_dir():
        if isinstance(actor, ActorHandle) and actor._ipyactors_plans.is_durable:
            return []  # its process has not made the folder yet
        raise ActorNotFoundError(
            f"{what}: {actor!r} is no durable actor of this session, {session.paths.name}, and so has no checkpoints.",
            actor_id=actor_id.hex(),
        )
    whole, _ = manifest.read_all(Folder(path))
    return list(whole)


def _id_of(actor: object, what: str) -> bytes:
    __tracebackhide__ = True
    if isinstance(actor, str) and _ACTOR_ID.fullmatch(actor):
        return bytes.fromhex(actor)
    return handle_of(actor, what)._ipyactors_client.actor_id
