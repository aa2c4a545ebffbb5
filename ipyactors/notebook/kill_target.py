"""Which actor is meant by what stands after ``%kill``: what ``%actors`` shows of it, or a variable of the user's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ipyactors.api.handles import ActorHandle, client_of
from ipyactors.ground.exceptions import ActorNotFoundError
from ipyactors.notebook.actor_table import label
from ipyactors.wire.deaths import describe_death
from ipyactors.wire.specs import ActorState, ActorStatus


def find_actor(
    which: str, namespace: str, statuses: Sequence[ActorStatus], variables: Mapping[str, Any]
) -> ActorStatus:
    """Return the live actor that has the name ``which`` in ``namespace``, or an id that begins so, or its handle there.

    ``$x`` is the variable ``x``, which may also hold any of these words. Raises ActorNotFoundError, saying what comes
    near.
    """
    live = [status for status in statuses if status.state is not ActorState.DEAD]
    held = variables.get(which.removeprefix("$"))
    if which.startswith("$") and isinstance(held, str):
        which = held
    found = [status for status in live if (status.name, status.namespace) == (which, namespace)]
    if not found and which:
        found = [status for status in live if status.actor_id.hex().startswith(which)]
    if not found and isinstance(held, ActorHandle):
        held_id = client_of(held, "%kill").actor_id
        found = [status for status in live if status.actor_id == held_id]
    if len(found) == 1:
        return found[0]
    if found:
        raise ActorNotFoundError(
            f"the ids of {len(found)} live actors begin with {which!r}: {', '.join(map(label, found))}. "
            "None was ended. Write more of the id."
        )
    raise ActorNotFoundError(_missing(which, namespace, statuses))


def handles_in(variables: Mapping[str, Any]) -> dict[bytes, str]:
    """Return the variables of the user's that hold a handle, by the id of its actor; not those of IPython."""
    return {
        value._ipyactors_client.actor_id: name
        for name, value in list(variables.items())
        if type(value) is ActorHandle and not name.startswith("_")
    }


def _missing(which: str, namespace: str, statuses: Sequence[ActorStatus]) -> str:
    hint = "%actors shows which there are."
    for status in statuses:
        if status.name != which and not (which and status.actor_id.hex().startswith(which)):
            continue
        if status.state is ActorState.DEAD:
            hint = f"{label(status)} is dead already: its process {describe_death(status.death)}."
        elif status.namespace != namespace:
            return (
                f"{label(status)} is in namespace {status.namespace!r}, and not in {namespace!r}. Nothing was ended. "
                f"Write --namespace {status.namespace} too."
            )
    return (
        f"no live actor has the name {which} or an id that begins so, and no variable of that name holds a handle. "
        f"Nothing was ended. {hint}"
    )
