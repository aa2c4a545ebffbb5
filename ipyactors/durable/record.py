"""What a durable actor's log says, and how one record lies in a file.

A record is framed as::

    length   u32   bytes from `kind` to the end of the payload
    crc32    u32   of the same bytes
    kind     u8    which of the structs below the payload is
    lsn      u64   position in the actor's total order of calls
    incarnation u32
    stable   u64   how much of the log was known to be safe when this was written, as a position in it
    payload  a struct below, in MessagePack; a field may only ever be added to one at the end, with a default

All numbers are little-endian. A length of zero ends a segment: the rest of it is the zeros that it was allocated with.
``stable`` tells damage from an ordinary torn end: what is broken before it had once been whole.

Calls have lsns from 1, in the order in which they are executed. VALUE and DONE carry that of the call that they belong
to; so does an ABORT, except that one for a call that never came to be executed takes an lsn of its own. A VALUE with
lsn 0 was taken by a constructor (see :mod:`~ipyactors.durable.constructions`). OPEN and
CHECKPOINT carry the lsn of the last call before them; where a loss of power has taken calls, OPEN carries one that none
of those can have had.
"""

from __future__ import annotations

import enum
import struct
import zlib
from collections.abc import Iterator

import msgspec

from ipyactors.wire.specs import Payload, RemoteError

_FRAME = struct.Struct("<II")
_HEAD = struct.Struct("<BQIQ")
_LENGTH_AT_LEAST = _HEAD.size

#: No lsn and no position comes near this.
_GREATEST = 1 << 56

#: Bytes of a record besides its payload.
OVERHEAD_BYTES = _FRAME.size + _HEAD.size


class ValueKind(enum.IntEnum):
    """What a VALUE record is the value of."""

    NOW = 0
    RANDOM = 1
    UUID4 = 2
    ONCE = 3
    SUBMITTED = 4
    """A nested call was submitted: the value is a digest of what was called with what."""
    RECEIVED = 5
    """References were resolved: the value is an :class:`Answer`, with what ``get`` returned or raised."""
    CHOSEN = 6
    """It was waited for some of several references: the value is a list of the indices of those that came first."""
    CANCELED = 7
    """The call heard that it is cancelled: the value is how often it had asked before, and was told that it is not."""
    OVERLAP = 8
    """From here on the call took from outside what nobody could give again in that order."""
    NEW_CLASS = 9
    """The constructor of a class is about to run that the actor was upgraded to: the value is a :class:`NewClass`."""
    CONSTRUCTED = 10
    """That constructor has returned; the value is empty."""


class Outcome(enum.IntEnum):
    """How a call ended."""

    RETURNED = 0
    RAISED = 1
    ABORTED = 2
    """It was not executed, or everything that it did is undone; an ABORT says so, not a DONE."""


class Open(msgspec.Struct, array_like=True, frozen=True):
    """An incarnation begins to write. ``definition_id`` names the class that it runs, which is in the folder too.

    ``host`` and ``boot_id`` tell where, ``python`` and ``hash_seed`` what a replay elsewhere should have, ``level`` how
    safe a released reply is (``process``, ``host``). ``interrupted`` is the lsn of the call that was running when the
    incarnation before this one ended; 0 for none. ``beside`` are those of the others that were running then.
    """

    definition_id: bytes
    level: str
    host: str = ""
    boot_id: str = ""
    python: str = ""
    hash_seed: str = ""
    interrupted: int = 0
    beside: tuple[int, ...] = ()


class Blob(msgspec.Struct, array_like=True, frozen=True):
    """A value that is in a file of its own, in the folder of the log, instead of in the record.

    ``index`` tells which of the record's values it is. The file ``name`` holds its payload, in MessagePack: ``size``
    bytes, whose BLAKE2b digest (16 bytes) is ``digest``. It is as safe as the record before that is written.
    """

    index: int
    name: str
    size: int
    digest: bytes


class Call(msgspec.Struct, array_like=True, frozen=True):
    """This call is next: it is executed after all before it. ``call_id`` tells it from every other for good.

    ``caller_id`` is who counts the calls that ``counter`` rises with; ``key`` is the idempotency key that the user
    gave, or empty. ``args`` is as in :class:`~ipyactors.wire.worker_messages.CallMethod`, with nothing elsewhere: large
    values are in files beside the log, of which ``blobs`` tells: index -1 is ``args``, others count ``arg_values``.
    It is given up when it has ended more than ``crashes_allowed`` processes (-1: no limit). ``is_persist``: when it is
    over, a checkpoint is made before anything is said of it. ``attempt`` rises when it has raised and is tried again.
    """

    call_id: bytes
    caller_id: bytes
    counter: int
    method: str
    args: Payload
    arg_values: tuple[Payload, ...] = ()
    num_returns: int = 1
    key: str = ""
    digest: bytes = b""
    blobs: tuple[Blob, ...] = ()
    crashes_allowed: int = 0
    is_persist: bool = False
    retry_on: bytes = b""
    attempt: int = 0


class Value(msgspec.Struct, array_like=True, frozen=True):
    """The ``index``-th value (from 0) that the call took from outside, which a replay is given again."""

    index: int
    kind: ValueKind
    data: bytes


class NewClass(msgspec.Struct, array_like=True, frozen=True):
    """Which class is constructed, for the first time, and ``after`` the calls up to which lsn."""

    definition_id: bytes
    after: int


class Answer(msgspec.Struct, array_like=True, frozen=True):
    """What a caller is told of a call that has ended: its results (or the items that it yielded), or the exception.

    Large values are in files; ``blobs`` tells of them by their index among ``results``. ``is_retryable`` and
    ``is_cancelled`` are as in :class:`~ipyactors.wire.worker_messages.CallRaised` and ``CallCancelled``.
    """

    results: tuple[Payload, ...] = ()
    error: RemoteError | None = None
    is_retryable: bool = False
    is_cancelled: bool = False
    blobs: tuple[Blob, ...] = ()
    duration_s: float = 0.0


class Done(msgspec.Struct, array_like=True, frozen=True):
    """The call was executed. ``answer`` is an :class:`Answer`, which a replay must come to as well.

    ``duration_s`` is how long the user's code ran, which is what a replay will take.
    """

    call_id: bytes
    outcome: Outcome
    answer: bytes
    duration_s: float = 0.0


class Abort(msgspec.Struct, array_like=True, frozen=True):
    """The call has no effect and will never have one, whoever asks again.

    ``caller_id`` and ``counter`` are as in :class:`Call`, for a call that is not in the log.
    """

    call_id: bytes
    reason: str
    caller_id: bytes = b""
    counter: int = 0


class Checkpoint(msgspec.Struct, array_like=True, frozen=True):
    """The state after the calls up to this record's lsn is in this checkpoint.

    ``definition_id`` names the class that the actor runs from here on, which is another one after an upgrade.
    """

    checkpoint_id: str
    definition_id: bytes = b""


Body = Open | Call | Value | Done | Abort | Checkpoint

#: The numbers are in every log: they never change.
_KINDS: dict[type[Body], int] = {Open: 1, Call: 2, Value: 3, Done: 4, Abort: 5, Checkpoint: 6}
_DECODERS: dict[int, msgspec.msgpack.Decoder[Body]] = {
    number: msgspec.msgpack.Decoder(kind) for kind, number in _KINDS.items()
}

_encode = msgspec.msgpack.Encoder().encode


class Record(msgspec.Struct, frozen=True):
    """One record as it was read: what it says, and from where to where in its segment it lies (bytes)."""

    lsn: int
    incarnation: int
    stable: int
    body: Body
    start: int
    end: int


def encode(body: Body, lsn: int, incarnation: int, stable: int) -> bytes:
    """Return the record's bytes, frame included. Raises OverflowError above 4 GiB."""
    payload = _encode(body)
    framed = _HEAD.pack(_KINDS[type(body)], lsn, incarnation, stable) + payload
    length = len(framed)
    if length >= 1 << 32:
        raise OverflowError(f"a record of {length:,} bytes does not fit in a log; the most is 4 GiB")
    return _FRAME.pack(length, zlib.crc32(framed)) + framed


def read_at(data: memoryview, start: int) -> Record | None:
    """Return the record at ``start``, or None if there is none that is whole."""
    body_start = start + _FRAME.size
    if body_start > len(data):
        return None
    length, crc = _FRAME.unpack_from(data, start)
    end = body_start + length
    if length < _LENGTH_AT_LEAST or end > len(data):
        return None
    kind, lsn, incarnation, stable = _HEAD.unpack_from(data, body_start)
    decoder = _DECODERS.get(kind)
    # The numbers are looked at first, so that a search through damaged bytes hardly ever needs a checksum.
    if decoder is None or lsn | stable > _GREATEST or zlib.crc32(data[body_start:end]) != crc:
        return None
    try:
        body = decoder.decode(data[body_start + _HEAD.size : end])
    except msgspec.MsgspecError:
        return None
    return Record(lsn, incarnation, stable, body, start, end)


def read_all(data: memoryview, start: int) -> Iterator[Record]:
    """Yield whole records one behind the other, until there is none."""
    while (record := read_at(data, start)) is not None:
        yield record
        start = record.end
