"""What changes often is shown ten times a second, and its last state always."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

EVERY_S = 0.1

#: When each thing was shown is kept for so many.
_KEYS_AT_MOST = 1000

Word = TypeVar("Word")


class Pacing(Generic[Word]):
    """Holds of each thing that changes the newest state, if it is too early to show it. Times are monotonic."""

    def __init__(self) -> None:
        self._shown_s: dict[Hashable, float] = {}
        self._held: dict[Hashable, Word] = {}

    def offer(self, key: Hashable, word: Word, now_s: float) -> Word | None:
        """Return what to show of ``key`` now: ``word`` or nothing yet."""
        shown_s = self._shown_s.get(key)
        if key in self._held or (shown_s is not None and now_s - shown_s < EVERY_S):
            self._held[key] = word
            return None
        if len(self._shown_s) > _KEYS_AT_MOST:
            self._shown_s = {one: at_s for one, at_s in self._shown_s.items() if one in self._held}
        self._shown_s[key] = now_s
        return word

    def forget(self, key: Hashable) -> Word | None:
        """Forget a thing that changes no more; return the state that was not shown."""
        self._shown_s.pop(key, None)
        return self._held.pop(key, None)

    def take_due(self, now_s: float) -> list[Word]:
        """Return what is to be shown by now."""
        due = [key for key in self._held if now_s - self._shown_s[key] >= EVERY_S]
        for key in due:
            self._shown_s[key] = now_s
        return [self._held.pop(key) for key in due]

    def take_if(self, is_wanted: Callable[[Word], bool]) -> list[Word]:
        """Return what is held and wanted, early as it may be."""
        wanted = [key for key, word in self._held.items() if is_wanted(word)]
        return [self._held.pop(key) for key in wanted]

    @property
    def is_idle(self) -> bool:
        """Whether nothing is held."""
        return not self._held
