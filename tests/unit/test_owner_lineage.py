"""What is kept of finished calls, for how long, and how much of it."""

from __future__ import annotations

import gc
import threading

import pytest

from ipyactors.ground.exceptions import (
    ObjectReconstructionFailedActorResultError,
    ObjectReconstructionFailedLineageDisabledError,
    ObjectReconstructionFailedLineageEvictedError,
    ObjectReconstructionFailedPutError,
    ObjectReconstructionFailedRetriesDisabledError,
)
from ipyactors.ground.ids import object_id
from ipyactors.owner.lineage import RECORD_BYTES, TRACE_BYTES, Record
from ipyactors.owner.objects import Entry, SegmentToken
from ipyactors.wire.specs import ActorState, Location, Payload, RefSpec, Stored
from tests.support.owner_scenario import OWNER
from tests.support.rebuild_world import LARGE, SMALL, World


@pytest.fixture
def world() -> World:
    return World()


def names(world: World) -> list[str]:
    world.state.lineage.check_invariants()
    return [record.name for record in world.state.lineage.records()]


# -- what is kept ----------------------------------------------------------------------------------------------


def test_a_call_with_a_small_result_and_no_references_leaves_no_record(world: World) -> None:
    (a,) = world.call("a", returns=(SMALL,))
    world.drive()
    assert a.done
    assert names(world) == []
    assert isinstance(a.lineage, tuple), "a trace is enough"


def test_a_call_with_a_large_result_is_recorded(world: World) -> None:
    (a,) = world.call("a")
    world.drive()
    assert names(world) == ["a"]
    assert isinstance(a.lineage, Record)


def test_a_record_goes_with_its_last_result(world: World) -> None:
    first, second = world.call("a", returns=(LARGE, LARGE))
    world.drive()
    del first
    assert names(world) == ["a"]
    del second
    assert names(world) == []
    assert world.state.lineage.bytes == 0


def test_a_record_is_kept_for_those_that_depend_on_it_and_its_data_is_not(world: World) -> None:
    (a,) = world.call("a")
    (b,) = world.call("b", a, returns=(SMALL,))
    (c,) = world.call("c", b)
    world.drive()
    segment = a.object_id
    del a, b
    assert names(world) == ["a", "b", "c"]
    assert world.segments[segment] == set(), "the data of an argument lives as long as its references"
    del c
    assert names(world) == []


def test_a_small_argument_that_was_there_before_is_recorded_when_it_is_needed(world: World) -> None:
    (a,) = world.call("a", returns=(SMALL,))
    world.drive()
    (b,) = world.call("b", a)
    world.drive()
    assert names(world) == ["a", "b"]
    assert isinstance(a.lineage, Record)
    assert isinstance(b.lineage, Record)
    assert b.lineage.arguments[0].record is a.lineage


def test_what_is_done_with_a_small_result_is_not_kept(world: World) -> None:
    (a,) = world.call("a", returns=(SMALL,))
    (b,) = world.call("b", a, returns=(SMALL,))
    world.drive()
    del a, b
    assert names(world) == []


def test_large_arguments_in_a_message_are_counted(world: World) -> None:
    call = world.task(settle=False)
    call.args = Payload(b"x" * (TRACE_BYTES + 1))
    (entry,) = world._made(call, "f", (SMALL,))
    world.drive()
    assert names(world) == ["f"]
    assert world.state.lineage.bytes == RECORD_BYTES + TRACE_BYTES + 1
    del call, entry
    assert names(world) == []


def test_arguments_in_a_store_are_counted_and_kept(world: World) -> None:
    freed: list[Stored] = []
    stored = Stored(object_id(OWNER, 99), 1_000_000, (Location(b"n-home--", "mem://home"),))
    world.segments[stored.segment_id] = {b"n-home--"}
    call = world.task(settle=False)
    call.args = Payload(b"", stored=stored).holding(SegmentToken(freed.append, stored))
    (entry,) = world._made(call, "f", (LARGE,))
    world.drive()
    del call
    assert world.state.lineage.bytes == RECORD_BYTES + 1_000_000
    assert freed == []
    del entry
    assert freed == [stored]


def test_what_small_results_were_made_of_is_not_kept_for_them(world: World) -> None:
    inner = Entry(object_id(OWNER, 98))
    call = world.task(settle=False)
    call.args = Payload(b"", refs=(RefSpec(inner.object_id, "mem://owner"),)).holding(inner)
    (small,) = world._made(call, "f", (SMALL,))
    (large,) = world.call("g", small)
    world.drive()
    del call
    assert names(world) == ["g"]
    assert isinstance(large.lineage, Record)
    assert large.lineage.arguments[0].kept is small, "nothing makes it again, and it is small"


def test_an_argument_that_nothing_makes_again_is_kept_if_it_is_small(world: World) -> None:
    small, large = world.put(SMALL), world.put(LARGE)
    (a,) = world.call("a", small, large)
    world.drive()
    assert isinstance(a.lineage, Record)
    assert [argument.kept for argument in a.lineage.arguments] == [small, None]
    assert {argument.bar.reason for argument in a.lineage.arguments if argument.bar} == {
        ObjectReconstructionFailedPutError
    }


def test_why_nothing_is_kept_is_remembered(world: World) -> None:
    actor = world.actor()
    world.alive(actor, b"wactor01")
    (never,) = world.call("never", max_retries=0)
    (off,) = world.call("off", lineage=False)
    (asked,) = world.ask(actor, "m")
    world.drive()
    bars = [world.state.lineage.bar_of(entry) for entry in (never, off, asked, world.put())]
    assert [(bar.reason, bar.name) for bar in bars if bar is not None] == [
        (ObjectReconstructionFailedRetriesDisabledError, "never"),
        (ObjectReconstructionFailedLineageDisabledError, "off"),
        (ObjectReconstructionFailedActorResultError, "m"),
        (ObjectReconstructionFailedPutError, ""),
    ]
    assert names(world) == []


def test_a_readonly_method_is_recorded_and_holds_no_handle(world: World) -> None:
    actor = world.actor()
    world.alive(actor, b"wactor01")
    (a,) = world.ask(actor, "look", is_readonly=True)
    world.drive()
    assert names(world) == ["Counter.look"]
    assert a.done
    assert actor.handles == 1
    assert actor.state is ActorState.ALIVE


def test_a_generator_has_one_record_for_all_its_items(world: World) -> None:
    items = world.generate("g", LARGE, SMALL, LARGE)
    assert names(world) == ["g"]
    assert len({id(item.lineage) for item in items}) == 1
    del items[:2]
    assert names(world) == ["g"]
    del items
    assert names(world) == []


# -- how much is kept ------------------------------------------------------------------------------------------


def test_the_oldest_is_evicted_and_says_so() -> None:
    world = World(max_lineage_bytes=2 * RECORD_BYTES + 200)
    entries = [world.call(name)[0] for name in "abc"]
    world.drive()
    assert names(world) == ["b", "c"]
    bar = world.state.lineage.bar_of(entries[0])
    assert bar is not None
    assert (bar.reason, bar.name) == (ObjectReconstructionFailedLineageEvictedError, "a")


def test_a_record_that_is_larger_than_the_limit_evicts_no_other() -> None:
    world = World(max_lineage_bytes=4 * RECORD_BYTES)
    (a,) = world.call("a")
    world.drive()
    call = world.task(settle=False)
    call.args = Payload(b"x" * 4 * RECORD_BYTES)
    (b,) = world._made(call, "b", (LARGE,))
    world.drive()
    assert names(world) == ["a"]
    bar = world.state.lineage.bar_of(b)
    assert a.done
    assert bar is not None
    assert bar.reason is ObjectReconstructionFailedLineageEvictedError


def test_a_limit_of_nothing_keeps_nothing() -> None:
    world = World(max_lineage_bytes=0)
    (a,) = world.call("a")
    world.drive()
    assert names(world) == []
    bar = world.state.lineage.bar_of(a)
    assert bar is not None
    assert bar.reason is ObjectReconstructionFailedLineageDisabledError


def test_what_goes_makes_room_for_what_comes() -> None:
    world = World(max_lineage_bytes=2 * RECORD_BYTES + 200)
    (a,) = world.call("a")
    for _ in range(10):
        world.call("b")
        world.drive()
    assert names(world) == ["a"]
    assert a.done


def test_an_evicted_record_lets_go_of_what_it_depends_on() -> None:
    world = World(max_lineage_bytes=3 * RECORD_BYTES)
    (a,) = world.call("a")
    (b,) = world.call("b", a)
    world.drive()
    del a
    assert names(world) == ["a", "b"]
    (c,) = world.call("c")
    (d,) = world.call("d")
    world.drive()
    assert names(world) == ["c", "d"]
    assert b.done
    assert c.done
    assert d.done


def test_records_may_go_on_any_thread(world: World) -> None:
    entries = [world.call("a")[0]]
    world.drive()
    thread = threading.Thread(target=entries.clear)
    thread.start()
    thread.join()
    assert names(world) == []


def test_a_long_chain_goes_without_a_deep_stack_and_without_the_collector(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.state, "check_invariants", lambda: None)  # looks at all of it after each step
    (last,) = world.call("f")
    gc.disable()
    try:
        for _ in range(20_000):
            (last,) = world.call("f", last)
            world.drive()
        assert len(world.state.lineage.records()) == 20_001
        del last
        assert names(world) == []
    finally:
        gc.enable()
