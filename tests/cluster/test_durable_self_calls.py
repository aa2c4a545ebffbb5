"""Durable actors that call themselves, or are called back: no checkpoint waits for what waits for it."""

from __future__ import annotations

import itertools
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
    with pytest.raises(
        CallAbortedError,
        match=r"has called Ticker\.note .*references inside of its arguments; it would wait for itself",
    ):
        get(ticker.keep.remote(ref=[ia.put(5)]))
    assert get(ticker.keep.remote()) == 1


@ia.remote(durable=True)
class Partner:
    def __init__(self) -> None:
        self.calls: list[int] = []

    def work(self, asker: Any, number: int, ballast: bytes, beside: list[Any]) -> int:
        self.calls.append(number)
        assert ia.get(beside[0].note.remote(number, len(ballast))) == len(ballast), "it is there, and so is all of it"
        answer: int = ia.get(asker.done.remote(number))
        return answer

    @ia.method(effect="readonly")
    def look(self) -> list[int]:
        return self.calls


@ia.remote(durable=True)
class Asker:
    def __init__(self, partner: Any) -> None:
        self.partner = partner
        self.asked = 0
        self.answered: list[int] = []

    @ia.method(effect="persist")
    def ask(self, size: int, where: str = "") -> int:
        """Have itself called back; the actor that is passed along beside it is held by nobody else."""
        self.asked += 1
        notes = Notes.remote()
        self.partner.work.remote(ia.get_runtime_context().current_actor, self.asked, bytes(size), [notes])
        if where and not ia.get_runtime_context().get_incarnation():
            faultpoints.arm(where, "kill")
        return self.asked

    def done(self, number: int) -> int:
        self.answered.append(number)
        return number

    @ia.method(effect="readonly")
    def look(self) -> list[int]:
        return self.answered


@ia.remote(durable=True)
class Notes:
    def __init__(self) -> None:
        self.notes: list[tuple[int, int]] = []

    def note(self, number: int, size: int) -> int:
        self.notes.append((number, size))
        return size


_AROUND = (
    "durable.checkpoint.begun",
    "durable.checkpoint.saved",
    "durable.checkpoint.secured",
    "durable.checkpoint.manifest",
    "durable.checkpoint.noted",
    "durable.checkpoint.made",
)


@pytest.mark.parametrize(
    ("where", "size"), [*itertools.product(("", *_AROUND), (10, 200_000)), ("durable.blob.written", 200_000)]
)
def test_a_persist_call_may_be_called_back_by_whom_it_has_given_its_handle(where: str, size: int) -> None:
    """Its checkpoint has the call with the handles, and also where that is large."""
    partner = Partner.remote()
    asker = Asker.remote(partner)
    assert get(asker.ask.remote(size, where)) == 1
    until(lambda: get(asker.look.remote()) == [1], "the call back")
    assert get(asker.ask.remote(size)) == 2
    until(lambda: get(asker.look.remote()) == [1, 2], "the next call back")
    kill(asker)
    kill(partner)
    assert get(asker.look.remote()) == [1, 2]
    assert get(partner.look.remote()) == [1, 2]
