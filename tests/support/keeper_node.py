"""A machine's store as its agent has it: real keeper, real transfers, real sockets; the processes are played."""

from __future__ import annotations

import os
import pathlib
import time
from typing import Any

from ipyactors.ground import ids
from ipyactors.ground.clock import SystemClock
from ipyactors.ground.config import AgentConfig, SessionPaths
from ipyactors.node.mail import Mail
from ipyactors.node.store_keeper import StoreKeeper
from ipyactors.store.arena import Arena
from ipyactors.store.reader import Mapped, Reader
from ipyactors.wire.specs import Location
from ipyactors.wire.store_messages import (
    FreeSegments,
    PoolChanged,
    PullSegment,
    ReuseSegments,
    SegmentGone,
    SegmentHere,
    SegmentSealed,
    StoreToProcess,
)
from ipyactors.wire.zmq_channel import ZmqChannel


class KeeperNode:
    """See the head of this file. One process of it can write, free and pull."""

    def __init__(self, folder: pathlib.Path, limit_bytes: int) -> None:
        (folder / "run").mkdir(parents=True)
        self.paths = SessionPaths("s", str(folder), str(folder / "run"), str(folder / "store"))
        self.node_id = ids.new_node_id()
        self.location = Location(self.node_id, self.paths.agent_address)
        config = AgentConfig(self.paths, self.node_id, {}, store_limit_bytes=limit_bytes)
        self.mail = Mail(config)
        self.keeper = StoreKeeper(config, self.mail, SystemClock())
        self.process_id = ids.new_worker_id()
        self.arena = Arena(self.paths.store_dir, self.paths.spill_dir, 0)
        self.reader = Reader(self.paths.store_dir, self.paths.spill_dir)
        self.heard: list[Any] = []
        self._channel = ZmqChannel(self.mail.context, self.process_id, StoreToProcess)
        self._channel.connect(ids.AGENT_ID, self.paths.agent_address)

    # -- what the process does -----------------------------------------------------------------------------------

    def say(self, *messages: Any) -> None:
        assert self._channel.send(ids.AGENT_ID, messages)

    def write(self, segment_id: bytes, content: bytes, *, spill: bool = False) -> None:
        size = self.arena.write(segment_id, b"pickle", [content], spill=spill)
        self.say(SegmentSealed(segment_id, size))

    def free(self, *segment_ids: bytes) -> None:
        self.say(FreeSegments(segment_ids))

    def pull(self, segment_id: bytes, *sources: KeeperNode, keep: bool = False) -> None:
        self.say(PullSegment(segment_id, tuple(source.location for source in sources), keep))

    def has_answer(self, segment_id: bytes) -> bool:
        return any(isinstance(one, SegmentHere | SegmentGone) and one.segment_id == segment_id for one in self.heard)

    def content(self, segment_id: bytes) -> bytes | None:
        mapped: Mapped | None = self.reader.open(segment_id)
        return None if mapped is None else bytes(mapped.buffers[0])

    # -- the agent -----------------------------------------------------------------------------------------------

    def turn(self) -> bool:
        now = time.monotonic()
        batches, _ = self.mail.receive()
        for peer, messages in batches:
            for message in messages:
                self.keeper.on_message(peer, message, now)
        is_busy = self.keeper.take_turn(now)
        self.mail.flush()
        heard = [message for _, messages in self._channel.receive() for message in messages]
        for message in heard:
            if isinstance(message, ReuseSegments):
                self.arena.take_back(message.segment_ids)
                self.say(PoolChanged(self.arena.pool_bytes, message.segment_ids))
            else:
                self.heard.append(message)
        return bool(batches or is_busy or heard or self.mail.has_arrived())

    def tell(self, message: Any) -> None:
        """Say something as the head."""
        self.keeper.on_head_message(message, time.monotonic())

    def files(self) -> list[str]:
        found = os.listdir(self.paths.store_dir) + os.listdir(self.paths.spill_dir)
        return sorted(name for name in found if name != "usage")

    @property
    def descriptors(self) -> tuple[int, ...]:
        return (*self.mail.descriptors, self._channel.fileno(), *self.keeper.descriptors)

    def pause_s(self) -> float | None:
        return self.keeper.pause_s(time.monotonic())

    def close(self) -> None:
        self.keeper.close()
        self.mail.close()
