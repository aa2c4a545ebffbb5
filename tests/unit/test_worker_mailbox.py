"""The mailbox: order, duplicates, gaps, refusals, cancels, and giving back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ipyactors.wire.codec import Message
from ipyactors.wire.specs import Payload
from ipyactors.wire.worker_messages import (
    CallCancelled,
    CallMethod,
    CallsReturned,
    CancelCall,
    FinishAndExit,
    RunTask,
)
from ipyactors.worker import mailbox
from ipyactors.worker.mailbox import Mailbox

A, B = b"d1234567", b"w7654321"
NOTHING = Payload(b"")


class FakeOut:
    def __init__(self) -> None:
        self.said: list[tuple[Any, ...]] = []

    def answer(self, peer: bytes, message: Message) -> None:
        self.said.append((peer, message))

    def refuse(self, peer: bytes, seq: int, name: str, why: str) -> None:
        self.said.append((peer, "refused", seq, why))

    def interrupt(self, peer: bytes, seq: int, recursive: bool) -> None:
        self.said.append((peer, "interrupt", seq, recursive))

    def take(self) -> list[tuple[Any, ...]]:
        said, self.said = self.said, []
        return said


class World:
    """A mailbox and the little language of these tests."""

    def __init__(self, box: Mailbox) -> None:
        self.box = box
        self.out = FakeOut()

    def call(self, caller: bytes, *seqs: int, incarnation: int = 0) -> list[int]:
        make = self.method if self.box.is_actor else self.task
        return [mailbox.on_call(self.box, self.out, caller, make(seq, incarnation)) for seq in seqs]

    def method(self, seq: int, incarnation: int = 0) -> CallMethod:
        return CallMethod(seq, b"t", "m", NOTHING, incarnation=incarnation)

    def task(self, seq: int, _incarnation: int = 0) -> RunTask:
        return RunTask(seq, b"t", b"f", "f", NOTHING)

    def cancel(self, caller: bytes, seq: int) -> None:
        mailbox.on_cancel(self.box, self.out, caller, CancelCall(seq))

    def line(self) -> list[tuple[bytes, Any]]:
        return [(caller, getattr(call, "seq", call)) for caller, call in self.box.ready]


@pytest.fixture
def tasks() -> Iterator[World]:
    world = World(Mailbox())
    yield world
    world.box.check_invariants()
    assert world.out.take() == []


@pytest.fixture
def actor() -> Iterator[World]:
    world = World(Mailbox(is_actor=True, incarnation=2))
    yield world
    world.box.check_invariants()
    assert world.out.take() == []


def test_calls_of_each_caller_keep_their_order(actor: World) -> None:
    actor.call(A, 1, incarnation=2)
    actor.call(B, 1, 2, incarnation=2)
    actor.call(A, 2, incarnation=2)
    assert actor.line() == [(A, 1), (B, 1), (B, 2), (A, 2)]


def test_duplicates_are_dropped(tasks: World) -> None:
    assert tasks.call(A, 1, 1, 2, 1) == [1, 0, 1, 0]
    tasks.box.ready.clear()
    tasks.call(A, 1, 2)
    assert tasks.line() == []


def test_a_gap_is_waited_for(tasks: World) -> None:
    assert tasks.call(A, 3, 2, 3) == [0, 0, 0]
    assert tasks.line() == []
    assert tasks.call(A, 1) == [3]
    assert tasks.line() == [(A, 1), (A, 2), (A, 3)]
    assert tasks.box.streams[A].early == {}


def test_another_incarnation_is_refused_and_does_not_block(actor: World) -> None:
    actor.call(A, 1, incarnation=1)
    actor.call(A, 2, incarnation=2)
    [(caller, what, seq, why)] = actor.out.take()
    assert (caller, what, seq) == (A, "refused", 1)
    assert "incarnation 1" in why
    assert "incarnation 2" in why
    assert actor.line() == [(A, 2)]


def test_a_task_for_an_actor_and_a_method_without_one_are_refused() -> None:
    actor, tasks = World(Mailbox(is_actor=True)), World(Mailbox())
    mailbox.on_call(actor.box, actor.out, A, actor.task(1))
    mailbox.on_call(tasks.box, tasks.out, A, tasks.method(1))
    assert [said[1] for said in actor.out.take() + tasks.out.take()] == ["refused", "refused"]
    assert actor.line() == tasks.line() == []


def test_a_waiting_call_is_cancelled_without_running(tasks: World) -> None:
    tasks.call(A, 1, 2, 3)
    tasks.call(B, 1, 2)
    tasks.cancel(A, 2)
    assert tasks.out.take() == [(A, CallCancelled(2, started=False))]
    assert tasks.line() == [(A, 1), (A, 3), (B, 1), (B, 2)]


def test_a_call_behind_a_gap_is_cancelled_and_its_number_used_up(tasks: World) -> None:
    tasks.call(A, 2, 3)
    tasks.cancel(A, 2)
    assert tasks.out.take() == [(A, CallCancelled(2, started=False))]
    tasks.call(A, 2)  # sent once more: still cancelled
    tasks.call(A, 1)
    assert tasks.line() == [(A, 1), (A, 3)]


def test_a_call_that_the_log_may_have_stays_in_line_when_it_is_cancelled() -> None:
    """Whether it has run is asked there, when its turn comes; a readonly one is in no log."""
    actor = World(Mailbox(is_actor=True))
    for seq, is_readonly, may_be_known in ((1, False, True), (2, True, True), (3, False, False), (5, False, True)):
        made = CallMethod(seq, b"t%d" % seq, "m", NOTHING, is_readonly=is_readonly, may_be_known=may_be_known)
        mailbox.on_call(actor.box, actor.out, A, made)
    for seq in (1, 2, 3, 5):
        actor.cancel(A, seq)
    assert actor.box.cancelled == {(A, 1), (A, 5)}
    assert actor.line() == [(A, 1)]
    mailbox.on_call(actor.box, actor.out, A, CallMethod(4, b"t4", "m", NOTHING))
    assert actor.line() == [(A, 1), (A, 4), (A, 5)]
    told = [CallCancelled(2, started=False), CallCancelled(3, started=False)]
    assert actor.out.take() == [(A, "interrupt", 1, True), *((A, one) for one in told)]


def test_a_call_that_is_not_in_line_is_interrupted(tasks: World) -> None:
    tasks.call(A, 1)
    tasks.box.ready.popleft()
    tasks.cancel(A, 1)
    tasks.cancel(B, 7)
    assert tasks.out.take() == [(A, "interrupt", 1, True), (B, "interrupt", 7, True)]


def test_waiting_tasks_are_given_back_in_order(tasks: World) -> None:
    tasks.call(A, 1, 2, 3)
    tasks.call(B, 1)
    assert mailbox.give_back(tasks.box, tasks.out) == 4
    assert tasks.out.take() == [(B, CallsReturned((1,))), (A, CallsReturned((1, 2, 3)))]
    assert tasks.line() == []
    assert mailbox.give_back(tasks.box, tasks.out) == 0
    tasks.call(A, 3)  # a late duplicate of what was given back
    assert tasks.line() == []


def test_the_word_to_finish_waits_in_line(actor: World) -> None:
    actor.call(A, 1, incarnation=2)
    finish = FinishAndExit("bye")
    mailbox.on_finish(actor.box, A, finish)
    actor.call(A, 2, incarnation=2)
    actor.cancel(A, 2)
    assert actor.out.take() == [(A, CallCancelled(2, started=False))]
    assert actor.line() == [(A, 1), (A, finish)]


@pytest.mark.parametrize(
    ("busy_for_s", "is_blocked", "expected"),
    [
        (None, False, 0.02),
        (None, True, 0.02),
        (0.0, False, 0.02),
        (0.015, False, 0.005),
        (0.5, False, 0.0),
        (0.0, True, 0.0),
    ],
)
def test_when_tasks_are_given_back(tasks: World, busy_for_s: float | None, is_blocked: bool, expected: float) -> None:
    assert mailbox.plan_give_back(tasks.box, busy_for_s, is_blocked) is None  # nothing waits
    tasks.call(A, 1)
    assert mailbox.plan_give_back(tasks.box, busy_for_s, is_blocked) == pytest.approx(expected)


def test_calls_of_an_actor_are_never_given_back(actor: World) -> None:
    actor.call(A, 1, incarnation=2)
    assert mailbox.plan_give_back(actor.box, 9.0, is_blocked=True) is None
