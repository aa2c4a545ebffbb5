"""Durable actors that call themselves: no checkpoint waits for such a call, which waits for the checkpoint."""

from __future__ import annotations

from typing import Any

import pytest

import ipyactors as ia
from ipyactors.ground import faultpoints
from ipyactors.ground.exceptions import CallAbortedError
from tests.support.durable import get, kill
from tests.support.gates import until

pytestmark = pytest.mark.usefixtures("shared_runtime")


@ia.remote(durable=True)
class Ticker:
    def __init__(self) -> None:
        self.ticks = 0
        self.notes: list[int] = []

    def tick(self) -> int:
        self.ticks += 1
        ia.get_runtime_context().current_actor.tick.remote()
        return self.ticks

    @ia.method(effect="persist")
    def keep(self, dies: bool = False, ref: Any = None) -> int:
        self.ticks += 1
        ia.get_runtime_context().current_actor.note.remote(self.ticks, ref)
        if dies and not ia.get_runtime_context().get_incarnation():
            faultpoints.arm("durable.checkpoint.made", "kill")
        return self.ticks

    def note(self, tick: int, ref: Any = None) -> None:
        del ref
        self.notes.append(tick)

    @ia.method(effect="readonly")
    def look(self) -> tuple[int, list[int]]:
        return self.ticks, self.notes


def test_a_checkpoint_of_an_actor_that_always_calls_itself() -> None:
    ticker = Ticker.remote()
    get(ticker.tick.remote())
    assert ticker.checkpoint()
    ticks, _ = get(ticker.look.remote())
    kill(ticker)
    until(lambda: get(ticker.look.remote())[0] > ticks, "the actor to go on")
    ia.kill(ticker)


@pytest.mark.parametrize("dies", [False, True])
def test_a_persist_call_that_calls_itself_is_done_once_and_so_is_what_it_calls(dies: bool) -> None:
    """The process that dies has made the checkpoint, and has not begun what it has called."""
    ticker = Ticker.remote()
    assert get(ticker.keep.remote(dies)) == 1
    until(lambda: get(ticker.look.remote())[1], "the call to itself")
    kill(ticker)
    assert get(ticker.look.remote()) == (1, [1])
    assert get(ticker.keep.remote()) == 2
    until(lambda: len(get(ticker.look.remote())[1]) == 2, "the next call to itself")
    assert get(ticker.look.remote()) == (2, [1, 2])


def test_a_call_that_no_checkpoint_can_have_is_told_and_does_no_harm() -> None:
    ticker = Ticker.remote()
    with pytest.raises(CallAbortedError, match=r"calls to durable actors that had no answer.*Ticker\.note"):
        get(ticker.keep.remote(ref=[ia.put(5)]))
    assert get(ticker.keep.remote()) == 1
