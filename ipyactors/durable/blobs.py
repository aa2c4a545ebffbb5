"""Large values of a log's records, each in a file of its own beside the log.

A record only names its blobs. They are written, and as safe as the log's level asks, before the record is; those that a
checkpoint needs are synced before it is made. Those whose record was dropped with its segment go with it, unless a
checkpoint still needs them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterable, Sequence

import msgspec

from ipyactors.durable.call_tables import Snapshot
from ipyactors.durable.carried import CarriedCall
from ipyactors.durable.disk import Disk
from ipyactors.durable.record import Answer, Blob, Call, Value, ValueKind
from ipyactors.ground import faultpoints
from ipyactors.wire.outside import OUT_OF_BAND_BYTES
from ipyactors.wire.specs import Payload

_NAME = re.compile(r"blob-([0-9a-f]{16})-([0-9]+)")

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Payload).decode
_decode_answer = msgspec.msgpack.Decoder(Answer).decode

#: Of a large value, its first and last so many bytes are digested, and its length: all of it would cost a second a GB.
_DIGESTED_BYTES = 1024 * 1024


class BlobDamagedError(ValueError):
    """Raised when a blob's file is not there or not what was written; the text says which and why."""


@dataclasses.dataclass(slots=True)
class Namer:
    """Gives the blobs of one call their names."""

    lsn: int
    count: int = 0

    def next(self) -> str:
        """Return the next name."""
        self.count += 1
        return f"blob-{self.lsn:016x}-{self.count}"


def is_large(payload: Payload) -> bool:
    """Return whether a payload that has its bytes belongs into a file."""
    return bool(payload.buffers) or len(payload.data) > OUT_OF_BAND_BYTES


def put_aside(
    disk: Disk, payloads: Sequence[Payload], namer: Namer, *, syncs: bool = True
) -> tuple[tuple[Payload, ...], tuple[Blob, ...]]:
    """Write what is large among payloads that have their bytes to files; return what goes into the record.

    Blobs carry the index of their payload. ``syncs``: they survive a loss of power; without, one that a loss of power
    has torn is told by its digest. Raises OSError; files that were written then are waste, and harmless.
    """
    kept: list[Payload] = []
    blobs: list[Blob] = []
    for index, payload in enumerate(payloads):
        if not is_large(payload):
            kept.append(payload)
            continue
        content = _encode(Payload(payload.data, payload.buffers, payload.refs, payload.actor_ids))
        name = namer.next()
        is_whole_digested = len(content) <= 2 * _DIGESTED_BYTES
        write = disk.put if is_whole_digested and not syncs else disk.replace
        write(name, content)
        faultpoints.hit("durable.blob.written")
        blobs.append(Blob(index, name, len(content), digest(content)))
        kept.append(payload.with_bytes(b""))
    return tuple(kept), tuple(blobs)


def arguments_of(disk: Disk, call: Call | CarriedCall) -> tuple[Payload, ...]:
    """Return the arguments of a call that is kept, ``args`` first, with their bytes. Raises BlobDamagedError."""
    aside = [msgspec.structs.replace(blob, index=blob.index + 1) for blob in call.blobs]
    return bring_back(disk, (call.args, *call.arg_values), aside)


def check_carried(disk: Disk, carried: Iterable[CarriedCall]) -> None:
    """Raise BlobDamagedError unless all large arguments of calls that a checkpoint has are there."""
    for one in carried:
        for blob in one.blobs:
            read(disk, blob)


def bring_back(disk: Disk, payloads: Sequence[Payload], blobs: Iterable[Blob]) -> tuple[Payload, ...]:
    """Return payloads with the bytes that are in files. Raises BlobDamagedError."""
    whole = list(payloads)
    for blob in blobs:
        whole[blob.index] = read(disk, blob)
    return tuple(whole)


def read(disk: Disk, blob: Blob) -> Payload:
    """Return one blob's payload; its buffers are views of what was read. Raises BlobDamagedError."""
    try:
        content = disk.read(blob.name)
    except OSError as error:
        raise BlobDamagedError(f"{blob.name} cannot be read: {error.strerror or error}") from error
    if len(content) != blob.size:
        raise BlobDamagedError(f"{blob.name} has {len(content):,} bytes and had {blob.size:,}")
    if digest(content) != blob.digest:
        raise BlobDamagedError(f"{blob.name} does not hold what was written to it")
    try:
        return _decode(content)
    except msgspec.MsgspecError as error:
        raise BlobDamagedError(f"{blob.name} cannot be understood: {error}") from error


def digest(content: bytes | memoryview) -> bytes:
    """Return what tells a large value from others: of its length, its beginning and its end (16 bytes)."""
    made = hashlib.blake2b(len(content).to_bytes(8, "little"), digest_size=16)
    if len(content) <= 2 * _DIGESTED_BYTES:
        made.update(content)
    else:
        made.update(content[:_DIGESTED_BYTES])
        made.update(content[-_DIGESTED_BYTES:])
    return made.digest()


def needed_by(snapshot: Snapshot, carried: Iterable[CarriedCall] = (), construction: Iterable[Value] = ()) -> set[str]:
    """Return the names of the files that a checkpoint needs.

    They have recorded answers, arguments of carried calls, and what the constructor took from outside.
    """
    needed = {blob.name for one in snapshot.recorded for blob in blobs_of(one.answer)}
    needed.update(blob.name for one in carried for blob in one.blobs)
    return needed.union(blob.name for blob in of_values(construction))


def of_values(values: Iterable[Value]) -> list[Blob]:
    """Return the blobs that values name which were taken from outside."""
    kinds = ValueKind.RECEIVED, ValueKind.ONCE
    return [blob for value in values if value.kind in kinds for blob in blobs_of(value.data)]


def blobs_of(answer: bytes) -> tuple[Blob, ...]:
    """Return the blobs that a recorded answer names; none of one that is a reason in words."""
    try:
        return _decode_answer(answer).blobs
    except msgspec.MsgspecError:
        return ()


def last_of(disk: Disk, lsn: int) -> int:
    """Return the highest number of a blob of this call; 0 if there is none."""
    found = filter(None, map(_NAME.fullmatch, disk.names()))
    return max((int(one.group(2)) for one in found if int(one.group(1), 16) == lsn), default=0)


def names_up_to(disk: Disk, lsn: int) -> list[str]:
    """Return the names of all blobs of calls up to ``lsn``."""
    return [name for name in disk.names() if (found := _NAME.fullmatch(name)) and int(found.group(1), 16) <= lsn]
