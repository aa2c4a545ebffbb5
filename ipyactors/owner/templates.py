"""What every call of one function or method has in common, worked out once and not per call.

Made by the api from validated options; immutable, so that any number of threads may submit from one.
"""

from __future__ import annotations

import dataclasses

from ipyactors.ground.quantities import Units
from ipyactors.wire.specs import Definition, Durability

#: ``num_returns`` of a generator whose items are references of their own.
STREAMING = -1

#: The methods of every durable actor that are no part of its history.
CHECKPOINT, UPGRADE = "__ipyactors_checkpoint__", "__ipyactors_upgrade__"

#: ``retry_on`` when every exception may be retried.
ANY_EXCEPTION = b"*"


@dataclasses.dataclass(frozen=True, slots=True)
class TaskFacts:
    """What of a template is of interest when the function itself is needed no more: it has the fields of one."""

    name: str
    num_returns: int
    max_retries: int
    lineage: bool


@dataclasses.dataclass(frozen=True, slots=True)
class TaskTemplate:
    """A remote function with its options. ``retry_on`` is as in :class:`~ipyactors.wire.worker_messages.RunTask`.

    ``full_name`` has its module, and is the same in every process, which the definition's bytes need not be.
    ``max_retries`` is -1 for no limit. ``lineage``: what is needed to make lost results again is kept. Who is to call
    the function no more keeps the ``facts``, for the template keeps the function, here and in workers.
    """

    definition: Definition
    name: str
    demand: Units
    num_returns: int = 1
    max_retries: int = 3
    retry_on: bytes = b""
    lineage: bool = True
    full_name: str = ""
    facts: TaskFacts = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        facts = TaskFacts(self.name, self.num_returns, self.max_retries, self.lineage)
        object.__setattr__(self, "facts", facts)


@dataclasses.dataclass(frozen=True, slots=True)
class MethodTemplate:
    """A method of an actor with its options. ``max_task_retries`` is -1 for no limit; ``max_pending_calls`` too.

    ``is_readonly``: it leaves the actor as it was, so that it may be called again when its result is lost.
    ``is_persist``: a durable actor makes a checkpoint before it answers. ``is_durable`` tells of the actor, ``key`` is
    the user's own name for one call to it.
    """

    method: str
    num_returns: int = 1
    max_task_retries: int = 0
    retry_on: bytes = b""
    max_pending_calls: int = -1
    is_readonly: bool = False
    class_name: str = ""
    is_persist: bool = False
    is_durable: bool = False
    key: str = ""

    @property
    def is_counted(self) -> bool:
        """Whether a durable actor keeps nothing of such a call: how often it has ended a process is counted here."""
        return self.is_durable and (self.is_readonly or self.method in (CHECKPOINT, UPGRADE))


@dataclasses.dataclass(frozen=True, slots=True)
class ActorTemplate:
    """A remote class with its options. ``handle`` is what a handle of it is rebuilt from, pickled.

    ``full_name`` is as in :class:`TaskTemplate`.
    """

    definition: Definition
    class_name: str
    demand: Units
    name: str = ""
    namespace: str = ""
    get_if_exists: bool = False
    detached: bool = False
    max_restarts: int = 0
    max_concurrency: int = 1
    is_async: bool = False
    handle: bytes = b""
    durability: Durability | None = None
    full_name: str = ""
