"""A segment's file: where everything in it is, and what the files are called.

Little-endian, from the start: the header, the table of buffers (offset and length, 8 bytes each), the pickle, the
buffers. Pickle and buffers begin at multiples of 64 bytes, which is what vector code and Arrow want.

======  =====  =============================================================================================
offset  bytes
======  =====  =============================================================================================
0       8      magic; anything else means that there is no segment in this file (now)
8       4      version of this layout
12      4      crc32 of the rest of the header and of the table
16      20     segment id
36      4      number of buffers
40      8      total: where the last of them ends; readers never look further
48      8      length of the pickle
56      8      pid of the writer
64      8      when the writer started, as :func:`ipyactors.wire.liveness.identify` has it
72      8      which of its writings this is: what tells a copy of a segment from one that was written again
======  =====  =============================================================================================

The file may be longer: up to whole pages, or up to what a longer value took that it held before. All of the file has
memory, and its length is what it counts for.
"""

from __future__ import annotations

import mmap
import re
import struct
import zlib
from collections.abc import Sequence
from typing import NamedTuple

from ipyactors.ground.ids import OBJECT_ID_BYTES

MAGIC = b"ipyastor"
VERSION = 1
ALIGNMENT = 64

#: The smallest size class. Smaller values are not stored.
SMALLEST_CLASS_BYTES = 64 * 1024

_START = struct.Struct("<8sII")
_FACTS = struct.Struct(f"<{OBJECT_ID_BYTES}sIQQQQQ")
_ENTRY = struct.Struct("<QQ")
HEADER_BYTES = _START.size + _FACTS.size

_TEMPORARY = re.compile(r"(\d+)-(\d+)-\d+\.tmp")
_MAPPED = re.compile(r"([0-9a-f]+)-(\d+)\.mapped")


class Layout(NamedTuple):
    """Where the pickle and the buffers are: ``(offset, length)`` each, in bytes. ``total`` is where the last ends."""

    data: tuple[int, int]
    buffers: tuple[tuple[int, int], ...]
    total: int


class Header(NamedTuple):
    """What the header of a segment says.

    ``writer`` is a pid and when that process started, ``writing`` a number that it gives to one segment only.
    """

    segment_id: bytes
    layout: Layout
    writer: tuple[int, int]
    writing: int = 0


# -- sizes ---------------------------------------------------------------------------------------------------------


def _round_up(size: int, step: int) -> int:
    return -(-size // step) * step


def plan(data_bytes: int, buffer_bytes: Sequence[int]) -> Layout:
    """Return where a pickle and buffers of these lengths go."""
    at = _data_offset(len(buffer_bytes))
    data = (at, data_bytes)
    end = at + data_bytes
    buffers = []
    for length in buffer_bytes:
        at = _round_up(end, ALIGNMENT)
        buffers.append((at, length))
        end = at + length
    return Layout(data, tuple(buffers), end)


def _data_offset(count: int) -> int:
    return _round_up(HEADER_BYTES + count * _ENTRY.size, ALIGNMENT)


def file_bytes_for(total: int) -> int:
    """Return how long the file of a segment of ``total`` bytes is at least: whole pages."""
    return _round_up(total, mmap.PAGESIZE)


def size_of(data: bytes, buffers: Sequence[memoryview]) -> int:
    """Return how many bytes of a store a value takes, at least: what it takes if no memory is used again."""
    return file_bytes_for(plan(len(data), [buffer.nbytes for buffer in buffers]).total)


def size_class(total: int) -> int:
    """Return the size class of ``total`` bytes: the next of four sizes per power of two.

    Values of one class use each other's memory; a file grows to the largest value that it has held.
    """
    total = max(total, SMALLEST_CLASS_BYTES)
    return _round_up(total, 1 << ((total - 1).bit_length() - 3))


# -- the header ----------------------------------------------------------------------------------------------------


def pack(header: Header) -> bytes:
    """Return the bytes of a header and its table, as they are at the start of the file."""
    layout = header.layout
    table = b"".join([_ENTRY.pack(offset, length) for offset, length in layout.buffers])
    count, length = len(layout.buffers), layout.data[1]
    facts = _FACTS.pack(header.segment_id, count, layout.total, length, *header.writer, header.writing)
    return _START.pack(MAGIC, VERSION, zlib.crc32(table, zlib.crc32(facts))) + facts + table


def head_bytes(start: bytes | memoryview) -> int:
    """Return how long header and table are together, by a file's first :data:`HEADER_BYTES`; 0 for no segment."""
    if len(start) < HEADER_BYTES or start[: len(MAGIC)] != MAGIC:
        return 0
    return HEADER_BYTES + int(_FACTS.unpack_from(start, _START.size)[1]) * _ENTRY.size


def parse(head: bytes | memoryview, file_bytes: int) -> Header | None:
    """Return what the start of a file of ``file_bytes`` says; None if there is no whole segment in it.

    ``head`` holds at least the header and the table. Whatever the bytes are, nothing is raised.
    """
    length = head_bytes(head)
    if length == 0 or length > len(head):
        return None
    _, version, crc = _START.unpack_from(head)
    if version != VERSION or crc != zlib.crc32(head[_START.size : length]):
        return None
    segment_id, count, total, data_bytes, pid, started, writing = _FACTS.unpack_from(head, _START.size)
    if total > file_bytes:
        return None
    buffers = tuple(_ENTRY.iter_unpack(head[HEADER_BYTES:length]))
    return Header(segment_id, Layout((_data_offset(count), data_bytes), buffers, total), (pid, started), writing)


# -- names ---------------------------------------------------------------------------------------------------------


def name_of(segment_id: bytes) -> str:
    """Return the name of a published segment's file. Raises ValueError if it is not an object's id."""
    if len(segment_id) != OBJECT_ID_BYTES:
        raise ValueError(f"a segment id has {OBJECT_ID_BYTES} bytes, not {len(segment_id)}: {segment_id!r}")
    return segment_id.hex()


def segment_id_of(name: str) -> bytes | None:
    """Return which segment a file of that name publishes; None if it is another kind of file."""
    try:
        segment_id = bytes.fromhex(name)
    except ValueError:
        return None
    return segment_id if len(segment_id) == OBJECT_ID_BYTES and segment_id.hex() == name else None


def mapped_name(segment_id: bytes, inode: int) -> str:
    """Return the name of a freed segment's file that somebody still maps. No reader looks for it."""
    return f"{name_of(segment_id)}-{inode}.mapped"


def mapped_of(name: str) -> tuple[bytes, int] | None:
    """Return of which freed segment a file of that name is, and its inode; None if it is another kind of file."""
    found = _MAPPED.fullmatch(name)
    segment_id = segment_id_of(found[1]) if found else None
    return None if found is None or segment_id is None else (segment_id, int(found[2]))


def temporary_name(writer: tuple[int, int], number: int) -> str:
    """Return the name of the ``number``-th file that a process (pid, start) writes or keeps for later."""
    return f"{writer[0]}-{writer[1]}-{number}.tmp"


def is_temporary(name: str) -> bool:
    """Return whether a file of that name is unpublished: being written, or kept for later."""
    return name.endswith(".tmp")


def writer_of(name: str) -> tuple[int, int] | None:
    """Return which process (pid, start) a temporary file belongs to; None if its name does not say."""
    found = _TEMPORARY.fullmatch(name)
    return (int(found[1]), int(found[2])) if found else None
