"""Who belongs to the session, as agents decide it: further machines, drivers that come and go, and leaving."""

from __future__ import annotations

from typing import Any

import pytest

from ipyactors.ground import ids
from ipyactors.ground.config import SessionPaths
from ipyactors.node import membership, reactor
from ipyactors.wire.node_messages import (
    AttachProcess,
    DetachProcess,
    HeadRestarted,
    JoinSession,
    NodeLeaving,
    NodeRecord,
    ProcessGone,
    RegisterNode,
    SessionJoined,
    SessionStopping,
    StartWorker,
    StopSession,
)
from ipyactors.wire.store_messages import SegmentGone, SegmentHere
from tests.unit.test_node_reactor import Recorder

NODE, OTHER, DRIVER, W1 = b"n-------", b"nother--", b"dcame---", b"w1------"
LINK = ids.link_id_of(OTHER)
PATHS = SessionPaths("s", "/state", "/run")


class Machine:
    """An agent's decisions: say what happens, take what was done."""

    def __init__(self, *, joins: bool) -> None:
        self.out = Recorder()
        self.state = reactor.NodeState(PATHS, NODE, "here", {"CPU": 20_000}, 10, pid=50, joins=joins)

    def took(self) -> list[tuple[Any, ...]]:
        self.state.check_invariants()
        deeds, self.out.deeds = self.out.deeds, []
        return deeds

    def hears(self, peer: bytes, message: Any) -> list[tuple[Any, ...]]:
        membership.on_process_message(self.state, self.out, peer, message, 1.0)
        return self.took()

    def hears_from_first(self, message: Any) -> list[tuple[Any, ...]]:
        membership.on_first_machine_message(self.state, self.out, message, 1.0)
        return self.took()

    def greeting(self, **fields: Any) -> tuple[str, RegisterNode]:
        drivers = fields.pop("drivers", ())
        return "head", RegisterNode(
            "here",
            {"CPU": 20_000},
            drivers=drivers,
            address=PATHS.agent_address,
            pid=50,
            joins=self.state.joins,
            **fields,
        )


@pytest.fixture
def first() -> Machine:
    machine = Machine(joins=False)
    membership.on_started(machine.state, machine.out, 1.0)
    assert machine.took() == [machine.greeting(), ("ready",)]
    return machine


@pytest.fixture
def further() -> Machine:
    """It has joined, and the head has welcomed it."""
    machine = Machine(joins=True)
    membership.on_started(machine.state, machine.out, 1.0)
    assert machine.took() == []
    assert machine.hears_from_first(SessionJoined(2)) == [machine.greeting()]
    membership.on_registered(machine.state, machine.out)
    assert machine.took() == [("ready",)]
    return machine


# -- the first machine -------------------------------------------------------------------------------------------------


def test_every_head_hears_of_the_machines_that_have_joined(first: Machine) -> None:
    assert first.hears(LINK, JoinSession(OTHER, 60)) == [("process", LINK, SessionJoined(0))]
    assert first.out.watched == {LINK: 60}
    reactor.on_head_lost(first.state, first.out, 1.0)
    assert first.took() == [
        ("start_head", 1),
        first.greeting(nodes=(NodeRecord(OTHER, 60),)),
        ("process", LINK, HeadRestarted(1)),
    ]


def test_who_joins_after_the_head_was_started_again_is_told_its_number(first: Machine) -> None:
    reactor.on_head_lost(first.state, first.out, 1.0)
    first.took()
    assert first.hears(LINK, JoinSession(OTHER, 60)) == [("process", LINK, SessionJoined(1))]


def test_what_a_machine_leaves_behind_is_cleared_up_once(first: Machine) -> None:
    first.hears(LINK, JoinSession(OTHER, 60))
    membership.on_watched_gone(first.state, first.out, LINK)
    membership.on_watched_gone(first.state, first.out, LINK)
    assert first.took() == [("clear_up", OTHER)]
    reactor.on_head_lost(first.state, first.out, 1.0)
    assert first.took() == [("start_head", 1), first.greeting(nodes=(NodeRecord(OTHER, 0),))]
    reactor.on_head_lost(first.state, first.out, 1.0)
    assert first.took() == [("start_head", 2), first.greeting()], "the head before has told everybody"


def test_further_machines_are_told_that_the_session_ends(first: Machine) -> None:
    first.hears(LINK, JoinSession(OTHER, 60))
    reactor.on_driver_gone(first.state, first.out, 1.0)
    assert first.took() == [("process", LINK, SessionStopping("the driver is gone")), ("stop", False)]
    assert first.hears(b"jthird--", JoinSession(b"nthird--", 61)) == [
        ("process", b"jthird--", SessionStopping("the driver is gone"))
    ]


@pytest.mark.parametrize("how", ["leaves", "ends"])
def test_a_driver_that_came_goes_and_the_session_goes_on(first: Machine, how: str) -> None:
    """Any head hears of it, for the one that was told may have died before it acted."""
    assert first.hears(DRIVER, AttachProcess(is_driver=True, pid=70)) == []
    assert first.out.watched == {DRIVER: 70}
    if how == "leaves":
        deeds = first.hears(DRIVER, DetachProcess())
        assert first.out.watched == {}
    else:
        membership.on_watched_gone(first.state, first.out, DRIVER)
        deeds = first.took()
    assert deeds == [("head", ProcessGone(DRIVER))]
    assert first.hears(DRIVER, DetachProcess()) == [] if how == "ends" else True
    reactor.on_head_lost(first.state, first.out, 1.0)
    assert first.took() == [("start_head", 1), first.greeting(), ("head", ProcessGone(DRIVER))]


def test_a_worker_cannot_detach_itself(first: Machine) -> None:
    first.hears(W1, AttachProcess(is_driver=False, pid=71))
    first.out.watched[W1] = 71
    assert first.hears(W1, DetachProcess()) == []
    assert W1 in first.state.processes


# -- a further machine -------------------------------------------------------------------------------------------------


def test_it_passes_the_news_of_another_head_on(further: Machine) -> None:
    further.hears(W1, AttachProcess(is_driver=False, pid=71))
    assert further.hears_from_first(HeadRestarted(3)) == [
        further.greeting(),
        ("process", W1, HeadRestarted(3)),
    ]
    assert further.hears_from_first(HeadRestarted(3)) == []


def test_it_ends_with_the_session(further: Machine) -> None:
    assert further.hears_from_first(SessionStopping("the driver is gone")) == [("stop", False)]


def test_it_ends_with_the_first_machines_agent(further: Machine) -> None:
    membership.on_session_over(further.state, further.out)
    assert further.took() == [("stop", False)]
    assert "first machine is gone" in further.state.stopping


def test_nobody_joins_a_machine_that_has_joined_itself(further: Machine) -> None:
    ((_, link, word),) = further.hears(LINK, JoinSession(OTHER, 60))
    assert (link, type(word)) == (LINK, SessionStopping)


def test_its_own_driver_ends_it(further: Machine) -> None:
    assert further.hears(DRIVER, StopSession()) == [("stop", False)]


# -- leaving -----------------------------------------------------------------------------------------------------------


def test_a_machine_that_is_told_to_end_leaves_in_good_order(further: Machine) -> None:
    """It says so to any head, until it is told to go; what other processes own is fetched from it first."""
    reactor.on_terminated(further.state, further.out, 1.0)
    assert further.took() == [("head", NodeLeaving())]
    assert further.hears_from_first(HeadRestarted(3)) == [further.greeting(), ("head", NodeLeaving())]
    reactor.on_start_worker(further.state, further.out, StartWorker(W1), 1.0)
    further.took()
    mine, ones, others = W1 + b"1" * 12, DRIVER + b"1" * 12, DRIVER + b"2" * 12
    membership.on_leave(further.state, further.out, [mine, ones, others])
    assert further.took() == [("move_away", [ones, others])]
    assert further.hears_from_first(SegmentHere(ones)) == []
    assert further.hears_from_first(SegmentGone(others, "no room")) == [("stop", False)]


def test_an_empty_machine_leaves_at_once(further: Machine) -> None:
    reactor.on_terminated(further.state, further.out, 1.0)
    further.took()
    membership.on_leave(further.state, further.out, [])
    assert further.took() == [("move_away", []), ("stop", False)]


def test_a_second_signal_ends_it_at_once(further: Machine) -> None:
    reactor.on_terminated(further.state, further.out, 1.0)
    further.took()
    reactor.on_terminated(further.state, further.out, 1.0)
    assert further.took() == [("stop", False)]


def test_a_machine_that_was_given_up_goes(further: Machine) -> None:
    membership.on_leave(further.state, further.out, [DRIVER + b"1" * 12])
    assert further.took() == [("stop", True)]
