"""One call of a durable actor while it is here: who waits for it, what the log has of it, how it ends."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ipyactors.durable import record
from ipyactors.durable.call_tables import first_attempt
from ipyactors.durable.record import Answer, Outcome, Value
from ipyactors.ground import ids
from ipyactors.owner.current import CurrentCall
from ipyactors.owner.templates import STREAMING
from ipyactors.wire.codec import Message
from ipyactors.wire.specs import Payload
from ipyactors.wire.worker_messages import LOGGED, CallCancelled, CallMethod, CallRaised, CallSucceeded, ItemYielded
from ipyactors.worker.call_log import End


@dataclasses.dataclass(slots=True)
class Waiter:
    """A process that waits for the end of a call, which it knows as ``seq``. It has ``skip_items`` items already.

    ``first`` is the id of the call's first attempt, if it has a key: what another call with that key has raised is
    told, but not to be tried again.
    """

    peer: bytes
    seq: int
    task_id: bytes
    skip_items: int = 0
    first: bytes = b""


@dataclasses.dataclass(slots=True)
class LoggedCall:
    """A call that runs, or is about to. ``lsn`` is 0 for one that is not in the log, because it changes nothing.

    ``past`` is what the log has of it, where an incarnation before this one had begun it; ``is_begun`` once one has.
    ``items`` is what it has yielded, ``unsent`` what of that nobody was sent before a checkpoint has what it did.
    """

    call: CallMethod
    running: CurrentCall
    lsn: int = 0
    call_id: bytes = b""
    waiters: list[Waiter] = dataclasses.field(default_factory=list)
    past: Sequence[Value] = ()
    is_begun: bool = False
    items: list[Payload] | None = None
    unsent: list[ItemYielded] | None = None

    def drop_waiter(self, peer: bytes, seq: int) -> bool:
        """Have somebody wait no more, unless nobody else does; return whether anybody else does."""
        others = [one for one in self.waiters if (one.peer, one.seq) != (peer, seq)]
        if others:
            self.waiters = others
        return bool(others)

    def hold_back(self, item: ItemYielded) -> None:
        """Keep an item for when the call is over."""
        if self.unsent is None:
            self.unsent = []
        self.unsent.append(item)


def waiter_of(caller: bytes, call: CallMethod) -> Waiter:
    """Return who waits for a call that has come from ``caller``."""
    waiter = Waiter(caller, call.seq, call.task_id, call.skip_items)
    if call.key and call.identity is not None:
        waiter.first = first_attempt(call.identity.call_id, call.attempt)
    return waiter


def to_record(call: CallMethod) -> record.Call:
    """Return a call as the log has it."""
    identity = call.identity
    if identity is None:
        caller_id, call_id, counter, digest = ids.owner_of(call.task_id), call.task_id, call.counter, b""
    else:
        caller_id, call_id, counter, digest = identity.caller_id, identity.call_id, identity.counter, identity.digest
        if len(caller_id) == ids.PROCESS_ID_BYTES:
            counter = call.counter
    return record.Call(
        call_id,
        caller_id,
        counter,
        call.method,
        call.args,
        call.arg_values,
        call.num_returns,
        call.key,
        digest,
        (),
        call.crashes_allowed,
        call.is_persist,
        call.retry_on,
        call.attempt,
    )


def end_of(message: Message, logged: LoggedCall) -> End:
    """Return what is recorded of the message that ends a call, whose result is known by its record from now on."""
    answer, outcome = _answer_of(message, logged)
    if isinstance(message, CallSucceeded):
        message.version = LOGGED, logged.lsn
    return End(logged.lsn, logged.call_id, answer, outcome)


def _answer_of(message: Message, logged: LoggedCall) -> tuple[Answer, Outcome]:
    if isinstance(message, CallSucceeded):
        results = tuple(logged.items or ()) if logged.call.num_returns == STREAMING else message.results
        return Answer(results, duration_s=message.duration_s), Outcome.RETURNED
    items = tuple(logged.items or ())
    if isinstance(message, CallRaised):
        return Answer(items, message.error.without_details(), message.retryable), Outcome.RAISED
    assert isinstance(message, CallCancelled), f"{type(message).__name__} does not end a call"
    return Answer(items, is_cancelled=True), Outcome.RAISED
