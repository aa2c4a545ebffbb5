"""What the agent decides about its store, without a file, a thread or a socket."""

from __future__ import annotations

from typing import Any

import pytest

from ipyactors.ground import ids
from ipyactors.node import store_moves, store_reactor
from ipyactors.node.store_limit import plan_limit
from ipyactors.node.store_mapped import MappedFiles
from ipyactors.node.store_moves import Failure
from ipyactors.node.store_reactor import LOOK_AGAIN_S, RETURN_LASTS_S
from ipyactors.node.store_room import (
    BUSY_S,
    COPY_GRACE_S,
    DISK_RESERVE_BYTES,
    DISK_RETRY_S,
    EXCHANGE_BYTES_S,
    HOT_USES,
    PROMISE_LASTS_S,
    TRIM_LASTS_S,
)
from ipyactors.node.store_table import MAX_MOVES, Segment, Shelf, StoreTable
from ipyactors.wire.events import Event, EventKind
from ipyactors.wire.store_messages import (
    FreeSegments,
    LookForSegments,
    MakeRoom,
    MappedFile,
    PoolChanged,
    ReuseSegments,
    RoomMade,
    SegmentMapped,
    SegmentSealed,
    SegmentsFound,
    TrimPool,
)

NODE, DRIVER, W1, W2 = b"n-------", b"d-------", b"w1------", b"w2------"
LIMIT = 1000
PLENTY = 1 << 40


def named(number: int, owner: bytes = DRIVER) -> bytes:
    return ids.object_id(owner, number)


A, B, C, D, E = (named(number) for number in range(5))


class Recorder:
    """A ``StoreOut`` that keeps what it is told, in order."""

    def __init__(self) -> None:
        self.deeds: list[tuple[Any, ...]] = []
        self.details: list[str] = []

    def tell_process(self, process_id: bytes, message: Any) -> None:
        self.deeds.append((process_id, message))

    def tell_head(self, message: Any) -> None:
        self.deeds.append(("head", message))

    def report(self, event: Event) -> None:
        self.deeds.append((event.kind, event.task_id))
        self.details.append(event.detail)

    def spill(self, segment_id: bytes) -> None:
        self.deeds.append(("spill", segment_id))

    def restore(self, segment_id: bytes) -> None:
        self.deeds.append(("restore", segment_id))

    def remove(self, segment_id: bytes, size: int) -> None:
        self.deeds.append(("remove", segment_id, size))

    def remove_mapped(self, file: MappedFile) -> None:
        self.deeds.append(("remove_mapped", file))

    def remove_spilled(self, segment_id: bytes) -> None:
        self.deeds.append(("remove_spilled", segment_id))

    def answer_transfer(self, number: int, *, spill: bool, problem: str) -> None:
        self.deeds.append(("transfer", number, spill, problem))


class Store:
    """A small language for the tests: say what happens, take what was done."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.out = Recorder()
        self.table = StoreTable(NODE, limit, "/spill", disk_bytes=PLENTY)
        self.now = 100.0

    def _deeds(self) -> list[tuple[Any, ...]]:
        self.table.check_invariants()
        deeds, self.out.deeds = self.out.deeds, []
        return deeds

    def on(self, fact: str, *arguments: Any) -> list[tuple[Any, ...]]:
        """Tell the reactor a fact; return everything that it did."""
        of = store_moves if hasattr(store_moves, f"on_{fact}") else store_reactor
        getattr(of, f"on_{fact}")(self.table, self.out, *arguments)
        return self._deeds()

    def seals(self, process: bytes, segment_id: bytes, size: int, *places: Shelf, is_here: bool = True) -> Any:
        places = places or ((Shelf.ORIGINAL,) if is_here else ())
        return self.on("sealed", process, SegmentSealed(segment_id, size), places, self.now, 0.0)

    def frees(
        self,
        process: bytes,
        *segment_ids: bytes,
        reused: tuple[bytes, ...] = (),
        mapped: tuple[MappedFile, ...] = (),
    ) -> Any:
        return self.on("freed", process, FreeSegments(segment_ids, reused, mapped), self.now)

    def wants(self, process: bytes, number: int, size: int) -> Any:
        return self.on("make_room", process, MakeRoom(number, size), self.now)

    def keeps(self, process: bytes, size: int, *taken_back: bytes) -> Any:
        return self.on("pool_changed", process, PoolChanged(size, taken_back), self.now)

    def has_spilled(self, segment_id: bytes, size: int, *places: Shelf) -> Any:
        return self.on("moved", segment_id, size, places or (Shelf.DISK,), self.now, 0.0)

    def has_restored(self, segment_id: bytes, size: int, *places: Shelf) -> Any:
        return self.on("moved", segment_id, size, places or (Shelf.ORIGINAL,), self.now, 0.0)

    def fails(self, segment_id: bytes, failure: Failure, *places: Shelf) -> Any:
        return self.on("move_failed", segment_id, failure, places, self.now)

    def pulled(self, number: int, segment_id: bytes, size: int, shelf: Shelf = Shelf.COPY) -> Any:
        return self.on("pulled", number, Segment(segment_id, size, shelf), self.now)

    def removed(self, size: int, *mapped: MappedFile) -> Any:
        return self.on("removed", size, mapped, self.now)

    def unmapped(self, *files: MappedFile) -> Any:
        return self.on("unmapped", files, self.now)

    def later(self, seconds: float) -> Any:
        self.now += seconds
        return self.on("turn", self.now)

    def shelf(self, segment_id: bytes) -> Shelf | None:
        found = self.table.find(segment_id)
        return None if found is None else found.shelf


@pytest.fixture
def store() -> Store:
    return Store()


def spilled(segment_id: bytes) -> tuple[Any, ...]:
    return (EventKind.OBJECT_SPILLED, segment_id)


# -- segments come and go ------------------------------------------------------------------------------------------


def test_a_segment_counts_until_it_is_freed(store: Store) -> None:
    assert store.seals(DRIVER, A, 300) == []
    assert store.table.used_bytes == 300
    assert store.frees(DRIVER, A) == [("remove", A, 300)]
    assert store.table.used_bytes == 300, "its memory is not free yet"
    assert store.removed(300) == []
    assert store.table.used_bytes == 0


def test_what_its_owner_uses_again_is_not_touched(store: Store) -> None:
    store.seals(DRIVER, A, 300)
    assert store.frees(DRIVER, A, reused=(A,)) == []
    assert store.keeps(DRIVER, 300) == []
    assert store.table.used_bytes == 300


def test_a_segment_that_is_written_again_counts_once(store: Store) -> None:
    store.seals(W1, A, 300)
    store.seals(W2, A, 400)
    assert store.table.used_bytes == 400
    assert store.frees(DRIVER, A) == [(W2, ReuseSegments((A,)))]


def test_a_writer_gets_its_memory_back(store: Store) -> None:
    store.seals(W1, A, 100)
    store.seals(W1, B, 100)
    store.seals(W2, C, 100)
    assert store.frees(DRIVER, A, B, C) == [(W1, ReuseSegments((A, B))), (W2, ReuseSegments((C,)))]
    assert store.table.used_bytes == 300
    assert store.keeps(W1, 200, A, B) == []
    assert store.keeps(W2, 0, C) == []
    assert store.table.used_bytes == 200


def test_a_writer_that_takes_nothing_back_loses_it(store: Store) -> None:
    store.seals(W1, A, 100)
    store.frees(DRIVER, A)
    assert store.later(RETURN_LASTS_S) == [("remove", A, 100)]
    store.seals(W1, B, 100)
    store.frees(DRIVER, B)
    assert store.on("process_gone", W1, store.now) == [("remove", B, 100)]


def test_a_writer_that_is_gone_gets_nothing_back(store: Store) -> None:
    store.seals(W1, A, 100)
    store.on("process_gone", W1, store.now)
    assert store.frees(DRIVER, A) == [("remove", A, 100)]


def test_a_segment_that_is_made_again_is_not_taken_back(store: Store) -> None:
    store.seals(W1, A, 100)
    store.frees(DRIVER, A)
    store.seals(W2, A, 100)
    assert store.table.used_bytes == 100
    assert store.later(RETURN_LASTS_S) == []


def test_a_segment_that_its_writer_wrote_again_before_it_heard_that_it_was_freed_stays(store: Store) -> None:
    store.seals(W1, A, 100)
    store.frees(DRIVER, A)
    assert store.seals(W1, A, 100) == []
    assert store.table.find(A) is not None
    assert store.keeps(W1, 0) == []  # the word reaches it, and it leaves the new writing alone
    assert store.table.used_bytes == 100
    assert store.later(RETURN_LASTS_S) == []


def test_a_segment_may_be_freed_before_it_is_heard_of(store: Store) -> None:
    assert store.frees(DRIVER, A) == [("remove", A, 0)]
    assert store.seals(W1, A, 100, is_here=False) == [(W1, ReuseSegments((A,)))]
    assert store.table.find(A) is None
    assert store.table.used_bytes == 0


def test_all_that_an_owner_had_goes_with_it(store: Store) -> None:
    mine, other = named(1, W1), named(2, W2)
    store.seals(W1, mine, 100)
    store.seals(W2, named(3, W1), 100)
    store.seals(W1, other, 100)
    store.on("process_gone", W1, store.now)
    assert store.on("owner_gone", W1, store.now) == [("remove", mine, 100), (W2, ReuseSegments((named(3, W1),)))]
    assert store.shelf(other) is Shelf.ORIGINAL
    late = named(4, W1)
    assert store.seals(W2, late, 100) == [("remove", late, 100)]
    assert store.pulled(1, named(5, W1), 100) == [("remove", named(5, W1), 100)]


def test_words_of_a_process_that_is_gone_leave_nothing(store: Store) -> None:
    store.on("process_gone", W1, store.now)
    assert store.keeps(W1, 500) == []
    assert store.wants(W1, 1, 10) == []
    assert store.table.used_bytes == 0
    store.seals(W1, A, 100)
    assert store.shelf(A) is Shelf.ORIGINAL, "what it had published is its owner's"


def test_a_process_takes_its_pool_and_its_wishes_along(store: Store) -> None:
    store.keeps(W1, 100)
    store.seals(DRIVER, A, 600)
    store.wants(W1, 1, 250)
    assert store.table.promised_bytes == 250
    store.on("process_gone", W1, store.now)
    assert store.table.used_bytes == 600


# -- room ----------------------------------------------------------------------------------------------------------


def test_room_is_given_and_kept_until_it_is_used(store: Store) -> None:
    assert store.wants(W1, 7, 300) == [(W1, RoomMade(7))]
    assert store.table.used_bytes == 300
    store.seals(W1, A, 320)
    assert store.table.used_bytes == 320


def test_room_that_nobody_uses_lapses(store: Store) -> None:
    store.wants(W1, 7, 300)
    store.later(PROMISE_LASTS_S)
    assert store.table.used_bytes == 0


def test_who_asks_again_has_found_no_room(store: Store) -> None:
    """The accounts said yes, the file system no: it is looked at, and the first promise is void."""
    store.wants(W1, 1, 300)
    store.table.free_bytes = 100
    assert store.wants(W1, 2, 300) == [(W1, RoomMade(2, spill=True))]
    assert store.table.used_bytes == 0


def test_a_value_larger_than_the_store_goes_straight_to_disk(store: Store) -> None:
    assert store.wants(W1, 1, LIMIT + 1) == [(W1, RoomMade(1, spill=True))]
    assert store.seals(W1, A, LIMIT + 1, Shelf.DISK) == [spilled(A)]
    assert (store.table.used_bytes, store.table.spilled_bytes) == (0, LIMIT + 1)
    assert store.frees(DRIVER, A) == [("remove", A, 0)]


def test_room_is_made_by_spilling_what_was_used_least_recently(store: Store) -> None:
    for segment_id in (A, B, C):
        store.seals(DRIVER, segment_id, 250)
    assert store.wants(W1, 1, 300) == [("spill", A)]
    assert store.wants(W2, 2, 300) == []
    assert store.has_spilled(A, 250) == [spilled(A), (W1, RoomMade(1)), ("spill", B)]
    assert store.has_spilled(B, 250) == [spilled(B), (W2, RoomMade(2)), ("spill", C)], "still above the watermark"


def test_a_pull_of_what_is_here_makes_it_recently_used(store: Store) -> None:
    for segment_id in (A, B, C):
        store.seals(DRIVER, segment_id, 250)
    assert store_reactor.on_pull(store.table, A, keep=False)
    assert not store_reactor.on_pull(store.table, D, keep=False)
    assert store.wants(W1, 1, 300) == [("spill", B)]


def test_wishes_are_served_in_their_order(store: Store) -> None:
    store.seals(DRIVER, A, 800)
    assert store.wants(W1, 1, 400) == [("spill", A)]
    assert store.wants(W2, 2, 10) == [], "it would fit, but the first must not starve"
    assert store.has_spilled(A, 800) == [spilled(A), (W1, RoomMade(1)), (W2, RoomMade(2))]


def test_who_dies_waiting_makes_place_for_the_next(store: Store) -> None:
    store.seals(DRIVER, A, 800)
    store.wants(W1, 1, 400)
    store.wants(W2, 2, 10)
    assert store.on("process_gone", W1, store.now) == [(W2, RoomMade(2))]


def test_pools_go_first_then_copies_then_values(store: Store) -> None:
    store.keeps(W1, 100)
    store.pulled(1, C, 100)
    store.seals(DRIVER, A, 250)
    store.seals(DRIVER, B, 250)
    store.now += COPY_GRACE_S
    assert store.wants(W2, 1, 350) == [(W1, TrimPool())]
    assert store.keeps(W1, 0) == [(W2, RoomMade(1)), ("remove", C, 100), ("spill", A)]


def test_copies_go_before_values_are_spilled(store: Store) -> None:
    store.pulled(1, C, 300)
    store.seals(DRIVER, A, 300)
    store.now += COPY_GRACE_S
    assert store.wants(W1, 1, 500) == [("remove", C, 300)]
    assert store.removed(300) == [(W1, RoomMade(1))]


def test_a_fresh_copy_is_not_dropped_under_the_hands_of_who_asked_for_it(store: Store) -> None:
    store.pulled(1, C, 500)
    assert store.wants(W1, 1, 600) == [("spill", C)]


def test_copies_that_may_be_the_last_are_kept(store: Store) -> None:
    store.pulled(1, A, 100)
    store.pulled(2, B, 100)
    store.pulled(3, C, 100)
    assert store_reactor.on_pull(store.table, A, keep=True)
    store_reactor.on_look_for(store.table, store.out, LookForSegments(9, (B, D)))
    assert store.out.deeds.pop() == ("head", SegmentsFound(9, (B,), (100,)))
    assert [store.shelf(one) for one in (A, B, C)] == [Shelf.ORIGINAL, Shelf.ORIGINAL, Shelf.COPY]
    store_reactor.on_node_lost(store.table)
    assert store.shelf(C) is Shelf.ORIGINAL
    store.table.check_invariants()


def test_a_process_that_does_not_trim_is_waited_for_in_vain_only_once(store: Store) -> None:
    store.keeps(W1, 500)
    store.seals(DRIVER, A, 290)
    assert store.wants(W2, 1, 300) == [(W1, TrimPool())]
    assert store.later(TRIM_LASTS_S) == [("spill", A)]
    assert store.has_spilled(A, 290) == [spilled(A), (W2, RoomMade(1))]
    assert store.wants(W2, 2, 310) == [(W2, RoomMade(2, spill=True))]
    assert store.keeps(W1, 600) == [(W1, TrimPool())], "it is there again"


def test_what_is_mapped_is_not_spilled(store: Store) -> None:
    store.seals(DRIVER, A, 400)
    store.seals(DRIVER, B, 300)
    assert store.wants(W1, 1, 500) == [("spill", A)]
    assert store.fails(A, Failure.BUSY, Shelf.ORIGINAL) == [("spill", B)]
    assert store.fails(B, Failure.BUSY, Shelf.ORIGINAL) == [(W1, RoomMade(1, spill=True))]
    assert store.wants(W1, 2, 500) == [(W1, RoomMade(2, spill=True))]
    store.now += BUSY_S
    assert store.wants(W1, 3, 500) == [("spill", A)]


def test_a_full_disk_loses_nothing_and_is_left_alone_for_a_while(store: Store) -> None:
    store.seals(DRIVER, A, 800)
    assert store.wants(W1, 1, 400) == [("spill", A)]
    store.table.disk_bytes = DISK_RESERVE_BYTES + 399
    ((to, answer),) = store.fails(A, Failure.FULL, Shelf.ORIGINAL)
    assert (to, answer.request_id, answer.spill) == (W1, 1, False)
    assert "in use" in answer.problem
    assert "/spill" in answer.problem
    assert "67.1 MB left" in answer.problem
    assert store.shelf(A) is Shelf.ORIGINAL
    assert store.seals(W1, B, 100) == []
    assert store_reactor.next_turn_s(store.table) == store.now + DISK_RETRY_S
    assert store.later(DISK_RETRY_S) == [("spill", A)]


def test_straight_to_disk_needs_room_there_too(store: Store) -> None:
    store.table.disk_bytes = 0
    ((_, answer),) = store.wants(W1, 1, LIMIT + 1)
    assert answer.problem
    assert not answer.spill


def test_only_so_many_are_spilled_at_once() -> None:
    store = Store(limit=1000 * MAX_MOVES)
    for number in range(2 * MAX_MOVES):
        store.seals(DRIVER, named(number), 390)
    deeds = store.wants(W1, 1, 900 * MAX_MOVES)
    assert deeds == [("spill", named(number)) for number in range(MAX_MOVES)]
    assert store.has_spilled(named(3), 390) == [spilled(named(3)), ("spill", named(MAX_MOVES))]


# -- watermarks ----------------------------------------------------------------------------------------------------


def test_above_the_high_watermark_values_are_spilled_down_to_the_low_one(store: Store) -> None:
    for segment_id in (A, B, C, D):
        assert store.seals(DRIVER, segment_id, 200) == []
    assert store.seals(DRIVER, E, 100) == [("spill", A), ("spill", B)]
    store.has_spilled(A, 200)
    store.has_spilled(B, 200)
    assert store.table.used_bytes == 500


def test_pools_alone_may_relieve(store: Store) -> None:
    store.keeps(W1, 300)
    store.seals(DRIVER, A, 500)
    assert store.seals(DRIVER, B, 50) == [(W1, TrimPool())]
    assert store.keeps(W1, 0) == []
    assert store.seals(DRIVER, C, 250) == []


def test_while_nothing_can_be_done_it_is_looked_again(store: Store) -> None:
    store.seals(DRIVER, A, 900)
    store.fails(A, Failure.BUSY, Shelf.ORIGINAL)
    due_s = store_reactor.next_turn_s(store.table)
    assert due_s == store.now + LOOK_AGAIN_S
    # It falls due when that time has come, however often it was asked meanwhile.
    store.now += LOOK_AGAIN_S / 2
    assert store_reactor.next_turn_s(store.table) == due_s
    store.now -= LOOK_AGAIN_S / 2
    assert store.later(LOOK_AGAIN_S) == [("spill", A)]
    assert store_reactor.next_turn_s(store.table) is None


# -- changing places ------------------------------------------------------------------------------------------------


@pytest.fixture
def crowded(store: Store) -> Store:
    """A of 200 bytes is on disk; B, C and D in memory fill it to the high watermark."""
    store.seals(DRIVER, A, 200, Shelf.DISK)
    for segment_id, size in ((B, 300), (C, 300), (D, 200)):
        store.seals(DRIVER, segment_id, size)
    return store


def uses(store: Store, segment_id: bytes, times: int = 1) -> list[Any]:
    return [deed for _ in range(times) for deed in store.on("mapped", SegmentMapped(segment_id), store.now)]


def test_what_is_read_again_and_again_changes_places_with_the_least_recently_used(crowded: Store) -> None:
    assert uses(crowded, A, HOT_USES - 1) == []
    assert uses(crowded, A) == [("spill", B)]
    assert uses(crowded, A) == [], "room is on its way"
    assert crowded.has_spilled(B, 300) == [spilled(B), ("restore", A)]
    crowded.has_restored(A, 200)
    assert (crowded.shelf(A), crowded.shelf(B)) == (Shelf.ORIGINAL, Shelf.DISK)
    assert crowded.table.used_bytes <= crowded.table.high_bytes


def test_values_do_not_change_places_faster_than_a_disk_can_bear(crowded: Store) -> None:
    uses(crowded, A, HOT_USES)
    crowded.has_spilled(B, 300)
    crowded.has_restored(A, 200)
    crowded.table.exchange_after_s = crowded.now + 5.0
    assert uses(crowded, B, HOT_USES) == []
    crowded.now += 5.0
    assert uses(crowded, B) == [("spill", C)]
    crowded.has_spilled(C, 300)
    assert crowded.table.exchange_after_s == crowded.now + 300 / EXCHANGE_BYTES_S


def test_what_was_brought_back_must_be_read_as_often_once_more(crowded: Store) -> None:
    uses(crowded, A, HOT_USES)
    crowded.has_spilled(B, 300)
    crowded.has_restored(A, 200)
    crowded.now += 60.0
    crowded.seals(DRIVER, E, 200)
    assert [crowded.has_spilled(C, 300), crowded.shelf(A)][1] is Shelf.ORIGINAL
    assert uses(crowded, C, HOT_USES - 1) == []


def test_nothing_changes_places_with_what_is_mapped(crowded: Store) -> None:
    crowded.seals(DRIVER, A, 200, Shelf.DISK)
    uses(crowded, A, HOT_USES)
    assert crowded.fails(B, Failure.BUSY, Shelf.ORIGINAL) == [("spill", C)]
    assert crowded.fails(C, Failure.BUSY, Shelf.ORIGINAL) == [("spill", D)]
    assert crowded.fails(D, Failure.BUSY, Shelf.ORIGINAL) == []
    assert crowded.shelf(A) is Shelf.DISK


def test_what_would_fill_memory_alone_stays_on_disk(store: Store) -> None:
    store.seals(DRIVER, A, 700, Shelf.DISK)
    store.seals(DRIVER, B, 300)
    assert uses(store, A, HOT_USES + 1) == []


# -- freed, and still mapped -----------------------------------------------------------------------------------------


def kept_of(segment_id: bytes, size: int, inode: int = 7) -> MappedFile:
    return MappedFile(segment_id, inode, size)


def test_what_views_keep_counts_until_they_go(store: Store) -> None:
    store.seals(DRIVER, A, 300)
    assert store.frees(DRIVER, A, mapped=(kept_of(A, 300),)) == []
    assert (store.table.memory_bytes, store.table.used_bytes) == (0, 300)
    due_s = store_reactor.next_turn_s(store.table)
    assert due_s is not None
    assert store.later(LOOK_AGAIN_S) == []
    assert store_reactor.next_turn_s(store.table) == store.now + LOOK_AGAIN_S
    assert store.unmapped(kept_of(A, 300)) == [("remove_mapped", kept_of(A, 300))]
    assert store.table.used_bytes == 300
    assert store.removed(300) == []
    assert store.table.used_bytes == 0
    assert store.unmapped(kept_of(A, 300)) == [], "it is known no more"
    assert store_reactor.next_turn_s(store.table) is None


def test_a_writer_is_told_of_what_its_reader_keeps(store: Store) -> None:
    """It may have the same memory mapped, to write there again."""
    store.seals(W1, A, 300)
    assert store.frees(DRIVER, A, mapped=(kept_of(A, 300),)) == [(W1, ReuseSegments((A,)))]
    assert store.keeps(W1, 0, A) == []
    assert store.table.used_bytes == 300


def test_a_writer_may_find_that_it_cannot_take_memory_back(store: Store) -> None:
    store.seals(W1, A, 300)
    assert store.frees(DRIVER, A) == [(W1, ReuseSegments((A,)))]
    store.on("pool_changed", W1, PoolChanged(0, (A,), (kept_of(A, 300),)), store.now)
    assert (store.table.returning_bytes, store.table.used_bytes) == (0, 300)


def test_who_tells_late_that_something_is_mapped_is_heard_though_it_is_gone(store: Store) -> None:
    store.on("process_gone", W1, store.now)
    store.on("pool_changed", W1, PoolChanged(50, (), (kept_of(A, 300),)), store.now)
    assert store.table.used_bytes == 300


def test_what_the_remover_finds_mapped_goes_on_counting_once(store: Store) -> None:
    store.seals(DRIVER, A, 300)
    assert store.frees(DRIVER, A) == [("remove", A, 300)]
    store.removed(300, kept_of(A, 300))
    store.removed(0, kept_of(A, 300))
    assert store.table.used_bytes == 300


def test_what_is_made_again_counts_beside_what_is_still_mapped(store: Store) -> None:
    store.seals(DRIVER, A, 300)
    store.frees(DRIVER, A, mapped=(kept_of(A, 300, 1),))
    store.seals(DRIVER, A, 200)
    store.frees(DRIVER, A, mapped=(kept_of(A, 200, 2),))
    assert store.table.used_bytes == 500
    store.unmapped(kept_of(A, 300, 1))
    store.removed(300)
    assert store.table.used_bytes == 200


def test_a_store_that_views_fill_sends_values_to_disk_and_says_so(store: Store) -> None:
    store.frees(DRIVER, A, mapped=(kept_of(A, 900),))
    assert store.wants(W1, 1, 200) == [(W1, RoomMade(1, spill=True))]
    store.seals(W1, B, 200, Shelf.DISK)
    assert "0.0 MB are freed values that views still map" in store.out.details[-1]
    store.table.disk_bytes = 0
    [(_, answer)] = store.wants(W1, 2, 200)
    assert "are in use (of it, 0.0 MB are freed values that views still map), and the disk" in answer.problem


def test_who_waits_gets_the_room_of_what_is_mapped_no_more(store: Store) -> None:
    store.seals(DRIVER, B, 500)
    store.frees(DRIVER, A, mapped=(kept_of(A, 300),))
    assert store.unmapped(kept_of(A, 300)) == [("remove_mapped", kept_of(A, 300))]
    assert store.wants(W1, 1, 250) == [], "it is coming"
    assert store.removed(300) == [(W1, RoomMade(1))]


def test_the_least_recently_looked_at_are_looked_at_next() -> None:
    files = MappedFiles()
    assert files.to_look_at(3) == []
    one, two, three = (kept_of(named(number), 1) for number in range(3))
    for file in (one, two, three):
        files.add(file)
    assert files.to_look_at(2) == [one, two]
    assert files.to_look_at(2) == [three, one]
    assert files.drop(two)
    assert not files.drop(two)
    assert files.to_look_at(9) == [three, one]


def test_a_file_system_that_others_have_filled_is_named(store: Store) -> None:
    store.table.free_bytes = 3_000_000
    store.table.limit_bytes, store.table.disk_bytes = 50_000_000, 0
    [(_, answer)] = store.wants(W1, 1, 16_000_000)
    assert answer.problem == (
        "the store of this machine may take 50.0 MB of shared memory, of which 0.0 MB are in use, but its file system, "
        "which it shares with others, has only 3.0 MB left, and the disk of /spill, where values go that memory has no "
        "room for, has 0.0 MB left"
    )


# -- moves, and what happens meanwhile -------------------------------------------------------------------------------


def spilling(store: Store) -> None:
    """A, of 500 bytes, is being spilled."""
    store.seals(W1, A, 500)
    assert store.wants(W2, 1, 600) == [("spill", A)]


def on_disk(store: Store) -> None:
    """A, of 500 bytes, is on disk, and memory is empty."""
    spilling(store)
    store.has_spilled(A, 500)
    store.later(PROMISE_LASTS_S)


def test_freed_while_it_is_spilled(store: Store) -> None:
    """Its writer would find no file: its names are taken away, and the move comes to nothing."""
    spilling(store)
    assert store.frees(DRIVER, A) == [("remove", A, 500)]
    assert store.fails(A, Failure.GONE) == []
    assert store.removed(500) == [(W2, RoomMade(1))]
    assert store.table.find(A) is None


def test_freed_when_the_spill_was_just_done(store: Store) -> None:
    """Its names were taken away after the move, so nothing is left."""
    spilling(store)
    assert store.frees(DRIVER, A) == [("remove", A, 500)]
    assert store.on("moved", A, 500, (), store.now, 0.0) == []
    assert store.removed(500) == [(W2, RoomMade(1))]


def test_written_again_before_it_is_spilled(store: Store) -> None:
    """It is the new writing that was spilled."""
    spilling(store)
    assert store.seals(W2, A, 500) == [(W2, RoomMade(1, spill=True))], "nothing else can be spilled now"
    assert store.has_spilled(A, 500) == [spilled(A)]
    assert store.shelf(A) is Shelf.DISK


def test_written_again_after_it_was_spilled(store: Store) -> None:
    spilling(store)
    store.seals(W2, A, 500, Shelf.ORIGINAL, Shelf.DISK)
    assert store.has_spilled(A, 500, Shelf.ORIGINAL, Shelf.DISK) == [("remove_spilled", A)]
    assert store.shelf(A) is Shelf.ORIGINAL


def test_written_again_before_it_is_heard_that_it_was_spilled(store: Store) -> None:
    spilling(store)
    assert store.has_spilled(A, 500, Shelf.ORIGINAL, Shelf.DISK) == [("remove_spilled", A), ("spill", A)]
    assert store.shelf(A) is Shelf.ORIGINAL
    store.seals(W2, A, 500)
    assert store.table.memory_bytes == 500


def test_written_again_when_it_is_on_disk(store: Store) -> None:
    on_disk(store)
    assert store.seals(W2, A, 500, Shelf.ORIGINAL, Shelf.DISK) == [("remove_spilled", A)]
    assert (store.shelf(A), store.table.spilled_bytes) == (Shelf.ORIGINAL, 0)


def test_removed_by_somebody_before_it_could_be_spilled(store: Store) -> None:
    spilling(store)
    assert store.fails(A, Failure.GONE) == [(W2, RoomMade(1))]
    assert store.table.find(A) is None


def test_a_spilled_segment_comes_back_when_it_is_used_and_there_is_room(store: Store) -> None:
    on_disk(store)
    store.seals(DRIVER, B, 101)
    assert store.on("mapped", SegmentMapped(A), store.now) == [], "not yet"
    assert store.frees(DRIVER, B, reused=(B,)) == [("restore", A)]
    assert store.on("mapped", SegmentMapped(A), store.now) == []
    assert store.table.used_bytes == 500, "its room is taken"
    assert store.has_restored(A, 512) == [(EventKind.OBJECT_RESTORED, A)]
    assert (store.shelf(A), store.table.used_bytes, store.table.spilled_bytes) == (Shelf.ORIGINAL, 512, 0)
    assert store.frees(DRIVER, A) == [(W1, ReuseSegments((A,)))]


def test_mapping_what_is_not_known_or_not_on_disk_does_nothing(store: Store) -> None:
    store.seals(DRIVER, A, 100)
    assert store.on("mapped", SegmentMapped(A), store.now) == []
    assert store.on("mapped", SegmentMapped(B), store.now) == []


@pytest.mark.parametrize("failure", Failure)
def test_a_restore_that_fails(store: Store, failure: Failure) -> None:
    on_disk(store)
    store.on("mapped", SegmentMapped(A), store.now)
    is_there = failure is not Failure.GONE
    assert store.fails(A, failure, *((Shelf.DISK,) if is_there else ())) == []
    assert store.shelf(A) is (Shelf.DISK if is_there else None)
    assert store.table.used_bytes == 0
    assert store.table.no_spill_before_s == 0.0


def test_freed_while_it_is_restored(store: Store) -> None:
    on_disk(store)
    store.on("mapped", SegmentMapped(A), store.now)
    assert store.frees(DRIVER, A) == [("remove", A, 0)]
    assert store.on("moved", A, 500, (), store.now, 0.0) == []
    assert store.table.used_bytes == 0


def test_written_to_disk_again_while_it_is_restored(store: Store) -> None:
    on_disk(store)
    store.on("mapped", SegmentMapped(A), store.now)
    store.seals(W2, A, 500, Shelf.DISK)
    both = (Shelf.ORIGINAL, Shelf.DISK)
    assert store.has_restored(A, 500, *both) == [("remove_spilled", A), (EventKind.OBJECT_RESTORED, A)]
    assert store.shelf(A) is Shelf.ORIGINAL


# -- transfers -------------------------------------------------------------------------------------------------------


def test_a_transfer_gets_room_like_everyone(store: Store) -> None:
    assert store.on("transfer_wish", 5, 300, store.now) == [("transfer", 5, False, "")]
    assert store.table.used_bytes == 300
    assert store.pulled(5, A, 300) == []
    assert (store.table.used_bytes, store.shelf(A)) == (300, Shelf.COPY)
    assert store.on("transfer_wish", 6, LIMIT + 1, store.now) == [("transfer", 6, True, "")]


def test_a_transfer_that_comes_to_nothing_gives_its_room_back(store: Store) -> None:
    store.on("transfer_wish", 5, 600, store.now)
    assert store.wants(W1, 1, 600) == [(W1, RoomMade(1, spill=True))]
    store.seals(DRIVER, A, 200)
    assert store.on("transfer_wish", 6, 400, store.now) == [("spill", A)]
    assert store.on("transfer_over", 6, store.now) == []
    store.on("transfer_over", 5, store.now)
    store.on("transfer_over", 5, store.now)
    assert store.table.used_bytes == 200


def test_a_copy_of_what_was_made_here_meanwhile_is_not_counted(store: Store) -> None:
    store.seals(DRIVER, A, 300)
    store.on("transfer_wish", 5, 300, store.now)
    assert store.pulled(5, A, 300) == []
    assert (store.table.used_bytes, store.shelf(A)) == (300, Shelf.ORIGINAL)


# -- the limit -------------------------------------------------------------------------------------------------------

GB, MB = 1_000_000_000, 1_000_000


@pytest.mark.parametrize(
    ("given", "memory", "free", "limit", "words"),
    [
        (0, 10 * GB, 5 * GB, 3 * GB, ""),
        (0, 10 * GB, 3 * GB, 2_400 * MB, ""),
        (0, 10 * GB, 64 * MB, 51_200_000, "--shm-size"),
        (2 * GB, 10 * GB, 5 * GB, 2 * GB, ""),
        (9 * GB, 10 * GB, 5 * GB, 4 * GB, "instead of the 9,000.0 MB asked for"),
    ],
)
def test_how_much_memory_values_may_take(given: int, memory: int, free: int, limit: int, words: str) -> None:
    planned = plan_limit(given, memory, free, "/dev/shm")
    assert planned.limit_bytes == limit
    assert (words in planned.warning) if words else not planned.warning
