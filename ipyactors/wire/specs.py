"""The nouns that several conversations share: payloads, definitions, actor specs, deaths and failures.

Everything here is a msgspec struct. ``array_like`` keeps frames small and decoding fast; the price is that a
field may only ever be added at the end, with a default.
"""

from __future__ import annotations

import enum

import msgspec

from ipyactors.ground.quantities import Units
from ipyactors.ground.tracebacks import TraceDetails
from ipyactors.wire.chaos_words import Report
from ipyactors.wire.last_words import Words


class LossReason(enum.StrEnum):
    """Why a process is no longer there."""

    EXITED = "exited"
    """It ended by itself: ``os._exit``, ``sys.exit``, a crash in the interpreter's own code."""
    KILLED = "killed"
    """A signal ended it that neither the user nor the runtime asked for."""
    OUT_OF_MEMORY = "out_of_memory"
    """The kernel's memory killer ended it."""
    INTENDED = "intended"
    """``kill()``, ``exit_actor()``, the last handle went, a forced cancel, or ``shutdown()``."""
    INIT_FAILED = "init_failed"
    """The actor's constructor raised."""
    RECOVERY_FAILED = "recovery_failed"
    """A durable actor's state could not be brought back."""
    OWNER_DIED = "owner_died"
    """The process that created it is gone, and it was not detached."""
    NODE_LOST = "node_lost"
    """Its machine, or the agent of its machine, is gone."""
    START_FAILED = "start_failed"
    """The process could not be started at all."""


class RefSpec(msgspec.Struct, array_like=True, frozen=True):
    """A reference inside a payload: which object, and where its owner listens."""

    object_id: bytes
    owner_address: str


class Location(msgspec.Struct, array_like=True, frozen=True):
    """A machine that has a segment, and where its agent listens."""

    node_id: bytes
    address: str


class Stored(msgspec.Struct, array_like=True, frozen=True):
    """A value that is in a store and not in the message: a segment of ``size`` bytes, at these machines.

    ``segment_id`` is an object id (20 bytes): that of the object, or one made for a call's arguments.
    """

    segment_id: bytes
    size: int
    locations: tuple[Location, ...]


class Payload(msgspec.Struct, array_like=True, frozen=True, dict=True):
    """A pickled value as it travels. Only owners and workers ever unpickle one; agent and head pass it on.

    ``data`` is a pickle, protocol 5; ``buffers`` are its out-of-band buffers (``wire/outside.py``). ``refs`` and
    ``actor_ids`` name the references and handles inside, so that whoever passes the payload on can keep them alive
    without unpickling it. Where ``stored`` is set, ``data`` and ``buffers`` are empty and in that segment.

    An object is named once in ``refs``, however many references to it are inside. As long as a payload is in memory, so
    is what it names: ``held`` keeps it alive, in the process that made the payload and in every one that it came to.
    """

    data: bytes
    buffers: tuple[memoryview, ...] = ()
    refs: tuple[RefSpec, ...] = ()
    actor_ids: tuple[bytes, ...] = ()
    stored: Stored | None = None

    @property
    def names_any(self) -> bool:
        """Whether there are references or handles inside."""
        return bool(self.refs or self.actor_ids)

    @property
    def held(self) -> tuple[object, ...]:
        """What lives as long as this payload does. It stays behind when the payload travels."""
        held: tuple[object, ...] = self.__dict__.get("_held", ())
        return held

    @property
    def stands_for(self) -> RefSpec | None:
        """The object whose value this is, where it has no bytes, not even in a store: its owner is asked for them."""
        return self.refs[0] if self.refs and not self.data and self.stored is None else None

    def holding(self, *things: object) -> Payload:
        """Keep these alive for as long as this payload is; return it."""
        if things:
            self.__dict__["_held"] = self.held + things
        return self

    def with_bytes(self, data: bytes, buffers: tuple[memoryview, ...] = (), stored: Stored | None = None) -> Payload:
        """Return a payload of the same value whose bytes are elsewhere; it names and holds the same."""
        return Payload(data, buffers, self.refs, self.actor_ids, stored).holding(*self.held)


class SourceText(msgspec.Struct, array_like=True, frozen=True):
    """Source of a notebook cell, so that a worker's traceback shows its lines.

    ``filename`` is what the code object says; ``label`` is what people read, such as ``Cell In[5]``.
    """

    filename: str
    text: str
    label: str = ""


class Definition(msgspec.Struct, array_like=True, frozen=True, weakref=True):
    """A function or class, pickled by value. ``definition_id`` is the BLAKE2b digest (16 bytes) of ``payload.data``.

    ``source_digest`` is the same for the same code, in whichever process it is defined; empty where that is not known.
    """

    definition_id: bytes
    name: str
    payload: Payload
    sources: tuple[SourceText, ...] = ()
    source_digest: bytes = b""


class FrameSpec(msgspec.Struct, array_like=True, frozen=True):
    """One line of a remote traceback, outermost first; ours are left out."""

    filename: str
    line: int
    name: str


class RemoteError(msgspec.Struct, array_like=True, frozen=True):
    """An exception raised by the user's code in a worker.

    ``payload`` is the pickled exception (its ``__cause__`` chain included), or None where it cannot be pickled:
    then ``type_name``, ``message`` and ``traceback_text`` are what is left, and they are always there. ``notes`` are
    what the runtime has to say of it, beside those of the exception itself. One that ``is_local`` was not raised by a
    call, but here, by what asked for its result or in ``once()``: it is raised again as it is, as no TaskError.
    ``details`` tell more of the tracebacks of the exception and of its links, in the order of
    :func:`ipyactors.ground.tracebacks.links_of`; they are in no log. ``place`` says in words which attempt has raised
    it, in which incarnation of which actor; empty where there is nothing to say.
    """

    type_name: str
    message: str
    traceback_text: str
    payload: Payload | None = None
    frames: tuple[FrameSpec, ...] = ()
    sources: tuple[SourceText, ...] = ()
    function_name: str = ""
    pickling_problem: str = ""
    notes: tuple[str, ...] = ()
    is_local: bool = False
    details: tuple[TraceDetails, ...] = ()
    place: str = ""

    def without_details(self) -> RemoteError:
        """Return it as it is kept for long."""
        return msgspec.structs.replace(self, details=()) if self.details else self

    @property
    def words(self) -> str:
        """The exception in one line: type and message, or the type alone if there is no message."""
        return f"{self.type_name}: {self.message}" if self.message else self.type_name


class Death(msgspec.Struct, array_like=True, frozen=True):
    """What is known of a process that ended; written by its agent, read by people.

    ``exit_code`` is the status of a process that exited, ``signal`` the number of the signal that ended it; one of
    them is set unless the process could not be started. ``last_output`` holds the last lines that it wrote, to either
    stream; of a worker that runs tasks, those since its last task began. ``started`` maps each caller's process id to
    the highest ``seq`` that had begun to run: a call with a higher ``seq`` certainly did not run. Memory is in bytes;
    0 where unknown. ``was_leaving``: it had noted that it was ending on purpose, or it was ended as an actor that is
    not to return. ``unready`` tells of a durable actor that was given up how many of its processes, the last ones, had
    certainly run none of its calls but those of the replay. ``injected``: ``ipyactors.chaos`` has ended it; ``faults``
    is what it leaves of the orders that it had, for the head. ``words`` are what its callers may not have had from it.
    """

    reason: LossReason
    exit_code: int | None = None
    signal: int | None = None
    detail: str = ""
    last_output: tuple[str, ...] = ()
    max_rss_bytes: int = 0
    limit_bytes: int = 0
    worker_id: bytes = b""
    node_id: bytes = b""
    incarnation: int = 0
    wall_s: float = 0.0
    started: dict[bytes, int] = {}
    init_error: RemoteError | None = None
    was_leaving: bool = False
    unready: int = 0
    injected: bool = False
    faults: Report | None = None
    words: tuple[Words, ...] = ()


class Durability(msgspec.Struct, array_like=True, frozen=True):
    """How the state of an actor outlives its processes.

    ``level`` is what the log survives: ``process``, or ``host`` for a loss of power too. A checkpoint is made after so
    many calls (``every_calls``) or seconds (``every_s``), or where both are 0, when a replay would take longer than a
    second; ``keep`` of them are kept, in ``store`` (the URL of a folder, ``kv`` for the head; empty: beside the log).
    ``by_itself``: the class is a ``Checkpointable``, which decides when and saves its data itself.
    """

    level: str
    store: str = ""
    every_calls: int = 0
    every_s: float = 0.0
    keep: int = 3
    by_itself: bool = False


class ActorState(enum.StrEnum):
    """Where an actor is in its life; the table of allowed steps is in ``head/actors.py``."""

    PENDING = "pending"
    """Waiting for resources."""
    STARTING = "starting"
    """Its process exists, its constructor is running."""
    ALIVE = "alive"
    RESTARTING = "restarting"
    """Its process died and it will come back."""
    DEAD = "dead"


class ActorSpec(msgspec.Struct, array_like=True, frozen=True):
    """Everything that is needed to build an actor, now or after a crash.

    ``demand`` is held while the actor lives; ``max_restarts`` is -1 for no limit. ``handle`` is the pickled
    description from which :func:`get_actor` rebuilds a handle; the head keeps it and never opens it.
    ``arg_values`` are the values of the top-level references among the constructor's arguments. What is large among
    these and ``args`` only names the object that it is (:attr:`Payload.stands_for`), unless the actor is detached.
    ``creator_id`` is the durable actor that has created it, if one has: ``owner_id`` was a process of that.
    ``owner_address`` is where its owner listens; empty of a detached one, which outlives its owner.
    """

    actor_id: bytes
    class_name: str
    owner_id: bytes
    definition: Definition
    args: Payload
    arg_values: tuple[Payload, ...] = ()
    name: str = ""
    namespace: str = ""
    detached: bool = False
    demand: Units = {}
    max_restarts: int = 0
    max_concurrency: int = 1
    is_async: bool = False
    handle: bytes = b""
    durability: Durability | None = None
    creator_id: bytes = b""
    owner_address: str = ""


class ActorStatus(msgspec.Struct, array_like=True, frozen=True):
    """An actor as the head sees it at one moment. ``restarts_left`` is -1 for no limit.

    ``definition_id`` tells which class it runs, where a class of the same name has been defined since, and
    ``source_digest`` whether that has the same code (see :class:`Definition`). ``level`` is
    what a durable one survives, see :class:`Durability`; empty of any other. ``busy_with`` is what it is at for
    long, in words, as it has said; empty of most. ``is_stranded``: no machine can hold it, and it waits for one to
    join.
    """

    actor_id: bytes
    state: ActorState
    incarnation: int = 0
    restarts_left: int = 0
    worker_id: bytes = b""
    node_id: bytes = b""
    address: str = ""
    pid: int = 0
    death: Death | None = None
    waiting_for: str = ""
    class_name: str = ""
    name: str = ""
    namespace: str = ""
    detached: bool = False
    definition_id: bytes = b""
    level: str = ""
    busy_with: str = ""
    is_stranded: bool = False
    source_digest: bytes = b""


class NodeStatus(msgspec.Struct, array_like=True, frozen=True):
    """A machine as the head sees it. Resources are in units of 1/10,000.

    One that was lost (not ``is_alive``) offers nothing. ``address`` and ``pid`` are its agent's; ``pid`` is 0 where it
    is not known. ``is_leaving``: it was announced that it goes, and nothing is started on it any more.
    """

    node_id: bytes
    hostname: str
    total: Units
    available: Units
    workers: int = 0
    is_alive: bool = True
    address: str = ""
    pid: int = 0
    is_leaving: bool = False
    store_limit_bytes: int = 0


class WaitingDemand(msgspec.Struct, array_like=True, frozen=True):
    """Something that waits for resources, and why."""

    owner_id: bytes
    demand: Units
    count: int
    name: str
    reason: str
    actor_id: bytes = b""
