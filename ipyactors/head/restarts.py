"""Whether an actor that died comes back: a policy is validated data, the decision one small function.

The number of restarts is the user's to choose; the intensity guard is not. It is Erlang's, narrowed: an actor whose
constructor crashes again and again would otherwise burn a core for ever under ``max_restarts=-1``. An actor that
became alive in between did some work, so only crashes without that are counted. A durable actor is alive before it runs
the calls that it may be dying of: there, work is a call that has ended.

What takes long dies seldom, and each time of the same: a replay that ends its process after a minute does so for ever.
Processes that end in a row before the actor is alive are counted without a clock.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ipyactors.ground.exceptions import OptionError


@dataclasses.dataclass(frozen=True, slots=True)
class RestartPolicy:
    """``max_restarts`` is -1 for no limit; at most ``intensity`` restarts in ``period_s`` without becoming alive.

    More than ``intensity`` processes that end in a row before the actor is alive are too many in any time.
    """

    max_restarts: int = 0
    intensity: int = 5
    period_s: float = 60.0

    def __post_init__(self) -> None:
        if self.max_restarts < -1:
            raise OptionError(f"max_restarts={self.max_restarts}: it takes -1 (no limit), 0 or a positive number.")
        if self.intensity < 1 or self.period_s <= 0:
            raise OptionError(f"intensity={self.intensity}, period_s={self.period_s}: both must be positive.")

    def restarts_left(self, used: int) -> int:
        """Return how many restarts remain after ``used``; -1 for no limit."""
        return -1 if self.max_restarts == -1 else max(0, self.max_restarts - used)


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """``why`` is set when the intensity guard refused; a used-up count needs no words beyond the status.

    ``is_recovery``: what it was given up for is that it did not come back.
    """

    is_restart: bool
    why: str = ""
    is_recovery: bool = False


def decide(
    policy: RestartPolicy,
    used: int,
    fruitless_s: Sequence[float],
    now_s: float,
    *,
    unready: int = 0,
    is_durable: bool = False,
) -> Verdict:
    """Return whether to restart. ``fruitless_s`` are the times of the restarts since the actor last did some work.

    ``unready`` is how many of its processes have ended in a row, this one included, before the actor was alive.
    """
    if policy.restarts_left(used) == 0:
        return Verdict(is_restart=False)
    recent = sum(1 for at_s in fruitless_s if at_s > now_s - policy.period_s)
    if recent < policy.intensity and unready <= policy.intensity:
        return Verdict(is_restart=True)
    if is_durable and 1 < unready <= used:  # it was alive once
        return Verdict(
            is_restart=False, why=f"its process ended {unready} times in a row while it came back", is_recovery=True
        )
    if recent < policy.intensity:
        return Verdict(is_restart=False, why=f"given up: its process ended {unready} times in a row while it came back")
    is_begun = is_durable and not unready
    fruitless = "it never ended a call; its log is kept" if is_begun else "its constructor never returned"
    why = f"given up after {recent} restarts in {policy.period_s:.0f} s in which {fruitless}"
    return Verdict(is_restart=False, why=why)
