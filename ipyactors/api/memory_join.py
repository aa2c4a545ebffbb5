"""From what everybody has reported to rows: each object once, with all that anybody has said of it. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Literal

from ipyactors.api.memory_rows import (
    FREED,
    CallSite,
    MemoryHolder,
    MemoryNode,
    MemoryPlace,
    MemoryProcess,
    MemoryRow,
    words_of,
)
from ipyactors.ground import ids
from ipyactors.wire.census_messages import (
    BorrowRecord,
    CensusReply,
    ObjectKind,
    ObjectRecord,
    ObjectState,
    SegmentRecord,
    SiteRecord,
    StoreReported,
)

_LOST = (ObjectState.LOST, ObjectState.REMAKEABLE)


class Joined:
    """A census, looked at from the objects: ``rows``, in no order, and ``nodes``."""

    def __init__(self, reply: CensusReply) -> None:
        self._reply = reply
        self._agents = {node.node_id: node.pid for node in reply.nodes}
        self._processes = {
            one.process_id: MemoryProcess(
                "driver" if one.is_driver else "worker", one.pid, one.node_id.hex(), one.process_id.hex(), one.runs
            )
            for one in reply.processes
        }
        self._by_pid = {(one.node_id, one.pid): one for one in self._processes.values()}
        self._segments: defaultdict[bytes, list[tuple[bytes, SegmentRecord]]] = defaultdict(list)
        self._freed: list[tuple[bytes, SegmentRecord]] = []
        for node_id, store in reply.stores.items():
            for segment in store.segments:
                if segment.is_freed:
                    self._freed.append((node_id, segment))
                else:
                    self._segments[segment.segment_id].append((node_id, segment))
        self._borrowed: defaultdict[bytes, list[tuple[MemoryProcess, BorrowRecord]]] = defaultdict(list)
        for process_id, report in reply.objects.items():
            for borrowed in report.borrowed:
                self._borrowed[borrowed.object_id].append((self.process(process_id), borrowed))
        self._words = {
            record.object_id: words_of(record.kind.value, record.name, record.index)
            for report in reply.objects.values()
            for record in report.owned
        }
        self.rows = [*self._owned_rows(), *self._unnamed_rows(), *self._freed_rows()]
        self.nodes = [self._node(node.node_id, node.hostname) for node in reply.nodes]

    def process(self, process_id: bytes) -> MemoryProcess:
        """Return a process of the session by its id."""
        known = self._processes.get(process_id)
        return known if known is not None else MemoryProcess("gone", 0, process_id=process_id.hex())

    def silent(self) -> Iterator[str]:
        """Yield in words who did not answer."""
        hosts = {node.node_id: node.hostname for node in self._reply.nodes}
        for one in self._reply.silent:
            yield f"the store of {hosts[one]}" if one in hosts else str(self.process(one))

    def left_out(self) -> tuple[int, int]:
        """Return how many objects were too many to be named, and their bytes."""
        reports = self._reply.objects.values()
        return sum(report.left_out for report in reports), sum(report.left_out_bytes for report in reports)

    # -- rows --------------------------------------------------------------------------------------------------

    def _owned_rows(self) -> Iterator[MemoryRow]:
        for owner_id, report in self._reply.objects.items():
            owner = self.process(owner_id)
            for record in report.owned:
                found = self._segments.get(record.object_id, ())
                is_found = bool(found) and record.state in _LOST  # its owner has not looked for it yet
                yield MemoryRow(
                    record.object_id.hex(),
                    max(segment.size for _, segment in found) if is_found else record.size,
                    record.kind.value,
                    record.name,
                    record.index,
                    (ObjectState.READY if is_found else record.state).value,
                    tuple(self._places(record)),
                    owner,
                    tuple(self._holders(record, owner)),
                    _site(record.site),
                    None if record.age_s < 0 else record.age_s,
                )

    def _unnamed_rows(self) -> Iterator[MemoryRow]:
        """Yield what stores have and owners have not named: of the dead, of the silent, or what was just freed."""
        named = {record.object_id for report in self._reply.objects.values() for record in report.owned}
        for segment_id, found in self._segments.items():
            owner_id = ids.owner_of(segment_id)
            report = self._reply.objects.get(owner_id)
            if segment_id in named or (report is not None and report.left_out):
                continue
            yield MemoryRow(
                segment_id.hex(),
                max(segment.size for _, segment in found),
                # An owner names what it makes before it is in a store, so what it does not name it has let go of.
                ObjectKind.UNKNOWN.value if report is None else FREED,
                "",
                0,
                ObjectState.READY.value,
                tuple(map(_place, found)),
                self.process(owner_id),
                (*self._borrowers(segment_id, {}), *self._mappings(segment_id)),
                None,
                None,
            )

    def _freed_rows(self) -> Iterator[MemoryRow]:
        """Yield what nobody can reach any more, and views keep; each for itself, for it may have been made again."""
        for node_id, segment in self._freed:
            pids = [self._process_at(node_id, pid) for pid in segment.mapped_by]
            yield MemoryRow(
                segment.segment_id.hex(),
                segment.size,
                FREED,
                "",
                0,
                ObjectState.READY.value,
                (_place((node_id, segment)),),
                self.process(ids.owner_of(segment.segment_id)),
                tuple(MemoryHolder("mapping", 1, one) for one in pids) or (MemoryHolder("mapping", 1),),
                None,
                None,
            )

    def _places(self, record: ObjectRecord) -> Iterator[MemoryPlace]:
        found = self._segments.get(record.object_id, ())
        yield from map(_place, found)
        for node_id in record.locations:
            if all(node_id != where for where, _ in found):
                store = self._reply.stores.get(node_id)
                is_named = store is not None and not store.left_out
                yield MemoryPlace("missing" if is_named else "unknown", node_id.hex())
        if not found and not record.locations and record.state is ObjectState.READY:
            yield MemoryPlace("inline")

    def _holders(self, record: ObjectRecord, owner: MemoryProcess) -> Iterator[MemoryHolder]:
        counts: tuple[tuple[Literal["references", "calls", "reruns", "pinned"], int], ...] = (
            ("references", record.references),
            ("calls", record.calls),
            ("reruns", record.reruns),
            ("pinned", int(record.is_pinned)),
        )
        for how, count in counts:
            if count:
                yield MemoryHolder(how, count, owner)
        for object_id in record.inside:
            yield self._container(object_id, owner)
        yield from self._borrowers(record.object_id, record.borrowers)
        yield from self._mappings(record.object_id)

    def _borrowers(self, object_id: bytes, lent: Mapping[bytes, int]) -> Iterator[MemoryHolder]:
        heard = set()
        for process, borrowed in self._borrowed.get(object_id, ()):
            heard.add(process.process_id)
            since = borrowed.name or (str(_site(borrowed.site)) if borrowed.site is not None else "")
            if borrowed.references:
                yield MemoryHolder("references", borrowed.references, process, since=since)
            if borrowed.calls:
                yield MemoryHolder("calls", borrowed.calls, process)
            for container in borrowed.inside:
                yield self._container(container, process)
            if not (borrowed.references or borrowed.calls or borrowed.inside):
                yield MemoryHolder("lent", 1, process, since=since)
        for process_id, count in lent.items():
            if process_id.hex() not in heard:
                yield MemoryHolder("lent", count, self.process(process_id))

    def _container(self, object_id: bytes, process: MemoryProcess) -> MemoryHolder:
        return MemoryHolder("object", 1, process, object_id.hex(), self._words.get(object_id, "an object"))

    def _mappings(self, segment_id: bytes) -> Iterator[MemoryHolder]:
        for node_id, segment in self._segments.get(segment_id, ()):
            for pid in segment.mapped_by:
                yield MemoryHolder("mapping", 1, self._process_at(node_id, pid))

    def _process_at(self, node_id: bytes, pid: int) -> MemoryProcess:
        known = self._by_pid.get((node_id.hex(), pid))
        if known is not None:
            return known
        role: Literal["agent", "process"] = "agent" if self._agents.get(node_id) == pid else "process"
        return MemoryProcess(role, pid, node_id.hex())

    def _node(self, node_id: bytes, hostname: str) -> MemoryNode:
        store = self._reply.stores.get(node_id) or StoreReported(0, ())
        return MemoryNode(
            node_id.hex(),
            hostname,
            store.used_bytes,
            store.limit_bytes,
            store.spilled_bytes,
            store.pool_bytes,
            sum(not segment.is_freed for segment in store.segments) + store.left_out,
            store.mapped_bytes,
        )


def _place(found: tuple[bytes, SegmentRecord]) -> MemoryPlace:
    node_id, segment = found
    return MemoryPlace("disk" if segment.is_spilled else "memory", node_id.hex())


def _site(record: SiteRecord | None) -> CallSite | None:
    return None if record is None else CallSite(record.file, record.line, record.function)
