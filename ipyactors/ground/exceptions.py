"""Every error that ipyactors raises, in one tree.

An error says who, what happened, why, what became of the work, and what to do; the same facts are attributes, for
programs. All of them can be pickled, because an error may be the value of a reference that travels.

An exception of the user's own code is raised as an instance of its own type *and* of :class:`TaskError`, so that
both ``except ValueError`` and ``except TaskError`` catch it.
"""

from __future__ import annotations


class IpyactorsError(Exception):
    """Base of all errors of this package. Facts are given by keyword and become attributes."""

    def __init__(self, message: str = "", **facts: object) -> None:
        super().__init__(message)
        self.__dict__.update(facts)


# -- what the caller did ---------------------------------------------------------------------------------------


class OptionError(IpyactorsError, ValueError):
    """Raised when an option is unknown or its value is out of range; the text names it and what it takes."""


class OptionTypeError(OptionError, TypeError):
    """Raised when an option's value has the wrong type."""


class DirectCallError(IpyactorsError, TypeError):
    """Raised when a remote function, class or method is called like a local one; the text says to use ``.remote``."""


class SerializationError(IpyactorsError, TypeError):
    """Raised when something cannot be pickled; the text names the variable and the path to it."""


class SessionError(IpyactorsError, RuntimeError):
    """Raised when there is no live session, or it is of another kind than the call needs."""


class StartError(SessionError):
    """Raised when the runtime's processes could not be started; the text holds their last words."""


class ChaosError(IpyactorsError, RuntimeError):
    """Raised when ``ipyactors.chaos`` cannot do what it was asked for; then it has done nothing."""


class EventFileError(IpyactorsError, ValueError):
    """Raised when a file does not hold events that this version can read; ``path`` is its path."""

    path: str = ""


# -- what the user's code did ----------------------------------------------------------------------------------


class TaskError(IpyactorsError):
    """Raised when the user's code raised; also an instance of the original type where that can be had.

    ``cause`` is the original exception (None when it could not be pickled), ``remote_traceback`` its text.
    """

    cause: BaseException | None = None
    remote_traceback: str = ""
    function_name: str = ""


class TaskCancelledError(IpyactorsError):
    """Raised when the call was cancelled."""


# -- what the machine did --------------------------------------------------------------------------------------


class WorkerCrashedError(IpyactorsError):
    """Raised when the process that ran a task died and the retries are used up."""


class OutOfMemoryError(WorkerCrashedError):
    """Raised when the kernel's memory killer ended the process that ran a task, and the retries are used up."""


class NodeDiedError(WorkerCrashedError):
    """Raised when the machine that ran a task is gone, and the retries are used up."""


class ActorError(IpyactorsError):
    """Base of what goes wrong with an actor's process. ``actor_id`` is its id in hexadecimal."""

    actor_id: str = ""


class ActorDiedError(ActorError):
    """Raised when an actor is dead for good; the text tells how it died and whether this call had started."""


class ActorUnavailableError(ActorError):
    """Raised when an actor died while this call ran, and it restarts; the call may or may not have taken effect."""


class ActorDeadlockError(ActorError):
    """Raised when a call waits for itself, by way of others: nothing would ever end that wait, which is given up.

    One call of the circle is told. ``cycle`` names the calls in order, from that one on; each waits for the next, or is
    in line behind it, and the last for the first.
    """

    cycle: tuple[str, ...] = ()


class ActorNotFoundError(ActorError, ValueError):
    """Raised when no live actor has that name, or the handle is of a session that has ended."""


class ActorAlreadyExistsError(ActorError, ValueError):
    """Raised when a live actor of the namespace has that name already."""


class CallAbortedError(ActorError):
    """Raised when a call to a durable actor was given up: it had no effect and will have none. ``lsn`` is its place."""

    lsn: int = 0


class CallOutcomeUnknownError(ActorError):
    """Raised when nobody can say any more whether a call to a durable actor has taken effect, or what it has given."""


class NotReplayableError(ActorError, RuntimeError):
    """Raised in a durable actor where code asks for what no replay could give it again: nothing was done.

    From a thread of its own, after its method has ended, for two results side by side, for a future, or for calls
    inside of ``once()``.
    """


class ReplayDivergenceError(ActorError):
    """Raised when a durable actor's method did not do again what the log says that it had done.

    ``lsn`` is the call at which it shows. Also raised at a call whose id or key is that of another one.
    """

    lsn: int = 0


class RecoveryFailedError(ActorDiedError):
    """Raised when a durable actor cannot be brought back from its checkpoints and its log, which are kept."""


class RecoveryDivergedError(RecoveryFailedError, ReplayDivergenceError):
    """Raised when a durable actor cannot be brought back because a call did not do again what it had done before.

    ``ipyactors replay FOLDER --verify`` shows which one, and what it gave then and now.
    """


class StorageFullError(ActorError):
    """Raised when the log of a durable actor has no room for a call, which was not run; with room, calls go on."""


class LogDamagedError(ActorError):
    """Raised when a log is broken where it had been whole. Nothing of it was changed.

    ``file`` and ``position`` tell where (bytes of the log before it), ``lsn`` the last call that could be read.
    """

    file: str = ""
    position: int = 0
    lsn: int = 0


class PlacementError(IpyactorsError):
    """Raised when no node could ever hold what was asked for; the text says what is asked and what exists."""


class PendingCallsLimitError(IpyactorsError):
    """Raised when ``max_pending_calls`` calls of this process are unanswered already; the call was not sent."""


class HeadUnavailableError(IpyactorsError):
    """Raised when the control plane did not answer in time; running calls are not affected."""


# -- objects ---------------------------------------------------------------------------------------------------


class GetTimeoutError(IpyactorsError, TimeoutError):
    """Raised when values are not there in time. Nothing is lost: the reference is still good."""


class ObjectStoreFullError(IpyactorsError):
    """Raised when a value has no room in shared memory nor on disk. Nothing that was stored before is lost."""


class ObjectLostError(IpyactorsError):
    """Raised when an object's data is gone and cannot be made again. ``object_id`` is its id in hexadecimal."""

    object_id: str = ""


class OwnerDiedError(ObjectLostError):
    """Raised when the process that made the reference is gone, and the object with it.

    The text says why what had returned the reference does not run again; ``reason`` is one word for it.
    """

    reason: str = ""


class ObjectFetchTimedOutError(ObjectLostError):
    """Raised when an object's data is said to be on a machine, and could not be had from there again and again."""


class ObjectReconstructionFailedError(ObjectLostError):
    """Base of the errors that say why an object whose data is gone is not made again. ``reason`` is one word for it."""

    reason: str = ""


class ObjectReconstructionFailedPutError(ObjectReconstructionFailedError):
    """Raised when what is gone was put, or passed as an argument: no call has made it."""

    reason = "put"


class ObjectReconstructionFailedActorResultError(ObjectReconstructionFailedError):
    """Raised when an actor's method has made it that is not declared ``readonly``, or the actor cannot be asked.

    Or it could be, and has changed since, so that the same reference would give another value.
    """

    reason = "actor_result"


class ObjectReconstructionFailedMaxAttemptsExceededError(ObjectReconstructionFailedError):
    """Raised when the task that has made it has used up its ``max_retries``."""

    reason = "max_attempts_exceeded"


class ObjectReconstructionFailedRetriesDisabledError(ObjectReconstructionFailedError):
    """Raised when the task that has made it has ``max_retries=0``."""

    reason = "retries_disabled"


class ObjectReconstructionFailedLineageEvictedError(ObjectReconstructionFailedError):
    """Raised when the record of the task that has made it was dropped, because there were too many of later ones."""

    reason = "lineage_evicted"


class ObjectReconstructionFailedLineageDisabledError(ObjectReconstructionFailedError):
    """Raised when no record was kept of the task that has made it: ``lineage=False`` or ``max_lineage_bytes=0``."""

    reason = "lineage_disabled"


class ObjectReconstructionFailedBorrowedError(ObjectReconstructionFailedError):
    """Raised when it belonged to another process, where it was freed when nobody referred to it any more."""

    reason = "borrowed"


class ObjectReconstructionFailedTaskCancelledError(ObjectReconstructionFailedError):
    """Raised when the task that has made it was cancelled while it ran again."""

    reason = "task_cancelled"


class ObjectReconstructionFailedRefNotFoundError(ObjectReconstructionFailedError):
    """Raised when the process that should own it does not know it."""

    reason = "ref_not_found"


class StreamingGeneratorReplayInconsistentError(ObjectReconstructionFailedError):
    """Raised when a generator that ran again ended before the item that was lost."""

    reason = "replay_inconsistent"
