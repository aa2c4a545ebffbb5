"""The data of checkpoints that are none any more, or never became one: removed by who has saved it.

That is the store, or the actor itself. What cannot be removed is only waste: it is said, and the actor goes on. Used by
the thread that runs calls, between calls. What is saved when an actor ends for good stays, as its log does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from ipyactors.durable.checkpoint_store import CheckpointStore
from ipyactors.durable.manifest import CheckpointData
from ipyactors.ground import faultpoints
from ipyactors.ground.tracebacks import in_words
from ipyactors.owner import current
from ipyactors.wire.specs import Durability

#: So many processes may end while they remove the data of the same checkpoint; the next one leaves it.
TRIES = 3


class _Subject(Protocol):
    @property
    def instance(self) -> Any:
        """The user's object."""
        ...


class Noted(Protocol):
    """What the next process knows of this one; :class:`~ipyactors.durable.begun.Begun` is the real one.

    ``unmade`` is the id of the checkpoint that is saved and may never become one, empty if there is none.
    """

    unmade: str

    def note_unmade(self, checkpoint_id: str) -> None:
        """Note that this checkpoint is about to be saved, and is none yet; empty: there is no such checkpoint."""
        ...

    def try_removing(self) -> int:
        """Note that the data of that one is about to be removed; return for which time, from 1."""
        ...


class Unnoted:
    """Implements :class:`Noted` where no process comes after this one."""

    unmade = ""

    def note_unmade(self, checkpoint_id: str) -> None:
        """Keep it in mind."""
        self.unmade = checkpoint_id

    def try_removing(self) -> int:
        """Return 1."""
        return 1


class Removal:
    """``complain(what, problem, text)`` tells in the actor's output what could not be removed, and why."""

    def __init__(
        self,
        actor: _Subject,
        actor_id: bytes,
        durability: Durability,
        store: CheckpointStore,
        noted: Noted,
        complain: Callable[[str, str, str], None],
    ) -> None:
        self._actor = actor
        self._actor_id = actor_id
        self._is_by_itself = durability.by_itself
        self._store = store
        self._noted = noted
        self._complain = complain

    def note_saving(self, checkpoint_id: str) -> None:
        """Data is about to be saved under this id; until :meth:`note_made`, it is that of no checkpoint."""
        self._noted.note_unmade(checkpoint_id)

    def note_made(self) -> None:
        """What was saved last has become a checkpoint."""
        self._noted.note_unmade("")

    def of_expired(self, data: CheckpointData) -> None:
        """Remove what was saved for a checkpoint that is none any more."""
        try:
            faultpoints.hit("durable.checkpoint.expired")
            self._remove(data.checkpoint_id, data.locator)
        except Exception as error:
            self._tell(data.checkpoint_id, "has expired", data.locator, in_words(error))

    def of_unmade(self) -> None:
        """Remove what was saved last, by this process or the one before, if it has not become a checkpoint."""
        checkpoint_id = self._noted.unmade
        if not checkpoint_id:
            return
        locator = "" if self._is_by_itself else self._store.locate(checkpoint_id)
        problem = f"{TRIES} processes have ended over it" if self._noted.try_removing() > TRIES else ""
        if not problem:
            try:
                faultpoints.hit("durable.checkpoint.unmade")
                self._remove(checkpoint_id, locator)
            except FileNotFoundError:
                pass  # nothing was saved
            except Exception as error:
                problem = in_words(error)
        if problem:
            self._tell(checkpoint_id, "never became available", locator, problem)
        self._noted.note_unmade("")

    def _remove(self, checkpoint_id: str, locator: str) -> None:
        if self._is_by_itself:
            with current.outside_calls():
                self._actor.instance.checkpoint_expired(self._actor_id.hex(), checkpoint_id)
        elif locator:
            self._store.remove(locator)

    def _tell(self, checkpoint_id: str, why: str, locator: str, problem: str) -> None:
        where = f" at {locator}" if locator else ""
        text = (
            f"Checkpoint {checkpoint_id} {why}, and its data could not be removed{where}: {problem.rstrip('.')}. It is "
            "of no use any more, takes room, and that is not tried again: remove it yourself. The actor is not "
            "affected."
        )
        self._complain("expired", problem, text)
