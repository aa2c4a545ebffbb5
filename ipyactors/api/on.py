"""Code of the caller's that runs inside an actor, with its instance: what ``%%on`` does."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from ipyactors.api.descriptions import CALL
from ipyactors.api.handles import ActorHandle, ActorMethod, handle_of
from ipyactors.owner.refs import ObjectRef


def on(
    actor: ActorHandle | str, function: Callable[..., Any], /, *args: Any, readonly: bool = False, **kwargs: Any
) -> ObjectRef:
    """Run ``function(instance, *args, **kwargs)`` in the process of an actor; return a reference to what it returns.

    It is a call like any other: it waits for those that were sent before, may change the instance, and may be an async
    function. Of a durable actor it is recorded, with the function, and takes effect exactly once; after a crash it is
    executed again from the record, so it must do the same again, as a method must. The function is sent by value if a
    notebook or a script has defined it, with the globals that it uses.

    ``readonly`` says that it leaves the instance as it was. Then nothing is recorded. What it changes all the same in a
    durable actor is put back, and ``get`` raises CallAbortedError; with ``max_concurrency`` above 1, and where the
    state cannot be pickled, that is not looked at.

    The function twin of ``%%on``. ``actor`` is a handle, or the actor's name in this process's namespace. Raises
    TypeError for anything else, and for what is no function; SerializationError; ActorNotFoundError for a handle of an
    ended session, and a name that no live actor has.
    """
    __tracebackhide__ = True
    handle = handle_of(actor, "on")
    if not callable(function):
        raise TypeError(f"on takes a function of the instance, not {function!r}. Nothing was sent.")
    if not isinstance(readonly, bool):
        raise TypeError(f"readonly={readonly!r}: takes True or False, not {type(readonly).__name__}.")
    plan = handle._ipyactors_plans.methods[CALL]
    if readonly:
        plan = dataclasses.replace(
            plan, template=dataclasses.replace(plan.template, is_readonly=True, is_persist=False)
        )
    reference: ObjectRef = ActorMethod(handle, plan).remote(function, *args, **kwargs)
    return reference
