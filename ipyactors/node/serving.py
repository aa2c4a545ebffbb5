"""Serving segments to the stores of other machines: whose piece is read next, and who is told when one is freed. Pure.

A *reader* is the store of another machine, by the name of its transfer socket. Readers take turns, piece by piece,
whatever each has asked for. Who has read a segment here may have a copy, which its owner knows nothing of: when the
segment is freed here, every reader is told, and tells its own readers.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Collection
from typing import TypeVar

from ipyactors.ground import ids
from ipyactors.node.transfer_out import ServeOut
from ipyactors.wire.store_messages import DropCopies, ReadSegment, SegmentChunk

#: How many pieces are read ahead of what is sent; the rest wait here, where the next reader's turn is decided.
READ_AHEAD = 2

#: A file of which nobody has wanted a piece for this long is closed; while open, its memory is not used again.
IDLE_S = 10.0

#: How often it is tried again to tell a reader that has no connection now.
RETRY_S = 1.0

#: How many freed segments, and how many owners that are gone, are remembered. Their files may still be there when
#: somebody asks: whoever wrote one is given the time to take its memory back.
KEPT_FREED = 10_000

_Value = TypeVar("_Value")


@dataclasses.dataclass(slots=True)
class Serving:
    """Everything that is known of readers.

    ``requests`` are the pieces that each reader waits for; the first reader is next. ``reading`` counts those that are
    being read from their files, ``files`` maps the segments whose files are open to when they were last wanted.
    ``readers`` are those who may have copies from here; ``undelivered`` is what readers must still be told. ``gone``
    are owners, each with the segments that others have claimed.
    """

    requests: dict[bytes, deque[ReadSegment]] = dataclasses.field(default_factory=dict)
    reading: int = 0
    files: dict[bytes, float] = dataclasses.field(default_factory=dict)
    readers: dict[bytes, dict[bytes, None]] = dataclasses.field(default_factory=dict)
    undelivered: dict[bytes, dict[bytes, None]] = dataclasses.field(default_factory=dict)
    retry_at_s: float | None = None
    freed: dict[bytes, None] = dataclasses.field(default_factory=dict)
    gone: dict[bytes, frozenset[bytes]] = dataclasses.field(default_factory=dict)

    def is_unwanted(self, segment_id: bytes) -> bool:
        """Return whether its owner is gone, and nobody has claimed it."""
        keep = self.gone.get(ids.owner_of(segment_id))
        return keep is not None and segment_id not in keep

    def check_invariants(self) -> None:
        """Raise AssertionError if the tables contradict each other."""
        assert 0 <= self.reading <= READ_AHEAD
        assert not self.requests or self.reading == READ_AHEAD, "somebody waits though nothing is being read"
        assert all(self.requests.values())
        assert all(self.readers.values())
        assert all(self.undelivered.values())
        assert not self.readers.keys() & self.freed.keys()
        assert len(self.freed) <= KEPT_FREED
        assert len(self.gone) <= KEPT_FREED
        assert (self.retry_at_s is None) == (not self.undelivered)


# -- pieces ----------------------------------------------------------------------------------------------------------


def on_read(serving: Serving, out: ServeOut, reader_id: bytes, message: ReadSegment, now: float) -> None:
    """Line a question up; the same one is not lined up twice."""
    _tell_undelivered(serving, out, reader_id)
    segment_id = message.segment_id
    is_over = segment_id in serving.freed or serving.is_unwanted(segment_id)
    if is_over or message.offset < 0 or message.length <= 0:
        out.send(reader_id, _nothing(message))
        return
    serving.files[segment_id] = now
    serving.readers.setdefault(segment_id, {})[reader_id] = None
    waiting = serving.requests.setdefault(reader_id, deque())
    if message not in waiting:
        waiting.append(message)
    _read_next(serving, out)


def on_piece(serving: Serving, out: ServeOut, reader_id: bytes, chunk: SegmentChunk) -> None:
    """Send a piece that was read; with the last one the file is closed, unless others are at it."""
    serving.reading -= 1
    out.send(reader_id, chunk)
    if chunk.total < 0:
        _drop_reader(serving, chunk.segment_id, reader_id)
    is_last = chunk.offset + len(chunk.data) >= chunk.total
    if is_last and not _is_wanted(serving, chunk.segment_id):
        _close(serving, out, chunk.segment_id)
    _read_next(serving, out)


def on_unreachable(
    serving: Serving, out: ServeOut, reader_id: bytes, message: SegmentChunk | DropCopies, now: float
) -> None:
    """Note that a message could not be sent. What a reader without a connection had asked for, it will ask again."""
    serving.requests.pop(reader_id, None)
    if isinstance(message, DropCopies):
        serving.undelivered.setdefault(reader_id, {}).update(dict.fromkeys(message.segment_ids))
        if serving.retry_at_s is None:
            serving.retry_at_s = now + RETRY_S
    _read_next(serving, out)


def on_turn(serving: Serving, out: ServeOut, now: float) -> None:
    """Close what nobody reads any more, and try again to tell who could not be told."""
    for segment_id in [segment_id for segment_id, wanted_s in serving.files.items() if now >= wanted_s + IDLE_S]:
        _close(serving, out, segment_id)
    if serving.retry_at_s is not None and now >= serving.retry_at_s:
        for reader_id in list(serving.undelivered):
            _tell_undelivered(serving, out, reader_id)


def next_turn_s(serving: Serving) -> float | None:
    """Return when :func:`on_turn` has something to do."""
    moments = [wanted_s + IDLE_S for wanted_s in serving.files.values()]
    if serving.retry_at_s is not None:
        moments.append(serving.retry_at_s)
    return min(moments, default=None)


# -- ends ------------------------------------------------------------------------------------------------------------


def on_freed(serving: Serving, out: ServeOut, segment_ids: Collection[bytes]) -> None:
    """Tell everyone who has read these that their copies are to go, and serve them no more."""
    drops: dict[bytes, list[bytes]] = {}
    for segment_id in segment_ids:
        for reader_id in serving.readers.get(segment_id, ()):
            drops.setdefault(reader_id, []).append(segment_id)
    for reader_id, dropped in drops.items():
        out.send(reader_id, DropCopies(tuple(dropped)))
    on_forgotten(serving, out, segment_ids)


def on_forgotten(serving: Serving, out: ServeOut, segment_ids: Collection[bytes]) -> None:
    """Serve these no more; other stores are told by somebody else."""
    gone = set(segment_ids)
    for segment_id in segment_ids:
        _remember(serving.freed, segment_id, None)
        serving.readers.pop(segment_id, None)
        _close(serving, out, segment_id)
    for reader_id, waiting in list(serving.requests.items()):
        left = deque(asked for asked in waiting if asked.segment_id not in gone)
        if left:
            serving.requests[reader_id] = left
        else:
            del serving.requests[reader_id]
        for asked in waiting:
            if asked.segment_id in gone:
                out.send(reader_id, _nothing(asked))
    _read_next(serving, out)


def on_sealed_here(serving: Serving, segment_id: bytes) -> None:
    """Serve a segment that was made again since it was freed."""
    serving.freed.pop(segment_id, None)


def on_reader_lost(serving: Serving, out: ServeOut, reader_id: bytes) -> None:
    """Forget a machine that is gone."""
    serving.requests.pop(reader_id, None)
    _delivered(serving, reader_id)
    for segment_id in list(serving.readers):
        _drop_reader(serving, segment_id, reader_id)
    _read_next(serving, out)


def on_owner_gone(serving: Serving, out: ServeOut, owner_id: bytes, keep: frozenset[bytes] = frozenset()) -> None:
    """Serve nothing of that owner's any more but what others claim (``keep``); other stores are told by the head."""
    _remember(serving.gone, owner_id, keep)
    on_forgotten(serving, out, list(filter(serving.is_unwanted, {**serving.readers, **serving.files})))


# -- details ---------------------------------------------------------------------------------------------------------


def _read_next(serving: Serving, out: ServeOut) -> None:
    """Have pieces read, one of each reader's in turn."""
    while serving.requests and serving.reading < READ_AHEAD:
        reader_id = next(iter(serving.requests))
        waiting = serving.requests.pop(reader_id)
        asked = waiting.popleft()
        if waiting:
            serving.requests[reader_id] = waiting  # at the end of the line
        serving.reading += 1
        out.read(reader_id, asked)


def _remember(memory: dict[bytes, _Value], an_id: bytes, value: _Value) -> None:
    """Remember an id among the latest ``KEPT_FREED``."""
    memory.pop(an_id, None)
    memory[an_id] = value
    if len(memory) > KEPT_FREED:
        del memory[next(iter(memory))]


def _is_wanted(serving: Serving, segment_id: bytes) -> bool:
    """Return whether somebody waits for a piece of it."""
    return any(asked.segment_id == segment_id for waiting in serving.requests.values() for asked in waiting)


def _close(serving: Serving, out: ServeOut, segment_id: bytes) -> None:
    """Close the file of a segment."""
    if serving.files.pop(segment_id, None) is not None:
        out.forget(segment_id)


def _nothing(asked: ReadSegment) -> SegmentChunk:
    """Return the answer that there is no such segment here."""
    return SegmentChunk(asked.segment_id, asked.offset, -1, 0, memoryview(b""))


def _drop_reader(serving: Serving, segment_id: bytes, reader_id: bytes) -> None:
    """Note that this machine has no copy from here."""
    readers = serving.readers.get(segment_id)
    if readers is not None:
        readers.pop(reader_id, None)
        if not readers:
            del serving.readers[segment_id]


def _tell_undelivered(serving: Serving, out: ServeOut, reader_id: bytes) -> None:
    """Try again to tell a reader what it has not heard; it comes back as a fact if that fails."""
    dropped = _delivered(serving, reader_id)
    if dropped:
        out.send(reader_id, DropCopies(tuple(dropped)))


def _delivered(serving: Serving, reader_id: bytes) -> dict[bytes, None]:
    """Take from the table what a reader must still be told."""
    dropped = serving.undelivered.pop(reader_id, {})
    if not serving.undelivered:
        serving.retry_at_s = None
    return dropped
