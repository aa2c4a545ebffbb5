"""An agent's loop for parts of agents that a test puts together: turns, and sleep until there is something to do."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from typing import Protocol


class TakesTurns(Protocol):
    """Something that works when it is given a turn."""

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What is readable when there is something to do."""

    def turn(self) -> bool:
        """Do what there is to do; return whether there was anything."""

    def pause_s(self) -> float | None:
        """Return after how long a turn is wanted in any case; None if never."""


def run_until(is_done: Callable[[], bool], *machines: TakesTurns, within_s: float = 30.0) -> None:
    """Give the machines their turns until something is so."""
    deadline = time.monotonic() + within_s
    while True:
        while sum(machine.turn() for machine in machines):  # every one has its turn
            pass
        if is_done():
            return
        assert time.monotonic() < deadline, "it did not happen in time"
        poll = select.poll()
        for machine in machines:
            for descriptor in machine.descriptors:
                poll.register(descriptor, select.POLLIN)
        pauses = [machine.pause_s() for machine in machines]
        poll.poll(1_000 * min([0.1, *(pause_s for pause_s in pauses if pause_s is not None)]))
