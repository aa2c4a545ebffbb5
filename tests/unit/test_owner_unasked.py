"""Failures that nobody asks for: told once, when the last reference goes, and not where somebody has seen them."""

from __future__ import annotations

import pytest

from ipyactors.ground.exceptions import SessionError
from ipyactors.owner import reactor, scopes, unasked, values
from ipyactors.owner.calls import PendingCall
from ipyactors.owner.current import CurrentCall
from ipyactors.owner.submissions import Submissions
from ipyactors.owner.templates import STREAMING
from ipyactors.wire.worker_messages import CallCancelled, CallRaised, OutputWritten, RunTask
from tests.support.owner_scenario import OwnerScenario, error

W1 = b"wworker1"


@pytest.fixture
def owner() -> OwnerScenario:
    return OwnerScenario()


def told(owner: OwnerScenario) -> list[tuple[str, int]]:
    """Return the lines that were shown since the last time, each with its scope."""
    owner.settle()
    lines = [(one.text, scope) for one, scope in owner.out.shown if isinstance(one, OutputWritten)]
    assert all((one.source, one.stream) == ("ipyactors", 2) for one, _ in owner.out.shown)  # type: ignore[union-attr]
    owner.out.shown.clear()
    return lines


def fail_all(owner: OwnerScenario, message: str = "no") -> None:
    """Have everything raise that was sent."""
    if not owner.state.holders:
        owner.grant(1, W1)
    while sent := [one for _, one in owner.out.sent if isinstance(one, RunTask)]:
        owner.out.sent.clear()
        for one in sent:
            owner.hear(W1, CallRaised(one.seq, error(message)))


def test_a_failure_is_told_when_its_last_reference_goes(owner: OwnerScenario) -> None:
    call = owner.task(num_returns=2)
    fail_all(owner, "bad\nmore")
    [first, second] = call.entries
    call.entries = ()
    assert told(owner) == []
    del first
    assert told(owner) == []
    del second
    assert told(owner) == [("f failed, and nobody asked for its result: ValueError: bad\n", 0)]
    assert told(owner) == []


def test_it_is_told_in_the_cell_that_made_the_call(owner: OwnerScenario, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scopes, "current", lambda: 7)
    owner.task()
    fail_all(owner)
    [(_, scope)] = told(owner)
    assert scope == 7


def test_what_was_seen_is_not_told(owner: OwnerScenario) -> None:
    call = owner.task()
    fail_all(owner)
    with pytest.raises(Exception, match="no"):
        values.value_of(call.entries[0])
    del call
    assert told(owner) == []


def test_what_another_call_takes_is_seen_and_that_one_is_told(owner: OwnerScenario) -> None:
    first = owner.task()
    second = owner.task("g", deps=first.entries)
    del first
    fail_all(owner)
    del second
    assert [text for text, _ in told(owner)] == ["g failed, and nobody asked for its result: ValueError: no\n"]


def test_what_was_asked_for_together_with_what_has_failed_is_not_told(owner: OwnerScenario) -> None:
    call = owner.task()
    unasked.mark_asked(call.entries)
    fail_all(owner)
    del call
    assert told(owner) == []


def test_what_was_cancelled_is_not_told(owner: OwnerScenario) -> None:
    call = owner.task()
    reactor.cancel_call(owner.state, owner.out, call, force=False, recursive=True)
    assert call.entries[0].failure is not None
    del call
    assert told(owner) == []


def test_what_a_generator_fails_with_is_told_unless_it_is_taken_and_seen(owner: OwnerScenario) -> None:
    left, refs_left, seen = (owner.task(name, num_returns=STREAMING) for name in ("left", "refs_left", "seen"))
    fail_all(owner)
    taken = [one.stream.waiting.popleft() for one in (refs_left, seen) if one.stream is not None]
    with pytest.raises(Exception, match="no"):
        values.value_of(taken[1])
    del seen
    assert told(owner) == []
    taken.clear()
    assert told(owner) == [("refs_left failed, and nobody asked for its result: ValueError: no\n", 0)]
    del left
    assert told(owner) == [("left failed, and nobody asked for its result: ValueError: no\n", 0)]


@pytest.mark.parametrize("makes", ["task", "method"])
def test_a_generator_that_fails_when_it_was_let_go_of_is_told(owner: OwnerScenario, makes: str) -> None:
    submissions = Submissions()
    if makes == "task":
        call = owner.task(num_returns=STREAMING)
        owner.grant(1, W1)
    else:
        client = owner.actor()
        owner.alive(client, W1)
        call = owner.method(client, num_returns=STREAMING)
    name, seq = call.name, call.seq
    submissions.let_go(call)
    submissions.take(owner.state, owner.out)
    del call
    owner.hear(W1, CallRaised(seq, error("late")))
    assert told(owner) == [(f"{name} failed, and nobody asked for its result: ValueError: late\n", 0)]


@pytest.mark.parametrize("is_cancelled_before", [False, True])
def test_a_generator_that_is_cancelled_is_not_told(owner: OwnerScenario, *, is_cancelled_before: bool) -> None:
    call, submissions = owner.task(num_returns=STREAMING), Submissions()
    owner.grant(1, W1)
    if is_cancelled_before:
        reactor.cancel_call(owner.state, owner.out, call, force=False, recursive=True)
    submissions.let_go(call)
    submissions.take(owner.state, owner.out)
    answer = CallRaised(call.seq, error()) if is_cancelled_before else CallCancelled(call.seq, started=True)
    del call
    owner.hear(W1, answer)
    assert told(owner) == []


def test_a_worker_tells_nothing(owner: OwnerScenario) -> None:
    owner.state.is_driver = False
    owner.task()
    fail_all(owner)
    assert told(owner) == []


def test_a_nested_call_is_not_told(owner: OwnerScenario) -> None:
    owner.task(parent=CurrentCall(b"caller01", 1, b"t" * 12, "outer"))
    fail_all(owner)
    assert told(owner) == []


def test_ten_lines_a_scope_and_the_rest_is_counted(owner: OwnerScenario) -> None:
    for _ in range(13):
        owner.task()
    fail_all(owner)
    assert len(told(owner)) == unasked.LINES_AT_MOST
    assert owner.state.unasked.count_at_s == owner.now_s + unasked.COUNT_AFTER_S
    owner.now_s += unasked.COUNT_AFTER_S
    assert told(owner) == [("3 more calls failed, and nobody asked for their results\n", 0)]
    assert owner.state.unasked.count_at_s is None


def test_the_end_tells_of_what_is_still_held(owner: OwnerScenario) -> None:
    kept: list[PendingCall] = [owner.task() for _ in range(12)]
    fail_all(owner)
    under_way = owner.task("late")
    assert told(owner) == []
    owner.state.unasked.close(owner.out)
    reactor.on_closed(owner.state, SessionError("the session has ended"))
    lines = told(owner)
    assert len(lines) == unasked.LINES_AT_MOST + 1
    assert lines[-1] == ("2 more calls failed, and nobody asked for their results\n", 0)
    kept.clear()
    del under_way
    assert told(owner) == []
