"""The calls that a process of a durable actor finds in the log and not over: run again, or given up."""

from __future__ import annotations

import contextlib

from ipyactors.durable.record import ValueKind
from ipyactors.ground.exceptions import HeadUnavailableError
from ipyactors.owner.session import Session
from ipyactors.wire.deaths import describe_death
from ipyactors.wire.head_messages import DescribeCluster
from ipyactors.worker.logged import OTHERS, LoggedCalls
from ipyactors.worker.logged_call import LoggedCall
from ipyactors.worker.replay import Recovered


def take_up(calls: LoggedCalls, recovered: Recovered, session: Session, actor_id: bytes) -> list[LoggedCall]:
    """Return the calls that were not over; what has ended too many processes is given up."""
    taken: list[LoggedCall] = []
    for past in recovered.unfinished():
        logged = calls.reopen(past.call, past.lsn, past.values)
        crashes, allowed = len(recovered.history.crashes.get(past.lsn, ())), past.call.crashes_allowed
        logged.is_begun = bool(crashes)
        kinds = {value.kind for value in past.values}
        others = OTHERS if kinds & {ValueKind.SUBMITTED, ValueKind.ONCE} else ""
        if ValueKind.OVERLAP in kinds:
            calls.abort(
                logged,
                f"a crash interrupted {logged.running.name} when it was waiting for several results side by side, "
                f"and nobody could tell which came first{others}",
            )
        elif 0 <= allowed < crashes:
            how = _last_death(session, actor_id)
            calls.abort(
                logged,
                f"the actor's process ended {crashes} time{'s' * (crashes != 1)} while {logged.running.name} ran, "
                f"and max_task_retries={allowed} allows {allowed}{how}{others}",
            )
        else:
            taken.append(logged)
    return taken


def _last_death(session: Session, actor_id: bytes) -> str:
    """Return how the process before this one ended, if the head knows: not every end is the doing of a method."""
    with contextlib.suppress(HeadUnavailableError):
        actors = session.ask_head(DescribeCluster).actors
        death = next((one.death for one in actors if one.actor_id == actor_id), None)
        if death is not None:
            words = f" and had written {death.last_output[-1]!r}" if death.exit_code and death.last_output else ""
            return f"; the last time it {describe_death(death)}{words}"
    return ""
