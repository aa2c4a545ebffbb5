"""Wishes, leases and idle workers, as the head decides them."""

from __future__ import annotations

import pytest

from ipyactors.ground.quantities import to_units
from ipyactors.head.leases import IDLE_S, MAX_STARTING
from ipyactors.head.waiting import LEAVE_ALONE_S
from ipyactors.wire.head_messages import (
    ClusterReply,
    CreateActor,
    DescribeCluster,
    KillLeasedWorker,
    LeaseGranted,
    LeaseLost,
    OwnerLeaving,
    ReclaimLease,
    RegisterOwner,
    ReturnLease,
    ShapeUnplaceable,
    WorkerBlocked,
    WorkerUnblocked,
)
from ipyactors.wire.node_messages import KillWorker, KillWorkerAt, ProcessGone, StartWorker, WorkerDied
from ipyactors.wire.specs import Death, LossReason
from tests.support.head_scenario import HeadScenario, actor_spec, killed


@pytest.fixture
def head() -> HeadScenario:
    scenario = HeadScenario()
    scenario.add_node(b"n1", 2)
    scenario.add_driver(b"d1")
    return scenario


def available(head: HeadScenario) -> float:
    return head.tables.nodes[b"n1"].available["CPU"] / 10_000


def test_a_wish_starts_workers_and_is_granted_as_they_come_up(head: HeadScenario) -> None:
    head.want(b"d1", 3)
    head.expect(b"n1", StartWorker(b"w1"), StartWorker(b"w2"))
    head.expect_silence()
    assert available(head) == 0
    head.worker_up(b"w2")
    head.expect(b"d1", LeaseGranted(1, 1, b"w2", head.address(b"w2"), b"n1"))
    head.worker_up(b"w1")
    head.expect(b"d1", LeaseGranted(2, 1, b"w1", head.address(b"w1"), b"n1"))
    head.expect_silence()


def test_a_returned_worker_serves_the_next_wish_without_a_start(head: HeadScenario) -> None:
    granted = head.lease()
    head.say(b"d1", ReturnLease(granted.lease_id))
    head.expect_silence()
    assert available(head) == 2
    head.want(b"d1", 1)
    assert head.take_one(b"d1", LeaseGranted).worker_id == granted.worker_id
    head.expect_silence()


def test_a_returned_worker_serves_who_waits_for_a_start(head: HeadScenario) -> None:
    granted = head.lease()
    head.want(b"d1", 1)
    head.expect(b"n1", StartWorker(b"w2"))
    head.say(b"d1", ReturnLease(granted.lease_id))
    assert head.take_one(b"d1", LeaseGranted).worker_id == granted.worker_id
    head.worker_up(b"w2")
    assert list(head.tables.nodes[b"n1"].idle) == [b"w2"]
    head.expect_silence()


def test_a_wish_taken_back_frees_what_was_decided_for_it(head: HeadScenario) -> None:
    head.want(b"d1", 2)
    head.take(b"n1")
    head.want(b"d1", 0)
    assert available(head) == 2
    head.worker_up(b"w1")
    head.worker_up(b"w2")
    head.expect_silence()
    assert len(head.tables.nodes[b"n1"].idle) == 2


def test_a_wish_is_a_level_and_may_be_repeated(head: HeadScenario) -> None:
    head.want(b"d1", 2)
    head.want(b"d1", 2)
    head.want(b"d1", 1)
    head.expect(b"n1", StartWorker(b"w1"), StartWorker(b"w2"))
    assert available(head) == 1


def test_what_can_never_fit_is_refused_with_what_exists(head: HeadScenario) -> None:
    head.want(b"d1", 1, cpus=3)
    head.expect(b"d1", ShapeUnplaceable(1, to_units({"CPU": 3}), to_units({"CPU": 2})))
    head.expect_silence()
    assert not head.tables.wishes


def test_wishes_wait_for_the_first_machine() -> None:
    head = HeadScenario()
    head.say(b"d1", RegisterOwner("ipc://d1", is_driver=True, pid=1))
    head.want(b"d1", 1)
    head.expect_silence()
    head.add_node(b"n1", 1)
    head.expect(b"n1", StartWorker(b"w1"))
    assert len(head.take(b"d1")) == 1


def test_a_large_wish_for_nothing_is_served_in_portions(head: HeadScenario) -> None:
    head.want(b"d1", 1_000, cpus=0)
    assert len(head.take(b"n1")) == MAX_STARTING
    head.worker_up(b"w1")
    assert len(head.take(b"n1")) == 1


def test_owners_take_turns(head: HeadScenario) -> None:
    head.add_driver(b"d2")
    granted = [head.lease(b"d1"), head.lease(b"d1")]
    head.want(b"d1", 5)
    head.want(b"d2", 5)
    for lease in granted:
        head.say(b"d1", ReturnLease(lease.lease_id))
    assert head.take_one(b"d1", LeaseGranted)
    assert head.take_one(b"d2", LeaseGranted)


def test_a_lease_is_asked_back_when_others_wait_and_not_in_its_first_moments(head: HeadScenario) -> None:
    head.add_driver(b"d2")
    first = head.lease(b"d1")
    head.pass_time(LEAVE_ALONE_S / 2)
    head.lease(b"d1")
    head.want(b"d2", 4)
    head.expect_silence()
    assert head.turn() <= LEAVE_ALONE_S
    head.pass_time(LEAVE_ALONE_S)
    head.expect(b"d1", ReclaimLease(first.lease_id))
    head.want(b"d1", 4)
    head.pass_time(LEAVE_ALONE_S)
    head.expect_silence()
    head.say(b"d1", ReturnLease(first.lease_id))
    assert head.take_one(b"d2", LeaseGranted).worker_id == first.worker_id
    head.pass_time(1)
    head.expect_silence()  # one each: nobody has clearly more


def test_nothing_is_asked_back_from_the_same_shape(head: HeadScenario) -> None:
    head.lease(b"d1")
    head.lease(b"d1")
    head.want(b"d1", 4)
    head.pass_time(1)
    head.expect_silence()


def test_room_is_kept_for_a_large_demand_behind_small_ones(head: HeadScenario) -> None:
    head.add_driver(b"d2")
    first, second = head.lease(b"d1"), head.lease(b"d1")
    head.pass_time(1)
    head.say(b"d2", CreateActor(1, actor_spec(b"a1", b"d2", cpus=2)))
    assert [type(word).__name__ for word in head.take(b"d2")] == ["CreateActorReply", "ActorChanged"]
    head.expect(b"d1", ReclaimLease(first.lease_id), ReclaimLease(second.lease_id))
    head.want(b"d1", 9)
    head.say(b"d1", ReturnLease(first.lease_id))
    head.expect_silence()
    head.say(b"d1", ReturnLease(second.lease_id))
    assert head.take_one(b"n1", StartWorker).actor is not None


def test_no_room_is_kept_where_actors_hold_it(head: HeadScenario) -> None:
    head.create_actor(cpus=1)
    head.want(b"d1", 1, cpus=2, shape_id=2)
    head.want(b"d1", 1, cpus=1, shape_id=1)
    assert head.take_one(b"n1", StartWorker).actor is None


def test_a_blocked_worker_lends_its_cpus_and_takes_them_back(head: HeadScenario) -> None:
    granted = [head.lease(), head.lease()]
    head.say(granted[0].worker_id, WorkerBlocked(), WorkerBlocked())
    assert available(head) == 1
    head.want(granted[0].worker_id, 1)
    head.expect(b"n1", StartWorker(b"w3"))
    head.say(granted[0].worker_id, WorkerUnblocked(), WorkerUnblocked())
    assert available(head) == -1
    head.say(granted[0].worker_id, WorkerBlocked())
    head.say(b"d1", ReturnLease(granted[0].lease_id))
    assert head.take_one(granted[0].worker_id, LeaseGranted)
    assert available(head) == 0


def test_the_holder_hears_of_its_worker_s_death(head: HeadScenario) -> None:
    granted = head.lease()
    head.worker_dies(granted.worker_id, Death(LossReason.OUT_OF_MEMORY, signal=9, started={b"d1": 4}))
    lost = head.take_one(b"d1", LeaseLost)
    assert lost.death.reason is LossReason.OUT_OF_MEMORY
    assert lost.death.started == {b"d1": 4}
    assert lost.death.worker_id == granted.worker_id
    assert available(head) == 2
    head.expect_silence()


def test_a_forced_cancel_ends_the_worker(head: HeadScenario) -> None:
    granted = head.lease()
    head.say(b"d1", KillLeasedWorker(granted.worker_id, 5, "cancelled"))
    head.expect(b"n1", KillWorkerAt(granted.worker_id, b"d1", 5, "cancelled"))
    assert available(head) == 1
    head.worker_dies(granted.worker_id, Death(LossReason.INTENDED, detail="cancelled"))
    assert head.take_one(b"d1", LeaseLost).lease_id == granted.lease_id
    head.expect_silence()


def test_a_worker_that_a_forced_cancel_spared_goes_to_nobody_else(head: HeadScenario) -> None:
    """The agent may yet read the word, and nothing tells it that the worker has another owner."""
    granted = head.lease(cpus=2)
    head.add_driver(b"d2")
    head.want(b"d2", 1)
    head.forget()
    head.say(b"d1", KillLeasedWorker(granted.worker_id, 5, "cancelled"), ReturnLease(granted.lease_id))
    cancelling, killing, starting = head.take(b"n1")
    assert isinstance(cancelling, KillWorkerAt)
    assert killing == KillWorker(granted.worker_id, detail="a task on it was cancelled by force")
    assert isinstance(starting, StartWorker)
    head.expect_silence()


def test_workers_that_do_not_start_are_tried_again_after_a_pause(head: HeadScenario) -> None:
    head.want(b"d1", 1)
    head.expect(b"n1", StartWorker(b"w1"))
    head.worker_dies(b"w1", Death(LossReason.START_FAILED, detail="no such file"))
    head.expect_silence()
    head.say(b"d1", DescribeCluster(1))
    [waiting] = head.take_one(b"d1", ClusterReply).waiting
    assert waiting.reason == "workers do not start: the last could not be started (no such file)"
    head.pass_time(head.turn())
    head.expect(b"n1", StartWorker(b"w2"))
    head.worker_up(b"w2")
    assert head.take_one(b"d1", LeaseGranted)


def test_idle_workers_are_ended_when_they_are_many_or_old(head: HeadScenario) -> None:
    granted = [head.lease(cpus=0.5) for _ in range(3)]
    for lease in granted:
        head.say(b"d1", ReturnLease(lease.lease_id))
    head.expect(b"n1", KillWorker(granted[0].worker_id, detail="idle, and not needed"))
    head.pass_time(IDLE_S)
    assert {word.worker_id for word in head.take(b"n1")} == {lease.worker_id for lease in granted[1:]}
    for lease in granted:
        head.worker_dies(lease.worker_id)
    lost = head.take(b"d1")
    assert [word.worker_id for word in lost] == [lease.worker_id for lease in granted], "it is still connected to them"
    head.expect_silence()
    assert not head.tables.workers


def test_an_idle_worker_is_kept_while_what_it_owns_lives(head: HeadScenario) -> None:
    parent = head.lease()
    child = head.lease(parent.worker_id)
    head.say(b"d1", ReturnLease(parent.lease_id))
    head.pass_time(IDLE_S)
    head.expect_silence()
    head.say(parent.worker_id, ReturnLease(child.lease_id))
    head.expect(b"n1", KillWorker(parent.worker_id, detail="idle, and not needed"))


@pytest.mark.parametrize("is_in_good_order", [True, False])
def test_the_leased_workers_of_a_gone_driver_are_ended(head: HeadScenario, is_in_good_order: bool) -> None:
    granted = head.lease()
    head.want(b"d1", 1)
    head.take(b"n1")
    head.say(*((b"d1", OwnerLeaving()) if is_in_good_order else (b"n1", ProcessGone(b"d1"))))
    head.expect(b"n1", KillWorker(granted.worker_id, detail="the process that had leased it is gone"))
    assert available(head) == 1
    head.worker_dies(granted.worker_id)
    assert available(head) == 2
    head.say(b"d1", RegisterOwner("ipc://d1", is_driver=True, pid=1))  # its last words, late
    head.expect_silence()


def test_a_worker_s_own_leases_end_with_it(head: HeadScenario) -> None:
    parent = head.lease()
    child = head.lease(parent.worker_id)
    head.worker_dies(parent.worker_id)
    assert head.take_one(b"d1", LeaseLost)
    head.expect(b"n1", KillWorker(child.worker_id, detail="the process that had leased it is gone"))
    head.expect_silence()


def test_mistaken_words_are_ignored(head: HeadScenario) -> None:
    granted = head.lease()
    head.add_driver(b"d2")
    head.say(b"d2", ReturnLease(granted.lease_id), ReturnLease(99), WorkerBlocked())
    head.say(b"d2", KillLeasedWorker(granted.worker_id, 1, "not mine"), KillLeasedWorker(b"w9", 1, "not there"))
    head.say(b"d9", ReturnLease(granted.lease_id))
    head.say(b"n9", WorkerDied(granted.worker_id, killed()))
    head.say(b"n1", WorkerDied(b"w9", killed()), ProcessGone(b"d9"))
    head.expect_silence()
    assert available(head) == 1


def test_a_wait_is_explained(head: HeadScenario) -> None:
    head.lease(cpus=1.5)
    head.want(b"d1", 1, cpus=2, shape_id=2)
    head.say(b"d1", DescribeCluster(7))
    [waiting] = head.take_one(b"d1", ClusterReply).waiting
    assert waiting.reason == "needs 2 CPU; free now: 0.5 CPU on host n1 (2 in all)"
