"""Faults that somebody has ordered, as the head keeps them: with the actor, through its processes and its own."""

from __future__ import annotations

import signal

import pytest

from ipyactors.head.fault_table import NEXT_PROCESS_WITHIN_S
from ipyactors.wire.chaos_messages import (
    ArmFaults,
    ChaosActed,
    ChaosNoted,
    ChaosReply,
    ClearFaults,
    DisarmFaults,
    EndNode,
    InjectFault,
    ListFaults,
)
from ipyactors.wire.chaos_words import Act, Deed, Moment, Order, Progress, Report
from ipyactors.wire.events import Event, EventKind
from ipyactors.wire.head_messages import (
    ClusterReply,
    CreateActor,
    DescribeCluster,
    EventsReported,
    KillActor,
    RegisterOwner,
    WatchEvents,
)
from ipyactors.wire.node_messages import (
    DeadWorker,
    DieNow,
    ProcessGone,
    RegisterNode,
    SignalWorker,
    StartWorker,
    WorkerRecord,
    WorkerSignalled,
)
from ipyactors.wire.specs import Death, LossReason
from tests.support.head_scenario import HeadScenario, actor_spec, killed

D, N, A = b"d1", b"n1", b"a1"


@pytest.fixture
def head() -> HeadScenario:
    scenario = HeadScenario()
    scenario.add_node(cpus=8)
    scenario.add_driver()
    scenario.forget()
    return scenario


def order(deed: Deed = Deed.KILL, moment: Moment = Moment.BEFORE, **fields: object) -> Order:
    fields.setdefault("signal", signal.SIGKILL if deed is Deed.KILL else 0)
    return Order(0, deed, moment, A, "Counter", **fields)  # type: ignore[arg-type]


def the(head: HeadScenario, kind: type, peer: bytes = D) -> object:
    [found] = [message for message in head.take(peer) if isinstance(message, kind)]
    return found


def ordered(head: HeadScenario, worker_id: bytes, one: Order) -> Order:
    """The driver orders something, and the worker knows of it; returns the order with its number."""
    head.say(D, InjectFault(1, one))
    arm = head.take_one(worker_id, ArmFaults)
    head.expect_silence()
    head.say(worker_id, ChaosNoted(arm.ticket))
    reply = head.take_one(D, ChaosReply)
    assert reply == ChaosReply(1, "", arm.progress)
    return arm.progress[0].order


def left(head: HeadScenario, said: tuple[Progress, ...] | None = None) -> tuple[Progress, ...]:
    """What is left, as the head says; its actor's process says what it knows, or that it knows ``said``."""
    known = head.tables.faults.left_for(A) if said is None else said
    head.say(D, ListFaults(9))
    worker_id = head.tables.actors[A].worker_id if A in head.tables.actors else b""
    for message in head.take(worker_id):
        assert isinstance(message, ArmFaults), message
        assert message.progress == ()
        head.say(worker_id, ChaosNoted(message.ticket, known))
    reply = the(head, ChaosReply)
    assert isinstance(reply, ChaosReply)
    return reply.progress


def injected(head: HeadScenario) -> list[Event]:
    head.say(D, WatchEvents())
    events = [event for message in head.take(D) if isinstance(message, EventsReported) for event in message.events]
    return [event for event in events if event.injected]


def test_who_orders_is_answered_when_the_process_knows_of_it(head: HeadScenario) -> None:
    worker_id = head.create_actor(A, max_restarts=-1)
    one = ordered(head, worker_id, order(nth=3))
    assert one.order_id > 0
    assert left(head) == (Progress(one),)


def test_what_is_left_goes_to_the_next_process_as_it_is_forked_and_what_was_done_does_not(head: HeadScenario) -> None:
    worker_id = head.create_actor(A, max_restarts=-1)
    once, twice = ordered(head, worker_id, order()), ordered(head, worker_id, order(times=2, nth=4))
    act = Act(once, 1, 5.0, "Counter.add", is_deadly=True)
    report = Report((Progress(twice, 3),), (act,))
    head.worker_dies(worker_id, killed(injected=True, detail="injected before Counter.add", faults=report))
    started = the(head, StartWorker, N)
    assert isinstance(started, StartWorker)
    assert started.faults == (Progress(twice, 3),)
    assert left(head) == (Progress(twice, 3),)
    kinds = [event.kind for event in injected(head)]
    assert kinds == [
        EventKind.INJECTED, EventKind.WORKER_DIED, EventKind.ACTOR_DIED, EventKind.ACTOR_RESTARTING
    ]  # fmt: skip


def test_a_frozen_process_is_said_to_be_for_as_long_as_it_is(head: HeadScenario) -> None:
    def busy_with() -> str:
        head.say(D, DescribeCluster(5))
        reply = the(head, ClusterReply)
        assert isinstance(reply, ClusterReply)
        return reply.actors[0].busy_with

    worker_id = head.create_actor(A, max_restarts=-1)
    one = ordered(head, worker_id, order(Deed.FREEZE, Moment.DURING, seconds=2.0))
    head.say(worker_id, ChaosActed((Act(one, 1, head.clock.wall(), "Counter.add"),)))
    head.clock.advance(0.5)
    words = "its process is frozen by an injection (chaos.freeze for 2 s during Counter.add; 1.5 s left)"
    assert busy_with() == words
    head.clock.advance(1.5)
    assert busy_with() == ""


def test_what_was_told_and_is_in_the_report_too_is_one_event_and_counts_once(head: HeadScenario) -> None:
    worker_id = head.create_actor(A, max_restarts=-1)
    one = ordered(head, worker_id, order(Deed.SLOW, Moment.DURING, seconds=1.0, times=2))
    act = Act(one, 1, 5.0, "Counter.add")
    head.say(worker_id, ChaosActed((act,)))
    assert left(head) == (Progress(one, 0, 1),)
    head.worker_dies(worker_id, killed(faults=Report((Progress(one, 2, 1),), (act,))))
    assert left(head) == (Progress(one, 2, 1),)
    assert [event.detail for event in injected(head)] == ["takes 1 s more for Counter.add"]


def test_what_a_process_says_of_its_orders_is_what_is_left(head: HeadScenario) -> None:
    worker_id = head.create_actor(A, max_restarts=-1)
    one = ordered(head, worker_id, order(nth=5))
    assert left(head, (Progress(one, 3),)) == (Progress(one, 3),)


def test_a_death_that_nobody_injected_is_not_marked(head: HeadScenario) -> None:
    worker_id = head.create_actor(A, max_restarts=-1)
    ordered(head, worker_id, order(nth=9))
    head.worker_dies(worker_id)
    assert injected(head) == []


def test_who_orders_something_of_a_process_that_is_being_started_is_answered_when_it_knows(head: HeadScenario) -> None:
    """Its first calls come from elsewhere, and may be there before an order that nobody waits for."""
    worker_id = head.create_actor(A, max_restarts=-1)
    head.worker_dies(worker_id)
    started = the(head, StartWorker, N)
    assert isinstance(started, StartWorker)
    assert started.faults == ()
    head.forget()
    head.say(D, InjectFault(1, order()), InjectFault(2, order(nth=2)))
    head.expect_silence()
    head.say(started.worker_id, RegisterOwner("ipc://w", is_driver=False, pid=7))
    armed = [message for message in head.take(started.worker_id) if isinstance(message, ArmFaults)]
    assert [one.progress for one in armed] == [head.tables.faults.left_for(A)] * 2
    head.forget()
    head.say(started.worker_id, *(ChaosNoted(one.ticket) for one in armed))
    assert [reply.request_id for reply in head.take(D) if isinstance(reply, ChaosReply)] == [1, 2]
    assert left(head)


def test_one_for_a_process_that_dies_before_it_is_there_is_for_the_next(head: HeadScenario) -> None:
    worker_id = head.create_actor(A, max_restarts=-1)
    head.worker_dies(worker_id)
    started = the(head, StartWorker, N)
    assert isinstance(started, StartWorker)
    head.say(D, InjectFault(1, order()))
    head.forget()
    head.worker_dies(started.worker_id)
    again = the(head, StartWorker, N)
    assert isinstance(again, StartWorker)
    assert again.faults == head.tables.faults.left_for(A) != ()
    assert [reply.request_id for reply in head.take(D) if isinstance(reply, ChaosReply)] == [1]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSEGV])
def test_a_kill_now_is_answered_when_everybody_knows_of_the_death(head: HeadScenario, how: int) -> None:
    worker_id = head.create_actor(A, max_restarts=-1)
    head.say(D, InjectFault(1, order(moment=Moment.NOW, signal=how)))
    assert head.take_one(N, SignalWorker) == SignalWorker(worker_id, how)
    head.expect_silence()
    head.worker_dies(worker_id, killed(injected=True))
    _changed, reply = head.take(D)
    assert isinstance(reply, ChaosReply)
    assert reply.error == ""
    assert left(head) == ()
    assert injected(head)[0].detail == signal.Signals(how).name


def test_what_may_not_end_the_process_is_answered_when_its_agent_has_done_it(head: HeadScenario) -> None:
    worker_id = head.create_actor(A, max_restarts=-1)
    for one in (
        order(moment=Moment.NOW, signal=signal.SIGTERM),
        order(Deed.FREEZE, Moment.NOW, seconds=2.0),
    ):
        head.say(D, InjectFault(1, one))
        sent = head.take_one(N, SignalWorker)
        assert (sent.worker_id, sent.seconds) == (worker_id, one.seconds)
        head.expect_silence()
        head.say(N, WorkerSignalled(sent.ticket))
        assert head.take_one(D, ChaosReply).error == ""


def test_nothing_can_be_done_to_who_is_not_there(head: HeadScenario) -> None:
    head.say(D, InjectFault(1, order()))
    assert head.take_one(D, ChaosReply).error == "Counter is not known to this session (any more)"
    worker_id = head.create_actor(A, max_restarts=-1)
    head.worker_dies(worker_id)
    head.forget()
    head.say(D, InjectFault(2, order(moment=Moment.NOW)))
    assert head.take_one(D, ChaosReply).error == "Counter is coming back from a death, and has no process just now"
    worker_id = head.create_actor(b"a2")
    head.worker_dies(worker_id)
    head.forget()
    head.say(D, InjectFault(3, Order(0, Deed.KILL, Moment.BEFORE, b"a2", "Counter", signal=9)))
    assert head.take_one(D, ChaosReply).error == "Counter is dead: its process was killed by SIGKILL"
    head.expect_silence()


def test_what_is_to_come_now_waits_for_the_process_that_is_being_started(head: HeadScenario) -> None:
    worker_id = head.create_actor(A, max_restarts=-1)
    head.worker_dies(worker_id)
    started = the(head, StartWorker, N)
    assert isinstance(started, StartWorker)
    head.forget()
    head.say(D, InjectFault(1, order(moment=Moment.NOW), waits=True))
    head.pass_time(NEXT_PROCESS_WITHIN_S - 1.0)
    head.expect_silence()
    head.say(started.worker_id, RegisterOwner("ipc://w", is_driver=False, pid=7))
    assert head.take_one(N, SignalWorker) == SignalWorker(started.worker_id, signal.SIGKILL)
    head.pass_time(2.0)
    head.worker_dies(started.worker_id, killed(injected=True))
    assert [one.error for one in head.take(D) if isinstance(one, ChaosReply)] == [""]


def test_nobody_waits_for_ever_for_a_process_that_does_not_come(head: HeadScenario) -> None:
    head.create_actor(b"a2", cpus=8)
    head.say(D, CreateActor(1, actor_spec(A, D, cpus=8)))
    head.forget()
    head.say(D, InjectFault(1, order(moment=Moment.NOW), waits=True))
    assert head.turn() <= NEXT_PROCESS_WITHIN_S
    head.expect_silence()
    head.pass_time(NEXT_PROCESS_WITHIN_S)
    assert head.take_one(D, ChaosReply).error == "Counter waits for resources, and has no process just now"
    head.pass_time(1.0)
    head.expect_silence()


def test_who_waits_for_the_process_of_an_actor_hears_at_once_that_it_has_ended(head: HeadScenario) -> None:
    worker_id = head.create_actor(A, max_restarts=-1)
    head.worker_dies(worker_id)
    head.forget()
    head.say(D, InjectFault(1, order(moment=Moment.NOW), waits=True), KillActor(A))
    head.take(N)
    head.worker_dies(head.tables.actors[A].worker_id, Death(LossReason.INTENDED))
    words = [one.error for one in head.take(D) if isinstance(one, ChaosReply)]
    assert words == ["Counter is just ending"]


def test_an_order_that_is_cleared_waits_for_no_process(head: HeadScenario) -> None:
    worker_id = head.create_actor(A, max_restarts=-1)
    head.worker_dies(worker_id)
    head.forget()
    head.say(D, InjectFault(1, order(moment=Moment.NOW), waits=True), ClearFaults(2, A))
    replies = [one for one in head.take(D) if isinstance(one, ChaosReply)]
    assert [(one.request_id, one.error) for one in replies] == [(1, "Counter: the order was cleared"), (2, "")]


def test_orders_are_forgotten_with_their_actor(head: HeadScenario) -> None:
    worker_id = head.create_actor(A)
    ordered(head, worker_id, order(nth=9))
    head.worker_dies(worker_id)
    assert left(head) == ()


def test_who_clears_is_answered_when_the_process_knows_of_it(head: HeadScenario) -> None:
    worker_id = head.create_actor(A, max_restarts=-1)
    one = ordered(head, worker_id, order(nth=9))
    head.say(D, ClearFaults(2, A))
    ticket = head.take_one(worker_id, DisarmFaults).ticket
    head.expect_silence()
    head.say(worker_id, ChaosNoted(ticket))
    assert head.take_one(D, ChaosReply) == ChaosReply(2, "", (Progress(one),))
    head.worker_dies(worker_id, killed(faults=Report((Progress(one),))))  # it died before it knew, say
    started = the(head, StartWorker, N)
    assert isinstance(started, StartWorker)
    assert started.faults == ()


def test_who_waits_for_several_processes_is_answered_once(head: HeadScenario) -> None:
    first, second = head.create_actor(A, max_restarts=-1), head.create_actor(b"a2", max_restarts=-1)
    head.say(D, ClearFaults(2, all=True))
    tickets = {worker_id: head.take_one(worker_id, DisarmFaults).ticket for worker_id in (first, second)}
    head.say(first, ChaosNoted(tickets[first]))
    head.expect_silence()
    head.worker_dies(second)
    assert [one for one in head.take(D) if isinstance(one, ChaosReply)] == [ChaosReply(2)]


def test_those_for_tasks_go_with_the_process_that_counts_them(head: HeadScenario) -> None:
    head.add_driver(b"d2")
    head.say(b"d2", InjectFault(1, Order(0, Deed.KILL, Moment.DURING, subject="f", signal=9)))
    assert head.take_one(b"d2", ChaosReply).error == ""
    assert len(left(head)) == 1
    head.say(N, ProcessGone(b"d2"))
    assert left(head) == ()


def test_those_that_are_for_so_long_are_over_then(head: HeadScenario) -> None:
    worker_id = head.create_actor(A, max_restarts=-1)
    wall_s = head.clock.wall()
    ordered(head, worker_id, order(Deed.FILL_DISK, times=0, seconds=5.0, until_s=wall_s + 5))
    assert len(left(head)) == 1
    head.pass_time(6.0)
    assert left(head) == ()


def test_a_machine_that_is_killed_is_lost_as_injected_and_the_first_one_is_not_killed(head: HeadScenario) -> None:
    head.join_node(b"n2")
    head.forget()
    head.say(D, EndNode(1, N))
    assert "first one" in head.take_one(D, ChaosReply).error
    head.say(D, EndNode(2, b"n9"))
    assert "not there" in head.take_one(D, ChaosReply).error
    head.say(D, EndNode(3, b"n2"))
    assert head.take_one(b"n2", DieNow) == DieNow()
    head.expect_silence()
    head.lose_node(b"n2")
    assert [one.request_id for one in head.take(D) if isinstance(one, ChaosReply)] == [3]
    assert [event.kind for event in injected(head)] == [EventKind.INJECTED, EventKind.NODE_LOST]


def test_a_head_that_was_started_again_learns_from_a_death_what_is_left(head: HeadScenario) -> None:
    head = HeadScenario(head_epoch=1)
    one = Order(7, Deed.KILL, Moment.DURING, A, "Counter", signal=9, nth=4)
    spec = actor_spec(A, D, max_restarts=-1)
    head.add_node(N, 2, WorkerRecord(b"w9", 7, "ipc://w9", spec), drivers=(D,))
    head.add_driver(held={A: 1})
    head.worker_up(b"w9")
    head.turn()
    head.forget()
    head.worker_dies(b"w9", killed(faults=Report((Progress(one, 2),))))
    started = the(head, StartWorker, N)
    assert isinstance(started, StartWorker)
    assert started.faults == (Progress(one, 2),)


def test_the_restart_of_a_head_that_was_killed_on_purpose_is_marked() -> None:
    head = HeadScenario(head_epoch=1)
    spec = actor_spec(A, D, max_restarts=-1)
    one = Order(7, Deed.KILL, Moment.DURING, A, "Counter", signal=9, nth=4)
    death = Death(LossReason.KILLED, signal=9, faults=Report((Progress(one, 2),)))
    dead = DeadWorker(b"w8", death, spec)
    head.say(N, RegisterNode("n1", {"CPU": 20_000}, dead=(dead,), drivers=(D,), killed_head=True))
    head.add_driver(held={A: 1})
    head.turn()
    kinds = [event.kind for event in injected(head)]
    assert kinds == [EventKind.INJECTED, EventKind.HEAD_RESTARTED]
    assert left(head) == (Progress(one, 2),)


def test_a_head_that_was_started_again_says_what_is_left_when_everybody_is_back() -> None:
    head = HeadScenario(head_epoch=1)
    one = Order(7, Deed.KILL, Moment.DURING, A, "Counter", signal=9, nth=4)
    head.add_node(N, 2, WorkerRecord(b"w9", 7, "ipc://w9", actor_spec(A, D, max_restarts=-1)), drivers=(D,))
    head.add_driver(held={A: 1})
    head.forget()
    head.say(D, ListFaults(9), InjectFault(10, order(nth=8)))
    head.expect_silence()
    head.say(b"w9", RegisterOwner("ipc://w9", is_driver=False, pid=7))
    head.turn()
    asked, armed = (message for message in head.take(b"w9") if isinstance(message, ArmFaults))
    head.forget()
    head.say(b"w9", ChaosNoted(asked.ticket, (Progress(one, 2),)), ChaosNoted(armed.ticket, armed.progress))
    answers = {reply.request_id: reply for reply in head.take(D) if isinstance(reply, ChaosReply)}
    assert Progress(one, 2) in answers[9].progress
    assert answers[10] == ChaosReply(10, "", armed.progress)


def test_a_process_that_was_not_back_yet_when_its_order_was_cleared_learns_of_it() -> None:
    head = HeadScenario(head_epoch=1)
    one = Order(7, Deed.KILL, Moment.DURING, A, "Counter", signal=9, nth=4)
    head.add_node(N, 2, WorkerRecord(b"w9", 7, "ipc://w9", actor_spec(A, D, max_restarts=-1)), drivers=(D,))
    head.add_driver(held={A: 1})
    head.forget()
    head.say(D, ClearFaults(3, order_ids=(7,)))
    assert head.take_one(D, ChaosReply) == ChaosReply(3)
    head.say(b"w9", RegisterOwner("ipc://w9", is_driver=False, pid=7))
    asked = the(head, ArmFaults, b"w9")
    assert isinstance(asked, ArmFaults)
    assert asked.progress == ()
    head.forget()
    head.say(b"w9", ChaosNoted(asked.ticket, (Progress(one, 2),)))
    assert head.take_one(b"w9", DisarmFaults) == DisarmFaults(0, (7,))
    head.expect_silence()
    head.worker_dies(b"w9", killed(faults=Report((Progress(one, 2),))))
    started = the(head, StartWorker, N)
    assert isinstance(started, StartWorker)
    assert started.faults == ()


def test_what_was_done_counts_once_also_where_the_process_said_first_how_far_it_is(head: HeadScenario) -> None:
    worker_id = head.create_actor(A, max_restarts=-1)
    one = ordered(head, worker_id, order(Deed.SLOW, Moment.DURING, seconds=1.0, times=2))
    assert left(head, (Progress(one, 1, 1),)) == (Progress(one, 1, 1),)
    head.say(worker_id, ChaosActed((Act(one, 1, 5.0, "Counter.add"),)))
    assert left(head) == (Progress(one, 1, 1),)
