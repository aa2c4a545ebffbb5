"""The census: what every process owns and holds, and what every store has, gathered by the head for who asks.

Whoever asks (a driver, a worker, the command line, which has not registered) says it to the head; the head asks all
owners and all agents, and answers when all have, or are gone, or have been silent for too long. Nothing is changed by
a census, and nothing is kept for it: each process looks at what it has when it is asked.
"""

from __future__ import annotations

import enum

import msgspec

from ipyactors.wire.specs import NodeStatus


class _Word(msgspec.Struct, array_like=True, tag=True):
    """Base of this file's messages."""


# -- what is reported ----------------------------------------------------------------------------------------------


class ObjectKind(enum.StrEnum):
    """What made an object."""

    PUT = "put"
    TASK_RESULT = "task result"
    METHOD_RESULT = "method result"
    ITEM = "item"
    """One of the values that a generator yields."""
    ARGUMENTS = "arguments"
    """The arguments of a call, where they are too large to travel with it."""
    UNKNOWN = "unknown"
    """A store has it, and no owner has said anything of it."""


class ObjectState(enum.StrEnum):
    """How far an object is."""

    PENDING = "pending"
    READY = "ready"
    FAILED = "failed"
    LOST = "lost"
    """It was there, and no machine that is left had it, as far as its owner knows. It cannot be made again."""
    REMAKEABLE = "lost, can be made again"


class SiteRecord(msgspec.Struct, array_like=True, frozen=True):
    """A line of the user's code. ``file`` is a path, or what people call a cell (``Cell In[5]``)."""

    file: str
    line: int
    function: str = ""


class ObjectRecord(msgspec.Struct, array_like=True, frozen=True):
    """One object, as the process that owns it sees it.

    ``name`` is the function or ``Class.method``, ``index`` which of its values it is (0 for the only one, else from 1).
    ``size`` is in bytes, 0 while it is pending or lost. ``locations`` are the machines whose stores have it; where
    there are none, it is in the owner's own memory. Counted are the owner's own ``references``, its calls that
    ``wait`` for it or take it as an argument, what may have to be made again with it (``reruns``: finished calls
    whose results are alive, and constructors), and what was lent to others (``borrowers``, by process id). ``inside``
    are the ids of the objects there that contain a reference to it. ``is_pinned``: a reference was pickled for
    whoever may read it.
    ``age_s`` is how long ago the call or ``put`` that makes it was made, -1 where that is not known.
    """

    object_id: bytes
    kind: ObjectKind
    name: str
    index: int
    state: ObjectState
    size: int
    locations: tuple[bytes, ...] = ()
    references: int = 0
    calls: int = 0
    borrowers: dict[bytes, int] = {}
    inside: tuple[bytes, ...] = ()
    site: SiteRecord | None = None
    age_s: float = -1.0
    reruns: int = 0
    is_pinned: bool = False


class BorrowRecord(msgspec.Struct, array_like=True, frozen=True):
    """An object of another process, as a process that holds references to it sees it. Fields as in ObjectRecord.

    ``name`` is the call that was running here, or ``site`` the line, when the first of them was unpickled.
    """

    object_id: bytes
    references: int
    calls: int = 0
    inside: tuple[bytes, ...] = ()
    name: str = ""
    site: SiteRecord | None = None


class SegmentRecord(msgspec.Struct, array_like=True, frozen=True):
    """One segment in a machine's store; ``mapped_by`` are the pids of the processes that read it where it is.

    ``is_freed``: it is no segment any more, only memory that views keep.
    """

    segment_id: bytes
    size: int
    is_spilled: bool = False
    mapped_by: tuple[int, ...] = ()
    is_freed: bool = False


class ProcessRecord(msgspec.Struct, array_like=True, frozen=True):
    """A driver or worker, as the head knows it. ``runs`` is the actor that it hosts (``Counter 'c1'``), if it does."""

    process_id: bytes
    is_driver: bool
    pid: int
    node_id: bytes
    runs: str = ""


# -- who asks, and the head ------------------------------------------------------------------------------------------


class TakeCensus(_Word):
    """Tell me what there is, who owns it and who holds it. Answered by :class:`CensusReply`.

    ``at_most`` is how many objects each process, and how many segments each store, names; the largest come first.
    """

    request_id: int
    at_most: int = 10_000


# -- the head and those who know ---------------------------------------------------------------------------------------


class ReportObjects(_Word):
    """What do you own and hold? Said to every owner; answered by :class:`ObjectsReported`."""

    census_id: int
    at_most: int


class ReportStore(_Word):
    """What does your store have? Said to every agent; answered by :class:`StoreReported`."""

    census_id: int
    at_most: int


class ObjectsReported(_Word):
    """What I own and what I have borrowed. ``left_out`` and ``left_out_bytes`` are what was too much to name."""

    census_id: int
    owned: tuple[ObjectRecord, ...]
    borrowed: tuple[BorrowRecord, ...] = ()
    left_out: int = 0
    left_out_bytes: int = 0


class StoreReported(_Word):
    """What my store has. Bytes: ``used`` of ``limit`` in shared memory.

    ``pool`` of them are kept for values to come, and ``mapped`` are of freed values, kept by views.
    """

    census_id: int
    segments: tuple[SegmentRecord, ...]
    used_bytes: int = 0
    limit_bytes: int = 0
    spilled_bytes: int = 0
    pool_bytes: int = 0
    left_out: int = 0
    mapped_bytes: int = 0


class CensusReply(_Word):
    """Everything that was reported, by process id and by node id; ``silent`` are those who did not answer in time."""

    request_id: int
    nodes: tuple[NodeStatus, ...]
    processes: tuple[ProcessRecord, ...]
    objects: dict[bytes, ObjectsReported]
    stores: dict[bytes, StoreReported]
    silent: tuple[bytes, ...] = ()


#: Beside ``head_messages.OwnerToHead`` and ``HeadToOwner``, and ``node_messages.NodeToHead`` and ``HeadToNode``.
OwnerToCensus = TakeCensus | ObjectsReported
CensusToOwner = ReportObjects | CensusReply
NodeToCensus = StoreReported
CensusToNode = ReportStore
