"""Remote functions, and the decorator that makes them and remote classes."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, overload

from ipyactors.api import faces, reprs, retries, runtime, signatures
from ipyactors.api.actor import ActorClass
from ipyactors.api.definitions import Defined
from ipyactors.api.keywords import of_options
from ipyactors.api.signatures import Check
from ipyactors.ground import options
from ipyactors.ground.option_values import STREAMING_WORD
from ipyactors.ground.options import Place, TaskOptions
from ipyactors.owner.templates import STREAMING, TaskTemplate


class RemoteFunction(Defined):
    """A function that runs elsewhere: ``f.remote(...)`` returns a reference at once.

    The function, and the globals that it uses, are taken as they are at the first ``.remote``; defining it again
    makes another remote function.
    """

    _kind = "function"

    def __init__(self, function: Callable[..., Any], task_options: TaskOptions) -> None:
        super().__init__(function, getattr(function, "__qualname__", type(function).__name__))
        self._options = task_options
        signature = signatures.signature_of(function)
        self._parameters = signatures.describe(signature)
        self._is_generator = inspect.isgeneratorfunction(function)
        functools.update_wrapper(self, function, updated=())
        self._set_up(signature)

    def _set_up(self, signature: inspect.Signature | None = None) -> None:
        """Make what follows from the rest. The signature is that of the function, if it is in this process."""
        self._short_name = self._name.rpartition("<locals>.")[2]
        self._check: Check = signatures.make_check(self._short_name, self._parameters)
        self._template: TaskTemplate | None = None
        faces.show(type(self), signature or inspect.signature(self._check), self.__doc__)
        self._configured = faces.face_like(ConfiguredFunction, self)

    def _make_face(self) -> Any:
        return self._options, self._parameters, self._is_generator, self.__doc__, self.__module__

    def _take_face(self, face: Any) -> None:
        self._options, self._parameters, self._is_generator, self.__doc__, self.__module__ = face
        self.__qualname__, self.__name__ = self._name, self._name.rpartition(".")[2]
        self._set_up()

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        """Submit one call; return its reference (a list, a generator or None, as ``num_returns`` says).

        Raises TypeError, before anything is sent, if the arguments do not fit the signature; SerializationError.
        """
        __tracebackhide__ = True
        self._check(*args, **kwargs)
        template = self._template
        if template is None:
            template = self._template = self._make_template(self._options)
        return runtime.engine().submit_task(template, args, kwargs)

    @of_options(Place.TASK)
    def options(self, **given: Any) -> ConfiguredFunction:
        """Return this function with other options. Raises OptionError, OptionTypeError."""
        __tracebackhide__ = True
        return self._configured(self, self._options.but(given))

    def _make_template(self, task_options: TaskOptions) -> TaskTemplate:
        returns: int | str = task_options.num_returns if task_options.num_returns is not None else 1
        if returns == STREAMING_WORD or (task_options.num_returns is None and self._is_generator):
            returns = STREAMING
        return TaskTemplate(
            definition=self._get_definition(),
            name=task_options.name or self._short_name,
            demand=task_options.demand(),
            num_returns=int(returns),
            max_retries=task_options.max_retries,
            retry_on=retries.encode(task_options.retry_exceptions, what=self._short_name),
            lineage=task_options.lineage,
            full_name=self._full_name,
        )

    def __repr__(self) -> str:
        return f"RemoteFunction({reprs.words_of(self._short_name, self._options)})"

    def _repr_html_(self) -> str:
        return self._as_html(self._options)

    def _as_html(self, task_options: TaskOptions) -> str:
        return reprs.function_as_html(self._short_name, self._parameters, task_options, self.__doc__)


class ConfiguredFunction:
    """A remote function with options of its own, made by :meth:`RemoteFunction.options`."""

    def __init__(self, function: RemoteFunction, task_options: TaskOptions) -> None:
        self._function = function
        self._options = task_options
        self._template: TaskTemplate | None = None

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        """Submit one call, as :meth:`RemoteFunction.remote` does."""
        __tracebackhide__ = True
        function = self._function
        function._check(*args, **kwargs)
        template = self._template
        if template is None:
            template = self._template = function._make_template(self._options)
        return runtime.engine().submit_task(template, args, kwargs)

    @of_options(Place.TASK)
    def options(self, **given: Any) -> ConfiguredFunction:
        """Return the function with these options and, over them, those given."""
        __tracebackhide__ = True
        return type(self)(self._function, self._options.but(given))

    def __call__(self, *_args: Any, **_kwargs: Any) -> Any:
        """Raise DirectCallError, whatever the arguments."""
        __tracebackhide__ = True
        self._function()

    def __reduce__(self) -> tuple[Any, ...]:
        return _configure, (self._function, self._options)

    def __repr__(self) -> str:
        return f"RemoteFunction({reprs.words_of(self._function._short_name, self._options)})"

    def _repr_html_(self) -> str:
        return self._function._as_html(self._options)


def _configure(function: RemoteFunction, task_options: TaskOptions) -> ConfiguredFunction:
    """Return a remote function with these options. Called by ``pickle``."""
    return function._configured(function, task_options)


@overload
def remote(target: type, /) -> ActorClass: ...  # type: ignore[overload-overlap]
@overload
def remote(target: Callable[..., Any], /) -> RemoteFunction: ...
@overload
def remote(**given: Any) -> Callable[[Any], Any]: ...
def remote(*targets: Any, **given: Any) -> Any:
    """Make a function or class remote: ``@remote``, ``@remote(num_cpus=2)`` or ``remote(f)``.

    A function or class of a notebook or script is sent by value, with the globals that it uses, as they are at its
    first ``.remote``. What it imports is imported by the workers, where a module stays as it was then: to have a
    changed one seen, ``shutdown()`` and start again.

    With ``durable=True`` the actors of a class keep their state through crashes: a call that returned, or raised an
    exception of its own, has taken effect exactly once; one that raised an ActorError has had no effect, but for
    CallOutcomeUnknownError, which says that nobody can know; and all callers see one order. That holds however often a
    process of the session dies; with ``durable="host"`` also when the power fails, for which each answer waits for the
    disk. It does not hold when the disk is lost. The calls since the last checkpoint (``checkpoint=every(...)``) are
    executed again after a crash, so methods must do the same again, or say that they do not: see :func:`method`.
    Effects elsewhere, on a file or a service, are not part of the state: the call that a process died in is executed
    again, and has them twice. Such actors come back without end (``max_restarts=-1``), and a call that has ended the
    process four times is given up (``max_task_retries=3``) with CallAbortedError.

    Raises OptionError or OptionTypeError at once, naming the option and what it takes; TypeError for a target that
    is neither a function nor a class.
    """
    __tracebackhide__ = True
    if len(targets) > 1 or (targets and given):
        raise TypeError("remote takes one function or class, or options by keyword: @remote(num_cpus=2).")
    if targets:
        return _make_remote(targets[0], {})
    options.check_names(given, Place.TASK, Place.ACTOR)
    for name, value in given.items():
        if value is not None:
            options.OPTIONS[name].parse(value)
    return lambda target: _make_remote(target, given)


def _make_remote(target: Any, given: Mapping[str, Any]) -> RemoteFunction | ActorClass:
    __tracebackhide__ = True
    if isinstance(target, (Defined, ConfiguredFunction)):
        raise TypeError(f"{target!r} is remote already: use .options(...) to change its options.")
    if inspect.isclass(target):
        return ActorClass.of(target, given)
    if inspect.iscoroutinefunction(target) or inspect.isasyncgenfunction(target):
        raise TypeError(
            f"{target.__qualname__} is an async function, which cannot be a remote function. Make it a method of a "
            "remote class, or call asyncio.run in a plain function."
        )
    if not (inspect.isroutine(target) or isinstance(target, functools.partial)):
        raise TypeError(f"remote takes a function or a class, not {target!r} ({type(target).__name__}).")
    return RemoteFunction(target, TaskOptions().but(given))
