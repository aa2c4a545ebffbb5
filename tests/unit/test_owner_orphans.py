"""Objects of workers that are gone: a copy is used; else the call that returned the reference runs again, once."""

from __future__ import annotations

import gc
import weakref

import pytest

from ipyactors.ground import ids
from ipyactors.ground.exceptions import ObjectReconstructionFailedLineageEvictedError as Evicted
from ipyactors.ground.exceptions import OwnerDiedError
from ipyactors.owner import loans, orphans, reactor
from ipyactors.owner.objects import Entry
from ipyactors.wire.specs import Payload, RefSpec
from ipyactors.wire.store_messages import ClaimObjects, ObjectsClaimed
from tests.support.orphan_world import OrphanWorld
from tests.support.rebuild_world import HEAD, LARGE


@pytest.fixture
def world() -> OrphanWorld:
    return OrphanWorld()


def outer(world: OrphanWorld, letters: str, *deps: Entry, name: str = "outer", **options: object) -> list[Entry]:
    """Run a task that returns references to large (L) and small (S) objects; return those. The result is dropped."""
    [entry] = world.call(name, *deps, returns=(f"refs:{letters}",), **options)
    found = world.inner(entry)
    assert world.take_ran()[-1] == name
    return found


def owner(entry: Entry) -> bytes:
    return ids.owner_of(loans.heir_of(entry).object_id)


# -- copies ------------------------------------------------------------------------------------------------------------


def test_what_is_in_a_store_outlives_its_owner(world: OrphanWorld) -> None:
    refs = outer(world, "L")
    world.kill(owner(refs[0]))
    assert world.get_inner(refs[0]) == ("outer", 0, 0)
    assert refs[0].stored is not None
    assert refs[0].stored.size == 100_000
    assert world.take_ran() == []
    assert world.kept() == {refs[0].object_id}
    refs.clear()
    world.drive()
    assert not world.kept()
    assert not world.claims


def test_what_was_here_before_stays_and_is_claimed(world: OrphanWorld) -> None:
    large, small = outer(world, "LS")
    assert world.get_inner(large) == ("outer", 0, 0)
    assert world.get_inner(small) == ("outer", 0, 1)
    world.kill(owner(large))
    world.drive()
    assert world.claims == {large.object_id}
    assert world.get_inner(large) == ("outer", 0, 0)
    assert world.get_inner(small) == ("outer", 0, 1)
    assert world.take_ran() == []
    assert world.questions == 0


def test_what_is_not_referred_to_is_not_claimed(world: OrphanWorld) -> None:
    first, second = outer(world, "LL")
    dead = owner(first)
    del first
    world.is_paused = True
    loans.give_back(world.state, world.out)  # its owner does not hear this any more
    world.kill(dead)
    world.is_paused = False
    world.drive()
    assert world.kept() == {second.object_id}


def test_the_head_is_answered_also_with_nothing(world: OrphanWorld) -> None:
    world.hear(HEAD, ClaimObjects(b"w0000099"))
    assert world.out.sent == [(HEAD, ObjectsClaimed(b"w0000099", ()))]


def test_claims_are_told_to_a_new_head(world: OrphanWorld) -> None:
    refs = outer(world, "LS")
    dead = owner(refs[0])
    world.kill(dead)
    world.drive()
    orphans.repeat_claims(world.state, world.out)
    [(_, message)] = world.out.sent
    assert isinstance(message, ObjectsClaimed)
    assert message.owner_id == dead
    assert set(message.object_ids) == {entry.object_id for entry in refs}


def test_a_reference_is_claimed_though_its_owner_died_before_that_was_watched(world: OrphanWorld) -> None:
    [entry] = world.call("outer", returns=("refs:L",))
    while not entry.done:
        world.step(0)
    assert entry.payload is not None
    dead = ids.owner_of(entry.payload.refs[0].object_id)
    assert dead not in world.watchers
    world.kill(dead)
    [ref] = world.inner(entry)
    assert world.claims == {ref.object_id}
    assert world.get_inner(ref) == ("outer", 0, 0)
    assert world.take_ran() == ["outer"]


# -- lineage -----------------------------------------------------------------------------------------------------------


def test_small_values_are_made_again_all_by_one_run(world: OrphanWorld) -> None:
    refs = outer(world, "SSS")
    world.kill(owner(refs[0]))
    assert world.get_inner(refs[1]) == ("outer", 0, 1)
    assert world.get_inner(refs[0]) == ("outer", 0, 0)
    assert world.get_inner(refs[2]) == ("outer", 0, 2)
    assert world.take_ran() == ["outer"]


def test_one_run_serves_all_who_wait(world: OrphanWorld) -> None:
    refs = outer(world, "LL")
    world.kill(owner(refs[0]))
    world.lose_data(refs[0])
    world.lose_data(refs[1])
    takers = [world.call(name, refs[0], refs[1])[0] for name in "abc"]
    assert world.get_inner(refs[0]) == ("outer", 0, 0)
    assert world.get_inner(refs[1]) == ("outer", 0, 1)
    assert all(world.get(taker) == taker.object_id for taker in takers)
    assert sorted(world.take_ran()) == ["a", "b", "c", "outer"]


def test_only_what_is_lost_is_replaced(world: OrphanWorld) -> None:
    kept, lost = outer(world, "LL")
    world.kill(owner(kept))
    world.lose_data(lost)
    assert world.get_inner(lost) == ("outer", 0, 1)
    assert world.get_inner(kept) == ("outer", 0, 0)
    assert world.take_ran() == ["outer"]
    assert loans.heir_of(kept) is kept
    assert world.kept() == {kept.object_id, loans.heir_of(lost).object_id}, "the second writing of the first is gone"


def test_large_values_are_made_again_as_often_as_their_owners_die(world: OrphanWorld) -> None:
    [ref] = outer(world, "L", max_retries=2)
    for _ in range(2):
        world.kill(owner(ref))
        world.lose_data(ref)
        assert world.get_inner(ref) == ("outer", 0, 0)
        assert world.take_ran() == ["outer"]
    world.kill(owner(ref))
    world.lose_data(ref)
    failure = world.get_inner(ref)
    assert isinstance(failure, OwnerDiedError)
    assert "its retries are used up" in str(failure)
    assert world.take_ran() == []


def test_arguments_that_are_gone_are_made_before(world: OrphanWorld) -> None:
    [argument] = world.call("argument", returns=(LARGE,))
    refs = outer(world, "S", argument)
    world.take_ran()
    del argument
    world.drive()
    world.kill(owner(refs[0]))
    assert world.get_inner(refs[0]) == ("outer", 0, 0)
    assert world.take_ran() == ["argument", "outer"]


def test_items_of_a_generator_bring_references_too(world: OrphanWorld) -> None:
    items = world.generate("stream", "refs:S", "refs:SS", "refs:S")
    refs = [world.inner(item) for item in items]
    del items
    world.take_ran()
    world.kill(owner(refs[1][0]))
    assert world.get_inner(refs[1][1]) == ("stream", 2, 1)
    assert world.get_inner(refs[1][0]) == ("stream", 2, 0)
    assert world.get_inner(refs[2][0]) == ("stream", 3, 0)
    assert len(world.take_ran()) == 1


def test_a_method_runs_again_only_if_it_is_readonly(world: OrphanWorld) -> None:
    client = world.actor()
    world._workers[b"a0000001"] = world._workers[b"a0000002"] = world.nodes[0]
    world.alive(client, b"a0000001")
    [second] = world.inner(world.ask(client, "reads", returns=("refs:S",), is_readonly=True)[0])
    [first] = world.inner(world.ask(client, "plain", returns=("refs:S",))[0])
    world.take_ran()
    world.kill(b"a0000001")
    world.died(client, b"a0000001", started=0, final=False)
    world.alive(client, b"a0000002", 1)
    failure = world.get_inner(first)
    assert isinstance(failure, OwnerDiedError)
    assert "readonly" in str(failure)
    assert failure.reason == "actor_result"
    assert world.get_inner(second) == ("reads", 0, 0)
    assert world.take_ran() == ["reads"]


# -- what cannot be made again -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words", "reason"),
    [
        ({"max_retries": 0}, "max_retries=0", "retries_disabled"),
        ({"lineage": False}, "lineage=False", "lineage_disabled"),
    ],
)
def test_the_error_says_why(world: OrphanWorld, options: dict[str, object], words: str, reason: str) -> None:
    refs = outer(world, "S", **options)
    world.kill(owner(refs[0]))
    failure = world.get_inner(refs[0])
    assert isinstance(failure, OwnerDiedError)
    assert "that made the reference and kept its value is gone" in str(failure)
    assert words in str(failure)
    assert failure.reason == reason
    assert world.take_ran() == []


def test_an_evicted_record_is_of_no_use(world: OrphanWorld) -> None:
    refs = outer(world, "S")
    [record] = world.state.lineage.records()
    world.state.lineage.bar(record.task_id, Evicted)
    world.kill(owner(refs[0]))
    failure = world.get_inner(refs[0])
    assert isinstance(failure, OwnerDiedError)
    assert "dropped in favour of later calls" in str(failure)
    assert failure.reason == "lineage_evicted"


def test_an_argument_that_was_put_cannot_be_made_again(world: OrphanWorld) -> None:
    argument = world.put()
    refs = outer(world, "S", argument)
    world.take_ran()
    world.lose(argument)
    world.kill(owner(refs[0]))
    failure = world.get_inner(refs[0])
    assert isinstance(failure, OwnerDiedError)
    assert argument.object_id.hex() in str(failure)
    assert failure.reason == "put"
    assert world.take_ran() == []


def test_a_result_with_more_references_is_of_no_use(world: OrphanWorld) -> None:
    refs = outer(world, "SS")
    world.kill(owner(refs[0]))
    world.more_refs = 1
    failure = world.get_inner(refs[0])
    assert isinstance(failure, OwnerDiedError)
    assert "3 references, and not 2" in str(failure)
    assert failure.reason == "replay_inconsistent"
    assert world.take_ran() == ["outer"]


def test_a_run_that_fails_fails_who_waits(world: OrphanWorld) -> None:
    refs = outer(world, "SS")
    world.kill(owner(refs[0]))
    world.raising.add("outer")
    for ref in refs:
        failure = world.get_inner(ref)
        assert getattr(failure, "type_name", "") == "ValueError"
    assert not world.state.rebuilding


def test_what_came_by_another_way_is_gone(world: OrphanWorld) -> None:
    refs = outer(world, "S")
    refs[0].lineage = None
    world.kill(owner(refs[0]))
    failure = world.get_inner(refs[0])
    assert isinstance(failure, OwnerDiedError)
    assert "did not get the reference as the result of a call of its own" in str(failure)


def test_cancelling_it_cancels_the_run(world: OrphanWorld) -> None:
    refs = outer(world, "S")
    world.kill(owner(refs[0]))
    world.ask_for(refs[0])
    while not world.state.rebuilding:
        world.step(0)
    reactor.cancel(world.state, world.out, refs[0], force=False, recursive=True)
    world.settle()
    assert refs[0].failure is not None
    assert not world.state.rebuilding


# -- what is kept ------------------------------------------------------------------------------------------------------


def test_the_record_goes_with_the_last_reference_that_it_could_make_again(world: OrphanWorld) -> None:
    refs = outer(world, "SS")
    world.drive()
    assert [record.name for record in world.state.lineage.records()] == ["outer"]
    refs.pop()
    assert [record.name for record in world.state.lineage.records()] == ["outer"]
    refs.clear()
    assert world.state.lineage.records() == []


def test_a_call_that_returns_what_it_was_given_does_not_keep_it(world: OrphanWorld) -> None:
    [given] = outer(world, "S", lineage=False)
    call = world.task("identity", settle=False)
    call.args = Payload(b"").holding(given)
    world._names[call.task_id], world.results[call.task_id] = "identity", ("refs:",)
    world.returned = [RefSpec(given.object_id, given.owner_address)]
    [result] = call.entries
    del call
    assert world.inner(result) == [given]
    world.returned = []
    gone = weakref.ref(given)
    gc.disable()
    try:
        del given, result
        world.drive()
        assert gone() is None
        assert world.state.lineage.records() == []
    finally:
        gc.enable()


def test_a_reference_that_is_passed_on_leads_to_what_is_there_now(world: OrphanWorld) -> None:
    refs = outer(world, "S")
    world.kill(owner(refs[0]))
    world.get_inner(refs[0])
    spec = loans.refer(world.state, world.out, refs[0], is_carried=True)
    assert spec.object_id == loans.heir_of(refs[0]).object_id != refs[0].object_id


def test_who_follows_nobody_keeps_nothing(world: OrphanWorld) -> None:
    refs = outer(world, "LL")
    world.kill(owner(refs[0]))
    for ref in refs:
        world.lose_data(ref)
    assert world.get_inner(refs[0]) == ("outer", 0, 0)
    del ref
    refs.clear()
    world.drive()
    assert not world.kept()
    assert not world.claims
    assert not world.state.objects.claimed
    assert not world.state.objects.borrowed
    assert world.state.lineage.records() == []
