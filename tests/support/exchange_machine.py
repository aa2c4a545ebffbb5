"""A machine whose store talks to others over real sockets: an exchange, the agent's bound door, and a played keeper."""

from __future__ import annotations

import contextlib
import os
import pathlib
import time
from collections.abc import Collection, Sequence

import zmq

from ipyactors.ground import ids
from ipyactors.ground.config import SessionPaths
from ipyactors.node.exchange import Exchange
from ipyactors.store.arena import Arena
from ipyactors.store.reader import Reader
from ipyactors.wire.specs import Location
from ipyactors.wire.store_messages import (
    DropCopies,
    PullSegment,
    SegmentChunk,
    SegmentGone,
    SegmentHere,
    StoreToStore,
)
from ipyactors.wire.zmq_channel import ZmqChannel


class Machine:
    """See the head of this file. It is the exchange's ``TransferHost``; room is made at once, as ``room`` says."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], folder: pathlib.Path) -> None:
        for name in ("run", "store", "spill"):
            (folder / name).mkdir(parents=True)
        self.paths = SessionPaths("s", str(folder), str(folder / "run"), str(folder / "store"))
        self.node_id = ids.new_node_id()
        self.location = Location(self.node_id, self.paths.agent_address)
        self.bound = ZmqChannel(context, ids.AGENT_ID, StoreToStore, bind=self.paths.agent_address)
        self.exchange = Exchange(context, self.paths, self.node_id, self)
        self.arena = Arena(self.paths.store_dir, self.paths.spill_dir, 0)
        self.reader = Reader(self.paths.store_dir, self.paths.spill_dir)
        self.room: tuple[bool, str] = (False, "")
        self.rooms: dict[int, int] = {}
        self.wishes: list[int] = []
        self.copies: dict[bytes, tuple[int, bool]] = {}
        self.answers: list[tuple[bytes, SegmentHere | SegmentGone]] = []

    # -- TransferHost --------------------------------------------------------------------------------------------

    def make_room(self, number: int, segment_id: bytes, size: int) -> None:
        self.rooms[number] = size
        self.wishes.append(number)

    def give_back(self, number: int) -> None:
        self.rooms.pop(number, None)

    def on_pulled(self, number: int, segment_id: bytes, size: int, *, is_spilled: bool, keep: bool) -> None:
        assert size == self.rooms.pop(number)
        self.copies[segment_id] = (size, is_spilled)

    def on_drop_copies(self, segment_ids: Collection[bytes]) -> None:
        dropped = list(segment_ids)
        self.exchange.on_freed(dropped, time.monotonic())
        for segment_id in dropped:
            if self.copies.pop(segment_id, None):
                self.unlink(segment_id)

    def tell(self, process_id: bytes, message: SegmentHere | SegmentGone) -> None:
        self.answers.append((process_id, message))

    def send(self, reader_id: bytes, message: SegmentChunk | DropCopies) -> bool:
        return self.bound.send(reader_id, [message])

    # -- what happens here ---------------------------------------------------------------------------------------

    def write(self, segment_id: bytes, data: bytes, buffers: Sequence[bytes] = (), *, spill: bool = False) -> None:
        self.arena.write(segment_id, data, buffers, spill=spill)

    def unlink(self, segment_id: bytes) -> None:
        for folder in (self.paths.store_dir, self.paths.spill_dir):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{folder}/{segment_id.hex()}")

    def files(self) -> list[str]:
        return sorted(os.listdir(self.paths.store_dir) + os.listdir(self.paths.spill_dir))

    def pull(self, process_id: bytes, segment_id: bytes, *sources: Machine) -> None:
        message = PullSegment(segment_id, tuple(source.location for source in sources))
        self.exchange.pull(process_id, message, time.monotonic())

    def turn(self) -> bool:
        """Do what an agent does in a turn; return whether there was anything."""
        now = time.monotonic()
        batches = self.bound.receive()
        for peer, messages in batches:
            for message in messages:
                self.exchange.on_store_message(peer, message, now)
        wishes, self.wishes = self.wishes, []
        for number in wishes:
            self.exchange.on_room(number, *self.room, now)
        return self.exchange.take_turn(now) or bool(batches or wishes or self.bound.has_arrived())

    @property
    def descriptors(self) -> tuple[int, ...]:
        return (self.bound.fileno(), *self.exchange.descriptors)

    def pause_s(self) -> float | None:
        return None

    def close(self) -> None:
        self.exchange.close()
        self.bound.close()
