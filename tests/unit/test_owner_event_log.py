"""The driver's log when the head is started again: what that one tells once more is there once."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ipyactors.ground.clock import FakeClock
from ipyactors.ground.quantities import to_units
from ipyactors.owner import event_log
from ipyactors.owner.event_log import EventLog
from ipyactors.wire.chaos_messages import ChaosActed
from ipyactors.wire.chaos_words import Act, Deed, Moment, Order, Report
from ipyactors.wire.events import Event, EventKind
from ipyactors.wire.head_messages import ActorInitFailed, ActorReady, CreateActor, EventsReported, WatchEvents
from ipyactors.wire.node_messages import DeadWorker, NodeRecord, RegisterNode, StartWorker, WorkerRecord
from ipyactors.wire.specs import Death, LossReason, RemoteError
from tests.support.head_scenario import HeadScenario, actor_spec, killed
from tests.support.owner_scenario import OwnerScenario

OF_ACTORS = {kind for kind in EventKind if kind.value.startswith("actor")}


@pytest.fixture
def log() -> EventLog:
    return EventLog(FakeClock())


def watched(head_epoch: int = 0) -> HeadScenario:
    """A head that the driver d1 watches."""
    head = HeadScenario(head_epoch)
    head.add_node()
    head.add_driver()
    head.say(b"d1", WatchEvents())
    return head


def greet(head: HeadScenario, dead: DeadWorker) -> None:
    """The agent of n1 tells of a death that was before this head."""
    head.say(b"n1", RegisterNode("n1", to_units({"CPU": 2}), dead=(dead,)))


def hear(log: EventLog, head: HeadScenario) -> None:
    """The driver takes in all that the head has reported."""
    for word in head.take(b"d1"):
        if isinstance(word, EventsReported):
            log.extend(word.events)


def told(events: Sequence[Event]) -> list[tuple[EventKind, int]]:
    return [(event.kind, event.incarnation) for event in events if event.kind in OF_ACTORS]


def last_of_all(incarnation: int) -> list[tuple[EventKind, int]]:
    return [(EventKind.ACTOR_DIED, incarnation), (EventKind.ACTOR_DEAD, incarnation)]


def test_a_death_is_there_once_however_many_heads_tell_of_it(log: EventLog) -> None:
    old = watched()
    spec = actor_spec(b"a1", b"d1")
    old.say(b"d1", CreateActor(1, spec))
    worker_id = old.tables.actors[b"a1"].worker_id
    old.actor_up(worker_id)
    death = killed(worker_id=worker_id)
    old.worker_dies(worker_id, death)
    hear(log, old)
    heard: list[Event] = []
    log.subscribe(heard.append)
    for epoch in (1, 2):
        new = watched(epoch)
        greet(new, DeadWorker(worker_id, death, spec))
        hear(log, new)
    assert told(log.events()) == [(EventKind.ACTOR_CREATED, 0), (EventKind.ACTOR_ALIVE, 0), *last_of_all(0)]
    assert not [event for _, event in log.take_unheard() if event.actor_id], "listeners hear of it once too"


def test_a_death_that_no_head_has_told_of_is_told_by_the_next(log: EventLog) -> None:
    new = watched(1)
    greet(new, DeadWorker(b"w9", killed(worker_id=b"w9", incarnation=3), actor_spec(b"a1", b"d1", max_restarts=3)))
    hear(log, new)
    assert told(log.events()) == last_of_all(3)


def test_each_death_of_an_actor_that_comes_back_is_one_of_its_own(log: EventLog) -> None:
    """The next process has begun before the head was killed, and dies after it was."""
    old = watched()
    spec = actor_spec(b"a1", b"d1", max_restarts=1)
    old.create_actor(max_restarts=1)
    first = old.tables.actors[b"a1"].worker_id
    old.worker_dies(first)
    second = old.take_one(b"n1", StartWorker).worker_id
    hear(log, old)
    new = HeadScenario(head_epoch=1)
    new.add_node(b"n1", 2, WorkerRecord(second, 9, "ipc://w", spec, 1))
    new.add_driver(held={b"a1": 1})
    new.say(b"d1", WatchEvents())
    new.worker_dies(second)
    hear(log, new)
    died = [(kind, number) for kind, number in told(log.events()) if kind is not EventKind.ACTOR_RESTARTING]
    assert died[-3:] == [(EventKind.ACTOR_DIED, 0), *last_of_all(1)]


def test_whose_constructor_raised_has_no_death_besides(log: EventLog) -> None:
    """Its process is ended afterwards, which the next head takes for a death of it."""
    old = watched()
    spec = actor_spec(b"a1", b"d1")
    old.say(b"d1", CreateActor(1, spec))
    worker_id = old.tables.actors[b"a1"].worker_id
    old.worker_up(worker_id)
    old.say(worker_id, ActorInitFailed(b"a1", 0, RemoteError("ValueError", "no", "")))
    hear(log, old)
    new = watched(1)
    greet(new, DeadWorker(worker_id, Death(LossReason.INTENDED, worker_id=worker_id, was_leaving=True), spec))
    hear(log, new)
    assert told(log.events()) == [(EventKind.ACTOR_CREATED, 0), (EventKind.ACTOR_DEAD, 0)]


def test_an_actor_that_was_starting_is_alive_when_it_says_so_to_the_new_head(log: EventLog) -> None:
    """The new head takes for alive whatever has a process, so that calls go there; people are told when it is."""
    old = watched()
    spec = actor_spec(b"a1", b"d1")
    old.say(b"d1", CreateActor(1, spec))
    worker_id = old.tables.actors[b"a1"].worker_id
    hear(log, old)
    new = HeadScenario(head_epoch=1)
    new.add_node(b"n1", 2, WorkerRecord(worker_id, 9, "ipc://w", spec))
    new.add_driver(held={b"a1": 1})
    new.say(b"d1", WatchEvents())
    new.worker_up(worker_id)
    hear(log, new)
    assert told(log.events()) == [(EventKind.ACTOR_CREATED, 0)]
    new.say(worker_id, ActorReady(b"a1", 0, "from the checkpoint after call 7", 2, 0.5))
    new.say(worker_id, ActorReady(b"a1", 0))
    hear(log, new)
    assert told(log.events())[1:] == [(EventKind.ACTOR_RECOVERED, 0), (EventKind.ACTOR_ALIVE, 0)]


def test_a_machine_is_added_once_and_lost_once(log: EventLog) -> None:
    old = watched()
    old.join_node(b"n2")
    old.lose_node(b"n2")
    hear(log, old)
    new = HeadScenario(head_epoch=1)
    new.say(b"n1", RegisterNode("n1", to_units({"CPU": 2}), nodes=(NodeRecord(b"n2", 0),)))
    new.add_driver()
    new.say(b"d1", WatchEvents())
    hear(log, new)
    kinds = [event.kind for event in log.events() if event.node_id and not event.actor_id]
    assert kinds == [EventKind.NODE_ADDED, EventKind.NODE_ADDED, EventKind.NODE_LOST]


def test_an_injection_is_there_once_also_if_a_later_head_hears_of_it_with_a_death(log: EventLog) -> None:
    order = Order(7, Deed.SLOW, Moment.BEFORE, b"a1", "a", times=0)
    acts = (Act(order, 1, 5.0), Act(order, 2, 6.0))
    old = watched()
    spec = actor_spec(b"a1", b"d1")
    old.say(b"d1", CreateActor(1, spec))
    worker_id = old.tables.actors[b"a1"].worker_id
    old.actor_up(worker_id)
    old.say(worker_id, ChaosActed(acts[:1]))
    hear(log, old)
    new = watched(1)
    greet(new, DeadWorker(worker_id, killed(worker_id=worker_id, faults=Report((), acts)), spec))
    hear(log, new)
    injected = [event.wall_s for event in log.events() if event.kind is EventKind.INJECTED]
    assert injected == [5.0, 6.0], "the second one no head had told of"


def test_what_has_happened_is_remembered_for_so_long_and_no_longer(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_log, "_TOLD_AT_MOST", 2)
    ends = [Event(EventKind.ACTOR_DEAD, 1.0, actor_id=bytes([number])) for number in range(3)]
    log.extend((*ends, ends[2], ends[0]))
    assert [event.actor_id for event in log.events()] == [b"\0", b"\1", b"\2", b"\0"]


def test_what_is_known_later_is_told_of_when_and_where_it_was() -> None:
    owner, clock = OwnerScenario(), FakeClock(50.0)
    client = owner.actor()
    owner.alive(client, b"wworker1", 3)
    call = owner.method(client, "add", is_durable=True)
    log = EventLog(clock)
    log.record(EventKind.CALL_RETRY, call, 0.5, "was killed", None, 2, 10.0)
    call.interrupted = 1
    log.record(EventKind.CALL_ATTEMPT, call, 0.5, "")
    told = [(event.kind, event.wall_s, event.incarnation, event.attempt) for event in log.events()]
    assert told == [(EventKind.CALL_RETRY, 40.0, 2, 0), (EventKind.CALL_ATTEMPT, 50.0, 3, 1)]
