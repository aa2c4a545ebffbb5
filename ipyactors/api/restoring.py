"""The way back to an older state of a durable actor, on purpose."""

from __future__ import annotations

from ipyactors.api.checkpoint_list import CheckpointInfo, list_checkpoints
from ipyactors.api.descriptions import RESTORE
from ipyactors.api.handles import ActorHandle, ActorMethod, handle_of
from ipyactors.ground.exceptions import OptionError
from ipyactors.owner.refs import ObjectRef


def restore(actor: ActorHandle | str, checkpoint_id: str) -> ObjectRef:
    """Have a durable actor go back to the state of one of its checkpoints; return a reference to a number of calls.

    This is the number of the calls whose effect on the state is undone: those after the checkpoint. It is a call like
    any other, executed in its turn and exactly once: it cannot be lost in a crash, nor happen twice. Elsewhere, what
    was done stays done: callers keep the answers that they have, a call that is sent again gets its recorded answer,
    and calls to other actors are not undone.

    ``checkpoint_id`` is one of :func:`list_checkpoints`, or its beginning. ``get`` raises LookupError if it is gone by
    the time that the call is executed, or of a class that the actor ran before an upgrade.

    ``actor`` is a handle, or the actor's name in this process's namespace.

    Raises TypeError for anything but a durable actor, for one whose class is a Checkpointable, which saves
    and loads its state itself, and for one that runs several calls at once; OptionError for an id of none;
    ActorNotFoundError.
    """
    __tracebackhide__ = True
    actor = handle_of(actor, "restore")
    plans = actor._ipyactors_plans
    if not plans.is_durable:
        raise TypeError(f"restore takes a handle of a durable actor, and {actor!r} is not durable. Nothing was sent.")
    if plans.description.is_checkpointable:
        raise TypeError(f"restore: {actor!r} is a Checkpointable, which loads its state itself. Nothing was sent.")
    if plans.description.max_concurrency > 1:
        raise TypeError(f"restore: {actor!r} runs several calls at once, which could undo it. Nothing was sent.")
    found = find_checkpoint(actor, checkpoint_id)
    reference: ObjectRef = ActorMethod(actor, plans.methods[RESTORE]).remote(found.checkpoint_id)
    return reference


def find_checkpoint(actor: ActorHandle, checkpoint_id: str) -> CheckpointInfo:
    """Return the checkpoint of an actor whose id begins so. Raises OptionError."""
    there = list_checkpoints(actor)
    found = [one for one in there if checkpoint_id and one.checkpoint_id.startswith(checkpoint_id)]
    if len(found) == 1:
        return found[0]
    ids = ", ".join(one.checkpoint_id[:10] for one in there) or "none"
    raise OptionError(
        f"checkpoint_id={checkpoint_id!r}: {len(found) or 'none'} of the checkpoints of {actor!r} has an id that "
        f"begins so. There are: {ids}. Nothing was done."
    )
