"""What a worker had to show when it was killed, and what of it has not arrived."""

from __future__ import annotations

#: Of so many workers that have written something it is known which texts have arrived.
_WORKERS_AT_MOST = 20_000


class Arrived:
    """Which texts of each worker have come here, by their numbers; see :mod:`ipyactors.wire.last_words`.

    An actor's process has two ways to its creator, one for what its calls here write and one for what is of no call
    (``is_unasked``). On each of them the numbers rise.
    """

    def __init__(self) -> None:
        self._latest: dict[tuple[bytes, bool], int] = {}
        self._shown: dict[bytes, set[int]] = {}

    def note(self, worker_id: bytes, number: int, *, is_unasked: bool) -> bool:
        """Note that a text has come; return whether it is new: after a death it may have been shown already."""
        key = worker_id, is_unasked
        if number > self._latest.get(key, 0):
            if key not in self._latest and len(self._latest) >= _WORKERS_AT_MOST:
                del self._latest[next(iter(self._latest))]
            self._latest[key] = number
        return worker_id not in self._shown or number not in self._shown[worker_id]

    def miss(self, worker_id: bytes, number: int, *, is_unasked: bool) -> bool:
        """Return whether a text of a dead worker has not come; then it is noted as shown."""
        if number <= self._latest.get((worker_id, is_unasked), 0):
            return False
        if worker_id not in self._shown and len(self._shown) >= _WORKERS_AT_MOST:
            del self._shown[next(iter(self._shown))]
        shown = self._shown.setdefault(worker_id, set())
        if number in shown:
            return False
        shown.add(number)
        return True
