"""Several stores and a network between them, all in memory: what is sent arrives when the test says so, or never.

Each store has the real tables and reactors of a machine's transfers; files and connections are played. A connection
belongs to the store that reads over it. While it is up, it carries everything once, in order, as ZeroMQ does; when it
is cut, what is on it is lost.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections import Counter, deque
from typing import Any

from ipyactors.node import serving as serves
from ipyactors.node import transfer
from ipyactors.node.pulls import STALL_S, WINDOW, Pulls, Stage
from ipyactors.node.serving import Serving
from ipyactors.wire.specs import Location
from ipyactors.wire.store_messages import (
    DropCopies,
    PullSegment,
    ReadSegment,
    SegmentChunk,
    SegmentGone,
    SegmentHere,
)

CHUNK = 16


@dataclasses.dataclass
class Segment:
    """A file in a store; ``version`` says which writing it is."""

    data: bytes
    version: int = 1
    is_copy: bool = False


@dataclasses.dataclass
class PartFile:
    """A file that is being received."""

    segment_id: bytes
    spill: bool
    pieces: dict[int, bytes] = dataclasses.field(default_factory=dict)


class Store:
    """One machine's. It is the ``Out`` of both of its reactors; what its threads do waits in ``jobs``, in order."""

    def __init__(self, world: World, name: bytes) -> None:
        self.world = world
        self.node_id = name
        self.location = Location(name, f"at {name.decode()}")
        self.pulls = Pulls(name, CHUNK)
        self.serving = Serving()
        self.segments: dict[bytes, Segment] = {}
        self.parts: dict[int, PartFile] = {}
        self.room_asked: dict[int, int] = {}
        self.jobs: deque[tuple[Any, ...]] = deque()
        self.unreachable: deque[tuple[bytes, Any]] = deque()
        self.answers: list[tuple[bytes, SegmentHere | SegmentGone]] = []
        self.asked: list[tuple[bytes, ReadSegment]] = []
        self.is_memory_full = False
        self.is_disk_full = False
        self.is_frozen = False

    # -- PullOut -------------------------------------------------------------------------------------------------

    def ask(self, source: Location, message: ReadSegment) -> None:
        self.asked.append((source.node_id, message))
        self.world.post(self.node_id, source.node_id, self.node_id, message)

    def make_room(self, number: int, segment_id: bytes, size: int) -> None:
        self.room_asked[number] = size

    def create(self, number: int, segment_id: bytes, *, spill: bool) -> None:
        self.jobs.append(("create", number, segment_id, spill))

    def write(self, number: int, offset: int, data: memoryview) -> None:
        self.jobs.append(("write", number, offset, bytes(data)))

    def publish(self, number: int) -> None:
        self.jobs.append(("publish", number))

    def abandon(self, number: int) -> None:
        self.room_asked.pop(number, None)
        self.jobs.append(("abandon", number))

    def tell(self, process_id: bytes, message: SegmentHere | SegmentGone) -> None:
        if isinstance(message, SegmentHere):
            assert message.segment_id in self.segments, "a process was told of a segment that is not there"
        else:
            assert message.detail
        self.answers.append((process_id, message))

    # -- ServeOut ------------------------------------------------------------------------------------------------

    def read(self, reader_id: bytes, message: ReadSegment) -> None:
        self.jobs.append(("read", reader_id, message))

    def forget(self, segment_id: bytes) -> None:
        pass

    def send(self, reader_id: bytes, message: SegmentChunk | DropCopies) -> None:
        if not self.world.post(reader_id, self.node_id, self.node_id, message):
            self.unreachable.append((reader_id, message))

    # -- what happens here ---------------------------------------------------------------------------------------

    def pull(self, process_id: bytes, segment_id: bytes, *sources: Store) -> None:
        if segment_id in self.segments:
            self.tell(process_id, SegmentHere(segment_id))
            return
        places = tuple(source.location for source in sources)
        transfer.on_pull(self.pulls, self, process_id, PullSegment(segment_id, places), self.world.now)

    def give_room(self, number: int | None = None, *, spill: bool = False, problem: str = "") -> None:
        number = next(iter(self.room_asked)) if number is None else number
        self.room_asked.pop(number)
        transfer.on_room(self.pulls, self, number, spill, problem, self.world.now)

    def work(self) -> None:
        """Do the oldest job of the file threads."""
        kind, *job = self.jobs.popleft()
        getattr(self, f"_{kind}")(*job)

    def _create(self, number: int, segment_id: bytes, spill: bool) -> None:
        self.parts[number] = PartFile(segment_id, spill)

    def _write(self, number: int, offset: int, data: bytes) -> None:
        part = self.parts.get(number)
        if part is None:
            return
        if self.is_disk_full if part.spill else self.is_memory_full:
            del self.parts[number]
            transfer.on_file_failed(self.pulls, self, number, "no space left", True, self.world.now)
            return
        assert offset not in part.pieces, "a piece was written twice"
        part.pieces[offset] = data
        transfer.on_written(self.pulls, self, number, offset, self.world.now)

    def _publish(self, number: int) -> None:
        part = self.parts.pop(number, None)
        pull = self.pulls.by_number.get(number)
        if part is None:
            return
        data = b"".join(part.pieces[offset] for offset in sorted(part.pieces))
        if pull is not None:
            self.segments[part.segment_id] = Segment(data, pull.version, is_copy=True)
        assert transfer.on_published(self.pulls, self, number, self.world.now) == (pull is not None)

    def _abandon(self, number: int) -> None:
        self.parts.pop(number, None)

    def _read(self, reader_id: bytes, message: ReadSegment) -> None:
        segment = self.segments.get(message.segment_id)
        if segment is None:
            chunk = SegmentChunk(message.segment_id, message.offset, -1, 0, memoryview(b""))
        else:
            data = segment.data[message.offset : message.offset + message.length]
            total = len(segment.data)
            crc = zlib.crc32(data)
            chunk = SegmentChunk(message.segment_id, message.offset, total, crc, memoryview(data), segment.version)
            self.world.served[self.node_id] += 1
        serves.on_piece(self.serving, self, reader_id, chunk)

    def hear(self, sender: bytes, message: Any) -> None:
        now = self.world.now
        match message:
            case ReadSegment():
                serves.on_read(self.serving, self, sender, message, now)
            case SegmentChunk():
                transfer.on_chunk(self.pulls, self, sender, message, now)
            case DropCopies():
                ours = [key for key in message.segment_ids if not self.holds_original(key)]
                self.free(*ours)

    def holds_original(self, segment_id: bytes) -> bool:
        segment = self.segments.get(segment_id)
        return segment is not None and not segment.is_copy

    def free(self, *segment_ids: bytes) -> None:
        transfer.on_freed(self.pulls, self, segment_ids, "its owner freed it", self.world.now)
        serves.on_freed(self.serving, self, segment_ids)
        for segment_id in segment_ids:
            self.segments.pop(segment_id, None)

    def seal(self, segment_id: bytes, segment: Segment) -> None:
        """Have a process of this machine write a segment."""
        self.segments[segment_id] = segment
        serves.on_sealed_here(self.serving, segment_id)
        transfer.on_sealed_here(self.pulls, self, segment_id, self.world.now)

    def owner_gone(self, owner_id: bytes) -> None:
        transfer.on_owner_gone(self.pulls, self, owner_id, self.world.now)
        serves.on_owner_gone(self.serving, self, owner_id)
        for segment_id in [key for key in self.segments if key.startswith(owner_id)]:
            del self.segments[segment_id]

    def turn(self) -> None:
        transfer.on_turn(self.pulls, self, self.world.now)
        serves.on_turn(self.serving, self, self.world.now)

    def tell_unreachable(self) -> None:
        serves.on_unreachable(self.serving, self, *self.unreachable.popleft(), self.world.now)

    def check(self) -> None:
        self.pulls.check_invariants()
        self.serving.check_invariants()
        open_files = set(self.parts) | {job[1] for job in self.jobs if job[0] == "create"}
        ending = {job[1] for job in self.jobs if job[0] in ("abandon", "publish")}
        wanted = {pull.number for pull in self.pulls.by_segment.values() if pull.has_file}
        assert open_files - ending <= wanted, "a file is received that nobody wants"
        rooms = {pull.number for pull in self.pulls.by_segment.values() if pull.stage is Stage.ROOM}
        assert rooms == self.room_asked.keys()


class World:
    """Stores by name, the connections between them, and a clock that stands still."""

    def __init__(self, *names: bytes) -> None:
        self.now = 1_000.0
        self.stores = {name: Store(self, name) for name in names}
        self.wires: dict[tuple[bytes, bytes], deque[tuple[bytes, bytes, Any]]] = {}
        self.down: set[tuple[bytes, bytes]] = set()
        self.notices: deque[tuple[str, bytes, bytes]] = deque()
        self.served: Counter[bytes] = Counter()
        self.damage = 0
        self.damaged = 0
        self.cuts = 0

    # -- the network ---------------------------------------------------------------------------------------------

    def post(self, reader: bytes, source: bytes, sender: bytes, message: Any) -> bool:
        """Put a message on the connection over which ``reader`` reads from ``source``."""
        wire = (reader, source)
        if wire in self.down or reader not in self.stores or source not in self.stores:
            return False
        if isinstance(message, SegmentChunk) and message.data and self.damage:
            self.damage -= 1
            self.damaged += 1
            spoilt = bytes([message.data[0] ^ 1, *message.data[1:]])
            message = SegmentChunk(
                message.segment_id, message.offset, message.total, message.crc, memoryview(spoilt), message.version
            )
        receiver = source if sender == reader else reader
        self.wires.setdefault(wire, deque()).append((sender, receiver, message))
        return True

    def busy_wires(self) -> list[tuple[bytes, bytes]]:
        """Return the connections on which something is under way to someone who listens."""
        found = []
        for wire, queue in self.wires.items():
            if any(not self.stores[receiver].is_frozen for _, receiver, _ in queue):
                found.append(wire)
        return found

    def deliver(self, wire: tuple[bytes, bytes], *, back: bool = False) -> None:
        """Hand over the oldest message of a connection, of those that go one way."""
        queue = self.wires[wire]
        at_home = [entry for entry in queue if not self.stores[entry[1]].is_frozen]
        wanted = wire[0] if back else wire[1]
        entry = next((entry for entry in at_home if entry[1] == wanted), at_home[0])
        queue.remove(entry)
        sender, receiver, message = entry
        self.stores[receiver].hear(sender, message)

    def cut(self, reader: bytes, source: bytes) -> None:
        """Break a connection; what is on it is lost. The reader notices later."""
        wire = (reader, source)
        if wire not in self.down:
            self.down.add(wire)
            self.wires.pop(wire, None)
            self.notices.append(("cut", reader, source))
            self.cuts += 1

    def mend(self, reader: bytes, source: bytes) -> None:
        """Bring a connection back. The reader notices later."""
        wire = (reader, source)
        if wire in self.down:
            self.down.discard(wire)
            self.notices.append(("connected", reader, source))

    def notice(self) -> None:
        """Tell a reader of the oldest cut or return."""
        kind, reader, source = self.notices.popleft()
        if reader in self.stores:
            store = self.stores[reader]
            getattr(transfer, f"on_{kind}")(store.pulls, store, source, self.now)

    def kill(self, name: bytes) -> None:
        """End a machine, and have the others told."""
        del self.stores[name]
        for wire in [wire for wire in self.wires if name in wire]:
            del self.wires[wire]
        self.notices = deque(notice for notice in self.notices if name not in notice)
        for store in self.stores.values():
            transfer.on_node_lost(store.pulls, store, name, "its agent ended", self.now)
            serves.on_reader_lost(store.serving, store, name)

    # -- all at once ---------------------------------------------------------------------------------------------

    def check(self) -> None:
        for store in self.stores.values():
            store.check()

    def flow(self) -> None:
        """Let everything happen that needs no time to pass, until nothing is left."""
        for _ in range(100_000):
            self.check()
            if self.notices:
                self.notice()
            elif wires := self.busy_wires():
                self.deliver(wires[0])
            elif not any(self._step(store) for store in self.stores.values()):
                return
        raise AssertionError("it never comes to rest")

    def _step(self, store: Store) -> bool:
        """Do one thing in a store; return False if there is nothing to do."""
        if store.is_frozen:
            return False
        if store.unreachable:
            store.tell_unreachable()
        elif store.room_asked:
            store.give_room(problem="both are full" if store.is_memory_full and store.is_disk_full else "")
        elif store.jobs:
            store.work()
        else:
            return False
        return True

    def settle(self) -> None:
        """Let everything happen, and so much time pass that whoever waits in vain has given up."""
        self.flow()
        for _ in range(200):
            if not any(store.pulls.by_segment for store in self.stores.values()):
                return
            self.pass_time(STALL_S)
            self.flow()
        raise AssertionError("somebody waits for ever")

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for store in self.stores.values():
            if not store.is_frozen:
                store.turn()

    def most_under_way(self, reader: bytes, segment_id: bytes) -> int:
        """Return how many pieces of a segment are on the wire to or from ``reader``, or wait in a source."""
        return sum(
            message.segment_id == segment_id
            for wire, queue in self.wires.items()
            if wire[0] == reader
            for _, _, message in queue
            if isinstance(message, ReadSegment | SegmentChunk)
        )


def text(pieces: float, seed: int = 7) -> bytes:
    """Return contents of so many pieces; every piece is different."""
    size = int(pieces * CHUNK)
    return bytes((seed * 31 + at * 7 + at // CHUNK) % 256 for at in range(size))


__all__ = ["CHUNK", "WINDOW", "Segment", "Store", "World", "text"]
