"""Machines and processes that come and go, and a head that was started again."""

from __future__ import annotations

import pytest

from ipyactors.head.leases import IDLE_S
from ipyactors.wire.events import Event, EventKind
from ipyactors.wire.head_messages import (
    ActorChanged,
    ActorReady,
    CreateActor,
    CreateActorReply,
    DropWorker,
    EventsReported,
    GetActor,
    GetActorReply,
    HoldActor,
    KillLeasedWorker,
    LeaseGranted,
    LendActor,
    OwnerLost,
    OwnerRegistered,
    OwnsObjects,
    RegisterOwner,
    ReleaseActor,
    ReturnLease,
    WatchEvents,
    WatchOwner,
    WorkerLost,
)
from ipyactors.wire.node_messages import (
    DeadWorker,
    KillWorker,
    KillWorkerAt,
    ProcessGone,
    RegisterNode,
    StartWorker,
    WorkerRecord,
)
from ipyactors.wire.specs import ActorState, LossReason
from tests.support.head_scenario import SETTLE_S, HeadScenario, actor_spec, killed


@pytest.fixture
def restarted() -> HeadScenario:
    """A head started again: an agent with an actor's worker (w8) and a task worker (w9), and the driver d1."""
    head = HeadScenario(head_epoch=1)
    spec = actor_spec(b"a1", b"d1", cpus=1, max_restarts=3, name="c")
    actor_worker = WorkerRecord(b"w8", 8, head.address(b"w8"), spec, 2)
    head.say(b"d1", RegisterOwner("ipc://d1", is_driver=True, pid=1, held={b"a1": 2}, leased=(b"w9",)))
    head.expect_silence()  # until a machine is there, the head would have to say that a1 is dead
    head.add_node(b"n1", 2, actor_worker, WorkerRecord(b"w9", 9, head.address(b"w9")))
    return head


def test_who_registers_with_a_handle_of_an_unknown_actor_is_told() -> None:
    head = HeadScenario()
    head.add_node(b"n1", 4)
    head.say(b"d1", RegisterOwner("ipc://d1", is_driver=True, pid=1, held={b"a9": 1}))
    registered, told = head.take(b"d1")
    assert registered == OwnerRegistered(0)
    assert isinstance(told, ActorChanged)
    assert told.status.state is ActorState.DEAD


def test_work_goes_to_the_machine_with_most_room() -> None:
    head = HeadScenario()
    head.add_node(b"n1", 2)
    head.add_node(b"n2", 4)
    head.add_driver()
    head.want(b"d1", 4)
    assert (len(head.take(b"n1")), len(head.take(b"n2"))) == (1, 3)


def test_a_restarted_head_adopts_what_lives(restarted: HeadScenario) -> None:
    words = restarted.take(b"d1")
    assert isinstance(words[0], OwnerRegistered)
    assert words[0].head_epoch == 1
    status = words[-1].status if isinstance(words[-1], ActorChanged) else None
    assert status is not None
    assert (status.state, status.incarnation, status.restarts_left) == (ActorState.ALIVE, 2, 1)
    assert restarted.tables.nodes[b"n1"].available["CPU"] == 10_000
    restarted.say(b"d1", GetActor(1, "c", ""))
    assert restarted.take_one(b"d1", GetActorReply).spec is not None
    restarted.say(b"n1", RegisterNode("n1", {"CPU": 20_000}, ()))
    restarted.pass_time(SETTLE_S)
    restarted.expect_silence()
    assert restarted.tables.actors[b"a1"].holders == {b"d1": 3}


def test_a_worker_leased_from_the_old_head_is_dropped_or_lost(restarted: HeadScenario) -> None:
    restarted.forget()
    restarted.say(b"d1", DropWorker(b"w9"), DropWorker(b"w8"), DropWorker(b"w7"))
    restarted.expect(b"n1", KillWorker(b"w9", detail="no longer needed"))
    restarted.worker_dies(b"w9")
    assert restarted.take_one(b"d1", WorkerLost).worker_id == b"w9"
    restarted.worker_dies(b"w6")  # it lived and died without this head
    restarted.worker_dies(b"w6")
    restarted.expect(b"d1", WorkerLost(b"w6", killed()))
    restarted.expect_silence()


def test_new_leases_never_have_an_old_id(restarted: HeadScenario) -> None:
    restarted.forget()
    restarted.want(b"d1", 1)
    restarted.take(b"n1")
    restarted.worker_up(b"w1")
    assert restarted.take_one(b"d1", LeaseGranted).lease_id > 1_000_000


def test_a_restarted_head_ends_what_nobody_came_back_for(restarted: HeadScenario) -> None:
    orphan = actor_spec(b"a2", b"d7")
    kept = actor_spec(b"a3", b"d7", detached=True)
    records = [WorkerRecord(b"w%d" % n, n, f"ipc://{n}", spec, 0) for n, spec in ((5, orphan), (6, kept))]
    restarted.add_node(b"n2", 1, *records)
    restarted.say(b"d1", HoldActor(b"a4"), ReleaseActor(b"a1", 2))
    restarted.forget()
    restarted.pass_time(SETTLE_S)
    killing = [word.worker_id for word in restarted.take(b"n2") if isinstance(word, KillWorker)]
    assert killing == [b"w5"]
    restarted.expect(b"n1", KillWorker(b"w8", detail="its last handle went", final=True))
    assert restarted.take_status(b"d1").actor_id == b"a4"
    restarted.expect_silence()


def test_a_handle_lent_while_the_borrower_comes_back_counts(restarted: HeadScenario) -> None:
    restarted.say(b"d3", LendActor(b"a1", b"d2"))
    restarted.say(b"d1", LendActor(b"a5", b"d2"), ReleaseActor(b"a1", 2))
    restarted.say(b"d2", RegisterOwner("ipc://d2", is_driver=True, pid=2))
    restarted.add_node(b"n2", 1, WorkerRecord(b"w5", 5, "ipc://5", actor_spec(b"a5", b"d1"), 0))
    restarted.forget()
    restarted.pass_time(SETTLE_S)
    restarted.expect_silence()
    assert restarted.tables.actors[b"a1"].holders == {b"d2": 1}
    assert restarted.tables.actors[b"a5"].holders == {b"d2": 1}


def test_a_borrower_that_does_not_come_back_holds_nothing(restarted: HeadScenario) -> None:
    restarted.say(b"d1", LendActor(b"a1", b"d2"), ReleaseActor(b"a1", 2))
    restarted.forget()
    restarted.pass_time(SETTLE_S)
    restarted.expect(b"n1", KillWorker(b"w8", detail="its last handle went", final=True))
    assert b"d2" not in restarted.tables.owners


def test_an_adopted_actor_that_was_not_ready_becomes_so(restarted: HeadScenario) -> None:
    restarted.add_node(b"n2", 1, WorkerRecord(b"w5", 5, "", actor_spec(b"a5", b"d1"), 0))
    assert restarted.tables.actors[b"a5"].state is ActorState.STARTING
    restarted.say(b"d1", CreateActor(4, actor_spec(b"a5", b"d1")))
    restarted.forget()
    restarted.worker_up(b"w5", b"n2")
    restarted.say(b"w5", ActorReady(b"a5", 0))
    assert restarted.take_status(b"d1").state is ActorState.ALIVE
    assert restarted.tables.actors[b"a5"].holders == {b"d1": 1}


def test_the_event_log_forgets_the_oldest() -> None:
    from ipyactors.head.event_log import EventLog

    log = EventLog(kept=3)
    log.watch(b"d1")
    for number in range(5):
        log.add(Event(EventKind.NODE_ADDED, float(number)))
    [(watcher, events)] = log.take_unreported()
    assert (watcher, [event.wall_s for event in events]) == (b"d1", [2.0, 3.0, 4.0])
    log.watch(b"d1")
    log.add(Event(EventKind.NODE_ADDED, 5.0))
    assert [len(events) for _watcher, events in log.take_unreported()] == [1]
    log.unwatch(b"d1")
    log.add(Event(EventKind.NODE_ADDED, 6.0))
    assert log.take_unreported() == []


def test_who_watches_an_owner_hears_of_its_end_at_once_or_later() -> None:
    head = HeadScenario()
    head.add_node()
    head.add_driver()
    head.forget()
    worker_id = head.lease().worker_id
    head.forget()
    head.say(b"d1", WatchOwner(worker_id), WatchOwner(b"w-never"))
    head.expect(b"d1", OwnerLost(b"w-never"))
    head.worker_dies(worker_id)
    assert OwnerLost(worker_id) in head.take(b"d1")


def test_an_idle_worker_that_owns_objects_is_spared() -> None:
    head = HeadScenario()
    head.add_node()
    head.add_driver()
    head.forget()
    lease = head.lease()
    head.say(lease.worker_id, OwnsObjects())
    head.say(b"d1", ReturnLease(lease.lease_id))
    head.forget()
    head.pass_time(IDLE_S * 2)
    head.expect_silence()


def test_deaths_that_the_old_head_heard_are_told_again() -> None:
    """To the holder of the lease, and to the actor's holders: the actor comes back, or is dead for the right reason."""
    head = HeadScenario(head_epoch=1)
    back, over = actor_spec(b"a1", b"d1", max_restarts=3), actor_spec(b"a2", b"d1", max_restarts=3)
    deaths = (
        DeadWorker(b"w7", killed()),
        DeadWorker(b"w8", killed(incarnation=2), back),
        DeadWorker(b"w9", killed(detail="button", was_leaving=True), over),
    )
    head.say(b"n1", RegisterNode("n1", {"CPU": 20_000}, (), deaths, drivers=(b"d1", b"d2")))
    started = head.take_one(b"n1", StartWorker)
    assert (started.actor, started.incarnation) == (back, 3)
    held = {b"a1": 2, b"a2": 1}
    head.say(b"d1", RegisterOwner("ipc://d1", is_driver=True, pid=1, held=held, leased=(b"w6", b"w7")))
    _, first, second, lost = head.take(b"d1")
    assert isinstance(first, ActorChanged)
    assert isinstance(second, ActorChanged)
    assert first.status.state is ActorState.RESTARTING
    assert second.status.state is ActorState.DEAD
    assert second.status.death is not None
    assert (second.status.death.reason, second.status.death.detail) == (LossReason.INTENDED, "button")
    assert lost == WorkerLost(b"w7", killed())
    head.expect_silence()
    head.pass_time(SETTLE_S)
    unseen = head.take_one(b"d1", WorkerLost)
    assert unseen.worker_id == b"w6"
    assert unseen.death.started[b"d1"] > 10**9, "nobody can say that nothing of it has run"


def test_a_death_between_the_agents_registration_and_the_owners_is_told() -> None:
    head = HeadScenario(head_epoch=1)
    head.add_node(b"n1", 2, WorkerRecord(b"w9", 9, head.address(b"w9")), drivers=(b"d1",))
    head.worker_dies(b"w9")
    head.say(b"d1", RegisterOwner("ipc://d1", is_driver=True, pid=1, leased=(b"w9",)))
    assert head.take(b"d1")[1:] == [WorkerLost(b"w9", killed(worker_id=b"w9", node_id=b"n1", wall_s=head.clock.wall()))]
    head.pass_time(SETTLE_S)
    head.expect_silence()


def test_a_worker_that_nobody_had_leased_is_ended() -> None:
    head = HeadScenario(head_epoch=1)
    head.add_node(b"n1", 2, WorkerRecord(b"w9", 9, head.address(b"w9")))
    head.add_driver()
    head.expect_silence()
    head.pass_time(SETTLE_S)
    assert head.take_one(b"n1", KillWorker).worker_id == b"w9"


def test_a_creation_that_is_repeated_counts_its_owner_once() -> None:
    """The owner registers with the handle that it has, then asks for the actor again."""
    head = HeadScenario(head_epoch=1)
    head.add_node(b"n1", 2, drivers=(b"d1",))
    again = RegisterOwner("ipc://d1", is_driver=True, pid=1, held={b"a1": 1})
    head.say(b"d1", again, CreateActor(1, actor_spec(b"a1", b"d1")))
    assert head.tables.is_settled
    assert head.tables.actors[b"a1"].holders == {b"d1": 1}
    assert [type(word) for word in head.take(b"d1")] == [OwnerRegistered, CreateActorReply, ActorChanged]


# -- when a head that was started again has settled ------------------------------------------------------------


def restarts(head: HeadScenario, asker: bytes = b"d-asks") -> list[str]:
    """What the head reports of its own restart, to ``asker``, who has just come."""
    head.add_driver(asker)
    head.say(asker, WatchEvents())
    events = head.take_one(asker, EventsReported).events
    return [event.detail for event in events if event.kind is EventKind.HEAD_RESTARTED]


def test_a_head_has_settled_when_all_have_come_back_or_died(restarted: HeadScenario) -> None:
    """What was let go while there was no head then ends at once, long before the limit."""
    restarted.add_node(b"n2", 2, WorkerRecord(b"w7", 7, restarted.address(b"w7")), drivers=(b"d2", b"d3"))
    restarted.say(b"d1", ReleaseActor(b"a1", 2))
    restarted.forget()
    restarted.worker_up(b"w8")
    restarted.worker_up(b"w9")
    restarted.worker_dies(b"w7", node_id=b"n2")
    restarted.add_driver(b"d2")
    restarted.say(b"n1", RegisterNode("n1", {"CPU": 20_000}, drivers=(b"d2",)))  # said again: it is here
    restarted.forget()
    restarted.turn()
    assert not restarted.tables.is_settled, "d3 may come"
    restarted.expect_silence()
    restarted.say(b"n2", ProcessGone(b"d3"))
    restarted.expect(b"n1", KillWorker(b"w8", detail="its last handle went", final=True))
    restarted.expect_silence()
    assert restarts(restarted) == [""]


def test_a_head_waits_until_a_machine_has_joined() -> None:
    head = HeadScenario(head_epoch=1)
    head.turn()
    assert not head.tables.is_settled


def test_a_restarted_head_says_whom_it_waited_for_in_vain(restarted: HeadScenario) -> None:
    assert restarts(restarted, b"d-early") == []
    restarted.pass_time(SETTLE_S)
    restarted.pass_time(SETTLE_S)
    assert restarts(restarted) == ["2 processes did not come back within 10 s"]


def test_the_first_head_of_a_session_was_not_restarted() -> None:
    head = HeadScenario()
    head.add_node()
    assert restarts(head) == []


def test_a_forced_cancel_reaches_a_worker_that_the_head_before_had_leased(restarted: HeadScenario) -> None:
    restarted.forget()
    restarted.say(b"d1", KillLeasedWorker(b"w9", 5, "cancelled"), KillLeasedWorker(b"w8", 5, "an actor's"))
    restarted.expect(b"n1", KillWorkerAt(b"w9", b"d1", 5, "cancelled"))
