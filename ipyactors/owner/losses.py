"""Lost objects into words: who, what happened, why it is not made again, what became of the work, what to do."""

from __future__ import annotations

from collections.abc import Iterable

from ipyactors.ground.exceptions import (
    ObjectFetchTimedOutError,
    ObjectReconstructionFailedActorResultError,
    ObjectReconstructionFailedBorrowedError,
    ObjectReconstructionFailedError,
    ObjectReconstructionFailedLineageDisabledError,
    ObjectReconstructionFailedLineageEvictedError,
    ObjectReconstructionFailedMaxAttemptsExceededError,
    ObjectReconstructionFailedPutError,
    ObjectReconstructionFailedRefNotFoundError,
    ObjectReconstructionFailedRetriesDisabledError,
    ObjectReconstructionFailedTaskCancelledError,
    StreamingGeneratorReplayInconsistentError,
)
from ipyactors.wire.specs import Location

#: For each reason: why it is not made again, with the name of what has made it, and what to do.
_WORDS: dict[type[ObjectReconstructionFailedError], tuple[str, str]] = {
    ObjectReconstructionFailedPutError: (
        "it was put, or passed as an argument, and only the result of a call can be made again",
        "Make it in a task, or keep a second copy of it with put(value, copies=2)",
    ),
    ObjectReconstructionFailedActorResultError: (
        "the actor's method {name} has made it, which might change the actor if it is called again, or cannot be",
        'If the method changes nothing, declare it with @ipyactors.method(effect="readonly"), and keep a handle',
    ),
    ObjectReconstructionFailedMaxAttemptsExceededError: (
        "{name} has made it, and its retries are used up",
        "To have it run again more often, set max_retries (-1: no limit)",
    ),
    ObjectReconstructionFailedRetriesDisabledError: (
        "{name} has made it, and max_retries=0 says that it may run once only",
        "To have it run again, set max_retries (-1: no limit)",
    ),
    ObjectReconstructionFailedLineageEvictedError: (
        "{name} has made it, and what is needed to run that again was dropped in favour of later calls",
        "To keep more, start with a larger init(max_lineage_bytes=...)",
    ),
    ObjectReconstructionFailedLineageDisabledError: (
        "{name} has made it, and with lineage=False (or max_lineage_bytes=0) nothing is kept to run it again",
        "Leave that out to have it run again",
    ),
    ObjectReconstructionFailedBorrowedError: (
        "it belonged to another process, which frees what nobody refers to any more",
        "Keep a reference to it for as long as it may be needed",
    ),
    ObjectReconstructionFailedTaskCancelledError: (
        "{name} has made it, and was cancelled when it ran again",
        "Submit the call again",
    ),
}


def not_again(
    reason: type[ObjectReconstructionFailedError], name: str, object_id: bytes, needed_for: bytes
) -> ObjectReconstructionFailedError:
    """Return the error of an object that is not made again; ``needed_for`` is the one that was asked for.

    ``name`` is that of the call that has made ``object_id``.
    """
    why, advice = _WORDS[reason]
    what = "It cannot be made again"
    if needed_for != object_id:
        what = f"To make it again, an argument is needed that is gone too, the object {object_id.hex()}"
    return reason(
        f"The object {needed_for.hex()} is lost: its data is on no machine any more. {what}: {why.format(name=name)}. "
        f"Nothing was run again. {advice}.",
        object_id=needed_for.hex(),
    )


def unreachable(object_id: bytes, places: Iterable[Location]) -> ObjectFetchTimedOutError:
    """Return the error of an object that is on machines from which nobody gets it."""
    where = ", ".join(sorted(f"node {place.node_id.hex()}" for place in places))
    return ObjectFetchTimedOutError(
        f"The object {object_id.hex()} cannot be had: its data should be at {where}, and was asked for there again and "
        "again in vain. It cannot be made again either. Look into the agent's log there.",
        object_id=object_id.hex(),
    )


def arguments_lost(call_name: str, segment_id: bytes) -> ObjectReconstructionFailedPutError:
    """Return the error of a call whose own arguments are gone from the store."""
    return ObjectReconstructionFailedPutError(
        f"The call {call_name} was not run: its arguments were in shared memory and are lost, on every machine. "
        "Submit it again; pass large values as the results of tasks, which can be made again.",
        object_id=segment_id.hex(),
    )


def item_not_yielded(name: str, object_id: bytes, index: int) -> StreamingGeneratorReplayInconsistentError:
    """Return the error of an item that a generator did not yield when it ran again."""
    return StreamingGeneratorReplayInconsistentError(
        f"Item {index} of the generator {name} is lost: its data is on no machine any more, and when the generator ran "
        "again it ended before that item. What it yields must not depend on anything but its arguments.",
        object_id=object_id.hex(),
    )


def unknown(object_id: bytes) -> ObjectReconstructionFailedRefNotFoundError:
    """Return the error for a reference that its owner does not know."""
    return ObjectReconstructionFailedRefNotFoundError(
        f"The object {object_id.hex()} is not known to the process that owns it: nobody referred to it any more, and "
        "it was freed. Keep a reference to it for as long as it may be needed.",
        object_id=object_id.hex(),
    )
