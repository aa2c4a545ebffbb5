"""One call on its way: what was submitted, where it is, what is left to try.

Tasks and method calls share what is here; they differ in where they wait (a shape's queue, an actor's outbox) and in
what a death means for them. :class:`~ipyactors.owner.actors.MethodCall` is beside the actor that it is for.
"""

from __future__ import annotations

import abc
import enum
from typing import Any, NamedTuple

from ipyactors.owner import scopes
from ipyactors.owner.current import CurrentCall
from ipyactors.owner.objects import Entry, Failure
from ipyactors.owner.origins import Origin
from ipyactors.owner.streams import Stream
from ipyactors.owner.templates import TaskTemplate
from ipyactors.wire.events import spoken
from ipyactors.wire.specs import Payload

#: Stands for arguments that need not be kept.
NOTHING = Payload(b"")


class CallState(enum.IntEnum):
    """Where a call is."""

    WAITING = 0
    """For its arguments."""
    QUEUED = 1
    """For a worker (task), or for the actor to be there (method call)."""
    SENT = 2
    WITHDRAWN = 3
    """It was cancelled before it was sent; its results say so soon (:mod:`ipyactors.owner.withdrawal`)."""
    DONE = 4


class Interruption(NamedTuple):
    """A process has ended that had been sent a call ``ran_s`` before. ``at_s`` is monotonic."""

    incarnation: int
    at_s: float
    ran_s: float
    why: str


class PendingCall(abc.ABC):
    """A call that is not done. Changed only under the session's lock, once it was submitted.

    ``seq`` is its number in the stream to the worker that has it since ``sent_s`` (monotonic); ``retries_left`` is -1
    for no limit. ``number`` is that among the calls that may be retried, see :mod:`ipyactors.owner.retriable`; 0 if it
    may not. ``scope`` is on whose behalf a driver makes it (:mod:`ipyactors.owner.scopes`). ``keep`` holds the handles
    among the arguments alive for as long as the call may have to be sent again.
    """

    __slots__ = (
        "__weakref__",
        "args",
        "attempt",
        "cancelled",
        "deps",
        "entries",
        "keep",
        "number",
        "parent",
        "retries_left",
        "scope",
        "sent_s",
        "seq",
        "state",
        "stream",
        "task_id",
        "unready",
    )

    def __init__(
        self, task_id: bytes, args: Payload, deps: tuple[Entry, ...], retries_left: int, parent: CurrentCall | None
    ) -> None:
        self.task_id = task_id
        self.args = args
        self.deps = deps
        self.unready = 0
        self.retries_left = retries_left
        self.attempt = 0
        self.number = 0
        self.parent = parent
        self.scope = 0 if parent is not None else scopes.current()
        self.entries: tuple[Entry, ...] = ()
        self.stream: Stream | None = None
        self.state = CallState.WAITING
        self.seq = 0
        self.sent_s = 0.0
        self.cancelled = False
        self.keep: Any = None

    @property
    def is_retriable(self) -> bool:
        """Whether it may be run again after it has begun, and would make its own calls again."""
        return self.retries_left != 0

    @property
    def is_of_turn(self) -> bool:
        """Whether a durable actor calls another one: its log says what comes before, and what after."""
        return False

    @property
    def origin(self) -> Origin | None:
        """Where it was made; not known of a call that has no results."""
        if self.entries:
            return self.entries[0].origin
        return self.stream.origin if self.stream is not None else None

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """The function's name, or ``Class.method``."""

    @property
    def spoken_name(self) -> str:
        """The name as errors have it: what the package calls by itself is named after its function."""
        return spoken(self.name)

    @abc.abstractmethod
    def trace(self) -> object:
        """Return all that is needed to make the call again, as a tuple; only facts where it is not to be.

        The tuple is what :class:`~ipyactors.owner.lineage.Record` takes apart. Called once for each success, so it is
        no more than a tuple.
        """

    def lacks_arguments(self) -> bool:
        """Return whether an argument that was there is not, or has failed: the call cannot be sent as it is."""
        return any(not entry.done or entry.failure is not None for entry in self.deps)

    def arg_values(self) -> tuple[Payload, ...]:
        """Return the values of the references among the arguments; all are there by now."""
        return tuple(entry.payload for entry in self.deps if entry.payload is not None) if self.deps else ()

    def may_retry(self) -> bool:
        """Return whether there is a retry left; a cancelled call has none."""
        return self.retries_left != 0 and not self.cancelled

    def take_retry(self) -> None:
        """Use one retry up: the next attempt begins."""
        if self.retries_left > 0:
            self.retries_left -= 1
        self.attempt += 1

    def finish(self, failure: Failure | None, results: tuple[Payload, ...] = (), made_by: object = None) -> None:
        """Complete every entry, or fail those that are not complete. ``made_by`` is the lineage of the results."""
        self.state = CallState.DONE
        self.keep = None
        self.deps = ()
        if failure is None:
            for entry, payload in zip(self.entries, results, strict=False):
                entry.lineage = made_by
                entry.complete(payload)
        else:
            for entry in self.entries:
                entry.fail(failure)
        if self.stream is not None:
            self.stream.end(failure)


class TaskCall(PendingCall):
    """One call of a function. ``values`` is what its attempts have taken from outside."""

    __slots__ = ("template", "values")

    def __init__(
        self,
        template: TaskTemplate,
        task_id: bytes,
        args: Payload,
        deps: tuple[Entry, ...],
        parent: CurrentCall | None,
    ) -> None:
        super().__init__(task_id, args, deps, template.max_retries, parent)
        self.template = template
        self.values: tuple[bytes, ...] = ()

    @property
    def name(self) -> str:
        """The function's name."""
        return self.template.name

    def trace(self) -> object:
        """See :meth:`PendingCall.trace`."""
        template = self.template
        if not (self.retries_left and template.lineage):
            return template.facts
        return template, None, self.args, self.retries_left, self.attempt, self.parent, None, self.number
