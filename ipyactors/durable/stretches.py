"""What can be read of a log, however damaged it is: stretches of whole records that follow each other.

A log that is in order is one stretch. One that is broken in places has one before each break, and one behind it, which
a checkpoint in it makes use of. Its reading, and what counts as broken, is :mod:`~ipyactors.durable.log`'s.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from ipyactors.durable import log, segment
from ipyactors.durable.disk import Disk
from ipyactors.durable.log import Contents, Piece
from ipyactors.durable.manifest import Manifest
from ipyactors.durable.record import Record
from ipyactors.durable.segment import HEAD_BYTES, Read


@dataclasses.dataclass(slots=True)
class Stretch:
    """Whole records from one position to another. ``is_safe`` is False for those behind a torn end."""

    start: int
    end: int
    reads: list[Read]
    is_safe: bool = True

    @property
    def contents(self) -> Contents:
        """The same as a log, for :mod:`~ipyactors.durable.recovery`."""
        return Contents(tuple(self.reads), self.end)

    @property
    def records(self) -> list[Record]:
        """All records, in their order."""
        return self.contents.records

    def is_between_records(self, position: int) -> bool:
        """Return whether a record begins there, or the last one ends."""
        return position == self.end or any(at == position for at, _ in self.contents.positioned())


@dataclasses.dataclass(slots=True)
class Reading:
    """A whole log as it was found. ``pieces`` are its files; ``end`` is where it ends, None if that cannot be told."""

    pieces: list[Piece]
    stretches: list[Stretch]
    end: int | None

    def around(self, position: int) -> Stretch | None:
        """Return the stretch that a checkpoint at this position goes on in; None if it is in none."""
        return next((one for one in self.stretches if one.start <= position <= one.end), None)

    def located(self, *, unsafe: bool = False) -> Iterator[tuple[str, Stretch, Record]]:
        """Yield all records with their files; ``unsafe``: also those behind a torn end."""
        for stretch in self.stretches:
            if stretch.is_safe or unsafe:
                for part in stretch.reads:
                    for one in part.records:
                        yield segment.name_at(part.start), stretch, one

    def place_of(self, position: int) -> tuple[str, int]:
        """Return the file that a position is in, and where in it that is (bytes)."""
        starts = [piece.start for piece in self.pieces if piece.start <= position]
        start = max(starts, default=self.pieces[0].start if self.pieces else 0)
        return segment.name_at(start), HEAD_BYTES + position - start


def read(disk: Disk, actor_id: bytes) -> Reading:
    """Read all of a log. Raises OSError only where the folder's names cannot be read."""
    pieces = [_with_records(disk, piece) for piece in log.pieces(disk, actor_id, log.segments_of(disk))]
    stretches: list[Stretch] = []
    for piece in pieces:
        if piece.part is not None:
            for run in _runs(piece.part):
                _add(stretches, run, is_safe=run is piece.part or bool(piece.problem))
    last = pieces[-1] if pieces else None
    end = 0 if last is None else None
    if last is not None and last.part is not None and last.part.proof <= last.part.end:
        end = last.part.end  # also where the head alone is broken
    return Reading(pieces, stretches, end)


def choose(reading: Reading, checkpoint: Manifest | None) -> Stretch:
    """Return what the log tells after a checkpoint, or from the beginning; nothing, where it cannot be read there."""
    position = checkpoint.position if checkpoint is not None else 0
    return reading.around(position) or Stretch(position, position, [])


def _with_records(disk: Disk, piece: Piece) -> Piece:
    """Read a segment whose head alone is broken: its name tells where it begins, too."""
    if piece.part is not None or piece.error is not None:
        return piece
    try:
        data = disk.read(piece.name)
    except OSError:
        return piece
    if len(data) < HEAD_BYTES or segment.head_of(data) is not None:  # another's, or from another place
        return piece
    return dataclasses.replace(piece, part=segment.read(data, piece.start))


def _runs(part: Read) -> Iterator[Read]:
    """Yield what lies in one segment: the records from its beginning, then those behind breaks."""
    yield part
    run: list[Record] = []
    for one in (*part.later, None):
        if run and (one is None or one.start != run[-1].end):
            end = part.start + run[-1].end - HEAD_BYTES
            yield dataclasses.replace(part, records=tuple(run), end=end, later=())
            run = []
        if one is not None:
            run.append(one)


def _add(stretches: list[Stretch], run: Read, *, is_safe: bool) -> None:
    start = run.start + (run.records[0].start - HEAD_BYTES if run.records else 0)
    last = stretches[-1] if stretches else None
    if last is not None and last.end == start and last.is_safe == is_safe and run.end >= start:
        last.reads.append(run)
        last.end = run.end
    else:
        stretches.append(Stretch(start, run.end, [run], is_safe))
