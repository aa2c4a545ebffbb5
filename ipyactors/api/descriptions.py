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
from ipyactors.ground.checkpointable import Checkpointable
from ipyactors.ground.exceptions import OptionError
from ipyactors.ground.option_values import STREAMING_WORD, why_no_text
from ipyactors.ground.options import ActorOptions, MethodOptions, Place
from ipyactors.ground.tracebacks import clean
from ipyactors.owner.templates import STREAMING, MethodTemplate

_MARK = "__ipyactors_method__"

#: Methods that every actor has; the worker and the engine know them. LOOK tells its attributes, in words.
READY, CALL, TERMINATE = "__ray_ready__", "__ray_call__", "__ray_terminate__"
LOOK = "__ipyactors_look__"
_COMMON = {READY: "", CALL: "function, /, *args, **kwargs", TERMINATE: "", LOOK: ""}

#: Methods that every durable actor has besides: return the id of a checkpoint that is made now; take another class,
#: given as the bytes of its definition and of its handles; damage the newest checkpoint, as ``ipyactors.chaos`` orders.
#: RESTORE goes back to the state of a checkpoint, and is part of the actor's history as its own methods are.
CHECKPOINT, UPGRADE, CORRUPT = "__ipyactors_checkpoint__", "__ipyactors_upgrade__", "__ipyactors_corrupt__"
RESTORE = "__ipyactors_restore__"
_OF_DURABLE = {CHECKPOINT: "", UPGRADE: "definition, handle, /", CORRUPT: "order, /", RESTORE: "checkpoint_id, /"}

#: So long is a docstring that travels with each handle.
_DOC_AT_MOST = 120

_Function = TypeVar("_Function", bound=Callable[..., Any])


def method(**given: Any) -> Callable[[_Function], _Function]:
    """Set options of one method of a remote class.

    These are ``num_returns``, ``max_task_retries``, ``retry_exceptions`` and ``effect``. They rank above the actor's
    own and below those of ``handle.m.options(...)``.

    ``effect="readonly"`` says that the method leaves the actor as it was. When the data of a result is lost, the actor
    is asked for it again, unless other calls have begun to change it since, so that it would be another value; then the
    result is lost. A durable actor does not record such calls: they cost no more than those of any actor, and after a
    crash they are simply run again. What the method changes all the same is lost in a crash, and if it is part of the
    state, makes the actor's results differ after a crash: then the actor is not brought back (RecoveryDivergedError).

    ``effect="replay"``, the default, says that a durable actor may run the method again after a crash, with the same
    arguments on the same state, to come to the same state and result as before. For that it must not depend on anything
    else: the time, chance, files, other services. What it takes from outside by ``get_runtime_context().now()``,
    ``.random()``, ``.uuid4()`` and ``.once(fn)``, and by calls of tasks and actors, is recorded, and the same each
    time. A result that differs is noticed (ReplayDivergenceError); a state that differs without it is not.

    ``effect="persist"`` says that it cannot be run again: what it did is in a checkpoint before the caller has the
    answer, which costs a checkpoint with every call. Only a call that the process dies in is run again. Methods of a
    durable actor that run several calls at once (threads, or async methods) must be ``"persist"`` or ``"readonly"``.
    The answers of those that ran side by side wait for each other: a checkpoint has none of them half done. So do not
    have a ``"persist"`` method wait for what a later call brings (an item in a queue, a lock that is released): as long
    as one waits, nobody beside it is answered, and if what it waits for depends on such an answer, nobody ever is.
    Return instead, ``None`` if there is nothing, and have the caller ask again. A ``"readonly"`` method may wait; it
    sees what later calls change, and holds nothing up.

    In an actor that is not durable, ``"replay"`` and ``"persist"`` make no difference.

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
    """One method. ``parameters`` is its signature without ``self``; ``max_task_retries`` None: as the actor says.

    ``doc`` is what :func:`short_doc` leaves of its docstring, for it travels with each handle.
    """

    name: str
    parameters: str
    num_returns: int = 1
    max_task_retries: int | None = None
    retry_on: bytes = b""
    is_readonly: bool = False
    is_persist: bool = False
    doc: str = ""


class ClassDescription(msgspec.Struct, array_like=True, frozen=True):
    """A remote class as its handles see it; options that are the actor's own are included.

    ``level`` is what a durable actor survives (see :class:`~ipyactors.wire.specs.Durability`), empty of any other.
    ``doc`` is what :func:`short_doc` leaves of the docstring.
    """

    class_name: str
    methods: tuple[MethodDescription, ...]
    is_async: bool = False
    max_task_retries: int = 0
    max_pending_calls: int = -1
    level: str = ""
    max_concurrency: int = 1
    is_checkpointable: bool = False
    doc: str = ""

    def with_options(self, actor_options: ActorOptions, level: str = "") -> bytes:
        """Return the bytes that a handle of an actor with these options is rebuilt from; they are filled in."""
        return msgspec.msgpack.encode(
            msgspec.structs.replace(
                self,
                max_task_retries=actor_options.max_task_retries or 0,
                max_pending_calls=actor_options.max_pending_calls,
                level=level,
                max_concurrency=actor_options.max_concurrency or 1,
            )
        )

    def taken_by(self, actor: ClassDescription) -> bytes:
        """Return the bytes of a handle of ``actor`` when it has taken this class: its own options stay as they are."""
        return msgspec.msgpack.encode(
            msgspec.structs.replace(
                self,
                max_task_retries=actor.max_task_retries,
                max_pending_calls=actor.max_pending_calls,
                level=actor.level,
                max_concurrency=actor.max_concurrency,
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
        if problem := why_no_text(name):
            raise OptionError(f"the method {name!r} of {cls.__name__} cannot be called by a message: {problem}.")
        is_async = is_async or inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
        marked: MethodOptions = getattr(raw, _MARK, None) or getattr(function, _MARK, None) or MethodOptions()
        found.append(
            MethodDescription(
                name,
                signatures.describe(signatures.signature_of(function, skip_first=not isinstance(raw, staticmethod))),
                _count_returns(marked, is_generator=_is_generator(function)),
                marked.max_task_retries,
                retries.encode(marked.retry_exceptions, what=f"{cls.__name__}.{name}"),
                marked.effect == "readonly",
                marked.effect == "persist",
                short_doc(function),
            )
        )
    return ClassDescription(
        cls.__name__,
        tuple(found),
        is_async,
        is_checkpointable=issubclass(cls, Checkpointable),
        doc=short_doc(cls),
    )


def short_doc(documented: object) -> str:
    """Return the first line of a docstring, or what there is room for of it; empty if there is none."""
    doc = getattr(documented, "__doc__", None)
    line = clean(inspect.cleandoc(doc).partition("\n")[0]) if isinstance(doc, str) else ""
    return line if len(line) <= _DOC_AT_MOST else f"{line[: _DOC_AT_MOST - 3]}..."


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
    doc: str = ""

    def but(self, given: Mapping[str, Any], what: str) -> MethodPlan:
        """Return the plan with the options of one call. Raises OptionError, OptionTypeError."""
        changes = options.parse(given, Place.CALL)
        if "key" in changes:
            self._check_key(changes["key"], what)
        if "num_returns" in changes:
            returns = changes["num_returns"]
            changes["num_returns"] = STREAMING if returns == STREAMING_WORD else returns
        if "retry_exceptions" in changes:
            changes["retry_on"] = retries.encode(changes.pop("retry_exceptions"), what=what)
        return dataclasses.replace(self, template=dataclasses.replace(self.template, **changes))

    def _check_key(self, key: str, what: str) -> None:
        if not self.template.is_durable:
            raise OptionError(
                f"key={key!r}: {what} is a method of an actor that is not durable, which keeps no record of its calls. "
                "Nothing was sent. Leave the key out, or make the class durable: @remote(durable=True).",
                option="key",
            )
        if self.template.is_readonly:
            raise OptionError(
                f"key={key!r}: {what} is readonly, and calls of such methods are not recorded: each is run on the "
                "actor as it is then. Nothing was sent. Leave the key out.",
                option="key",
            )


class Plans:
    """The methods of one class with one set of options, ready to be called; shared by all handles of its actors."""

    def __init__(self, handle: bytes) -> None:
        self.description = msgspec.msgpack.decode(handle, type=ClassDescription)
        self.class_name = self.description.class_name
        known = {one.name: one for one in self.description.methods}
        self.is_durable = bool(self.description.level)
        hidden = _COMMON | _OF_DURABLE if self.is_durable else _COMMON
        self.methods: Mapping[str, MethodPlan] = {name: self._plan(one) for name, one in known.items()} | {
            name: self._plan(MethodDescription(name, parameters, is_readonly=self._is_readonly(name)))
            for name, parameters in hidden.items()
        }
        self.faces: dict[str, type[Any]] = {}  # of the methods that were asked for, the class of what a handle gives

    def _is_readonly(self, hidden: str) -> bool:
        return hidden == LOOK or (self.is_durable and hidden == READY)

    def _plan(self, one: MethodDescription) -> MethodPlan:
        own, actors = one.max_task_retries, self.description.max_task_retries
        # Where calls overlap, what was not declared can only be kept: private methods, and functions that are sent.
        is_persist = one.is_persist or (self.description.max_concurrency > 1 and one.name not in _OF_DURABLE)
        template = MethodTemplate(
            method=one.name,
            num_returns=one.num_returns,
            max_task_retries=actors if own is None else own,
            retry_on=one.retry_on,
            max_pending_calls=self.description.max_pending_calls,
            is_readonly=one.is_readonly,
            class_name=self.class_name,
            is_persist=self.is_durable and is_persist and not one.is_readonly,
            is_durable=self.is_durable,
        )
        return MethodPlan(template, signatures.make_check(f"{self.class_name}.{one.name}", one.parameters), one.doc)

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
