"""Code of a call that waits for objects has that known, so that one which waits for itself is told."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from ipyactors.ground import ids
from ipyactors.owner import current, deadlock
from ipyactors.owner.current import CurrentCall
from ipyactors.owner.endless_waits import EndlessWait
from ipyactors.owner.objects import Entry
from ipyactors.owner.out import Out
from ipyactors.owner.state import OwnerState
from ipyactors.wire.interrupts import deferred
from ipyactors.wire.worker_messages import ProbeCalls


def name_for_people(name: str) -> str:
    """Return ``ask() of Loop 'a'`` for the method ``Loop.ask`` of this process's actor, ``task f`` for a task."""
    actor = current.actor()
    if actor is None:
        return f"task {name}"
    label = repr(actor.name) if actor.name else ids.short(actor.actor_id)
    return f"{name.removeprefix(f'{actor.class_name}.')}() of {actor.class_name} {label}"


class Blocking:
    """The waits of this process, for any thread. ``wake`` has a turn taken soon."""

    def __init__(self, state: OwnerState, out: Out, lock: threading.RLock, wake: Callable[[], None]) -> None:
        self._state = state
        self._out = out
        self._lock = lock
        self._wake = wake

    @contextlib.contextmanager
    def during(self, entries: Sequence[Entry], *, is_coroutine: bool = False) -> Iterator[EndlessWait | None]:
        """Have it known that the running call waits for all of ``entries`` while the block runs.

        Gives None where that does not hold the call up: there is none, or this is not its own thread or coroutine.
        """
        running = current.call.get() if entries else None
        if running is None or not _holds_up(running, is_coroutine=is_coroutine):
            yield None
            return
        wait = EndlessWait(running, name_for_people(running.name), entries, blocks_thread=not is_coroutine)
        try:
            with deferred(), self._lock:
                deadlock.begin(self._state, wait, time.monotonic())
            self._wake()  # whoever sleeps must look up when the first probe is due
            yield wait
        finally:
            with deferred(), self._lock:
                deadlock.end(self._state, wait)

    def on_probe(self, message: ProbeCalls, held_up: deadlock.HeldUp) -> None:
        """Somebody waits for calls that are to run here; under the lock."""

        def named(wait: EndlessWait) -> str | None:
            line = held_up(wait)
            return name_for_people(line) if line else line

        deadlock.on_probe_calls(self._state, self._out, message, named, self._state.now_s)


def _holds_up(running: CurrentCall, *, is_coroutine: bool) -> bool:
    """Return whether the call cannot go on while the code that asks waits."""
    if running.is_over:
        return False
    if is_coroutine:
        from asyncio import current_task  # who awaits has it

        return running.task == id(current_task())
    if running.thread:
        return running.thread == threading.get_ident()
    return threading.current_thread() is threading.main_thread()
