"""What a machine says of its store: the files that are there, what the table knows of them, who maps them."""

from __future__ import annotations

import pathlib

from ipyactors.node import census
from ipyactors.node.store_table import Segment, Shelf, StoreTable
from ipyactors.store import layout, sweep
from ipyactors.store.sweep import Found
from ipyactors.wire.census_messages import ReportStore, SegmentRecord
from ipyactors.wire.store_messages import MappedFile

ONE, TWO, THREE = (b"d" + bytes([number]) * 19 for number in (1, 2, 3))


def table() -> StoreTable:
    made = StoreTable(b"n1", 1_000)
    made.put(Segment(ONE, 100, Shelf.ORIGINAL))
    made.put(Segment(TWO, 50, Shelf.DISK))
    made.pools[b"d1"] = 30
    return made


def test_amounts_and_segments_with_those_who_map_them() -> None:
    files = [Found(ONE, 128, is_spilled=False), Found(TWO, 64, is_spilled=True)]
    reported = census.report(table(), files, {ONE: (7, 8), THREE: (9,)}, {}, ReportStore(5, 10))
    assert reported.census_id == 5
    assert reported.segments == (SegmentRecord(ONE, 100, mapped_by=(7, 8)), SegmentRecord(TWO, 50, is_spilled=True))
    assert (reported.used_bytes, reported.limit_bytes) == (130, 1000)
    assert (reported.spilled_bytes, reported.pool_bytes) == (50, 30)
    assert reported.left_out == 0


def test_what_is_there_counts_and_not_what_was_told() -> None:
    reported = census.report(table(), [Found(THREE, 10, is_spilled=False)], {}, {}, ReportStore(1, 10))
    assert reported.segments == (SegmentRecord(THREE, 10),)


def test_the_largest_are_named_first() -> None:
    files = [Found(ONE, 1, is_spilled=False), Found(TWO, 3, is_spilled=False), Found(THREE, 2, is_spilled=False)]
    reported = census.report(StoreTable(b"n1", 10), files, {}, {}, ReportStore(1, 2))
    assert [segment.segment_id for segment in reported.segments] == [TWO, THREE]
    assert reported.left_out == 1


def test_freed_segments_that_are_still_mapped_are_named_by_themselves() -> None:
    made = table()
    kept, other = MappedFile(ONE, 11, 40), MappedFile(ONE, 12, 30)
    for file in (kept, other):
        made.mapped.add(file)
    files = [Found(ONE, 100, is_spilled=False)]  # made again since
    reported = census.report(made, files, {}, {other: (), kept: (7,)}, ReportStore(1, 10))
    assert reported.segments == (
        SegmentRecord(ONE, 100),
        SegmentRecord(ONE, 40, mapped_by=(7,), is_freed=True),
        SegmentRecord(ONE, 30, is_freed=True),
    )
    assert (reported.used_bytes, reported.mapped_bytes) == (200, 70)
    reported = census.report(made, files, {}, {other: (), kept: (7,)}, ReportStore(1, 1))
    assert [one.size for one in reported.segments] == [100, 40]
    assert reported.left_out == 1


def test_a_segment_that_is_being_moved_is_named_once() -> None:
    files = [Found(ONE, 100, is_spilled=True), Found(ONE, 100, is_spilled=False)]
    reported = census.report(table(), files, {}, {}, ReportStore(1, 10))
    assert reported.segments == (SegmentRecord(ONE, 100),)


def test_files_are_found_by_their_names(tmp_path: pathlib.Path) -> None:
    memory, disk = tmp_path / "memory", tmp_path / "disk"
    memory.mkdir()
    disk.mkdir()
    (memory / layout.name_of(ONE)).write_bytes(bytes(10))
    (disk / layout.name_of(TWO)).write_bytes(bytes(20))
    (memory / "1-1-1.tmp").write_bytes(bytes(30))
    (memory / "usage").write_bytes(bytes(16))
    found = sweep.published(str(memory), str(disk))
    assert sorted(found) == [Found(ONE, 10, is_spilled=False), Found(TWO, 20, is_spilled=True)]
    assert sweep.published(str(tmp_path / "nowhere"), str(disk)) == [Found(TWO, 20, is_spilled=True)]
