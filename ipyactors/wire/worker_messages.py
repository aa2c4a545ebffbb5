"""Caller and worker: the conversation on the path of every call, and the one for fetching a borrowed object.

The caller is any owner session (a driver, or a worker on behalf of the code it runs). It is known by the routing
id of its socket, never by a field that it could fill in. ``seq`` counts one caller's calls to one worker's
mailbox from 1 without gaps; it names the call in every later message of this conversation.
"""

from __future__ import annotations

import msgspec

from ipyactors.wire.chaos_words import Order
from ipyactors.wire.specs import Definition, Payload, RemoteError

#: Which state of an actor: its incarnation, and how many calls that may change it had begun there. (0, 0) is what the
#: constructor makes, in every incarnation; (0, lsn) is a durable actor after a call, in every incarnation too.
ActorVersion = tuple[int, int]

#: With an lsn, in the place of an :data:`ActorVersion`: the result is in the log there, and is asked for again.
LOGGED = -1


class _Word(msgspec.Struct, array_like=True, tag=True):
    """Base of this file's messages."""


# -- caller to worker ------------------------------------------------------------------------------------------


class Define(_Word):
    """Here is a function that a later call in this stream will name by its id."""

    definition: Definition


class ForgetDefinitions(_Word):
    """No call of mine needs these functions any more; a later one that does comes after another :class:`Define`."""

    definition_ids: tuple[bytes, ...]


class RunTask(_Word):
    """Run a function once.

    ``args`` is a pickled ``(args, kwargs)`` in which each top-level reference is an ``ArgSlot``; ``arg_values`` are
    the values for the slots. ``num_returns`` is -1 for a streaming generator. ``retry_on`` is a pickled tuple of
    exception types, or ``b"*"`` for all, ``b""`` for none: the worker says in its answer whether the exception is
    one of them. ``task_id`` is the object id of the first result. ``skip_items`` is how many items of a generator
    the caller already has from an earlier attempt; with ``until_item`` the generator is closed when it has yielded so
    many in all. ``counter`` is the call's number among those of its caller that may be retried, 0 if it may not be;
    those with one below ``settled`` are over. Both are for the calls to durable actors that it makes.
    ``values`` is what an earlier attempt has taken from outside, see :class:`ValueTaken`; ``faults`` is what is to go
    wrong on purpose.
    """

    seq: int
    task_id: bytes
    definition_id: bytes
    name: str
    args: Payload
    arg_values: tuple[Payload, ...] = ()
    num_returns: int = 1
    retry_on: bytes = b""
    attempt: int = 0
    skip_items: int = 0
    until_item: int = 0
    counter: int = 0
    settled: int = 0
    values: tuple[bytes, ...] = ()
    faults: tuple[Order, ...] = ()


class CallIdentity(msgspec.Struct, array_like=True, frozen=True):
    """Who calls a durable actor, where it is not simply a process: a task that may be retried, or another actor.

    ``caller_id`` is the task's id or the actor's, and the same in every attempt and incarnation; so is ``call_id``.
    ``counter`` rises with the caller's calls. ``digest`` tells what is called with what.
    """

    caller_id: bytes
    call_id: bytes
    counter: int
    digest: bytes = b""


class CallMethod(_Word):
    """Call a method of the actor that this worker hosts; fields as in :class:`RunTask`.

    Calls of one caller start in the order of their ``seq``. A worker whose incarnation is not ``incarnation``
    refuses the call. ``is_readonly``: it leaves the actor as it is. With ``expected``, the result is only wanted from
    the actor as it was then; it is not run on any other, see :class:`ActorHasChanged`.

    For durable actors: ``identity`` None means that the calling process is the caller, and ``task_id`` names the call;
    ``counter`` rises with that process's calls to durable actors, one by one. The caller has the answers to all its
    calls to this actor with a counter below ``settled``. ``key`` is the user's own name for the call. When it has ended
    more than ``crashes_allowed`` processes (-1: no limit) it is given up. ``is_persist``: what it did is in a
    checkpoint before it is answered. ``may_be_known``: it may be in the log already, so that only the log can tell
    whether it has run. For other actors ``counter`` and ``settled`` are as in :class:`RunTask`.
    """

    seq: int
    task_id: bytes
    method: str
    args: Payload
    arg_values: tuple[Payload, ...] = ()
    num_returns: int = 1
    retry_on: bytes = b""
    attempt: int = 0
    incarnation: int = 0
    skip_items: int = 0
    until_item: int = 0
    is_readonly: bool = False
    expected: ActorVersion | None = None
    is_persist: bool = False
    identity: CallIdentity | None = None
    counter: int = 0
    settled: int = 0
    key: str = ""
    crashes_allowed: int = 0
    may_be_known: bool = False


class CancelCall(_Word):
    """Do not start the call; if it runs, interrupt it (task), cancel it (async method) or set its flag (method).

    ``recursive`` passes the wish on to what the call has submitted.
    """

    seq: int
    recursive: bool = True


class FinishAndExit(_Word):
    """Run what the mailbox holds, then end the actor (``__ray_terminate__``, or its last handle went)."""

    detail: str = ""


class ValueKept(_Word):
    """I have what the task ``seq`` has taken as its ``index``-th value; another attempt will be given the same."""

    seq: int
    index: int


class WaitingCall(msgspec.Struct, array_like=True, frozen=True):
    """A call that runs and waits. ``wait_id`` is the wait's own, ``who`` names the call for people.

    ``line`` names one that stands in line behind it, if the wait before is for that one.
    """

    wait_id: bytes
    who: str
    line: str = ""


class ProbeCalls(_Word):
    """I wait for these calls; if they are held up by one that waits too, pass this on after what that waits for.

    ``path`` are the waits from the one that has begun this on, each for the next; it is the ``number``-th that that one
    has begun. See :mod:`ipyactors.owner.deadlock`.
    """

    seqs: tuple[int, ...]
    number: int
    path: tuple[WaitingCall, ...]


CallerToWorker = Define | RunTask | CallMethod | CancelCall | FinishAndExit | ForgetDefinitions | ValueKept | ProbeCalls


# -- worker to caller ------------------------------------------------------------------------------------------


class CallSucceeded(_Word):
    """The call returned. ``results`` has one payload per result; none for a generator, whose items came before.

    ``duration_s`` is measured in the worker around the user's code. ``version`` is the state of the actor that a
    readonly method has seen; None if another call may have changed it meanwhile. ``crashes``, here and below: the
    incarnations of a durable actor that have died while they ran the call, which then ran again.
    """

    seq: int
    results: tuple[Payload, ...] = ()
    duration_s: float = 0.0
    version: ActorVersion | None = None
    crashes: tuple[int, ...] = ()


class CallRaised(_Word):
    """The user's code raised. ``retryable`` says whether the exception is one that the call asked to retry."""

    seq: int
    error: RemoteError
    retryable: bool = False
    crashes: tuple[int, ...] = ()


class CallCancelled(_Word):
    """The call was cancelled: before it started (``started=False``), or while it ran."""

    seq: int
    started: bool = False


class CallsReturned(_Word):
    """These calls had not started and will not run here: submit them elsewhere, at no cost in retries.

    A worker gives back the tasks that wait behind a long one, so that a pipeline never starves them.
    """

    seqs: tuple[int, ...]


class ItemYielded(_Word):
    """A generator produced its ``index``-th item (from 0). ``version`` is as in :class:`CallSucceeded`, so far."""

    seq: int
    index: int
    payload: Payload
    version: ActorVersion | None = None


class OutputWritten(_Word):
    """The call ``seq`` printed. Sent before the call's answer, so a reader has the text first.

    ``source`` is the name to put before each line (``f`` or ``Counter 'c1'``); ``stream`` is 1 for standard output,
    2 for standard error. What is written in no caller's name has ``seq`` 0; that of an actor has its ``actor_id`` and
    goes to its creator. With a ``call_id``, the actor runs this call from its log, and the caller has not come yet.

    With a ``block_id``, ``text`` is lines that are written over again and again, as a progress bar: it comes in the
    place of what the block was before. The last one ends with a newline. For ``number`` see ``last_words.py``.
    """

    seq: int
    source: str
    stream: int
    text: str
    block_id: bytes = b""
    actor_id: bytes = b""
    call_id: bytes = b""
    number: int = 0


class DisplayWritten(_Word):
    """The call ``seq`` displays something. Sent in order with what it prints.

    ``bundle`` is JSON: ``data`` by MIME type, as Jupyter has it, and ``metadata``. ``is_update``: it comes in the place
    of what was displayed with the same ``display_id``. ``actor_id`` and ``call_id`` are as in :class:`OutputWritten`.
    """

    seq: int
    source: str
    bundle: bytes
    display_id: str
    is_update: bool = False
    actor_id: bytes = b""
    call_id: bytes = b""


#: What a call has for whoever looks on.
Written = OutputWritten | DisplayWritten


class ActorExiting(_Word):
    """The actor is ending on purpose: send it nothing more. Its death report will say which calls had begun."""

    detail: str


class ArgumentsMissing(_Word):
    """The call was not run: these segments among its arguments could not be had. It may be sent again."""

    seq: int
    segment_ids: tuple[bytes, ...]


class ValueTaken(_Word):
    """The task ``seq`` takes ``data`` as its ``index``-th value from outside; it has to wait for :class:`ValueKept`."""

    seq: int
    index: int
    data: bytes  # the worker's own affair


class NestedCallsLeft(_Word):
    """The call ``seq`` ends before calls to durable actors that it has made are answered: those go on from here.

    They count as calls of a call that is not over, until this comes once more, with ``is_over``.
    """

    seq: int
    is_over: bool = False


class ActorHasChanged(_Word):
    """The call has no result: the actor is not, or not any more, as it was when the call was made first."""

    seq: int


WorkerToCaller = (
    CallSucceeded
    | CallRaised
    | CallCancelled
    | CallsReturned
    | ItemYielded
    | OutputWritten
    | DisplayWritten
    | ActorExiting
    | ArgumentsMissing
    | ActorHasChanged
    | ValueTaken
    | NestedCallsLeft
)


# -- borrower and owner ----------------------------------------------------------------------------------------


class FetchObject(_Word):
    """Send me this object as soon as it is there; sent by a process that holds a reference it does not own."""

    object_id: bytes


class CancelObject(_Word):
    """Cancel the call that makes this object, as its owner would; sent by a borrower."""

    object_id: bytes
    force: bool = False
    recursive: bool = True


class LendObject(_Word):
    """I am sending a reference to ``borrower_id``: count one more for it, before it even knows.

    Said by whoever ships the reference, before it could let go of its own; the borrower may be the owner itself, or
    the sender, for a reference that came to it by another way. It is empty for a reference that was pickled for whoever
    may read it: the object is kept to the end.
    """

    object_id: bytes
    borrower_id: bytes


class ReleaseObject(_Word):
    """My last reference went: take ``count`` off (every time that ``lender_id`` has lent it to me so far)."""

    object_id: bytes
    count: int
    lender_id: bytes


class LendsSettled(_Word):
    """``lender_id`` is gone. Of what it lent me of yours I have this, by object id; the rest will never come."""

    lender_id: bytes
    counts: dict[bytes, int]


class ReportMissing(_Word):
    """The data of this object could not be had at any of ``node_ids``: find or make it again, then send it to me."""

    object_id: bytes
    node_ids: tuple[bytes, ...]


class ProbeObjects(_Word):
    """I wait for these objects: pass this on as :class:`ProbeCalls` to those who make them."""

    object_ids: tuple[bytes, ...]
    number: int
    path: tuple[WaitingCall, ...]


BorrowerToOwner = FetchObject | CancelObject | LendObject | ReleaseObject | LendsSettled | ReportMissing | ProbeObjects


class ObjectReady(_Word):
    """Here is the object."""

    object_id: bytes
    payload: Payload


class ObjectFailed(_Word):
    """There will be no such object.

    ``error`` is what the user's code raised; where it is None, ``failure`` is a pickled error of the runtime's own.
    """

    object_id: bytes
    error: RemoteError | None = None
    failure: bytes = b""


OwnerToBorrower = ObjectReady | ObjectFailed
