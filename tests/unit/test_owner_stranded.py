"""Tasks for which there was a machine, and is none now: they wait for another, and say so; new ones fail at once."""

from __future__ import annotations

import pytest

from ipyactors.ground.exceptions import PlacementError, WorkerCrashedError
from ipyactors.owner import outbox, reactor, rebuild, stranded
from ipyactors.owner.actors import ActorClient
from ipyactors.owner.calls import CallState, TaskCall
from ipyactors.wire.events import EventKind
from ipyactors.wire.head_messages import ActorChanged, ShapeUnplaceable, WantLeases
from ipyactors.wire.specs import ActorState, ActorStatus
from ipyactors.wire.store_messages import CopiesFound, FindCopies, NodeLost
from ipyactors.wire.worker_messages import OutputWritten, RunTask
from tests.support.owner_scenario import OwnerScenario
from tests.support.rebuild_world import World

W1 = b"wworker1"
FAR = {"far": 10_000}
HOME_HAS = {"CPU": 20_000}
REFUSED = ShapeUnplaceable(1, FAR, HOME_HAS)


@pytest.fixture
def owner() -> OwnerScenario:
    return OwnerScenario()


def wishes(owner: OwnerScenario) -> list[tuple[int, bool]]:
    """Return what was wished since the last time: how many leases, and whether that waits for a machine."""
    sent = [message for _, message in owner.out.sent if isinstance(message, WantLeases)]
    owner.out.sent.clear()
    return [(wish.count, wish.waits) for wish in sent]


def interrupted(owner: OwnerScenario) -> TaskCall:
    """Return a task whose worker has died with its machine, and that is to be tried again."""
    call = owner.task(demand=FAR)
    owner.grant(1, W1)
    owner.hear(b"head", NodeLost(b"n-far---", "gone"))
    owner.lose(1, W1, started=1)
    return call


def test_a_retry_waits_for_a_machine_and_goes_on_when_one_has_joined(owner: OwnerScenario) -> None:
    call = interrupted(owner)
    assert wishes(owner)[-1] == (1, False)
    owner.hear(b"head", REFUSED)
    assert call.state is CallState.QUEUED
    assert wishes(owner) == [(1, True)]
    assert owner.out.events[-1] == (EventKind.TASK_STRANDED, "f", 1)
    owner.grant(2, b"wworker2")
    (run,) = [message for _, message in owner.out.sent if isinstance(message, RunTask)]
    assert run.attempt == 1
    owner.answer(b"wworker2", run.seq, value=1)
    assert call.entries[0].failure is None


def test_a_new_task_fails_at_once_and_those_that_wait_go_on_waiting(owner: OwnerScenario) -> None:
    waiting = interrupted(owner)
    owner.hear(b"head", REFUSED)
    owner.out.sent.clear()
    new = owner.task(demand=FAR)
    assert wishes(owner) == [(2, False)], "the head is asked whether there is a machine for it"
    owner.hear(b"head", REFUSED)
    assert isinstance(new.entries[0].failure, PlacementError)
    assert waiting.state is CallState.QUEUED
    assert wishes(owner) == [(1, True)]
    kinds = [kind for kind, _, _ in owner.out.events]
    assert kinds.count(EventKind.TASK_STRANDED) == 1


def test_what_was_queued_while_there_was_a_machine_waits_too(owner: OwnerScenario) -> None:
    first = owner.task(demand=FAR, max_retries=0)
    queued = owner.task(demand=FAR)
    other = owner.task("g")
    waiting = owner.task(demand=FAR, deps=(other.entries[0],))
    owner.grant(1, W1)
    owner.hear(b"head", NodeLost(b"n-far---", "gone"))
    owner.lose(1, W1, started=1)
    owner.hear(b"head", REFUSED)
    assert isinstance(first.entries[0].failure, WorkerCrashedError)
    assert queued.state is CallState.QUEUED
    owner.grant(2, b"wworker2", shape_id=2)
    owner.answer(b"wworker2", 1)
    assert waiting.state is CallState.QUEUED
    assert wishes(owner)[-1] == (2, True)


def test_a_rebuild_waits_for_a_machine() -> None:
    world = World()
    (made,) = world.call("make", demand=FAR)
    world.drive()
    world.state.leases.leases.clear()
    world.state.leases.by_id[1].leases.clear()
    world.lose(made)
    rebuild.on_missing(world.state, world.out, made)
    (question,) = world.take(FindCopies)
    world.is_paused = True
    world.hear(b"head", CopiesFound(question.request_id, {}))
    world.hear(b"head", REFUSED)
    assert not made.done
    assert list(stranded.reasons(world.state, [made])) == [
        "make waits for a machine: it asks for 1 far, and the machine that comes nearest has 2 CPU"
    ]
    world.is_paused = False
    world.drive()
    assert world.get(made) == made.object_id


def test_a_warning_is_given_once_and_not_at_once(owner: OwnerScenario) -> None:
    interrupted(owner)
    owner.hear(b"head", REFUSED)
    assert owner.out.shown == []
    assert stranded.next_warning_s(owner.state) == owner.now_s + stranded.WARN_AFTER_S
    owner.now_s += stranded.WARN_AFTER_S
    owner.settle()
    owner.settle()
    text = (
        "f waits for a machine: it asks for 1 far, and the machine that comes nearest has 2 CPU. "
        "Nothing is lost; it runs when one has come.\n"
    )
    assert owner.out.shown == [(OutputWritten(0, "ipyactors", 2, text), 0)]
    assert stranded.next_warning_s(owner.state) is None


WAITS = "needs 1 far; no machine has that much, and the one that comes nearest has 2 CPU"


def changed(client: ActorClient, *, is_stranded: bool, state: ActorState = ActorState.RESTARTING) -> ActorChanged:
    waiting_for = WAITS if is_stranded else ""
    return ActorChanged(ActorStatus(client.actor_id, state, 1, waiting_for=waiting_for, is_stranded=is_stranded))


def test_calls_of_an_actor_that_waits_say_so_once_and_not_at_once(owner: OwnerScenario) -> None:
    client = owner.actor()
    owner.hear(b"head", changed(client, is_stranded=True), changed(client, is_stranded=True))
    owner.now_s += stranded.WARN_AFTER_S
    owner.settle()
    assert owner.out.shown == [], "nothing here waits for it"
    assert stranded.next_warning_s(owner.state) is None
    calls = [owner.method(client, settle=False), owner.method(client)]
    who = f"{calls[0].name} (and 1 more)"
    text = f"{who} waits for a machine: actor Counter 'c' {WAITS}. It goes on when one has come.\n"
    assert owner.out.shown == [(OutputWritten(0, "ipyactors", 2, text), 0)]
    assert stranded.next_warning_s(owner.state) is None
    assert list(stranded.reasons(owner.state, [call.entries[0] for call in calls])) == [
        f"{calls[0].name} waits for a machine: actor Counter 'c' {WAITS}"
    ]


def test_an_actor_that_has_found_a_machine_is_not_warned_of(owner: OwnerScenario) -> None:
    client = owner.actor()
    call = owner.method(client)
    owner.hear(b"head", changed(client, is_stranded=True))
    assert stranded.next_warning_s(owner.state) == owner.now_s + stranded.WARN_AFTER_S
    owner.hear(b"head", changed(client, is_stranded=False))
    assert stranded.next_warning_s(owner.state) is None
    owner.now_s += stranded.WARN_AFTER_S
    owner.settle()
    assert owner.out.shown == []
    assert not list(stranded.reasons(owner.state, call.entries))


def test_an_actor_that_nothing_here_needs_is_forgotten(owner: OwnerScenario) -> None:
    client = owner.actor()
    owner.hear(b"head", changed(client, is_stranded=True))
    outbox.count_handle(owner.state, client, -1)
    owner.settle()
    assert not owner.state.stranded


def test_what_waits_for_what_waits_says_so(owner: OwnerScenario) -> None:
    call = interrupted(owner)
    behind = owner.task("g", deps=(call.entries[0],))
    owner.hear(b"head", REFUSED)
    (reason,) = stranded.reasons(owner.state, [behind.entries[0]])
    assert reason.startswith("f waits for a machine")
    assert not list(stranded.reasons(owner.state, []))


def test_what_is_cancelled_waits_no_longer(owner: OwnerScenario) -> None:
    call = interrupted(owner)
    owner.hear(b"head", REFUSED)
    owner.out.sent.clear()
    reactor.cancel(owner.state, owner.out, call.entries[0], force=False, recursive=True)
    owner.settle()
    assert wishes(owner) == [(0, False)]
    assert not owner.state.leases.stranded
    owner.now_s += stranded.WARN_AFTER_S
    owner.settle()
    assert owner.out.shown == []
