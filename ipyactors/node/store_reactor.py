"""What the agent decides about its machine's store. Pure: ``on_<fact>(table, out, ..., now)``; ``now`` is monotonic.

A name in a folder is taken away the moment that this is decided; only the memory follows later. So what is said and
done afterwards, such as a task that is run again and writes the same segment, never meets what was removed before.

Words of different processes overtake each other, and so do they and the disk's thread: a segment may be freed before
the process that wrote it has said that it is there, or written again while it is moved. So facts come with the *places*
where a file of that segment is just now, and these decide.
"""

from __future__ import annotations

from collections.abc import Iterable

from ipyactors.ground import ids
from ipyactors.node.store_out import StoreOut
from ipyactors.node.store_room import in_mb, of_it_mapped, relieve, remove, report, wish
from ipyactors.node.store_table import Places, Return, Segment, Shelf, StoreTable, Wish
from ipyactors.wire.events import EventKind
from ipyactors.wire.store_messages import (
    FreeSegments,
    LookForSegments,
    MakeRoom,
    PoolChanged,
    ReuseSegments,
    SegmentMapped,
    SegmentSealed,
    SegmentsFound,
)

#: A writer that was told to take memory back has this long; after that, it is removed.
RETURN_LASTS_S = 10.0

#: While memory is short and nothing can be done about it, or views keep some, this is how often to look again.
LOOK_AGAIN_S = 1.0


# -- what processes say ----------------------------------------------------------------------------------------------


def on_sealed(
    table: StoreTable,
    out: StoreOut,
    process_id: bytes,
    message: SegmentSealed,
    places: Places,
    now: float,
    wall_s: float,
) -> None:
    """Count a segment that a process has written."""
    segment_id = message.segment_id
    _use_promise(table, process_id, message.size)
    for writer in list(table.returns):
        # Also if the writer is the same: it wrote before it heard that this was freed, and will leave this one alone.
        table.drop_return(writer, segment_id)
    known = table.find(segment_id)
    if known is not None:
        table.take(known)
    move = table.moves.get(segment_id)
    if move is not None:
        move.is_stale = True
    elif len(places) > 1:
        out.remove_spilled(segment_id)
    if not places:
        # Freed before this was heard. The writer may have a mapping of what is gone.
        out.tell_process(process_id, ReuseSegments((segment_id,)))
    elif table.is_unwanted(segment_id):
        remove(table, out, segment_id, message.size if Shelf.ORIGINAL in places else 0)
    else:
        table.put(Segment(segment_id, message.size, places[0], process_id))
        if places[0] is Shelf.DISK and known is None:
            reason = f"shared memory has no room for it{of_it_mapped(table)}"
            detail = f"{in_mb(message.size)}, written straight to disk: {reason}"
            report(table, out, EventKind.OBJECT_SPILLED, segment_id, detail, wall_s)
    relieve(table, out, now)


def on_freed(table: StoreTable, out: StoreOut, process_id: bytes, message: FreeSegments, now: float) -> None:
    """Remove what its owner needs no more; a writer that lives gets its memory back for its next values."""
    reused = frozenset(message.reused)
    for segment_id in reused:
        known = _take(table, segment_id)
        if known is not None and known.shelf is Shelf.DISK:
            out.remove_spilled(segment_id)
    for file in message.mapped:
        known = _take(table, file.segment_id)
        table.mapped.add(file)
        if known is not None and known.shelf is Shelf.DISK:
            out.remove_spilled(file.segment_id)
        if known is not None and known.writer not in (b"", process_id):
            out.tell_process(known.writer, ReuseSegments((file.segment_id,)))  # it may have a mapping of it, too
    done = reused.union(file.segment_id for file in message.mapped)
    _free(table, out, (one for one in message.segment_ids if one not in done), process_id, now)
    relieve(table, out, now)


def on_pool_changed(table: StoreTable, out: StoreOut, process_id: bytes, message: PoolChanged, now: float) -> None:
    """Count what a process keeps; what it was told to take back is in that, or removed, or set aside."""
    for file in message.mapped:
        table.mapped.add(file)
    if process_id in table.gone:
        return
    table.trims.pop(process_id, None)
    table.pools.pop(process_id, None)
    if message.size > 0:
        table.pools[process_id] = message.size
    for segment_id in message.taken_back:
        table.drop_return(process_id, segment_id)
    relieve(table, out, now)


def on_make_room(table: StoreTable, out: StoreOut, process_id: bytes, message: MakeRoom, now: float) -> None:
    """Give room, now or as soon as there is some. Who asks for as much once more has found that there was none."""
    if process_id in table.gone:
        return
    for promise in table.promises:
        if (promise.process_id, promise.size) == (process_id, message.size):
            table.promises.remove(promise)
            break
    wish(table, out, Wish(process_id, message.request_id, message.size), now)


def on_mapped(table: StoreTable, out: StoreOut, message: SegmentMapped, now: float) -> None:
    """Bring a spilled segment back that is used again, as soon as that pushes nothing else out."""
    segment = table.find(message.segment_id)
    if segment is None:
        return
    table.touch(segment)
    if segment.shelf is Shelf.DISK:
        table.to_restore.pop(segment.segment_id, None)
        table.to_restore[segment.segment_id] = None
        segment.disk_uses += 1
        relieve(table, out, now)


def on_pull(table: StoreTable, segment_id: bytes, *, keep: bool) -> bool:
    """Return whether a segment that somebody wants from other machines is here. With ``keep`` it is to stay."""
    segment = table.find(segment_id)
    if segment is None:
        return False
    table.touch(segment)
    if keep and segment.shelf is Shelf.COPY:
        table.place(segment, Shelf.ORIGINAL)
    return True


def on_process_gone(table: StoreTable, out: StoreOut, process_id: bytes, now: float) -> None:
    """Take back what a process had for itself; what it has published stays until its owner is gone."""
    table.remember_gone(process_id)
    table.pools.pop(process_id, None)
    table.trims.pop(process_id, None)
    for waiting in [waiting for waiting in table.wishes if waiting.process_id == process_id]:
        table.wishes.remove(waiting)
    table.promises = [promise for promise in table.promises if promise.process_id != process_id]
    for segment_id in list(table.returns.get(process_id, ())):
        _end_return(table, out, process_id, segment_id)
    relieve(table, out, now)


# -- what the head says ----------------------------------------------------------------------------------------------


def on_owner_gone(
    table: StoreTable, out: StoreOut, owner_id: bytes, now: float, keep: frozenset[bytes] = frozenset()
) -> list[bytes]:
    """Remove all that a process owned but what others have claimed (``keep``); return what that was."""
    table.remember_gone_owner(owner_id, keep)
    owned = [
        segment.segment_id
        for segment in table.segments()
        if ids.owner_of(segment.segment_id) == owner_id and segment.segment_id not in keep
    ]
    on_forgotten(table, out, owned, now)
    return owned


def on_forgotten(table: StoreTable, out: StoreOut, segment_ids: Iterable[bytes], now: float) -> None:
    """Remove what nobody needs, whoever says so but the owner itself."""
    _free(table, out, segment_ids, b"", now)
    relieve(table, out, now)


def on_drop_copies(table: StoreTable, out: StoreOut, segment_ids: Iterable[bytes], now: float) -> list[bytes]:
    """Remove copies of what was freed elsewhere; return all of the segments but those that were written here.

    What a process of this machine has written again since is no copy: its owner frees it here.
    """
    found = {segment_id: table.find(segment_id) for segment_id in segment_ids}
    on_forgotten(table, out, [one for one, segment in found.items() if segment is not None and not segment.writer], now)
    return [one for one, segment in found.items() if segment is None or not segment.writer]


def on_look_for(table: StoreTable, out: StoreOut, message: LookForSegments) -> None:
    """Say what is here. It may be all that is left, so it is not dropped from now on."""
    found = tuple(segment_id for segment_id in message.segment_ids if on_pull(table, segment_id, keep=True))
    sizes = tuple(segment.size for segment in map(table.find, found) if segment is not None)
    out.tell_head(SegmentsFound(message.request_id, found, sizes))


def on_node_lost(table: StoreTable) -> None:
    """Keep all copies: the lost machine may have had what they are copies of."""
    for segment in list(table.shelves[Shelf.COPY].values()):
        table.place(segment, Shelf.ORIGINAL)


# -- what the transfers say ------------------------------------------------------------------------------------------


def on_transfer_wish(table: StoreTable, out: StoreOut, number: int, size: int, now: float) -> None:
    """Give room to a segment that is about to come from another machine."""
    wish(table, out, Wish(b"", number, size), now)


def on_transfer_over(table: StoreTable, out: StoreOut, number: int, now: float) -> None:
    """Take back the room of a transfer that came to nothing, or its wish for it."""
    _end_transfer(table, number)
    relieve(table, out, now)


def on_pulled(table: StoreTable, out: StoreOut, number: int, segment: Segment, now: float) -> None:
    """Count a copy that has come."""
    _end_transfer(table, number)
    segment.pulled_s = now
    known = table.find(segment.segment_id)
    if table.is_unwanted(segment.segment_id):
        remove(table, out, segment.segment_id, 0 if segment.shelf is Shelf.DISK else segment.size)
    elif known is None:
        table.put(segment)
    relieve(table, out, now)


# -- time ------------------------------------------------------------------------------------------------------------


def on_turn(table: StoreTable, out: StoreOut, now: float) -> None:
    """Give up what did not come in time."""
    table.looked_s = now
    table.promises = [promise for promise in table.promises if promise.until_s > now]
    for process_id, until_s in table.trims.items():
        if until_s <= now:
            table.trims[process_id] = 0.0
    for writer, returned in list(table.returns.items()):
        for segment_id in [segment_id for segment_id, back in returned.items() if back.until_s <= now]:
            _end_return(table, out, writer, segment_id)
    relieve(table, out, now)


def next_turn_s(table: StoreTable) -> float | None:
    """Return when :func:`on_turn` has something to do, if nothing happens before."""
    moments = [promise.until_s for promise in table.promises]
    moments += [until_s for until_s in table.trims.values() if until_s]
    moments += [next(iter(returned.values())).until_s for returned in table.returns.values()]
    if table.mapped:
        moments.append(table.looked_s + LOOK_AGAIN_S)
    elif table.used_bytes > table.high_bytes and not table.coming_bytes():
        moments.append(max(table.no_spill_before_s, table.looked_s + LOOK_AGAIN_S))
    return min(moments, default=None)


# -- details ---------------------------------------------------------------------------------------------------------


def _free(table: StoreTable, out: StoreOut, segment_ids: Iterable[bytes], sender: bytes, now: float) -> None:
    """Remove segments, or have their writers take them back."""
    to_reuse: dict[bytes, list[bytes]] = {}
    for segment_id in segment_ids:
        segment = _take(table, segment_id)
        if segment is None:
            remove(table, out, segment_id, 0)  # it may be here, and its writer's word still on its way
            continue
        is_writer_there = segment.writer not in (b"", sender) and segment.writer not in table.gone
        if segment.shelf is Shelf.ORIGINAL and is_writer_there and segment_id not in table.moves:
            table.add_return(segment.writer, segment_id, Return(segment.size, now + RETURN_LASTS_S))
            to_reuse.setdefault(segment.writer, []).append(segment_id)
        else:
            remove(table, out, segment_id, 0 if segment.shelf is Shelf.DISK else segment.size)
    for writer, returned in to_reuse.items():
        out.tell_process(writer, ReuseSegments(tuple(returned)))


def _end_return(table: StoreTable, out: StoreOut, writer: bytes, segment_id: bytes) -> None:
    """Remove what a writer has not taken back."""
    back = table.drop_return(writer, segment_id)
    if back is not None:
        remove(table, out, segment_id, back.size)


def _use_promise(table: StoreTable, process_id: bytes, size: int) -> None:
    """End the promise that a segment of ``size`` bytes fulfils: the largest that it can be."""
    fitting = [promise for promise in table.promises if promise.process_id == process_id and promise.size <= size]
    if process_id and fitting:
        table.promises.remove(max(fitting, key=lambda promise: promise.size))


def _end_transfer(table: StoreTable, number: int) -> None:
    table.promises = [promise for promise in table.promises if promise.process_id or promise.number != number]
    for waiting in [waiting for waiting in table.wishes if not waiting.process_id and waiting.number == number]:
        table.wishes.remove(waiting)


def _take(table: StoreTable, segment_id: bytes) -> Segment | None:
    """Take a segment out that is freed."""
    segment = table.find(segment_id)
    if segment is not None:
        table.take(segment)
    if segment_id in table.moves:
        table.moves[segment_id].is_stale = True
    return segment
