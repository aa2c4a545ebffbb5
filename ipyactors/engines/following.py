"""References in the order in which they become ready, for who blocks and for who awaits."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Iterator, Sequence

from ipyactors.engines.waiting import Completions, left_until
from ipyactors.owner.refs import ObjectRef, look_up, set_soon
from ipyactors.owner.session import Session
from ipyactors.wire.interrupts import deferred


class Following(Iterator[ObjectRef], AsyncIterator[ObjectRef]):
    """Yields each of ``refs`` when it is ready; ends early at ``deadline_s`` on the monotonic clock.

    From its making on it counts as a wait for all of them, also while the caller is at something else: he comes back
    for the next. That ends with the object, and with :meth:`close`.
    """

    _is_made = False

    def __init__(self, session: Session, refs: Sequence[ObjectRef], deadline_s: float | None) -> None:
        with deferred():  # an interrupt finds it whole, or not begun: see __del__
            self._session = session
            self._deadline_s = deadline_s
            self._ref_of = {ref._entry: ref for ref in refs}
            self._left = len(refs)
            self._completions = Completions(tuple(self._ref_of))
            self._wait = session.waits.during(self._ref_of)
            session.fetch(self._ref_of)
            with session.lock:
                self._completions.watch()
            self._wait.__enter__()
            self._is_made = True

    def __next__(self) -> ObjectRef:
        __tracebackhide__ = True
        try:
            is_ready = self._left > 0 and self._session.wait(self._completions, left_until(self._deadline_s))
        except BaseException:
            self.close()
            raise
        return self._take(StopIteration, is_ready=is_ready)

    async def __anext__(self) -> ObjectRef:
        is_ready = self._left > 0 and (self._completions() or await self._await_next())
        return self._take(StopAsyncIteration, is_ready=is_ready)

    async def _await_next(self) -> bool:
        """Return whether the next one has come in time."""
        import asyncio  # who awaits has it, and the others need not pay for it

        session, completions, came = self._session, self._completions, asyncio.Event()
        if completions.wake is not None:
            raise RuntimeError(
                "as_completed: another coroutine waits for the next reference already, so this one was given none. "
                "Have one of them take the references, or call as_completed for each."
            )
        with session.lock:
            completions.wake = functools.partial(set_soon, asyncio.get_running_loop(), came)
            if completions():
                came.set()
        session.turn()
        waiter = asyncio.ensure_future(came.wait())
        try:
            async with asyncio.timeout(left_until(self._deadline_s)):
                await look_up(session, waiter, completions)
        except TimeoutError:
            return completions()
        finally:
            completions.wake = None
            waiter.cancel()
        return True

    def _take(self, end: type[Exception], *, is_ready: bool) -> ObjectRef:
        __tracebackhide__ = True
        if not is_ready:
            self.close()
            raise end
        self._session.announcer.catch_up()
        self._left -= 1
        return self._ref_of[self._completions.take()]

    def close(self) -> None:
        """Yield nothing more, and wait for nothing; harmless if repeated."""
        self._left = 0
        self._wait.__exit__()
        with deferred(), self._session.lock:
            self._completions.unwatch()

    def __del__(self) -> None:
        if self._is_made:
            self.close()
