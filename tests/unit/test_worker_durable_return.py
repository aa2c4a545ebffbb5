"""A durable actor that comes back with a call that ends its process: what the head hears, and in which order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from ipyactors.wire.durable_messages import ConfirmReady, ConfirmReadyReply
from ipyactors.wire.head_messages import ActorReady
from ipyactors.wire.node_messages import StartWorker
from ipyactors.wire.specs import ActorState, Durability
from ipyactors.worker.durable import Back, DurableActor
from ipyactors.worker.hosting import HostedActor
from ipyactors.worker.main import Worker
from tests.support.head_scenario import HeadScenario

ACTOR = b"a1"


class Line:
    """The session of one process: what it tells is on its way until the head is asked, or it is lost with the process.

    That is the worst case: the head may hear of the death, by the agent, before it reads what the process has sent.
    """

    def __init__(self, head: HeadScenario, worker_id: bytes) -> None:
        self.head, self.worker_id = head, worker_id
        self.under_way: deque[Any] = deque()

    def repeat_to_head(self, message: Any) -> None:
        self.under_way.append(message)

    def ask_head(self, make: Callable[[int], Any]) -> Any:
        self.head.say(self.worker_id, *self.under_way, make(7))
        self.under_way.clear()
        replies = [one for one in self.head.take(self.worker_id) if getattr(one, "request_id", None) == 7]
        assert len(replies) == 1
        return replies[0]


class Returned(DurableActor):
    """One that is back; the call that it had found in the log has ended a process, or has not."""

    def __init__(self, session: Any, actor: HostedActor, *, is_in_danger: bool) -> None:
        self._session, self._actor, self._is_in_danger = session, actor, is_in_danger

    def bring_up(self, load: Any) -> Back:
        return Back("from its constructor", 0.0, 0)


def come_back(head: HeadScenario, worker_id: bytes, incarnation: int, *, is_in_danger: bool = True) -> Line:
    """Do in a process what it does before it runs its first call, with what it is made of."""
    session: Any = Line(head, worker_id)
    actor = HostedActor(head.tables.actors[ACTOR].spec, incarnation)
    durable = Returned(session, actor, is_in_danger=is_in_danger)
    process: Any = SimpleNamespace(_session=session, _actor=actor, _durable=durable, _load=None, _show_all=lambda: None)
    Worker._build_actor(process)
    return session  # type: ignore[no-any-return]


@pytest.fixture
def head() -> HeadScenario:
    scenario = HeadScenario()
    scenario.add_node(cpus=8)
    scenario.add_driver()
    scenario.create_actor(ACTOR, max_restarts=-1, durability=Durability("process"))
    scenario.forget()
    return scenario


def next_process(head: HeadScenario, worker_id: bytes) -> bytes:
    head.worker_dies(worker_id)
    started = [one for one in head.take(b"n1") if isinstance(one, StartWorker)]
    assert started, head.tables.actors[ACTOR].death
    head.worker_up(started[0].worker_id)
    return started[0].worker_id


def test_a_call_that_ends_each_process_is_not_taken_for_an_actor_that_cannot_come_back(head: HeadScenario) -> None:
    """The head counts deaths before the actor is back; the process counts those that the call is to blame for."""
    actor = head.tables.actors[ACTOR]
    worker_id = actor.worker_id
    for incarnation in range(1, actor.policy.intensity + 3):
        head.clock.advance(actor.policy.period_s)
        worker_id = next_process(head, worker_id)
        come_back(head, worker_id, incarnation)  # its first call ends it at once
        assert (actor.state, actor.unready) == (ActorState.ALIVE, 0)


def test_what_is_in_no_danger_asks_nothing(head: HeadScenario) -> None:
    worker_id = next_process(head, head.tables.actors[ACTOR].worker_id)
    session = come_back(head, worker_id, 1, is_in_danger=False)
    (ready,) = session.under_way
    assert isinstance(ready, ActorReady)


def test_the_head_that_is_asked_may_be_another_one_than_was_told(head: HeadScenario) -> None:
    """Both are repeated to it; the question alone is enough."""
    worker_id = next_process(head, head.tables.actors[ACTOR].worker_id)
    head.say(worker_id, ConfirmReady(3, ACTOR, 1))
    assert ConfirmReadyReply(3) in head.take(worker_id)
    assert head.tables.actors[ACTOR].state is ActorState.ALIVE


@pytest.mark.parametrize("incarnation", [0, 2])
def test_another_incarnation_is_answered_and_not_believed(head: HeadScenario, incarnation: int) -> None:
    worker_id = next_process(head, head.tables.actors[ACTOR].worker_id)
    head.say(worker_id, ConfirmReady(3, ACTOR, incarnation))
    assert head.take(worker_id)[-1] == ConfirmReadyReply(3)
    assert head.tables.actors[ACTOR].state is ActorState.RESTARTING
