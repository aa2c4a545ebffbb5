"""The agent's part of a census: what its store has, and who reads it there. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping

from ipyactors.node.store_table import StoreTable
from ipyactors.store.sweep import Found
from ipyactors.wire.census_messages import ReportStore, SegmentRecord, StoreReported
from ipyactors.wire.store_messages import MappedFile


def report(
    table: StoreTable,
    files: Iterable[Found],
    mapped_by: Mapping[bytes, tuple[int, ...]],
    freed: Mapping[MappedFile, tuple[int, ...]],
    message: ReportStore,
) -> StoreReported:
    """Return what there is; the largest segments first, where there are more than was asked for.

    ``files`` are the segments that are there, told to this store or not yet. ``mapped_by`` are the pids of the
    processes that have a segment mapped, by segment id; ``freed`` are the same of freed segments that were set aside.
    """
    still = [
        SegmentRecord(file.segment_id, file.size, mapped_by=freed[file], is_freed=True)
        for file in heapq.nlargest(message.at_most, freed, key=lambda one: one.size)
    ]
    found = {one.segment_id: one for one in files}
    named = heapq.nlargest(message.at_most, found.values(), key=lambda one: one.size)
    segments = []
    for one in named:
        known = table.find(one.segment_id)
        size = one.size if known is None else known.size
        segments.append(SegmentRecord(one.segment_id, size, one.is_spilled, mapped_by.get(one.segment_id, ())))
    return StoreReported(
        message.census_id,
        (*segments, *still),
        used_bytes=table.used_bytes,
        limit_bytes=table.limit_bytes,
        spilled_bytes=table.spilled_bytes,
        pool_bytes=table.pool_bytes,
        left_out=len(found) - len(named) + len(freed) - len(still),
        mapped_bytes=table.mapped.total_bytes,
    )
