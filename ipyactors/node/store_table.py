"""What a machine's store holds, as its agent knows it: segments, where they are, and who is to get room. Pure.

Bytes in shared memory belong to one of six: segments, the pools of processes, memory that is given back to a writer,
freed segments that views still map, files that are being removed, and room that was promised and is not written yet.
Together they are ``used_bytes``.
"""

from __future__ import annotations

import dataclasses
import enum
from collections import deque
from collections.abc import Iterator
from typing import TypeAlias, TypeVar

from ipyactors.ground.ids import owner_of
from ipyactors.node.store_mapped import MappedFiles

_Value = TypeVar("_Value")

#: Above this share of the limit, memory is freed ...
HIGH_SHARE = 0.8
#: ... until this share is left. What was spilled comes back as long as it stays below.
LOW_SHARE = 0.6

#: How many processes and owners that are gone are remembered, for words of theirs that arrive late.
KEPT_GONE = 10_000

#: How many segments are in the hands of the thread that spills and restores, so that it never waits for this one.
MAX_MOVES = 32


class Shelf(enum.Enum):
    """Where a segment is, and what it may come to."""

    ORIGINAL = "original"
    """In memory. If memory is short, it goes to disk."""
    COPY = "copy"
    """In memory, and another machine has it too: dropped before anything is spilled."""
    DISK = "disk"


#: Where there is a file of a segment: in memory (ORIGINAL) first, then on disk. In both only for a moment.
Places: TypeAlias = tuple[Shelf, ...]


class MoveKind(enum.Enum):
    """What the disk's thread does with a segment."""

    SPILL = "spill"
    RESTORE = "restore"


@dataclasses.dataclass(slots=True)
class Segment:
    """A value that is here. ``writer`` is the process that may use its memory again, if it is alive.

    ``pulled_s`` is when a copy arrived: whoever asked for it has not mapped it at once. ``busy_until_s``: somebody has
    mapped it, so spilling it would give back no memory now. ``disk_uses``: how often it was mapped on disk since it is
    there.
    """

    segment_id: bytes
    size: int
    shelf: Shelf
    writer: bytes = b""
    pulled_s: float = 0.0
    busy_until_s: float = 0.0
    disk_uses: int = 0


@dataclasses.dataclass(slots=True)
class Move:
    """A segment on its way between memory and disk.

    ``is_stale`` is set when it was freed meanwhile, or written again: then the move may come to nothing.
    """

    kind: MoveKind
    size: int
    is_stale: bool = False


@dataclasses.dataclass(slots=True, frozen=True)
class Wish:
    """Somebody waits for room: a process of this machine, or (``process_id`` empty) a transfer of this number."""

    process_id: bytes
    number: int
    size: int


@dataclasses.dataclass(slots=True, frozen=True)
class Promise:
    """Room that was given and is not written yet, as far as is known. One that nobody uses lapses."""

    process_id: bytes
    number: int
    size: int
    until_s: float


@dataclasses.dataclass(slots=True, frozen=True)
class Return:
    """Memory that a writer was told to take back. If it does not say that it has, the agent removes it."""

    size: int
    until_s: float


@dataclasses.dataclass(slots=True)
class StoreTable:
    """See the head of this file. Of what is in a dict of segments, the least recently used comes first.

    ``to_restore`` are segments that were used on disk, the latest last. ``trims`` are processes that were told to give
    their pools back, and until when that is counted on; 0 for one that did not. ``free_bytes`` is what the file system
    of the store has left, ``disk_bytes`` that of the folder for what is spilled, both as of the last look. Nothing is
    spilled before ``no_spill_before_s``, for the disk was full. ``looked_s`` is when it was last looked what has become
    possible without anybody's word. No values change places before ``exchange_after_s``. ``gone_owners`` have each the
    segments that others have claimed.
    """

    node_id: bytes
    limit_bytes: int
    spill_dir: str = ""
    shelves: dict[Shelf, dict[bytes, Segment]] = dataclasses.field(
        default_factory=lambda: {shelf: {} for shelf in Shelf}
    )
    to_restore: dict[bytes, None] = dataclasses.field(default_factory=dict)
    moves: dict[bytes, Move] = dataclasses.field(default_factory=dict)
    pools: dict[bytes, int] = dataclasses.field(default_factory=dict)
    trims: dict[bytes, float] = dataclasses.field(default_factory=dict)
    returns: dict[bytes, dict[bytes, Return]] = dataclasses.field(default_factory=dict)
    wishes: deque[Wish] = dataclasses.field(default_factory=deque)
    promises: list[Promise] = dataclasses.field(default_factory=list)
    gone: dict[bytes, None] = dataclasses.field(default_factory=dict)
    gone_owners: dict[bytes, frozenset[bytes]] = dataclasses.field(default_factory=dict)
    free_bytes: int = 1 << 62
    disk_bytes: int = 1 << 62
    memory_bytes: int = 0
    spilled_bytes: int = 0
    returning_bytes: int = 0
    removing_bytes: int = 0
    no_spill_before_s: float = 0.0
    looked_s: float = 0.0
    exchange_after_s: float = 0.0
    mapped: MappedFiles = dataclasses.field(default_factory=MappedFiles)

    # -- amounts ---------------------------------------------------------------------------------------------------

    @property
    def used_bytes(self) -> int:
        """What counts against the limit."""
        leaving = self.returning_bytes + self.removing_bytes + self.mapped.total_bytes
        return self.memory_bytes + self.pool_bytes + leaving + self.promised_bytes

    @property
    def pool_bytes(self) -> int:
        """Freed memory that processes keep for their next values."""
        return sum(self.pools.values())

    @property
    def promised_bytes(self) -> int:
        """Room that was given, or taken for a segment that is being restored, and is not a segment yet."""
        restoring = sum(move.size for move in self.moves.values() if move.kind is MoveKind.RESTORE)
        return restoring + sum(promise.size for promise in self.promises)

    @property
    def high_bytes(self) -> int:
        """The high watermark."""
        return int(self.limit_bytes * HIGH_SHARE)

    @property
    def low_bytes(self) -> int:
        """The low watermark."""
        return int(self.limit_bytes * LOW_SHARE)

    def coming_bytes(self) -> int:
        """Return how much of what is used will be free soon; what does not come in time is no longer counted here."""
        spilling = sum(move.size for move in self.moves.values() if move.kind is MoveKind.SPILL and not move.is_stale)
        trimming = sum(self.pools[process_id] for process_id, until_s in self.trims.items() if until_s)
        return spilling + trimming + self.returning_bytes + self.removing_bytes

    # -- segments --------------------------------------------------------------------------------------------------

    def find(self, segment_id: bytes) -> Segment | None:
        """Return a segment, if it is here."""
        for shelf in self.shelves.values():
            if (found := shelf.get(segment_id)) is not None:
                return found
        return None

    def segments(self) -> Iterator[Segment]:
        """Yield all."""
        for shelf in self.shelves.values():
            yield from shelf.values()

    def put(self, segment: Segment) -> None:
        """Add a segment; it is the most recently used one of its shelf."""
        self.shelves[segment.shelf][segment.segment_id] = segment
        self._count(segment, 1)

    def take(self, segment: Segment) -> None:
        """Take a segment out."""
        del self.shelves[segment.shelf][segment.segment_id]
        self.to_restore.pop(segment.segment_id, None)
        self._count(segment, -1)

    def touch(self, segment: Segment) -> None:
        """Make it the most recently used."""
        shelf = self.shelves[segment.shelf]
        shelf[segment.segment_id] = shelf.pop(segment.segment_id)

    def place(self, segment: Segment, shelf: Shelf, size: int = -1) -> None:
        """Put a segment on another shelf, or on the same with another size."""
        self.take(segment)
        segment.disk_uses = 0
        segment.shelf = shelf
        segment.size = segment.size if size < 0 else size
        self.put(segment)

    def _count(self, segment: Segment, sign: int) -> None:
        if segment.shelf is Shelf.DISK:
            self.spilled_bytes += sign * segment.size
        else:
            self.memory_bytes += sign * segment.size

    # -- memory on its way back to writers -------------------------------------------------------------------------

    def add_return(self, writer: bytes, segment_id: bytes, back: Return) -> None:
        """Note that a writer was told to take back a segment."""
        self.returns.setdefault(writer, {})[segment_id] = back
        self.returning_bytes += back.size

    def drop_return(self, writer: bytes, segment_id: bytes) -> Return | None:
        """Forget that; return what there was."""
        returned = self.returns.get(writer, {})
        back = returned.pop(segment_id, None)
        if back is not None:
            self.returning_bytes -= back.size
            if not returned:
                del self.returns[writer]
        return back

    # -- who is gone -----------------------------------------------------------------------------------------------

    def remember_gone(self, process_id: bytes) -> None:
        """Remember that a process of this machine is gone."""
        _remember(self.gone, process_id, None)

    def remember_gone_owner(self, owner_id: bytes, keep: frozenset[bytes]) -> None:
        """Remember that what a process owned is not wanted any more, but for what others have claimed."""
        _remember(self.gone_owners, owner_id, keep)

    def is_unwanted(self, segment_id: bytes) -> bool:
        """Return whether the owner is gone, and nobody has claimed it."""
        keep = self.gone_owners.get(owner_of(segment_id))
        return keep is not None and segment_id not in keep

    def check_invariants(self) -> None:
        """Raise AssertionError if the tables contradict each other."""
        in_memory = [*self.shelves[Shelf.ORIGINAL].values(), *self.shelves[Shelf.COPY].values()]
        assert self.memory_bytes == sum(segment.size for segment in in_memory)
        assert self.spilled_bytes == sum(segment.size for segment in self.shelves[Shelf.DISK].values())
        assert self.removing_bytes >= 0
        self.mapped.check_invariants()
        ids = [segment.segment_id for segment in self.segments()]
        assert len(ids) == len(set(ids)), "a segment is on two shelves"
        for shelf, segments in self.shelves.items():
            for segment_id, segment in segments.items():
                assert (segment.segment_id, segment.shelf) == (segment_id, shelf)
                assert segment.size >= 0
        assert len(self.moves) <= MAX_MOVES
        for segment_id, move in self.moves.items():
            found = self.find(segment_id)
            if not move.is_stale:
                assert found is not None, "a segment is moved that is not here"
                assert (found.shelf is Shelf.DISK) == (move.kind is MoveKind.RESTORE)
            assert not any(segment_id in returned for returned in self.returns.values())
        assert all(size > 0 for size in self.pools.values())
        assert all(self.returns.values())
        returning = [back.size for returned in self.returns.values() for back in returned.values()]
        assert self.returning_bytes == sum(returning)
        for process_id in [*self.pools, *self.trims, *self.returns, *(wish.process_id for wish in self.wishes)]:
            assert process_id not in self.gone, "somebody who is gone has something"
        assert not [segment_id for segment_id in ids if self.is_unwanted(segment_id)]
        assert self.trims.keys() <= self.pools.keys()
        assert self.to_restore.keys() <= self.shelves[Shelf.DISK].keys()


def _remember(table: dict[bytes, _Value], key: bytes, value: _Value) -> None:
    """Note something of who is gone; the oldest of too many is forgotten."""
    table[key] = value
    while len(table) > KEPT_GONE:
        del table[next(iter(table))]
