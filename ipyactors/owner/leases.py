"""Leases: workers that this process may use, and how much work each is given ahead.

A lease is asked of the head once and then used for any number of tasks of the same shape (the same demand on
resources), so the head is not on the path of a task. To keep a worker busy while answers travel, tasks are sent
ahead: as many as it is expected to finish in ``PIPELINE_S``, judged by how long calls of that function have taken.
A function that nobody has measured is sent one at a time. Whatever waits behind a task that turns out long is
given back by the worker.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from ipyactors.ground import ids
from ipyactors.ground.quantities import Units
from ipyactors.owner.announced import Announced
from ipyactors.owner.calls import CallState, TaskCall
from ipyactors.owner.faults import TaskFaults
from ipyactors.owner.locality import preferred_node
from ipyactors.owner.out import Out
from ipyactors.owner.retriable import Retriable
from ipyactors.owner.scopes import ScopeTrails
from ipyactors.owner.templates import TaskTemplate
from ipyactors.wire.head_messages import DropWorker, LeaseGranted, ReturnLease, WantLeases
from ipyactors.wire.worker_messages import Define, ForgetDefinitions, RunTask

#: How much work is sent ahead to one worker, in seconds.
PIPELINE_S = 0.010
PIPELINE_CALLS = 256

#: An idle lease is kept this long, in case more work comes. The head may ask for it back earlier.
IDLE_LEASE_S = 1.0

#: More than this many wishes are never outstanding for one shape.
_WISHES_AT_MOST = 64

#: Weight of the newest duration in the running mean.
_NEWEST_WEIGHT = 0.3


class Stranded:
    """What is known of a shape that fits no machine: what the nearest one has, and since when (monotonic)."""

    __slots__ = ("existing", "is_told", "since_s")

    def __init__(self, existing: Units, since_s: float) -> None:
        self.existing = existing
        self.since_s = since_s
        self.is_told = False


class Shape:
    """All tasks with one demand on resources: what waits, and the leases that serve it.

    ``stranded`` is set while there is no machine for it, see :mod:`ipyactors.owner.stranded`, and ``has_new`` when a
    new task has come meanwhile. Of what was submitted up to ``feasible_until`` (a number of a task) is known that there
    was a machine for it.
    """

    __slots__ = (
        "demand",
        "feasible_until",
        "has_new",
        "is_left_waiting",
        "leases",
        "queue",
        "shape_id",
        "stranded",
        "was_granted",
        "wished",
    )

    def __init__(self, shape_id: int, demand: Units) -> None:
        self.shape_id = shape_id
        self.demand = demand
        self.queue: deque[TaskCall] = deque()
        self.leases: dict[int, Lease] = {}
        self.wished = 0
        self.stranded: Stranded | None = None
        self.has_new = False
        self.is_left_waiting = False  # as the head was told
        self.was_granted = False
        self.feasible_until = -1


class Lease:
    """One worker that this process may use.

    ``stalled``: it gave work back, so it gets no more until it answers. ``reclaimed``: others wait for it, so it
    gets no more at all. ``is_orphan``: the head that granted it is gone.
    """

    __slots__ = (
        "defined",
        "idle_since_s",
        "in_flight",
        "is_orphan",
        "lease_id",
        "next_seq",
        "node_id",
        "reclaimed",
        "shape",
        "stalled",
        "worker_id",
    )

    def __init__(self, lease_id: int, shape: Shape, worker_id: bytes, now_s: float, node_id: bytes = b"") -> None:
        self.lease_id = lease_id
        self.shape = shape
        self.worker_id = worker_id
        self.node_id = node_id
        self.in_flight: dict[int, TaskCall] = {}
        self.next_seq = 1
        self.defined: set[bytes] = set()
        self.reclaimed = False
        self.stalled = False
        self.is_orphan = False
        self.idle_since_s = now_s


class LeaseTable:
    """Every shape and lease of this process, and the measured durations."""

    def __init__(self, retriable: Retriable | None = None, scopes: ScopeTrails | None = None) -> None:
        self.retriable = retriable or Retriable()
        self.scopes = scopes or ScopeTrails()
        self.faults: TaskFaults | None = None
        """What is to go wrong on purpose; None as long as nothing was ordered."""
        self.shapes: dict[tuple[tuple[str, int], ...], Shape] = {}
        self.by_id: dict[int, Shape] = {}
        self.leases: dict[int, Lease] = {}
        self.streams: dict[bytes, tuple[int, set[bytes]]] = {}
        """By worker id: where the numbering and the definitions of an earlier lease of the same worker ended."""
        self.announced = Announced()
        self.mean_s: dict[bytes, float] = {}
        self.touched: set[Shape] = set()
        """Shapes to look at once at the end of the turn."""
        self.lacking: list[TaskCall] = []
        """Calls whose turn it was, and whose arguments are not there any more."""
        self.stranded: set[Shape] = set()
        """Shapes for which there is no machine."""

    def shape_of(self, template: TaskTemplate) -> Shape:
        """Return the shape that a task belongs to, made on first use."""
        key = tuple(sorted(template.demand.items()))
        shape = self.shapes.get(key)
        if shape is None:
            shape = self.shapes[key] = Shape(len(self.by_id) + 1, template.demand)
            self.by_id[shape.shape_id] = shape
        return shape

    def note_duration(self, definition_id: bytes, duration_s: float) -> None:
        """Learn how long a function takes."""
        mean_s = self.mean_s.get(definition_id)
        self.mean_s[definition_id] = duration_s if mean_s is None else mean_s + _NEWEST_WEIGHT * (duration_s - mean_s)

    def check_invariants(self) -> None:
        """Raise AssertionError if the tables contradict each other."""
        for lease_id, lease in self.leases.items():
            assert lease.shape.leases.get(lease_id) is lease, f"lease {lease_id} is not listed with its shape"
        for shape in self.by_id.values():
            assert (shape in self.stranded) == (shape.stranded is not None), "a shape waits for a machine, or does not"
            assert all(call.state is not CallState.SENT for call in shape.queue), "a sent call is queued"


def pipeline_depth(mean_s: float | None) -> int:
    """Return how many calls of a function to send ahead to one worker (at least 1)."""
    if mean_s is None:
        return 1
    return max(1, min(PIPELINE_CALLS, int(PIPELINE_S / max(mean_s, 1e-6))))


def was_feasible(shape: Shape, call: TaskCall) -> bool:
    """Return whether there was a machine for a call once: it was sent, or it could have been."""
    return bool(call.seq or call.attempt) or ids.counter_of(call.task_id) <= shape.feasible_until


def note_feasible(shape: Shape, call: TaskCall) -> None:
    """Note that there is, or was, a machine for a call, and for what was submitted before."""
    shape.feasible_until = max(shape.feasible_until, ids.counter_of(call.task_id))


def end_stranding(table: LeaseTable, shape: Shape) -> None:
    """Note that a shape does not wait for a machine, or not any more."""
    shape.stranded, shape.has_new = None, False
    table.stranded.discard(shape)


def enqueue(table: LeaseTable, call: TaskCall) -> None:
    """Put a call whose arguments are there into its shape's queue."""
    call.state = CallState.QUEUED
    shape = table.shape_of(call.template)
    if shape.stranded is not None and not was_feasible(shape, call):
        shape.has_new = True
    shape.queue.append(call)
    table.touched.add(shape)


def requeue(table: LeaseTable, shape: Shape, calls: list[TaskCall]) -> None:
    """Put calls that were sent before back in front, in their order."""
    for call in calls:
        call.state = CallState.QUEUED
    shape.queue.extendleft(reversed(calls))
    table.touched.add(shape)


def on_granted(table: LeaseTable, out: Out, message: LeaseGranted, now_s: float) -> Lease | None:
    """Take a lease, or give it back at once when there is nothing to use it for."""
    shape = table.by_id.get(message.shape_id)
    if shape is None:
        out.to_head(ReturnLease(message.lease_id))
        return None
    shape.wished = max(0, shape.wished - 1)
    shape.was_granted = True
    end_stranding(table, shape)
    lease = Lease(message.lease_id, shape, message.worker_id, now_s, message.node_id)
    if message.worker_id in table.streams:
        lease.next_seq, lease.defined = table.streams.pop(message.worker_id)
    shape.leases[lease.lease_id] = table.leases[lease.lease_id] = lease
    table.touched.add(shape)
    out.connect(message.worker_id, message.address)
    return lease


def dispatch(table: LeaseTable, shape: Shape, out: Out, now_s: float) -> None:
    """Give queued calls to workers, evenly, and tell the head how many more would be of use."""
    usable = [lease for lease in shape.leases.values() if not (lease.reclaimed or lease.stalled)]
    if shape.queue and usable:
        share = -(-len(shape.queue) // len(usable))
        for lease in usable:
            _fill(table, shape, lease, out, share, now_s)
    _skip_done(shape)
    if not shape.queue:
        end_stranding(table, shape)
    elif any(not lease.reclaimed for lease in shape.leases.values()):  # one that is may be so with its machine
        note_feasible(shape, shape.queue[-1])
    wish = min(len(shape.queue), _WISHES_AT_MOST)
    waits = shape.stranded is not None and not shape.has_new
    if wish != shape.wished or (wish and waits != shape.is_left_waiting):
        shape.wished, shape.is_left_waiting = wish, waits
        name, prefer = (shape.queue[0].name, preferred_node(shape.queue[0])) if shape.queue else ("", b"")
        out.to_head(WantLeases(shape.shape_id, shape.demand, wish, name, prefer, waits))


def _fill(table: LeaseTable, shape: Shape, lease: Lease, out: Out, share: int, now_s: float) -> None:
    queue = shape.queue
    depth = room = 0
    while queue and share > 0:
        call = queue[0]
        if call.state is CallState.DONE:  # cancelled while it waited
            queue.popleft()
            continue
        if call.deps and call.lacks_arguments():
            table.lacking.append(queue.popleft())
            continue
        template = call.template
        if not depth:
            depth = pipeline_depth(table.mean_s.get(template.definition.definition_id))
            room = depth - len(lease.in_flight)
            if room < (depth + 1) // 2:
                return  # refill in large steps: one frame for many calls
        elif room > 0 and pipeline_depth(table.mean_s.get(template.definition.definition_id)) < depth:
            return  # a longer function behind short ones waits for a worker of its own
        if room <= 0:
            return
        queue.popleft()
        room -= 1
        share -= 1
        _send(table, lease, call, template, out, now_s)


def _send(table: LeaseTable, lease: Lease, call: TaskCall, template: TaskTemplate, out: Out, now_s: float) -> None:
    definition = template.definition
    if definition.definition_id not in lease.defined:
        lease.defined.add(definition.definition_id)
        table.announced.note(definition)
        out.to_worker(lease.worker_id, Define(definition))
    call.seq = seq = lease.next_seq
    lease.next_seq = seq + 1
    lease.in_flight[seq] = call
    call.state, call.sent_s = CallState.SENT, now_s
    if call.scope:
        table.scopes.note(lease.worker_id, seq, call.scope)
    out.to_worker(
        lease.worker_id,
        RunTask(
            seq,
            call.task_id,
            definition.definition_id,
            template.name,
            call.args,
            call.arg_values(),
            template.num_returns,
            template.retry_on,
            call.attempt,
            call.stream.received if call.stream is not None else 0,
            call.stream.until if call.stream is not None else 0,
            call.number,
            table.retriable.below() if call.number else 0,
            call.values,
            () if table.faults is None else table.faults.of(call),
        ),
    )


def forget_definitions(table: LeaseTable, out: Out) -> None:
    """Have workers forget the functions that nothing here needs any more, those of earlier leases too."""
    gone = dict.fromkeys(table.announced.take_gone())
    for lease in table.leases.values():
        # An equal definition, which was not sent because that one was, may be on its way.
        for call in lease.in_flight.values():
            if call.template.definition.definition_id in gone:
                del gone[call.template.definition.definition_id]
                table.announced.note(call.template.definition)
    if not gone:
        return
    for definition_id in gone:
        table.mean_s.pop(definition_id, None)
    streams = {worker_id: defined for worker_id, (_, defined) in table.streams.items()}
    streams |= {lease.worker_id: lease.defined for lease in table.leases.values()}
    for worker_id, defined in streams.items():
        forgotten = tuple(definition_id for definition_id in gone if definition_id in defined)
        if forgotten:
            defined.difference_update(forgotten)
            out.to_worker(worker_id, ForgetDefinitions(forgotten))


def _skip_done(shape: Shape) -> None:
    while shape.queue and shape.queue[0].state is CallState.DONE:
        shape.queue.popleft()


def drop(table: LeaseTable, lease: Lease) -> None:
    """Take a lease out of the tables."""
    table.leases.pop(lease.lease_id, None)
    lease.shape.leases.pop(lease.lease_id, None)
    table.touched.add(lease.shape)


def expired(table: LeaseTable, now_s: float) -> Iterator[Lease]:
    """Yield the leases to give back: idle ones that were reclaimed or have been idle for long."""
    for lease in list(table.leases.values()):
        if lease.in_flight or (lease.shape.queue and not lease.reclaimed):
            continue
        if lease.reclaimed or now_s - lease.idle_since_s >= IDLE_LEASE_S:
            yield lease


def give_back(table: LeaseTable, lease: Lease, out: Out) -> None:
    """Return a lease; remember where its stream ended, for the worker counts on."""
    drop(table, lease)
    if lease.is_orphan:
        out.to_head(DropWorker(lease.worker_id))
    else:
        table.streams[lease.worker_id] = (lease.next_seq, lease.defined)
        out.to_head(ReturnLease(lease.lease_id))


def next_expiry_s(table: LeaseTable) -> float | None:
    """Return when the first idle lease expires, on the monotonic clock."""
    if not table.leases:
        return None
    times = [lease.idle_since_s for lease in table.leases.values() if not lease.in_flight and not lease.shape.queue]
    return min(times) + IDLE_LEASE_S if times else None
