"""What others refer to of a process that is gone is kept, for as long as one of them does; the rest goes at once."""

from __future__ import annotations

import pytest

from ipyactors.ground.quantities import to_units
from ipyactors.wire.head_messages import OwnsObjects, WatchOwner
from ipyactors.wire.node_messages import DeadWorker, ProcessGone, RegisterNode, WorkerRecord
from ipyactors.wire.store_messages import ForgetSegments, ObjectsClaimed, ReleaseClaims
from tests.support.head_scenario import HeadScenario, killed

DRIVER, OTHER, OWNER, THIRD = b"d1------", b"d2------", b"w8------", b"w9------"
ONE, TWO, FOREIGN = OWNER + b"1" * 12, OWNER + b"2" * 12, OTHER + b"3" * 12


@pytest.fixture
def head() -> HeadScenario:
    head = HeadScenario()
    records = tuple(WorkerRecord(worker_id, 7, "ipc://w") for worker_id in (OWNER, THIRD))
    head.add_node(b"n1", 4, *records)
    head.join_node(b"n2", 1)
    for worker_id in (OWNER, THIRD):
        head.worker_up(worker_id)
    head.add_driver(DRIVER)
    head.add_driver(OTHER)
    head.forget()
    return head


def owner_dies(head: HeadScenario) -> None:
    """A worker dies of whose objects others have references."""
    head.say(OWNER, OwnsObjects())
    head.worker_dies(OWNER)
    head.forget()  # its death is told to all, since it was there before this head


def test_all_are_asked_and_what_they_claim_is_kept(head: HeadScenario) -> None:
    owner_dies(head)
    assert sorted(head.asked) == [(DRIVER, OWNER), (OTHER, OWNER), (THIRD, OWNER)]
    head.say(DRIVER, ObjectsClaimed(OWNER, (ONE,)))
    head.say(OTHER, ObjectsClaimed(OWNER, ()))
    assert not head.forgotten, "one has not answered"
    head.say(THIRD, ObjectsClaimed(OWNER, (ONE, TWO)))
    assert head.forgotten == [(b"n1", OWNER), (b"n2", OWNER)]
    assert set(head.kept[OWNER]) == {ONE, TWO}
    head.expect_silence()


def test_of_a_worker_that_has_lent_nothing_nobody_is_asked(head: HeadScenario) -> None:
    head.say(OWNER, OwnsObjects(True), OwnsObjects(False))
    head.worker_dies(OWNER)
    assert head.asked == []
    assert head.forgotten == [(b"n1", OWNER), (b"n2", OWNER)]


def test_the_last_claim_keeps_it_until_it_is_released(head: HeadScenario) -> None:
    owner_dies(head)
    head.say(DRIVER, ObjectsClaimed(OWNER, (ONE, TWO)))
    head.say(OTHER, ObjectsClaimed(OWNER, (ONE,)))
    head.say(THIRD, ObjectsClaimed(OWNER, ()))
    head.say(DRIVER, ReleaseClaims((ONE,)))
    head.expect_silence()
    head.say(OTHER, ReleaseClaims((ONE,)))
    for node_id in (b"n1", b"n2"):
        head.expect(node_id, ForgetSegments((ONE,)))
    head.say(OTHER, ReleaseClaims((ONE, TWO)))
    head.expect_silence()


def test_who_dies_claims_nothing_and_need_not_answer(head: HeadScenario) -> None:
    owner_dies(head)
    head.say(THIRD, ObjectsClaimed(OWNER, (ONE, TWO)))
    head.say(DRIVER, ObjectsClaimed(OWNER, (TWO,)))
    head.say(b"n1", ProcessGone(OTHER))
    assert head.kept[OWNER] == (ONE, TWO)
    head.forget()
    head.worker_dies(THIRD)
    assert ForgetSegments((ONE,)) in head.take(b"n1")
    assert ForgetSegments((ONE,)) in head.take(b"n2")
    head.forget()
    head.say(b"n1", ProcessGone(DRIVER))
    assert ForgetSegments((TWO,)) in head.take(b"n1")
    assert not head.tables.claims


def test_what_is_released_before_all_have_answered_is_not_kept(head: HeadScenario) -> None:
    owner_dies(head)
    head.say(DRIVER, ObjectsClaimed(OWNER, (ONE,)), ReleaseClaims((ONE,)))
    head.say(OTHER, ObjectsClaimed(OWNER, ()))
    head.say(THIRD, ObjectsClaimed(OWNER, ()))
    assert head.kept[OWNER] == ()
    head.expect_silence()


def test_a_claim_may_come_late_and_unasked(head: HeadScenario) -> None:
    owner_dies(head)
    for claimant in (DRIVER, OTHER, THIRD):
        head.say(claimant, ObjectsClaimed(OWNER, (ONE,) if claimant == DRIVER else ()))
    head.say(THIRD, WatchOwner(OWNER))
    head.take(THIRD)
    head.say(THIRD, ObjectsClaimed(OWNER, (ONE,)))
    head.say(DRIVER, ReleaseClaims((ONE,)))
    head.expect_silence()
    head.say(THIRD, ReleaseClaims((ONE,)))
    head.expect(b"n1", ForgetSegments((ONE,)))


def test_nothing_can_be_claimed_of_who_lives_or_of_another(head: HeadScenario) -> None:
    head.say(DRIVER, ObjectsClaimed(OTHER, (FOREIGN,)))
    head.say(DRIVER, ReleaseClaims((FOREIGN,)))
    head.expect_silence()
    owner_dies(head)
    head.say(DRIVER, ObjectsClaimed(OWNER, (FOREIGN, ONE)))
    assert list(head.tables.claims) == [ONE]


def test_a_restarted_head_asks_when_it_knows_whom() -> None:
    head = HeadScenario(head_epoch=1)
    dead = (DeadWorker(OWNER, killed()),)
    head.say(b"n1", RegisterNode("n1", to_units({"CPU": 1}), dead=dead, drivers=(DRIVER, OTHER)))
    head.add_driver(DRIVER)
    head.say(DRIVER, ObjectsClaimed(OWNER, (ONE,)))  # told again
    assert head.asked == []
    assert head.forgotten == []
    head.add_driver(OTHER)
    assert sorted(head.asked) == [(DRIVER, OWNER), (OTHER, OWNER)]
    head.say(DRIVER, ObjectsClaimed(OWNER, ()))
    head.say(OTHER, ObjectsClaimed(OWNER, ()))
    assert head.kept[OWNER] == (ONE,)
