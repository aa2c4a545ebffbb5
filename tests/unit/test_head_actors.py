"""The life of an actor, as the head decides it."""

from __future__ import annotations

from typing import Any

import pytest

from ipyactors.ground.quantities import to_units
from ipyactors.head.actors import _STEPS, Step, status_of
from ipyactors.wire.durable_messages import ActorBusy, CheckpointMade
from ipyactors.wire.events import EventKind
from ipyactors.wire.head_messages import (
    ActorChanged,
    ActorExited,
    ActorInitFailed,
    ActorReady,
    CreateActor,
    CreateActorReply,
    EventsReported,
    GetActor,
    GetActorReply,
    HoldActor,
    KillActor,
    LendActor,
    OwnerLeaving,
    ReleaseActor,
    WatchEvents,
)
from ipyactors.wire.last_words import Words
from ipyactors.wire.node_messages import KillWorker, StartWorker
from ipyactors.wire.specs import (
    ActorSpec,
    ActorState,
    Death,
    Definition,
    Durability,
    LossReason,
    Payload,
    RemoteError,
)
from tests.support.head_scenario import HeadScenario, actor_spec, killed


@pytest.fixture
def head() -> HeadScenario:
    scenario = HeadScenario()
    scenario.add_node(b"n1", 2)
    scenario.add_driver(b"d1")
    return scenario


def test_the_table_of_states_has_no_way_out_of_death_and_no_trap() -> None:
    assert _STEPS.keys() == set(ActorState)
    assert not _STEPS[ActorState.DEAD]
    for state, steps in _STEPS.items():
        assert state is ActorState.DEAD or steps[Step.ENDED] is ActorState.DEAD


def test_an_actor_is_created_and_becomes_alive(head: HeadScenario) -> None:
    spec = actor_spec(b"a1", b"d1", max_restarts=3)
    head.say(b"d1", CreateActor(5, spec))
    reply, told = head.take(b"d1")
    assert reply == CreateActorReply(5, b"a1")
    assert isinstance(told, ActorChanged)
    assert (told.status.state, told.status.worker_id) == (ActorState.STARTING, b"w1")
    head.expect(b"n1", StartWorker(b"w1", spec, 0))
    head.worker_up(b"w1")
    head.expect_silence()
    head.say(b"w1", ActorReady(b"a1", 0))
    status = head.take_status(b"d1")
    assert (status.state, status.address, status.restarts_left) == (ActorState.ALIVE, head.address(b"w1"), 3)
    head.expect_silence()


def test_a_death_restarts_it_at_once_and_tells_every_holder(head: HeadScenario) -> None:
    head.add_driver(b"d2")
    worker_id = head.create_actor(max_restarts=1)
    head.say(b"d1", LendActor(b"a1", b"d2"))
    assert head.take_status(b"d2").state is ActorState.ALIVE
    head.worker_dies(worker_id, Death(LossReason.OUT_OF_MEMORY, signal=9, max_rss_bytes=5, started={b"d1": 3}))
    for holder in (b"d1", b"d2"):
        status = head.take_status(holder)
        assert (status.state, status.incarnation, status.restarts_left) == (ActorState.RESTARTING, 1, 0)
        assert status.death is not None
        assert (status.death.reason, status.death.started) == (LossReason.OUT_OF_MEMORY, {b"d1": 3})
        assert (status.death.incarnation, status.death.worker_id) == (0, worker_id)
    started = head.take_one(b"n1", StartWorker)
    assert started.incarnation == 1
    head.actor_up(started.worker_id, incarnation=1)
    assert head.take_status(b"d1").state is ActorState.ALIVE
    head.take(b"d2")
    head.worker_dies(started.worker_id)
    status = head.take_status(b"d1")
    assert (status.state, status.incarnation) == (ActorState.DEAD, 1)
    assert status.death == killed(worker_id=started.worker_id, node_id=b"n1", incarnation=1, wall_s=head.clock.now_s)
    head.take(b"d2")
    head.expect_silence()


def test_what_a_process_said_last_is_told_with_its_death_and_not_kept(head: HeadScenario) -> None:
    worker_id = head.create_actor()
    words = (Words(b"d1", 1, 1, "c", 1, "about to die\n"),)
    head.worker_dies(worker_id, killed(words=words))
    death = head.take_status(b"d1").death
    assert death is not None
    assert death.words == words
    kept = head.tables.actors[b"a1"].death
    assert kept is not None
    assert kept.words == ()


def test_late_words_of_an_earlier_incarnation_change_nothing(head: HeadScenario) -> None:
    worker_id = head.create_actor(max_restarts=-1)
    head.worker_dies(worker_id)
    head.forget()
    head.say(worker_id, ActorReady(b"a1", 0))
    started = b"w2"
    head.worker_up(started)
    head.say(started, ActorReady(b"a1", 0), ActorExited(b"a1", 0, "?"))
    head.expect_silence()
    assert head.tables.actors[b"a1"].state is ActorState.RESTARTING


def test_an_exception_in_the_constructor_is_final(head: HeadScenario) -> None:
    head.say(b"d1", CreateActor(1, actor_spec(b"a1", b"d1", max_restarts=-1)))
    head.worker_up(b"w1")
    head.forget()
    error = RemoteError("ValueError", "no", "traceback")
    head.say(b"w1", ActorInitFailed(b"a1", 0, error))
    status = head.take_status(b"d1")
    assert status.state is ActorState.DEAD
    assert status.death is not None
    assert (status.death.reason, status.death.init_error) == (LossReason.INIT_FAILED, error)
    assert head.take_one(b"n1", KillWorker).worker_id == b"w1"
    head.worker_dies(b"w1")
    head.expect_silence()


def test_a_constructor_that_crashes_for_ever_is_given_up(head: HeadScenario) -> None:
    head.say(b"d1", CreateActor(1, actor_spec(b"a1", b"d1", max_restarts=-1)))
    for number in range(1, 6):
        head.worker_dies(b"w%d" % number)
        head.pass_time(1)
    head.forget()
    head.worker_dies(b"w6")
    status = head.take_status(b"d1")
    assert (status.state, status.restarts_left) == (ActorState.DEAD, -1)
    assert status.death is not None
    assert "given up after 5 restarts in 60 s" in status.death.detail
    head.expect_silence()


def test_an_actor_that_became_alive_may_crash_for_ever(head: HeadScenario) -> None:
    worker_id = head.create_actor(max_restarts=-1)
    for number in range(1, 20):
        head.worker_dies(worker_id)
        worker_id = b"w%d" % (number + 1)
        head.actor_up(worker_id, incarnation=number)
    assert head.tables.actors[b"a1"].state is ActorState.ALIVE


@pytest.mark.parametrize(
    ("word", "reason", "detail"),
    [
        (KillActor(b"a1"), LossReason.INTENDED, "killed by kill()"),
        (KillActor(b"a1", detail="button"), LossReason.INTENDED, "button"),
        (ReleaseActor(b"a1", 1), LossReason.INTENDED, "its last handle went"),
        (OwnerLeaving(), LossReason.OWNER_DIED, "driver 6431, which owned it, is gone"),
    ],
)
def test_intended_ends_are_final(head: HeadScenario, word: Any, reason: LossReason, detail: str) -> None:
    worker_id = head.create_actor(max_restarts=-1, name="c")
    head.say(b"d1", word)
    head.expect(b"n1", KillWorker(worker_id, detail=detail, final=True))
    assert not head.tables.names
    head.say(b"d1", word)
    head.forget()
    head.worker_dies(worker_id, killed(started={b"d1": 2}))
    death = head.tables.actors[b"a1"].death
    assert death is not None
    assert (death.reason, death.detail, death.started) == (reason, detail, {b"d1": 2})
    assert head.tables.actors[b"a1"].state is ActorState.DEAD


def test_an_actor_may_end_itself(head: HeadScenario) -> None:
    worker_id = head.create_actor(max_restarts=-1)
    head.say(worker_id, ActorExited(b"a1", 0, "exit_actor()"))
    head.expect_silence()
    head.worker_dies(worker_id, Death(LossReason.EXITED, exit_code=0))
    death = head.take_status(b"d1").death
    assert death is not None
    assert (death.reason, death.detail) == (LossReason.INTENDED, "exit_actor()")


def test_an_actor_that_only_says_that_it_ends_can_be_killed(head: HeadScenario) -> None:
    worker_id = head.create_actor(max_restarts=-1)
    head.say(worker_id, ActorExited(b"a1", 0, "exit_actor()"))
    head.say(b"d1", KillActor(b"a1", no_restart=False))
    head.expect_silence()
    head.say(b"d1", KillActor(b"a1"), KillActor(b"a1"))
    head.expect(b"n1", KillWorker(worker_id, detail="killed by kill()", final=True))
    head.worker_dies(worker_id)
    death = head.take_status(b"d1").death
    assert death is not None
    assert death.detail == "exit_actor()"


def test_kill_with_restart_counts_as_one(head: HeadScenario) -> None:
    worker_id = head.create_actor(max_restarts=1)
    head.say(b"d1", KillActor(b"a1", no_restart=False))
    assert head.take_one(b"n1", KillWorker).worker_id == worker_id
    head.worker_dies(worker_id, Death(LossReason.INTENDED))
    assert head.take_status(b"d1").state is ActorState.RESTARTING
    assert head.take_one(b"n1", StartWorker).incarnation == 1


def test_names(head: HeadScenario) -> None:
    head.create_actor(b"a1", name="c", namespace="x")
    head.add_driver(b"d2")
    head.say(b"d2", CreateActor(2, actor_spec(b"a2", b"d2", name="c", namespace="x")))
    head.expect(b"d2", CreateActorReply(2, b"a2", name_holder="Counter"))
    head.say(b"d2", GetActor(3, "c", "y"))
    head.expect(b"d2", GetActorReply(3))
    head.say(b"d2", GetActor(4, "c", "x"))
    found = head.take_one(b"d2", GetActorReply)
    assert found.spec is not None
    assert found.status is not None
    assert (found.spec.actor_id, found.status.state) == (b"a1", ActorState.ALIVE)
    head.say(b"d2", CreateActor(5, actor_spec(b"a2", b"d2", name="c", namespace="x"), get_if_exists=True))
    reply, told = head.take(b"d2")
    assert isinstance(reply, CreateActorReply)
    assert reply.existing is not None
    assert isinstance(told, ActorChanged)
    assert told.status.actor_id == b"a1"
    assert head.tables.actors[b"a1"].holders == {b"d1": 1, b"d2": 2}
    head.expect_silence()


def test_a_name_is_free_once_its_actor_was_told_to_end(head: HeadScenario) -> None:
    head.create_actor(b"a1", name="c")
    head.say(b"d1", KillActor(b"a1"), CreateActor(2, actor_spec(b"a2", b"d1", name="c")), GetActor(3, "c", ""))
    replies = head.take(b"d1")
    assert isinstance(replies[1], GetActorReply)
    assert replies[1].spec is not None
    assert replies[1].spec.actor_id == b"a2"


def test_counts(head: HeadScenario) -> None:
    worker_id = head.create_actor()
    head.add_driver(b"d2")
    head.say(b"d1", LendActor(b"a1", b"d2"), LendActor(b"a1", b"d2"), ReleaseActor(b"a1", 1))
    head.say(b"d2", ReleaseActor(b"a1", 1), HoldActor(b"a1"), ReleaseActor(b"a1", 1))
    head.say(b"d1", LendActor(b"a1", b"gone"))
    head.take(b"d2")
    head.expect_silence()
    head.say(b"d2", ReleaseActor(b"a1", 1))
    head.expect(b"n1", KillWorker(worker_id, detail="its last handle went", final=True))


def test_a_dead_process_loses_its_counts(head: HeadScenario) -> None:
    borrower = head.lease().worker_id
    worker_id = head.create_actor()
    head.say(b"d1", LendActor(b"a1", borrower), ReleaseActor(b"a1", 1))
    head.forget()
    head.worker_dies(borrower)
    head.expect(b"n1", KillWorker(worker_id, detail="its last handle went", final=True))


def test_detached_actors_outlive_handles_and_owner(head: HeadScenario) -> None:
    head.create_actor(detached=True, name="c")
    head.say(b"d1", ReleaseActor(b"a1", 1), OwnerLeaving())
    head.expect_silence()
    head.add_driver(b"d2")
    head.say(b"d2", GetActor(1, "c", ""))
    assert head.take_one(b"d2", GetActorReply).spec is not None


def test_actors_of_an_actor_end_with_its_process(head: HeadScenario) -> None:
    parent = head.create_actor(b"a1", max_restarts=1)
    child = head.create_actor(b"a2", parent, max_restarts=-1)
    head.worker_dies(parent)
    killing, starting = head.take(b"n1")
    assert isinstance(killing, KillWorker)
    assert killing.worker_id == child
    assert isinstance(starting, StartWorker)


def test_unknown_actors_are_dead(head: HeadScenario) -> None:
    for word in (HoldActor(b"a9"), KillActor(b"a9")):
        head.say(b"d1", word)
        status = head.take_status(b"d1")
        assert (status.actor_id, status.state) == (b"a9", ActorState.DEAD)
        assert status.death == Death(LossReason.EXITED, detail="no such actor in this session")
    head.say(b"d1", ReleaseActor(b"a9", 1), ActorReady(b"a9", 0))
    head.expect_silence()


def test_an_actor_that_must_wait_says_why_and_comes_when_there_is_room(head: HeadScenario) -> None:
    worker_id = head.create_actor(b"a1", cpus=1.5)
    head.say(b"d1", CreateActor(2, actor_spec(b"a2", b"d1", cpus=1)))
    _reply, told = head.take(b"d1")
    assert isinstance(told, ActorChanged)
    assert told.status.state is ActorState.PENDING
    assert told.status.waiting_for == "needs 1 CPU; free now: 0.5 CPU on host n1 (2 in all)"
    head.pass_time(5)
    head.expect_silence()
    head.worker_dies(worker_id)
    states = [word.status.state for word in head.take(b"d1") if isinstance(word, ActorChanged)]
    assert states == [ActorState.DEAD, ActorState.STARTING]
    assert head.take_one(b"n1", StartWorker)


def test_a_waiting_actor_can_be_killed(head: HeadScenario) -> None:
    head.create_actor(b"a1", cpus=2)
    head.say(b"d1", CreateActor(2, actor_spec(b"a2", b"d1", cpus=1)))
    head.take(b"d1")
    head.say(b"d1", KillActor(b"a2"))
    assert head.take_status(b"d1").state is ActorState.DEAD
    head.expect_silence()


def test_an_actor_that_can_never_fit_is_dead_with_what_exists(head: HeadScenario) -> None:
    head.say(b"d1", CreateActor(2, actor_spec(b"a1", b"d1", cpus=8)))
    _reply, told = head.take(b"d1")
    assert isinstance(told, ActorChanged)
    assert (told.status.state, told.unplaceable) == (ActorState.DEAD, to_units({"CPU": 2}))
    assert told.demand == to_units({"CPU": 8})


def test_events_reach_watchers_once_and_late_ones_get_the_backlog(head: HeadScenario) -> None:
    head.say(b"d1", WatchEvents())
    assert [event.kind for event in head.take_one(b"d1", EventsReported).events] == [EventKind.NODE_ADDED]
    worker_id = head.create_actor(max_restarts=0)
    head.worker_dies(worker_id)
    kinds = [event.kind for word in head.take(b"d1") if isinstance(word, EventsReported) for event in word.events]
    assert kinds == [EventKind.WORKER_DIED, EventKind.ACTOR_DIED, EventKind.ACTOR_DEAD]
    head.add_driver(b"d2")
    head.say(b"d2", WatchEvents())
    assert [event.kind for event in head.take_one(b"d2", EventsReported).events] == [
        EventKind.NODE_ADDED,
        EventKind.ACTOR_CREATED,
        EventKind.WORKER_STARTED,
        EventKind.ACTOR_ALIVE,
        EventKind.WORKER_DIED,
        EventKind.ACTOR_DIED,
        EventKind.ACTOR_DEAD,
    ]
    head.expect_silence()


def test_an_actors_creation_says_how_many_calls_it_runs_at_a_time(head: HeadScenario) -> None:
    head.say(b"d1", CreateActor(2, actor_spec(b"a1", b"d1", max_concurrency=4)), WatchEvents())
    told = [event for word in head.take(b"d1") if isinstance(word, EventsReported) for event in word.events]
    assert [event.count for event in told if event.kind is EventKind.ACTOR_CREATED] == [4]


def test_a_borrower_that_gives_back_before_the_lender_is_heard_costs_nobody_a_count(head: HeadScenario) -> None:
    worker_id = head.create_actor()
    head.add_driver(b"d2")
    head.say(b"d2", ReleaseActor(b"a1", 1))
    head.say(b"d1", LendActor(b"a1", b"d2"))
    assert head.tables.actors[b"a1"].holders == {b"d1": 1}
    head.forget()
    head.say(b"d1", ReleaseActor(b"a1", 1))
    head.expect(b"n1", KillWorker(worker_id, detail="its last handle went", final=True))


def test_an_actor_lives_as_long_as_another_one_needs_it_to_be_built_again(head: HeadScenario) -> None:
    carried_worker = head.create_actor()
    spec = ActorSpec(
        b"a2", "Carrier", b"d1", Definition(b"d" * 16, "Carrier", Payload(b"")), Payload(b"", actor_ids=(b"a1",))
    )
    head.say(b"d1", CreateActor(7, spec), ReleaseActor(b"a1", 1))
    assert not head.tables.actors[b"a1"].is_ended
    head.forget()
    head.say(b"d1", KillActor(b"a2"))
    carrier_worker = head.tables.actors[b"a2"].worker_id
    head.forget()
    head.worker_dies(carrier_worker)
    assert KillWorker(carried_worker, detail="its last handle went", final=True) in head.take(b"n1")


@pytest.mark.parametrize(("durability", "level"), [(None, ""), (Durability("host"), "host")])
def test_its_status_says_what_it_survives(head: HeadScenario, durability: Durability | None, level: str) -> None:
    head.worker_dies(head.create_actor(max_restarts=-1, durability=durability))
    assert head.take_status(b"d1").level == level


@pytest.mark.parametrize("reason", [LossReason.KILLED, LossReason.INTENDED])
def test_only_deaths_that_nobody_asked_for_count_against_it(head: HeadScenario, reason: LossReason) -> None:
    worker_id = head.create_actor(max_restarts=-1, durability=Durability("process"))
    states = []
    for incarnation in range(1, 8):
        head.worker_dies(worker_id, Death(reason, signal=9))
        states.append(head.take_status(b"d1").state)
        if states[-1] is ActorState.DEAD:
            break
        worker_id = head.take_one(b"n1", StartWorker).worker_id
        head.actor_up(worker_id, incarnation=incarnation)
        head.take(b"d1")
    if reason is LossReason.INTENDED:
        assert states == [ActorState.RESTARTING] * 7
    else:
        assert states == [ActorState.RESTARTING] * 5 + [ActorState.DEAD]


def test_a_checkpoint_is_noted_of_the_present_incarnation_only(head: HeadScenario) -> None:
    worker_id = head.create_actor(max_restarts=-1, durability=Durability("process"))
    head.worker_dies(worker_id)
    worker_id = head.take_one(b"n1", StartWorker).worker_id
    head.actor_up(worker_id, incarnation=1)
    head.say(worker_id, *(CheckpointMade(b"a1", incarnation, f"c{incarnation}", 1, 0.1, "") for incarnation in (0, 1)))
    assert sum(event.kind is EventKind.CHECKPOINT_MADE for event in head.tables.events._events) == 1


def test_what_an_actor_is_at_for_long_is_shown_until_it_is_ready_or_its_process_gone(head: HeadScenario) -> None:
    def shown() -> str:
        return status_of(head.tables, head.tables.actors[b"a1"]).busy_with

    worker_id = head.create_actor(max_restarts=-1, durability=Durability("process"))
    head.say(worker_id, ActorBusy(b"a1", 0, "waiting"))
    assert shown() == "waiting"
    head.say(worker_id, ActorBusy(b"a1", 0, ""))
    assert shown() == ""
    head.say(worker_id, ActorBusy(b"a1", 0, "waiting"))
    head.worker_dies(worker_id)
    assert shown() == ""
    worker_id = head.take_one(b"n1", StartWorker).worker_id
    head.worker_up(worker_id)
    head.say(worker_id, ActorBusy(b"a1", 0, "of another incarnation"))
    assert shown() == ""
    head.say(worker_id, ActorBusy(b"a1", 1, "replaying"))
    assert shown() == "replaying"
    head.say(worker_id, ActorReady(b"a1", 1))
    assert shown() == ""
