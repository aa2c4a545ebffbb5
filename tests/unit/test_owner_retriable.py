"""Below which number all calls that may be retried are over, with the calls that they have left where they ran."""

from __future__ import annotations

import pytest

from ipyactors.durable import call_tables
from ipyactors.durable.call_tables import CallTables, Verdict
from ipyactors.durable.record import Call
from ipyactors.owner.retriable import Retriable, Unanswered
from ipyactors.wire.head_messages import OwnerLost, WatchOwner
from ipyactors.wire.specs import Payload
from ipyactors.wire.worker_messages import NestedCallsLeft
from tests.support.owner_scenario import OwnerScenario

W1 = b"wworker1"


def test_a_call_is_over_when_what_it_has_left_is_over_too() -> None:
    retriable = Retriable()
    first, second = retriable.add(), retriable.add()
    retriable.keep(first, W1, 7)
    retriable.keep(first, b"wworker2", 1)
    retriable.remove(first)
    retriable.remove(second)
    assert retriable.below() == first
    retriable.let_go(W1, 7)
    retriable.let_go(W1, 7)
    assert retriable.below() == first, "an earlier attempt has left something elsewhere"
    retriable.forget_process(b"wworker2")
    assert retriable.below() == 3
    retriable.keep(first, W1, 9)
    assert retriable.below() == 3, "what is over remains over"


@pytest.mark.parametrize("is_told", [True, False])
def test_a_task_that_returns_before_its_calls_are_sent_is_not_over(*, is_told: bool) -> None:
    owner = OwnerScenario()
    owner.task()
    owner.grant(1, W1)
    owner.hear(W1, NestedCallsLeft(1))
    assert WatchOwner(W1) in [message for _, message in owner.out.sent]
    owner.answer(W1, 1)
    assert owner.state.retriable.below() == 1
    owner.hear(*((W1, NestedCallsLeft(1, is_over=True)) if is_told else (b"head", OwnerLost(W1))))
    assert owner.state.retriable.below() == 2


def test_who_waits_for_the_last_answer_is_told_once_there_is_none() -> None:
    told: list[bool] = []
    unanswered = Unanswered()
    unanswered.add("a")
    unanswered.add("b")
    unanswered.remove("a")
    unanswered.when_none(lambda: told.append(bool(unanswered)))
    assert not told
    unanswered.remove("b")
    assert told == [False]


def test_a_call_that_was_never_sent_before_is_new_whatever_was_said_of_others() -> None:
    made = CallTables()
    call_tables.settle(made, b"retrieddriver00", 9)
    late = Call(b"late", b"retrieddriver00", 3, "add", Payload(b""))
    assert call_tables.judge(made, late) is Verdict.SETTLED
    assert call_tables.judge(made, late, may_be_known=False) is Verdict.NEW
    call_tables.begin(made, 1, late)
    assert call_tables.judge(made, late, may_be_known=False) is Verdict.RUNNING
