"""The log as one: reading all its segments, and writing at its end.

Reading tells a *torn* end from *damage*. Who dies while it writes, process or machine, leaves a broken record, behind
which nothing had ever been safe: nobody was told of it, so it is cut off. Anything else that is broken was whole once,
and people may rely on it: then nothing is read, nothing is changed, and the error says where it is.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence

from ipyactors.durable import record, segment
from ipyactors.durable.disk import Disk
from ipyactors.durable.record import Body, Record
from ipyactors.ground.exceptions import LogDamagedError, StorageFullError

#: What the calls that were begun may still need when the disk is full: the segment at the end has that much left, or
#: no further call is begun.
RESERVE_BYTES = 256 * 1024


class LogSealedError(Exception):
    """Raised when the log cannot be written any more: the process must end, and the next goes on from what is there.

    No user sees it as such; the death report of the process has its text.
    """


@dataclasses.dataclass(frozen=True, slots=True)
class Contents:
    """What a log says. ``end`` is the position behind its last whole record.

    ``torn`` is how many bytes lie there that were never safe.
    """

    segments: tuple[segment.Read, ...]
    end: int
    torn: int = 0

    @property
    def records(self) -> list[Record]:
        """All records, in their order."""
        return [one for part in self.segments for one in part.records]

    def positioned(self) -> Iterator[tuple[int, Record]]:
        """Yield all records with their positions in the log."""
        for part in self.segments:
            for one in part.records:
                yield part.start + one.start - segment.HEAD_BYTES, one

    @property
    def last(self) -> segment.Read | None:
        """The segment at the end; None of an empty log."""
        return self.segments[-1] if self.segments else None


def segments_of(disk: Disk) -> list[int]:
    """Return the positions at which the log's segments begin, in order."""
    return sorted(start for name in disk.names() if (start := segment.start_of(name)) is not None)


def read(disk: Disk, actor_id: bytes, since: int = 0) -> Contents:
    """Read the log from the segment on that holds position ``since``.

    Raises LogDamagedError where something is broken or missing that was whole.
    """
    return assemble(actor_id, pieces(disk, actor_id, starts_from(segments_of(disk), since)), since)


def starts_from(starts: Sequence[int], since: int) -> list[int]:
    """Return where the segments begin that are needed from a position on."""
    pairs = itertools.zip_longest(starts, starts[1:])
    return [start for start, following in pairs if following is None or following > since]


def assemble(actor_id: bytes, found: Iterable[Piece], since: int) -> Contents:
    """Make the log from position ``since`` on of segments as they were found. Raises LogDamagedError, and OSError."""
    parts: list[segment.Read] = []
    torn = 0
    for number, piece in enumerate(found):
        if number == 0 and piece.start > since:
            missing = segment.name_at(since)
            raise _damaged(actor_id, missing, since, f"what comes before position {piece.start:,} is not there", [])
        if piece.error is not None:
            raise piece.error
        if piece.part is not None:
            parts.append(piece.part)
        if piece.problem:
            raise _damaged(actor_id, piece.name, piece.position, piece.problem, parts)
        torn = piece.torn
    return Contents(tuple(parts), parts[-1].end if parts else since, torn)


@dataclasses.dataclass(frozen=True, slots=True)
class Piece:
    """One segment as it was found, whatever has become of it; ``part`` is None where nothing of it can be relied on.

    ``problem`` tells what is wrong with it, at ``position`` in the log; empty where nothing is. ``error`` is set where
    the file could not be read. ``torn`` is how many bytes at its end were never safe.
    """

    name: str
    start: int
    part: segment.Read | None = None
    problem: str = ""
    position: int = 0
    error: OSError | None = None
    torn: int = 0


def pieces(disk: Disk, actor_id: bytes, starts: Sequence[int]) -> Iterator[Piece]:
    """Yield the segments that begin at these positions, and follow each other, up to the end of the log."""
    for start, following in itertools.zip_longest(starts, starts[1:]):
        yield _piece(disk, actor_id, start, following)


def _piece(disk: Disk, actor_id: bytes, start: int, following: int | None) -> Piece:
    name = segment.name_at(start)
    try:
        data = disk.read(name)
    except OSError as error:
        problem = f"it cannot be read: {error.strerror or error}"
        return Piece(name, start, problem=problem, position=start, error=error)
    problem = segment.check_head(data, actor_id, start)
    if problem:
        return Piece(name, start, problem=problem, position=start)
    part = segment.read(data, start)
    if not part.is_clean and (following is not None or part.proof > part.end):
        return Piece(name, start, part, "a record is broken that had been whole", part.end)
    if following is not None and part.end != following:
        return Piece(name, start, part, f"its records end, and they should go on to {following}", part.end)
    torn = 0 if part.is_clean else part.used - (part.end - start) - segment.HEAD_BYTES
    return Piece(name, start, part, position=part.end, torn=torn)


def _damaged(actor_id: bytes, name: str, position: int, problem: str, parts: list[segment.Read]) -> LogDamagedError:
    """Return the error for what is wrong in a segment, behind the parts that could be read."""
    lsn = next((part.records[-1].lsn for part in reversed(parts) if part.records), 0)
    error = LogDamagedError(
        f"The log of actor {actor_id.hex()} is damaged in {name} at position {position:,}: {problem}. "
        f"The last call that can be read has lsn {lsn}. Nothing was changed and nothing was run: the state before the "
        "damage can be had from a checkpoint, what comes after it from a copy of the folder."
    )
    error.actor_id, error.file, error.position, error.lsn = actor_id.hex(), name, position, lsn
    return error


class LogWriter:
    """Appends to a log that was read to its end. One process writes, on one thread at a time.

    ``end`` is the position behind what was appended, ``written`` behind what survives this process, ``stable`` behind
    what survives a loss of power, as far as is known. Once a write or a sync has failed nothing is written any more:
    what is on the disk is not known then, and a sync that is repeated after it has failed may report what is not so.
    """

    def __init__(self, disk: Disk, actor_id: bytes, incarnation: int, contents: Contents, *, syncs: bool) -> None:
        """Go on at the end of ``contents``. ``syncs``: nothing counts as safe before it was synced."""
        self._disk = disk
        self._actor_id = actor_id
        self._incarnation = incarnation
        self._syncs = syncs
        self._pending: list[bytes] = []
        self._problem = ""
        self.end = self.written = self.stable = contents.end
        last = contents.last
        self._start = last.start if last is not None else -1
        self._room = 0
        if last is not None:
            self._room = last.size - segment.HEAD_BYTES - (contents.end - last.start)
            if contents.torn:  # or what is appended over it could end in what is left of it
                self._do(self._write_at, self.end, bytes(contents.torn))
            if syncs:  # what the process before has written may not be safe yet
                self._do(disk.sync, segment.name_at(self._start))

    # -- appending --------------------------------------------------------------------------------------------

    def make_room(self, size: int) -> None:
        """See to it that ``size`` bytes and the reserve fit. Raises StorageFullError; then nothing has changed."""
        if self._room >= size + RESERVE_BYTES:
            return
        self.write()
        self._begin_segment(size + RESERVE_BYTES)

    def append(self, body: Body, lsn: int) -> None:
        """Put a record at the end; :meth:`write` or :meth:`sync` makes it safe.

        Raises LogSealedError if there is no room for it, not even in the reserve: it belongs to what has begun already.
        """
        data = record.encode(body, lsn, self._incarnation, self.stable if self._syncs else self.written)
        if len(data) > self._room:
            self.write()
            try:
                self._begin_segment(len(data))
            except StorageFullError as error:
                self.seal(str(error))
                raise LogSealedError(self._problem) from error
        self._pending.append(data)
        self._room -= len(data)
        self.end += len(data)

    def write(self) -> None:
        """Make all that was appended survive this process. Raises LogSealedError."""
        self._check()
        if self._pending:
            data = b"".join(self._pending)
            self._do(self._write_at, self.written, data)
            self._pending.clear()
            self.written = self.end

    def sync(self) -> None:
        """Make all that was appended survive a loss of power. Raises LogSealedError."""
        self.write()
        if self.stable < self.written:
            self._do(self._disk.sync, segment.name_at(self._start))
            self.stable = self.written

    def secure(self) -> None:
        """Make all that was appended as safe as this log's level wants it. Raises LogSealedError."""
        if self._syncs:
            self.sync()
        else:
            self.write()

    def seal(self, problem: str) -> None:
        """Write nothing any more, for this reason."""
        self._problem = self._problem or problem

    def drop_before(self, position: int) -> None:
        """Remove the segments of which nothing from ``position`` on is needed. Raises OSError."""
        starts = segments_of(self._disk)
        self._disk.remove(
            segment.name_at(start) for start, following in itertools.pairwise(starts) if following <= position
        )

    # -- inside -----------------------------------------------------------------------------------------------

    def _begin_segment(self, room: int) -> None:
        """Begin a segment with at least this much room at the end of what is written."""
        if self._syncs:
            self.sync()  # a segment is only ever followed by another when all of it is safe
        usual = segment.SEGMENT_BYTES if self.end else min(segment.SEGMENT_BYTES, segment.FIRST_SEGMENT_BYTES)
        size = max(usual, segment.HEAD_BYTES + room)
        try:
            self._disk.allocate(segment.name_at(self.end), size, segment.make_head(self._actor_id, self.end))
        except OSError as error:
            raise StorageFullError(
                f"There is no room for {size:,} bytes of the log of actor {self._actor_id.hex()}: {error.strerror}. "
                "What needs it was not done and has no effect. Once there is room on that disk, it can be done."
            ) from error
        self._start, self._room = self.end, size - segment.HEAD_BYTES

    def _write_at(self, position: int, data: bytes) -> None:
        self._disk.write_at(segment.name_at(self._start), segment.HEAD_BYTES + position - self._start, data)

    def _check(self) -> None:
        if self._problem:
            raise LogSealedError(self._problem)

    def _do(self, action: object, *args: object) -> None:
        """Write or sync; the first failure is the last thing that is done."""
        self._check()
        assert callable(action)
        try:
            action(*args)
        except OSError as error:
            self.seal(
                f"The log of actor {self._actor_id.hex()} could not be written: {error.strerror}. "
                "Nothing is written to it any more, and no answer leaves; another incarnation reads what is there."
            )
            raise LogSealedError(self._problem) from error
