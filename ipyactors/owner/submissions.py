"""What user code hands over without taking the session's lock; a turn takes it."""

from __future__ import annotations

from collections import deque

from ipyactors.ground import ids
from ipyactors.owner import loans, outbox, reactor
from ipyactors.owner.actors import ActorClient
from ipyactors.owner.calls import PendingCall
from ipyactors.owner.out import Out
from ipyactors.owner.state import OwnerState


class Submissions:
    """Calls that were made, handles that came and went, calls whose results nobody can take any more.

    Everything but :meth:`take` may be called from any thread, from ``__del__`` too.
    """

    def __init__(self) -> None:
        self._calls: deque[PendingCall] = deque()
        self._counts: deque[tuple[ActorClient, int]] = deque()
        self._let_go: deque[PendingCall] = deque()

    def add(self, call: PendingCall) -> int:
        """Hand over a call; return how many now wait."""
        self._calls.append(call)
        return len(self._calls)

    def count(self, client: ActorClient, change: int) -> None:
        """Hand over that a handle was made (1) or has gone (-1)."""
        self._counts.append((client, change))

    def let_go(self, call: PendingCall) -> None:
        """Hand over a call to cancel."""
        self._let_go.append(call)

    @property
    def has_calls(self) -> bool:
        """Whether calls wait."""
        return bool(self._calls)

    def take(self, state: OwnerState, out: Out) -> None:
        """Give everything to the reactor; under the session's lock."""
        # A call is submitted before the handle that it was made with goes: no count may overtake a call.
        counts = len(self._counts)
        if self._calls:
            state.ages.mark(ids.counter_of(self._calls[0].task_id), state.now_s)
        while self._calls:
            reactor.submit(state, out, self._calls.popleft())
        while self._let_go:
            call = self._let_go.popleft()
            if call.stream is not None and not call.cancelled:
                call.stream.is_left = True
            reactor.cancel_call(state, out, call, force=False, recursive=True)
        for _ in range(counts):
            outbox.count_handle(state, *self._counts.popleft())
        if state.objects.gone:
            loans.give_back(state, out)
