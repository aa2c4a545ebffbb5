"""How often a durable actor makes a checkpoint, as its user says it."""

from __future__ import annotations

import dataclasses
import math
import numbers

from ipyactors.ground.exceptions import OptionError, OptionTypeError


@dataclasses.dataclass(frozen=True, slots=True)
class Every:
    """A checkpoint after so many calls, after so many seconds, or whichever comes first; 0 where nothing is said."""

    calls: int = 0
    seconds: float = 0.0

    def __repr__(self) -> str:
        given = {"calls": self.calls, "seconds": self.seconds}
        words = [f"{name}={value!r}".removesuffix(".0") for name, value in given.items() if value]
        return f"every({', '.join(words)})"


def every(*, calls: int | None = None, seconds: float | None = None) -> Every:
    """Return when a durable actor makes a checkpoint, for its option ``checkpoint``.

    It is made between two calls: when ``calls`` of them have been executed since the last checkpoint, or when one has
    been executed and the last checkpoint is at least ``seconds`` old; with both, at what comes first. An actor that
    nobody calls makes none. Calls of readonly methods do not count.

    What is not in a checkpoint is executed again after a crash, so this is a matter of how long that takes, not of what
    is lost: nothing is. Without a policy a checkpoint is made when executing again would take longer than a second.

    Raises OptionError, OptionTypeError.
    """
    if calls is None and seconds is None:
        raise OptionError("every(): say how often: every(calls=100), every(seconds=5), or both.", option="checkpoint")
    if calls is not None:
        if isinstance(calls, bool) or not isinstance(calls, numbers.Integral):
            raise _of_wrong_type("calls", calls, "an int >= 1")
        if not 1 <= calls < 2**63:
            raise _out_of_range("calls", calls, "an int >= 1")
    if seconds is not None:
        if isinstance(seconds, bool) or not isinstance(seconds, numbers.Real):
            raise _of_wrong_type("seconds", seconds, "a number > 0")
        if not 0 < seconds < math.inf:
            raise _out_of_range("seconds", seconds, "a number > 0")
    return Every(int(calls or 0), float(seconds or 0.0))


def _of_wrong_type(name: str, value: object, takes: str) -> OptionTypeError:
    message = f"every({name}={value!r}): {name} takes {takes}, not {type(value).__name__}."
    return OptionTypeError(message, option="checkpoint")


def _out_of_range(name: str, value: object, takes: str) -> OptionError:
    return OptionError(f"every({name}={value!r}): {name} takes {takes}.", option="checkpoint")
