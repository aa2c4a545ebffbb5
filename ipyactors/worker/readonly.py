"""Runs code of a caller's that says it changes nothing in a durable actor, and is not recorded; it may all the same.

The next incarnation would not have the change, and calls that came after it would give other results there than the log
has: the actor could not come back any more. So its state is compared before and after, and put back if it has changed.
"""

from __future__ import annotations

from collections.abc import Callable
from types import CoroutineType
from typing import Any, NoReturn, Protocol

from ipyactors.ground.exceptions import CallAbortedError, SerializationError
from ipyactors.worker import equality


class Subject(Protocol):
    """The actor: see :class:`~ipyactors.worker.hosting.HostedActor`."""

    actor_id: bytes
    source: str

    @property
    def instance(self) -> Any:
        """The user's object."""
        ...

    def dump_state(self) -> bytes:
        """Return its state. Raises SerializationError."""
        ...

    def copy_of(self, data: bytes) -> Any:
        """Return another instance with a state that was dumped. Raises SerializationError."""
        ...

    def go_on_as(self, instance: Any) -> None:
        """Be another instance from now on."""
        ...


def run(actor: Subject, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return what ``function`` returns of the instance; nothing else may run in the actor meanwhile.

    Raises CallAbortedError if it has changed the state, which is then as before. A state that cannot be pickled is not
    compared.
    """
    try:
        before = actor.dump_state()
    except SerializationError:
        return function(actor.instance, *args, **kwargs)
    try:
        value = function(actor.instance, *args, **kwargs)
    except Exception as error:
        _check(actor, before, error)
        raise
    if type(value) is CoroutineType:
        return _wait(actor, before, value)
    _check(actor, before)
    return value


async def _wait(actor: Subject, before: bytes, coroutine: Any) -> Any:
    try:
        value = await coroutine
    except Exception as error:
        _check(actor, before, error)
        raise
    _check(actor, before)
    return value


def _check(actor: Subject, before: bytes, error: Exception | None = None) -> None:
    """Put the state back and raise CallAbortedError if it has changed."""
    try:
        if actor.dump_state() == before:
            return
    except SerializationError:  # what it has put there
        pass
    was = actor.copy_of(before)
    # Other bytes may be the same values: a set in another order, or what a cached property has kept.
    differences = equality.compare(equality.keep(was), actor.instance).differences
    if differences:
        actor.go_on_as(was)
        _refuse(actor, differences[0], error)


def _refuse(actor: Subject, difference: equality.Difference, error: Exception | None) -> NoReturn:
    name, was, is_now = difference
    refusal = CallAbortedError(
        f"{actor.source}: a readonly call has changed its state: {name} was {was or 'not there'} and became "
        f"{is_now or 'not there'}. The state is again as it was before the call. What is readonly is not recorded, so "
        "after a crash the change would be missing. Leave readonly out to change the state."
    )
    refusal.actor_id = actor.actor_id.hex()
    raise refusal from error
