"""Handles of actors, the methods that one finds on them, and what durable actors are asked besides."""

from __future__ import annotations

import dataclasses
import inspect
import types
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from ipyactors.api import durability, reprs, runtime
from ipyactors.api.definitions import explain_missing
from ipyactors.api.descriptions import CHECKPOINT, TERMINATE, UPGRADE, MethodPlan, Plans, open_plans
from ipyactors.api.faces import face_of
from ipyactors.api.keywords import of_options
from ipyactors.ground.exceptions import ActorNotFoundError, DirectCallError, OptionError, SessionError
from ipyactors.ground.option_values import why_no_text
from ipyactors.ground.options import Place
from ipyactors.owner import current
from ipyactors.owner.actors import ActorClient
from ipyactors.owner.refs import ObjectRef
from ipyactors.owner.templates import ActorTemplate, MethodTemplate
from ipyactors.wire import serialize

if TYPE_CHECKING:
    from ipyactors.engines.base import Engine


class Takeable:
    """What makes actors of one class with one set of options, and whose class an actor can take in an upgrade."""

    __slots__ = ()

    def _get_template(self) -> ActorTemplate:
        raise NotImplementedError


class ActorHandle:
    """Speaks to one actor: ``handle.method.remote(...)``. It may be copied, sent to tasks and kept in actors.

    The actor lives as long as a handle of it does somewhere, unless it is detached. Any thread may use a handle.
    Its own attributes start with an underscore, so that they hide no method. ``handle.checkpoint()`` and
    ``handle.upgrade(NewClass)`` are the functions of these names, unless the class has such methods.
    """

    __slots__ = ("__weakref__", "_ipyactors_bytes", "_ipyactors_client", "_ipyactors_engine", "_ipyactors_plans")

    def __init__(self, engine: Engine, client: ActorClient, handle: bytes) -> None:
        self._ipyactors_engine = engine
        self._ipyactors_client = client  # the engine has counted this handle; it is counted down when it goes
        self._ipyactors_bytes = handle
        self._ipyactors_plans: Plans = open_plans(handle)

    def __getattr__(self, name: str) -> Any:
        # Of plans that are not set up yet the next line would ask for ever; a page that looks how to show the handle
        # must not find the actor's own methods for that, which it would call.
        if name == "_ipyactors_plans" or name.startswith("_repr_") or name == "_ipython_display_":
            raise AttributeError(name)
        plans = self._ipyactors_plans
        plan = plans.methods.get(name)
        if plan is not None:
            return (plans.faces.get(name) or _make_face(plans, name))(self, plan)
        if name in _VERBS:
            return types.MethodType(_VERBS[name], self)
        raise AttributeError(plans.explain_missing(name))

    def __dir__(self) -> list[str]:
        plans = self._ipyactors_plans
        verbs = _VERBS if plans.is_durable else ()
        return sorted({*(name for name in plans.methods if not name.startswith("__")), *verbs})

    def __reduce__(self) -> tuple[Any, ...]:
        client = self._ipyactors_client
        serialize.note_handle(client.actor_id)
        return _rebuild_handle, (client.actor_id, client.class_name, client.name, self._ipyactors_bytes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ActorHandle) and other._ipyactors_client.actor_id == self._ipyactors_client.actor_id

    def __hash__(self) -> int:
        return hash(self._ipyactors_client.actor_id)

    def __repr__(self) -> str:
        plans = self._ipyactors_plans
        label = reprs.actor_label(self._ipyactors_client, plans.class_name)
        return f"Actor({label}{_LEVELS[plans.description.level]})"

    def _repr_html_(self) -> str:
        """Return a table of what this process knows of the actor; nobody is asked."""
        is_live = self._ipyactors_engine is runtime.live_engine()
        return reprs.handle_as_html(self._ipyactors_client, self._ipyactors_plans.description, is_live=is_live)

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

    @of_options(Place.CALL)
    def options(self, **given: Any) -> ActorMethod:
        """Return the method with other options: ``num_returns``, ``max_task_retries``, ``retry_exceptions``, ``key``.

        ``key`` is your own name for one call of a durable actor. The first call with a key is executed; what it
        returned or raised is recorded for as long as the actor lives, and each later call with that key gets it without
        being executed, whichever process makes it and whatever crashed meanwhile: a cell that is run again, say. A call
        that was given up has no effect, and its key is free again. One key stands for one method with one set of
        arguments: with others, ``get`` raises ReplayDivergenceError.

        Raises OptionError, OptionTypeError; also for a ``key`` where calls are not recorded: of an actor that is not
        durable, or of a readonly method.
        """
        __tracebackhide__ = True
        return type(self)(self._handle, self._plan.but(given, repr(self)))

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

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild_method, (self._handle, self._plan.template)

    def __repr__(self) -> str:
        return f"{self._handle!r}.{self._plan.template.method}"


def _rebuild_method(handle: ActorHandle, template: MethodTemplate) -> ActorMethod:
    """Return a method with the options that ``template`` has. Called by ``pickle``."""
    plans, name = handle._ipyactors_plans, template.method
    face = plans.faces.get(name) or _make_face(plans, name)
    return face(handle, dataclasses.replace(plans.methods[name], template=template))


def _make_face(plans: Plans, name: str) -> type[ActorMethod]:
    """Return the class of a method that is asked for first."""
    plan = plans.methods[name]
    face = plans.faces[name] = face_of(ActorMethod, inspect.signature(plan.check), plan.doc)
    return face


class _Doc:
    """The docstring of a class; of an instance what ``words_of`` says of it, if anything. Help shows both."""

    def __init__(self, of_class: str | None, words_of: Callable[[Any], str]) -> None:
        self._of_class = inspect.cleandoc(of_class or "")
        self._words_of = words_of

    def __get__(self, instance: object, _owner: type) -> str:
        return (instance is not None and self._words_of(instance)) or self._of_class


def _words_of_handle(handle: ActorHandle) -> str:
    description = handle._ipyactors_plans.description
    public = [one for one in description.methods if not one.name.startswith("_")]
    lines = [f"    {one.name}({one.parameters}){f': {one.doc}' if one.doc else ''}" for one in public]
    title = f"An actor of class {description.class_name}{f': {description.doc}' if description.doc else '.'}"
    return "\n".join([title, "", "Its methods:", "", *lines] if lines else [title])


# Set from here: written in the class's own body, either would be no docstring.
ActorHandle.__doc__ = _Doc(ActorHandle.__doc__, _words_of_handle)  # type: ignore[assignment]
ActorMethod.__doc__ = _Doc(ActorMethod.__doc__, lambda method: method._plan.doc)  # type: ignore[assignment]


def checkpoint(actor: ActorHandle | str) -> ObjectRef:
    """Have a durable actor, given by its handle or name, make a checkpoint; return a reference to its id, a str.

    It is made when the calls that this process has sent before are done. No call is needed to keep the actor's state,
    with or without checkpoints; one now spares time later, when the actor comes back. ``get`` raises what the saving
    raised: then nothing has changed.

    Raises TypeError for anything but a durable actor; ActorNotFoundError for a handle of an ended session, and a name
    that no actor has.
    """
    __tracebackhide__ = True
    handle = _durable_one(actor, "checkpoint")
    reference: ObjectRef = ActorMethod(handle, handle._ipyactors_plans.methods[CHECKPOINT]).remote()
    return reference


def upgrade(actor: ActorHandle | str, new_class: object) -> None:
    """Have a durable actor go on as ``new_class``, a remote class that is durable too; wait until it does.

    ``actor`` is its handle or its name.

    A durable actor keeps the class that it was made with, also when the cell that defines it is run again: only the
    same code does the same again after a crash. An upgrade makes a checkpoint, which ends the need for the old code,
    and then gives the state to the new class: the instance's attributes stay, the constructor does not run. The state
    must be one that the new methods can use. The calls that this process has sent before run with the old class, those
    after it with the new one; those of others come before or after. The actor's options stay as they are.

    A ``Checkpointable`` is constructed before it loads what it has saved, so the new constructor runs when the actor
    comes back after a crash. If it raises then, the actor comes back from what the class before has saved.

    The handle given has the methods of the new class then, and so have those that are got from it. Others that exist go
    on with the signatures that they know. When this raises, or is interrupted, the actor has the one class or the
    other, never half; to do it again does no harm.

    Raises TypeError for anything but a durable actor and a durable remote class that fits it; OptionError if the actor
    runs several calls at once and the new class does not say that its methods allow for it; ActorNotFoundError for a
    handle of an ended session, and a name that no actor has; SessionError in the actor itself, which would wait for its
    own call to end.
    """
    __tracebackhide__ = True
    handle = _durable_one(actor, "upgrade")
    if not isinstance(new_class, Takeable):
        raise TypeError(
            f"upgrade takes a remote class, not {new_class!r}: decorate it with @remote(durable=True). "
            f"{handle!r} stays as it is."
        )
    own = current.actor()
    if own is not None and own.actor_id == handle._ipyactors_client.actor_id:
        raise SessionError(
            f"upgrade: {handle!r} cannot upgrade itself, for it would wait here until this call is over. Nothing was "
            "sent. Call it from the driver, a task or another actor."
        )
    template = new_class._get_template()
    taken = _taken(handle, new_class, open_plans(template.handle))
    definition = msgspec.msgpack.encode(template.definition)
    reference = ActorMethod(handle, handle._ipyactors_plans.methods[UPGRADE]).remote(definition, taken)
    handle._ipyactors_engine.get([reference], None)
    handle._ipyactors_bytes, handle._ipyactors_plans = taken, open_plans(taken)


def take_methods(handle: ActorHandle, of: ActorHandle) -> None:
    """Have a handle know the methods that another one of the same actor knows, such as after an upgrade."""
    handle._ipyactors_bytes, handle._ipyactors_plans = of._ipyactors_bytes, of._ipyactors_plans


#: What a handle can do itself, where the actor's class has no method of that name.
_VERBS: Mapping[str, Callable[..., Any]] = {"checkpoint": checkpoint, "upgrade": upgrade}

#: How a handle tells what its actor survives.
_LEVELS = {"": "", "process": ", durable", "host": ", durable=host"}


def _durable_one(actor: object, what: str) -> ActorHandle:
    handle = handle_of(actor, what)
    if not handle._ipyactors_plans.is_durable:
        raise TypeError(
            f"{what} takes a handle of a durable actor, and {handle!r} is not durable. Nothing was sent. "
            "Actors are durable whose class is decorated with @remote(durable=True)."
        )
    return handle


def _taken(handle: ActorHandle, new_class: object, new: Plans) -> bytes:
    """Return the bytes of the handle with the new class. Raises TypeError, OptionError if the actor cannot take it."""
    old, description = handle._ipyactors_plans.description, new.description
    if not new.is_durable:
        why = "is not durable: decorate it with @remote(durable=True)"
    elif old.is_checkpointable != description.is_checkpointable:
        why = "and the class before it must both be Checkpointable or neither, to load what was saved"
    elif description.is_async and not old.is_async:
        why = "has async methods, which an actor can only have from the beginning"
    else:
        durability.check_concurrency(description, old.max_concurrency)
        return description.taken_by(old)
    raise TypeError(f"upgrade: {new_class!r} {why}. {handle!r} stays as it is.")


def find_named(name: str, namespace: str | None = None) -> ActorHandle:
    """Return a handle of the live actor of that name: see :func:`ipyactors.get_actor`."""
    __tracebackhide__ = True
    if problem := why_no_text(name):
        raise OptionError(f"name={name!r}: takes a str; {problem}.", option="name")
    if not name:
        raise ValueError("name='': takes a non-empty str.")
    engine = runtime.engine()
    client, handle = engine.find_actor(name, namespace or engine.namespace)
    return ActorHandle(engine, client, handle)


def handle_of(actor: object, what: str) -> ActorHandle:
    """Return the handle that is meant: ``actor`` itself, or one of the live actor of that name in this namespace.

    ``what`` was called with it. Raises TypeError, ActorNotFoundError; SessionError for a name, if there is no session.
    """
    __tracebackhide__ = True
    if isinstance(actor, str):
        runtime.engine_for(what)
        return find_named(actor)
    client_of(actor, what)
    assert isinstance(actor, ActorHandle)
    return actor


def client_of(handle: object, what: str) -> ActorClient:
    """Return the client of a handle; ``what`` is what was called with it. Raises TypeError, ActorNotFoundError."""
    if not isinstance(handle, ActorHandle):
        raise TypeError(f"{what} takes an actor's handle or name, not {type(handle).__name__}.")
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
