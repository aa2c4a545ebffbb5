"""Segments between machines: fetched once however many ask, whole or not at all, whatever the network does."""

from __future__ import annotations

import pytest

from ipyactors.node import serving as serves
from ipyactors.node import transfer
from ipyactors.node.pulls import MAX_PULLS, STALL_S, WINDOW, Stage
from ipyactors.wire.store_messages import DropCopies, ReadSegment, SegmentGone, SegmentHere
from tests.support.transfer_world import CHUNK, Segment, Store, World, text

OWNER = b"d-------"
SEG = OWNER + b"segment-0001"
OTHER = OWNER + b"segment-0002"
P1, P2 = b"w1------", b"w2------"


@pytest.fixture
def world() -> World:
    return World(b"here", b"one", b"two", b"three")


@pytest.fixture
def here(world: World) -> Store:
    return world.stores[b"here"]


@pytest.fixture
def one(world: World) -> Store:
    return world.stores[b"one"]


@pytest.fixture
def two(world: World) -> Store:
    return world.stores[b"two"]


@pytest.fixture
def three(world: World) -> Store:
    return world.stores[b"three"]


def put(segment_id: bytes, data: bytes, *stores: Store) -> None:
    for at, store in enumerate(stores):
        store.segments[segment_id] = Segment(data, is_copy=at > 0)


def gone(store: Store) -> list[tuple[bytes, str]]:
    assert all(isinstance(answer, SegmentGone) for _, answer in store.answers)
    return [(process_id, answer.detail) for process_id, answer in store.answers]  # type: ignore[union-attr]


# -- what it is for --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pieces", [0.1, 1, 1.5, 2, WINDOW, WINDOW + 1, 30.3])
def test_a_segment_arrives_whole(world: World, here: Store, one: Store, pieces: float) -> None:
    put(SEG, text(pieces), one)
    here.pull(P1, SEG, one)
    world.flow()
    assert here.answers == [(P1, SegmentHere(SEG))]
    assert here.segments[SEG] == Segment(text(pieces), is_copy=True)
    assert not here.parts
    assert len(here.asked) == -(-len(text(pieces)) // CHUNK)


def until_room_is_asked_for(world: World, here: Store, one: Store) -> None:
    """Let a transfer begin: the first piece tells how large it is."""
    while not here.room_asked:
        one.work() if one.jobs else world.deliver((b"here", b"one"))


def test_it_is_fetched_once_however_many_ask(world: World, here: Store, one: Store, two: Store) -> None:
    put(SEG, text(20), one, two)
    here.pull(P1, SEG, one)
    here.pull(P2, SEG, two)
    here.pull(P1, SEG, one, two)
    world.flow()
    assert sorted(here.answers) == [(P1, SegmentHere(SEG)), (P2, SegmentHere(SEG))]
    assert {source for source, _ in here.asked} == {b"one"}
    assert len(here.asked) == 20


def test_room_is_made_for_all_of_it_before_a_byte_is_written(world: World, here: Store, one: Store) -> None:
    put(SEG, text(20), one)
    here.pull(P1, SEG, one)
    until_room_is_asked_for(world, here, one)
    assert list(here.room_asked.values()) == [20 * CHUNK]
    assert not here.jobs
    assert len(here.asked) == 1
    here.give_room()
    assert len(here.asked) == WINDOW
    assert [job[0] for job in here.jobs] == ["create", "write"]


def test_the_window_closes_behind_a_slow_disk(world: World, here: Store, one: Store) -> None:
    put(SEG, text(50), one)
    here.pull(P1, SEG, one)
    until_room_is_asked_for(world, here, one)
    here.give_room(spill=True)
    while one.jobs or world.busy_wires():
        one.work() if one.jobs else world.deliver((b"here", b"one"))
    assert len(here.asked) == WINDOW
    assert sum(job[0] == "write" for job in here.jobs) == WINDOW
    world.flow()
    assert here.segments[SEG].data == text(50)


def test_a_store_that_is_too_small_has_it_on_disk(world: World, here: Store, one: Store) -> None:
    put(SEG, text(3), one)
    here.pull(P1, SEG, one)
    until_room_is_asked_for(world, here, one)
    here.give_room(spill=True)
    here.work()
    assert [part.spill for part in here.parts.values()] == [True]
    world.flow()
    assert here.answers == [(P1, SegmentHere(SEG))]


def test_no_room_anywhere_is_said_to_be_that(world: World, here: Store, one: Store) -> None:
    put(SEG, text(3), one)
    here.is_memory_full = here.is_disk_full = True
    here.pull(P1, SEG, one)
    world.flow()
    assert here.answers == [(P1, SegmentGone(SEG, "both are full", True))]
    assert not here.parts


def test_memory_that_fills_up_in_spite_of_the_accounts_sends_it_to_disk(world: World, here: Store, one: Store) -> None:
    put(SEG, text(12), one)
    here.pull(P1, SEG, one)
    here.is_memory_full = True
    world.flow()
    assert here.answers == [(P1, SegmentHere(SEG))]
    assert here.segments[SEG].data == text(12)


def test_a_disk_that_fills_up_too_ends_it(world: World, here: Store, one: Store) -> None:
    put(SEG, text(12), one)
    here.pull(P1, SEG, one)
    until_room_is_asked_for(world, here, one)
    here.give_room()
    here.is_memory_full = here.is_disk_full = True
    world.flow()
    assert here.answers == [(P1, SegmentGone(SEG, "no space left", True))]
    assert not here.parts


def test_only_so_many_are_on_at_once_and_all_arrive(world: World, here: Store, one: Store) -> None:
    names = [OWNER + b"segment-%04d" % at for at in range(3 * MAX_PULLS)]
    for at, name in enumerate(names):
        put(name, text(3, seed=at), one)
        here.pull(P1, name, one)
    assert len(here.asked) == MAX_PULLS
    world.flow()
    assert {answer.segment_id for _, answer in here.answers} == set(names)
    for at, name in enumerate(names):
        assert here.segments[name].data == text(3, seed=at)


# -- sources that fail -----------------------------------------------------------------------------------------------


def test_a_source_that_has_it_no_more_is_left_for_the_next(world: World, here: Store, one: Store, two: Store) -> None:
    put(SEG, text(5), two)
    here.pull(P1, SEG, one, two)
    world.flow()
    assert here.answers == [(P1, SegmentHere(SEG))]


def test_nobody_has_it(world: World, here: Store, one: Store, two: Store) -> None:
    here.pull(P1, SEG, one, two)
    world.flow()
    ((process_id, detail),) = gone(here)
    assert process_id == P1
    assert detail.count("it does not have the segment") == 2


def test_nobody_is_named(world: World, here: Store) -> None:
    here.pull(P1, SEG)
    here.pull(P2, SEG, here)
    assert gone(here) == [
        (P1, "no other machine was named that has it"),
        (P2, "no other machine was named that has it"),
    ]


def half_way(world: World, here: Store, one: Store) -> int:
    """Let a transfer go on until a good part has been written; return how many pieces were asked for."""
    while not here.parts or len(next(iter(here.parts.values())).pieces) < 10:
        if here.room_asked:
            here.give_room()
        elif here.jobs:
            here.work()
        elif one.jobs:
            one.work()
        else:
            world.deliver((b"here", b"one"))
    return len(here.asked)


def test_after_a_machine_is_lost_the_rest_comes_from_another(world: World, here: Store, one: Store, two: Store) -> None:
    put(SEG, text(40), one, two)
    here.pull(P1, SEG, one, two)
    half_way(world, here, one)
    world.kill(b"one")
    world.flow()
    assert here.segments[SEG].data == text(40)
    assert len(here.asked) <= 40 + WINDOW
    assert world.served[b"two"] <= 30 + WINDOW


def test_a_machine_that_is_lost_before_it_is_asked_is_not_asked(world: World, here: Store, one: Store) -> None:
    world.kill(b"one")
    here.pull(P1, SEG, one)
    assert gone(here) == [(P1, "node 6f6e65: its agent ended")]
    assert not here.asked


def test_the_only_source_comes_back_after_a_cut_and_goes_on(world: World, here: Store, one: Store) -> None:
    put(SEG, text(40), one)
    here.pull(P1, SEG, one)
    half_way(world, here, one)
    world.cut(b"here", b"one")
    world.flow()
    assert not here.answers
    world.mend(b"here", b"one")
    world.flow()
    assert here.answers == [(P1, SegmentHere(SEG))]
    assert here.segments[SEG].data == text(40)
    assert world.served[b"one"] <= 40 + WINDOW


def test_a_cut_is_no_wait_when_there_is_another_source(world: World, here: Store, one: Store, two: Store) -> None:
    put(SEG, text(40), one, two)
    here.pull(P1, SEG, one, two)
    half_way(world, here, one)
    world.cut(b"here", b"one")
    world.flow()
    assert here.answers == [(P1, SegmentHere(SEG))]
    assert len(here.asked) <= 40 + WINDOW


def test_a_cut_that_lasts_ends_it(world: World, here: Store, one: Store) -> None:
    put(SEG, text(40), one)
    here.pull(P1, SEG, one)
    half_way(world, here, one)
    world.cut(b"here", b"one")
    world.settle()
    assert gone(here) == [(P1, f"node 6f6e65: it sent nothing for {STALL_S:g} s")]
    assert not here.parts


def test_a_link_that_breaks_again_and_again_but_carries_something_is_used_to_the_end(
    world: World, here: Store, one: Store
) -> None:
    put(SEG, text(40), one)
    here.pull(P1, SEG, one)
    half_way(world, here, one)
    while not here.answers:
        world.cut(b"here", b"one")
        world.notice()
        world.mend(b"here", b"one")
        world.notice()
        before = here.pulls.by_segment[SEG].written_bytes
        while SEG in here.pulls.by_segment and here.pulls.by_segment[SEG].written_bytes == before:
            if here.jobs:
                here.work()
            elif one.unreachable:
                one.tell_unreachable()
            elif one.jobs:
                one.work()
            else:
                world.deliver((b"here", b"one"))
    assert here.segments[SEG].data == text(40)


def test_a_silent_source_is_left_after_a_while(world: World, here: Store, one: Store, two: Store) -> None:
    put(SEG, text(40), one, two)
    here.pull(P1, SEG, one, two)
    half_way(world, here, one)
    one.is_frozen = True
    world.flow()
    world.pass_time(STALL_S - 0.1)
    world.flow()
    assert not here.answers
    assert transfer.next_turn_s(here.pulls) == pytest.approx(world.now + 0.1)
    world.pass_time(0.2)
    world.flow()
    assert here.answers == [(P1, SegmentHere(SEG))]
    assert here.segments[SEG].data == text(40)


def test_a_source_that_wakes_up_late_changes_nothing(world: World, here: Store, one: Store, two: Store) -> None:
    put(SEG, text(40), one, two)
    here.pull(P1, SEG, one, two)
    half_way(world, here, one)
    one.is_frozen = True
    world.pass_time(STALL_S)
    one.is_frozen = False
    world.flow()
    assert here.answers == [(P1, SegmentHere(SEG))]
    assert here.segments[SEG].data == text(40)


def test_waiting_for_room_is_not_silence(world: World, here: Store, one: Store) -> None:
    put(SEG, text(4), one)
    here.pull(P1, SEG, one)
    until_room_is_asked_for(world, here, one)
    world.pass_time(10 * STALL_S)
    assert not here.answers
    world.flow()
    assert here.answers == [(P1, SegmentHere(SEG))]


def test_a_damaged_piece_is_asked_for_again(world: World, here: Store, one: Store) -> None:
    put(SEG, text(20), one)
    here.pull(P1, SEG, one)
    half_way(world, here, one)
    world.damage = 1
    world.flow()
    assert here.segments[SEG].data == text(20)
    assert len(here.asked) == 21


def test_who_damages_a_piece_twice_is_left(world: World, here: Store, one: Store, two: Store) -> None:
    put(SEG, text(1), one, two)
    here.pull(P1, SEG, one, two)
    world.damage = 2
    world.flow()
    assert [source for source, _ in here.asked] == [b"one", b"one", b"two"]
    assert here.segments[SEG].data == text(1)


def test_damage_without_end_ends_it(world: World, here: Store, one: Store, two: Store) -> None:
    put(SEG, text(3), one, two)
    here.pull(P1, SEG, one, two)
    world.damage = 1_000
    world.flow()
    ((_, detail),) = gone(here)
    assert detail.count("damaged, twice") == 2


def test_pieces_of_two_writings_are_never_mixed(world: World, here: Store, one: Store, two: Store) -> None:
    put(SEG, text(30), one)
    two.segments[SEG] = Segment(text(30, seed=99), version=2)
    here.pull(P1, SEG, one, two)
    half_way(world, here, one)
    world.kill(b"one")
    world.flow()
    assert here.answers == [(P1, SegmentHere(SEG))]
    assert here.segments[SEG].data == text(30, seed=99)
    assert not here.parts


def test_a_source_that_writes_it_anew_meanwhile_is_read_from_the_start(world: World, here: Store, one: Store) -> None:
    put(SEG, text(30), one)
    here.pull(P1, SEG, one)
    half_way(world, here, one)
    one.segments[SEG] = Segment(text(12.5, seed=99), version=2)
    world.flow()
    assert here.segments[SEG].data == text(12.5, seed=99)


# -- ends that come in between ---------------------------------------------------------------------------------------


def test_what_is_freed_on_its_way_is_not_fetched_to_the_end(world: World, here: Store, one: Store) -> None:
    put(SEG, text(30), one)
    here.pull(P1, SEG, one)
    half_way(world, here, one)
    one.free(SEG)
    world.flow()
    assert gone(here) == [(P1, "its owner freed it")]
    assert not here.parts
    assert not here.segments


@pytest.mark.parametrize("stage", list(Stage))
def test_it_can_be_freed_at_every_stage(world: World, here: Store, one: Store, stage: Stage) -> None:
    put(SEG, text(3), one)
    if stage is Stage.WAITING:
        for at in range(MAX_PULLS):
            here.pull(P2, OWNER + b"segment-9%03d" % at, one)
    here.pull(P1, SEG, one)
    while here.pulls.by_segment[SEG].stage is not stage:
        if here.room_asked:
            here.give_room()
        elif here.jobs:
            here.work()
        else:
            one.work() if one.jobs else world.deliver((b"here", b"one"))
    here.free(SEG)
    world.flow()
    assert (P1, SegmentGone(SEG, "its owner freed it")) in here.answers
    assert not here.parts
    assert not here.segments
    assert not here.room_asked


def test_a_question_that_was_on_its_way_when_it_was_freed_finds_nothing(world: World, here: Store, one: Store) -> None:
    put(SEG, text(3), one)
    here.pull(P1, SEG, one)
    one.free(SEG)
    one.segments[SEG] = Segment(text(3))  # its file is still there for a moment
    world.flow()
    assert len(gone(here)) == 1


def test_what_was_freed_and_made_again_is_served(world: World, here: Store, one: Store) -> None:
    put(SEG, text(3), one)
    one.free(SEG)
    one.seal(SEG, Segment(text(3), version=2))
    here.pull(P1, SEG, one)
    world.flow()
    assert here.answers == [(P1, SegmentHere(SEG))]


def test_copies_go_with_the_original_through_chains(
    world: World, here: Store, one: Store, two: Store, three: Store
) -> None:
    put(SEG, text(3), one)
    here.pull(P1, SEG, one)
    world.flow()
    two.pull(P1, SEG, here)
    world.flow()
    three.pull(P1, SEG, two)
    world.flow()
    here.pull(P1, SEG, three)
    one.free(SEG)
    world.flow()
    assert not any(store.segments for store in world.stores.values())
    assert not any(store.serving.readers for store in world.stores.values())


def test_who_dropped_its_copy_still_passes_the_word_on(world: World, here: Store, one: Store, two: Store) -> None:
    put(SEG, text(3), one)
    here.pull(P1, SEG, one)
    world.flow()
    two.pull(P1, SEG, here)
    world.flow()
    del here.segments[SEG]
    one.free(SEG)
    world.flow()
    assert not two.segments


def test_an_original_stays_though_it_was_once_a_copy(world: World, here: Store, one: Store) -> None:
    put(SEG, text(3), one)
    here.pull(P1, SEG, one)
    world.flow()
    here.seal(SEG, Segment(text(3), version=2))
    one.free(SEG)
    world.flow()
    assert here.segments[SEG].version == 2


def test_the_word_reaches_a_reader_whose_connection_was_down(world: World, here: Store, one: Store) -> None:
    put(SEG, text(3), one)
    here.pull(P1, SEG, one)
    world.flow()
    world.cut(b"here", b"one")
    one.free(SEG)
    world.flow()
    assert here.segments
    world.mend(b"here", b"one")
    world.pass_time(serves.RETRY_S)
    world.flow()
    assert not here.segments
    assert serves.next_turn_s(one.serving) is None


def test_a_reader_that_is_lost_is_forgotten(world: World, here: Store, one: Store) -> None:
    put(SEG, text(3), one)
    here.pull(P1, SEG, one)
    world.deliver((b"here", b"one"))
    world.kill(b"here")
    world.flow()
    assert not one.serving.readers
    assert not one.serving.requests


def test_what_nobody_waits_for_any_more_is_not_fetched(world: World, here: Store, one: Store) -> None:
    put(SEG, text(30), one)
    here.pull(P1, SEG, one)
    here.pull(P2, SEG, one)
    half_way(world, here, one)
    transfer.on_process_gone(here.pulls, here, P1, world.now)
    assert here.pulls.by_segment
    transfer.on_process_gone(here.pulls, here, P2, world.now)
    world.flow()
    assert not here.answers
    assert not here.parts


def test_what_a_process_here_makes_itself_is_not_fetched(world: World, here: Store, one: Store) -> None:
    put(SEG, text(30), one)
    here.pull(P1, SEG, one)
    half_way(world, here, one)
    here.seal(SEG, Segment(text(30), version=3))
    world.flow()
    assert here.answers == [(P1, SegmentHere(SEG))]
    assert here.segments[SEG].version == 3
    assert not here.parts


def test_an_owner_that_is_gone_takes_its_segments_along_wherever_they_are_going(
    world: World, here: Store, one: Store
) -> None:
    put(SEG, text(30), one)
    here.pull(P1, SEG, one)
    half_way(world, here, one)
    here.owner_gone(OWNER)
    here.pull(P2, SEG, one)
    world.flow()
    assert gone(here) == [(P1, transfer.OWNER_GONE), (P2, transfer.OWNER_GONE)]
    one.owner_gone(OWNER)
    assert not one.serving.readers


# -- serving ---------------------------------------------------------------------------------------------------------


def test_readers_take_turns(world: World, one: Store) -> None:
    put(SEG, text(20), one)
    for offset in range(0, 5 * CHUNK, CHUNK):
        serves.on_read(one.serving, one, b"here", ReadSegment(SEG, offset, CHUNK), world.now)
    serves.on_read(one.serving, one, b"two", ReadSegment(SEG, 0, CHUNK), world.now)
    order = []
    while one.jobs:
        order.append(one.jobs[0][1])
        one.work()
    assert order.index(b"two") <= serves.READ_AHEAD + 1
    assert len(order) == 6


def test_the_same_question_is_lined_up_once(world: World, one: Store) -> None:
    put(SEG, text(20), one)
    for _ in range(5):
        serves.on_read(one.serving, one, b"here", ReadSegment(SEG, 5 * CHUNK, CHUNK), world.now)
        serves.on_read(one.serving, one, b"here", ReadSegment(SEG, 6 * CHUNK, CHUNK), world.now)
        serves.on_read(one.serving, one, b"here", ReadSegment(SEG, 7 * CHUNK, CHUNK), world.now)
    while one.jobs:
        one.work()
    assert world.served[b"one"] <= 3 + 2


def test_a_file_is_closed_with_its_last_piece_or_when_nobody_reads_on(world: World, one: Store) -> None:
    put(SEG, text(3), one)
    serves.on_read(one.serving, one, b"here", ReadSegment(SEG, 0, CHUNK), world.now)
    one.work()
    assert one.serving.files
    world.pass_time(serves.IDLE_S)
    assert not one.serving.files
    serves.on_read(one.serving, one, b"here", ReadSegment(SEG, 2 * CHUNK, CHUNK), world.now)
    one.work()
    assert not one.serving.files


def test_a_question_that_makes_no_sense_is_answered_with_nothing(world: World, here: Store, one: Store) -> None:
    put(SEG, text(3), one)
    serves.on_read(one.serving, one, b"here", ReadSegment(SEG, -1, CHUNK), world.now)
    serves.on_read(one.serving, one, b"here", ReadSegment(SEG, 0, 0), world.now)
    assert [message.total for _, _, message in world.wires[b"here", b"one"]] == [-1, -1]


def test_words_about_segments_that_nobody_read_go_nowhere(world: World, one: Store) -> None:
    put(SEG, text(3), one)
    put(OTHER, text(3), one)
    one.free(SEG, OTHER)
    assert not world.wires
    one.hear(b"two", DropCopies((SEG,)))
    assert not world.wires
