"""The head asks everybody, and answers when all have answered, or are gone, or it is late."""

from __future__ import annotations

from ipyactors.ground import ids
from ipyactors.head.census import ANSWER_S
from ipyactors.wire.census_messages import (
    CensusReply,
    ObjectKind,
    ObjectRecord,
    ObjectsReported,
    ObjectState,
    ProcessRecord,
    ReportObjects,
    ReportStore,
    SegmentRecord,
    StoreReported,
    TakeCensus,
)
from ipyactors.wire.head_messages import OwnerLeaving, RegisterOwner
from ipyactors.wire.node_messages import ProcessGone
from tests.support.head_scenario import HeadScenario

VISITOR = b"v1"


def started() -> HeadScenario:
    """A machine, a driver, and an actor of its on a worker."""
    head = HeadScenario()
    head.add_node()
    head.add_driver()
    head.create_actor()
    head.forget()
    return head


def ask(head: HeadScenario, asker: bytes = VISITOR, request_id: int = 7) -> int:
    """Somebody asks for a census; return the number under which everybody else is asked."""
    head.say(asker, TakeCensus(request_id, at_most=5))
    number = head.take_one(b"n1", ReportStore).census_id
    for owner_id in (b"d1", b"w1"):
        head.expect(owner_id, ReportObjects(number, 5))
    head.expect_silence()
    return number


def put(object_id: bytes) -> ObjectRecord:
    return ObjectRecord(object_id, ObjectKind.PUT, "", 0, ObjectState.READY, 10)


def test_everybody_is_asked_and_the_answers_are_put_together() -> None:
    head = started()
    number = ask(head)
    from_driver = ObjectsReported(number, (put(b"o1"),))
    from_worker = ObjectsReported(number, ())
    from_store = StoreReported(number, (SegmentRecord(b"o1", 10),), 10, 100)
    head.say(b"d1", from_driver)
    head.say(b"n1", from_store)
    head.expect_silence()
    head.say(b"w1", from_worker)
    reply = head.take_one(VISITOR, CensusReply)
    assert reply.request_id == 7
    assert reply.objects == {b"d1": from_driver, b"w1": from_worker}
    assert reply.stores == {b"n1": from_store}
    assert [node.node_id for node in reply.nodes] == [b"n1"]
    assert reply.processes == (
        ProcessRecord(b"d1", is_driver=True, pid=1, node_id=b""),
        ProcessRecord(b"w1", is_driver=False, pid=7, node_id=b"n1", runs=f"Counter {ids.short(b'a1')}"),
    )
    assert reply.silent == ()
    head.expect_silence()
    assert not head.tables.censuses


def test_a_member_may_ask_and_is_asked_itself() -> None:
    head = started()
    head.say(b"d1", TakeCensus(3))
    asked, *rest = head.take(b"d1")
    assert isinstance(asked, ReportObjects)
    assert not rest
    number = asked.census_id
    for owner_id in (b"d1", b"w1"):
        head.say(owner_id, ObjectsReported(number, ()))
    head.say(b"n1", StoreReported(number, ()))
    assert head.take_one(b"d1", CensusReply).request_id == 3


def test_who_does_not_answer_in_time_is_named() -> None:
    head = started()
    number = ask(head)
    head.say(b"d1", ObjectsReported(number, ()))
    assert head.turn() <= ANSWER_S
    head.pass_time(ANSWER_S / 2)
    head.expect_silence()
    head.pass_time(ANSWER_S / 2)
    reply = head.take_one(VISITOR, CensusReply)
    assert reply.silent == (b"n1", b"w1")
    head.say(b"w1", ObjectsReported(number, (put(b"late"),)))
    head.say(b"n1", StoreReported(number, ()))
    head.expect_silence()


def test_who_is_gone_is_not_waited_for() -> None:
    head = started()
    number = ask(head)
    head.say(b"n1", StoreReported(number, ()))
    head.say(b"d1", ObjectsReported(number, ()))
    head.worker_dies(b"w1")
    reply = head.take_one(VISITOR, CensusReply)
    assert reply.silent == ()
    assert list(reply.objects) == [b"d1"]


def test_what_somebody_who_has_left_had_said_stays_in() -> None:
    head = started()
    number = ask(head)
    head.say(b"w1", ObjectsReported(number, (put(b"o2"),)))
    head.worker_dies(b"w1")
    head.take(b"d1")
    head.say(b"d1", ObjectsReported(number, ()))
    head.say(b"n1", StoreReported(number, ()))
    reply = head.take_one(VISITOR, CensusReply)
    assert set(reply.objects) == {b"d1", b"w1"}


def test_two_censuses_at_a_time_are_two() -> None:
    head = started()
    first, second = ask(head, b"v1", 1), ask(head, b"v2", 1)
    assert first != second
    for owner_id in (b"d1", b"w1"):
        head.say(owner_id, ObjectsReported(second, ()))
    head.say(b"n1", StoreReported(second, ()))
    head.take_one(b"v2", CensusReply)
    head.pass_time(ANSWER_S)
    assert head.take_one(b"v1", CensusReply).silent == (b"d1", b"n1", b"w1")


def test_a_report_that_nobody_asked_for_changes_nothing() -> None:
    head = started()
    head.say(b"d1", ObjectsReported(99, ()))
    head.say(b"n1", StoreReported(99, ()))
    head.say(b"v1", ObjectsReported(99, ()))
    head.expect_silence()


def test_an_asker_that_is_gone_is_answered_into_the_void() -> None:
    head = started()
    head.say(b"d1", TakeCensus(1))
    head.take(b"d1")
    head.say(b"d1", OwnerLeaving())
    head.forget()
    head.pass_time(ANSWER_S)
    assert not head.tables.censuses


def test_a_process_that_registers_meanwhile_is_not_waited_for() -> None:
    head = started()
    number = ask(head)
    head.say(b"d2", RegisterOwner("ipc://d2", is_driver=True, pid=2, node_id=b"n1"))
    head.take(b"d2")
    for owner_id in (b"d1", b"w1"):
        head.say(owner_id, ObjectsReported(number, ()))
    head.say(b"n1", StoreReported(number, ()))
    reply = head.take_one(VISITOR, CensusReply)
    assert ProcessRecord(b"d2", is_driver=True, pid=2, node_id=b"n1") in reply.processes
    assert reply.silent == ()


# -- after the head was started again ------------------------------------------------------------------------------


def restarted() -> tuple[HeadScenario, int]:
    """A new head that was asked by a driver that has yet to hear of it. Its machine has answered, under this number."""
    head = HeadScenario(head_epoch=1)
    head.add_node(b"n1", 2, drivers=(b"d1",))
    head.forget()
    head.say(b"d1", TakeCensus(3, at_most=5))
    number = head.take_one(b"n1", ReportStore).census_id
    head.say(b"n1", StoreReported(number, ()))
    head.expect_silence()
    return head, number


def test_who_comes_back_later_is_asked_then() -> None:
    head, number = restarted()
    head.say(b"d1", RegisterOwner("ipc://d1", is_driver=True, pid=1, node_id=b"n1"))
    assert head.take(b"d1")[-1] == ReportObjects(number, 5)
    report = ObjectsReported(number, (put(b"o1"),))
    head.say(b"d1", report)
    reply = head.take_one(b"d1", CensusReply)
    assert reply.objects == {b"d1": report}
    assert reply.silent == ()


def test_who_does_not_come_back_in_time_is_named() -> None:
    head, _ = restarted()
    head.pass_time(ANSWER_S)
    assert head.take_one(b"d1", CensusReply).silent == (b"d1",)


def test_who_ends_instead_of_coming_back_is_not_waited_for() -> None:
    head, _ = restarted()
    head.say(b"n1", ProcessGone(b"d1"))
    assert head.take_one(b"d1", CensusReply).silent == ()
