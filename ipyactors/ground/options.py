"""Every option of remote functions, actors and methods: one table, and what reads it.

The table is also what ``%%remote`` makes its flags and its help from. ``None`` as a value always means "as if it had
not been given", so that a program may pass an option through.
"""

from __future__ import annotations

import dataclasses
import difflib
import enum
import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

from ipyactors.ground.exceptions import OptionError, OptionTypeError
from ipyactors.ground.quantities import UNITS_PER_ONE, Units, to_units

#: ``num_returns`` of a function whose items are handed out one by one, as references.
STREAMING_WORD = "streaming"

#: The most references that one call may return; a generator may yield more.
RETURNS_AT_MOST = 1_000_000

#: How many calls of an actor with ``async def`` methods run at once when nothing is said.
ASYNC_CONCURRENCY = 1000


class Place(enum.StrEnum):
    """Where an option may be given. The values are the words used in messages."""

    TASK = "remote function"
    ACTOR = "remote class"
    METHOD = "method"
    CALL = "method call"


class Kind(enum.Enum):
    """What sort of value an option takes; a command line makes its parser from it."""

    COUNT = "count"
    AMOUNT = "amount"
    BYTES = "bytes"
    AMOUNTS = "amounts"
    TEXT = "text"
    FLAG = "flag"
    CHOICE = "choice"
    RETURNS = "returns"
    EXCEPTIONS = "exceptions"


class _WrongTypeError(Exception):
    """The value is of another type than the option takes; the text, if any, says which."""


class _OutOfRangeError(Exception):
    """The value is of the right type and not allowed; the text, if any, says why."""


# -- one checker per kind: returns the value in its one form, or raises one of the two above -------------------


def _whole(value: Any, lowest: int) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise _WrongTypeError
    if value < lowest:
        raise _OutOfRangeError
    return int(value)


def _from_minus_one(value: Any) -> int:
    return _whole(value, -1)


def _from_one(value: Any) -> int:
    return _whole(value, 1)


def _bytes(value: Any) -> int:
    return _whole(round(value) if isinstance(value, float) and math.isfinite(value) else value, 0)


def _limit(value: Any) -> int:
    count = _whole(value, -1)
    if count == 0:
        raise _OutOfRangeError
    return count


def _amount(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise _WrongTypeError
    amount = float(value)
    if not math.isfinite(amount) or amount < 0 or 0 < amount < 1 / UNITS_PER_ONE:
        raise _OutOfRangeError
    return amount


_HAVE_THEIR_OWN = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "memory"}


def _amounts(value: Any) -> dict[str, float]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise _WrongTypeError
    for name in value:
        if name in _HAVE_THEIR_OWN:
            raise _OutOfRangeError(f"{name!r} is not given here but by the option {_HAVE_THEIR_OWN[name]}")
        if not name:
            raise _OutOfRangeError("a resource needs a name")
    amounts = {}
    for name, amount in value.items():
        try:
            amounts[name] = _amount(amount)
        except _WrongTypeError:
            raise _WrongTypeError(f"a {type(amount).__name__} for {name!r}") from None
        except _OutOfRangeError:
            raise _OutOfRangeError(f"{amount!r} for {name!r} is not one") from None
    return amounts


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _WrongTypeError
    if not value:
        raise _OutOfRangeError
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _WrongTypeError
    return value


def _lifetime(value: Any) -> str:
    if _text(value) not in {"detached", "non_detached"}:
        raise _OutOfRangeError
    return str(value)


def _returns(value: Any) -> int | str:
    if isinstance(value, str):
        if value != STREAMING_WORD:
            raise _OutOfRangeError
        return value
    count = _whole(value, 0)
    if count > RETURNS_AT_MOST:
        raise _OutOfRangeError
    return count


def _exceptions(value: Any) -> bool | tuple[type[BaseException], ...]:
    if isinstance(value, bool):
        return value
    if not isinstance(value, (list, tuple)):
        raise _WrongTypeError
    if not all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in value):
        raise _WrongTypeError
    return tuple(value)


def _effect(value: Any) -> str:
    if _text(value) not in {"replay", "readonly", "persist"}:
        raise _OutOfRangeError
    return str(value)


def _durable(value: Any) -> bool:
    if value is False:
        return False
    if value is True or value in {"process", "host", "cluster"}:
        raise _OutOfRangeError("durable actors are not available in this version")
    raise _WrongTypeError


# -- the table -------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Option:
    """One option. ``takes`` and ``help`` are for people; ``default`` is what holds when it is not given.

    One that is not available in this version takes no value but its default, and is not offered as a flag.
    """

    name: str
    places: frozenset[Place]
    kind: Kind
    check: Callable[[Any], Any]
    takes: str
    default: Any
    help: str
    is_available: bool = True

    def parse(self, value: Any) -> Any:
        """Return ``value`` in its one form. Raises OptionTypeError or OptionError."""
        try:
            return self.check(value)
        except _WrongTypeError as reason:
            what = str(reason) or type(value).__name__
            raise OptionTypeError(f"{self.name}={value!r}: takes {self.takes}, not {what}.", option=self.name) from None
        except _OutOfRangeError as reason:
            why = f"; {reason}" if str(reason) else ""
            raise OptionError(f"{self.name}={value!r}: takes {self.takes}{why}.", option=self.name) from None


_BOTH = frozenset({Place.TASK, Place.ACTOR})
_ACTOR = frozenset({Place.ACTOR})
_CALLS = frozenset({Place.METHOD, Place.CALL})

_ROWS: tuple[tuple[Any, ...], ...] = (
    ("num_cpus", _BOTH, Kind.AMOUNT, _amount, "a number >= 0, in steps of 0.0001", None,
     "CPUs held while it runs (a task: 1; an actor holds none for as long as it lives)"),
    ("num_gpus", _BOTH, Kind.AMOUNT, _amount, "a number >= 0, in steps of 0.0001", 0.0,
     "GPUs held while it runs. They are counted, not assigned: set CUDA_VISIBLE_DEVICES yourself"),
    ("memory", _BOTH, Kind.BYTES, _bytes, "a number of bytes >= 0", 0,
     "bytes of memory held while it runs; for placing, not a limit"),
    ("resources", _BOTH, Kind.AMOUNTS, _amounts, "a dict of resource names to numbers >= 0", {},
     "amounts of your own resources held while it runs"),
    ("name", _BOTH, Kind.TEXT, _text, "a non-empty str", "",
     "what messages call the task; the name by which get_actor() finds the actor"),
    ("max_retries", frozenset({Place.TASK}), Kind.COUNT, _from_minus_one, "an int >= -1 (-1: no limit)", 3,
     "how often the task runs again after the death of its worker, or when the data of its result is lost"),
    ("retry_exceptions", frozenset({Place.TASK}) | _CALLS, Kind.EXCEPTIONS, _exceptions,
     "True, False, or a list or tuple of exception classes", False,
     "which exceptions of its own code make it run again, within the same count"),
    ("lineage", frozenset({Place.TASK}), Kind.FLAG, _flag, "True or False", True,
     "keep what is needed to run the task again when the data of its result is lost"),
    ("num_returns", frozenset({Place.TASK}) | _CALLS, Kind.RETURNS, _returns,
     f"an int from 0 to {RETURNS_AT_MOST:,} or 'streaming'", None,
     "how many references one call returns (1; 'streaming' for generators)"),
    ("max_restarts", _ACTOR, Kind.COUNT, _from_minus_one, "an int >= -1 (-1: no limit)", 0,
     "how often the actor's constructor runs again after the death of its process"),
    ("max_task_retries", _ACTOR | _CALLS, Kind.COUNT, _from_minus_one, "an int >= -1 (-1: no limit)", 0,
     "how often a call is sent again after the death of the actor's process"),
    ("effect", frozenset({Place.METHOD}), Kind.CHOICE, _effect, "'replay', 'readonly' or 'persist'", "replay",
     "what the method does to the actor; a 'readonly' one is called again when the data of its result is lost"),
    ("max_concurrency", _ACTOR, Kind.COUNT, _from_one, "an int >= 1", None,
     f"how many calls run at once (1; {ASYNC_CONCURRENCY} with async methods)"),
    ("max_pending_calls", _ACTOR, Kind.COUNT, _limit, "an int >= 1, or -1 for no limit", -1,
     "how many unanswered calls one process may have before a further one raises PendingCallsLimitError"),
    ("namespace", _ACTOR, Kind.TEXT, _text, "a non-empty str", "",
     "where the name is unique (default: the session's own)"),
    ("get_if_exists", _ACTOR, Kind.FLAG, _flag, "True or False; needs a name", False,
     "return the live actor of that name, if there is one, instead of a new one"),
    ("lifetime", _ACTOR, Kind.CHOICE, _lifetime, "'detached' or 'non_detached'", "non_detached",
     "'detached': lives on without handles and creator, until killed; its constructor's arguments are copied"),
    ("durable", _ACTOR, Kind.CHOICE, _durable, "None or False", False,
     "keep the actor's state through crashes (not available in this version)", False),
)  # fmt: skip

#: All options by name, in the order in which help shows them.
OPTIONS: Mapping[str, Option] = {row[0]: Option(*row) for row in _ROWS}

_ELSEWHERE = "It is an option of Ray that this package does not have"
UNSUPPORTED: Mapping[str, str] = {
    "max_calls": "Use ipyactors.util.multiprocessing.Pool(maxtasksperchild=n) to have processes replaced",
    "runtime_env": "Workers see the driver's sys.path and environment",
    "scheduling_strategy": "Use resources= to choose where it runs",
    "placement_group": "Use resources= to choose where it runs",
    "placement_group_bundle_index": "Use resources= to choose where it runs",
    "placement_group_capture_child_tasks": "Use resources= to choose where it runs",
    "accelerator_type": "Use resources= to choose where it runs",
    "label_selector": "Use resources= to choose where it runs",
    "fallback_strategy": "Use resources= to choose where it runs",
    "concurrency_groups": "Use max_concurrency, or several actors",
    "concurrency_group": "Use max_concurrency, or several actors",
    "allow_out_of_order_execution": "Calls of one caller start in order; use max_concurrency for more at once",
    "object_store_memory": _ELSEWHERE,
    "enable_task_events": _ELSEWHERE,
    "tensor_transport": _ELSEWHERE,
    "_metadata": _ELSEWHERE,
    "_labels": _ELSEWHERE,
}


def options_of(place: Place) -> tuple[Option, ...]:
    """Return the options that may be given at ``place``, in the order of the table."""
    return tuple(option for option in OPTIONS.values() if place in option.places)


def check_names(given: Mapping[str, Any], *places: Place) -> None:
    """Raise OptionError for the first name that none of ``places`` has, saying what comes near and what there is."""
    valid = [option.name for option in OPTIONS.values() if not option.places.isdisjoint(places)]
    where = " or ".join(places)
    for name in given:
        if name in valid:
            continue
        known = f"A {where} takes: {', '.join(valid)}."
        if name in UNSUPPORTED:
            raise OptionError(f"The option {name!r} is not supported. {UNSUPPORTED[name]}. {known}", option=name)
        if name in OPTIONS:
            owners = " or ".join(sorted(OPTIONS[name].places))
            raise OptionError(f"{name!r} is an option of a {owners}, not of a {where}. {known}", option=name)
        raise OptionError(f"There is no option {name!r}.{nearest(name, valid)} {known}", option=name)


def nearest(name: str, valid: Sequence[str]) -> str:
    """Return what comes near to a misspelt name as a sentence, with a space before it; nothing if nothing does."""
    near = difflib.get_close_matches(name, valid, n=3)
    return f" Did you mean {' or '.join(repr(match) for match in near)}?" if near else ""


def parse(given: Mapping[str, Any], place: Place) -> dict[str, Any]:
    """Return the checked options without those that are None. Raises OptionError, OptionTypeError."""
    check_names(given, place)
    return {name: OPTIONS[name].parse(value) for name, value in given.items() if value is not None}


# -- what the rest of the package reads ------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Options:
    """What the frozen sets of options have in common: each knows its place."""

    _place: ClassVar[Place]

    def but(self, given: Mapping[str, Any]) -> Self:
        """Return these options with those in ``given`` instead. Raises OptionError, OptionTypeError."""
        return dataclasses.replace(self, **parse(given, self._place))


def _demand(cpus: float, gpus: float, memory: int, resources: Mapping[str, float]) -> Units:
    return to_units({**resources, "CPU": cpus, "GPU": gpus, "memory": memory})


@dataclasses.dataclass(frozen=True)
class TaskOptions(_Options):
    """The options of a remote function. ``num_returns`` None: 1, or streaming for a generator function."""

    _place = Place.TASK

    num_cpus: float = 1.0
    num_gpus: float = 0.0
    memory: int = 0
    resources: Mapping[str, float] = dataclasses.field(default_factory=dict)
    name: str = ""
    max_retries: int = 3
    retry_exceptions: bool | tuple[type[BaseException], ...] = False
    lineage: bool = True
    num_returns: int | Literal["streaming"] | None = None

    def demand(self) -> Units:
        """Return what a call holds while it runs, in units."""
        return _demand(self.num_cpus, self.num_gpus, self.memory, self.resources)


@dataclasses.dataclass(frozen=True)
class ActorOptions(_Options):
    """The options of a remote class. ``max_concurrency`` None: 1, or 1000 with async methods."""

    _place = Place.ACTOR

    num_cpus: float = 0.0
    num_gpus: float = 0.0
    memory: int = 0
    resources: Mapping[str, float] = dataclasses.field(default_factory=dict)
    name: str = ""
    namespace: str = ""
    get_if_exists: bool = False
    lifetime: str = "non_detached"
    max_restarts: int = 0
    max_task_retries: int = 0
    max_concurrency: int | None = None
    max_pending_calls: int = -1
    durable: bool = False

    def demand(self) -> Units:
        """Return what the actor holds while it lives, in units."""
        return _demand(self.num_cpus, self.num_gpus, self.memory, self.resources)

    def check(self) -> None:
        """Raise OptionError if the options contradict each other."""
        if self.get_if_exists and not self.name:
            raise OptionError("get_if_exists=True needs a name: say which actor to look for with name=...")


@dataclasses.dataclass(frozen=True)
class MethodOptions(_Options):
    """What ``@method`` or a call's ``.options`` says; None where it says nothing."""

    _place = Place.METHOD

    num_returns: int | Literal["streaming"] | None = None
    max_task_retries: int | None = None
    retry_exceptions: bool | tuple[type[BaseException], ...] | None = None
    effect: str | None = None
