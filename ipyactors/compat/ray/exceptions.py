"""Ray's names for our errors; old names of Ray are kept where programs still use them."""

from __future__ import annotations

from ipyactors.ground.exceptions import (
    ActorAlreadyExistsError,
    ActorDiedError,
    ActorUnavailableError,
    GetTimeoutError,
    NodeDiedError,
    ObjectFetchTimedOutError,
    ObjectLostError,
    ObjectReconstructionFailedError,
    ObjectReconstructionFailedLineageEvictedError,
    ObjectReconstructionFailedMaxAttemptsExceededError,
    ObjectStoreFullError,
    OutOfMemoryError,
    OwnerDiedError,
    StreamingGeneratorReplayInconsistentError,
    TaskCancelledError,
    WorkerCrashedError,
)
from ipyactors.ground.exceptions import ActorError as RayActorError
from ipyactors.ground.exceptions import ActorNotFoundError as ActorHandleNotFoundError
from ipyactors.ground.exceptions import GetTimeoutError as RayTimeoutError
from ipyactors.ground.exceptions import HeadUnavailableError as RaySystemError
from ipyactors.ground.exceptions import IpyactorsError as RayError
from ipyactors.ground.exceptions import ObjectLostError as UnreconstructableError
from ipyactors.ground.exceptions import PendingCallsLimitError as PendingCallsLimitExceeded
from ipyactors.ground.exceptions import PlacementError as ActorUnschedulableError
from ipyactors.ground.exceptions import PlacementError as TaskUnschedulableError
from ipyactors.ground.exceptions import TaskError as RayTaskError
from ipyactors.ground.exceptions import WorkerCrashedError as RayWorkerError

__all__ = [
    "ActorAlreadyExistsError",
    "ActorDiedError",
    "ActorHandleNotFoundError",
    "ActorUnavailableError",
    "ActorUnschedulableError",
    "GetTimeoutError",
    "NodeDiedError",
    "ObjectFetchTimedOutError",
    "ObjectLostError",
    "ObjectReconstructionFailedError",
    "ObjectReconstructionFailedLineageEvictedError",
    "ObjectReconstructionFailedMaxAttemptsExceededError",
    "ObjectStoreFullError",
    "OutOfMemoryError",
    "OwnerDiedError",
    "PendingCallsLimitExceeded",
    "RayActorError",
    "RayError",
    "RaySystemError",
    "RayTaskError",
    "RayTimeoutError",
    "RayWorkerError",
    "StreamingGeneratorReplayInconsistentError",
    "TaskCancelledError",
    "TaskUnschedulableError",
    "UnreconstructableError",
    "WorkerCrashedError",
]
