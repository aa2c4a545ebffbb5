"""Remote classes: what ``@remote`` makes of a class."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import FunctionType
from typing import Any

from ipyactors.api import descriptions, durability, faces, reprs, runtime, signatures
from ipyactors.api.definitions import Defined, explain_missing
from ipyactors.api.descriptions import ClassDescription
from ipyactors.api.handles import ActorHandle, Takeable
from ipyactors.api.keywords import of_options
from ipyactors.api.signatures import Check
from ipyactors.ground.checkpointable import Checkpointable
from ipyactors.ground.options import ActorOptions, Place
from ipyactors.owner.templates import ActorTemplate
from ipyactors.wire import serialize


class ActorClass(Defined, Takeable):
    """A class whose instances are actors: ``C.remote(...)`` starts one and returns its handle.

    Attributes of the class can be read. A class may inherit from it, which means from the class underneath, and is
    then made remote itself. The class and the globals that it uses are taken as they are at the first ``.remote``.
    """

    _kind = "class"

    @classmethod
    def of(cls, target: type, given: Mapping[str, Any]) -> ActorClass:
        """Return the remote class of ``target``. Raises OptionError, OptionTypeError; TypeError, see below.

        A class that inherits from :class:`~ipyactors.actor.Checkpointable` has to have all that this asks for.
        """
        if problem := lacking(target):
            raise TypeError(problem)
        return cls(target, ActorOptions().but(given))

    def __init__(self, target: type, actor_options: ActorOptions) -> None:
        super().__init__(target, target.__qualname__)
        self._options = actor_options
        self._description = descriptions.describe_class(target)
        durability.durability_of(actor_options, self._description)  # what is wrong already is said here
        signature = _constructor_signature(target)
        self._parameters = signatures.describe(signature)
        self.__doc__, self.__module__ = target.__doc__, target.__module__
        self.__wrapped__ = target
        self._set_up(signature)

    def _set_up(self, signature: inspect.Signature | None = None) -> None:
        """Make what follows from the rest. The signature is that of the constructor, if it is in this process."""
        self.__qualname__, self.__name__ = self._name, self._description.class_name
        self._check: Check = signatures.make_check(f"{self.__name__}.__init__", self._parameters)
        self._template: ActorTemplate | None = None
        faces.show(type(self), signature or inspect.signature(self._check), self.__doc__)
        self._configured = faces.face_like(ConfiguredActorClass, self)

    def _make_face(self) -> Any:
        return self._options, self._description, self._parameters, self.__doc__, self.__module__

    def _take_face(self, face: Any) -> None:
        self._options, self._description, self._parameters, self.__doc__, self.__module__ = face
        self._set_up()

    @property
    def description(self) -> ClassDescription:
        """The methods of the class, with their signatures."""
        return self._description

    def remote(self, *args: Any, **kwargs: Any) -> ActorHandle:
        """Start an actor and return its handle at once; its constructor runs in the actor's own process.

        Raises TypeError, before anything is sent, if the arguments do not fit the constructor; SerializationError;
        ActorAlreadyExistsError; OptionError if the checkpoints of a durable actor cannot be kept where they are to be:
        a folder that cannot be made on this machine, a protocol that is not known here. That a server is not there, or
        takes nothing, is found out at the first checkpoint: the actor's output tells it then, and nothing is lost.
        """
        __tracebackhide__ = True
        self._check(*args, **kwargs)
        return self._start(self._get_template(), args, kwargs)

    @of_options(Place.ACTOR)
    def options(self, **given: Any) -> ConfiguredActorClass:
        """Return this class with other options. Raises OptionError, OptionTypeError."""
        __tracebackhide__ = True
        return self._configured(self, self._options.but(given))

    def _start(self, template: ActorTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ActorHandle:
        __tracebackhide__ = True
        engine = runtime.engine()
        client, found = engine.create_actor(template, args, kwargs)
        return ActorHandle(engine, client, template.handle if found is None else found)

    def _get_template(self) -> ActorTemplate:
        if self._template is None:
            self._template = self._make_template(self._options)
        return self._template

    def _make_template(self, actor_options: ActorOptions) -> ActorTemplate:
        actor_options.check()
        description = self._description
        durable = durability.durability_of(actor_options, description)
        durability.check_store(durable)
        filled = actor_options.filled_in(is_durable=durable is not None, is_async=description.is_async)
        return ActorTemplate(
            definition=self._get_definition(),
            class_name=description.class_name,
            demand=filled.demand(),
            name=filled.name,
            namespace=filled.namespace,
            get_if_exists=filled.get_if_exists,
            detached=filled.lifetime == "detached",
            max_restarts=filled.max_restarts or 0,
            max_concurrency=filled.max_concurrency or 1,
            is_async=description.is_async,
            handle=description.with_options(filled, "" if durable is None else durable.level),
            durability=durable,
            full_name=self._full_name,
        )

    def __mro_entries__(self, _bases: tuple[Any, ...]) -> tuple[type, ...]:
        return (self._get_target(),)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"the remote class has no attribute {name!r}")
        target = self._get_target()
        if not hasattr(target, name):
            raise AttributeError(explain_missing(self, name))
        value = getattr(target, name)
        if isinstance(value, FunctionType) and serialize.is_collecting():
            # Pickle asks whether a method can be imported by this name. It could, but in the worker it would then be
            # the method of another class than the one that is sent by value, whose super() is not that of the actor.
            raise AttributeError(f"{name} is sent with its class")
        return value

    def __repr__(self) -> str:
        return f"ActorClass({reprs.words_of(self._description.class_name, self._options)})"

    def _repr_html_(self) -> str:
        return self._as_html(self._options)

    def _as_html(self, actor_options: ActorOptions) -> str:
        return reprs.class_as_html(self._description, self._parameters, actor_options, self.__doc__)


class ConfiguredActorClass(Takeable):
    """A remote class with options of its own, made by :meth:`ActorClass.options`."""

    def __init__(self, cls: ActorClass, actor_options: ActorOptions) -> None:
        actor_options.check()
        durability.durability_of(actor_options, cls.description)
        self._class = cls
        self._options = actor_options
        self._template: ActorTemplate | None = None

    def remote(self, *args: Any, **kwargs: Any) -> ActorHandle:
        """Start an actor, as :meth:`ActorClass.remote` does."""
        __tracebackhide__ = True
        self._class._check(*args, **kwargs)
        return self._class._start(self._get_template(), args, kwargs)

    @of_options(Place.ACTOR)
    def options(self, **given: Any) -> ConfiguredActorClass:
        """Return the class with these options and, over them, those given."""
        __tracebackhide__ = True
        return type(self)(self._class, self._options.but(given))

    def __call__(self, *_args: Any, **_kwargs: Any) -> Any:
        """Raise DirectCallError, whatever the arguments."""
        __tracebackhide__ = True
        self._class()

    def _get_template(self) -> ActorTemplate:
        if self._template is None:
            self._template = self._class._make_template(self._options)
        return self._template

    def __reduce__(self) -> tuple[Any, ...]:
        return _configure, (self._class, self._options)

    def __repr__(self) -> str:
        return f"ActorClass({reprs.words_of(self._class.description.class_name, self._options)})"

    def _repr_html_(self) -> str:
        return self._class._as_html(self._options)


def _configure(cls: ActorClass, actor_options: ActorOptions) -> ConfiguredActorClass:
    """Return a remote class with these options. Called by ``pickle``."""
    return cls._configured(cls, actor_options)


def lacking(target: type) -> str:
    """Return what a class lacks that is a :class:`~ipyactors.actor.Checkpointable`; empty if it lacks nothing."""
    missing = sorted(getattr(target, "__abstractmethods__", ())) if issubclass(target, Checkpointable) else ()
    if not missing:
        return ""
    who = f"{target.__qualname__} is a Checkpointable"
    return f"{who} and cannot be made remote: it does not implement {', '.join(missing)}."


def _constructor_signature(target: type) -> inspect.Signature:
    """Return the signature of the constructor without ``self``, and what it returns; a class without one takes none."""
    signature = inspect.Signature()
    if target.__init__ is not object.__init__:  # type: ignore[misc]
        signature = signatures.signature_of(target.__init__, skip_first=True)  # type: ignore[misc]
    elif target.__new__ is not object.__new__:  # type: ignore[comparison-overlap]
        signature = signatures.signature_of(target.__new__, skip_first=True)
    return signature.replace(return_annotation=inspect.Signature.empty)
