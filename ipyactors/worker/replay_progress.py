"""How far a replay is, for who waits for the actor and asks why it is not there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from ipyactors.durable.record import Done
from ipyactors.durable.recovery import Past

#: What takes less is not spoken of, and nothing is said more often.
_SPOKEN_OF_S = 1.0


class ReplayProgress:
    """Goes through calls that are replayed, and calls ``tell`` in between, in the thread that replays them."""

    def __init__(self, tell: Callable[[str], None], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._tell = tell
        self._monotonic = monotonic

    def through(self, calls: Sequence[Past]) -> Iterator[Past]:
        """Yield each call. While one runs nothing is heard; so it is said first how long they had taken."""
        began_s = self._monotonic()
        took_s = sum(past.end.duration_s for past in calls if isinstance(past.end, Done))
        tell_s = began_s if took_s >= _SPOKEN_OF_S else began_s + _SPOKEN_OF_S
        for count, past in enumerate(calls):
            now_s = self._monotonic()
            if now_s >= tell_s:
                tell_s = now_s + _SPOKEN_OF_S
                self._tell(
                    f"replaying, {count:,} of {len(calls):,} calls after {now_s - began_s:.0f} s (the first time they "
                    f"took {took_s:.0f} s)"
                )
            yield past


def ignore(_words: str) -> None:
    """Tell nobody."""
