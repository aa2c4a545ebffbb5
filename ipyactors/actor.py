"""What the code of an actor calls and implements."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from ipyactors.ground.checkpointable import Checkpoint, Checkpointable, CheckpointContext

if TYPE_CHECKING:
    from ipyactors.api.handles import ActorHandle

__all__ = ["Checkpoint", "CheckpointContext", "Checkpointable", "exit_actor", "get_checkpoints_for_actor"]


def exit_actor() -> NoReturn:
    """End the actor from inside one of its methods, on purpose: it is not restarted, and its name is free.

    The caller of this method, and of the calls that wait, get ActorDiedError. ``except Exception`` in the method
    does not stop it. Raises TypeError outside an actor.
    """
    from ipyactors.worker import exit as worker_exit  # here, so that importing the package stays light

    worker_exit.exit_actor()


def get_checkpoints_for_actor(actor_id: str | ActorHandle) -> list[Checkpoint]:
    """Return the checkpoints that a durable actor of this session can come back from, newest first.

    ``actor_id`` is the actor's id in hexadecimal, as ``get_runtime_context().get_actor_id()`` and the methods of a
    Checkpointable have it, or a handle. They are read from the actor's folder, whether it is alive or not; the list is
    empty as long as it has made none. Those whose note is damaged are left out.

    Raises TypeError for anything else; ActorNotFoundError if this session has no such durable actor; SessionError if
    there is no session in this process.
    """
    __tracebackhide__ = True
    from ipyactors.api import checkpoints  # as above

    return checkpoints.of_actor(actor_id)
