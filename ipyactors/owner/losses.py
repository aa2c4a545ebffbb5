"""Lost objects into words: who, what happened, why it is not made again, what became of the work, what to do."""

from __future__ import annotations

import copy
import enum
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from ipyactors.ground import ids
from ipyactors.ground.exceptions import (
    ActorError,
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
    OwnerDiedError,
    SessionError,
    StreamingGeneratorReplayInconsistentError,
    TaskCancelledError,
)
from ipyactors.owner.objects import Entry, Failure
from ipyactors.wire.specs import Location, RemoteError


class ActorBar(enum.Enum):
    """Why an actor is not asked again for what a method of it has made."""

    NOT_READONLY = enum.auto()
    NO_HANDLE = enum.auto()
    DEAD = enum.auto()
    """How it died, or why it does not answer, is said beside."""
    CHANGED = enum.auto()
    UNSTABLE = enum.auto()


#: For each reason: why it is not made again, with the name of what has made it, and what to do.
_WORDS: dict[type[ObjectReconstructionFailedError] | ActorBar, tuple[str, str]] = {
    ObjectReconstructionFailedPutError: (
        "it was put, or passed as an argument, and only the result of a call can be made again",
        "Make it in a task, or keep a second copy of it with put(value, copies=2)",
    ),
    ActorBar.NOT_READONLY: (
        "the actor's method {name} has made it, and to call that again might change the actor",
        'If the method changes nothing, declare it with @ipyactors.method(effect="readonly")',
    ),
    ActorBar.NO_HANDLE: (
        "the actor's method {name} has made it, and this process has no handle of that actor any more",
        "Keep a handle of an actor for as long as results of its readonly methods may have to be made again",
    ),
    ActorBar.DEAD: (
        "the actor's method {name} has made it, and the actor cannot be asked: {detail}",
        "Create the actor again, and call the method again",
    ),
    ActorBar.CHANGED: (
        "the actor's method {name} has made it, and the actor has changed since, so that it would be another value",
        "Call the method again to have the present value",
    ),
    ActorBar.UNSTABLE: (
        "the actor's method {name} has made it while other calls may have been changing the actor",
        "Call the method again to have the present value",
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


class Bar(NamedTuple):
    """Why an object cannot be made again. ``name`` is that of the call that has made it; empty if none has.

    ``actor`` is set where the reason is :class:`ObjectReconstructionFailedActorResultError`. ``ended``: it was tried.
    """

    reason: type[ObjectReconstructionFailedError]
    name: str = ""
    actor: ActorBar | None = None
    detail: str = ""
    ended: bool = False

    def words(self) -> tuple[str, str]:
        """Return why, and what to do."""
        why, advice = _WORDS[self.actor or self.reason]
        return why.format(name=self.name, detail=self.detail), advice


def not_again(bar: Bar, object_id: bytes, needed_for: bytes) -> ObjectReconstructionFailedError:
    """Return the error of an object that is not made again; ``needed_for`` is the one that was asked for.

    ``bar`` is that of ``object_id``: the same, or an argument on the way to it.
    """
    why, advice = bar.words()
    what = "It cannot be made again"
    if needed_for != object_id:
        what = f"To make it again, an argument is needed that is gone too, the object {object_id.hex()}"
        if bar.reason is ObjectReconstructionFailedPutError:
            advice = (
                "Keep a reference to what was put for as long as results of calls that took it may have to be made "
                "again, or pass the value itself: then it is kept with the call"
            )
    return bar.reason(
        f"The object {needed_for.hex()} is lost: its data is on no machine any more. {what}: {why}. "
        f"{'' if bar.ended else 'Nothing was run again. '}{advice}.",
        object_id=needed_for.hex(),
    )


def owner_died(bar: Bar, object_id: bytes, needed_for: bytes) -> OwnerDiedError:
    """Return the error of a borrowed object that went with its owner; arguments as in :func:`not_again`."""
    why, advice = bar.words()
    what = "It cannot be made again here"
    if needed_for != object_id:
        what = f"To make it again, an argument is needed that is gone too, the object {object_id.hex()}"
    elif bar.reason is ObjectReconstructionFailedBorrowedError:
        why = "this process did not get the reference as the result of a call of its own"
        advice = "Make it in a process that lives longer, such as the driver"
    return OwnerDiedError(
        f"{_went_with_its_owner(needed_for)}. {what}: {why}. {'' if bar.ended else 'Nothing was run again. '}{advice}.",
        object_id=needed_for.hex(),
        reason=bar.reason.reason,
    )


class ActorChangedError(ActorError):
    """What a method call fails with that was to be made again on an actor as it was; never raised as it is."""


def of_run(failure: Failure, name: str, entry: Entry, *, is_argument: bool) -> Failure:
    """Return what a lost object fails with whose call, ``name``, was made again and failed.

    ``is_argument``: it did not run, for an argument of it has that failure.
    """
    in_words = owner_died if entry.owner_address else not_again
    object_id = entry.object_id
    if not is_argument:
        bar = None
        if isinstance(failure, TaskCancelledError):
            bar = Bar(ObjectReconstructionFailedTaskCancelledError, name, ended=True)
        elif isinstance(failure, ActorChangedError):
            bar = Bar(ObjectReconstructionFailedActorResultError, name, ActorBar.CHANGED)
        elif isinstance(failure, ActorError):
            why = str(failure).partition("\n")[0].rstrip(".")
            bar = Bar(ObjectReconstructionFailedActorResultError, name, ActorBar.DEAD, why, ended=True)
        if bar is not None:
            error: Exception = in_words(bar, object_id, object_id)
            if bar.actor is not ActorBar.CHANGED:
                error.__cause__ = failure if isinstance(failure, Exception) else None
            return error
    if isinstance(failure, SessionError) or getattr(failure, "object_id", None) == object_id.hex():
        return failure
    ran = "ran again, and has failed so"
    if is_argument:
        ran = "would have to run again, but an argument of it has failed so"
    return with_note(
        failure,
        f"The object {object_id.hex()} was there before, and is lost: its data is on no machine any more. "
        f"To make it again, {name} {ran}.",
    )


def with_note(failure: Failure, note: str, *, keeps: int = 1) -> Failure:
    """Return a failure with a note; of those that it has, the first ones are kept: a chain of calls may be long."""
    if isinstance(failure, RemoteError):
        return msgspec.structs.replace(failure, notes=(*failure.notes[:keeps], note))
    error = copy.copy(failure)
    error.__cause__ = failure.__cause__
    error.__notes__ = [*getattr(failure, "__notes__", ())[:keeps], note]
    return error


def refs_differ(name: str, object_id: bytes, *, before: int, now: int) -> OwnerDiedError:
    """Return the error of a borrowed object in whose place a call has made none when it ran again."""
    was = "1 reference" if now == 1 else f"{now} references"
    how = f"its result had {was}, and not {before} as before" if now != before else "its result had the same reference"
    return OwnerDiedError(
        f"{_went_with_its_owner(object_id)}. {name}, which had returned the reference, ran again, but {how}: none of "
        "them can be taken for this one. The references that it returns must not depend on anything but its arguments.",
        object_id=object_id.hex(),
        reason=StreamingGeneratorReplayInconsistentError.reason,
    )


def _went_with_its_owner(object_id: bytes) -> str:
    return (
        f"The object {object_id.hex()} is lost: the process {ids.short(object_id)} that made the reference and kept "
        "its value is gone, and no machine has a copy"
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
    """Return the error of the ``index``-th item (from 0) if a generator did not yield it when it ran again."""
    return StreamingGeneratorReplayInconsistentError(
        f"Item {index + 1} of the generator {name} is lost: its data is on no machine any more, and when the generator "
        "ran again it ended before that item. What it yields must not depend on anything but its arguments.",
        object_id=object_id.hex(),
    )


def unknown(object_id: bytes) -> ObjectReconstructionFailedRefNotFoundError:
    """Return the error for a reference that its owner does not know."""
    return ObjectReconstructionFailedRefNotFoundError(
        f"The object {object_id.hex()} is not known to the process that owns it: nobody referred to it any more, and "
        "it was freed. Keep a reference to it for as long as it may be needed.",
        object_id=object_id.hex(),
    )
