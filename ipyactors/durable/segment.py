"""One file of the log: a head that says whose it is and where it begins, records, and zeros to the end.

*Positions* count the bytes of records from the beginning of the log, whatever segments they are in. A segment begins
at the position where the one before it has ended, which its name and its head say; so a missing end of a segment
shows, and so does a missing segment.
"""

from __future__ import annotations

import dataclasses
import re
import struct
import zlib
from collections.abc import Iterator

from ipyactors.durable import record
from ipyactors.durable.record import Record

#: What is allocated at once. A record that needs more gets a segment of its own size.
SEGMENT_BYTES = 8 * 1024 * 1024

#: The first segment is smaller: many an actor never fills it, and whoever recovers has to read all of it.
FIRST_SEGMENT_BYTES = 1024 * 1024

_ZEROS = bytes(64 * 1024)

_MAGIC = b"ipyaLOG\x01"
_HEAD = struct.Struct("<8s16sQI")

HEAD_BYTES = _HEAD.size

_NAME = re.compile(r"log-([0-9a-f]{16})")


def name_at(start: int) -> str:
    """Return the name of the segment that begins at a position."""
    return f"log-{start:016x}"


def start_of(name: str) -> int | None:
    """Return the position at which a segment begins, as its name says; None if the file is no segment."""
    found = _NAME.fullmatch(name)
    return int(found.group(1), 16) if found else None


def make_head(actor_id: bytes, start: int) -> bytes:
    """Return a segment's first bytes."""
    fields = _MAGIC, actor_id, start
    return _HEAD.pack(*fields, zlib.crc32(struct.pack("<8s16sQ", *fields)))


def check_head(data: bytes, actor_id: bytes, start: int) -> str:
    """Return what is wrong with a segment's first bytes, or an empty string."""
    if len(data) < HEAD_BYTES:
        return f"it has {len(data)} bytes, fewer than its head"
    if data[: len(_MAGIC)] != _MAGIC:
        return "it does not begin like a log of this format"
    if data[:HEAD_BYTES] == make_head(actor_id, start):
        return ""
    _, whose, where, crc = _HEAD.unpack_from(data)
    if crc != zlib.crc32(data[: HEAD_BYTES - 4]):
        return "its head is damaged"
    if whose != actor_id:
        return f"it belongs to actor {whose.hex()}"
    return f"its head says that it begins at {where}, its name says {start}"


def head_of(data: bytes) -> tuple[bytes, int] | None:
    """Return whose segment this is and where it begins, as its head says; None if the head is not in order."""
    if len(data) < HEAD_BYTES:
        return None
    _, actor_id, start, _ = _HEAD.unpack_from(data)
    return (actor_id, start) if data[:HEAD_BYTES] == make_head(actor_id, start) else None


@dataclasses.dataclass(frozen=True, slots=True)
class Read:
    """What is in a segment: the whole records from its beginning, and the position where they end.

    ``size`` is that of the file, ``used`` how much of it is not zeros, in bytes. ``is_clean`` tells that nothing but
    zeros follows the records. Otherwise ``later`` are the whole records behind the break, wherever they begin.
    """

    start: int
    records: tuple[Record, ...]
    end: int
    size: int
    used: int
    is_clean: bool
    later: tuple[Record, ...] = ()

    @property
    def proof(self) -> int:
        """The furthest position that a whole record behind the break knew to be safe; 0 if there is none."""
        return max((one.stable for one in self.later), default=0)


def read(data: bytes, start: int) -> Read:
    """Read a segment that begins at position ``start`` and whose head is in order."""
    view = memoryview(data)
    records = tuple(record.read_all(view, HEAD_BYTES))
    stop = records[-1].end if records else HEAD_BYTES
    end = start + stop - HEAD_BYTES
    if _is_zero(data, stop):
        return Read(start, records, end, len(data), len(data[:stop].rstrip(b"\0")), is_clean=True)
    used = len(data.rstrip(b"\0"))
    later = tuple(_find_later(view, stop + 1, used))
    return Read(start, records, end, len(data), used, is_clean=False, later=later)


def _is_zero(data: bytes, at: int) -> bool:
    """Return whether nothing but zeros is there from ``at`` on; ten times as fast as to look for their beginning."""
    while at + len(_ZEROS) <= len(data):
        if not data.startswith(_ZEROS, at):
            return False
        at += len(_ZEROS)
    return not data[at:].strip(b"\0")


def _find_later(view: memoryview, at: int, used: int) -> Iterator[Record]:
    """Yield whole records that begin anywhere from ``at`` to ``used``."""
    while at < used:
        one = record.read_at(view, at)
        if one is None:
            at += 1
        else:
            yield one
            at = one.end
