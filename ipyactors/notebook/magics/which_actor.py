"""Which actor is meant by a word after a magic: what ``%actors`` shows of it, or a variable of the user's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ipyactors.api import runtime
from ipyactors.api.actor_table import label
from ipyactors.api.calls import get_actor
from ipyactors.api.handles import ActorHandle
from ipyactors.ground.exceptions import ActorNotFoundError
from ipyactors.notebook.magics.flags import without_quotes
from ipyactors.wire.deaths import describe_death
from ipyactors.wire.specs import ActorState, ActorStatus


def look_up(which: str, namespace: str | None, variables: Mapping[str, Any], *, dead_too: bool = False) -> ActorStatus:
    """Return the actor of this session that :func:`find_actor` finds. Raises ActorNotFoundError."""
    engine = runtime.live_engine()
    if engine is None:
        words = runtime.without_session(f"there is no session, and so no actor {which!r}.")
        raise ActorNotFoundError(f"{words} Nothing was done.")
    actors = engine.describe_cluster().actors
    return find_actor(without_quotes(which), namespace or engine.namespace, actors, variables, dead_too=dead_too)


def handle_of(which: str, namespace: str | None, variables: Mapping[str, Any]) -> ActorHandle:
    """Return a handle of the live actor that :func:`find_actor` finds in this session. Raises ActorNotFoundError."""
    status = look_up(which, namespace, variables)
    if status.name:
        return get_actor(status.name, status.namespace)
    for handle in handles_to(variables, status.actor_id):
        return handle
    raise ActorNotFoundError(
        f"{label(status)} has no name, and no variable of this notebook holds a handle of it, so it cannot be called "
        "from here. Nothing was done. Give it a name when you start it: .options(name=...)."
    )


def handles_to(variables: Mapping[str, Any], actor_id: bytes) -> list[ActorHandle]:
    """Return the handles of an actor that are variables."""
    handles = [value for value in list(variables.values()) if type(value) is ActorHandle]
    return [handle for handle in handles if handle._ipyactors_client.actor_id == actor_id]


def find_actor(
    which: str,
    namespace: str,
    statuses: Sequence[ActorStatus],
    variables: Mapping[str, Any],
    *,
    dead_too: bool = False,
) -> ActorStatus:
    """Return the live actor that has the name ``which`` in ``namespace``, or an id that begins so, or its handle there.

    ``$x`` is the variable ``x``, which may also hold any of these words. With ``dead_too`` it may be one that has
    ended, if no live one is meant; of several the last. Raises ActorNotFoundError, saying what comes near.
    """
    held = variables.get(which.removeprefix("$"))
    if which.startswith("$") and isinstance(held, str):
        which = held
    live = [status for status in statuses if status.state is not ActorState.DEAD]
    found = _matching(which, namespace, live, held)
    if not found and dead_too:
        dead = [status for status in statuses if status.state is ActorState.DEAD]
        found = _matching(which, namespace, dead, held)
        if found and found[-1].name == which:  # a name may have been given again and again
            del found[:-1]
    if len(found) == 1:
        return found[0]
    if found:
        raise ActorNotFoundError(
            f"the ids of {len(found)} actors begin with {which!r}: {', '.join(map(label, found))}. "
            "Nothing was done. Write more of the id."
        )
    raise ActorNotFoundError(_missing(which, namespace, statuses, held))


def _matching(which: str, namespace: str, among: Sequence[ActorStatus], held: object) -> list[ActorStatus]:
    """Return the actors of that name, else those with an id that begins so, else that of the handle which is held."""
    found = [status for status in among if (status.name, status.namespace) == (which, namespace)]
    if not found and which:
        found = [status for status in among if status.actor_id.hex().startswith(which)]
    if not found and isinstance(held, ActorHandle):
        held_id = held._ipyactors_client.actor_id
        found = [status for status in among if status.actor_id == held_id]
    return found


def handles_in(variables: Mapping[str, Any]) -> dict[bytes, str]:
    """Return the variables of the user's that hold a handle, by the id of its actor; not those of IPython."""
    return {
        value._ipyactors_client.actor_id: name
        for name, value in list(variables.items())
        if type(value) is ActorHandle and not name.startswith("_")
    }


def _missing(which: str, namespace: str, statuses: Sequence[ActorStatus], held: object) -> str:
    hint = "%actors shows which there are."
    if isinstance(held, ActorHandle):  # of one that has ended, or it would have been found
        for status in statuses:
            if status.actor_id == held._ipyactors_client.actor_id:
                return f"{_is_dead(status)} Nothing was done."
    for status in statuses:
        if status.name != which and not (which and status.actor_id.hex().startswith(which)):
            continue
        if status.state is ActorState.DEAD:
            hint = _is_dead(status)
        elif status.namespace != namespace:
            return (
                f"{label(status)} is in another namespace, {status.namespace!r}. Nothing was done. "
                f"Write --namespace {status.namespace} too."
            )
    return (
        f"no live actor has the name {which} or an id that begins so, and no variable of that name holds a handle. "
        f"Nothing was done. {hint}"
    )


def _is_dead(status: ActorStatus) -> str:
    return f"{label(status)} is dead already: its process {describe_death(status.death)}."
