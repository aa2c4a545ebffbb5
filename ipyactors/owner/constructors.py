"""Objects that an actor's constructor needs: references among its arguments, and its arguments where they are large.

They are needed at each start of the actor, wherever it is. Large arguments are written to the store once, as an object
of the creator's, and a top-level reference to a stored value is not resolved either: the specification only names both
(``stand_for``), and each process of the actor asks for them as it would with ``get``. So they are mapped, brought from
other machines and made again as all objects are, and the head has none of their bytes.

The head keeps the arguments and counts nothing, so the creator keeps what they refer to, for as long as the actor may
be started again: until it runs and has no restart left, or is dead. To each process that it hears is to run the actor
it lends the references, as whoever ships a payload does, before it lets go of its own; the process itself has taken
note of them as lent by the creator. The head tells the creator of an actor whose arguments contain references each
step of the actor's life, also when it has no handle any more.

An actor that is detached outlives its creator, so its arguments' bytes are in its specification. References inside of
them live only while something else keeps them: a start without them finds them lost.
"""

from __future__ import annotations

from ipyactors.owner import loans
from ipyactors.owner.actors import Constructor
from ipyactors.owner.objects import Entry
from ipyactors.owner.out import Out
from ipyactors.owner.state import OwnerState
from ipyactors.wire.specs import ActorSpec, ActorState, ActorStatus, Payload


def payloads_of(spec: ActorSpec) -> tuple[Payload, ...]:
    """Return everything pickled that a start of the actor unpickles."""
    return (spec.definition.payload, spec.args, *spec.arg_values)


def stand_for(state: OwnerState, out: Out, entry: Entry, actor_ids: tuple[bytes, ...] = ()) -> Payload:
    """Return what names an object in a specification; to be kept with it (:func:`keep`) while somebody holds it.

    ``actor_ids`` are of handles inside the value, of which nobody else takes care.
    """
    return Payload(b"", (), (loans.refer(state, out, entry, is_carried=True),), actor_ids)


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
