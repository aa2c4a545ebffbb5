"""Stored values: processes with the store of their machine, stores with each other, and the head in between.

A *segment* is one value in shared memory, named by an object id (20 bytes) whose first 8 bytes are its owner's
process id. A machine's store is kept by its agent: it counts bytes, spills, fetches from other machines. Processes
write and map segments themselves and tell the agent; it is asked only when there is no room, or the segment is
elsewhere. Who owns a segment decides when it goes, and nobody else.
"""

from __future__ import annotations

import msgspec

from ipyactors.wire.specs import Location


class _Word(msgspec.Struct, array_like=True, tag=True):
    """Base of this file's messages."""


class MappedFile(msgspec.Struct, array_like=True, frozen=True):
    """The file of a freed segment that somebody still maps: under a name that no reader looks for.

    The inode tells it from others of that segment, which may be written and freed again meanwhile. ``size`` in bytes.
    """

    segment_id: bytes
    inode: int
    size: int


# -- process to the store of its machine ---------------------------------------------------------------------------


class SegmentSealed(_Word):
    """I have published this segment; it takes ``size`` bytes. Told again after an attempt that wrote it again."""

    segment_id: bytes
    size: int


class FreeSegments(_Word):
    """Nobody can reach these any more. Said by their owner; unknown ones are ignored.

    ``reused`` are those that the sender had written itself and has taken back for its next values, ``mapped`` those
    that it has set aside, for somebody maps them.
    """

    segment_ids: tuple[bytes, ...]
    reused: tuple[bytes, ...] = ()
    mapped: tuple[MappedFile, ...] = ()


class PoolChanged(_Word):
    """I keep this many bytes of freed segments for my next values (a level, not a change).

    ``taken_back`` are those that I was told to take back (:class:`ReuseSegments`): they are in it, or removed, or set
    aside (``mapped``), for somebody maps them.
    """

    size: int
    taken_back: tuple[bytes, ...] = ()
    mapped: tuple[MappedFile, ...] = ()


class MakeRoom(_Word):
    """I want to write ``size`` more bytes than there is room for. Answered by :class:`RoomMade`."""

    request_id: int
    size: int


class PullSegment(_Word):
    """I need this segment here; it is at ``sources``. Answered by :class:`SegmentHere` or :class:`SegmentGone`.

    With ``keep``, the copy is one that its owner counts on: it is not dropped when memory is short.
    """

    segment_id: bytes
    sources: tuple[Location, ...]
    keep: bool = False


class SegmentMapped(_Word):
    """I have mapped this segment where it was spilled: bring it back if there is room."""

    segment_id: bytes


ProcessToStore = SegmentSealed | FreeSegments | PoolChanged | MakeRoom | PullSegment | SegmentMapped


# -- the store to a process of its machine -------------------------------------------------------------------------


class RoomMade(_Word):
    """Write now: in shared memory, or with ``spill`` straight to disk. ``problem`` is set if neither has room."""

    request_id: int
    spill: bool = False
    problem: str = ""


class SegmentHere(_Word):
    """The segment is in this machine's store."""

    segment_id: bytes


class SegmentGone(_Word):
    """The segment could not be had from any of its sources; ``detail`` says why.

    ``is_full``: it is there, but neither this machine's memory nor its disk has room for it.
    """

    segment_id: bytes
    detail: str
    is_full: bool = False


class ReuseSegments(_Word):
    """These, which you wrote, were freed: take their memory back for your next values, or remove them.

    Answered by :class:`PoolChanged`. What another process has written since under the same id is not touched.
    """

    segment_ids: tuple[bytes, ...]


class TrimPool(_Word):
    """Memory is short: give back what you keep for your next values."""


StoreToProcess = RoomMade | SegmentHere | SegmentGone | ReuseSegments | TrimPool


# -- store to store ------------------------------------------------------------------------------------------------


class ReadSegment(_Word):
    """Send me ``length`` bytes of this segment from ``offset`` on. Answered by :class:`SegmentChunk`."""

    segment_id: bytes
    offset: int
    length: int


class SegmentChunk(_Word):
    """A piece of a segment of ``total`` bytes; ``crc`` is the crc32 of ``data``. ``total`` is -1 if there is none.

    ``version`` tells one writing of the segment from another (its task may run twice): copies of a file have the same.
    """

    segment_id: bytes
    offset: int
    total: int
    crc: int
    data: memoryview
    version: int = 0


class DropCopies(_Word):
    """These were freed by their owner: remove the copies that you had from me, and tell who had them from you."""

    segment_ids: tuple[bytes, ...]


StoreToStore = ReadSegment | SegmentChunk | DropCopies


# -- the head and the stores ---------------------------------------------------------------------------------------


class ForgetOwner(_Word):
    """This process is gone: remove the segments that it owned, but for those that others have claimed (``keep``).

    What was claimed goes by :class:`ForgetSegments`.
    """

    owner_id: bytes
    keep: tuple[bytes, ...] = ()


class LookForSegments(_Word):
    """Which of these do you have? Answered by :class:`SegmentsFound`."""

    request_id: int
    segment_ids: tuple[bytes, ...]


class ForgetSegments(_Word):
    """Remove these wherever they are. Said by their owner to the head, and by the head to every store.

    For what may be there without its owner knowing where: the results of a task that died after it had written some.
    Also said by the head of what its owner has left behind, when the last of those who had claimed it needs it no more.
    """

    segment_ids: tuple[bytes, ...]


class NodeLost(_Word):
    """A machine is gone, and what its store held. Told to every owner, and to every store that is left."""

    node_id: bytes
    detail: str


HeadToStore = ForgetOwner | LookForSegments | ForgetSegments | NodeLost


class SegmentsFound(_Word):
    """Those of the segments that were asked for that this store has, and what each of them takes."""

    request_id: int
    segment_ids: tuple[bytes, ...]
    sizes: tuple[int, ...] = ()


StoreToHead = SegmentsFound


# -- the head and the owners ---------------------------------------------------------------------------------------


class FindCopies(_Word):
    """Which machines have these segments? Answered by :class:`CopiesFound` once each has answered or is gone."""

    request_id: int
    segment_ids: tuple[bytes, ...]


class CopiesFound(_Word):
    """Where the segments are, and what each of them takes; one that is not named is nowhere."""

    request_id: int
    locations: dict[bytes, tuple[Location, ...]]
    sizes: dict[bytes, int] = {}


class ClaimObjects(_Word):
    """This process is gone: which of the objects that it owned do you refer to? Answered by :class:`ObjectsClaimed`.

    Asked of all, before what it owned is removed: a reference may have come to somebody who had not said so yet.
    """

    owner_id: bytes


class ObjectsClaimed(_Word):
    """I refer to these objects of a process that is gone: keep their data until I release it, or am gone too.

    Only objects that were not claimed by this process before. Also said unasked, of references that came later.
    """

    owner_id: bytes
    object_ids: tuple[bytes, ...]


class ReleaseClaims(_Word):
    """I do not refer to these any more, which I had claimed."""

    object_ids: tuple[bytes, ...]


#: What owners say to the head about stored values (beside ``head_messages.OwnerToHead``), and what it says to them.
OwnerToStores = FindCopies | ForgetSegments | ObjectsClaimed | ReleaseClaims
StoresToOwner = CopiesFound | NodeLost | ClaimObjects
