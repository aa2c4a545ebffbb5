"""Who gets room in shared memory, and what goes for it. Pure.

Memory is freed in this order: the pools of processes (nobody's values), copies of what other machines have, and only
then values are spilled, the least recently used first. What somebody has mapped is not spilled, for its memory would
stay. Room is given in the order of the wishes. Who cannot be given any in memory writes straight to disk, and only if
that is full too, it is told so. What is used on disk comes back when there is plenty of room.

Without plenty of room, what is used on disk again and again changes places with what was used least recently in memory.
That is no thrashing, for three reasons. It takes ``HOT_USES`` uses on disk each time; room is made below the high
watermark first, so that bringing a value back never pushes out another (or itself) later; and the disk is given
``EXCHANGE_BYTES_S`` for it, however many values are used in turn. A store that is too small for what is used is slow
then, by disk; it does not stop.
"""

from __future__ import annotations

from collections.abc import Iterable

from ipyactors.node.store_out import StoreOut
from ipyactors.node.store_table import MAX_MOVES, Move, MoveKind, Promise, Segment, Shelf, StoreTable, Wish
from ipyactors.wire.events import Event, EventKind
from ipyactors.wire.store_messages import MappedFile, RoomMade, TrimPool

#: Room that was given and is not used for this long is given to others.
PROMISE_LASTS_S = 60.0

#: A process that was told to give its pool back has this long; after that, nobody waits for it any more.
TRIM_LASTS_S = 2.0

#: A copy is not dropped for this long: who asked for it may not have mapped it yet.
COPY_GRACE_S = 5.0

#: What is mapped is not tried to be spilled again for this long.
BUSY_S = 1.0

#: When a spill failed for want of room on the disk, none is begun for this long.
DISK_RETRY_S = 10.0

#: So often a value must be used on disk to change places with another, and this is how fast values do.
HOT_USES = 3
EXCHANGE_BYTES_S = 50_000_000

#: This much is left free on the disk by values that go there straight.
DISK_RESERVE_BYTES = 64 * 1024 * 1024


def wish(table: StoreTable, out: StoreOut, wanted: Wish, now: float) -> None:
    """Give room, or make some first, or send whoever wants it to the disk."""
    if wanted.size > table.limit_bytes:
        _send_to_disk(table, out, wanted)
    else:
        table.wishes.append(wanted)
        serve(table, out, now)


def serve(table: StoreTable, out: StoreOut, now: float) -> None:
    """Give room to those who wait, as far as there is any; make more for the first who has to go on waiting."""
    while table.wishes:
        wanted = table.wishes[0]
        missing = missing_bytes(table, wanted.size)
        if missing > 0 and shed(table, out, missing, now):
            return
        table.wishes.popleft()
        if missing > 0:
            _send_to_disk(table, out, wanted)
        else:
            promise = Promise(wanted.process_id, wanted.number, wanted.size, now + PROMISE_LASTS_S)
            table.promises.append(promise)
            _answer(out, wanted, spill=False)


def relieve(table: StoreTable, out: StoreOut, now: float) -> None:
    """Serve who waits; above the high watermark, free memory down to the low one; below that, bring values back."""
    serve(table, out, now)
    if table.used_bytes > table.high_bytes:
        shed(table, out, table.used_bytes - table.low_bytes, now)
    elif table.to_restore and not table.wishes:
        _restore(table, out, now)


def missing_bytes(table: StoreTable, size: int) -> int:
    """Return how much must be freed before ``size`` bytes can be written: by the accounts, and by the file system."""
    promised = table.promised_bytes
    return max(table.used_bytes + size - table.limit_bytes, promised + size - table.free_bytes)


def shed(table: StoreTable, out: StoreOut, wanted: int, now: float) -> bool:
    """See to it that ``wanted`` bytes come free, what is under way included. Return False if they will not."""
    wanted -= table.coming_bytes()
    if wanted > 0:
        wanted -= _trim_pools(table, out, now)
    if wanted > 0:
        wanted -= _drop_copies(table, out, wanted, now)
    return wanted <= 0 or _spill(table, out, wanted, now)


def remove(table: StoreTable, out: StoreOut, segment_id: bytes, size: int) -> None:
    """Have a segment's file removed that is in the table no more; its ``size`` bytes of memory count until then."""
    table.removing_bytes += size
    out.remove(segment_id, size)


def remove_unmapped(table: StoreTable, out: StoreOut, files: Iterable[MappedFile]) -> None:
    """Have freed segments removed that nobody maps any more; their memory counts until that is done."""
    for file in files:
        if table.mapped.drop(file):
            table.removing_bytes += file.size
            out.remove_mapped(file)


def report(table: StoreTable, out: StoreOut, kind: EventKind, segment_id: bytes, detail: str, wall_s: float) -> None:
    """Have the drivers hear what became of a segment."""
    out.report(Event(kind, wall_s, node_id=table.node_id, task_id=segment_id, detail=detail))


def in_mb(size: int) -> str:
    """Return a size in words."""
    return f"{size / 1e6:,.1f} MB"


def of_it_mapped(table: StoreTable) -> str:
    """Return in words how much memory views keep, to follow a word about memory; nothing if they keep none."""
    kept = table.mapped.total_bytes
    return f" (of it, {in_mb(kept)} are freed values that views still map)" if kept else ""


def _trim_pools(table: StoreTable, out: StoreOut, now: float) -> int:
    """Have every process give its pool back; return what that will bring."""
    asked = [process_id for process_id in table.pools if process_id not in table.trims]
    for process_id in asked:
        table.trims[process_id] = now + TRIM_LASTS_S
        out.tell_process(process_id, TrimPool())
    return sum(table.pools[process_id] for process_id in asked)


def _drop_copies(table: StoreTable, out: StoreOut, wanted: int, now: float) -> int:
    """Drop as many copies as need be; return what that will bring."""
    chosen: list[Segment] = []
    found = 0
    for segment in table.shelves[Shelf.COPY].values():
        if found >= wanted:
            break
        if segment.pulled_s + COPY_GRACE_S <= now and segment.segment_id not in table.moves:
            chosen.append(segment)
            found += segment.size
    for segment in chosen:
        table.take(segment)
        remove(table, out, segment.segment_id, segment.size)
    return found


def _spill(table: StoreTable, out: StoreOut, wanted: int, now: float) -> bool:
    """Begin to spill as much as need be, or as the thread takes; return False if there is not as much to spill."""
    if now < table.no_spill_before_s:
        return False
    for shelf in (Shelf.ORIGINAL, Shelf.COPY):
        for segment in table.shelves[shelf].values():
            if segment.segment_id in table.moves or segment.busy_until_s > now:
                continue
            if len(table.moves) >= MAX_MOVES:
                return True
            table.moves[segment.segment_id] = Move(MoveKind.SPILL, segment.size)
            out.spill(segment.segment_id)
            wanted -= segment.size
            if wanted <= 0:
                return True
    return False


def _restore(table: StoreTable, out: StoreOut, now: float) -> None:
    """Begin to bring back what was used on disk, the latest first, as much as stays below the low watermark.

    Of the others, the latest that is used again and again is brought back to below the high one.
    """
    for segment_id in reversed(list(table.to_restore)):
        segment = table.shelves[Shelf.DISK][segment_id]
        if len(table.moves) >= MAX_MOVES or table.used_bytes + segment.size > table.low_bytes:
            break
        _bring_back(table, out, segment)
    for segment_id in reversed(list(table.to_restore)):
        segment = table.shelves[Shelf.DISK][segment_id]
        if segment.disk_uses >= HOT_USES and segment.size <= table.low_bytes and segment_id not in table.moves:
            _exchange(table, out, segment, now)
            return


def _exchange(table: StoreTable, out: StoreOut, segment: Segment, now: float) -> None:
    """Make room for a value that is used on disk again and again; once there is, begin to bring it back."""
    if now < table.exchange_after_s or len(table.moves) >= MAX_MOVES:
        return
    over = table.used_bytes + segment.size - table.high_bytes
    if over > 0:
        shed(table, out, over, now)
    elif _bring_back(table, out, segment):
        table.exchange_after_s = now + segment.size / EXCHANGE_BYTES_S


def _bring_back(table: StoreTable, out: StoreOut, segment: Segment) -> bool:
    """Begin to bring a value back to memory, if that has room for it and it is not on its way."""
    if segment.segment_id in table.moves or missing_bytes(table, segment.size) > 0:
        return False
    del table.to_restore[segment.segment_id]
    table.moves[segment.segment_id] = Move(MoveKind.RESTORE, segment.size)
    out.restore(segment.segment_id)
    return True


def _send_to_disk(table: StoreTable, out: StoreOut, wanted: Wish) -> None:
    """Have it written straight to disk; if that is full too, say so."""
    if wanted.size + DISK_RESERVE_BYTES <= table.disk_bytes:
        _answer(out, wanted, spill=True)
        return
    problem = (
        f"{_why_not_in_memory(table, wanted.size)}, and the disk of {table.spill_dir}, where values go that memory has "
        f"no room for, has {in_mb(table.disk_bytes)} left"
    )
    _answer(out, wanted, spill=False, problem=problem)


def _why_not_in_memory(table: StoreTable, size: int) -> str:
    used = f"{in_mb(table.used_bytes)} are in use{of_it_mapped(table)}"
    if table.used_bytes + size > table.limit_bytes:
        return f"the store of this machine has {in_mb(table.limit_bytes)} of shared memory, of which {used}"
    # By its own accounts there is room: what is missing was taken by others.
    return (
        f"the store of this machine may take {in_mb(table.limit_bytes)} of shared memory, of which {used}, but its "
        f"file system, which it shares with others, has only {in_mb(table.free_bytes)} left"
    )


def _answer(out: StoreOut, wanted: Wish, *, spill: bool, problem: str = "") -> None:
    if wanted.process_id:
        out.tell_process(wanted.process_id, RoomMade(wanted.number, spill, problem))
    else:
        out.answer_transfer(wanted.number, spill=spill, problem=problem)
