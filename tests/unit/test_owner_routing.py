"""What calls print and display: passed up to the caller of the caller, shown at last with the right scope."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ipyactors.owner import scopes
from ipyactors.owner.current import CurrentCall
from ipyactors.wire.worker_messages import DisplayWritten, OutputWritten
from tests.support.owner_scenario import OwnerScenario

W1, W2 = b"wworker1", b"wworker2"


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(scopes, "_latest", 0)
    token = scopes._scope.set(0)
    yield
    scopes._scope.reset(token)


@pytest.fixture
def owner() -> OwnerScenario:
    return OwnerScenario()


def line(seq: int, text: str = "hello\n") -> OutputWritten:
    return OutputWritten(seq, "f", 1, text)


def scopes_shown(owner: OwnerScenario, worker: bytes, *seqs: int) -> list[int]:
    """Return the scopes with which lines of these calls are shown."""
    owner.hear(worker, *map(line, seqs))
    shown, owner.out.shown = owner.out.shown, []
    assert [written.seq for written, _ in shown] == list(seqs)
    return [scope for _, scope in shown]


def test_a_call_that_runs_has_the_scope_that_it_was_made_in(owner: OwnerScenario) -> None:
    client = owner.actor()
    owner.alive(client, W1)
    first = scopes.enter()
    owner.method(client)
    second = scopes.enter()
    owner.method(client)
    assert scopes_shown(owner, W1, 1, 2, 1) == [first, second, first]


def test_a_call_that_is_over_keeps_its_scope(owner: OwnerScenario) -> None:
    client = owner.actor()
    owner.alive(client, W1)
    expected = []
    for seq in (1, 2, 3, 4):
        if seq != 3:
            scopes.enter()
        owner.method(client)
        expected.append(scopes.current())
        owner.answer(W1, seq)
    assert scopes_shown(owner, W1, 1, 2, 3, 4) == expected


def test_what_an_actor_writes_in_no_call_belongs_to_where_it_was_created(owner: OwnerScenario) -> None:
    created = scopes.enter()
    client = owner.actor()
    owner.alive(client, W1)
    scopes.enter()
    owner.method(client)
    late = OutputWritten(0, "f", 1, "hello\n", actor_id=client.actor_id)
    owner.hear(b"wworker9", late)  # its process may not be known here: the constructor runs
    assert owner.out.shown == [(late, created)]


def test_what_a_durable_actor_runs_from_its_log_belongs_to_the_call(owner: OwnerScenario) -> None:
    scopes.enter()
    client = owner.actor()
    made = [(scopes.enter(), owner.method(client, max_task_retries=1)) for _ in range(2)]
    owner.alive(client, W1)
    unsent = scopes.enter()
    owner.died(client, W1, started=1, final=False)
    made.append((unsent, owner.method(client)))
    for scope, call in made:
        found = OutputWritten(0, "f", 1, "hello\n", actor_id=client.actor_id, call_id=call.task_id)
        owner.hear(W2, found)
        assert owner.out.shown.pop() == (found, scope)


def test_it_may_come_after_the_answer_for_it_comes_another_way(owner: OwnerScenario) -> None:
    scopes.enter()
    client = owner.actor()
    owner.alive(client, W1)
    scope = scopes.enter()
    call = owner.method(client, is_durable=True)
    owner.died(client, W1, started=1, final=False)
    owner.alive(client, W2, incarnation=1)
    owner.answer(W2, 1)
    found = OutputWritten(0, "f", 1, "hello\n", actor_id=client.actor_id, call_id=call.task_id)
    owner.hear(W2, found)
    assert owner.out.shown == [(found, scope)]


def test_what_is_run_from_a_log_for_a_call_within_another_is_passed_on(owner: OwnerScenario) -> None:
    client = owner.actor()
    call = owner.method(client)
    call.parent = CurrentCall(b"dparent1", 5, b"p" * 16, "outer")
    owner.out.sent.clear()
    owner.hear(W1, OutputWritten(0, "f", 1, "hello\n", actor_id=client.actor_id, call_id=call.task_id))
    assert [(message.seq, message.text) for message in owner.take(OutputWritten)] == [(5, "hello\n")]
    assert owner.out.shown == []


@pytest.mark.parametrize(
    ("parent", "call_id"),
    [
        (CurrentCall(b"", 5, b"p" * 16, "Found.in_log"), b"p" * 16),
        (CurrentCall(b"dparent1", 0, b"a" * 16, "Actor.__init__"), b""),
    ],
)
def test_within_a_call_that_was_found_in_the_log_and_a_constructor_it_goes_where_their_own_words_go(
    owner: OwnerScenario, parent: CurrentCall, call_id: bytes
) -> None:
    owner.task(parent=parent)
    owner.grant(1, W1)
    owner.out.sent.clear()
    owner.hear(W1, line(1))
    assert owner.out.sent == []
    assert owner.out.shown == [(OutputWritten(0, "f", 1, "hello\n", call_id=call_id), 0)]


def test_what_a_task_has_left_behind_belongs_to_the_last_one_also_when_the_lease_is_over(owner: OwnerScenario) -> None:
    first = scopes.enter()
    owner.task()
    owner.grant(1, W1)
    owner.answer(W1, 1)
    scopes.enter()
    owner.now_s += 60
    owner.settle()
    assert owner.state.holders == {}
    assert scopes_shown(owner, W1, 1, 0) == [first, first]


def test_without_scopes_there_is_none(owner: OwnerScenario) -> None:
    owner.task()
    owner.grant(1, W1)
    assert scopes_shown(owner, W1, 1, 0) == [0, 0]


def test_a_nested_call_is_passed_on_with_all_that_it_says(owner: OwnerScenario) -> None:
    owner.task(parent=CurrentCall(b"dparent1", 5, b"p" * 16, "outer"))
    owner.grant(1, W1)
    owner.out.sent.clear()
    owner.hear(W1, OutputWritten(1, "f", 2, " 3%", b"block"), DisplayWritten(1, "f", b"{}", "id", is_update=True))
    moving, shown = owner.take(OutputWritten, DisplayWritten)
    assert moving == OutputWritten(5, "f", 2, " 3%", b"block")
    assert shown == DisplayWritten(5, "f", b"{}", "id", is_update=True)
    assert owner.out.shown == []


def test_few_changes_are_kept_of_few_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scopes, "_CHANGES_AT_MOST", 4)
    monkeypatch.setattr(scopes, "_WORKERS_AT_MOST", 2)
    trails = scopes.ScopeTrails()
    for seq in range(1, 8):
        trails.note(W1, seq, seq)
    assert [trails.find(W1, seq) for seq in (1, 5, 7, 9, 0)] == [5, 5, 7, 7, 7]
    trails.note(W2, 1, 1)
    trails.note(b"wworker3", 1, 1)
    assert trails.find(W1, 7) == 0
