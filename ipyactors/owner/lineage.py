"""What could make an object again: a record of each finished call, for as long as somebody can need it.

Entries of a call's results hold its record, and records of later calls that took such a result as an argument hold
it too: Python's own reference counts free it when nobody is left. Records keep no data of results: an argument that
is gone is made again by its own record. Only what nothing can make again, and is small, is kept with the record.

The table knows the records weakly. It counts their bytes, and when there are too many, it empties the oldest.

Most calls return something small, which is in this process and never lost. Of those nothing is kept but what fits a
tuple (a trace, 0.2 µs), from which a record is made if a later call depends on it. Traces hold arguments of at most
``TRACE_BYTES`` and are not counted. Where the arguments of such a call refer to other objects, nothing is kept, or it
would keep their data; a later call's record then has the small value itself.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple, Self

from ipyactors.ground import ids
from ipyactors.ground.exceptions import ObjectReconstructionFailedActorResultError as ActorResult
from ipyactors.ground.exceptions import ObjectReconstructionFailedBorrowedError as Borrowed
from ipyactors.ground.exceptions import ObjectReconstructionFailedError
from ipyactors.ground.exceptions import ObjectReconstructionFailedLineageDisabledError as Disabled
from ipyactors.ground.exceptions import ObjectReconstructionFailedLineageEvictedError as Evicted
from ipyactors.ground.exceptions import ObjectReconstructionFailedMaxAttemptsExceededError as Exhausted
from ipyactors.ground.exceptions import ObjectReconstructionFailedPutError as Put
from ipyactors.ground.exceptions import ObjectReconstructionFailedRetriesDisabledError as RetriesDisabled
from ipyactors.ground.exceptions import ObjectReconstructionFailedTaskCancelledError as Cancelled
from ipyactors.owner.actors import ActorClient
from ipyactors.owner.calls import NOTHING, PendingCall
from ipyactors.owner.current import CurrentCall
from ipyactors.owner.losses import ActorBar, Bar
from ipyactors.owner.objects import BorrowedEntry, Entry
from ipyactors.owner.templates import STREAMING, MethodTemplate, TaskFacts, TaskTemplate
from ipyactors.wire.events import name_of_call
from ipyactors.wire.specs import Payload
from ipyactors.wire.store_messages import FindCopies
from ipyactors.wire.worker_messages import ActorVersion

#: What is counted for a record, and for each of its arguments, beside the bytes of the arguments themselves.
RECORD_BYTES = 600
ARGUMENT_BYTES = 200

#: Arguments up to this size may be in a trace.
TRACE_BYTES = 1024

#: Why something cannot be made again: the type of the error that says so.
Reason = type[ObjectReconstructionFailedError]

_NOBODY: frozenset[bytes] = frozenset()


class Argument(NamedTuple):
    """An argument of a recorded call: the object, and what makes it again.

    Where that is nothing, ``bar`` says why, and ``kept`` is the object itself if it is small.
    """

    object_id: bytes
    record: Record | None
    bar: Bar | None = None
    kept: Entry | None = None


class Carried(NamedTuple):
    """How a borrowed object came here: as a reference in a result of a call, which can make it again with the result.

    ``made_by`` is the lineage of that result (or item), ``carrier_id`` its id. The reference is the one at ``position``
    of ``total``, in the order in which a payload names them.
    """

    made_by: object
    carrier_id: bytes
    position: int
    total: int


class Record:
    """A finished call that can be made once more. ``retries_left`` is -1 for no limit; each time uses one up.

    ``args`` hold what is referred to inside them. ``client`` is the actor of a method, ``version`` the state of it that
    the method has seen (None if that is not known). ``items`` is how many items a generator has yielded. ``bar`` is set
    when the call cannot be made again; then nothing but its name is left.
    """

    __slots__ = (
        "__weakref__",
        "args",
        "arguments",
        "attempt",
        "bar",
        "client",
        "items",
        "number",
        "parent",
        "retries_left",
        "size",
        "task_id",
        "template",
        "version",
    )

    def __init__(self, task_id: bytes, trace: tuple[Any, ...], arguments: tuple[Argument, ...]) -> None:
        self.task_id = task_id
        self.template: TaskTemplate | TaskFacts | MethodTemplate
        self.client: ActorClient | None
        self.args: Payload
        self.parent: CurrentCall | None
        self.version: ActorVersion | None
        self.number: int
        self.template, self.client, self.args, self.retries_left, self.attempt, *facts = trace
        self.parent, self.version, self.number = facts
        self.arguments = arguments
        self.bar: Bar | None = None
        self.items = 0
        self.size = _size(self.args, arguments)

    @property
    def name(self) -> str:
        """The function's name, or ``Class.method``."""
        template = self.template
        if isinstance(template, (TaskTemplate, TaskFacts)):
            return template.name
        return name_of_call(self.client.class_name, template.method) if self.client is not None else template.method

    def object_ids(self) -> Iterator[bytes]:
        """Yield the ids of the results, or of the items that were there so far."""
        owner_id, counter = ids.owner_of(self.task_id), ids.counter_of(self.task_id)
        is_stream = self.template.num_returns == STREAMING
        for index in range(1, self.items + 1) if is_stream else range(self.template.num_returns):
            yield ids.object_id(owner_id, counter, index)

    def empty(self, reason: Reason) -> None:
        """Let go of everything: the call cannot be made again."""
        self.bar = Bar(reason, self.name)
        self.args, self.arguments, self.parent = NOTHING, (), None
        if isinstance(self.template, TaskTemplate):
            self.template = self.template.facts


class Run:
    """A recorded call that is being made again. ``wanted`` are the objects that it is made for."""

    __slots__ = ("call", "record", "wanted")

    def __init__(self, call: PendingCall, record: Record) -> None:
        self.call = call
        self.record = record
        self.wanted: dict[bytes, Entry] = {}


class Lost(NamedTuple):
    """A lost object: how to find its entry, if anybody still needs it, and the machines where its data is not.

    ``call_name`` is set for the arguments of a call.
    """

    find: Callable[[], Entry | None]
    tried: frozenset[bytes]
    call_name: str = ""


class Search(NamedTuple):
    """What the head was asked: where there are copies of the ``lost``, by segment id.

    ``others`` are asked for too: results of the same calls that nobody has missed so far, and their arguments, so that
    all that is gone is known before anything runs.
    """

    request: FindCopies
    lost: dict[bytes, Lost]
    others: Mapping[bytes, Callable[[], Entry | None]]


class _Listed(weakref.ref[Record]):
    """How the table knows a record: by a reference that tells when it has gone."""

    __slots__ = ("size", "task_id")

    size: int
    task_id: bytes

    def __new__(cls, record: Record, on_gone: Callable[[Any], None]) -> Self:
        self = super().__new__(cls, record, on_gone)
        self.task_id, self.size = record.task_id, record.size
        return self


class LineageTable:
    """The records of this process; see the head of this file. Used under the session's lock.

    ``entries`` are the objects of this process that may be lost or asked for by a record: those with data in a store,
    and arguments of recorded calls. They may be added without the lock.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.bytes = 0
        self.entries: weakref.WeakValueDictionary[bytes, Entry] = weakref.WeakValueDictionary()
        self._listed: dict[bytes, _Listed] = {}
        self._gone: deque[_Listed] = deque()  # filled by finalizers, at any moment, on any thread

    # -- finished calls ----------------------------------------------------------------------------------------

    def made_by(
        self, call: PendingCall, results: tuple[Payload, ...], newcomers: AbstractSet[bytes] = _NOBODY
    ) -> object:
        """Return what is kept of a call that succeeds just now, as the lineage of its results.

        ``newcomers`` are borrowed objects that have come with the results, and were not known here before.
        On the path of every call.
        """
        trace = call.trace()
        for payload in results:
            if payload.stored is not None or (newcomers and payload.refs):
                return self._made_by(call, trace, results, newcomers)
        if type(trace) is not tuple:
            return trace
        args = trace[2]
        if args is NOTHING:
            return trace
        if args.refs or args.actor_ids:
            return None
        if call.deps or len(args.data) > TRACE_BYTES or args.buffers or args.stored is not None:
            return self._record(call, trace)
        return trace

    def _made_by(
        self, call: PendingCall, trace: object, results: tuple[Payload, ...], newcomers: AbstractSet[bytes]
    ) -> object:
        """Return the lineage of results of which data may be lost, or objects that they refer to."""
        made_by = self._record(call, trace) if type(trace) is tuple else trace
        for entry, payload in zip(call.entries, results, strict=False):
            if any(result.stored is not None for result in results):
                self.entries[entry.object_id] = entry
            carry(made_by, entry.object_id, payload, newcomers)
        return made_by

    def note_item(self, call: PendingCall, item: Entry, newcomers: AbstractSet[bytes] = _NOBODY) -> None:
        """Have an item that a generator has yielded keep what can make it again: the record of the generator."""
        trace = call.trace()
        if item.stored is not None:
            self.entries[item.object_id] = item
        if type(trace) is tuple:
            item.lineage = record = self.find(call.task_id) or self._record(call, trace)
            record.items = ids.index_of(item.object_id)
            if record.version != trace[-2]:
                record.version = None  # its items are of more than one state of the actor
        else:
            item.lineage = trace
        if item.payload is not None:
            carry(item.lineage, item.object_id, item.payload, newcomers)

    def _record(self, call: PendingCall, trace: tuple[Any, ...]) -> Record:
        arguments = () if trace[2] is NOTHING else tuple(map(self._argument, call.deps))
        return self._add(Record(call.task_id, trace, arguments))

    def _argument(self, entry: Entry) -> Argument:
        is_small = entry.payload is not None and entry.payload.stored is None
        if entry.owner_address:
            bar: Bar | None = Bar(Borrowed)
        else:
            self.entries[entry.object_id] = entry
            record = self.record_of(entry)
            # An actor may have changed by the time that it is asked again.
            if record is not None and record.bar is None and not (is_small and record.client is not None):
                return Argument(entry.object_id, record)
            bar = self.bar_of(entry)
        return Argument(entry.object_id, None, bar, entry if is_small else None)

    # -- looking up --------------------------------------------------------------------------------------------

    def record_of(self, entry: Entry) -> Record | None:
        """Return the record of the call that has made an entry, or has brought it; None if there is none."""
        lineage = entry.lineage
        if isinstance(lineage, Carried):
            lineage = lineage.made_by
        elif type(lineage) is tuple:
            task_id = ids.object_id(ids.owner_of(entry.object_id), ids.counter_of(entry.object_id))
            lineage = entry.lineage = self.find(task_id) or self._add(Record(task_id, lineage, ()))
        return lineage if isinstance(lineage, Record) else None

    def bar_of(self, entry: Entry) -> Bar | None:
        """Return why an entry cannot be made again; None if it can."""
        lineage = entry.lineage
        match lineage.made_by if isinstance(lineage, Carried) else lineage:
            case Record() as record:
                return record.bar
            case TaskFacts() as facts:
                return Bar(_why_not(facts), facts.name)
            case MethodTemplate() as template:
                cls = template.class_name
                name = name_of_call(cls, template.method) if cls else template.method
                return Bar(ActorResult, name, ActorBar.NOT_READONLY)
            case None:
                return Bar(Borrowed if entry.owner_address else Put)
        return None

    def find(self, task_id: bytes) -> Record | None:
        """Return the record of a call, if it is still there."""
        listed = self._listed.get(task_id)
        return None if listed is None else listed()

    def records(self) -> list[Record]:
        """Return the records that there are, oldest first."""
        return [record for listed in list(self._listed.values()) if (record := listed()) is not None]

    # -- coming and going --------------------------------------------------------------------------------------

    def _add(self, record: Record) -> Record:
        self.forget_gone()
        if record.size > self.limit_bytes:
            record.empty(Evicted if self.limit_bytes else Disabled)
            return record
        self._listed[record.task_id] = _Listed(record, self._gone.append)
        self.bytes += record.size
        while self.bytes > self.limit_bytes:
            self.bar(next(iter(self._listed)), Evicted)
        return record

    def bar(self, task_id: bytes, reason: Reason) -> None:
        """Empty a record, and count it no more."""
        listed = self._listed.pop(task_id, None)
        if listed is None:
            return
        self.bytes -= listed.size
        record = listed()
        if record is not None:
            record.empty(reason)

    def forget_gone(self) -> None:
        """Count the records no more that nobody holds."""
        while self._gone:
            listed = self._gone.popleft()
            if self._listed.get(listed.task_id) is listed:
                del self._listed[listed.task_id]
                self.bytes -= listed.size

    def end_run(self, run: Run, *, has_failed: bool) -> None:
        """Note what a call that was made again leaves for the next time."""
        call, record = run.call, run.record
        if has_failed and call.cancelled:
            self.bar(record.task_id, Cancelled)
        elif isinstance(record.template, TaskTemplate):
            record.retries_left, record.attempt = call.retries_left, call.attempt
            if not record.retries_left:
                self.bar(record.task_id, Exhausted)
        else:
            record.attempt = call.attempt

    def check_invariants(self) -> None:
        """Raise AssertionError if the table contradicts itself."""
        self.forget_gone()
        assert self.bytes == sum(listed.size for listed in self._listed.values()), "bytes are miscounted"
        assert self.bytes <= max(0, self.limit_bytes), "more is kept than is allowed"
        for task_id, listed in self._listed.items():
            record = listed()
            assert record is not None, "a record that nobody holds is listed"
            assert record.task_id == task_id, "a record is listed under another id"
            assert record.bar is None, "a record that is empty is listed"


def carry(made_by: object, carrier_id: bytes, payload: Payload, newcomers: AbstractSet[bytes]) -> None:
    """Have borrowed objects to which a result or an item refers keep what can make it again.

    Only those that have come with it: what was known before may be among the arguments that the record keeps.
    """
    if not (newcomers and payload.refs):
        return
    at = {spec.object_id: position for position, spec in enumerate(payload.refs)}
    for held in payload.held:
        if isinstance(held, BorrowedEntry) and held.object_id in at and held.object_id in newcomers:
            held.lineage = Carried(made_by, carrier_id, at[held.object_id], len(at))


def _why_not(task: TaskFacts) -> Reason:
    """Return why nothing is kept of a task that has succeeded."""
    if not task.lineage:
        return Disabled
    return Exhausted if task.max_retries else RetriesDisabled


def _size(args: Payload, arguments: tuple[Argument, ...]) -> int:
    """Return how many bytes a record keeps; those in the store on its behalf count too."""
    size = RECORD_BYTES + len(args.data) + sum(buffer.nbytes for buffer in args.buffers)
    if args.stored is not None:
        size += args.stored.size
    for argument in arguments:
        size += ARGUMENT_BYTES
        if argument.kept is not None and argument.kept.payload is not None:
            size += len(argument.kept.payload.data)
    return size
