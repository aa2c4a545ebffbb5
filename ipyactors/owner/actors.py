"""What a caller knows of an actor: its state, the calls that wait for it, the calls that it has.

A handle is counted: while this process holds one (or a payload that contains one, or an unanswered call), it holds
the weight that the head has granted it; when the last is gone the weight goes back. Weights make the count exact
without a question to the head: whoever ships a handle first adds to the receiver's weight.
"""

from __future__ import annotations

import dataclasses
import weakref
from collections import deque
from collections.abc import Callable

from ipyactors.ground import ids
from ipyactors.ground.quantities import Units
from ipyactors.owner import scopes
from ipyactors.owner.calls import NOTHING, CallState, Interruption, PendingCall
from ipyactors.owner.current import CurrentCall
from ipyactors.owner.objects import Entry, Failure
from ipyactors.owner.templates import MethodTemplate
from ipyactors.wire.events import name_of_call
from ipyactors.wire.head_messages import CreateActor
from ipyactors.wire.specs import ActorState, ActorStatus, Death, Payload
from ipyactors.wire.worker_messages import ActorVersion, CallIdentity

#: How many calls one caller has under way in one worker; the rest waits in the caller's outbox.
WINDOW = 1024


class ActorClient:
    """One actor, as seen from here. Changed only under the session's lock.

    ``outbox`` holds the calls that were not sent, oldest first; ``in_flight`` those that were not answered, by
    their number in the stream to the present worker. ``weight`` is what the head has granted this process.

    ``creation`` is what the head was told to make, kept until it has been alive: another head may have to be told.
    ``exiting`` is set while the present worker is on its way out, and nothing more is sent to it. ``finishing`` is
    set by ``__ray_terminate__``; calls made after it are ``late``: kept only to fail when the actor has ended.
    ``settling`` tells a durable actor which answers have arrived; ``folder`` is where its log is. ``scope`` is on whose
    behalf a driver has created it, or first got a handle (:mod:`ipyactors.owner.scopes`).
    """

    __slots__ = (
        "actor_id",
        "address",
        "class_name",
        "creating",
        "creation",
        "death",
        "demand",
        "exiting",
        "failure",
        "finishing",
        "folder",
        "handles",
        "in_flight",
        "incarnation",
        "late",
        "name",
        "next_seq",
        "node_id",
        "outbox",
        "restarts_left",
        "scope",
        "settling",
        "state",
        "unplaceable",
        "waiting_for",
        "weight",
        "worker_id",
    )

    def __init__(self, actor_id: bytes, class_name: str = "", name: str = "") -> None:
        self.actor_id = actor_id
        self.folder = ""
        self.class_name = class_name
        self.name = name
        self.state = ActorState.PENDING
        self.incarnation = 0
        self.worker_id = b""
        self.node_id = b""
        self.address = ""
        self.next_seq = 1
        self.outbox: deque[MethodCall] = deque()
        self.in_flight: dict[int, MethodCall] = {}
        self.handles = 0
        self.weight = 0
        self.restarts_left = 0
        self.death: Death | None = None
        self.unplaceable: Units | None = None
        self.demand: Units = {}
        self.waiting_for = ""
        self.exiting = ""
        self.creating = False
        self.creation: CreateActor | None = None
        self.failure: Exception | None = None
        self.finishing = False
        self.late: deque[MethodCall] = deque()
        self.settling = Settling()
        self.scope = scopes.current()

    @property
    def label(self) -> str:
        """``Counter 'c1'``, or ``Counter 5ae90b11`` when it has no name."""
        return f"{self.class_name or 'actor'} {repr(self.name) if self.name else ids.short(self.actor_id)}"

    @property
    def is_unused(self) -> bool:
        """Whether nothing in this process needs the actor any more."""
        return self.handles <= 0 and not self.unanswered and not self.creating

    @property
    def unanswered(self) -> int:
        """How many calls of this process have no answer yet."""
        return len(self.in_flight) + len(self.outbox) + len(self.late)

    def take_status(self, status: ActorStatus) -> None:
        """Copy what the head says."""
        self.state = status.state
        self.node_id = status.node_id or self.node_id
        self.restarts_left = status.restarts_left
        self.death = status.death or self.death
        self.waiting_for = status.waiting_for
        self.class_name = self.class_name or status.class_name
        self.name = self.name or status.name


class MethodCall(PendingCall):
    """One call of a method.

    ``version`` is the state of the actor that a readonly method has seen, as its answer says; None if that is not
    known. ``expected`` is the one that its result is wanted from, where it is made again. ``counter`` rises with this
    process's calls to durable actors. ``identity`` is how a durable actor knows the call, where it is not simply this
    process that calls, and ``caller_settled`` below what all may be settled there at most; ``is_consumed`` tells that
    its result is in the log of the durable actor that has made it. ``may_be_known``: a durable actor may have it in its
    log already, from an earlier incarnation, or from an earlier attempt of the caller. ``unbegun`` is the incarnation
    that certainly had not begun it when it ended, nor had any before that; -1 if that is not known. ``interruptions``
    are the ends of processes that may have begun it, ``interrupted`` counts those that had, as its answer says.
    """

    __slots__ = (
        "caller_settled",
        "client",
        "counter",
        "expected",
        "identity",
        "interrupted",
        "interruptions",
        "is_consumed",
        "may_be_known",
        "template",
        "unbegun",
        "version",
    )

    def __init__(
        self,
        template: MethodTemplate,
        client: ActorClient,
        task_id: bytes,
        args: Payload,
        deps: tuple[Entry, ...],
        parent: CurrentCall | None,
    ) -> None:
        super().__init__(task_id, args, deps, template.max_task_retries, parent)
        self.template = template
        self.client = client
        self.version: ActorVersion | None = None
        self.expected: ActorVersion | None = None
        self.counter = 0
        self.caller_settled = 0
        self.identity: CallIdentity | None = None
        self.is_consumed = False
        self.may_be_known = False
        self.unbegun = -1
        self.interrupted = 0
        self.interruptions: tuple[Interruption, ...] = ()

    @property
    def is_retriable(self) -> bool:
        """See :meth:`PendingCall.is_retriable`; a durable actor keeps the calls of its turns by itself."""
        return self.retries_left != 0 and not self.template.is_durable

    @property
    def is_of_turn(self) -> bool:
        """See :meth:`PendingCall.is_of_turn`."""
        return self.identity is not None and len(self.identity.caller_id) == ids.ACTOR_ID_BYTES

    def finish(self, failure: Failure | None, results: tuple[Payload, ...] = (), made_by: object = None) -> None:
        """See :meth:`PendingCall.finish`. One with an identity lets go of its objects: whether they live matters."""
        super().finish(failure, results, made_by)
        if self.identity is not None:
            self.entries = ()
            if self.parent is not None and self.parent.unanswered is not None:
                self.parent.unanswered.remove(self)

    @property
    def name(self) -> str:
        """``Class.method``."""
        return name_of_call(self.client.class_name, self.template.method)

    def trace(self) -> object:
        """See :meth:`PendingCall.trace`. What changes nothing may be called again any number of times.

        What a durable actor has in its log can be asked for again; its arguments are not needed for that.
        """
        template = self.template
        if not template.is_readonly:
            if not template.is_durable or self.version is None:
                return template
            return template, self.client, NOTHING, -1, self.attempt, self.parent, self.version, 0
        return template, self.client, self.args, -1, self.attempt, self.parent, self.version, self.number


#: What is behind the id of a durable actor in those of the calls that its constructor has made.
_NO_LSN = bytes(8)

#: Calls of one caller that are not settled, in their order, each with its counter and the objects that it makes.
_Row = deque[tuple[int, MethodCall, tuple[weakref.ref[Entry], ...]]]


class Settling:
    """Up to which of their calls the callers of this process have all answers from one durable actor.

    A caller that is this process has an answer once it has arrived. One that is a durable actor has it once it is
    safe in its log, or nobody can ask for it any more. That is looked at when the actor makes a further call, for then
    the log is safe: not when that call leaves, which may have to wait for its arguments while the actor's turn goes on
    and takes, or lets go of, what is not safe yet. A call that may be retried asks for its answers again; what is
    settled of those, its caller says.
    """

    def __init__(self) -> None:
        self._own: deque[MethodCall] = deque()
        self._rows: dict[bytes, _Row] = {}

    def add(self, call: MethodCall) -> None:
        """Take a call that was made; calls of this process are taken in the order of their counters.

        Those of an actor are not where several of its methods run side by side.
        """
        identity = call.identity
        if identity is None or len(identity.caller_id) == ids.PROCESS_ID_BYTES:
            self._own.append(call)
        elif len(identity.caller_id) == ids.ACTOR_ID_BYTES:
            row = self._row(identity.caller_id)
            _insert(row, (_place_of(identity), call, tuple(map(weakref.ref, call.entries))))
            _drop_settled(row)

    def below(self, call: MethodCall) -> int:
        """Return the counter below which this call's caller has all answers."""
        identity = call.identity
        if identity is None or len(identity.caller_id) == ids.PROCESS_ID_BYTES:
            own, done = self._own, CallState.DONE
            while len(own) > 1 and own[0].state is done:
                own.popleft()
            return own[0].counter if own else 0
        row = self._rows.get(identity.caller_id)
        return min(row[0][0], call.caller_settled) if row else call.caller_settled

    @property
    def is_over(self) -> bool:
        """Whether all callers have all answers: then nothing is lost if this is forgotten."""
        return all(call.state is CallState.DONE for call in self._own) and all(
            _is_settled(call, entries) for row in self._rows.values() for _, call, entries in row
        )

    def _row(self, caller_id: bytes) -> _Row:
        row = self._rows.get(caller_id)
        if row is None:
            row = self._rows[caller_id] = deque()
        return row


def _place_of(identity: CallIdentity) -> int:
    """Return where the call of a durable actor is in the order in which that makes its calls again.

    That is its counter, but of a constructor's: those are made before all others, and may be counted higher.
    """
    return 0 if identity.call_id.startswith(identity.caller_id + _NO_LSN) else identity.counter


def _insert(row: _Row, made: tuple[int, MethodCall, tuple[weakref.ref[Entry], ...]]) -> None:
    place = len(row)
    while place and row[place - 1][0] > made[0]:
        place -= 1
    row.insert(place, made)


def _drop_settled(row: _Row) -> None:
    while len(row) > 1 and _is_settled(*row[0][1:]):
        row.popleft()


def _is_settled(call: MethodCall, entries: tuple[weakref.ref[Entry], ...]) -> bool:
    if call.state is not CallState.DONE:
        return False
    return call.is_consumed or all(entry() is None for entry in entries)


@dataclasses.dataclass(slots=True)
class Constructor:
    """What the constructor of an actor needs that this process has created; ``names`` is a payload without bytes.

    ``worker_id`` is the process that was lent it last. See :mod:`ipyactors.owner.constructors`.
    """

    names: Payload
    held: tuple[Entry, ...]
    worker_id: bytes = b""


class HandleToken:
    """Counts as one handle for as long as it lives; what a payload with a handle inside holds.

    ``count(client, change)`` is called when it is made and when it goes.
    """

    __slots__ = ("_count", "client")

    def __init__(self, count: Callable[[ActorClient, int], None], client: ActorClient) -> None:
        self._count = count
        self.client = client
        count(client, 1)

    def __del__(self) -> None:
        self._count(self.client, -1)
