"""What a handle needs to know of its actor's class: its methods, their signatures and options; no code."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from ipyactors.api import retries, signatures
from ipyactors.api.signatures import Check
from ipyactors.ground import options
from ipyactors.ground.options import STREAMING_WORD, ActorOptions, MethodOptions, Place
from ipyactors.owner.templates import STREAMING, MethodTemplate

_MARK = "__ipyactors_method__"

#: Methods that every actor has; the worker and the engine know them.
READY, CALL, TERMINATE = "__ray_ready__", "__ray_call__", "__ray_terminate__"
_COMMON = {READY: "", CALL: "function, /, *args, **kwargs", TERMINATE: ""}

_Function = TypeVar("_Function", bound=Callable[..., Any])


def method(**given: Any) -> Callable[[_Function], _Function]:
    """Set options of one method of a remote class.

    These are ``num_returns``, ``max_task_retries``, ``retry_exceptions`` and ``effect``. They rank above the actor's
    own and below those of ``handle.m.options(...)``. ``effect="readonly"`` says that the method leaves the actor as it
    was: when the data of a result is lost, the actor is asked for it again, unless other calls have begun to change it
    since, so that it would be another value; then the result is lost.
    ``"replay"``, the default, and ``"persist"`` make no difference in this version.

    Raises OptionError, OptionTypeError.
    """
    __tracebackhide__ = True
    method_options = MethodOptions().but(given)

    def mark(function: _Function) -> _Function:
        if not callable(function) and not isinstance(function, (staticmethod, classmethod)):
            raise TypeError(f"@method goes on a method, not on {function!r}.")
        setattr(function, _MARK, method_options)
        return function

    return mark


class MethodDescription(msgspec.Struct, array_like=True, frozen=True):
    """One method. ``parameters`` is its signature without ``self``; ``max_task_retries`` None: as the actor says."""

    name: str
    parameters: str
    num_returns: int = 1
    max_task_retries: int | None = None
    retry_on: bytes = b""
    is_readonly: bool = False


class ClassDescription(msgspec.Struct, array_like=True, frozen=True):
    """A remote class as its handles see it; options that are the actor's own are included."""

    class_name: str
    methods: tuple[MethodDescription, ...]
    is_async: bool = False
    max_task_retries: int = 0
    max_pending_calls: int = -1

    def with_options(self, actor_options: ActorOptions) -> bytes:
        """Return the bytes that a handle of an actor with these options is rebuilt from."""
        return msgspec.msgpack.encode(
            msgspec.structs.replace(
                self,
                max_task_retries=actor_options.max_task_retries,
                max_pending_calls=actor_options.max_pending_calls,
            )
        )


def describe_class(cls: type) -> ClassDescription:
    """Return the description of a class; its methods include inherited, static and class methods."""
    found: list[MethodDescription] = []
    is_async = False
    for name in dir(cls):
        if name.startswith("__"):
            continue
        raw = inspect.getattr_static(cls, name)
        function = getattr(raw, "__func__", raw)
        if not inspect.isroutine(function):
            continue
        is_async = is_async or inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
        marked: MethodOptions = getattr(raw, _MARK, None) or getattr(function, _MARK, None) or MethodOptions()
        found.append(
            MethodDescription(
                name,
                signatures.describe(function, skip_first=not isinstance(raw, staticmethod)),
                _count_returns(marked, is_generator=_is_generator(function)),
                marked.max_task_retries,
                retries.encode(marked.retry_exceptions, what=f"{cls.__name__}.{name}"),
                marked.effect == "readonly",
            )
        )
    return ClassDescription(cls.__name__, tuple(found), is_async)


def _is_generator(function: Any) -> bool:
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def _count_returns(method_options: MethodOptions, *, is_generator: bool) -> int:
    returns = method_options.num_returns
    if returns is None:
        return STREAMING if is_generator else 1
    return STREAMING if returns == STREAMING_WORD else int(returns)


@dataclasses.dataclass(frozen=True, slots=True)
class MethodPlan:
    """Everything about calling a method that does not depend on the call."""

    template: MethodTemplate
    check: Check

    def but(self, given: Mapping[str, Any], what: str) -> MethodPlan:
        """Return the plan with the options of one call. Raises OptionError, OptionTypeError."""
        changes = options.parse(given, Place.CALL)
        if "num_returns" in changes:
            returns = changes["num_returns"]
            changes["num_returns"] = STREAMING if returns == STREAMING_WORD else returns
        if "retry_exceptions" in changes:
            changes["retry_on"] = retries.encode(changes.pop("retry_exceptions"), what=what)
        return dataclasses.replace(self, template=dataclasses.replace(self.template, **changes))


class Plans:
    """The methods of one class with one set of options, ready to be called; shared by all handles of its actors."""

    def __init__(self, handle: bytes) -> None:
        self.description = msgspec.msgpack.decode(handle, type=ClassDescription)
        self.class_name = self.description.class_name
        known = {one.name: one for one in self.description.methods}
        self.methods: Mapping[str, MethodPlan] = {name: self._plan(one) for name, one in known.items()} | {
            name: self._plan(MethodDescription(name, parameters)) for name, parameters in _COMMON.items()
        }

    def _plan(self, one: MethodDescription) -> MethodPlan:
        own, actors = one.max_task_retries, self.description.max_task_retries
        template = MethodTemplate(
            method=one.name,
            num_returns=one.num_returns,
            max_task_retries=actors if own is None else own,
            retry_on=one.retry_on,
            max_pending_calls=self.description.max_pending_calls,
            is_readonly=one.is_readonly,
            class_name=self.class_name,
        )
        return MethodPlan(template, signatures.make_check(f"{self.class_name}.{one.name}", one.parameters))

    def explain_missing(self, name: str) -> str:
        """Return the text of the AttributeError for a method that the class does not have."""
        names = [one.name for one in self.description.methods]
        near = difflib.get_close_matches(name, names, n=3)
        hint = f"Did you mean {' or '.join(repr(match) for match in near)}?" if near else f"It has: {', '.join(names)}."
        return f"the actor class {self.class_name} has no method {name!r}. {hint}"


@functools.lru_cache(maxsize=512)
def open_plans(handle: bytes) -> Plans:
    """Return the plans for the bytes of :meth:`ClassDescription.with_options`."""
    return Plans(handle)
