"""References among the arguments of an actor's constructor: needed at each start of the actor, wherever it is.

The head keeps the arguments and counts nothing, so the creator keeps what they refer to, for as long as the actor may
be started again: until it runs and has no restart left, or is dead. To each process that it hears is to run the actor
it lends the references, as whoever ships a payload does, before it lets go of its own; the process itself has taken
note of them as lent by the creator. The head tells the creator of an actor whose arguments contain references each
step of the actor's life, also when it has no handle any more.

An actor that is detached outlives its creator. What its constructor needs then lives only while something else keeps
it: a start without it finds the reference lost.
"""

from __future__ import annotations

from ipyactors.owner import loans
from ipyactors.owner.actors import Constructor
from ipyactors.owner.out import Out
from ipyactors.owner.state import OwnerState
from ipyactors.wire.specs import ActorSpec, ActorState, ActorStatus, Payload


def payloads_of(spec: ActorSpec) -> tuple[Payload, ...]:
    """Return everything pickled that a start of the actor unpickles."""
    return (spec.definition.payload, spec.args, *spec.arg_values)


def keep(state: OwnerState, out: Out, spec: ActorSpec) -> None:
    """Keep what the constructor of a new actor refers to."""
    refs = tuple(ref for payload in payloads_of(spec) for ref in payload.refs)
    if refs:
        held = tuple(loans.adopt(state, out, ref) for ref in refs)
        state.constructors[spec.actor_id] = Constructor(Payload(b"", (), refs), held)


def on_status(state: OwnerState, out: Out, status: ActorStatus) -> None:
    """An actor of this process has taken a step, or is told again to be where it is."""
    constructor = state.constructors.get(status.actor_id)
    if constructor is None:
        return
    if status.worker_id and status.worker_id != constructor.worker_id:
        constructor.worker_id = status.worker_id
        loans.lend(state, out, status.worker_id, constructor.names)
    is_last_start = status.state is ActorState.ALIVE and status.restarts_left == 0
    if is_last_start or status.state is ActorState.DEAD:
        del state.constructors[status.actor_id]
