"""The last step of making a call: what it will fill is made, and it goes to the session."""

from __future__ import annotations

from ipyactors.engines.base import Submitted
from ipyactors.ground import ids
from ipyactors.owner.calls import PendingCall
from ipyactors.owner.current import Submission, Turn
from ipyactors.owner.objects import Entry
from ipyactors.owner.origins import Origin
from ipyactors.owner.refs import ObjectRef, ObjectRefGenerator
from ipyactors.owner.session import Session
from ipyactors.owner.streams import Stream
from ipyactors.owner.templates import STREAMING


def submit(
    session: Session,
    call: PendingCall,
    returns: int,
    keep: object,
    origin: Origin,
    nested: tuple[Turn, Submission] | None = None,
) -> Submitted:
    """Make what the call will fill, and hand it to the session. ``keep`` is what must live until it is done.

    ``nested`` tells that a durable actor makes the call, in which turn; one that is replayed is not handed over.
    """
    call.keep = keep
    result: Submitted
    if returns == 1:
        call.entries = (Entry(call.task_id, call, "", origin),)
        result = ObjectRef(call.entries[0])
    elif returns == STREAMING:
        call.stream = Stream(call.task_id, origin)
        result = ObjectRefGenerator(session, call.stream, call)
    else:
        owner_id, counter = ids.owner_of(call.task_id), ids.counter_of(call.task_id)
        call.entries = tuple(
            Entry(ids.object_id(owner_id, counter, index), call, "", origin) for index in range(returns)
        )
        result = [ObjectRef(entry) for entry in call.entries] or None
    if nested is not None:
        turn, submission = nested
        turn.submitted(submission, call, call.entries)
        if submission.is_replayed:
            return result
    session.submit(call)
    return result
