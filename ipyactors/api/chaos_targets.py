"""What ``ipyactors.chaos`` is pointed at, and the values that it takes; checked before anything is sent."""

from __future__ import annotations

import dataclasses
import math

from ipyactors.api import runtime
from ipyactors.api.handles import ActorHandle, client_of, handle_of
from ipyactors.api.remote import ConfiguredFunction, RemoteFunction
from ipyactors.ground.exceptions import OptionError, OptionTypeError
from ipyactors.wire.chaos_words import Moment, Progress, describe

#: An actor, by its handle or name; or a remote function.
Target = ActorHandle | str | RemoteFunction | ConfiguredFunction

#: A method's name, or True for any call.
Which = str | bool | None

_NOTHING = "Nothing was done."


@dataclasses.dataclass(frozen=True)
class Fault:
    """One that was ordered: ``what`` is to be done to ``target``, in words. ``done``: so often it was.

    Of an actor's, ``counted`` calls have begun since, as far as the session knows: a process that lives counts itself.
    """

    number: int
    target: str
    what: str
    done: int = 0
    counted: int = 0

    @classmethod
    def of(cls, progress: Progress) -> Fault:
        """Return an order as people see it."""
        order = progress.order
        return cls(order.order_id, order.subject, describe(order), progress.done, progress.counted)

    def __repr__(self) -> str:
        done = f", done {self.done} time{'s' * (self.done != 1)} so far" if self.done else ""
        return f"Fault({self.target}: {self.what}{done})"


@dataclasses.dataclass(frozen=True)
class Found:
    """What a target is: an actor, or what runs the remote function with this definition."""

    subject: str
    actor_id: bytes = b""
    definition_id: bytes = b""
    handle: ActorHandle | None = None

    def check_method(self, method: str, what: str) -> None:
        """Raise OptionError for a method that the actor's class does not have."""
        if not method:
            return
        if self.handle is None:
            raise OptionError(f"{what}: {self.subject} is a function and has no methods: write True. {_NOTHING}")
        plans = self.handle._ipyactors_plans
        if method not in plans.methods:
            raise OptionError(f"{what}: {plans.explain_missing(method)} {_NOTHING}")


def find(target: Target, what: str, *, starts: bool = False) -> Found:
    """Return what a target is. Raises TypeError, ActorNotFoundError, SessionError where there is no session.

    ``starts``: for a remote function a session is started, as its first call would.
    """
    __tracebackhide__ = True
    if not (starts and isinstance(target, (RemoteFunction, ConfiguredFunction))):
        runtime.engine_for(what)
    if isinstance(target, str):
        target = handle_of(target, what)
    if isinstance(target, ActorHandle):
        client = client_of(target, what)
        class_name = target._ipyactors_plans.class_name
        subject = f"{class_name} {client.name!r}" if client.name else class_name
        return Found(subject, client.actor_id, handle=target)
    function = target._function if isinstance(target, ConfiguredFunction) else target
    if isinstance(function, RemoteFunction):
        runtime.engine()
        return Found(function._short_name, definition_id=function._get_definition().definition_id)
    raise TypeError(
        f"{what} takes an actor's handle or name, or a remote function, not {type(target).__name__}. {_NOTHING}"
    )


def find_actor(target: Target, what: str) -> tuple[Found, ActorHandle]:
    """Return an actor that is durable. Raises as :func:`find`, and TypeError for what is none."""
    __tracebackhide__ = True
    found = find(target, what)
    if found.handle is None or not found.handle._ipyactors_plans.is_durable:
        raise TypeError(f"{what} takes a durable actor, which has checkpoints; {found.subject} is none. {_NOTHING}")
    return found, found.handle


def moment_of(what: str, before: Which, during: Which, after: Which) -> tuple[Moment, str]:
    """Return when, and at which method's calls (empty: any). Raises OptionError, OptionTypeError."""
    __tracebackhide__ = True
    given = {Moment.BEFORE: before, Moment.DURING: during, Moment.AFTER: after}
    chosen = [(moment, which) for moment, which in given.items() if which is not None and which is not False]
    if len(chosen) > 1:
        names = " and ".join(moment.value for moment, _ in chosen)
        raise OptionError(f"{what}: {names} were given; it takes one of before, during and after. {_NOTHING}")
    if not chosen:
        return Moment.NOW, ""
    [(moment, which)] = chosen
    return moment, method_of(f"{what}({moment.value}=...)", which)


def method_of(what: str, which: Which) -> str:
    """Return a method's name, empty for any. Raises OptionTypeError."""
    __tracebackhide__ = True
    if which is None or which is True:
        return ""
    if not isinstance(which, str) or not which:
        raise OptionTypeError(f"{what}: takes a method's name, or True for any call, not {which!r}. {_NOTHING}")
    return which


def count_of(what: str, name: str, value: object) -> int:
    """Return a number of calls, from 1 on. Raises OptionError, OptionTypeError."""
    __tracebackhide__ = True
    if isinstance(value, bool) or not isinstance(value, int):
        raise OptionTypeError(f"{what}({name}={value!r}): takes a number from 1 on. {_NOTHING}")
    if not 1 <= value < 1 << 60:
        raise OptionError(f"{what}({name}={value!r}): takes a number from 1 on. {_NOTHING}")
    return value


def seconds_of(what: str, value: object) -> float:
    """Return seconds, above 0. Raises OptionError, OptionTypeError."""
    __tracebackhide__ = True
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise OptionTypeError(f"{what}: takes seconds, not {value!r}. {_NOTHING}")
    if value <= 0 or not math.isfinite(value):
        raise OptionError(f"{what}: takes seconds above 0, not {value!r}. {_NOTHING}")
    return float(value)
