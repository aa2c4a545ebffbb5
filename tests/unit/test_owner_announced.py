"""What an owner has workers forget: functions that nothing needs any more, and no others."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from ipyactors.ground.exceptions import ObjectReconstructionFailedRetriesDisabledError as RetriesDisabled
from ipyactors.owner import leases
from ipyactors.owner.announced import LINGERING, SMALL_BYTES
from ipyactors.owner.calls import PendingCall, TaskCall
from ipyactors.owner.leases import IDLE_LEASE_S
from ipyactors.owner.lineage import Bar
from ipyactors.owner.templates import TaskTemplate
from ipyactors.wire.specs import Definition, Payload, Stored
from ipyactors.wire.worker_messages import CallSucceeded, Define, ForgetDefinitions, RunTask
from tests.support.owner_scenario import HEAD, OwnerScenario

W1, W2 = b"wworker1", b"wworker2"
DATA = bytes(SMALL_BYTES + 1)


@pytest.fixture
def owner() -> Iterator[OwnerScenario]:
    gc.disable()
    yield OwnerScenario()
    gc.enable()


def large(name: str = "f") -> TaskTemplate:
    definition = Definition(name.encode().ljust(16, b"."), name, Payload(DATA))
    return TaskTemplate(definition, name, {"CPU": 10_000})


def call(owner: OwnerScenario, template: TaskTemplate) -> PendingCall:
    made = owner._submit(TaskCall(template, owner._next_task_id(), Payload(b"args"), (), None), 1)
    owner.settle()
    return made


def told(owner: OwnerScenario) -> list[type]:
    """Return what kinds of words workers were told, and forget all that was sent."""
    kinds = [type(word) for peer, word in owner.out.sent if peer != HEAD]
    owner.out.sent.clear()
    return kinds


def forgotten(owner: OwnerScenario) -> dict[bytes, tuple[bytes, ...]]:
    """Return what each worker was told to forget, and forget all that was sent."""
    words = {peer: word.definition_ids for peer, word in owner.out.sent if isinstance(word, ForgetDefinitions)}
    owner.out.sent.clear()
    return words


def test_a_function_is_forgotten_after_its_last_call(owner: OwnerScenario) -> None:
    template = large()
    definition_id = template.definition.definition_id
    made = call(owner, template)
    owner.grant(1, W1)
    assert told(owner) == [Define, RunTask]
    del template
    owner.settle()
    assert told(owner) == []
    owner.answer(W1, 1)
    assert told(owner) == []  # its result can be made again with it
    made.entries = ()
    del made
    owner.settle()
    assert forgotten(owner) == {W1: (definition_id,)}
    assert not owner.state.leases.mean_s
    owner.settle()
    assert told(owner) == []


def test_another_call_sends_it_again(owner: OwnerScenario) -> None:
    call(owner, large())
    owner.grant(1, W1)
    assert told(owner) == [Define, RunTask]
    owner.answer(W1, 1)
    assert told(owner) == [ForgetDefinitions]
    call(owner, large())
    assert told(owner) == [Define, RunTask]


def test_workers_of_earlier_leases_forget_it_too(owner: OwnerScenario) -> None:
    template = large()
    call(owner, template)
    owner.grant(1, W1)
    owner.answer(W1, 1)
    owner.now_s += IDLE_LEASE_S
    owner.settle()
    assert told(owner) == [Define, RunTask]
    call(owner, template)
    owner.grant(2, W2)
    owner.answer(W2, 1)
    owner.out.sent.clear()
    del template
    owner.settle()
    assert set(forgotten(owner)) == {W1, W2}
    call(owner, large())
    assert told(owner) == [Define, RunTask]


def test_an_equal_function_that_is_under_way_is_not_forgotten(owner: OwnerScenario) -> None:
    first = call(owner, large())
    second = call(owner, large())
    owner.grant(1, W1)
    owner.out.sent.clear()
    owner.state.leases.mean_s[large().definition.definition_id] = 1e-6
    owner.answer(W1, 1)
    assert told(owner) == [RunTask]
    del first
    owner.settle()
    assert told(owner) == []
    owner.answer(W1, 2)
    del second
    owner.settle()
    assert set(forgotten(owner)) == {W1}


def test_a_call_in_line_is_sent_with_its_function_again(owner: OwnerScenario) -> None:
    calls = [call(owner, large()), call(owner, large())]
    owner.grant(1, W1)
    owner.out.sent.clear()
    owner.hear(W1, CallSucceeded(1, (Payload(b""),), 1.0))  # long: the next is sent when this is answered
    assert told(owner) == [RunTask]
    assert len(calls) == 2


def test_small_functions_that_refer_to_nothing_stay_for_a_while(owner: OwnerScenario) -> None:
    owner.task("first")
    owner.grant(1, W1)
    owner.answer(W1, 1)
    assert not forgotten(owner)
    for number in range(LINGERING):
        owner.task(f"f{number}")
        owner.answer(W1, number + 2)
    assert forgotten(owner) == {W1: (b"first".ljust(16, b"."),)}
    assert isinstance(owner.state.leases, leases.LeaseTable)


def test_a_result_that_is_not_to_be_made_again_does_not_keep_the_function(owner: OwnerScenario) -> None:
    once = TaskTemplate(large().definition, "f", {"CPU": 10_000}, max_retries=0)
    made = call(owner, once)
    made.entries[0].origin = (once.facts, None, 0)
    del once
    owner.grant(1, W1)
    assert told(owner) == [Define, RunTask]
    entries = made.entries
    del made
    owner.answer(W1, 1)
    assert told(owner) == [ForgetDefinitions]
    assert owner.state.lineage.bar_of(entries[0]) == Bar(RetriesDisabled, "f")


def test_a_result_whose_lineage_is_evicted_does_not_keep_the_function(owner: OwnerScenario) -> None:
    owner.state.lineage.limit_bytes = 0
    made = call(owner, large())
    owner.grant(1, W1)
    assert told(owner) == [Define, RunTask]
    entries = made.entries
    del made
    stored = Payload(b"", (), (), (), Stored(entries[0].object_id, 1_000_000, ()))
    owner.hear(W1, CallSucceeded(1, (stored,)))
    assert told(owner) == [ForgetDefinitions]
    assert entries[0].done
