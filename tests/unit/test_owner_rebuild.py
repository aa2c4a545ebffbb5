"""Lost data as its owner decides: copies, runs of the fewest calls, reasons where nothing helps."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from ipyactors.ground.exceptions import (
    ActorDiedError,
    ObjectFetchTimedOutError,
    ObjectLostError,
    ObjectReconstructionFailedActorResultError,
    ObjectReconstructionFailedBorrowedError,
    ObjectReconstructionFailedError,
    ObjectReconstructionFailedLineageDisabledError,
    ObjectReconstructionFailedLineageEvictedError,
    ObjectReconstructionFailedMaxAttemptsExceededError,
    ObjectReconstructionFailedPutError,
    ObjectReconstructionFailedRetriesDisabledError,
    ObjectReconstructionFailedTaskCancelledError,
    SessionError,
    StreamingGeneratorReplayInconsistentError,
    TaskCancelledError,
    WorkerCrashedError,
)
from ipyactors.ground.ids import object_id
from ipyactors.owner import census, outbox, reactor, rebuild
from ipyactors.owner.calls import CallState, PendingCall
from ipyactors.owner.lineage import RECORD_BYTES, Record
from ipyactors.owner.objects import Entry, SegmentToken
from ipyactors.owner.reconnect import on_head_restarted, registration
from ipyactors.owner.values import exception_of
from ipyactors.wire.census_messages import ReportObjects
from ipyactors.wire.events import EventKind
from ipyactors.wire.specs import Payload, RemoteError, Stored
from ipyactors.wire.store_messages import CopiesFound, FindCopies
from ipyactors.wire.worker_messages import (
    ArgumentsMissing,
    CallCancelled,
    CallMethod,
    CallSucceeded,
    FetchObject,
    ItemYielded,
    ObjectFailed,
    ObjectReady,
    ReportMissing,
    RunTask,
)
from tests.support.owner_scenario import OWNER, payload
from tests.support.rebuild_world import HOME, LARGE, NODES, SMALL, World, place

TWO = NODES[1]
ACTOR_WORKER = b"wactor01"


@pytest.fixture
def world() -> World:
    return World()


def made(world: World, name: str, *deps: Entry, **options: Any) -> Entry:
    """Return the one result of a task that has run."""
    (entry,) = world.call(name, *deps, **options)
    world.drive()
    assert entry.done
    world.take_ran()
    return entry


def sent_run(world: World) -> tuple[bytes, RunTask]:
    """Return the one task that was sent and is not answered, with its worker; a worker is granted if none has it."""
    if not any(isinstance(message, RunTask) for _, message in world.out.sent):
        world._grant(1)
    ((worker, run),) = [pair for pair in world.out.sent if isinstance(pair[1], RunTask)]
    world.out.sent.clear()
    return worker, run


def events(world: World) -> list[tuple[EventKind, str, str]]:
    seen, world.out.object_events = world.out.object_events, []
    return seen


# -- copies ----------------------------------------------------------------------------------------------------


def test_a_copy_is_used_and_nothing_runs(world: World) -> None:
    a = made(world, "a")
    home = a.stored.locations[0].node_id
    other = next(node for node in NODES if node != home)
    world.copy(a, other)
    world.lose(a, home)
    assert world.get(a) == a.object_id
    assert world.take_ran() == []
    assert a.stored.locations == (place(other),)
    assert events(world) == [(EventKind.OBJECT_LOST, "a", "a copy is used")]


def test_a_copy_that_was_found_is_freed_with_its_object(world: World) -> None:
    a = made(world, "a")
    world.copy(a, NODES[2])
    world.lose(a, HOME, TWO)
    world.get(a)
    segment = a.object_id
    del a
    assert world.segments[segment] == set()


def test_the_head_is_asked_once_however_many_miss_it(world: World) -> None:
    a = made(world, "a")
    world.lose(a)
    for _ in range(3):
        rebuild.on_missing(world.state, world.out, a)
    world.settle()
    (question,) = world.take(FindCopies)
    assert question.segment_ids == (a.object_id,)


def test_a_new_head_is_asked_again(world: World) -> None:
    a = made(world, "a")
    world.lose(a)
    rebuild.on_missing(world.state, world.out, a)
    (question,) = world.take(FindCopies)
    on_head_restarted(world.state, world.out, registration(world.state, 1))
    assert question in [message for _, message in world.out.sent]


def test_data_that_is_said_to_be_there_and_is_not_is_fetched_a_few_times(world: World) -> None:
    a, put = made(world, "a"), world.put()
    world.found_in_vain = True
    error = world.get(put)
    assert isinstance(error, ObjectFetchTimedOutError)
    assert f"node {HOME.hex()}" in str(error)
    rebuild.on_missing(world.state, world.out, a)
    for _ in range(rebuild.FETCHES_AT_MOST - 1):
        world.drive()
        assert world.take_ran() == []
        rebuild.on_missing(world.state, world.out, a)
    world.drive()
    assert world.take_ran() == ["a"]


# -- runs ------------------------------------------------------------------------------------------------------


def test_what_is_nowhere_is_made_again(world: World) -> None:
    a = made(world, "a")
    world.lose(a)
    assert world.get(a) == a.object_id
    assert world.take_ran() == ["a"]
    assert events(world) == [
        (EventKind.OBJECT_LOST, "a", "no machine has a copy: a runs again"),
        (EventKind.OBJECT_REBUILT, "a", ""),
    ]
    assert world.state.rebuilding == {}


def test_old_data_does_not_free_the_new(world: World) -> None:
    a = made(world, "a")
    world.nodes = [a.stored.locations[0].node_id]
    for _ in range(3):
        world.lose(a)
        world.get(a)
        assert world.has(a.stored)
    segment = a.object_id
    del a
    assert world.segments[segment] == set()


def test_arguments_that_are_gone_are_made_again_and_no_others(world: World) -> None:
    a, b = made(world, "a"), made(world, "b")
    c = made(world, "c", a, b)
    d = made(world, "d", c)
    del a, c
    world.lose(d)
    assert world.get(d) == d.object_id
    assert world.take_ran() == ["a", "c", "d"]
    assert [pair[:2] for pair in events(world)] == [
        (EventKind.OBJECT_LOST, "d"),
        (EventKind.OBJECT_LOST, "c"),
        (EventKind.OBJECT_LOST, "a"),
        (EventKind.OBJECT_REBUILT, "a"),
        (EventKind.OBJECT_REBUILT, "c"),
        (EventKind.OBJECT_REBUILT, "d"),
    ]


def test_intermediate_data_goes_again_after_a_run(world: World) -> None:
    a = made(world, "a")
    b = made(world, "b", a)
    segment = a.object_id
    del a
    world.lose(b)
    world.get(b)
    assert world.segments[segment] == set()


def test_a_small_argument_that_is_gone_is_made_again(world: World) -> None:
    a = made(world, "a", returns=(SMALL,))
    b = made(world, "b", a)
    c = made(world, "c", a)
    del a
    world.lose(b)
    world.lose(c)
    assert world.get(b) == b.object_id
    assert world.take_ran() == ["a", "b"]
    world.get(c)
    assert world.take_ran() == ["a", "c"]


def test_one_argument_serves_all_that_are_made_again_at_once(world: World) -> None:
    a = made(world, "a")
    b, c = made(world, "b", a), made(world, "c", a)
    del a
    world.lose(b)
    world.lose(c)
    for entry in (b, c):
        rebuild.on_missing(world.state, world.out, entry)
    world.drive()
    assert sorted(world.take_ran()) == ["a", "b", "c"]


def test_an_argument_that_is_missing_too_is_found_out_on_the_way(world: World) -> None:
    a = made(world, "a")
    b = made(world, "b", a)
    world.lose(a)
    world.lose(b)
    assert world.get(b) == b.object_id
    assert world.take_ran() == ["a", "b"]


def test_all_that_is_missing_is_known_before_anything_runs(world: World) -> None:
    a = made(world, "a")
    freed, there = made(world, "freed", a), made(world, "there", a)
    deeper = made(world, "deeper", there)
    last = made(world, "last", freed, deeper)
    del a, freed
    for entry in (there, deeper, last):
        world.lose(entry)
    assert world.get(last) == last.object_id
    assert sorted(world.take_ran()) == ["a", "deeper", "freed", "last", "there"], "a has run once for both"


def test_what_is_missing_beside_is_left_alone_if_nothing_can_run(world: World) -> None:
    a, put = made(world, "a"), world.put()
    b = made(world, "b", a, put)
    del put
    world.lose(a)
    world.lose(b)
    assert type(world.get(b)) is ObjectReconstructionFailedPutError
    assert world.take_ran() == []
    assert a.done
    assert world.get(a) == a.object_id


def test_the_same_argument_twice(world: World) -> None:
    a = made(world, "a")
    b = made(world, "b", a, a)
    del a
    world.lose(b)
    assert world.get(b) == b.object_id
    assert world.take_ran() == ["a", "b"]


def test_a_long_chain_is_made_again_or_fails_without_a_deep_stack(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.state, "check_invariants", lambda: None)  # looks at all of it after each step
    first = last = made(world, "f0")
    for index in range(1, 2000):
        last = made(world, f"f{index}", last)
    del first
    world.lose(last)
    assert world.get(last) == last.object_id
    assert world.take_ran() == [f"f{index}" for index in range(2000)]
    world.lose(last)
    world.raising.add("f0")
    assert isinstance(world.get(last), RemoteError)


def test_a_long_chain_of_calls_fails_with_its_first(world: World) -> None:
    (last,) = world.call("first")
    for _ in range(2000):
        (last,) = world.call("then", last)
    world.raising.add("first")
    world.drive()
    assert isinstance(last.failure, RemoteError)
    assert world.state.unanswered == 0


def test_what_nobody_needs_any_more_is_not_made_again(world: World) -> None:
    a = made(world, "a")
    world.lose(a)
    rebuild.on_missing(world.state, world.out, a)
    del a
    world.drive()
    assert world.take_ran() == []
    assert world.state.lineage.records() == []


def test_a_result_that_goes_while_it_is_made_again_is_freed(world: World) -> None:
    a = made(world, "a")
    segment = a.object_id
    world.lose(a)
    rebuild.on_missing(world.state, world.out, a)
    world.is_paused = True
    (_, question) = world.out.sent.pop()
    world.hear(b"head", CopiesFound(question.request_id, {}))
    del a, question
    world.is_paused = False
    world.drive()
    assert world.take_ran() == ["a"], "it was under way"
    assert world.segments[segment] == set()
    assert world.state.lineage.records() == []


# -- several results -------------------------------------------------------------------------------------------


def test_only_the_result_that_is_missing_is_replaced(world: World) -> None:
    first, second, small = world.call("f", returns=(LARGE, LARGE, SMALL))
    world.drive()
    world.take_ran()
    before = second.stored.locations
    world.lose(first)
    assert world.get(first) == first.object_id
    assert world.take_ran() == ["f"]
    assert second.stored.locations[: len(before)] == before
    assert world.get(second) == second.object_id
    assert world.get(small) == small.object_id
    segment = second.object_id
    del second
    assert world.segments[segment] == set(), "the further copy went too"


def test_results_of_one_call_that_are_all_missing_take_one_run(world: World) -> None:
    entries = world.call("f", returns=(LARGE, LARGE, LARGE))
    world.drive()
    world.take_ran()
    for entry in entries:
        world.lose(entry)
    assert [world.get(entry) for entry in entries] == [entry.object_id for entry in entries]
    assert world.take_ran() == ["f"]


def test_a_result_that_nobody_refers_to_is_not_kept(world: World) -> None:
    first, second = world.call("f", returns=(LARGE, LARGE))
    world.drive()
    dropped = second.object_id
    del second
    world.lose(first)
    world.get(first)
    assert world.segments[dropped] == set()


def test_a_result_found_missing_while_its_call_runs_again_joins_it(world: World) -> None:
    first, second = world.call("f", returns=(LARGE, LARGE))
    world.drive()
    world.take_ran()
    world.lose(first)
    rebuild.on_missing(world.state, world.out, first)
    (question,) = world.take(FindCopies)
    assert set(question.segment_ids) == {first.object_id, second.object_id}
    world.hear(b"head", CopiesFound(question.request_id, {second.object_id: second.stored.locations}))
    world.lose(second)
    rebuild.on_missing(world.state, world.out, second)
    world.drive()
    assert world.take_ran() == ["f"]
    assert world.get(second) == second.object_id


# -- retries ---------------------------------------------------------------------------------------------------


def test_each_run_uses_up_a_retry_until_none_is_left(world: World) -> None:
    a = made(world, "a", max_retries=2)
    for _ in range(2):
        world.lose(a)
        assert world.get(a) == a.object_id
    world.lose(a)
    error = world.get(a)
    assert isinstance(error, ObjectReconstructionFailedMaxAttemptsExceededError)
    assert error.reason == "max_attempts_exceeded"
    assert error.object_id == a.object_id.hex()
    assert "a has made it, and its retries are used up" in str(error)
    assert world.state.lineage.records() == []


def test_retries_of_the_first_run_count(world: World) -> None:
    world.crashes = 2
    a = made(world, "a", max_retries=2)
    world.lose(a)
    assert isinstance(world.get(a), ObjectReconstructionFailedMaxAttemptsExceededError)


def test_unlimited_retries(world: World) -> None:
    a = made(world, "a", max_retries=-1)
    for _ in range(10):
        world.lose(a)
        assert world.get(a) == a.object_id


def test_crashes_in_a_run_use_up_the_others_and_are_its_error(world: World) -> None:
    a = made(world, "a", max_retries=2)
    world.lose(a)
    world.crashes = 5
    error = world.get(a)
    assert isinstance(error, WorkerCrashedError)
    assert world.crashes == 3, "the run of the rebuild, and the one retry that was left"
    assert a.object_id.hex() in error.__notes__[0]


def test_a_run_that_raises_is_the_error_of_what_was_asked_for(world: World) -> None:
    a = made(world, "a")
    b = made(world, "b", a)
    del a
    world.lose(b)
    world.raising.add("a")
    failure = world.get(b)
    assert isinstance(failure, RemoteError)
    assert failure.message == "a"
    assert failure.notes[-1] == (
        f"The object {b.object_id.hex()} was there before, and is lost: its data is on no machine any more. To make it "
        "again, b would have to run again, but an argument of it has failed so."
    )
    error = exception_of(failure)
    assert error.__notes__ == ["attempt 2 of 4 · task a", *failure.notes]
    assert "a ran again, and has failed so" in error.__notes__[1]


def test_a_note_is_not_added_for_each_link_of_a_chain(world: World) -> None:
    last = made(world, "0")
    for number in range(1, 6):
        last = made(world, str(number), last)
    world.lose(last)
    world.raising.add("0")
    failure = world.get(last)
    assert isinstance(failure, RemoteError)
    assert ["0 ran again" in failure.notes[0], last.object_id.hex() in failure.notes[1]] == [True, True]
    assert len(failure.notes) == 2


# -- what cannot be made again ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"max_retries": 0}, ObjectReconstructionFailedRetriesDisabledError, "max_retries=0"),
        ({"lineage": False}, ObjectReconstructionFailedLineageDisabledError, "lineage=False"),
    ],
)
def test_a_task_that_says_no(world: World, options: dict[str, Any], kind: type, words: str) -> None:
    a = made(world, "a", **options)
    world.lose(a)
    error = world.get(a)
    assert type(error) is kind
    assert words in str(error)
    assert "Nothing was run again" in str(error)
    assert world.take_ran() == []


def test_what_was_put(world: World) -> None:
    put = world.put()
    world.lose(put)
    error = world.get(put)
    assert type(error) is ObjectReconstructionFailedPutError
    assert "put(value, copies=2)" in str(error)


def test_what_was_evicted() -> None:
    world = World(max_lineage_bytes=2 * RECORD_BYTES + 100)
    entries = [made(world, name) for name in "abc"]
    world.lose(entries[0])
    error = world.get(entries[0])
    assert type(error) is ObjectReconstructionFailedLineageEvictedError
    assert "max_lineage_bytes" in str(error)
    world.lose(entries[1])
    assert world.get(entries[1]) == entries[1].object_id


def test_nothing_runs_if_an_argument_cannot_be_had(world: World) -> None:
    put = world.put()
    a = made(world, "a")
    b = made(world, "b", a, put)
    c = made(world, "c", b)
    gone = put.object_id
    del a, b, put
    world.lose(c)
    error = world.get(c)
    assert type(error) is ObjectReconstructionFailedPutError
    assert error.object_id == c.object_id.hex()
    assert f"an argument is needed that is gone too, the object {gone.hex()}" in str(error)
    assert world.take_ran() == []


def test_an_argument_that_is_there_is_all_that_is_needed(world: World) -> None:
    put = world.put()
    a = made(world, "a", put)
    world.lose(a)
    assert world.get(a) == a.object_id
    world.lose(put)
    world.lose(a)
    assert type(world.get(a)) is ObjectReconstructionFailedPutError, "found out by the worker"


def test_a_small_value_that_was_put_is_kept_for_those_that_need_it(world: World) -> None:
    put = world.put(SMALL)
    a = made(world, "a", put)
    del put
    world.lose(a)
    assert world.get(a) == a.object_id


def test_what_was_borrowed_and_has_been_given_back(world: World) -> None:
    large = Entry(b"wother01" + bytes(12), None, "mem://other")
    large.complete(Payload(b"", stored=Stored(large.object_id, 1, (place(HOME),))))
    world.segments[large.object_id] = {HOME}
    a = made(world, "a", large)
    del large
    world.lose(a)
    assert type(world.get(a)) is ObjectReconstructionFailedBorrowedError


def test_every_reason_is_one_word_and_travels() -> None:
    kinds = ObjectReconstructionFailedError.__subclasses__()
    assert len({kind.reason for kind in kinds}) == len(kinds)
    for kind in kinds:
        assert kind.reason
        again = pickle.loads(pickle.dumps(kind("it is lost", object_id="00")))
        assert type(again) is kind
        assert (str(again), again.object_id) == ("it is lost", "00")
        assert isinstance(again, ObjectLostError)


# -- cancelling ------------------------------------------------------------------------------------------------


def test_cancelled_while_it_runs_again(world: World) -> None:
    first, second = world.call("f", returns=(LARGE, LARGE))
    world.drive()
    world.lose(first)
    rebuild.on_missing(world.state, world.out, first)
    (question,) = world.take(FindCopies)
    world.is_paused = True
    world.hear(b"head", CopiesFound(question.request_id, {second.object_id: second.stored.locations}))
    worker, run = sent_run(world)
    reactor.cancel(world.state, world.out, first, force=False, recursive=True)
    world.hear(worker, CallCancelled(run.seq, started=True))
    assert type(first.failure) is ObjectReconstructionFailedTaskCancelledError
    assert isinstance(first.failure.__cause__, TaskCancelledError)
    assert first.failure.object_id == first.object_id.hex()
    assert "f has made it, and was cancelled when it ran again" in str(first.failure)
    assert "Nothing was run" not in str(first.failure)
    assert second.failure is None
    world.is_paused = False
    world.lose(second)
    error = world.get(second)
    assert type(error) is ObjectReconstructionFailedTaskCancelledError
    assert world.take_ran() == ["f"]


def test_a_cancel_that_comes_too_late_changes_nothing(world: World) -> None:
    a = made(world, "a")
    world.lose(a)
    rebuild.on_missing(world.state, world.out, a)
    (question,) = world.take(FindCopies)
    world.is_paused = True
    world.hear(b"head", CopiesFound(question.request_id, {}))
    worker, run = sent_run(world)
    reactor.cancel(world.state, world.out, a, force=False, recursive=True)
    world.is_paused = False
    world._act(worker, run)
    assert world.get(a) == a.object_id
    world.lose(a)
    assert world.get(a) == a.object_id


def test_cancelled_while_copies_are_looked_for(world: World) -> None:
    found, lost = made(world, "a"), made(world, "b")
    world.copy(found, NODES[2])
    for entry in (found, lost):
        world.lose(entry, HOME, TWO)
        rebuild.on_missing(world.state, world.out, entry)
        reactor.cancel(world.state, world.out, entry, force=False, recursive=True)
    world.lose(lost)
    assert world.get(found) == found.object_id
    assert type(world.get(lost)) is ObjectReconstructionFailedTaskCancelledError
    assert world.take_ran() == []


def test_a_session_that_ends_meanwhile(world: World) -> None:
    a, b = made(world, "a"), made(world, "b")
    world.lose(a)
    world.lose(b)
    rebuild.on_missing(world.state, world.out, a)
    world.drive()
    world.lose(a)
    world.is_paused = True
    for entry in (a, b):
        rebuild.on_missing(world.state, world.out, entry)
    (question, _) = [message for _, message in world.out.sent]
    world.hear(b"head", CopiesFound(question.request_id, {}))
    reactor.on_closed(world.state, SessionError("over"))
    assert isinstance(a.failure, SessionError)
    assert isinstance(b.failure, SessionError)


# -- machines --------------------------------------------------------------------------------------------------


def test_what_a_machine_had_is_made_again_when_it_is_asked_for(world: World) -> None:
    a = made(world, "a")
    home = a.stored.locations[0].node_id
    world.lose_node(home)
    world.drive()
    assert world.take_ran() == []
    assert a.done
    assert a.stored.locations == ()
    assert world.get(a) == a.object_id
    assert world.take_ran() == ["a"]


def test_a_census_says_what_is_lost_and_whether_it_can_be_made_again(world: World) -> None:
    def states() -> list[tuple[str, int]]:
        said = census.report(world.state, [a, b, c], {}, ReportObjects(1, 10), 0.0)
        by_id = {record.object_id: record for record in said.owned}
        return [(by_id[entry.object_id].state.value, by_id[entry.object_id].size) for entry in (a, b, c)]

    a = world.put(node_id=TWO)
    b, c = made(world, "b"), made(world, "c", a)
    for entry in (b, c):
        world.copy(entry, TWO)
        entry.move((place(TWO),))
    world.is_paused = True
    assert {state for state, _ in states()} == {"ready"}
    world.lose_node(TWO)
    assert states() == [("lost", 0), ("lost, can be made again", 0), ("lost", 0)]
    rebuild.on_missing(world.state, world.out, b)
    assert states()[1] == ("pending", 0)


def test_what_a_call_waits_for_is_made_again_at_once(world: World) -> None:
    a, b = made(world, "a"), made(world, "b")
    world.nodes = list(NODES)
    while b.stored.locations != a.stored.locations:
        b = made(world, "b")
    world.is_paused = True
    (slow,) = world.call("slow")
    (c,) = world.call("c", a, slow)
    home = a.stored.locations[0].node_id
    world.out.sent.clear()
    world.lose_node(home)
    questions = [message for _, message in world.out.sent if isinstance(message, FindCopies)]
    assert [question.segment_ids for question in questions] == [(a.object_id,)], "nobody waits for b"
    world.state.leases.by_id[1].wished = 0
    world.state.leases.touched.add(world.state.leases.by_id[1])
    world.is_paused = False
    assert world.get(c) == c.object_id
    assert world.get(b) == b.object_id


def test_another_location_is_enough_when_a_machine_goes(world: World) -> None:
    a = made(world, "a")
    home = a.stored.locations[0].node_id
    other = next(node for node in NODES if node != home)
    a.move((*a.stored.locations, place(other)))
    world.copy(a, other)
    world.lose_node(home)
    assert a.stored.locations == (place(other),)
    assert world.get(a) == a.object_id
    assert world.take_ran() == []


# -- calls whose arguments are missing -------------------------------------------------------------------------


def test_a_call_whose_arguments_were_missing_runs_later_at_no_cost(world: World) -> None:
    a = made(world, "a")
    world.lose(a)
    (b,) = world.call("b", a, max_retries=0)
    call = b.producer
    assert isinstance(call, PendingCall)
    assert world.get(b) == b.object_id
    assert world.take_ran() == ["a", "b"]
    assert call.attempt == 0


def test_a_call_that_waits_for_lost_arguments_can_be_cancelled(world: World) -> None:
    a = made(world, "a")
    world.is_paused = True
    (b,) = world.call("b", a)
    worker, run = sent_run(world)
    world.hear(worker, ArgumentsMissing(run.seq, (a.object_id,)))
    assert not a.done
    reactor.cancel(world.state, world.out, b, force=False, recursive=True)
    world.settle()
    assert isinstance(b.failure, TaskCancelledError)
    assert world.state.waiting == set()


def test_a_cancel_that_meets_the_word_on_its_way_back(world: World) -> None:
    a = made(world, "a")
    world.is_paused = True
    (b,) = world.call("b", a)
    worker, run = sent_run(world)
    reactor.cancel(world.state, world.out, b, force=False, recursive=True)
    world.hear(worker, ArgumentsMissing(run.seq, (a.object_id,)))
    assert isinstance(b.failure, TaskCancelledError)
    assert a.done


def test_what_was_not_sent_cannot_be_missed(world: World) -> None:
    world.is_paused = True
    (b,) = world.call("b")
    world.grant(50, b"wother01")
    world.hear(b"wother01", ArgumentsMissing(1, (bytes(20),)))
    assert "misses what it was not sent" in str(b.failure)


def test_a_method_call_takes_its_old_place(world: World) -> None:
    actor = world.actor()
    world.alive(actor, ACTOR_WORKER)
    a = made(world, "a")
    world.is_paused = True
    for name, deps in (("first", ()), ("second", (a,)), ("third", ())):
        world.ask(actor, name, *deps)
    assert world.take_seqs(ACTOR_WORKER, CallMethod) == [1, 2, 3]
    actor.exiting = "not sent for now"
    world.ask(actor, "fourth")
    actor.exiting = ""
    world.hear(ACTOR_WORKER, ArgumentsMissing(2, (a.object_id,)))
    assert [call.template.method for call in actor.outbox] == ["second", "fourth"]
    (question,) = world.take(FindCopies)
    world.hear(b"head", CopiesFound(question.request_id, {a.object_id: (place(HOME),)}))
    sent = world.take(CallMethod, CallMethod)
    assert [(word.method, word.seq) for word in sent] == [("second", 4), ("fourth", 5)]


def test_arguments_in_a_store_are_looked_for_too(world: World) -> None:
    stored = Stored(object_id(OWNER, 77), 100_000, (place(HOME),))
    freed: list[Stored] = []
    token = SegmentToken(freed.append, stored)
    world.is_paused = True
    call = world.task(settle=False)
    call.args = Payload(b"", stored=stored).holding(token)
    (b,) = world._made(call, "b", (LARGE,))
    world.grant(50, b"wother01")
    world.out.sent.clear()
    world.hear(b"wother01", ArgumentsMissing(1, (stored.segment_id,)))
    assert call.state is CallState.WAITING
    (question,) = world.take(FindCopies)
    world.segments[stored.segment_id] = {TWO}
    world.hear(b"head", CopiesFound(question.request_id, {stored.segment_id: (place(TWO),)}))
    (run,) = [message for _, message in world.out.sent if isinstance(message, RunTask)]
    assert run.args.stored == Stored(stored.segment_id, 100_000, (place(TWO),))
    assert token.stored == run.args.stored
    world.out.sent.clear()
    world.hear(b"wother01", ArgumentsMissing(2, (stored.segment_id,)))
    (question,) = world.take(FindCopies)
    world.hear(b"head", CopiesFound(question.request_id, {}))
    assert type(b.failure) is ObjectReconstructionFailedPutError
    assert "f was not run: its arguments were in shared memory" in str(b.failure)
    assert world.state.unanswered == 0


def test_a_queued_call_whose_argument_has_failed_meanwhile_is_not_sent(world: World) -> None:
    put, a = world.put(), made(world, "a")
    world.is_paused = True
    entries = [world.call(name, dep)[0] for name, dep in (("b", put), ("c", a))]
    world.lose(put)
    world.lose(a)
    for entry in (put, a):
        rebuild.on_missing(world.state, world.out, entry)
    world.is_paused = False
    world.drive()
    assert type(entries[0].failure) is ObjectReconstructionFailedPutError
    assert world.get(entries[1]) == entries[1].object_id
    assert world.take_ran() == ["a", "c"]


def test_a_call_that_is_tried_again_after_a_crash_waits_for_what_was_lost_meanwhile(world: World) -> None:
    a = made(world, "a")
    world.is_paused = True
    (b,) = world.call("b", a)
    worker, run = sent_run(world)
    rebuild.on_missing(world.state, world.out, a)
    world.out.sent.clear()
    world.end(worker, started=run.seq)
    world._grant(1)
    assert not [message for _, message in world.out.sent if isinstance(message, RunTask)]
    assert b.producer in world.state.waiting


# -- borrowers -------------------------------------------------------------------------------------------------


def lent(world: World, entry: Entry) -> Entry:
    world.state.objects.named[entry.object_id] = entry
    return entry


def answers(world: World, peer: bytes) -> list[Any]:
    return [message for receiver, message in world.out.sent if receiver == peer]


def test_a_borrower_that_misses_data_gets_it_when_it_was_made_again(world: World) -> None:
    a = lent(world, made(world, "a"))
    world.lose(a)
    world.out.sent.clear()
    world.hear(b"wborrow1", ReportMissing(a.object_id, (a.stored.locations[0].node_id,)))
    assert answers(world, b"wborrow1") == []
    world.hear(b"wborrow2", FetchObject(a.object_id))
    sent = world.out.sent
    world.out.sent = []
    for peer, message in sent:
        world._act(peer, message)
    while not a.done:
        peer, message = world.out.sent.pop(0)
        world._act(peer, message)
    assert world.take_ran() == ["a"]
    for peer in (b"wborrow1", b"wborrow2"):
        (ready,) = answers(world, peer)
        assert isinstance(ready, ObjectReady)
        assert ready.payload.stored == a.stored


def test_a_borrower_that_looked_in_the_wrong_place_is_told_the_right_one(world: World) -> None:
    a = lent(world, made(world, "a"))
    world.out.sent.clear()
    world.hear(b"wborrow1", ReportMissing(a.object_id, (b"n-other-",)))
    (ready,) = world.take(ObjectReady)
    assert ready.payload.stored == a.stored


def test_a_borrower_hears_why_there_will_be_none(world: World) -> None:
    put = lent(world, world.put())
    world.lose(put)
    world.hear(b"wborrow1", ReportMissing(put.object_id, (HOME,)))
    (question,) = world.take(FindCopies)
    world.hear(b"head", CopiesFound(question.request_id, {}))
    (failed,) = world.take(ObjectFailed)
    assert type(pickle.loads(failed.failure)) is ObjectReconstructionFailedPutError
    world.hear(b"wborrow1", ReportMissing(bytes(20), (HOME,)))
    (unknown,) = world.take(ObjectFailed)
    assert isinstance(pickle.loads(unknown.failure), ObjectLostError)


def test_what_is_borrowed_is_reported_to_its_owner_and_waited_for(world: World) -> None:
    borrowed = Entry(b"wother01" + bytes(12), None, "mem://other")
    borrowed.complete(Payload(b"", stored=Stored(borrowed.object_id, 1, (place(TWO),))))
    world.is_paused = True
    (b,) = world.call("b", borrowed)
    world.grant(50, b"wworker1")
    world.out.sent.clear()
    world.hear(b"wworker1", ArgumentsMissing(1, (borrowed.object_id,)))
    (report,) = [message for _, message in world.out.sent if isinstance(message, ReportMissing)]
    assert report == ReportMissing(borrowed.object_id, (TWO,))
    assert not borrowed.done
    world.out.sent.clear()
    world.hear(b"wother01", ObjectReady(borrowed.object_id, payload("small now")))
    (run,) = [message for _, message in world.out.sent if isinstance(message, RunTask)]
    assert run.arg_values == (payload("small now"),)
    assert not b.done


# -- generators ------------------------------------------------------------------------------------------------


def test_an_item_is_made_again_from_where_it_is_and_no_further(world: World) -> None:
    items = world.generate("g", LARGE, SMALL, LARGE, LARGE, LARGE)
    world.take_ran()
    world.lose(items[2])
    assert world.get(items[2]) == items[2].object_id
    assert world.take_ran() == ["g to 2"]
    record = items[0].lineage
    assert isinstance(record, Record)
    assert record.retries_left == 2, "it was closed, and can be asked again"
    world.lose(items[0])
    assert world.get(items[0]) == items[0].object_id
    assert world.take_ran() == ["g to 0"]
    assert [world.get(item) for item in items] == [item.object_id for item in items]
    assert world.take_ran() == []


def test_items_that_are_missing_together_take_one_run(world: World) -> None:
    items = world.generate("g", LARGE, LARGE, LARGE, LARGE)
    world.take_ran()
    dropped = items[2].object_id
    del items[2]
    for item in items:
        world.lose(item)
        rebuild.on_missing(world.state, world.out, item)
    world.drive()
    assert world.take_ran() == ["g to 3"]
    assert [world.get(item) for item in items] == [item.object_id for item in items]
    assert world.segments[dropped] == set()


def test_an_item_that_the_run_has_passed_waits_for_the_next(world: World) -> None:
    items = world.generate("g", LARGE, LARGE, LARGE, LARGE)
    world.take_ran()
    world.is_paused = True
    for lost in (items[1], items[3]):
        world.lose(lost)
    rebuild.on_missing(world.state, world.out, items[1])
    (question,) = world.take(FindCopies)
    there = {entry.object_id: entry.stored.locations for entry in (items[0], items[2])}
    world.hear(b"head", CopiesFound(question.request_id, there))
    worker, run = sent_run(world)
    assert run.skip_items == 1

    def item(index: int) -> ItemYielded:
        return ItemYielded(run.seq, index, world._value(items[index].object_id, LARGE, TWO))

    assert run.until_item == 4
    world.hear(worker, item(1))
    for late in (items[0], items[2]):
        rebuild.on_missing(world.state, world.out, late)
        (question,) = [message for _, message in world.out.sent if isinstance(message, FindCopies)]
        world.out.sent.clear()
        world.hear(b"head", CopiesFound(question.request_id, {}))
    world.hear(worker, item(2), item(3))
    assert [entry.done for entry in items] == [False, True, True, True]
    world.hear(worker, CallSucceeded(run.seq))
    world.is_paused = False
    assert world.get(items[0]) == items[0].object_id
    assert world.take_ran() == ["g to 0"]


def test_an_item_behind_the_end_of_a_run_waits_for_the_next(world: World) -> None:
    items = world.generate("g", LARGE, LARGE, LARGE)
    world.take_ran()
    world.is_paused = True
    world.lose(items[1])
    rebuild.on_missing(world.state, world.out, items[1])
    (question,) = world.take(FindCopies)
    there = {entry.object_id: entry.stored.locations for entry in (items[0], items[2])}
    world.hear(b"head", CopiesFound(question.request_id, there))
    worker, run = sent_run(world)
    world.lose(items[2])
    rebuild.on_missing(world.state, world.out, items[2])
    world.is_paused = False
    world.drive()
    world._act(worker, run)
    assert world.get(items[2]) == items[2].object_id
    assert world.take_ran() == ["g to 1", "g to 2"]


def test_a_crash_in_a_replay_goes_on_where_it_was(world: World) -> None:
    items = world.generate("g", LARGE, LARGE, LARGE)
    world.take_ran()
    world.crashes = 1
    world.lose(items[1])
    assert world.get(items[1]) == items[1].object_id
    assert world.take_ran() == ["g to 1"]


def test_a_generator_that_yields_less_the_second_time(world: World) -> None:
    items = world.generate("g", LARGE, LARGE, LARGE)
    task_id = object_id(OWNER, 1)
    world.results[task_id] = (LARGE, LARGE)
    world.lose(items[2])
    error = world.get(items[2])
    assert type(error) is StreamingGeneratorReplayInconsistentError
    assert "Item 3 of the generator g" in str(error)
    assert world.get(items[1]) == items[1].object_id


def test_a_generator_that_raises_the_second_time(world: World) -> None:
    items = world.generate("g", LARGE, LARGE)
    world.lose(items[1])
    world.raising.add("g")
    assert isinstance(world.get(items[1]), RemoteError)


def test_an_item_of_a_generator_that_still_runs(world: World) -> None:
    world.is_paused = True
    call = world.task("g", settle=False, num_returns=-1)
    world._made(call, "g", (LARGE, LARGE, LARGE))
    world.grant(50, b"wworker1")
    world.out.sent.clear()
    for index in range(2):
        world.hear(b"wworker1", ItemYielded(1, index, world._value(object_id(OWNER, 1, index + 1), LARGE, TWO)))
    assert call.stream is not None
    first, second = call.stream.waiting
    world.lose(first)
    world.is_paused = False
    world.state.leases.by_id[1].wished = 0
    assert world.get(first) == first.object_id
    assert world.take_ran() == ["g to 0"]
    world.hear(b"wworker1", ItemYielded(1, 2, world._value(object_id(OWNER, 1, 3), LARGE, TWO)))
    world.answer(b"wworker1", 1)
    assert [item.object_id[-1] for item in call.stream.waiting] == [1, 2, 3]
    assert call.stream.ended
    assert world.get(second) == second.object_id


# -- actors ----------------------------------------------------------------------------------------------------


def test_the_result_of_a_method_is_not_made_again_unless_it_is_readonly(world: World) -> None:
    actor = world.actor()
    world.alive(actor, ACTOR_WORKER)
    (plain,), (look,) = world.ask(actor, "change"), world.ask(actor, "look", is_readonly=True)
    world.drive()
    world.take_ran()
    world.lose(plain)
    world.lose(look)
    error = world.get(plain)
    assert type(error) is ObjectReconstructionFailedActorResultError
    assert 'effect="readonly"' in str(error)
    assert "handle" not in str(error)
    for _ in range(5):
        world.lose(look)
        assert world.get(look) == look.object_id
    assert world.take_ran() == ["look"] * 5


def test_a_readonly_call_is_made_again_before_those_that_wait_for_it(world: World) -> None:
    actor = world.actor()
    world.alive(actor, ACTOR_WORKER)
    (first,) = world.ask(actor, "first", is_readonly=True)
    (second,) = world.ask(actor, "second", first, is_readonly=True)
    world.drive()
    world.take_ran()
    world.lose(first)
    (third,) = world.ask(actor, "third", first)
    world.lose(second)
    rebuild.on_missing(world.state, world.out, second)
    assert world.get(third) == third.object_id
    assert world.get(second) == second.object_id
    assert sorted(world.take_ran()) == ["first", "second", "third"]


def test_an_actor_of_which_another_handle_came_is_asked(world: World) -> None:
    actor = world.actor()
    world.alive(actor, ACTOR_WORKER)
    (look,) = world.ask(actor, "look", is_readonly=True)
    world.drive()
    world.take_ran()
    world.lose(look)
    outbox.count_handle(world.state, actor, -1)
    world.settle()
    assert world.state.actors == {}
    again = world.actor()
    assert again is not actor
    world.alive(again, ACTOR_WORKER)
    assert world.get(look) == look.object_id
    assert world.take_ran() == ["look"]


def test_an_actor_that_is_gone_cannot_be_asked(world: World) -> None:
    actor = world.actor()
    world.alive(actor, ACTOR_WORKER)
    (look,) = world.ask(actor, "look", is_readonly=True)
    world.drive()
    world.lose(look)
    world.died(actor, ACTOR_WORKER, started=1, final=True)
    error = world.get(look)
    assert type(error) is ObjectReconstructionFailedActorResultError
    assert "the actor cannot be asked: its process" in str(error)
    assert "readonly" not in str(error)


def test_an_actor_that_dies_when_it_is_asked_again(world: World) -> None:
    actor = world.actor()
    world.alive(actor, ACTOR_WORKER)
    (look,) = world.ask(actor, "look", is_readonly=True)
    world.drive()
    world.lose(look)
    rebuild.on_missing(world.state, world.out, look)
    (question,) = world.take(FindCopies)
    world.is_paused = True
    world.hear(b"head", CopiesFound(question.request_id, {}))
    world.died(actor, ACTOR_WORKER, started=1, final=True)
    assert type(look.failure) is ObjectReconstructionFailedActorResultError
    assert look.failure.object_id == look.object_id.hex()
    assert isinstance(look.failure.__cause__, ActorDiedError)


def test_an_actor_of_which_no_handle_is_left_is_not_asked(world: World) -> None:
    actor = world.actor()
    world.alive(actor, ACTOR_WORKER)
    (look,) = world.ask(actor, "look", is_readonly=True)
    world.drive()
    world.lose(look)
    outbox.count_handle(world.state, actor, -1)
    world.settle()
    error = world.get(look)
    assert type(error) is ObjectReconstructionFailedActorResultError
    assert "no handle of that actor any more" in str(error)
    assert "declare" not in str(error)


@pytest.mark.parametrize("is_restarted", [False, True])
def test_an_actor_that_has_changed_since_gives_no_other_value(world: World, is_restarted: bool) -> None:
    actor = world.actor()
    world.alive(actor, ACTOR_WORKER)
    world.ask(actor, "change", returns=(SMALL,))
    world.drive()
    first, second = world.ask(actor, "look", is_readonly=True, returns=(LARGE, LARGE))
    world.drive()
    world.lose(first)
    assert world.get(first) == first.object_id, "it has not changed"
    world.take_ran()
    if is_restarted:
        world.died(actor, ACTOR_WORKER, started=3, final=False)
        world.alive(actor, b"wactor02", 1)
    else:
        world.ask(actor, "change", returns=(SMALL,))
        world.drive()
    world.take_ran()
    world.lose(first)
    error = world.get(first)
    assert type(error) is ObjectReconstructionFailedActorResultError
    assert "the actor has changed since" in str(error)
    assert error.object_id == first.object_id.hex()
    assert world.take_ran() == []
    assert world.get(second) == second.object_id


def test_a_restarted_actor_that_nothing_had_changed_is_as_it_was(world: World) -> None:
    actor = world.actor()
    world.alive(actor, ACTOR_WORKER)
    (look,) = world.ask(actor, "look", is_readonly=True)
    world.drive()
    world.died(actor, ACTOR_WORKER, started=1, final=False)
    world.alive(actor, b"wactor02", 1)
    world.lose(look)
    assert world.get(look) == look.object_id


def test_what_was_seen_while_the_actor_was_changing_is_not_asked_for_again(world: World) -> None:
    actor = world.actor()
    world.alive(actor, ACTOR_WORKER)
    world.is_paused = True
    (look,) = world.ask(actor, "look", is_readonly=True)
    ((_, sent),) = [pair for pair in world.out.sent if isinstance(pair[1], CallMethod)]
    value = world._value(look.object_id, LARGE, HOME)
    world.hear(ACTOR_WORKER, CallSucceeded(sent.seq, (value,)))
    del value
    world.out.sent.clear()
    world.is_paused = False
    world.lose(look)
    error = world.get(look)
    assert type(error) is ObjectReconstructionFailedActorResultError
    assert "while other calls may have been changing" in str(error)


def test_an_answer_of_a_changed_actor_is_not_taken(world: World) -> None:
    actor = world.actor()
    world.alive(actor, ACTOR_WORKER)
    (look,) = world.ask(actor, "look", is_readonly=True)
    world.drive()
    world.lose(look)
    rebuild.on_missing(world.state, world.out, look)
    (question,) = world.take(FindCopies)
    world.is_paused = True
    world.hear(b"head", CopiesFound(question.request_id, {}))
    ((_, sent),) = [pair for pair in world.out.sent if isinstance(pair[1], CallMethod)]
    assert sent.expected == (0, 0)
    value = world._value(look.object_id, LARGE, TWO)
    world.hear(ACTOR_WORKER, CallSucceeded(sent.seq, (value,), version=(0, 1)))
    del value
    segment = look.object_id
    assert "the actor has changed since" in str(look.failure)
    del look
    assert not world.segments[segment]


def test_a_small_result_of_an_actor_is_kept_for_those_that_need_it(world: World) -> None:
    actor = world.actor()
    world.alive(actor, ACTOR_WORKER)
    (look,) = world.ask(actor, "look", is_readonly=True, returns=(SMALL,))
    b = made(world, "b", look)
    del look
    world.ask(actor, "change", returns=(SMALL,))
    world.drive()
    world.take_ran()
    world.lose(b)
    assert world.get(b) == b.object_id
    assert world.take_ran() == ["b"]
