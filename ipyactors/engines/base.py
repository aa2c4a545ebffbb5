"""The dozen verbs that the api needs of whatever runs the calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from ipyactors.owner.actors import ActorClient
from ipyactors.owner.refs import ObjectRef, ObjectRefGenerator
from ipyactors.owner.templates import ActorTemplate, MethodTemplate, TaskTemplate
from ipyactors.wire.census_messages import CensusReply
from ipyactors.wire.chaos_words import Order, Progress
from ipyactors.wire.events import Event
from ipyactors.wire.head_messages import ClusterReply

Submitted = ObjectRef | list[ObjectRef] | ObjectRefGenerator | None


class Faults(Protocol):
    """See :class:`ipyactors.engines.faults.Faults`."""

    def inject(self, order: Order, definition_id: bytes = b"", *, waits: bool = False) -> Order:
        """Have something done to an actor, or to the tasks of this process that run a definition; return the order."""
        ...

    def clear(
        self, actor_id: bytes = b"", definition_id: bytes = b"", order_ids: tuple[int, ...] = ()
    ) -> tuple[Progress, ...]:
        """Forget orders; return them."""
        ...

    def pending(self) -> tuple[Progress, ...]:
        """Return the orders that are left."""
        ...

    def kill_head(self) -> None:
        """Kill the head; return when the next one is there."""
        ...

    def kill_node(self, node_id: bytes) -> None:
        """Kill a machine; return when this process knows of its loss."""
        ...


class Engine(Protocol):
    """Runs tasks and actors. Every method may be called from any thread of the process.

    ``faults`` has what goes wrong on purpose. If this process has come back to a session that it had not started,
    ``given_at_first`` is what ``init()`` was given then, and ``welcome`` tells the user of it.
    """

    namespace: str
    given_at_first: Mapping[str, Any] | None
    welcome: str

    @property
    def faults(self) -> Faults:
        """The verbs of ``ipyactors.chaos``."""
        ...

    def submit_task(self, template: TaskTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Submitted:
        """Submit one call. One reference for ``num_returns`` 1, a list for more, None for 0, a generator for -1.

        Raises SerializationError if the arguments cannot be pickled; nothing is sent then.
        """
        ...

    def create_actor(
        self, template: ActorTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[ActorClient, bytes | None]:
        """Create an actor; return its client, and the ``handle`` bytes of the one that ``get_if_exists`` found.

        One handle object is counted, as in all methods that return a client: the one that is made with it.
        Waits for the head only when the actor has a name. Raises ActorAlreadyExistsError, SerializationError.
        """
        ...

    def call_method(
        self, client: ActorClient, template: MethodTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Submitted:
        """Submit one method call; returns as :meth:`submit_task`. Raises PendingCallsLimitError, SerializationError."""
        ...

    def adopt_actor(self, actor_id: bytes, class_name: str, name: str) -> ActorClient:
        """Return the client for an actor whose handle was unpickled here."""
        ...

    def find_actor(self, name: str, namespace: str) -> tuple[ActorClient, bytes]:
        """Return the client and the ``handle`` bytes of the live actor of that name. Raises ActorNotFoundError."""
        ...

    def release_handle(self, client: ActorClient) -> None:
        """A handle object went; safe to call from ``__del__``: it takes no lock and does no I/O."""
        ...

    def kill_actor(self, client: ActorClient, *, no_restart: bool) -> None:
        """End the actor's process now."""
        ...

    def finish_actor(self, client: ActorClient) -> None:
        """End the actor after the calls that this process has sent it (``__ray_terminate__``)."""
        ...

    def get(self, refs: Sequence[ObjectRef], timeout_s: float | None) -> list[Any]:
        """Return the values; raise the first error among those that are there. Raises GetTimeoutError."""
        ...

    def wait(
        self, refs: Sequence[ObjectRef], num_returns: int, timeout_s: float | None
    ) -> tuple[list[ObjectRef], list[ObjectRef]]:
        """Return ``(ready, rest)``, each in the given order; ``ready`` has at most ``num_returns``."""
        ...

    def as_completed(self, refs: Sequence[ObjectRef], deadline_s: float | None) -> Iterator[ObjectRef]:
        """Yield each reference when it is ready; end early at ``deadline_s`` on the monotonic clock."""
        ...

    def put(self, value: Any, copies: int = 1) -> ObjectRef:
        """Store a value, a large one on so many machines; return a reference to it.

        Raises OptionError if there are not so many, ObjectStoreFullError.
        """
        ...

    def cancel(self, ref: ObjectRef | ObjectRefGenerator, *, force: bool, recursive: bool) -> None:
        """Cancel what makes ``ref``. Raises ValueError for ``force`` on a method call; never for what has finished."""
        ...

    def explain(self, subject: ObjectRef | ObjectRefGenerator | ActorClient) -> str:
        """Return in words what the call or actor is doing or waiting for, and why."""
        ...

    def describe_cluster(self) -> ClusterReply:
        """Return nodes, actors and waiting demands. Raises HeadUnavailableError."""
        ...

    def take_census(self) -> CensusReply:
        """Return what every process owns and holds, and what every store has. Raises HeadUnavailableError."""
        ...

    def events(self) -> list[Event]:
        """Return what this process knows has happened, oldest first (a driver knows of all processes and actors)."""
        ...

    def subscribe(self, on_event: Callable[[Event], None], *, notable_only: bool = False) -> Callable[[], None]:
        """Call ``on_event`` for each new event, on the thread that reads at that moment; return what ends that.

        With ``notable_only`` not for attempts that ended well, but at once for the rest that has happened.
        """
        ...

    def shutdown(self, *, everything: bool | None = None) -> None:
        """End the session with all its processes, if this process has started it; one of others' is only left.

        With ``everything`` that ends too; with False, a session that may outlive its driver is left to its detached
        actors, if there are any. A worker ends nothing.
        """
        ...
