"""A machine's store with everything around it, in memory: processes, the files in both folders, the disk's threads.

The table and the reactor are the real ones. Words between a process and the agent are kept in their order, and
arrive when the test says so; the same for what the threads are to do and have done. So everything may overtake
everything else that it could overtake in life.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import deque
from typing import Any

from ipyactors.ground import ids
from ipyactors.node import store_moves, store_reactor
from ipyactors.node.store_moves import Failure
from ipyactors.node.store_table import Segment, Shelf, StoreTable
from ipyactors.wire.events import Event
from ipyactors.wire.store_messages import (
    FreeSegments,
    MakeRoom,
    MappedFile,
    PoolChanged,
    ReuseSegments,
    RoomMade,
    SegmentMapped,
    SegmentSealed,
    TrimPool,
)

NODE = b"n-------"


@dataclasses.dataclass(eq=False)
class File:
    """A file under a segment's name, or set aside; ``mapped`` counts those who read it."""

    size: int
    writer: bytes
    mapped: int = 0
    inode: int = dataclasses.field(default_factory=itertools.count(1).__next__)

    def named(self, segment_id: bytes) -> MappedFile:
        return MappedFile(segment_id, self.inode, self.size)


@dataclasses.dataclass
class Process:
    """Writes, owns, keeps a pool. ``owned`` are its segments that can be reached, ``said`` and ``heard`` are on their
    way to and from the agent, ``wanted`` is what it waits with until it gets room, ``written`` how often it has written
    a segment that was not given back to it.
    """

    process_id: bytes
    owned: dict[bytes, int] = dataclasses.field(default_factory=dict)
    said: deque[Any] = dataclasses.field(default_factory=deque)
    heard: deque[Any] = dataclasses.field(default_factory=deque)
    wanted: dict[int, tuple[bytes, int]] = dataclasses.field(default_factory=dict)
    written: dict[bytes, int] = dataclasses.field(default_factory=dict)
    pool: int = 0
    made: int = 0
    is_alive: bool = True


class StoreWorld:
    """It is the reactor's ``StoreOut``. ``refused`` are segments that neither memory nor disk had room for."""

    def __init__(self, limit: int) -> None:
        self.table = StoreTable(NODE, limit)
        self.now = 100.0
        self.processes: dict[bytes, Process] = {}
        self.memory: dict[bytes, File] = {}
        self.disk: dict[bytes, File] = {}
        self.aside: int = 0
        self.jobs: deque[tuple[str, bytes]] = deque()
        self.removals: deque[tuple[int, bytes, File | None]] = deque()
        self.held: dict[MappedFile, File] = {}
        self.facts: deque[tuple[Any, ...]] = deque()
        self.notices: deque[bytes] = deque()
        self.copies: set[bytes] = set()
        self.freed: set[bytes] = set()
        self.sizes: dict[bytes, int] = {}
        self.is_disk_full = False
        self.requests = 0
        self.answered: set[int] = set()

    # -- StoreOut --------------------------------------------------------------------------------------------------

    def tell_process(self, process_id: bytes, message: Any) -> None:
        process = self.processes.get(process_id)
        if process is not None and process.is_alive:
            process.heard.append(message)

    def tell_head(self, message: Any) -> None:
        raise AssertionError(message)

    def report(self, event: Event) -> None:
        assert event.task_id

    def spill(self, segment_id: bytes) -> None:
        self.jobs.append(("spill", segment_id))

    def restore(self, segment_id: bytes) -> None:
        self.jobs.append(("restore", segment_id))

    def remove(self, segment_id: bytes, size: int) -> None:
        gone = self.memory.pop(segment_id, None)
        self.disk.pop(segment_id, None)
        if gone is not None or size:
            self.removals.append((size, segment_id, gone))

    def remove_mapped(self, file: MappedFile) -> None:
        self.removals.append((file.size, file.segment_id, self.held.pop(file, None)))

    def remove_spilled(self, segment_id: bytes) -> None:
        self.disk.pop(segment_id, None)

    def answer_transfer(self, number: int, *, spill: bool, problem: str) -> None:
        self.facts.append(("transfer", number, spill, problem))

    # -- processes -------------------------------------------------------------------------------------------------

    def start(self, process_id: bytes) -> Process:
        self.processes[process_id] = process = Process(process_id)
        return process

    def living(self) -> list[Process]:
        return [process for process in self.processes.values() if process.is_alive]

    def write(self, writer: Process, owner: Process, size: int) -> None:
        """A process writes a new segment of an owner's, or asks for room first."""
        owner.made += 1
        segment_id = ids.object_id(owner.process_id, owner.made)
        if self.table.used_bytes + size > self.table.limit_bytes:
            self.requests += 1
            writer.wanted[self.requests] = (segment_id, size)
            writer.said.append(MakeRoom(self.requests, size))
        else:
            self.publish(writer, segment_id, size)

    def write_again(self, segment_id: bytes, other: Process) -> None:
        """A task runs again whose worker has died after it had written."""
        file = self.memory.get(segment_id) or self.disk.get(segment_id)
        owner = self.processes[ids.owner_of(segment_id)]
        is_made_here = segment_id in owner.owned and segment_id not in self.copies
        if file is not None and is_made_here and not self.processes[file.writer].is_alive:
            self.publish(other, segment_id, owner.owned[segment_id])

    def rebuild(self, segment_id: bytes, size: int, writer: Process) -> None:
        """What was freed is made again, to make something else again. That it was freed was heard long before.

        So was the death of who had made it: a new writing whose word is overtaken by that news is lost, and made again.
        """
        owner = self.processes[ids.owner_of(segment_id)]
        is_said = any(isinstance(one, FreeSegments) and segment_id in one.segment_ids for one in owner.said)
        if owner.is_alive and not is_said and not self.notices:
            self.freed.discard(segment_id)
            self.publish(writer, segment_id, size)

    def publish(self, writer: Process, segment_id: bytes, size: int, *, spill: bool = False) -> None:
        """The file has its name; if its owner is there, it can be reached from now on."""
        folder = self.disk if spill else self.memory
        folder[segment_id] = File(size, writer.process_id)
        writer.written[segment_id] = writer.written.get(segment_id, 0) + 1
        if spill:
            self.memory.pop(segment_id, None)
        writer.said.append(SegmentSealed(segment_id, size))
        owner = self.processes[ids.owner_of(segment_id)]
        if owner.is_alive and segment_id not in self.freed:
            owner.owned[segment_id] = size

    def free(self, owner: Process, segment_id: bytes) -> None:
        """Its owner can reach it no more: takes it back if it wrote it, tells the agent."""
        self.freed.add(segment_id)
        self.sizes[segment_id] = owner.owned.pop(segment_id)
        mapped: list[MappedFile] = []
        reused = (segment_id,) if self._take_back(owner, segment_id, mapped) else ()
        owner.said.append(FreeSegments((segment_id,), reused, tuple(mapped)))
        if reused:
            owner.said.append(PoolChanged(owner.pool))

    def _take_back(self, process: Process, segment_id: bytes, mapped: list[MappedFile]) -> bool:
        file = self.memory.get(segment_id)
        if file is None:
            return False
        if file.mapped:
            del self.memory[segment_id]
            mapped.append(file.named(segment_id))
            self.held[mapped[-1]] = file
            return False
        if file.writer != process.process_id:
            return False
        del self.memory[segment_id]
        process.pool += file.size
        return True

    def hear(self, process: Process) -> None:
        """A process acts on the agent's next word."""
        match process.heard.popleft():
            case RoomMade() as answer:
                assert answer.request_id not in self.answered, "answered twice"
                self.answered.add(answer.request_id)
                segment_id, size = process.wanted.pop(answer.request_id)
                if not answer.problem:
                    self.publish(process, segment_id, size, spill=answer.spill)
            case ReuseSegments() as message:
                taken = [segment_id for segment_id in message.segment_ids if self._is_still_freed(process, segment_id)]
                mapped: list[MappedFile] = []
                for segment_id in taken:
                    self._take_back(process, segment_id, mapped)
                process.said.append(PoolChanged(process.pool, tuple(taken), tuple(mapped)))
            case TrimPool():
                process.pool = 0
                process.said.append(PoolChanged(0))

    def _is_still_freed(self, process: Process, segment_id: bytes) -> bool:
        process.written[segment_id] -= 1
        return not process.written[segment_id]

    def die(self, process: Process, *, is_silent: bool = False) -> None:
        """It is gone, and its pool; what it had said still arrives, before or after the news.

        ``is_silent``: it died before it said what it had just done.
        """
        if is_silent and process.said and isinstance(process.said[-1], FreeSegments | PoolChanged):
            process.said.pop()
        process.is_alive = False
        process.pool = 0
        process.heard.clear()
        process.wanted.clear()
        self.freed.update(process.owned)
        process.owned.clear()
        self.notices.append(process.process_id)

    # -- the agent ---------------------------------------------------------------------------------------------------

    def deliver(self, process: Process) -> None:
        """The agent hears a process's next word."""
        process_id, message = process.process_id, process.said.popleft()
        match message:
            case SegmentSealed():
                places = self._places(message.segment_id)
                store_reactor.on_sealed(self.table, self, process_id, message, places, self.now, 0.0)
            case FreeSegments():
                store_reactor.on_freed(self.table, self, process_id, message, self.now)
            case PoolChanged():
                store_reactor.on_pool_changed(self.table, self, process_id, message, self.now)
            case MakeRoom():
                self.look()
                store_reactor.on_make_room(self.table, self, process_id, message, self.now)
            case SegmentMapped():
                store_reactor.on_mapped(self.table, self, message, self.now)

    def _places(self, segment_id: bytes) -> tuple[Shelf, ...]:
        folders = ((Shelf.ORIGINAL, self.memory), (Shelf.DISK, self.disk))
        return tuple(shelf for shelf, folder in folders if segment_id in folder)

    def notice(self) -> None:
        """The agent notices a death, and the head has it forget what the process owned."""
        process_id = self.notices.popleft()
        store_reactor.on_process_gone(self.table, self, process_id, self.now)
        self.facts.append(("removed", 0, tuple(self.held)))
        store_reactor.on_owner_gone(self.table, self, process_id, self.now)

    def work(self) -> None:
        """The mover does its next job; a file is moved in one step here, for the steps are tried with real files."""
        kind, segment_id = self.jobs.popleft()
        source, target = (self.memory, self.disk) if kind == "spill" else (self.disk, self.memory)
        file = source.get(segment_id)
        if file is None or segment_id in target:
            self.facts.append(("not moved", segment_id, Failure.GONE))
        elif kind == "spill" and file.mapped:
            self.facts.append(("not moved", segment_id, Failure.BUSY))
        elif kind == "spill" and self.is_disk_full:
            self.facts.append(("not moved", segment_id, Failure.FULL))
        else:
            del source[segment_id]
            target[segment_id] = File(file.size, file.writer)
            self.facts.append(("moved", segment_id, file.size))

    def clear(self) -> None:
        """The remover does its next job; what is mapped is set aside."""
        size, segment_id, file = self.removals.popleft()
        mapped = (file.named(segment_id),) if file is not None and file.mapped else ()
        self.held.update((one, file) for one in mapped if file is not None)
        self.facts.append(("removed", size, mapped))

    def look(self) -> None:
        """The agent looks which views have gone; it may know of files that are not there any more."""
        files = self.table.mapped.to_look_at(3)
        unmapped = [file for file in files if file not in self.held or not self.held[file].mapped]
        store_moves.on_unmapped(self.table, self, unmapped, self.now)

    def unmap_all(self) -> None:
        """All views go."""
        removed = [file for _, _, file in self.removals if file is not None]
        for file in (*self.memory.values(), *self.held.values(), *removed):
            file.mapped = 0

    def learn(self) -> None:
        """The agent takes a thread's next fact, or the transfers take an answer."""
        table, now = self.table, self.now
        match self.facts.popleft():
            case ("not moved", segment_id, failure):
                store_moves.on_move_failed(table, self, segment_id, failure, self._places(segment_id), now)
            case ("moved", segment_id, size):
                store_moves.on_moved(table, self, segment_id, size, self._places(segment_id), now, 0.0)
            case ("removed", size, mapped):
                store_moves.on_removed(table, self, size, mapped, now)
            case ("transfer", number, spill, problem):
                self._pull(number, spill=spill, problem=problem)

    def turn(self, seconds: float) -> None:
        """Time passes, much more than what is said takes to arrive."""
        for process in self.processes.values():
            while seconds and process.said:
                self.deliver(process)
        self.now += seconds
        self.table.disk_bytes = 0 if self.is_disk_full else 1 << 40
        self.look()
        store_reactor.on_turn(self.table, self, self.now)

    def begin_pull(self, owner: Process, size: int) -> None:
        """A segment of an owner's is to come from another machine."""
        owner.made += 1
        segment_id = ids.object_id(owner.process_id, owner.made)
        self.requests += 1
        self.pulls[self.requests] = (segment_id, size)
        store_reactor.on_transfer_wish(self.table, self, self.requests, size, self.now)

    @property
    def pulls(self) -> dict[int, tuple[bytes, int]]:
        return self.__dict__.setdefault("_pulls", {})

    def _pull(self, number: int, *, spill: bool, problem: str) -> None:
        segment_id, size = self.pulls.pop(number)
        owner = self.processes[ids.owner_of(segment_id)]
        if problem or not owner.is_alive:
            store_reactor.on_transfer_over(self.table, self, number, self.now)
            return
        (self.disk if spill else self.memory)[segment_id] = File(size, b"")
        owner.owned[segment_id] = size
        self.copies.add(segment_id)
        segment = Segment(segment_id, size, Shelf.DISK if spill else Shelf.COPY)
        store_reactor.on_pulled(self.table, self, number, segment, self.now)

    # -- what must be true -------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Let everything arrive and be done."""
        for _ in range(100_000):
            if self.notices:
                self.notice()
            elif self.jobs:
                self.work()
            elif self.removals:
                self.clear()
            elif self.facts:
                self.learn()
            elif speaking := [process for process in self.processes.values() if process.said]:
                self.deliver(speaking[0])
            elif hearing := [process for process in self.living() if process.heard]:
                self.hear(hearing[0])
            else:
                return
            self.check()
        raise AssertionError("it never comes to rest")

    def check(self) -> None:
        """What must be true at any moment."""
        self.table.check_invariants()
        for process in self.living():
            for segment_id in process.owned:
                is_here = segment_id in self.memory or segment_id in self.disk
                assert is_here or segment_id in self.copies, "something vanished that can be reached"

    def check_settled(self) -> None:
        """What must be true when nothing is on its way any more."""
        table = self.table
        here = {segment.segment_id: segment for segment in table.segments()}
        assert {one for one, segment in here.items() if segment.shelf is not Shelf.DISK} == self.memory.keys()
        assert {one for one, segment in here.items() if segment.shelf is Shelf.DISK} == self.disk.keys()
        assert not (self.memory.keys() | self.disk.keys()) & self.freed, "something is left that was freed"
        assert table.memory_bytes == sum(file.size for file in self.memory.values())
        assert table.spilled_bytes == sum(file.size for file in self.disk.values())
        assert table.pools == {process.process_id: process.pool for process in self.living() if process.pool}
        assert (table.removing_bytes, table.returning_bytes) == (0, 0)
        assert table.mapped.total_bytes == sum(file.size for file in self.held.values())
        assert not table.moves
        assert not table.wishes, "somebody waits for ever"
        assert not any(process.wanted for process in self.living())
