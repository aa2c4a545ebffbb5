"""Fetching segments from other machines: whom to ask for what, what to do when it does not come, who is told. Pure.

Each ``on_<fact>(pulls, out, ..., now)`` changes the table and tells ``out`` what to do; ``now`` is monotonic. Whatever
happens, a pull ends in one of two ways: every process that asked is told ``SegmentHere``, and the file is byte for
byte that of one source, or every one is told ``SegmentGone`` with the reason, and nothing is left of it.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection

from ipyactors.node.pulls import (
    KEPT_GONE,
    MAX_FRESH_STARTS,
    MAX_PULLS,
    MAX_STRIKES,
    STALL_S,
    Pull,
    Pulls,
    Source,
    Stage,
    choose_source,
    explain_failure,
)
from ipyactors.node.transfer_out import PullOut
from ipyactors.wire.store_messages import PullSegment, ReadSegment, SegmentChunk, SegmentGone, SegmentHere

#: Why a segment cannot be had whose owner is gone.
OWNER_GONE = "the process that owned it is gone"

# -- who wants what --------------------------------------------------------------------------------------------------


def on_pull(pulls: Pulls, out: PullOut, process_id: bytes, message: PullSegment, now: float) -> None:
    """Fetch a segment that is not here, or join those who wait for it; sources that are new are kept for later."""
    if pulls.is_unwanted(message.segment_id):
        out.tell(process_id, SegmentGone(message.segment_id, OWNER_GONE))
        return
    pull = pulls.by_segment.get(message.segment_id)
    is_new = pull is None
    if pull is None:
        pull = Pull(message.segment_id, pulls.new_number(), pulls.chunk_bytes)
        pulls.by_segment[pull.segment_id] = pulls.by_number[pull.number] = pull
        pulls.waiting.append(pull)
    pull.askers[process_id] = None
    pull.keep = pull.keep or message.keep
    known = {source.node_id for source in pull.sources}
    for location in message.sources:
        if location.node_id not in known and location.node_id != pulls.node_id:
            known.add(location.node_id)
            trouble = pulls.lost.get(location.node_id, "")
            pull.sources.append(Source(location, is_out=bool(trouble), trouble=trouble))
    if is_new:
        _start_waiting(pulls, out, now)


def on_process_gone(pulls: Pulls, out: PullOut, process_id: bytes, now: float) -> None:
    """Forget an asker; what nobody else waits for is not fetched."""
    for pull in [pull for pull in pulls.by_segment.values() if process_id in pull.askers]:
        del pull.askers[process_id]
        if not pull.askers:
            _end(pulls, out, pull, now)


def on_freed(pulls: Pulls, out: PullOut, segment_ids: Collection[bytes], detail: str, now: float) -> None:
    """Stop fetching what was freed by its owner, or went with it."""
    for segment_id in segment_ids:
        pull = pulls.by_segment.get(segment_id)
        if pull is not None:
            _fail(pulls, out, pull, detail, now)


def on_owner_gone(
    pulls: Pulls, out: PullOut, owner_id: bytes, now: float, keep: frozenset[bytes] = frozenset()
) -> None:
    """Stop fetching what a process owned that is gone, now and in future, but for what others claim (``keep``)."""
    pulls.gone[owner_id] = keep
    while len(pulls.gone) > KEPT_GONE:
        del pulls.gone[next(iter(pulls.gone))]
    on_freed(pulls, out, list(filter(pulls.is_unwanted, pulls.by_segment)), OWNER_GONE, now)


def on_sealed_here(pulls: Pulls, out: PullOut, segment_id: bytes, now: float) -> None:
    """Stop fetching what a process of this machine has just made itself."""
    pull = pulls.by_segment.get(segment_id)
    if pull is not None:
        _arrive(pulls, out, pull, now)
        out.abandon(pull.number)


# -- what sources say ------------------------------------------------------------------------------------------------


def on_chunk(pulls: Pulls, out: PullOut, node_id: bytes, chunk: SegmentChunk, now: float) -> None:
    """Take a piece. What is not asked of that source now, such as an answer that comes too late, is dropped."""
    pull = pulls.by_segment.get(chunk.segment_id)
    source = pull.source if pull is not None else None
    if pull is None or source is None or source.node_id != node_id or chunk.offset not in pull.asked:
        return
    pull.heard_s = now
    if chunk.total <= 0:
        source.is_out, source.trouble = True, "it does not have the segment"
        _go_on_elsewhere(pulls, out, pull, now)
    elif not _is_whole(pull, chunk):
        _on_damaged(pulls, out, pull, source, chunk.offset, now)
    elif pull.total >= 0 and (chunk.total, chunk.version) != (pull.total, pull.version):
        _on_other_version(pulls, out, pull, source, now)
    else:
        del pull.asked[chunk.offset]
        source.strikes = 0
        _take(pulls, out, pull, chunk, now)


def on_cut(pulls: Pulls, out: PullOut, node_id: bytes, now: float) -> None:
    """Leave a source whose connection broke, for another if there is one; else wait for it to come back."""
    if node_id in pulls.cut:
        return
    pulls.cut.add(node_id)
    for pull, source in _reading_from(pulls, node_id):
        _strike(source, "its connection broke")
        _go_on_elsewhere(pulls, out, pull, now)


def on_connected(pulls: Pulls, out: PullOut, node_id: bytes, now: float) -> None:
    """Ask a source again, once its connection is back, for what was asked in vain meanwhile."""
    if node_id not in pulls.cut:
        return
    pulls.cut.discard(node_id)
    for pull, source in _reading_from(pulls, node_id):
        pull.heard_s = now
        for offset in pull.asked:
            _ask_piece(out, pull, source, offset)


def on_node_lost(pulls: Pulls, out: PullOut, node_id: bytes, detail: str, now: float) -> None:
    """Strike a machine off every list, and off those still to come."""
    pulls.lost[node_id] = detail or "it is gone"
    pulls.cut.discard(node_id)
    reading = _reading_from(pulls, node_id)
    for pull in pulls.by_segment.values():
        for source in pull.sources:
            if source.node_id == node_id:
                source.is_out, source.trouble = True, pulls.lost[node_id]
    for pull, _source in reading:
        _go_on_elsewhere(pulls, out, pull, now)


def on_turn(pulls: Pulls, out: PullOut, now: float) -> None:
    """Leave the sources that have been silent for too long. To be called after what has arrived was acted upon."""
    for pull in list(pulls.by_segment.values()):
        source = pull.source
        if source is not None and pull.asked and now >= pull.heard_s + STALL_S:
            _strike(source, f"it sent nothing for {STALL_S:g} s")
            _go_on_elsewhere(pulls, out, pull, now)


def next_turn_s(pulls: Pulls) -> float | None:
    """Return when :func:`on_turn` has something to do, if nothing arrives before."""
    return min((pull.heard_s + STALL_S for pull in pulls.by_segment.values() if pull.asked), default=None)


# -- what the store and the files say --------------------------------------------------------------------------------


def on_room(pulls: Pulls, out: PullOut, number: int, spill: bool, problem: str, now: float) -> None:
    """Begin the file, in shared memory or on disk, and open the window; or give up if neither has room."""
    pull = pulls.by_number.get(number)
    if pull is None or pull.stage is not Stage.ROOM:
        return
    if problem:
        _fail(pulls, out, pull, problem, now, is_full=True)
        return
    assert pull.held is not None
    held, pull.held = pull.held, None
    _begin_file(pulls, out, pull, held, spill, now)


def on_written(pulls: Pulls, out: PullOut, number: int, offset: int, now: float) -> None:
    """Count a piece that is in the file; it makes a place in the window, or it was the last."""
    pull = pulls.by_number.get(number)
    if pull is None or offset not in pull.in_hand:
        return
    pull.in_hand.discard(offset)
    pull.written_bytes += pull.piece_bytes(offset, pull.total)
    if pull.written_bytes == pull.total:
        pull.step(Stage.PUBLISHING)
        out.publish(number)
    else:
        _ask(pulls, out, pull, now)


def on_published(pulls: Pulls, out: PullOut, number: int, now: float) -> bool:
    """Tell everyone that the segment is here. Return False if nobody wants it any more: it was freed, say."""
    pull = pulls.by_number.get(number)
    if pull is None:
        return False
    _arrive(pulls, out, pull, now)
    return True


def on_file_failed(pulls: Pulls, out: PullOut, number: int, detail: str, is_full: bool, now: float) -> None:
    """Begin again on disk if it was memory that filled up, though the accounts said there was room; else give up."""
    pull = pulls.by_number.get(number)
    if pull is None or not pull.has_file:
        return
    if is_full and not pull.must_spill:
        out.abandon(number)
        pull.must_spill = True
        _begin_afresh(pulls, out, pull, now)
    else:
        _fail(pulls, out, pull, detail, now, is_full=is_full)


# -- one pull --------------------------------------------------------------------------------------------------------


def _start_waiting(pulls: Pulls, out: PullOut, now: float) -> None:
    """Begin as many of those that wait as may be on."""
    while pulls.waiting and pulls.active() < MAX_PULLS:
        pull = pulls.waiting.popleft()
        pull.step(Stage.OPENING)
        _ask(pulls, out, pull, now)


def _ask(pulls: Pulls, out: PullOut, pull: Pull, now: float) -> None:
    """Ask for as many pieces as the window allows, of the source that is best when nothing is under way."""
    while pull.wants_more() and pull.may_ask():
        if not pull.asked:
            pull.source, pull.heard_s = choose_source(pull.sources, pulls.cut), now
        if pull.source is None:
            _fail(pulls, out, pull, explain_failure(pull), now)
            return
        offset = pull.take_offset()
        pull.asked[offset] = 1
        if pull.source.node_id not in pulls.cut:
            _ask_piece(out, pull, pull.source, offset)


def _ask_piece(out: PullOut, pull: Pull, source: Source, offset: int) -> None:
    """Ask for one piece. The first is asked for in full, whatever the segment's size."""
    length = pull.chunk_bytes if pull.total < 0 else pull.piece_bytes(offset, pull.total)
    out.ask(source.location, ReadSegment(pull.segment_id, offset, length))


def _is_whole(pull: Pull, chunk: SegmentChunk) -> bool:
    """Return whether the piece is what its sender read."""
    return len(chunk.data) == pull.piece_bytes(chunk.offset, chunk.total) and zlib.crc32(chunk.data) == chunk.crc


def _take(pulls: Pulls, out: PullOut, pull: Pull, chunk: SegmentChunk, now: float) -> None:
    """Write a good piece, or keep it if it is the first, until there is room for all."""
    if pull.stage is Stage.OPENING:
        pull.total, pull.version = chunk.total, chunk.version
        if pull.must_spill:
            _begin_file(pulls, out, pull, chunk.data, True, now)
        else:
            pull.step(Stage.ROOM)
            pull.held = chunk.data
            out.make_room(pull.number, pull.segment_id, pull.total)
        return
    pull.in_hand.add(chunk.offset)
    out.write(pull.number, chunk.offset, chunk.data)
    _ask(pulls, out, pull, now)


def _begin_file(pulls: Pulls, out: PullOut, pull: Pull, first: memoryview, spill: bool, now: float) -> None:
    """Write the first piece and ask for the others."""
    pull.step(Stage.READING)
    pull.must_spill = pull.must_spill or spill
    out.create(pull.number, pull.segment_id, spill=pull.must_spill)
    pull.in_hand.add(0)
    out.write(pull.number, 0, first)
    _ask(pulls, out, pull, now)


def _on_damaged(pulls: Pulls, out: PullOut, pull: Pull, source: Source, offset: int, now: float) -> None:
    """Ask for a damaged piece once more; a source that damages it twice is left for another."""
    if pull.asked[offset] == 1:
        pull.asked[offset] = 2
        _ask_piece(out, pull, source, offset)
        return
    _strike(source, f"it sent the piece at byte {offset} damaged, twice")
    _go_on_elsewhere(pulls, out, pull, now)


def _on_other_version(pulls: Pulls, out: PullOut, pull: Pull, source: Source, now: float) -> None:
    """Begin anew with what this source has: pieces of two writings do not make one segment."""
    if pull.fresh_starts >= MAX_FRESH_STARTS:
        source.is_out, source.trouble = True, "it has other contents than the sources before it"
        _go_on_elsewhere(pulls, out, pull, now)
        return
    out.abandon(pull.number)
    _begin_afresh(pulls, out, pull, now)


def _begin_afresh(pulls: Pulls, out: PullOut, pull: Pull, now: float) -> None:
    """Forget what has come so far, under a new number, and open again."""
    del pulls.by_number[pull.number]
    pull.begin_afresh(pulls.new_number())
    pulls.by_number[pull.number] = pull
    _ask(pulls, out, pull, now)


def _reading_from(pulls: Pulls, node_id: bytes) -> list[tuple[Pull, Source]]:
    """Return the pulls that wait for this source."""
    every = [(pull, pull.source) for pull in pulls.by_segment.values()]
    return [(pull, source) for pull, source in every if source is not None and source.node_id == node_id and pull.asked]


def _strike(source: Source, trouble: str) -> None:
    """Count a failure of a source."""
    source.strikes += 1
    source.trouble = trouble
    source.is_out = source.strikes >= MAX_STRIKES


def _go_on_elsewhere(pulls: Pulls, out: PullOut, pull: Pull, now: float) -> None:
    """Ask for what was under way again, of the source that is best now. Pieces that have come are not asked for."""
    pull.leave_source()
    _ask(pulls, out, pull, now)


# -- the end of one --------------------------------------------------------------------------------------------------


def _arrive(pulls: Pulls, out: PullOut, pull: Pull, now: float) -> None:
    """Tell everyone that the segment is here."""
    for process_id in pull.askers:
        out.tell(process_id, SegmentHere(pull.segment_id))
    _remove(pulls, out, pull, now)


def _fail(pulls: Pulls, out: PullOut, pull: Pull, detail: str, now: float, *, is_full: bool = False) -> None:
    """Tell everyone that the segment cannot be had, and why."""
    for process_id in pull.askers:
        out.tell(process_id, SegmentGone(pull.segment_id, detail, is_full))
    _end(pulls, out, pull, now)


def _end(pulls: Pulls, out: PullOut, pull: Pull, now: float) -> None:
    """Leave nothing of it."""
    if pull.stage not in (Stage.WAITING, Stage.OPENING):
        out.abandon(pull.number)
    _remove(pulls, out, pull, now)


def _remove(pulls: Pulls, out: PullOut, pull: Pull, now: float) -> None:
    """Take it off the table; the next one gets its place."""
    del pulls.by_segment[pull.segment_id], pulls.by_number[pull.number]
    if pull.stage is Stage.WAITING:
        pulls.waiting.remove(pull)
    _start_waiting(pulls, out, now)
