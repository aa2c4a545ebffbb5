"""What the agent decides when the disk's threads have moved or removed something, or could not. Pure.

A segment may be freed while it is moved, or written again: so where it is afterwards is looked up (``places``), and not
concluded from what was done.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

from ipyactors.node.store_out import StoreOut
from ipyactors.node.store_room import BUSY_S, DISK_RETRY_S, in_mb, of_it_mapped, relieve, remove_unmapped, report
from ipyactors.node.store_table import MoveKind, Places, Segment, Shelf, StoreTable
from ipyactors.wire.events import EventKind
from ipyactors.wire.store_messages import MappedFile


class Failure(enum.Enum):
    """Why a segment was not moved; nothing is lost."""

    BUSY = "busy"
    """Somebody has mapped it."""
    GONE = "gone"
    """It is not where it was: removed, or written again."""
    FULL = "full"
    """There is no room where it was to go, or the disk does not work."""


def on_moved(
    table: StoreTable, out: StoreOut, segment_id: bytes, size: int, places: Places, now: float, wall_s: float
) -> None:
    """Note that a segment is on disk now, or in memory again, where it takes ``size`` bytes."""
    move = table.moves.pop(segment_id)
    segment = table.find(segment_id)
    if segment is not None:
        before, full = segment.shelf, 100 * table.used_bytes // max(1, table.limit_bytes)
        _look_where(table, out, segment, places, segment.size if move.is_stale else size)
        if places and segment.shelf is Shelf.DISK is not before:
            reason = f"least recently used while {full} % of shared memory was in use{of_it_mapped(table)}"
            detail = f"{in_mb(size)}, {reason}"
            report(table, out, EventKind.OBJECT_SPILLED, segment_id, detail, wall_s)
        elif places and before is Shelf.DISK is not segment.shelf:
            report(table, out, EventKind.OBJECT_RESTORED, segment_id, f"{in_mb(size)}, used again", wall_s)
    relieve(table, out, now)


def on_move_failed(
    table: StoreTable, out: StoreOut, segment_id: bytes, failure: Failure, places: Places, now: float
) -> None:
    """Leave a segment where it is. It is not tried again at once; if it is not there any more, it is forgotten."""
    move = table.moves.pop(segment_id)
    segment = table.find(segment_id)
    if segment is not None:
        _look_where(table, out, segment, places, segment.size)
    if failure is Failure.FULL and move.kind is MoveKind.SPILL:
        table.no_spill_before_s = now + DISK_RETRY_S
    elif failure is Failure.BUSY and segment is not None and places:
        segment.busy_until_s = now + BUSY_S
        table.looked_s = now
        table.touch(segment)
    relieve(table, out, now)


def on_removed(table: StoreTable, out: StoreOut, size: int, mapped: Iterable[MappedFile], now: float) -> None:
    """Note that the memory of a removed file is free, but for what has been found to be ``mapped``."""
    table.removing_bytes -= size
    for file in mapped:
        table.mapped.add(file)
    relieve(table, out, now)


def on_unmapped(table: StoreTable, out: StoreOut, files: Iterable[MappedFile], now: float) -> None:
    """Give the memory back of freed segments whose last view has gone."""
    remove_unmapped(table, out, files)
    relieve(table, out, now)


def _look_where(table: StoreTable, out: StoreOut, segment: Segment, places: Places, size: int) -> None:
    """Count a segment where it is after a move, whatever processes have done to it meanwhile."""
    if not places:
        table.take(segment)
        return
    if len(places) > 1:
        out.remove_spilled(segment.segment_id)
    if (places[0] is Shelf.DISK) != (segment.shelf is Shelf.DISK):
        table.place(segment, places[0], size)
