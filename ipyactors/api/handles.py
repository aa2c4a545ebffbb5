"""Handles of actors, and the methods that one finds on them."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from ipyactors.api import runtime
from ipyactors.api.definitions import explain_missing
from ipyactors.api.descriptions import TERMINATE, MethodPlan, Plans, open_plans
from ipyactors.ground import ids
from ipyactors.ground.exceptions import ActorNotFoundError, DirectCallError
from ipyactors.owner.actors import ActorClient
from ipyactors.wire import serialize

if TYPE_CHECKING:
    from ipyactors.engines.base import Engine


class ActorHandle:
    """Speaks to one actor: ``handle.method.remote(...)``. It may be copied, sent to tasks and kept in actors.

    The actor lives as long as a handle of it does somewhere, unless it is detached. Any thread may use a handle.
    Its own attributes start with an underscore, so that they hide no method.

    The engine has counted this handle when it returned ``client``; it is counted down when it goes.
    """

    __slots__ = ("__weakref__", "_ipyactors_bytes", "_ipyactors_client", "_ipyactors_engine", "_ipyactors_plans")

    def __init__(self, engine: Engine, client: ActorClient, handle: bytes) -> None:
        self._ipyactors_engine = engine
        self._ipyactors_client = client
        self._ipyactors_bytes = handle
        self._ipyactors_plans: Plans = open_plans(handle)

    def __getattr__(self, name: str) -> ActorMethod:
        if name == "_ipyactors_plans":  # not set up yet: the next line would ask for ever
            raise AttributeError(name)
        plan = self._ipyactors_plans.methods.get(name)
        if plan is None:
            raise AttributeError(self._ipyactors_plans.explain_missing(name))
        return ActorMethod(self, plan)

    def __dir__(self) -> list[str]:
        return sorted(name for name in self._ipyactors_plans.methods if not name.startswith("__"))

    def __reduce__(self) -> tuple[Any, ...]:
        client = self._ipyactors_client
        serialize.note_handle(client.actor_id)
        return _rebuild_handle, (client.actor_id, client.class_name, client.name, self._ipyactors_bytes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ActorHandle) and other._ipyactors_client.actor_id == self._ipyactors_client.actor_id

    def __hash__(self) -> int:
        return hash(self._ipyactors_client.actor_id)

    def __repr__(self) -> str:
        client = self._ipyactors_client
        name = f" {client.name!r}" if client.name else ""
        return f"Actor({self._ipyactors_plans.class_name}{name}, {ids.short(client.actor_id)})"

    def __del__(self) -> None:
        try:
            engine, client = self._ipyactors_engine, self._ipyactors_client
        except AttributeError:  # __init__ did not get that far
            return
        engine.release_handle(client)


class ActorMethod:
    """One method of one actor: ``.remote(...)`` calls it, ``.options(...)`` changes how."""

    __slots__ = ("_handle", "_plan")

    def __init__(self, handle: ActorHandle, plan: MethodPlan) -> None:
        self._handle = handle
        self._plan = plan

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        """Submit one call; return its reference (a list, a generator or None, as ``num_returns`` says).

        Raises TypeError, before anything is sent, if the arguments do not fit the signature; SerializationError;
        PendingCallsLimitError; ActorNotFoundError if the handle's session has ended.
        """
        __tracebackhide__ = True
        plan, handle = self._plan, self._handle
        plan.check(*args, **kwargs)
        engine = handle._ipyactors_engine
        if engine is not runtime.live_engine():
            runtime.check_not_forked()
            raise _session_ended(handle)
        if plan.template.method == TERMINATE:
            return engine.finish_actor(handle._ipyactors_client)
        return engine.call_method(handle._ipyactors_client, plan.template, args, kwargs)

    def options(self, **given: Any) -> ActorMethod:
        """Return the method with other options: ``num_returns``, ``max_task_retries``, ``retry_exceptions``."""
        __tracebackhide__ = True
        return ActorMethod(self._handle, self._plan.but(given, repr(self)))

    def __call__(self, *_args: Any, **_kwargs: Any) -> Any:
        """Raise DirectCallError, whatever the arguments."""
        __tracebackhide__ = True
        name = self._plan.template.method
        raise DirectCallError(
            f"the method {name} of {self._handle!r} cannot be called directly: use {name}.remote(...). Nothing was run."
        )

    def __getattr__(self, name: str) -> Any:
        if name == "__signature__":  # asked for by inspect.signature, and so by help in a notebook
            return inspect.signature(self._plan.check)
        raise AttributeError(explain_missing(self, name))

    def __repr__(self) -> str:
        return f"{self._handle!r}.{self._plan.template.method}"


def client_of(handle: object, what: str) -> ActorClient:
    """Return the client of a handle; ``what`` is what was called with it. Raises TypeError, ActorNotFoundError."""
    if not isinstance(handle, ActorHandle):
        raise TypeError(f"{what} takes an actor handle, not {type(handle).__name__}.")
    if handle._ipyactors_engine is not runtime.live_engine():
        runtime.check_not_forked()
        raise _session_ended(handle)
    return handle._ipyactors_client


def _session_ended(handle: ActorHandle) -> ActorNotFoundError:
    return ActorNotFoundError(
        f"{handle!r} belongs to a session that has ended, and ended with it. The call was not sent. "
        "Start a new actor in the live session.",
        actor_id=handle._ipyactors_client.actor_id.hex(),
    )


def _rebuild_handle(actor_id: bytes, class_name: str, name: str, handle: bytes) -> ActorHandle:
    """Return a handle in the process that unpickles it. Called by ``pickle``."""
    engine = runtime.engine()
    return ActorHandle(engine, engine.adopt_actor(actor_id, class_name, name), handle)
