"""Every option of remote functions, actors and methods: one table, and what reads it.

The table is also what ``%%remote`` makes its flags and its help from. ``None`` as a value always means "as if it had
not been given", so that a program may pass an option through.
"""

from __future__ import annotations

import dataclasses
import difflib
import enum
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

from ipyactors.ground import option_values as values
from ipyactors.ground.every import Every
from ipyactors.ground.exceptions import OptionError, OptionTypeError
from ipyactors.ground.option_values import RETURNS_AT_MOST, OutOfRangeError, WrongTypeError
from ipyactors.ground.quantities import Units, to_units

#: How many calls of an actor with ``async def`` methods run at once when nothing is said.
ASYNC_CONCURRENCY = 1000

#: How often a call to a durable actor may end its process beyond the first time, when nothing is said.
DURABLE_RETRIES = 3

#: Options that only durable actors have.
OF_DURABLE = ("checkpoint", "checkpoint_store", "num_checkpoints_to_keep")


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
    LEVEL = "level"
    POLICY = "policy"


# -- the table -------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Option:
    """One option. ``takes`` and ``help`` are for people; ``default`` is what holds when it is not given.

    It is None where that depends on something else, which ``help`` tells.
    """

    name: str
    places: frozenset[Place]
    kind: Kind
    check: Callable[[Any], Any]
    takes: str
    default: Any
    help: str

    def parse(self, value: Any) -> Any:
        """Return ``value`` in its one form. Raises OptionTypeError or OptionError."""
        try:
            return self.check(value)
        except WrongTypeError as reason:
            what = str(reason) or type(value).__name__
            raise OptionTypeError(f"{self.name}={value!r}: takes {self.takes}, not {what}.", option=self.name) from None
        except OutOfRangeError as reason:
            why = f"; {reason}" if str(reason) else ""
            raise OptionError(f"{self.name}={value!r}: takes {self.takes}{why}.", option=self.name) from None


_BOTH = frozenset({Place.TASK, Place.ACTOR})
_ACTOR = frozenset({Place.ACTOR})
_CALLS = frozenset({Place.METHOD, Place.CALL})

_ROWS: tuple[tuple[Any, ...], ...] = (
    ("num_cpus", _BOTH, Kind.AMOUNT, values.amount, "a number >= 0, in steps of 0.0001", None,
     "CPUs held while it runs (a task: 1; an actor holds none for as long as it lives)"),
    ("num_gpus", _BOTH, Kind.AMOUNT, values.amount, "a number >= 0, in steps of 0.0001", 0.0,
     "GPUs held while it runs. They are counted, not assigned: set CUDA_VISIBLE_DEVICES yourself"),
    ("memory", _BOTH, Kind.BYTES, values.size, "a number of bytes >= 0", 0,
     "bytes of memory held while it runs; for placing, not a limit"),
    ("resources", _BOTH, Kind.AMOUNTS, values.amounts, "a dict of resource names to numbers >= 0", {},
     "amounts of your own resources held while it runs"),
    ("name", _BOTH, Kind.TEXT, values.text, "a non-empty str", "",
     "what messages call the task; the name by which get_actor() finds the actor"),
    ("max_retries", frozenset({Place.TASK}), Kind.COUNT, values.from_minus_one, "an int >= -1 (-1: no limit)", 3,
     "how often the task runs again after the death of its worker, or when the data of its result is lost"),
    ("retry_exceptions", frozenset({Place.TASK}) | _CALLS, Kind.EXCEPTIONS, values.exceptions,
     "True, False, or a list or tuple of exception classes", False,
     "which exceptions of its own code make it run again, within the same count"),
    ("lineage", frozenset({Place.TASK}), Kind.FLAG, values.flag, "True or False", True,
     "keep what is needed to run the task again when the data of its result is lost"),
    ("num_returns", frozenset({Place.TASK}) | _CALLS, Kind.RETURNS, values.returns,
     f"an int from 0 to {RETURNS_AT_MOST:,} or 'streaming'", None,
     "how many references one call returns (1; 'streaming' for generators)"),
    ("max_restarts", _ACTOR, Kind.COUNT, values.from_minus_one, "an int >= -1 (-1: no limit)", None,
     "how often the actor comes back after the death of its process (0; a durable one: -1)"),
    ("max_task_retries", _ACTOR | _CALLS, Kind.COUNT, values.from_minus_one, "an int >= -1 (-1: no limit)", None,
     "how often a call is sent again after the death of the actor's process (0; 3 of a durable one, if it ends it)"),
    ("effect", frozenset({Place.METHOD}), Kind.CHOICE, values.effect, "'replay', 'readonly' or 'persist'", "replay",
     "what the method does to the actor: nothing ('readonly'), or what is done again after a crash, or kept"),
    ("key", frozenset({Place.CALL}), Kind.TEXT, values.text, "a non-empty str", None,
     "your own name for one call of a durable actor: the next one with that key gets its recorded result"),
    ("max_concurrency", _ACTOR, Kind.COUNT, values.from_one, "an int >= 1", None,
     f"how many calls run at once (1; {ASYNC_CONCURRENCY} with async methods)"),
    ("max_pending_calls", _ACTOR, Kind.COUNT, values.limit, "an int >= 1, or -1 for no limit", -1,
     "how many unanswered calls one process may have before a further one raises PendingCallsLimitError"),
    ("namespace", _ACTOR, Kind.TEXT, values.text, "a non-empty str", "",
     "where the name is unique (default: the session's own)"),
    ("get_if_exists", _ACTOR, Kind.FLAG, values.flag, "True or False; needs a name", False,
     "return the live actor of that name, if there is one, instead of a new one"),
    ("lifetime", _ACTOR, Kind.CHOICE, values.lifetime, "'detached' or 'non_detached'", "non_detached",
     "'detached': lives on without handles and creator, until killed; its constructor's arguments are copied"),
    ("durable", _ACTOR, Kind.LEVEL, values.durable, "True, False, 'process' or 'host'", None,
     "each call takes effect exactly once, whatever crashes (True, 'process'), or the power fails ('host')"),
    ("checkpoint", _ACTOR, Kind.POLICY, values.policy, "every(calls=N), every(seconds=S), or both in one", None,
     "when a durable actor makes a checkpoint (when to do again what came after the last takes over 1 s)"),
    ("checkpoint_store", _ACTOR, Kind.TEXT, values.text, "a folder, a URL such as 's3://bucket/folder', or 'kv'", None,
     "where a durable actor keeps its checkpoints (beside its log); 'kv': with the head, for small ones"),
    ("num_checkpoints_to_keep", _ACTOR, Kind.COUNT, values.from_one, "an int >= 1", None,
     "how many checkpoints of a durable actor are kept (3; 20 of a Checkpointable)"),
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
    """The options of a remote class; None where nothing is said. ``durable`` is a level, or False."""

    _place = Place.ACTOR

    num_cpus: float = 0.0
    num_gpus: float = 0.0
    memory: int = 0
    resources: Mapping[str, float] = dataclasses.field(default_factory=dict)
    name: str = ""
    namespace: str = ""
    get_if_exists: bool = False
    lifetime: str = "non_detached"
    max_restarts: int | None = None
    max_task_retries: int | None = None
    max_concurrency: int | None = None
    max_pending_calls: int = -1
    durable: str | Literal[False] | None = None
    checkpoint: Every | None = None
    checkpoint_store: str | None = None
    num_checkpoints_to_keep: int | None = None

    def but(self, given: Mapping[str, Any]) -> Self:
        """Return these options with those in ``given`` instead; ``durable=False`` takes back what goes with it.

        Raises OptionError, OptionTypeError.
        """
        taken_back: dict[str, Any] = dict.fromkeys(OF_DURABLE) if given.get("durable") is False else {}
        return dataclasses.replace(self, **(taken_back | parse(given, self._place)))

    def filled_in(self, *, is_durable: bool, is_async: bool) -> ActorOptions:
        """Return these options with a number for each count that depends on what sort of actor it is."""
        defaults: dict[str, Any] = {
            "max_restarts": -1 if is_durable else 0,
            "max_task_retries": DURABLE_RETRIES if is_durable else 0,
            "max_concurrency": ASYNC_CONCURRENCY if is_async else 1,
        }
        missing = {name: value for name, value in defaults.items() if getattr(self, name) is None}
        return dataclasses.replace(self, **missing)

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
