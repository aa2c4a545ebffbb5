"""Who is kept alive while a durable actor comes back, and when it is given up."""

from __future__ import annotations

import pytest

from ipyactors.ground.quantities import to_units
from ipyactors.wire.deaths import TRY_AGAIN
from ipyactors.wire.durable_messages import ActorCaughtUp
from ipyactors.wire.head_messages import (
    ActorReady,
    CreateActor,
    HoldActor,
    KillActor,
    ReleaseActor,
)
from ipyactors.wire.node_messages import DeadWorker, RegisterNode, StartWorker, WorkerRecord
from ipyactors.wire.specs import ActorState, Death, Durability, LossReason
from tests.support.head_scenario import HeadScenario, actor_spec, killed

ROOM = to_units({"CPU": 8})
DURABLE = Durability("process")
PARENT, CHILD, GUEST = b"a1", b"a2", b"a3"


@pytest.fixture
def head() -> HeadScenario:
    scenario = HeadScenario()
    scenario.add_node(cpus=8)
    scenario.add_driver()
    scenario.forget()
    return scenario


def state_of(head: HeadScenario, actor_id: bytes) -> ActorState:
    actor = head.tables.actors[actor_id]
    return ActorState.DEAD if actor.is_ended else actor.state


def create_parent(head: HeadScenario) -> bytes:
    """A durable actor whose process has created one actor, and has the handle of another that the driver made."""
    worker_id = head.create_actor(PARENT, max_restarts=-1, durability=DURABLE)
    create_child(head, worker_id)
    head.create_actor(GUEST)
    head.say(worker_id, HoldActor(GUEST))
    head.say(b"d1", ReleaseActor(GUEST, 1))
    head.forget()
    return worker_id


def create_child(head: HeadScenario, owner_id: bytes, **fields: bool) -> None:
    head.say(owner_id, CreateActor(1, actor_spec(CHILD, owner_id, creator_id=PARENT, **fields)))
    head.actor_up(head.take_one(b"n1", StartWorker).worker_id, CHILD)


def next_process(head: HeadScenario, worker_id: bytes, incarnation: int, *, is_ready: bool = True) -> bytes:
    head.worker_dies(worker_id)
    worker_id = head.take_one(b"n1", StartWorker).worker_id
    head.worker_up(worker_id)
    if is_ready:
        head.say(worker_id, ActorReady(PARENT, incarnation))
    head.forget()
    return worker_id


def test_what_the_dead_process_had_is_kept_until_the_next_has_caught_up(head: HeadScenario) -> None:
    worker_id = next_process(head, create_parent(head), 1)
    assert state_of(head, CHILD) is state_of(head, GUEST) is ActorState.ALIVE
    head.say(worker_id, HoldActor(CHILD), ActorCaughtUp(PARENT, 1))
    assert (state_of(head, CHILD), state_of(head, GUEST)) == (ActorState.ALIVE, ActorState.DEAD)
    head.say(worker_id, ReleaseActor(CHILD, 1))
    assert state_of(head, CHILD) is ActorState.DEAD


@pytest.mark.parametrize("is_ready", [False, True])
def test_it_is_kept_through_further_deaths_and_what_they_had_too(head: HeadScenario, is_ready: bool) -> None:
    worker_id = next_process(head, create_parent(head), 1, is_ready=is_ready)
    head.create_actor(b"a4")
    head.say(worker_id, HoldActor(b"a4"))
    head.say(b"d1", ReleaseActor(b"a4", 1))
    worker_id = next_process(head, worker_id, 2)
    assert {state_of(head, one) for one in (CHILD, GUEST, b"a4")} == {ActorState.ALIVE}
    head.say(worker_id, ActorCaughtUp(PARENT, 1))  # of a process before it
    assert {state_of(head, one) for one in (CHILD, GUEST, b"a4")} == {ActorState.ALIVE}
    head.say(worker_id, ActorCaughtUp(PARENT, 2))
    assert {state_of(head, one) for one in (CHILD, GUEST, b"a4")} == {ActorState.DEAD}


@pytest.mark.parametrize("when", ["no process", "coming back", "ready"])
def test_it_ends_with_the_actor_unless_others_have_it(head: HeadScenario, when: str) -> None:
    worker_id = create_parent(head)
    head.say(b"d1", HoldActor(CHILD), HoldActor(GUEST))  # what it has created ends with it, whoever holds it
    if when == "no process":
        head.tables.nodes[b"n1"].is_leaving = True
        head.worker_dies(worker_id)
        head.say(b"d1", KillActor(PARENT))
    else:
        worker_id = next_process(head, worker_id, 1, is_ready=when == "ready")
        head.say(b"d1", KillActor(PARENT))
        head.worker_dies(worker_id)
    assert (state_of(head, CHILD), state_of(head, GUEST)) == (ActorState.DEAD, ActorState.ALIVE)
    assert not head.tables.carriers


def test_what_it_has_created_is_its_next_processs(head: HeadScenario) -> None:
    worker_id = next_process(head, create_parent(head), 1)
    assert head.tables.actors[CHILD].owner_id == worker_id


@pytest.mark.parametrize("was_dead", [False, True])
@pytest.mark.parametrize("says", ["nothing", "first", "last"])
def test_a_head_that_was_started_again_knows_for_whom_to_keep_it(was_dead: bool, says: str) -> None:
    again = HeadScenario(head_epoch=1)
    parent = actor_spec(PARENT, b"d1", max_restarts=-1, durability=DURABLE)
    child, guest = actor_spec(CHILD, b"w1", creator_id=PARENT), actor_spec(GUEST, b"d1")
    records = [WorkerRecord(b"w6", 6, "ipc://w6", child, 0), WorkerRecord(b"w7", 7, "ipc://w7", guest, 0)]
    if was_dead:  # a process of the parent has died when there was no head
        dead = DeadWorker(b"w5", killed(incarnation=1), parent)
        again.say(b"n1", RegisterNode("n1", ROOM, tuple(records), (dead,), drivers=(b"d1",)))
    else:
        records.append(WorkerRecord(b"w5", 5, "ipc://w5", parent, 1))
        again.say(b"n1", RegisterNode("n1", ROOM, tuple(records), drivers=(b"d1",)))
    again.add_driver(held={PARENT: 1})
    for worker_id in (b"w6", b"w7"):
        again.worker_up(worker_id)
    parents = b"w5"
    if not was_dead:
        again.worker_up(parents)
        if says == "first":
            again.say(parents, ActorCaughtUp(PARENT, 1))
    again.pass_time(11.0)
    if was_dead:
        parents = next(one.worker_id for one in again.take(b"n1") if isinstance(one, StartWorker))
        again.worker_up(parents)
        again.say(parents, ActorReady(PARENT, 2))
    if says == "last":
        again.say(parents, ActorCaughtUp(PARENT, 1 + was_dead))
    has_said = says == "last" or (says == "first" and not was_dead)
    wanted = ActorState.DEAD if has_said else ActorState.ALIVE
    assert state_of(again, CHILD) is state_of(again, GUEST) is wanted


@pytest.mark.parametrize("durability", [None, DURABLE])
def test_deaths_on_the_way_back_count_whatever_the_clock_says(
    head: HeadScenario, durability: Durability | None
) -> None:
    worker_id = head.create_actor(max_restarts=-1, durability=durability)
    head.worker_dies(worker_id)
    for number in range(1, 7):
        assert head.take_status(b"d1").state is ActorState.RESTARTING
        worker_id = head.take_one(b"n1", StartWorker).worker_id
        head.worker_up(worker_id)
        head.pass_time(100.0)
        head.worker_dies(worker_id, Death(LossReason.EXITED, exit_code=3, last_output=("boom",)))
        head.take(b"n1") if number == 6 else None
    status = head.take_status(b"d1")
    assert status.state is ActorState.DEAD
    assert status.death is not None
    assert "its process ended 6 times in a row while it came back" in status.death.detail
    assert status.death.last_output == ("boom",)
    if durability is not None:
        assert status.death.reason is LossReason.RECOVERY_FAILED
        assert status.death.detail.endswith("the last time it exited with code 3")


@pytest.mark.parametrize("what", ["waits", "killed on purpose", "machine lost", "ready"])
def test_ends_that_are_not_its_fault_do_not_count(head: HeadScenario, what: str) -> None:
    death = {
        "waits": Death(LossReason.EXITED, exit_code=TRY_AGAIN),
        "killed on purpose": Death(LossReason.INTENDED, signal=9),
        "machine lost": Death(LossReason.NODE_LOST),
    }.get(what, killed())
    worker_id = head.create_actor(max_restarts=-1, durability=DURABLE)
    head.worker_dies(worker_id)
    for incarnation in range(1, 12):
        assert head.take_status(b"d1").state is ActorState.RESTARTING
        worker_id = head.take_one(b"n1", StartWorker).worker_id
        head.worker_up(worker_id)
        if what == "ready":
            head.say(worker_id, ActorReady(b"a1", incarnation))
            head.take(b"d1")
        head.pass_time(100.0)
        head.worker_dies(worker_id, death)
