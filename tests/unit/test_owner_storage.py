"""This process's hands in the store: what it writes, takes back and leaves alone. Real files, no other process."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ipyactors.ground import ids
from ipyactors.ground.config import SessionPaths
from ipyactors.ground.exceptions import ObjectStoreFullError
from ipyactors.owner.storage import Storage
from ipyactors.store import layout, segment
from ipyactors.store.usage import Usage
from ipyactors.wire import serialize
from ipyactors.wire.specs import Location, Payload
from ipyactors.wire.store_messages import (
    FreeSegments,
    MakeRoom,
    MappedFile,
    PoolChanged,
    ProcessToStore,
    ReuseSegments,
    RoomMade,
    SegmentSealed,
    TrimPool,
)

ME, OTHER = b"wworker1", b"downer01"
HERE = Location(b"nnode001", "ipc:///nowhere/agent")


class Post:
    """Keeps what the agent is told; ``answers`` are what it would say to a wish for room."""

    def __init__(self) -> None:
        self.told: list[ProcessToStore] = []
        self.answers: list[RoomMade] = []

    def tell_agent(self, *messages: Any, news: Callable[[], tuple[Any, ...]] = tuple) -> None:
        self.told += messages + news()

    def tell_agent_at(self, location: Location, *messages: Any) -> None:
        raise AssertionError(f"{location} was told {messages}")

    def take(self) -> list[ProcessToStore]:
        told, self.told = self.told, []
        return told


class Desk:
    """A storage, and the agent's side of it."""

    def __init__(self, folder: pathlib.Path) -> None:
        for name in ("store", "state/spill"):
            (folder / name).mkdir(parents=True)
        self.store_dir, self.spill_dir = folder / "store", folder / "state" / "spill"
        self.usage = Usage(str(self.store_dir), create=True)
        self.usage.limit_bytes = 100_000_000
        self.post = Post()
        paths = SessionPaths("s", str(folder / "state"), str(folder), str(self.store_dir))
        self.storage = Storage(paths, HERE, ME, self.post, self._wait, lambda: None)  # type: ignore[arg-type]

    def _wait(self, is_done: Any, timeout_s: float | None = None) -> bool:
        while not is_done() and self.post.answers:
            self.storage.on_message(self.post.answers.pop(0))
        return bool(is_done())

    def write(self, owner: bytes, number: int, fill: float = 1.0) -> Payload:
        fresh = serialize.dumps(np.full(50_000, fill))
        return self.storage.keep(fresh, ids.object_id(owner, number), "the value")

    def value(self, payload: Payload) -> Any:
        return serialize.loads(self.storage.filled([payload])[0])

    def names(self) -> set[str]:
        return {path.name for path in self.store_dir.iterdir() if len(path.name) == 40}


@pytest.fixture
def desk(tmp_path: pathlib.Path) -> Desk:
    return Desk(tmp_path)


def test_what_is_written_is_told_and_can_be_read(desk: Desk) -> None:
    payload = desk.write(OTHER, 1, 7.0)
    assert payload.stored is not None
    assert payload.stored.locations == (HERE,)
    assert not payload.data
    assert not payload.buffers
    assert desk.post.take() == [SegmentSealed(payload.stored.segment_id, payload.stored.size)]
    assert (desk.value(payload) == 7.0).all()


def test_what_this_process_owns_is_freed_with_its_payload_and_its_memory_used_again(desk: Desk) -> None:
    payload = desk.write(ME, 1)
    assert payload.stored is not None
    segment_id, size = payload.stored.segment_id, payload.stored.size
    desk.post.take()
    del payload
    desk.storage.free_dropped()
    assert desk.post.take() == [FreeSegments((segment_id,), (segment_id,)), PoolChanged(size)]
    again = desk.write(ME, 2)
    assert again.stored is not None
    assert desk.post.take() == [SegmentSealed(again.stored.segment_id, size), PoolChanged(0)]


def test_what_another_owns_stays_until_the_agent_says_that_it_was_freed(desk: Desk) -> None:
    payload = desk.write(OTHER, 1)
    assert payload.stored is not None
    segment_id, size = payload.stored.segment_id, payload.stored.size
    del payload
    desk.storage.free_dropped()
    assert desk.names() == {segment_id.hex()}
    desk.post.take()
    desk.storage.on_message(ReuseSegments((segment_id,)))
    assert desk.names() == set()
    assert desk.post.take() == [PoolChanged(size, (segment_id,))]
    desk.storage.on_message(TrimPool())
    assert desk.post.take() == [PoolChanged(0)]


def test_a_late_word_does_not_take_what_was_written_again_meanwhile(desk: Desk) -> None:
    first = desk.write(OTHER, 1, 1.0)
    second = desk.write(OTHER, 1, 2.0)  # its task ran again, before the word about the first came
    assert first.stored is not None
    segment_id = first.stored.segment_id
    desk.post.take()
    desk.storage.on_message(ReuseSegments((segment_id,)))
    assert desk.post.take() == [PoolChanged(0, ())]
    assert (desk.value(second) == 2.0).all()
    desk.storage.on_message(ReuseSegments((segment_id,)))
    assert desk.names() == set()


def test_without_room_the_agent_is_asked_and_says_where_to(desk: Desk) -> None:
    desk.usage.used_bytes = desk.usage.limit_bytes
    desk.post.answers = [RoomMade(1, spill=True)]
    payload = desk.write(OTHER, 1, 3.0)
    assert payload.stored is not None
    asked, sealed = desk.post.take()
    assert isinstance(asked, MakeRoom)
    assert sealed == SegmentSealed(payload.stored.segment_id, payload.stored.size)
    assert desk.names() == set()
    assert (desk.value(payload) == 3.0).all()


def test_what_is_still_mapped_is_told_when_it_is_freed(desk: Desk) -> None:
    own, others = desk.write(ME, 1), desk.write(OTHER, 1)
    assert own.stored is not None
    assert others.stored is not None
    views = [desk.value(own), desk.value(others)]
    inodes = [segment.inode_of(f"{desk.store_dir}/{layout.name_of(one.stored.segment_id)}") for one in (own, others)]
    desk.post.take()
    stored, of_other = own.stored, others.stored
    desk.storage.freed.append(stored)
    desk.storage.free_dropped()
    kept = MappedFile(stored.segment_id, inodes[0], stored.size)
    assert desk.post.take() == [FreeSegments((stored.segment_id,), (), (kept,))]
    desk.storage.on_message(ReuseSegments((of_other.segment_id,)))
    kept = MappedFile(of_other.segment_id, inodes[1], of_other.size)
    assert desk.post.take() == [PoolChanged(0, (of_other.segment_id,), (kept,))]
    assert all((view == 1.0).all() for view in views)


def test_without_room_anywhere_nothing_is_stored_and_it_is_said(desk: Desk) -> None:
    desk.usage.used_bytes = desk.usage.limit_bytes
    desk.post.answers = [RoomMade(1, problem="the disk is full")]
    with pytest.raises(
        ObjectStoreFullError, match=r"the value \(0\.4 MB\) could not be stored: the disk is full"
    ) as mine:
        desk.write(ME, 1)
    assert "Nothing was sent, and nothing else is lost." in str(mine.value)
    # What is written for another is what its call has made: that it ran cannot be undone.
    desk.post.answers = [RoomMade(2, problem="the disk is full")]
    with pytest.raises(ObjectStoreFullError, match="The call has run, and what it did stays done") as others:
        desk.write(OTHER, 1)
    assert "Nothing was sent" not in str(others.value)
    assert desk.names() == set()
