"""The texts that a worker has sent last, in a memory-mapped file that outlives it.

What is sent waits for company, and then for a thread of ZeroMQ's: a process that is killed takes it along. So each text
is put here before it is sent, and is numbered; the page cache keeps it through any death. The agent passes on what it
finds, and who was to get it shows what has not arrived.

The room has two halves, written in turn, so that at least the last 16 KiB are there. A half begins with a number that
rises with each turn (8 bytes, little-endian) and how many bytes it has (4 bytes); each text has its length before it.
"""

from __future__ import annotations

import contextlib
import struct
from typing import Protocol

import msgspec

_HALF_BYTES = 16 * 1024
ROOM_BYTES = 2 * _HALF_BYTES

#: Of a longer text, so many characters are kept, the last ones.
_TEXT_AT_MOST = 3000

_HEAD = struct.Struct("<QI")
_LENGTH = struct.Struct("<I")


class Text(Protocol):
    """What a call has written, as it is sent; see :class:`ipyactors.wire.worker_messages.OutputWritten`."""

    seq: int
    source: str
    stream: int
    text: str
    block_id: bytes
    actor_id: bytes
    call_id: bytes
    number: int


class Words(msgspec.Struct, array_like=True, frozen=True):
    """Some text for the process ``reader``: an ``OutputWritten`` with this ``number``, which rises in a process.

    An empty ``reader`` is the creator of the actor, an empty ``source`` the name of the call ``seq``. ``instead_of`` is
    the number that it had while it waited for its reader.
    """

    reader: bytes
    number: int
    seq: int
    source: str
    stream: int
    text: str
    block_id: bytes = b""
    actor_id: bytes = b""
    call_id: bytes = b""
    instead_of: int = 0


class LastWords:
    """The worker's side: writes to ``room``, which has :data:`ROOM_BYTES`. One thread at a time."""

    def __init__(self, room: memoryview) -> None:
        self._room = room
        self._number = 0
        self._turn = 0
        self._at = 0
        self._end = 0  # of the half that is written; at first there is none

    def keep(self, reader: bytes, text: Text) -> int:
        """Keep a text that is about to be sent to the process ``reader``; return its number, a new one."""
        self._number += 1
        written = text.text if len(text.text) <= _TEXT_AT_MOST else f"... {text.text[-_TEXT_AT_MOST:]}"
        data = msgspec.msgpack.encode(
            Words(
                reader, self._number, text.seq, text.source, text.stream, written,
                text.block_id, text.actor_id, text.call_id, text.number,
            )
        )  # fmt: skip
        size = _LENGTH.size + len(data)
        if self._at + size > self._end:
            self._begin_half()
            if self._at + size > self._end:
                return self._number  # a name of many thousand characters
        _LENGTH.pack_into(self._room, self._at, len(data))
        self._room[self._at + _LENGTH.size : self._at + size] = data
        self._at += size
        start = self._end - _HALF_BYTES
        _HEAD.pack_into(self._room, start, self._turn, self._at - start - _HEAD.size)  # last: a reader sees whole ones
        return self._number

    def release(self) -> None:
        """Let go of the room; nothing is kept any more."""
        self._room.release()

    def _begin_half(self) -> None:
        start = _HALF_BYTES * (self._turn % 2)
        self._turn += 1
        _HEAD.pack_into(self._room, start, self._turn, 0)
        self._at, self._end = start + _HEAD.size, start + _HALF_BYTES


def read(room: bytes) -> list[Words]:
    """Return what is in the room, oldest first. Who has crashed may have written anything there: that is left out."""
    found: list[Words] = []
    if len(room) < ROOM_BYTES:
        return found
    for start in sorted((0, _HALF_BYTES), key=lambda start: _HEAD.unpack_from(room, start)):
        at = start + _HEAD.size
        end = at + min(_HEAD.unpack_from(room, start)[1], _HALF_BYTES - _HEAD.size)
        with contextlib.suppress(struct.error, ValueError, msgspec.DecodeError):
            while at < end:
                (length,) = _LENGTH.unpack_from(room, at)
                at += _LENGTH.size
                found.append(msgspec.msgpack.decode(room[at : at + length], type=Words))
                at += length
    replaced = {words.instead_of for words in found}
    return [words for words in found if words.number not in replaced]
