"""What an actor implements that saves its checkpoints itself."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import NamedTuple


class CheckpointContext(NamedTuple):
    """What is known of the time since an actor's last checkpoint, or since it was made if it has none."""

    actor_id: str
    """The actor's id, in hexadecimal: what ``get_runtime_context().get_actor_id()`` returns."""
    num_tasks_since_last_checkpoint: int
    """How many calls were executed since; the one that was just executed is counted."""
    time_elapsed_ms_since_last_checkpoint: int
    """Milliseconds since."""


class Checkpoint(NamedTuple):
    """One checkpoint of an actor."""

    checkpoint_id: str
    timestamp: int
    """When it was saved, in milliseconds since the Unix epoch."""


class Checkpointable(abc.ABC):
    """An actor that decides by itself when to make a checkpoint, and saves and loads the data itself.

    A remote class that inherits from it is durable: each call takes effect exactly once, through any number of crashes
    (``durable="host"``: and losses of power). What it has saved only shortens what is to be done again after a crash.
    All four methods must be there: a class that lacks one can neither be made remote nor be instantiated (TypeError).

    They are called in the actor's process, between its calls and never during one, with the actor's id in hexadecimal,
    as :func:`~ipyactors.actor.get_checkpoints_for_actor` takes it.
    """

    @abc.abstractmethod
    def should_checkpoint(self, checkpoint_context: CheckpointContext) -> bool:
        """Return whether to make a checkpoint now. Called after every call that may have changed the actor.

        That is every call but those of methods with ``effect="readonly"``; also one that raised. If this raises, no
        checkpoint is made, and the actor goes on.
        """

    @abc.abstractmethod
    def save_checkpoint(self, actor_id: str, checkpoint_id: str) -> None:
        """Save the actor's state in a place that outlives the actor's process, under ``checkpoint_id``.

        Called when :meth:`should_checkpoint` has returned true, or a checkpoint was asked for otherwise. The checkpoint
        becomes available when this has returned. If it raises, there is no such checkpoint, the older ones and the log
        are kept, and the actor goes on: nothing is lost but time after a crash. Do not write over what was saved under
        another id: it may be needed until :meth:`checkpoint_expired` says that it is not.
        """

    @abc.abstractmethod
    def load_checkpoint(self, actor_id: str, available_checkpoints: Sequence[Checkpoint]) -> str | None:
        """Restore the state from one of the checkpoints, and return its id; or return None and change nothing.

        Called after the constructor when the actor comes back and there are checkpoints, which are listed newest first.
        The calls after the chosen checkpoint are then done again; with None, all of them. If this raises, or returns
        anything else, older checkpoints are tried, with more to do again. When none is left, and the log does not reach
        back to the beginning, the actor is dead: its callers get RecoveryFailedError, and its files are kept.
        """

    @abc.abstractmethod
    def checkpoint_expired(self, actor_id: str, checkpoint_id: str) -> None:
        """Delete what was saved under ``checkpoint_id``: it will not be asked for again.

        Called, for the oldest first, when there are more than ``num_checkpoints_to_keep`` (20), after the newest one
        has become available. Also called for one that never became available, because :meth:`save_checkpoint` has
        raised, or a process has ended in it or soon after: then nothing may have been saved, or not all of it. If this
        raises, that is told in the actor's output (but for FileNotFoundError where nothing may be there), and the actor
        goes on.
        """


#: The names of what an actor is asked, which are no methods for its callers.
INTERFACE = frozenset(Checkpointable.__abstractmethods__)

#: How many checkpoints are kept when nothing is said, of a Checkpointable.
KEPT = 20
