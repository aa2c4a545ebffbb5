"""A notebook's session without its driver: the head says what lives in it, the agent decides whether it goes on."""

from __future__ import annotations

import os

import pytest

from ipyactors.ground.config import AgentConfig, SessionPaths
from ipyactors.node import membership, reactor
from ipyactors.node.lifelines import Lifelines
from ipyactors.wire.head_messages import KillActor, RegisterOwner
from ipyactors.wire.node_messages import (
    AttachProcess,
    DetachProcess,
    HoldsDetached,
    KillWorker,
    RegisterNode,
    StopSession,
    WorkerRecord,
)
from tests.support.head_scenario import HeadScenario, actor_spec
from tests.unit.test_node_membership import Machine

DRIVER, NEXT = b"dfirst--", b"dnext---"

# -- the head ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def head() -> HeadScenario:
    head = HeadScenario()
    head.add_node()
    head.add_driver()
    return head


def test_the_agent_hears_when_there_are_detached_actors_and_when_there_are_none(head: HeadScenario) -> None:
    head.create_actor(b"a0")
    head.expect_silence()
    workers = []
    for actor_id in (b"a1", b"a2"):
        workers.append(head.create_actor(actor_id, detached=True))
        head.forget()
    for actor_id, worker_id in zip((b"a1", b"a2"), workers, strict=True):
        head.say(b"d1", KillActor(actor_id, True, "kill()"))
        head.take_one(b"n1", KillWorker)
        head.worker_dies(worker_id)
        head.expect(b"n1", *([] if actor_id == b"a1" else [HoldsDetached(holds_any=False)]))
        head.forget()


def test_it_hears_before_the_creator_hears_that_the_actor_is_there(head: HeadScenario) -> None:
    head.create_actor(detached=True, name="c")
    assert head.tables.is_detached_told is True


def test_a_head_that_was_started_again_says_what_has_changed_when_it_has_settled() -> None:
    for had_any in (True, False):
        head = HeadScenario(head_epoch=1)
        record = WorkerRecord(b"w1", 7, "ipc://w1", actor_spec(b"a1", b"d1", detached=True))
        head.say(b"n1", RegisterNode("n1", {"CPU": 20_000}, (record,), holds_detached=had_any))
        head.expect(b"n1")
        head.say(b"w1", RegisterOwner("ipc://w1", is_driver=False, pid=7))
        head.expect(b"n1", *([] if had_any else [HoldsDetached(holds_any=True)]))


# -- the agent ---------------------------------------------------------------------------------------------------------


class Notebook(Machine):
    """The first machine of a notebook's session, with the driver that has started it."""

    def __init__(self, *, joins: bool = False) -> None:
        super().__init__(joins=joins)
        self.state.outlives_driver = True
        self.hears(DRIVER, AttachProcess(is_driver=True, pid=70))

    def holds_detached(self, holds_any: bool) -> list[tuple[object, ...]]:
        reactor.on_holds_detached(self.state, self.out, HoldsDetached(holds_any), 1.0)
        return self.took()

    def loses_driver(self) -> list[tuple[object, ...]]:
        membership.on_watched_gone(self.state, self.out, DRIVER)
        self.took()
        reactor.on_driver_gone(self.state, self.out, 1.0)
        return self.took()


@pytest.fixture
def deserted() -> Notebook:
    notebook = Notebook()
    assert notebook.holds_detached(True) == []
    assert notebook.loses_driver() == []
    return notebook


def test_a_session_without_detached_actors_ends_with_its_driver() -> None:
    assert Notebook().loses_driver()[-1] == ("stop", False)


def test_nor_does_that_of_a_script_outlive_its_driver() -> None:
    script = Notebook()
    script.state.outlives_driver = False
    script.holds_detached(True)
    assert script.loses_driver()[-1] == ("stop", False)


def test_a_deserted_session_ends_with_its_last_detached_actor(deserted: Notebook) -> None:
    assert deserted.holds_detached(False)[-1] == ("stop", False)


@pytest.mark.parametrize("how", ["leaves", "ends"])
def test_a_driver_that_has_come_back_keeps_it_until_it_goes(deserted: Notebook, how: str) -> None:
    deserted.hears(NEXT, AttachProcess(is_driver=True, pid=71))
    assert deserted.holds_detached(False) == []
    reactor.on_driver_gone(deserted.state, deserted.out, 1.0)
    assert deserted.took() == [], "a second sign of the first driver's end changes nothing"
    if how == "leaves":
        assert deserted.hears(NEXT, DetachProcess())[-1] == ("stop", False)
    else:
        membership.on_watched_gone(deserted.state, deserted.out, NEXT)
        assert deserted.took()[-1] == ("stop", False)


def test_a_driver_that_has_come_back_may_leave_it_to_its_actors_or_end_it(deserted: Notebook) -> None:
    deserted.hears(NEXT, AttachProcess(is_driver=True, pid=71))
    assert ("stop", False) not in deserted.hears(NEXT, DetachProcess())
    assert deserted.hears(NEXT, StopSession())[-1] == ("stop", False)


def test_a_further_machine_leaves_it_to_the_first_one() -> None:
    further = Notebook(joins=True)
    assert further.loses_driver() == []
    reactor.on_told_to_stop(further.state, further.out, 1.0)
    assert further.took()[-1] == ("stop", False)


# -- the alive pipe ----------------------------------------------------------------------------------------------------


@pytest.fixture
def pipe() -> tuple[Lifelines, int]:
    reading, writing = os.pipe()
    paths = SessionPaths("s", "/state", "/run")
    return Lifelines(AgentConfig(paths, b"n" * 8, {}), reading), writing


def test_the_end_of_the_pipe_is_the_end_of_the_driver_and_is_told_once(pipe: tuple[Lifelines, int]) -> None:
    lifelines, writing = pipe
    watched = len(lifelines.descriptors)
    assert not lifelines.look().is_driver_gone
    os.close(writing)
    ends = lifelines.look()
    assert (ends.is_driver_gone, ends.is_told_to_stop) == (True, False)
    assert len(lifelines.descriptors) == watched - 1, "it would be readable for ever"
    assert not lifelines.look().is_driver_gone


def test_a_byte_is_the_word_of_a_driver_that_lives(pipe: tuple[Lifelines, int]) -> None:
    lifelines, writing = pipe
    os.write(writing, b"\0")
    os.close(writing)
    ends = lifelines.look()
    assert (ends.is_driver_gone, ends.is_told_to_stop) == (False, True)
    assert lifelines.look().is_driver_gone
