"""Has a durable actor go back to one of its checkpoints: a call like any other, in the order of its log.

It takes the checkpoint's state from outside, as a method does what it calls ``once`` for: the log has it then, whatever
becomes of the checkpoint, and a recovery that executes the call again comes to the same. What the log says of the calls
before stays as it is: they have been executed, and their callers get the same answers if they ask again.
"""

from __future__ import annotations

import hashlib
import pathlib
from collections.abc import Callable
from typing import Any, Protocol

from ipyactors.durable import manifest
from ipyactors.durable.checkpoint_store import open_store
from ipyactors.durable.folder import Folder
from ipyactors.owner import current, process
from ipyactors.owner.kv import HeadKv
from ipyactors.wire.specs import Durability


class Subject(Protocol):
    """The actor: see :class:`~ipyactors.worker.hosting.HostedActor`."""

    actor_id: bytes
    definition_id: bytes
    source: str

    @property
    def durability(self) -> Durability:
        """Where its checkpoints are."""
        ...

    def copy_of(self, data: bytes) -> Any:
        """Return another instance with a state that was dumped. Raises SerializationError."""
        ...

    def go_on_as(self, instance: Any) -> None:
        """Be another instance from now on."""
        ...


def go_back(actor: Subject, checkpoint_id: str, folder: Callable[[], pathlib.Path]) -> int:
    """Give the actor the state of a checkpoint; return how many calls have taken effect after that, until now.

    ``folder`` returns the actor's; a replay does not call it.
    Raises LookupError if it is not there any more or of another class; what loading it raises. Then all is as before.
    """
    call = current.call.get()
    assert call is not None, "it is a call"
    assert call.turn is not None, "the actor is durable"
    lsn = call.lsn
    undone, state = call.turn.once(lambda: _read(actor, checkpoint_id, lsn, folder()))
    actor.go_on_as(actor.copy_of(state))
    call.turn.request_checkpoint()
    taken: int = undone
    return taken


def _read(actor: Subject, checkpoint_id: str, lsn: int, path: pathlib.Path) -> tuple[int, bytes]:
    """Return how many calls there were between a checkpoint and the call ``lsn``, and its state."""
    found = [one for one in manifest.read_all(Folder(path))[0] if one.data.checkpoint_id == checkpoint_id]
    stays = f"The state of {actor.source} stays as it is."
    if not found:
        raise LookupError(f"checkpoint {checkpoint_id} is not there any more: newer ones have taken its place. {stays}")
    data = found[0].data
    if data.definition_id != actor.definition_id:
        raise LookupError(f"checkpoint {checkpoint_id} is of the class that it ran before an upgrade. {stays}")
    session = process.session()
    assert session is not None
    state = open_store(actor.durability.store, path, actor.actor_id, HeadKv(session)).load(data.locator)
    if len(state) != data.size or hashlib.blake2b(state, digest_size=16).digest() != data.digest:
        raise LookupError(f"the data of checkpoint {checkpoint_id} is not what was saved. {stays}")
    return lsn - 1 - found[0].lsn, state
