"""Several machines: they join, are lost, leave, and are awaited by a head that was started again."""

from __future__ import annotations

from typing import Any

import pytest

from ipyactors.ground import ids
from ipyactors.ground.quantities import to_units
from ipyactors.head import nodes
from ipyactors.wire.events import EventKind
from ipyactors.wire.head_messages import (
    ActorChanged,
    ClusterReply,
    CreateActor,
    DescribeCluster,
    EventsReported,
    GetActor,
    GetActorReply,
    KillActor,
    LeaseGranted,
    LeaseLost,
    OwnerLost,
    OwnerRegistered,
    ReclaimLease,
    RegisterOwner,
    ReturnLease,
    ShapeUnplaceable,
    WantLeases,
    WatchEvents,
    WatchOwner,
    WorkerLost,
)
from ipyactors.wire.node_messages import (
    DeadWorker,
    KillWorker,
    LeaveSession,
    NodeLeaving,
    NodeRecord,
    NodeRegistered,
    RegisterNode,
    StartWorker,
    WorkerRecord,
)
from ipyactors.wire.specs import ActorState, Death, LossReason
from ipyactors.wire.store_messages import NodeLost
from tests.support.head_scenario import SETTLE_S, HeadScenario, actor_spec, killed


@pytest.fixture
def head() -> HeadScenario:
    """A first machine with one CPU and the driver d1; a second one with two CPUs and one of ``b``."""
    head = HeadScenario()
    head.add_node(b"n1", 1)
    head.join_node(b"n2", 2, b=1)
    head.add_driver()
    head.forget()
    return head


def want(head: HeadScenario, count: int = 1, prefer: bytes = b"", **demand: float) -> None:
    head.say(b"d1", WantLeases(1, to_units(demand), count, "f", prefer))


def lease_on_n2(head: HeadScenario, **demand: float) -> LeaseGranted:
    want(head, **(demand or {"b": 1}))
    started = head.take_one(b"n2", StartWorker)
    head.worker_up(started.worker_id, b"n2")
    return head.take_one(b"d1", LeaseGranted)


def actor_on_n2(head: HeadScenario, actor_id: bytes = b"a1", **fields: Any) -> bytes:
    head.say(b"d1", CreateActor(1, actor_spec(actor_id, b"d1", cpus=2, **fields)))
    started = head.take_one(b"n2", StartWorker)
    head.actor_up(started.worker_id, actor_id, node_id=b"n2")
    head.forget()
    return started.worker_id


def lost_events(head: HeadScenario, asker: bytes = b"d-asks") -> list[str]:
    head.add_driver(asker)
    head.say(asker, WatchEvents())
    events = head.take_one(asker, EventsReported).events
    return [event.detail for event in events if event.kind is EventKind.NODE_LOST]


# -- joining and placing -----------------------------------------------------------------------------------------------


def test_a_machine_that_joins_is_welcomed_and_its_agent_is_watched(head: HeadScenario) -> None:
    head.say(b"n3", RegisterNode("n3", to_units({"CPU": 1}), pid=300, joins=True))
    head.expect(b"n3", NodeRegistered(0))
    assert head.watched == {b"n2": 100, b"n3": 300}, "the first machine's agent is the head's own parent"


def test_resources_pin_tasks_and_actors_to_machines(head: HeadScenario) -> None:
    lease = lease_on_n2(head)
    assert lease.node_id == b"n2"
    head.say(b"d1", CreateActor(1, actor_spec(b"a1", b"d1", cpus=2)))
    assert head.take_one(b"n2", StartWorker).actor is not None


def test_the_machine_that_has_the_data_gets_the_work(head: HeadScenario) -> None:
    want(head, 2, prefer=b"n2", CPU=1)
    assert len(head.take(b"n2")) == 2
    want(head, 3, prefer=b"n2", CPU=1)
    assert len(head.take(b"n1")) == 1
    head.expect_silence()


def test_everybody_sees_all_machines(head: HeadScenario) -> None:
    head.lose_node(b"n2")
    head.forget()
    head.say(b"d1", DescribeCluster(1))
    first, second = head.take_one(b"d1", ClusterReply).nodes
    assert (first.node_id, first.is_alive, first.total) == (b"n1", True, {"CPU": 10_000})
    assert (second.node_id, second.is_alive, second.total) == (b"n2", False, {})
    assert (second.address, second.pid) == ("ipc://n2", 100)


# -- lost --------------------------------------------------------------------------------------------------------------


def test_a_lease_is_lost_with_its_machine_and_can_be_had_elsewhere(head: HeadScenario) -> None:
    head.join_node(b"n3", 2, b=1)
    lease = lease_on_n2(head)
    head.lose_node(b"n2")
    told, lost = head.take(b"d1")
    words = "the agent of machine 6e32 on host n2, process 100, ended"
    assert told == NodeLost(b"n2", words)
    assert isinstance(lost, LeaseLost)
    assert (lost.lease_id, lost.death.reason, lost.death.detail) == (lease.lease_id, LossReason.NODE_LOST, words)
    assert (lost.death.worker_id, lost.death.node_id) == (lease.worker_id, b"n2")
    head.expect(b"n3", NodeLost(b"n2", words))
    head.expect(b"n1", NodeLost(b"n2", words))
    want(head, b=1)
    assert isinstance(head.take_one(b"n3", StartWorker), StartWorker)
    head.expect_silence()
    assert lost_events(head) == [words]


def test_what_no_machine_has_any_more_is_refused(head: HeadScenario) -> None:
    lease_on_n2(head)
    head.lose_node(b"n2")
    head.forget()
    want(head, b=1)
    assert head.take_one(b"d1", ShapeUnplaceable).existing == {"CPU": 10_000}


def test_a_wish_that_waits_is_kept_until_a_machine_has_joined(head: HeadScenario) -> None:
    lease_on_n2(head)
    head.lose_node(b"n2")
    head.forget()
    head.say(b"d1", WantLeases(1, to_units({"b": 1}), 1, "f", waits=True))
    head.expect_silence()
    head.join_node(b"n4", 1, b=1)
    (worker_id,) = head.tables.nodes[b"n4"].starting
    head.worker_up(worker_id, b"n4")
    assert head.take_one(b"d1", LeaseGranted).node_id == b"n4"


def test_leases_that_waited_for_a_worker_there_are_decided_anew(head: HeadScenario) -> None:
    want(head, 3, CPU=1)
    assert (len(head.take(b"n1")), len(head.take(b"n2"))) == (1, 2)
    head.join_node(b"n3", 4)
    head.lose_node(b"n2")
    assert [type(word) for word in head.take(b"n3")] == [NodeLost, StartWorker, StartWorker]


NEEDS_B = "needs 2 CPU; no machine has that much, and the one that comes nearest has 1 CPU"


@pytest.mark.parametrize("is_up", [True, False])
def test_an_actor_that_has_lived_waits_for_a_machine_to_join(head: HeadScenario, is_up: bool) -> None:
    """So does one whose constructor ran; holders are told when it begins to wait, and when that is over."""
    head.say(b"d1", WatchEvents())
    if is_up:
        actor_on_n2(head, max_restarts=1)
    else:
        head.say(b"d1", CreateActor(1, actor_spec(b"a1", b"d1", cpus=2, max_restarts=1)))
    head.forget()
    head.lose_node(b"n2")
    words = head.take(b"d1")
    lost, restarting = (word.status for word in words if isinstance(word, ActorChanged))
    assert [lost.state, restarting.state] == [ActorState.RESTARTING] * 2
    assert (restarting.is_stranded, restarting.waiting_for) == (True, NEEDS_B)
    events = [event for word in words if isinstance(word, EventsReported) for event in word.events]
    stranded = [event.detail for event in events if event.kind is EventKind.ACTOR_STRANDED]
    assert stranded == [f"waits for a machine: {NEEDS_B}"]
    head.join_node(b"n3", 1)
    head.forget()
    head.pass_time(5)
    head.expect_silence()
    head.say(b"n4", RegisterNode("n4", to_units({"CPU": 2}), pid=101, joins=True))
    started = head.take(b"n4")[-1]
    assert isinstance(started, StartWorker)
    assert started.incarnation == 1
    told = [word.status for word in head.take(b"d1") if isinstance(word, ActorChanged)]
    assert [(status.state, status.is_stranded, status.waiting_for) for status in told] == [
        (ActorState.RESTARTING, False, "")
    ]
    head.actor_up(started.worker_id, node_id=b"n4", incarnation=1)
    assert head.tables.actors[b"a1"].state is ActorState.ALIVE


def test_an_actor_waits_for_a_machine_if_there_was_one_when_it_was_created(head: HeadScenario) -> None:
    actor_on_n2(head)
    head.say(b"d1", CreateActor(2, actor_spec(b"a2", b"d1", cpus=2)))
    head.forget()
    head.lose_node(b"n2")
    told = [word.status for word in head.take(b"d1") if isinstance(word, ActorChanged)]
    assert [(one.actor_id, one.state) for one in told] == [(b"a1", ActorState.DEAD), (b"a2", ActorState.PENDING)]
    head.say(b"d1", CreateActor(3, actor_spec(b"a3", b"d1", cpus=2)))
    _reply, refused = head.take(b"d1")
    assert isinstance(refused, ActorChanged)
    assert refused.unplaceable == to_units({"CPU": 1})
    head.join_node(b"n3", 2)
    assert head.take_status(b"d1").state is ActorState.STARTING
    assert not head.tables.actors[b"a2"].is_stranded


def test_an_actor_that_waits_for_a_machine_can_be_killed(head: HeadScenario) -> None:
    actor_on_n2(head, max_restarts=-1)
    head.lose_node(b"n2")
    head.forget()
    head.say(b"d1", KillActor(b"a1"))
    changed = head.take_one(b"d1", ActorChanged)
    assert (changed.status.state, changed.status.is_stranded, changed.unplaceable) == (ActorState.DEAD, False, None)
    assert changed.status.death is not None
    assert changed.status.death.reason is LossReason.INTENDED


def test_an_actor_comes_back_elsewhere_or_is_dead_for_the_right_reason(head: HeadScenario) -> None:
    actor_on_n2(head, max_restarts=1)
    head.join_node(b"n3", 2)
    head.lose_node(b"n2")
    _, changed = head.take(b"d1")
    assert isinstance(changed, ActorChanged)
    assert changed.status.state is ActorState.RESTARTING
    assert changed.status.death is not None
    assert changed.status.death.reason is LossReason.NODE_LOST
    _, started = head.take(b"n3")
    assert isinstance(started, StartWorker)
    assert (started.actor is not None, started.incarnation) == (True, 1)
    head.actor_up(started.worker_id, node_id=b"n3", incarnation=1)
    head.forget()
    head.lose_node(b"n3")
    _, changed = head.take(b"d1")
    assert isinstance(changed, ActorChanged)
    assert changed.status.state is ActorState.DEAD
    assert changed.status.death is not None
    assert changed.status.death.detail == "the agent of machine 6e33 on host n3, process 100, ended"


def test_what_a_lost_worker_owned_is_ended(head: HeadScenario) -> None:
    """Leases, actors and objects of the session of a task that ran there."""
    lease = lease_on_n2(head)
    head.say(lease.worker_id, CreateActor(1, actor_spec(b"a2", lease.worker_id)))
    started = head.take_one(b"n1", StartWorker)
    head.actor_up(started.worker_id, b"a2")
    head.say(b"d1", WatchOwner(lease.worker_id))
    head.forget()
    head.lose_node(b"n2")
    assert OwnerLost(lease.worker_id) in head.take(b"d1")
    assert head.take(b"n1")[1:] == [
        KillWorker(
            started.worker_id,
            detail=f"worker {lease.worker_id.hex()}, which owned it, is gone",
            final=True,
        )
    ]
    assert (b"n1", lease.worker_id) in head.forgotten


def test_a_driver_on_a_lost_machine_is_gone(head: HeadScenario) -> None:
    head.say(b"d2", RegisterOwner("ipc://d2", is_driver=True, pid=5, node_id=b"n2"))
    head.say(b"d1", WatchOwner(b"d2"))
    head.forget()
    head.lose_node(b"n2")
    assert OwnerLost(b"d2") in head.take(b"d1")
    assert b"d2" not in head.tables.owners


def test_a_machine_is_lost_once_and_does_not_come_back(head: HeadScenario) -> None:
    head.lose_node(b"n2")
    head.forget()
    head.lose_node(b"n2")
    head.lose_node(b"n-never")
    assert isinstance(head.take_one(b"d1", NodeLost), NodeLost)
    head.forget()
    head.say(b"n2", RegisterNode("n2", to_units({"CPU": 2}), joins=True))
    head.expect(b"n2", LeaveSession())
    head.expect_silence()


def test_the_shell_waits_for_the_workers_whose_process_is_known(head: HeadScenario) -> None:
    lease = lease_on_n2(head)
    want(head, 2, CPU=1)
    assert nodes.workers_of(head.tables, b"n2") == {lease.worker_id: 7}
    assert nodes.workers_of(head.tables, b"n-never") == {}


# -- leaving -----------------------------------------------------------------------------------------------------------


def test_a_machine_leaves_when_its_tasks_are_done(head: HeadScenario) -> None:
    lease = lease_on_n2(head)
    head.say(b"n2", NodeLeaving(), NodeLeaving())
    head.expect(b"d1", ReclaimLease(lease.lease_id))
    head.expect_silence()
    want(head, 1, prefer=b"n2", CPU=1)
    assert isinstance(head.take_one(b"n1", StartWorker), StartWorker)
    head.say(b"d1", ReturnLease(lease.lease_id))
    head.expect(b"n2", KillWorker(lease.worker_id, detail="idle, and not needed"), LeaveSession())
    head.worker_dies(lease.worker_id, node_id=b"n2")
    head.forget()
    head.lose_node(b"n2")
    assert head.take_one(b"d1", NodeLost).detail == "machine 6e32 left the session, as it was told to"


def test_an_idle_machine_leaves_at_once(head: HeadScenario) -> None:
    actor_on_n2(head)
    head.say(b"n2", NodeLeaving())
    head.expect(b"n2", LeaveSession())
    head.expect_silence()


def test_nothing_is_started_on_a_machine_that_is_to_leave(head: HeadScenario) -> None:
    """What was about to be goes elsewhere; what fits nowhere else is refused."""
    want(head, 3, CPU=1)
    assert (len(head.take(b"n1")), len(head.take(b"n2"))) == (1, 2)
    head.join_node(b"n3", 2)
    head.say(b"n2", NodeLeaving())
    killed = head.take(b"n2")
    assert [type(word) for word in killed] == [KillWorker, KillWorker, LeaveSession]
    assert len(head.take(b"n3")) == 2
    assert isinstance(killed[0], KillWorker)
    head.worker_up(killed[0].worker_id, b"n2")  # it was up before the order to end it arrived
    head.say(b"d1", CreateActor(1, actor_spec(b"a1", b"d1", cpus=9)))
    assert head.take(b"d1")[-1].unplaceable == {"CPU": 20_000}  # type: ignore[attr-defined]


def test_a_worker_that_waits_for_what_it_has_started_keeps_its_machine(head: HeadScenario) -> None:
    lease = lease_on_n2(head)
    head.say(lease.worker_id, WantLeases(1, to_units({"CPU": 1}), 1, prefer=b"n1"))
    started = head.take_one(b"n1", StartWorker)
    head.worker_up(started.worker_id)
    nested = head.take_one(lease.worker_id, LeaseGranted)
    head.say(b"n2", NodeLeaving())
    head.say(b"d1", ReturnLease(lease.lease_id))
    assert head.take(b"n2") == []
    head.say(lease.worker_id, ReturnLease(nested.lease_id))
    assert [type(word) for word in head.take(b"n2")] == [KillWorker, LeaveSession]


# -- a head that was started again -------------------------------------------------------------------------------------


def restarted(*records: NodeRecord) -> HeadScenario:
    """The first machine is back with the driver d1, and names those that had joined."""
    head = HeadScenario(head_epoch=1)
    message = RegisterNode("n1", to_units({"CPU": 1}), drivers=(b"d1",), nodes=records)
    head.say(b"n1", message)
    return head


def back(head: HeadScenario, **fields: Any) -> None:
    head.say(b"d1", RegisterOwner("ipc://d1", is_driver=True, pid=1, **fields))


def test_the_head_hears_owners_when_every_machine_is_back() -> None:
    """What they ask for, or speak of, may be on any of them."""
    head = restarted(NodeRecord(b"n2", 100))
    assert head.watched == {b"n2": 100}
    back(head, held={b"a1": 1})
    want(head, b=1)
    head.say(b"d1", GetActor(5, "c", ""), DescribeCluster(6))
    head.expect_silence()
    assert not head.tables.is_settled
    spec = actor_spec(b"a1", b"d1", name="c")
    total = to_units({"CPU": 3, "b": 1})
    workers = (WorkerRecord(b"w9", 9, "ipc://w9", spec, 2),)
    head.say(b"n2", RegisterNode("n2", total, workers, pid=100, joins=True))
    assert [type(word) for word in head.take(b"n2")] == [NodeRegistered, StartWorker]
    words = head.take(b"d1")
    assert [type(word) for word in words] == [OwnerRegistered, ActorChanged, GetActorReply, ClusterReply]
    assert [node.node_id for node in words[-1].nodes] == [b"n1", b"n2"]  # type: ignore[attr-defined]
    assert not head.tables.is_settled, "the actor's worker may come"
    head.worker_up(b"w9", b"n2")
    assert head.tables.is_settled
    assert head.tables.actors[b"a1"].state is ActorState.ALIVE


def test_an_actor_that_comes_back_waits_for_a_machine_that_does() -> None:
    """Its worker died unheard on one machine, and only another has what it needs."""
    death = DeadWorker(b"w8", killed(), actor_spec(b"a1", b"d1", cpus=2, max_restarts=1))
    head = HeadScenario(head_epoch=1)
    known = (NodeRecord(b"n2", 100),)
    head.say(b"n1", RegisterNode("n1", to_units({"CPU": 1}), dead=(death,), nodes=known, drivers=(b"d1",)))
    back(head, held={b"a1": 1})
    head.expect_silence()
    head.say(b"n2", RegisterNode("n2", to_units({"CPU": 2}), pid=100, joins=True))
    assert [type(word) for word in head.take(b"n2")] == [NodeRegistered, StartWorker]


def test_an_actor_that_lives_on_a_machine_that_is_not_back_yet_gets_no_second_process() -> None:
    """An earlier process of it died on the first machine, which is back and has room."""
    spec = actor_spec(b"a1", b"d1", max_restarts=2)
    dead = DeadWorker(b"w8", killed(), spec)
    head = HeadScenario(head_epoch=1)
    known = (NodeRecord(b"n2", 100),)
    head.say(b"n1", RegisterNode("n1", to_units({"CPU": 1}), dead=(dead,), nodes=known, drivers=(b"d1",)))
    back(head, held={b"a1": 1})
    head.expect_silence()
    workers = (WorkerRecord(b"w9", 9, "ipc://w9", spec, 1),)
    head.say(b"n2", RegisterNode("n2", to_units({"CPU": 2}), workers, pid=100, joins=True))
    head.expect(b"n2", NodeRegistered(1))
    head.forget()
    head.worker_up(b"w9", b"n2")
    head.expect_silence()
    actor = head.tables.actors[b"a1"]
    assert (actor.state, actor.worker_id, actor.incarnation) == (ActorState.ALIVE, b"w9", 1)


def test_a_machine_that_ended_meanwhile_is_lost() -> None:
    head = restarted(NodeRecord(b"n2", 100), NodeRecord(b"n3", 0))
    assert not head.tables.is_settled
    back(head, leased=(b"w9",))
    head.expect(b"n1", NodeLost(b"n3", was_gone(b"n3")))
    head.expect_silence()
    head.lose_node(b"n2")
    registered, *lost, worker_lost = head.take(b"d1")
    assert isinstance(registered, OwnerRegistered)
    assert lost == [NodeLost(node_id, was_gone(node_id)) for node_id in (b"n3", b"n2")]
    assert isinstance(worker_lost, WorkerLost)
    assert head.tables.is_settled
    assert len(lost_events(head)) == 2


def was_gone(node_id: bytes) -> str:
    return f"machine {ids.short(node_id)} was not there any more when the control plane had been started again"


def test_stores_that_come_back_hear_of_machines_that_are_lost() -> None:
    head = restarted(NodeRecord(b"n2", 100), NodeRecord(b"n3", 0))
    head.say(b"n2", RegisterNode("n2", to_units({"CPU": 3}), pid=100, joins=True))
    head.expect(b"n2", NodeLost(b"n3", was_gone(b"n3")), NodeRegistered(1))


def test_a_machine_that_does_not_come_back_is_given_up() -> None:
    """Owners are heard before the head settles: they have come back long ago."""
    head = restarted(NodeRecord(b"n2", 100))
    back(head, held={b"a1": 1})
    want(head, b=1)
    head.expect_silence()
    head.pass_time(SETTLE_S)
    registered, lost, refused, denied = head.take(b"d1")
    assert isinstance(registered, OwnerRegistered)
    assert lost == NodeLost(b"n2", was_gone(b"n2"))
    assert {type(refused), type(denied)} == {ShapeUnplaceable, ActorChanged}
    assert b"d1" in head.tables.owners
    head.add_driver(b"d2")
    head.say(b"d2", WatchEvents())
    events = head.take_one(b"d2", EventsReported).events
    details = [event.detail for event in events if event.kind is EventKind.HEAD_RESTARTED]
    assert details == ["machine 6e32 did not come back within 10 s"]


def test_a_further_machine_that_is_back_first_does_not_open_the_head() -> None:
    """Only the first machine's agent can say for whom to wait."""
    head = HeadScenario(head_epoch=1)
    head.say(b"n3", RegisterNode("n3", to_units({"CPU": 4}), pid=300, joins=True))
    back(head, held={b"a1": 1})
    head.expect(b"n3", NodeRegistered(1))
    head.expect_silence()
    assert not head.tables.is_settled
    known = (NodeRecord(b"n2", 100), NodeRecord(b"n3", 300))
    head.say(b"n1", RegisterNode("n1", to_units({"CPU": 1}), nodes=known))
    assert head.tables.awaited_nodes == {b"n2"}
    assert [*head.tables.nodes] == [b"n1", b"n3"], "the first machine is the first again"
    head.join_node(b"n2")
    assert len(head.take(b"d1")) == 2


def test_the_loss_of_a_machine_says_nothing_of_what_had_begun() -> None:
    """A caller treats all that it had sent there as begun."""
    from ipyactors.wire.deaths import last_started

    assert last_started(Death(LossReason.NODE_LOST, started={b"d1": 3}), b"d1") is None
    assert last_started(Death(LossReason.KILLED, started={b"d1": 3}), b"d1") == 3
    assert last_started(Death(LossReason.KILLED), b"d1") == 0
