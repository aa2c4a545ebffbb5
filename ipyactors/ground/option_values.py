"""What options take: for each kind of value a function that returns it in its one form.

Each raises :class:`WrongTypeError` or :class:`OutOfRangeError`. The table in :mod:`ipyactors.ground.options` knows
which option it is about, and makes the error of it that people read.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from typing import Any, Literal

from ipyactors.ground.every import Every
from ipyactors.ground.quantities import UNITS_PER_ONE

#: ``num_returns`` of a function whose items are handed out one by one, as references.
STREAMING_WORD = "streaming"

#: The most references that one call may return; a generator may yield more.
RETURNS_AT_MOST = 1_000_000

#: The largest number that a message can carry.
NUMBER_AT_MOST = 2**63 - 1

_HAVE_THEIR_OWN = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "memory"}


class WrongTypeError(Exception):
    """The value is of another type than the option takes; the text, if any, says which."""


class OutOfRangeError(Exception):
    """The value is of the right type and not allowed; the text, if any, says why."""


def _whole(value: Any, lowest: int) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise WrongTypeError
    if value < lowest:
        raise OutOfRangeError
    count = int(value)
    if count > NUMBER_AT_MOST:
        raise OutOfRangeError(f"at most {NUMBER_AT_MOST:,}")
    return count


def _word(value: Any, *words: str) -> str:
    if text(value) not in words:
        raise OutOfRangeError
    return str(value)


def from_minus_one(value: Any) -> int:
    """A count in which -1 means: no limit."""
    return _whole(value, -1)


def from_one(value: Any) -> int:
    """A count of at least one."""
    return _whole(value, 1)


def limit(value: Any) -> int:
    """A count of at least one, or -1 for no limit."""
    count = _whole(value, -1)
    if count == 0:
        raise OutOfRangeError
    return count


def size(value: Any) -> int:
    """A number of bytes."""
    count = _whole(round(value) if isinstance(value, float) and math.isfinite(value) else value, 0)
    _check_units(count)
    return count


def _check_units(number: float) -> None:
    if number > NUMBER_AT_MOST // UNITS_PER_ONE:
        raise OutOfRangeError(f"at most {NUMBER_AT_MOST // UNITS_PER_ONE:,}")


def amount(value: Any) -> float:
    """An amount of a resource."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise WrongTypeError
    number = float(value)
    if not math.isfinite(number) or number < 0 or 0 < number < 1 / UNITS_PER_ONE:
        raise OutOfRangeError
    _check_units(number)
    return number


def amounts(value: Any) -> dict[str, float]:
    """Amounts of resources that have no option of their own."""
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise WrongTypeError
    for name in value:
        if name in _HAVE_THEIR_OWN:
            raise OutOfRangeError(f"{name!r} is not given here but by the option {_HAVE_THEIR_OWN[name]}")
        if not name:
            raise OutOfRangeError("a resource needs a name")
        if problem := why_no_text(name):
            raise OutOfRangeError(f"its name {name!r}: {problem}")
    parsed = {}
    for name, number in value.items():
        try:
            parsed[name] = amount(number)
        except WrongTypeError:
            raise WrongTypeError(f"a {type(number).__name__} for {name!r}") from None
        except OutOfRangeError:
            raise OutOfRangeError(f"{number!r} for {name!r} is not one") from None
    return parsed


def text(value: Any) -> str:
    """A text that is not empty."""
    if not isinstance(value, str):
        raise WrongTypeError
    if not value:
        raise OutOfRangeError
    if problem := why_no_text(value):
        raise OutOfRangeError(problem)
    return value


def why_no_text(value: str) -> str:
    """Return why a str cannot travel as text, or nothing. No message can carry half of a character."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        found = value[error.start]
        return f"its {_ordinal(error.start + 1)} character, {found!r}, is a lone surrogate, which is no text"
    return ""


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number:,}{ending}"


def flag(value: Any) -> bool:
    """Yes or no."""
    if not isinstance(value, bool):
        raise WrongTypeError
    return value


def lifetime(value: Any) -> str:
    """How long an actor lives."""
    return _word(value, "detached", "non_detached")


def returns(value: Any) -> int | str:
    """How many references a call returns."""
    if isinstance(value, str):
        return _word(value, STREAMING_WORD)
    count = _whole(value, 0)
    if count > RETURNS_AT_MOST:
        raise OutOfRangeError
    return count


def exceptions(value: Any) -> bool | tuple[type[BaseException], ...]:
    """Which exceptions are meant: all, none, or these."""
    if isinstance(value, bool):
        return value
    if not isinstance(value, (list, tuple)):
        raise WrongTypeError
    if not all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in value):
        raise WrongTypeError
    return tuple(value)


def effect(value: Any) -> str:
    """What a method does to its actor."""
    return _word(value, "replay", "readonly", "persist")


def durable(value: Any) -> str | Literal[False]:
    """What a durable actor's state survives; True means the first of the levels."""
    if isinstance(value, bool):
        return "process" if value else False
    if isinstance(value, str) and value == "cluster":
        raise OutOfRangeError("'cluster' needs several hosts, and is not available in this version; use 'host'")
    return _word(value, "process", "host")


def policy(value: Any) -> Every:
    """When a durable actor makes a checkpoint."""
    if not isinstance(value, Every):
        raise WrongTypeError
    return value
