"""The format of a segment, its size classes and names, and the rules of the pool: all of it pure."""

from __future__ import annotations

import dataclasses
import mmap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ipyactors.ground.ids import OBJECT_ID_BYTES
from ipyactors.store import layout
from ipyactors.store.layout import Header
from ipyactors.store.pool import Pool

lengths = st.integers(0, 2**40)
tables = st.lists(lengths, max_size=20)
segment_ids = st.binary(min_size=OBJECT_ID_BYTES, max_size=OBJECT_ID_BYTES)
writers = st.tuples(st.integers(0, 2**32), st.integers(0, 2**63))


@given(lengths, tables)
def test_nothing_overlaps_and_everything_is_aligned(data_bytes: int, buffer_bytes: list[int]) -> None:
    plan = layout.plan(data_bytes, buffer_bytes)
    end = layout.HEADER_BYTES + 16 * len(buffer_bytes)
    for (offset, length), wanted in zip([plan.data, *plan.buffers], [data_bytes, *buffer_bytes], strict=True):
        assert length == wanted
        assert end <= offset < end + layout.ALIGNMENT
        assert offset % layout.ALIGNMENT == 0
        end = offset + length
    assert plan.total == end


@given(segment_ids, lengths, tables, writers)
def test_what_is_packed_is_what_is_parsed(
    segment_id: bytes, data_bytes: int, buffer_bytes: list[int], writer: tuple[int, int]
) -> None:
    header = Header(segment_id, layout.plan(data_bytes, buffer_bytes), writer)
    packed = layout.pack(header)
    assert len(packed) == layout.head_bytes(packed) <= header.layout.data[0]
    assert layout.parse(packed, header.layout.total) == header
    assert layout.parse(memoryview(packed + b"more"), 2**63) == header
    assert layout.parse(packed, header.layout.total - 1) is None, "a file that is too short"
    assert layout.parse(packed[:-1], 2**63) is None


@given(st.data())
def test_no_damage_to_a_header_goes_unnoticed(data: st.DataObject) -> None:
    header = Header(bytes(range(OBJECT_ID_BYTES)), layout.plan(10, [70_000, 0, 5]), (1, 2))
    packed = bytearray(layout.pack(header))
    at = data.draw(st.integers(0, len(packed) - 1))
    packed[at] ^= data.draw(st.integers(1, 255))
    assert layout.parse(bytes(packed), 2**63) is None


@given(st.binary(max_size=300), st.booleans())
def test_noise_is_no_segment(noise: bytes, with_magic: bool) -> None:
    assert layout.parse(layout.MAGIC + noise if with_magic else noise, 2**63) is None


@given(st.integers(0, 2**50))
def test_a_size_class_wastes_at_most_a_fifth_and_there_are_four_per_power_of_two(total: int) -> None:
    size = layout.size_class(total)
    assert size >= total
    assert layout.size_class(size) == size
    assert size % mmap.PAGESIZE == 0
    if total > layout.SMALLEST_CLASS_BYTES:
        assert size - total < size / 5
    assert layout.size_class(layout.file_bytes_for(total)) == size


def test_the_classes_between_one_and_two_mebibytes() -> None:
    sizes = {layout.size_class(total) for total in range(2**20 + 1, 2**21 + 1, 1024)} | {layout.size_class(2**21)}
    assert sorted(sizes) == [2**20 + quarter * 2**18 for quarter in (1, 2, 3, 4)]
    assert layout.size_class(1) == layout.size_class(2**16) == layout.SMALLEST_CLASS_BYTES


@given(st.binary(max_size=100), st.lists(st.binary(max_size=100), max_size=5))
def test_the_size_of_a_value_is_that_of_its_file(data: bytes, buffers: list[bytes]) -> None:
    views = [memoryview(buffer) for buffer in buffers]
    size = layout.size_of(data, views)
    assert size % mmap.PAGESIZE == 0
    assert size - mmap.PAGESIZE < layout.plan(len(data), [len(buffer) for buffer in buffers]).total <= size


# -- names ---------------------------------------------------------------------------------------------------------


@given(segment_ids)
def test_a_name_says_which_segment_it_is(segment_id: bytes) -> None:
    name = layout.name_of(segment_id)
    assert layout.segment_id_of(name) == segment_id
    assert not layout.is_temporary(name)
    assert layout.writer_of(name) is None


@given(writers, st.integers(0, 10**9))
def test_a_temporary_name_says_whose_it_is(writer: tuple[int, int], number: int) -> None:
    name = layout.temporary_name(writer, number)
    assert name.startswith(f"{writer[0]}-")
    assert layout.is_temporary(name)
    assert layout.writer_of(name) == writer
    assert layout.segment_id_of(name) is None


@pytest.mark.parametrize(
    "name", ["usage", "", "00", "00" * 19, "0" * 39 + "g", "AB" * 20, " " + "00" * 20, "00" * 20 + ".tmp"]
)
def test_other_files_are_no_segments(name: str) -> None:
    assert layout.segment_id_of(name) is None
    assert layout.writer_of(name) is None


@pytest.mark.parametrize("segment_id", [b"", b"short", bytes(21)])
def test_what_is_no_object_id_has_no_name(segment_id: bytes) -> None:
    with pytest.raises(ValueError, match="20 bytes"):
        layout.name_of(segment_id)


# -- the pool ------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(eq=False)
class Kept:
    file_bytes: int


KEEP_BYTES, KEEP_COUNT = 1_000_000, 6


class PoolMachine(RuleBasedStateMachine):
    """A pool beside a plain list of what it should hold, oldest first."""

    def __init__(self) -> None:
        super().__init__()
        self.pool: Pool[Kept] = Pool(KEEP_BYTES, KEEP_COUNT)
        self.model: list[Kept] = []

    @rule(size=st.integers(1, 1_200_000))
    def add(self, size: int) -> None:
        kept = Kept(size)
        expected = [kept]
        if size <= KEEP_BYTES:
            self.model.append(kept)
            expected = []
            while sum(each.file_bytes for each in self.model) > KEEP_BYTES or len(self.model) > KEEP_COUNT:
                expected.append(self.model.pop(0))
        assert self.pool.add(kept) == expected

    @rule(size=st.integers(1, 1_200_000))
    def take(self, size: int) -> None:
        fitting = [each for each in self.model if layout.size_class(each.file_bytes) == layout.size_class(size)]
        taken = self.pool.take(size)
        assert taken is (fitting[-1] if fitting else None)
        if taken is not None:
            self.model.remove(taken)

    @rule()
    def clear(self) -> None:
        assert self.pool.clear() == self.model
        self.model = []

    @invariant()
    def holds(self) -> None:
        self.pool.check_invariants()
        assert len(self.pool) == len(self.model)
        assert self.pool.total_bytes == sum(each.file_bytes for each in self.model)


TestPool = PoolMachine.TestCase
TestPool.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_a_pool_of_nothing_keeps_nothing() -> None:
    for pool in (Pool[Kept](0, 5), Pool[Kept](10**9, 0)):
        kept = Kept(1)
        assert pool.add(kept) == [kept]
        assert pool.take(1) is None
        pool.check_invariants()
