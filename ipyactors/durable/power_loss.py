"""What is left of an actor's log when the power went at level ``process``, and how it goes on from there.

Nothing of such a log is synced but the first OPEN in each boot of the machine; checkpoints and their manifests are. So
where none of these is of this boot, a record that is broken is no damage: the power has taken it, with what follows.
The log goes on at its first break then, or behind the newest checkpoint, which may be further. Nor are large values
synced, but for those that a checkpoint needs: where one is torn, the log ends before the call that needs it.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterable, Sequence

from ipyactors.durable import blobs, log, manifest, record, recovery, routes, segment, stretches
from ipyactors.durable.blobs import BlobDamagedError
from ipyactors.durable.disk import Disk
from ipyactors.durable.log import Contents
from ipyactors.durable.manifest import Manifest
from ipyactors.durable.record import Blob, Call, Open, Record, Value

#: Has the last lsn that may have been given to a call that is lost: written before anything else is changed.
_LOST = "lost"
_LSN = struct.Struct("<Q")

#: A machine that cannot tell its boots from each other says so.
_UNKNOWN = ("", "-")


@dataclasses.dataclass(frozen=True, slots=True)
class Left:
    """The log as far as it can be used, and the checkpoints that fit it, newest first.

    ``dropped`` are the files that are of no use any more, in the order in which they are to be removed. ``lost_lsns``
    is how many lsns may have been given to calls that are lost, at most.
    """

    checkpoints: tuple[Manifest, ...]
    contents: Contents
    dropped: tuple[str, ...]
    lost_lsns: int


def read_lost(disk: Disk) -> int:
    """Return up to which lsn calls may be lost; 0 where none is."""
    return int(_LSN.unpack(disk.read(_LOST))[0]) if _LOST in disk.names() else 0


def write_lost(disk: Disk, lsn: int) -> None:
    """Note up to which lsn calls may be lost: none of these is given to another one. Raises OSError."""
    disk.replace(_LOST, _LSN.pack(lsn))


def is_possible(records: Iterable[Record], checkpoints: Sequence[Manifest], boot_id: str) -> bool:
    """Return whether the power may have gone since anything was written, at a level that does not outlive that."""
    if boot_id in _UNKNOWN or any(one.boot_id == boot_id for one in checkpoints):
        return False
    wrote = [(one.level, one.boot_id) for one in checkpoints]
    wrote += [(one.body.level, one.body.boot_id) for one in records if type(one.body) is Open]
    return bool(wrote) and all(level == "process" and boot not in (boot_id, *_UNKNOWN) for level, boot in wrote)


def records_of(disk: Disk, actor_id: bytes) -> list[Record]:
    """Return all whole records of a log that is broken, wherever they are."""
    return [one for _, _, one in stretches.read(disk, actor_id).located(unsafe=True)]


def lost_lsns(contents: Contents, last: segment.Read) -> int:
    """Return how many lsns calls may have had between the end of a log and that of its last segment."""
    end = last.start + last.size - segment.HEAD_BYTES
    return max(0, end - contents.end) // record.OVERHEAD_BYTES + 1


def find(disk: Disk, actor_id: bytes, checkpoints: Sequence[Manifest]) -> Left | None:
    """Return what is left; None if what is missing was synced, which no loss of power takes."""
    starts = log.segments_of(disk)
    pieces = list(log.pieces(disk, actor_id, starts))
    if not pieces or any(piece.part is None for piece in pieces):
        return None
    newest = checkpoints[0].position if checkpoints else 0
    contents: Contents | None = None
    for since in sorted({one.position for one in checkpoints} or {0}):
        if pieces[0].start <= since:
            contents = _whole_from(pieces, log.starts_from(starts, since))
            if contents.end >= newest:
                break
            contents = None
    if contents is None and not checkpoints:
        return None
    if contents is None:  # the newest checkpoint has more than the log
        contents = Contents((), newest)
    first = contents.segments[0].start if contents.segments else newest
    kept = tuple(one for one in checkpoints if one.position >= first)
    names = {segment.name_at(part.start) for part in contents.segments}
    dropped = [manifest.name_of(one.number) for one in reversed(checkpoints) if one not in kept]
    dropped += [segment.name_at(start) for start in reversed(starts) if segment.name_at(start) not in names]
    last = pieces[-1].part
    assert last is not None
    left = cut(disk, contents, kept)
    return Left(kept, left.contents, (*dropped, *left.dropped), lost_lsns(left.contents, last))


def cut(disk: Disk, contents: Contents, checkpoints: Sequence[Manifest]) -> Left:
    """Return what is left of a log that is whole, but for large values, behind the newest of these checkpoints."""
    position = _first_lost(disk, contents, checkpoints[0] if checkpoints else None)
    kept = contents if position is None else _until(contents, position)
    dropped = [segment.name_at(part.start) for part in reversed(contents.segments[len(kept.segments) :])]
    lost = lost_lsns(kept, contents.segments[-1]) if contents.segments else 0
    return Left(tuple(checkpoints), kept, tuple(dropped), lost)


def _first_lost(disk: Disk, contents: Contents, newest: Manifest | None) -> int | None:
    """Return where the first call begins that cannot be done again without a large value; None if all can."""

    def problem_of(blob: Blob) -> str:
        try:
            blobs.read(disk, blob)
        except BlobDamagedError as error:
            return str(error)
        return ""

    history, _ = recovery.trace(newest, contents)
    if newest is None and any(map(problem_of, blobs.of_values(history.construction))):
        return next(at for at, one in contents.positioned() if isinstance(one.body, Value) and not one.lsn)
    lost = next((past.lsn for past in history.past.values() if not routes.can_be_run(past, problem_of)), None)
    if lost is None:
        return None
    return next(at for at, one in contents.positioned() if isinstance(one.body, Call) and one.lsn == lost)


def _until(contents: Contents, position: int) -> Contents:
    """Return a log that ends at a position, where a record begins."""
    parts = [part for part in contents.segments if part.start <= position]
    last, used = parts[-1], parts[-1].used
    stop = segment.HEAD_BYTES + position - last.start
    records = tuple(one for one in last.records if one.end <= stop)
    parts[-1] = dataclasses.replace(last, records=records, end=position, is_clean=False, later=())
    return Contents(tuple(parts), position, max(0, used - stop))


def _whole_from(pieces: Sequence[log.Piece], wanted: Sequence[int]) -> Contents:
    """Return what is whole of these segments, up to the first break."""
    parts: list[segment.Read] = []
    for piece in pieces:
        if piece.start in wanted:
            assert piece.part is not None
            parts.append(piece.part)
            if piece.problem or piece.torn:
                break
    last = parts[-1]
    torn = 0 if last.is_clean else last.used - (last.end - last.start) - segment.HEAD_BYTES
    return Contents(tuple(parts), last.end, torn)
