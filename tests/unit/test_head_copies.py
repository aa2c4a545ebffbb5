"""Where segments are, and that they are to be removed: what the head passes on between owners and stores."""

from __future__ import annotations

import pytest

from ipyactors.ground.quantities import to_units
from ipyactors.wire.node_messages import NodeRecord, ProcessGone, RegisterNode
from ipyactors.wire.specs import Location
from ipyactors.wire.store_messages import (
    CopiesFound,
    FindCopies,
    ForgetSegments,
    LookForSegments,
    NodeLost,
    ObjectsClaimed,
    SegmentsFound,
)
from tests.support.head_scenario import HeadScenario

#: Process ids have eight bytes, and begin the ids of what the process owns.
DRIVER, OTHER = b"d1------", b"d2------"
ONE, TWO = DRIVER + b"1" * 12, DRIVER + b"2" * 12


@pytest.fixture
def head() -> HeadScenario:
    head = HeadScenario()
    head.add_node(b"n1", 1)
    head.join_node(b"n2", 1)
    head.join_node(b"n3", 1)
    head.add_driver(DRIVER)
    head.add_driver(OTHER)
    head.forget()
    return head


def asked(head: HeadScenario, node_id: bytes) -> LookForSegments:
    return head.take_one(node_id, LookForSegments)


def place(node_id: bytes) -> Location:
    return Location(node_id, f"ipc://{node_id.decode()}")


def test_every_machine_is_asked_and_the_answer_names_all_that_have_it(head: HeadScenario) -> None:
    head.say(DRIVER, FindCopies(7, (ONE, TWO)))
    questions = {node_id: asked(head, node_id) for node_id in (b"n1", b"n2", b"n3")}
    assert {question.segment_ids for question in questions.values()} == {(ONE, TWO)}
    head.say(b"n3", SegmentsFound(questions[b"n3"].request_id, (ONE,)))
    head.say(b"n1", SegmentsFound(questions[b"n1"].request_id, ()))
    head.expect_silence()
    head.say(b"n2", SegmentsFound(questions[b"n2"].request_id, (ONE,)))
    head.expect(DRIVER, CopiesFound(7, {ONE: (place(b"n3"), place(b"n2"))}))
    head.say(b"n2", SegmentsFound(questions[b"n2"].request_id, (TWO,)))
    head.expect_silence()


def test_two_questions_are_kept_apart(head: HeadScenario) -> None:
    head.say(DRIVER, FindCopies(7, (ONE,)))
    first = {node_id: asked(head, node_id) for node_id in (b"n1", b"n2", b"n3")}
    head.say(OTHER, FindCopies(7, (TWO,)))
    second = {node_id: asked(head, node_id) for node_id in (b"n1", b"n2", b"n3")}
    for node_id in (b"n1", b"n2", b"n3"):
        head.say(node_id, SegmentsFound(second[node_id].request_id, ()))
    head.expect(OTHER, CopiesFound(7, {}))
    for node_id in (b"n1", b"n2", b"n3"):
        head.say(node_id, SegmentsFound(first[node_id].request_id, (ONE,)))
    assert len(head.take_one(DRIVER, CopiesFound).locations[ONE]) == 3


def test_a_machine_that_is_lost_need_not_answer_and_has_nothing(head: HeadScenario) -> None:
    head.say(DRIVER, FindCopies(7, (ONE, TWO)))
    questions = {node_id: asked(head, node_id) for node_id in (b"n1", b"n2", b"n3")}
    head.say(b"n1", SegmentsFound(questions[b"n1"].request_id, ()))
    head.say(b"n2", SegmentsFound(questions[b"n2"].request_id, (ONE, TWO)))
    head.lose_node(b"n2")
    head.take(DRIVER)
    head.say(b"n3", SegmentsFound(questions[b"n3"].request_id, (ONE,)))
    head.expect(DRIVER, CopiesFound(7, {ONE: (place(b"n3"),)}))


def test_the_last_machine_to_answer_may_be_lost_instead(head: HeadScenario) -> None:
    head.say(DRIVER, FindCopies(7, (ONE,)))
    for node_id in (b"n1", b"n3"):
        head.say(node_id, SegmentsFound(asked(head, node_id).request_id, ()))
    head.lose_node(b"n2")
    lost, found = head.take(DRIVER)
    assert isinstance(lost, NodeLost)
    assert found == CopiesFound(7, {})


def test_a_restarted_head_asks_when_all_machines_are_back_or_gone() -> None:
    head = HeadScenario(head_epoch=1)
    known = (NodeRecord(b"n2", 100), NodeRecord(b"n3", 300))
    head.say(b"n1", RegisterNode("n1", to_units({"CPU": 1}), nodes=known, drivers=(DRIVER,)))
    head.add_driver(DRIVER)
    head.say(DRIVER, FindCopies(7, (ONE,)))
    head.join_node(b"n2", 1)
    head.expect_silence()
    head.lose_node(b"n3")
    head.take(DRIVER)
    number = head.take(b"n1")[-1].request_id  # type: ignore[attr-defined]
    assert number > 1_000_000, "an answer to the head before is not taken for one to this"
    head.say(b"n1", SegmentsFound(number, ()))
    head.say(b"n2", SegmentsFound(number, (ONE,)))
    head.expect(DRIVER, CopiesFound(7, {ONE: (place(b"n2"),)}))


def test_nobody_is_answered_who_is_gone(head: HeadScenario) -> None:
    head.say(DRIVER, FindCopies(7, (ONE,)))
    questions = {node_id: asked(head, node_id) for node_id in (b"n1", b"n2", b"n3")}
    head.say(b"n1", ProcessGone(DRIVER))
    for node_id, question in questions.items():
        head.say(node_id, SegmentsFound(question.request_id, (ONE,)))
    head.expect_silence()
    assert not head.tables.searches


def test_every_store_forgets_an_owner_that_is_gone(head: HeadScenario) -> None:
    head.say(b"n1", ProcessGone(DRIVER))
    head.say(b"n1", ProcessGone(DRIVER))
    head.say(OTHER, ObjectsClaimed(DRIVER, ()))
    assert head.forgotten == [(node_id, DRIVER) for node_id in (b"n1", b"n2", b"n3")]


def test_an_owner_has_its_own_segments_removed_everywhere(head: HeadScenario) -> None:
    theirs = OTHER + b"3" * 12
    head.say(DRIVER, ForgetSegments((ONE, theirs, TWO)))
    for node_id in (b"n1", b"n2", b"n3"):
        head.expect(node_id, ForgetSegments((ONE, TWO)))
    head.say(DRIVER, ForgetSegments((theirs,)))
    head.expect_silence()
