"""Deaths into words: pure functions from what is known to the error that a user reads.

Each says who, what happened, why, what became of the call, and what to do.
"""

from __future__ import annotations

import shlex

from ipyactors.ground.exceptions import (
    ActorDiedError,
    ActorError,
    ActorUnavailableError,
    CallAbortedError,
    CallOutcomeUnknownError,
    IpyactorsError,
    NodeDiedError,
    OutOfMemoryError,
    PlacementError,
    RecoveryDivergedError,
    RecoveryFailedError,
    ReplayDivergenceError,
    TaskCancelledError,
    WorkerCrashedError,
)
from ipyactors.ground.quantities import Units, describe_lack
from ipyactors.owner.actors import ActorClient, MethodCall
from ipyactors.owner.calls import PendingCall
from ipyactors.owner.templates import UPGRADE
from ipyactors.wire.deaths import describe_death
from ipyactors.wire.specs import Death, LossReason

#: The type of the error that tells of a full disk under a log that was to be begun.
_NO_ROOM = "NoRoomForLogError"


def last_output(death: Death | None) -> str:
    """Return the last lines that it wrote as a paragraph, or nothing."""
    if death is None or not death.last_output:
        return ""
    lines = "\n".join(f"    {line}" for line in death.last_output)
    return f"\n  Its last output:\n{lines}"


def task_crashed(call: PendingCall, death: Death) -> WorkerCrashedError:
    """Return the error of a task whose last attempt ended with the death of its worker."""
    attempts = call.attempt + 1
    kind = {LossReason.OUT_OF_MEMORY: OutOfMemoryError, LossReason.NODE_LOST: NodeDiedError}.get(
        death.reason, WorkerCrashedError
    )
    tried = "once" if attempts == 1 else f"{attempts} times"
    return kind(
        f"Task {call.spoken_name} crashed: its worker process {describe_death(death)}. "
        f"It was tried {tried} and its retries are used up; an attempt may have run in part. "
        f"To try more often, set max_retries (-1: no limit).{last_output(death)}",
        attempts=attempts,
        exit_code=death.exit_code,
        signal=death.signal,
    )


def what_became(call: PendingCall, *, started: bool | None) -> str:
    """Return what is known of a call that got no answer."""
    if started is None:
        return f"The call {call.spoken_name} may or may not have run"
    return f"The call {call.spoken_name} {'had started and may have taken effect' if started else 'was not run'}"


def has_ended_it(call: PendingCall, death: Death | None, *, started: bool | None) -> bool:
    """Return whether it was this call that has ended its actor, by ``exit_actor()``."""
    return (
        bool(started)
        and death is not None
        and death.reason is LossReason.INTENDED
        and death.detail == f"exit_actor() was called in {call.name}"
    )


def actor_died(client: ActorClient, call: PendingCall, *, started: bool | None) -> IpyactorsError:
    """Return the error of a call to an actor that is dead for good."""
    death = client.death
    if client.unplaceable is not None:
        return placement(f"Actor {client.label}", client.demand, client.unplaceable)
    kind: type[ActorDiedError] = ActorDiedError
    if death is not None and death.init_error is not None and death.init_error.type_name == _NO_ROOM:
        why = death.init_error.message
    elif death is not None and death.reason is LossReason.INIT_FAILED and death.init_error is not None:
        why = (
            f"its constructor raised {death.init_error.words}. An exception in "
            f"__init__ is final, whatever max_restarts says:\n{death.init_error.traceback_text}"
        ).rstrip()
    elif death is not None and death.reason is LossReason.RECOVERY_FAILED and death.init_error is not None:
        has_diverged = death.init_error.type_name == ReplayDivergenceError.__name__
        kind = RecoveryDivergedError if has_diverged else RecoveryFailedError
        why = f"its state could not be brought back: {death.init_error.words.removesuffix('.')}"
    elif death is not None and death.reason is LossReason.RECOVERY_FAILED:
        kind, why = RecoveryFailedError, death.detail
    else:
        why = f"its process {describe_death(death)}"
    incarnation = f" (incarnation {client.incarnation})" if client.incarnation else ""
    became = what_became(call, started=started)
    if has_ended_it(call, death, started=started):
        became = f"The call {call.spoken_name} had begun, and ended with it: it has no result, and the actor does not "
        became += "come back"
    is_durable = isinstance(call, MethodCall) and call.template.is_durable
    is_unlimited = isinstance(call, MethodCall) and call.template.max_task_retries < 0
    stop = "\n" if "\n" in why else ". "  # a line of a traceback ends without a full stop
    return kind(
        f"Actor {client.label}{incarnation} is dead: {why}{stop}{became}. "
        f"{_advice(client, death, is_durable=is_durable, is_unlimited=is_unlimited)}{last_output(death)}",
        actor_id=client.actor_id.hex(),
        incarnation=client.incarnation,
        started=started,
        exit_code=death.exit_code if death else None,
        signal=death.signal if death else None,
    )


def actor_died_before(client: ActorClient, call: MethodCall, *, started: bool | None) -> IpyactorsError:
    """Return the error of a call that an actor had not answered when it died for good.

    What a durable actor had not begun has no effect, and will have none: nobody will run it. Of a call that it had
    begun, or may have known from before, only the log can tell, which is not read any more.
    """
    template, death = call.template, client.death
    is_unbegun = started is False and not call.may_be_known
    if death is not None and death.reason is LossReason.RECOVERY_FAILED and call.unbegun >= 0:
        # The last incarnation has run nothing, nor have those before it that were not ready either.
        is_unbegun = call.unbegun >= client.incarnation - max(1, death.unready)
    if not template.is_durable or template.is_counted or is_unbegun or has_ended_it(call, death, started=started):
        return actor_died(client, call, started=started)
    how = describe_death(death).removesuffix(".")
    return CallOutcomeUnknownError(
        f"Nobody can say whether the call {call.spoken_name} has taken effect: it had been sent to actor "
        f"{client.label} (incarnation {client.incarnation}) when that ended for good: its process {how}. "
        "Its log has been kept and can tell: "
        f"ipyactors fsck -v {shlex.quote(client.folder)}{last_output(client.death)}",
        actor_id=client.actor_id.hex(),
    )


def _advice(client: ActorClient, death: Death | None, *, is_durable: bool, is_unlimited: bool) -> str:
    if death is None or death.reason in (LossReason.INTENDED, LossReason.OWNER_DIED):
        return "Create the actor again to go on."
    if death.init_error is not None and death.init_error.type_name == _NO_ROOM:
        return "Make room on that disk, and create the actor again."
    if death.reason is LossReason.INIT_FAILED:
        return "Correct the constructor or its arguments, and create the actor again."
    if death.reason is LossReason.RECOVERY_FAILED:
        folder = shlex.quote(client.folder)
        if death.init_error is None:
            return (
                "Correct what the calls run into that are replayed, and create the actor again. Its log and its "
                f"checkpoints are kept: `ipyactors fsck {folder}` says what can be had from them, "
                f"`ipyactors replay {folder}` runs the replay again, for you to see where it ends."
            )
        has_diverged = death.init_error is not None and death.init_error.type_name == ReplayDivergenceError.__name__
        replay = f"ipyactors replay {folder} --verify shows which call differs, and " if has_diverged else ""
        return f"Its log and its checkpoints are kept: {replay}ipyactors fsck {folder} says what can be had from them."
    if client.restarts_left and is_durable:
        more = " With max_task_retries=3, say, a call that ends each process is given up alone, and the actor goes on."
        return f"Correct what its calls run into, and create the actor again.{more if is_unlimited else ''}"
    if client.restarts_left:
        return "Correct what its constructor runs into, and create the actor again."
    if is_durable:
        return (
            f"Its log is kept: ipyactors fsck {shlex.quote(client.folder)} says what can be had from it. It has no "
            "restarts left: leave max_restarts out, and a durable actor comes back as often as it has to."
        )
    if client.incarnation:
        return "Its max_restarts are used up; -1 means no limit."
    return "It has no restarts left; max_restarts=n lets it come back, and max_task_retries=n resends its calls."


def actor_unavailable(
    client: ActorClient, call: PendingCall, death: Death | None, *, started: bool | None
) -> ActorUnavailableError:
    """Return the error of a call that was running when its actor died, while the actor comes back."""
    return ActorUnavailableError(
        f"Actor {client.label} (incarnation {client.incarnation}) is restarting: its process {describe_death(death)}. "
        f"{what_became(call, started=started)}. Later calls wait for the new incarnation. "
        f"To have such calls resent, set max_task_retries.{last_output(death)}",
        actor_id=client.actor_id.hex(),
        incarnation=client.incarnation,
    )


def given_up(client: ActorClient, call: MethodCall, death: Death | None) -> ActorError:
    """Return the error of a call to a durable actor whose processes have ended too often while it ran.

    It is none that the actor has in its log; that knows of the others how often they have ended a process.
    """
    tried = "once" if not call.attempt else f"{call.attempt + 1} times"
    kind: type[ActorError] = CallAbortedError
    became = "had no effect on the actor, for it is readonly"
    if not call.template.is_readonly:
        kind = ActorError
        became = "no call to the actor is lost by that"
    runs = " The actor runs the class that it had, or the new one." if call.template.method == UPGRADE else ""
    return kind(
        f"The call {call.spoken_name} was given up: while it ran, or may have run, the process of actor {client.label} "
        f"{describe_death(death)}. It was tried {tried}, and {became}; later calls go on.{runs} "
        f"To try more often, set max_task_retries (-1: no limit).{last_output(death)}",
        actor_id=client.actor_id.hex(),
    )


def placement(who: str, demand: Units, existing: Units) -> PlacementError:
    """Return the error for what no node could ever hold."""
    return PlacementError(
        f"{who} can never be placed: {describe_lack(demand, existing)}. It was not run. "
        "Ask for less, start with more: init(num_cpus=..., num_gpus=..., resources={...}), or add a machine that has "
        "it: cluster.add_node(...).",
        demand=dict(demand),
        existing=dict(existing),
    )


def cancelled(call: PendingCall, *, started: bool) -> TaskCancelledError:
    """Return the error of a call that was cancelled."""
    became = "It was interrupted while it ran" if started else "It was not run"
    return TaskCancelledError(f"{call.spoken_name} was cancelled. {became}.", task_id=call.task_id.hex())
