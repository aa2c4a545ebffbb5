"""The shell of a machine's store: reads what processes, the head and other stores say, and has files moved and removed.

Files are moved and removed by threads of its own (``store_disk.py``). How full the store is stands in a page that
every process reads (``store/usage.py``).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Collection

from ipyactors.ground.clock import Clock
from ipyactors.ground.config import AgentConfig
from ipyactors.node import census, resources, store_moves, store_reactor
from ipyactors.node.exchange import Exchange
from ipyactors.node.mail import Mail
from ipyactors.node.store_disk import Disk, DiskFact, Moved, NotMoved, Removed
from ipyactors.node.store_limit import plan_limit
from ipyactors.node.store_mapped import LOOKS_A_SECOND, LOOKS_AT_ONE_MORE, LOOKS_FOR_ROOM
from ipyactors.node.store_moves import Failure
from ipyactors.node.store_out import Transfers
from ipyactors.node.store_table import Segment, Shelf, StoreTable
from ipyactors.store.usage import Usage
from ipyactors.wire.census_messages import ReportStore
from ipyactors.wire.codec import Message
from ipyactors.wire.events import Event
from ipyactors.wire.node_messages import ObjectEvents
from ipyactors.wire.store_messages import (
    DropCopies,
    ForgetOwner,
    ForgetSegments,
    FreeSegments,
    LookForSegments,
    MakeRoom,
    NodeLost,
    PoolChanged,
    ProcessToStore,
    PullSegment,
    ReadSegment,
    SegmentChunk,
    SegmentHere,
    SegmentMapped,
    SegmentSealed,
    StoreToStore,
)

_log = logging.getLogger(__name__)


class StoreKeeper:
    """See the head of this file. It is the reactor's ``StoreOut``, and the transfers' ``TransferHost``.

    Made when the zygote is forked, for it starts threads, and before any other process writes.
    """

    def __init__(self, config: AgentConfig, mail: Mail, clock: Clock) -> None:
        paths = config.paths
        self._mail = mail
        self._clock = clock
        self._disk = disk = Disk(paths.store_dir, paths.spill_dir)
        planned = plan_limit(config.store_limit_bytes, resources.memory_bytes(), disk.free_bytes()[0], paths.store_dir)
        if planned.warning:
            _log.warning("%s", planned.warning)
        self.table = StoreTable(config.node_id, planned.limit_bytes, paths.spill_dir)
        self._usage = Usage(paths.store_dir, create=True)
        self._usage.limit_bytes = planned.limit_bytes
        self.tell_process, self.tell_head, self.tell = mail.tell_process, mail.tell_head, mail.tell_process
        self.spill, self.restore = disk.spill, disk.restore
        self.remove, self.remove_mapped, self.remove_spilled = disk.remove, disk.remove_mapped, disk.remove_spilled
        self._events: list[Event] = []
        self._rooms: deque[tuple[int, bool, str]] = deque()
        self._transfers: Transfers = Exchange(mail.context, paths, config.node_id, self)

    # -- what is said to this store --------------------------------------------------------------------------------

    def on_message(self, peer: bytes, message: ProcessToStore | StoreToStore, now: float) -> None:
        """Act on what came by the bound door.

        From drivers and workers, most of them of this machine (but owners free segments everywhere), and other stores.
        """
        table = self.table
        match message:
            case SegmentSealed():
                places = self._disk.places(message.segment_id)
                store_reactor.on_sealed(table, self, peer, message, places, now, self._clock.wall())
                if places:
                    self._transfers.on_sealed(message.segment_id, now)
            case FreeSegments():
                if message.mapped:
                    self._look_at_mapped(LOOKS_AT_ONE_MORE, now)
                store_reactor.on_freed(table, self, peer, message, now)
                self._transfers.on_freed(message.segment_ids, now)
            case PoolChanged():
                if message.mapped:
                    self._look_at_mapped(LOOKS_AT_ONE_MORE, now)
                store_reactor.on_pool_changed(table, self, peer, message, now)
            case MakeRoom():
                self._look_at_disks()
                self._look_at_mapped(LOOKS_FOR_ROOM, now)
                store_reactor.on_make_room(table, self, peer, message, now)
            case SegmentMapped():
                store_reactor.on_mapped(table, self, message, now)
            case PullSegment():
                self._drop_vanished((message.segment_id,), now)
                if store_reactor.on_pull(table, message.segment_id, keep=message.keep):
                    self._mail.tell_process(peer, SegmentHere(message.segment_id))
                else:
                    self._transfers.pull(peer, message, now)
            case _:
                self._transfers.on_store_message(peer, message, now)

    def on_head_message(self, message: Message, now: float) -> None:
        """Act on the word of the head about stored values."""
        match message:
            case ForgetOwner():
                keep = frozenset(message.keep)
                store_reactor.on_owner_gone(self.table, self, message.owner_id, now, keep)
                self._transfers.on_owner_gone(message.owner_id, keep, now)
            case ForgetSegments():
                store_reactor.on_forgotten(self.table, self, message.segment_ids, now)
                self._transfers.on_forgotten(message.segment_ids, now)
            case LookForSegments():
                self._drop_vanished(message.segment_ids, now)
                store_reactor.on_look_for(self.table, self, message)
            case ReportStore():
                self._look_at_mapped(LOOKS_FOR_ROOM, now)
                found = (self._disk.published(), self._disk.mappers(), self._disk.freed_mappers())
                self._mail.tell_head(census.report(self.table, *found, message))
            case NodeLost():
                store_reactor.on_node_lost(self.table)
                self._transfers.on_node_lost(message.node_id, message.detail, now)

    def on_process_gone(self, process_id: bytes, now: float) -> None:
        """Learn that a process of this machine has ended. What it was writing is removed."""
        store_reactor.on_process_gone(self.table, self, process_id, now)
        self._transfers.on_process_gone(process_id, now)
        self._disk.remove_unfinished()

    def _drop_vanished(self, segment_ids: Collection[bytes], now: float) -> None:
        """Forget segments whose files somebody has removed: a wrong answer would be given again and again."""
        vanished = tuple(
            segment_id
            for segment_id in segment_ids
            if self.table.find(segment_id) is not None and not self._disk.places(segment_id)
        )
        if vanished:
            _log.warning("%d segments were removed by somebody else: they are lost", len(vanished))
            store_reactor.on_forgotten(self.table, self, vanished, now)
            self._transfers.on_forgotten(vanished, now)

    # -- turns -----------------------------------------------------------------------------------------------------

    def take_turn(self, now: float) -> bool:
        """Act on what threads have done and what other stores have sent; return whether there was anything."""
        facts = self._disk.take_facts()
        if facts and self.table.wishes:
            self._look_at_disks()
        for fact in facts:
            self._on_fact(fact, now)
        due_s = store_reactor.next_turn_s(self.table)
        if due_s is not None and due_s <= now:
            self._look_at_disks()
            self._look_at_mapped(LOOKS_A_SECOND, now)
            store_reactor.on_turn(self.table, self, now)
        rooms = len(self._rooms)
        for _ in range(rooms):
            self._transfers.on_room(*self._rooms.popleft(), now)
        has_arrived = self._transfers.take_turn(now)
        self._usage.used_bytes = self.table.used_bytes
        if self._events:
            events, self._events = self._events, []
            self._mail.tell_head(ObjectEvents(tuple(events)))
        return bool(facts or rooms or has_arrived or self._rooms)

    def _on_fact(self, fact: DiskFact, now: float) -> None:
        match fact:
            case Moved():
                places = self._disk.places(fact.segment_id)
                store_moves.on_moved(self.table, self, fact.segment_id, fact.size, places, now, self._clock.wall())
            case NotMoved():
                if fact.failure is Failure.FULL and self.table.no_spill_before_s <= now:
                    _log.warning("a value stays where it is, for it could not be moved: %s", fact.detail)
                places = self._disk.places(fact.segment_id)
                store_moves.on_move_failed(self.table, self, fact.segment_id, fact.failure, places, now)
            case Removed():
                if fact.mapped:
                    self._look_at_mapped(LOOKS_AT_ONE_MORE, now)
                store_moves.on_removed(self.table, self, fact.size, fact.mapped, now)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What to sleep on. Edge-triggered: :meth:`take_turn` until it returns False before sleeping."""
        return (self._disk.fileno(), *self._transfers.descriptors)

    def pause_s(self, now: float) -> float | None:
        """Return after how long to take a turn although nothing has arrived; None: never."""
        moments = (store_reactor.next_turn_s(self.table), self._transfers.next_turn_s)
        return min((max(0.0, moment - now) for moment in moments if moment is not None), default=None)

    def close(self) -> None:
        """End the threads, and let go of sockets and files."""
        self._transfers.close()
        self._disk.close()

    # -- deeds: the reactor's StoreOut -------------------------------------------------------------------------------

    def report(self, event: Event) -> None:
        """Keep an event until the turn ends."""
        self._events.append(event)

    def answer_transfer(self, number: int, *, spill: bool, problem: str) -> None:
        """Keep the answer until the transfers can take it."""
        self._rooms.append((number, spill, problem))

    # -- deeds: the transfers' TransferHost --------------------------------------------------------------------------

    def make_room(self, number: int, _segment_id: bytes, size: int) -> None:
        """Make room for what is about to come."""
        now = self._clock.monotonic()
        self._look_at_disks()
        self._look_at_mapped(LOOKS_FOR_ROOM, now)
        store_reactor.on_transfer_wish(self.table, self, number, size, now)

    def give_back(self, number: int) -> None:
        """Take room back that is not needed."""
        store_reactor.on_transfer_over(self.table, self, number, self._clock.monotonic())

    def on_pulled(self, number: int, segment_id: bytes, size: int, *, is_spilled: bool, keep: bool) -> None:
        """Count a copy."""
        segment = Segment(segment_id, size, Shelf.DISK if is_spilled else Shelf.ORIGINAL if keep else Shelf.COPY)
        store_reactor.on_pulled(self.table, self, number, segment, self._clock.monotonic())

    def on_drop_copies(self, segment_ids: Collection[bytes]) -> None:
        """Remove what was freed, and have those told who had it from here."""
        now = self._clock.monotonic()
        dropped = store_reactor.on_drop_copies(self.table, self, segment_ids, now)
        self._transfers.on_freed(dropped, now)

    def send(self, reader_id: bytes, message: SegmentChunk | DropCopies | ReadSegment) -> bool:
        """Send to a reader, now."""
        return self._mail.send(reader_id, [message])

    # -- details -----------------------------------------------------------------------------------------------------

    def _look_at_mapped(self, count: int, now: float) -> None:
        """Find out whose last view has gone, among at most ``count`` freed segments that were mapped."""
        files = self.table.mapped.to_look_at(count)
        unmapped = [file for file in files if not self._disk.is_mapped(file)]
        if unmapped:
            store_moves.on_unmapped(self.table, self, unmapped, now)

    def _look_at_disks(self) -> None:
        self.table.free_bytes, self.table.disk_bytes = self._disk.free_bytes()
