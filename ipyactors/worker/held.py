"""A round of calls that is held: some have ended, and cannot be answered before the others have.

The others may wait for what only a call brings that is not in the round (an item that ``put`` brings to ``take``).
Nobody can tell such a call from one that takes long. So others are let in after a pause. The first pause is as long as
the call that closed the gate had run: calls that are all about as long have ended by then, and their rounds are none
the longer for it. Each further pause is twice as long as the one before. So a round comes to its end under any load,
once a pause is longer than the longest call in it; and who waits for calls that come now and then waits for about twice
as long as these take to come, at most.

Pure: no clock, no lock.
"""

from __future__ import annotations

import collections
from collections.abc import Sequence

#: No pause is shorter.
PAUSE_AT_LEAST_S = 0.05

#: A round that is held for so long is told of to the head, for who asks; and again so often while that changes.
TELL_AFTER_S = 1.0

#: One that is held for so long is warned of.
WARN_AFTER_S = 10.0

#: How many methods are named.
_NAMED_AT_MOST = 5


class HeldRound:
    """When a held round takes others in, and when it is spoken of. Times are monotonic."""

    def __init__(self) -> None:
        self._pause_s = 0.0
        self._open_s = 0.0
        self._tell_s = 0.0
        self._warn_s = 0.0
        self._told = ""
        self._warned_of: frozenset[str] = frozenset()

    def close(self, now_s: float, took_s: float) -> None:
        """A call has ended that had run for ``took_s``, and the gate is closed."""
        if not self._pause_s:
            self._pause_s = max(PAUSE_AT_LEAST_S, took_s)
            self._tell_s, self._warn_s = now_s + TELL_AFTER_S, now_s + WARN_AFTER_S
        else:
            self._pause_s *= 2
        self._open_s = now_s + self._pause_s

    def end(self) -> bool:
        """The round is over; return whether it was told that it is held."""
        was_told = bool(self._told)
        self._pause_s, self._told = 0.0, ""
        return was_told

    def may_reopen(self, now_s: float) -> bool:
        """Whether the pause is over."""
        return now_s >= self._open_s

    def is_to_be_told(self, now_s: float) -> bool:
        """Whether it is time to ask what there is to say."""
        return now_s >= self._tell_s

    def to_tell(self, now_s: float, ended: Sequence[str], running: Sequence[str]) -> str:
        """Return what the head is to be told now; empty if it has been told that."""
        self._tell_s = now_s + TELL_AFTER_S
        words = held_words(ended, running)
        if words == self._told:
            return ""
        self._told = words
        return words

    def to_warn(self, now_s: float, ended: Sequence[str], running: Sequence[str]) -> str:
        """Return what is to be printed now; empty if nothing. It is not said twice of the same methods."""
        if now_s < self._warn_s or frozenset(running) <= self._warned_of:
            return ""
        self._warned_of |= set(running)
        return (
            f"Answers have been held back for {WARN_AFTER_S:g} s: {held_words(ended, running)}. No checkpoint may have "
            "half of a call. If that waits for what only a later call brings, it may never end: have the method return "
            "instead, None when there is nothing, say, and its caller ask again. A method that changes nothing, "
            'effect="readonly", may wait.'
        )

    def look_in_s(self, now_s: float, *, is_wanted: bool) -> float:
        """Return in how many seconds something is due, for a round that is held."""
        due_s = min(self._tell_s, self._open_s) if is_wanted else self._tell_s
        return max(0.0, due_s - now_s)


def held_words(ended: Sequence[str], running: Sequence[str]) -> str:
    """Return what is held, and for what: ``Q.put has ended; its answer waits for ... Q.take, which still runs``."""
    one = len(ended) == 1
    answers = (
        f"{_listed(ended)} {'has' if one else 'have'} ended; {'its answer waits' if one else 'their answers wait'}"
    )
    runs = "which still runs" if len(running) == 1 else "which still run"
    return f"{answers} for the checkpoint after all that ran beside: it waits for {_listed(running)}, {runs}"


def _listed(names: Sequence[str]) -> str:
    counts = sorted(collections.Counter(names).items(), key=lambda one: (-one[1], one[0]))
    parts = [f"{count} of {name}" if count > 1 else name for name, count in counts[:_NAMED_AT_MOST]]
    more = sum(count for _, count in counts[_NAMED_AT_MOST:])
    if more:
        parts.append(f"{more} more")
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
