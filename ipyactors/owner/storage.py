"""This process's hands in the store of its machine: it writes what it pickles, and maps what it gets.

Writing and mapping need nobody's leave: the agent is told afterwards, and is asked only when there is no room, or
when a segment is on another machine. Everything here may be called from any thread, and not under the session's
lock unless it says so.
"""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from ipyactors.ground import ids
from ipyactors.ground.config import SessionPaths
from ipyactors.ground.exceptions import ObjectStoreFullError
from ipyactors.owner.freed import FreedElsewhere
from ipyactors.owner.missing import SegmentsMissing
from ipyactors.owner.objects import SegmentToken
from ipyactors.owner.post import Post
from ipyactors.store.arena import Arena, NoRoomError
from ipyactors.store.layout import size_of
from ipyactors.store.reader import Mapped, Reader
from ipyactors.store.usage import Usage
from ipyactors.wire.specs import Location, Payload, Stored
from ipyactors.wire.store_messages import (
    ForgetSegments,
    FreeSegments,
    MakeRoom,
    MappedFile,
    PoolChanged,
    PullSegment,
    ReuseSegments,
    RoomMade,
    SegmentGone,
    SegmentHere,
    SegmentMapped,
    SegmentSealed,
    TrimPool,
)

#: A process keeps at most this part of the store's limit in freed memory for its next values.
_POOL_SHARE = 0.25

#: For so many segments of others it is known how often they were written here. Of older ones none is written again.
_WRITTEN_AT_MOST = 4096

_FATE = "Nothing was sent, and nothing else is lost."
_FATE_OF_A_RESULT = "The call has run, and what it did stays done; this value is lost, and nothing else."
_WHAT_TO_DO = (
    "Drop references and views that are no longer needed (ipyactors.memory() lists them), free disk space, or start "
    "with a larger object_store_memory."
)


class Wait(Protocol):
    """How a session waits; its lock must not be held."""

    def __call__(self, is_done: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Block until ``is_done()``; return False when ``timeout_s`` passes first."""
        ...


class Storage:
    """See the head of this file. ``location`` is this machine."""

    def __init__(
        self,
        paths: SessionPaths,
        location: Location,
        owner_id: bytes,
        post: Post,
        wait: Wait,
        wake: Callable[[], None],
        elsewhere: FreedElsewhere | None = None,
    ) -> None:
        self.location = location
        self._elsewhere = elsewhere or FreedElsewhere()
        self._owner_id = owner_id
        self._post = post
        self._wait = wait
        self._wake = wake
        self._usage = Usage(paths.store_dir)
        self._arena = Arena(paths.store_dir, paths.spill_dir, int(self._usage.limit_bytes * _POOL_SHARE))
        self._reader = Reader(paths.store_dir, paths.spill_dir)
        self._requests = itertools.count(1)
        self._written: OrderedDict[bytes, int] = OrderedDict()
        """By segment that another process owns: how often it was written here and not given back."""
        self._rooms: dict[int, RoomMade] = {}
        self._pulls: dict[bytes, _Pull] = {}
        self._pool_bytes = 0
        self._uncounted_bytes = 0
        """Written here since the agent last answered: it may not have counted these yet, fast as memory is."""
        self._lock = threading.Lock()  # guards the tables above
        self.freed: deque[Stored] = deque()
        """Segments whose last token has gone: added by ``__del__`` at any moment, taken by :meth:`free_dropped`."""

    # -- writing ----------------------------------------------------------------------------------------------

    def keep(self, payload: Payload, segment_id: bytes, name: str) -> Payload:
        """Write a payload's bytes to the store; return it as it travels. May wait for room.

        ``name`` is what the error calls the value. Raises ObjectStoreFullError; nothing is written then.
        """
        self.free_dropped()
        self._note_writing(segment_id)
        size = size_of(payload.data, payload.buffers)
        spill = False
        if self._usage.used_bytes + self._uncounted_bytes + size > self._usage.limit_bytes:
            spill = self._make_room(segment_id, size, name)
        try:
            written = self._arena.write(segment_id, payload.data, payload.buffers, spill=spill)
        except NoRoomError:
            written = self._write_after_all(payload, segment_id, size, name)
        self._uncounted_bytes += written
        self._post.tell_agent(SegmentSealed(segment_id, written), news=self._pool_news)
        stored = Stored(segment_id, written, (self.location,))
        return self.hold(payload.with_bytes(b"", (), stored))

    def _note_writing(self, segment_id: bytes) -> None:
        """Count the writings of what is another's: the word that one was freed may come when it is written again."""
        if ids.owner_of(segment_id) != self._owner_id:
            with self._lock:
                self._written[segment_id] = self._written.get(segment_id, 0) + 1
                if len(self._written) > _WRITTEN_AT_MOST:
                    self._written.popitem(last=False)

    def _write_after_all(self, payload: Payload, segment_id: bytes, size: int, name: str) -> int:
        """Write where a file system was fuller than the agent knew."""
        self._arena.trim()
        spill = self._make_room(segment_id, size, name)
        try:
            return self._arena.write(segment_id, payload.data, payload.buffers, spill=spill)
        except NoRoomError as error:
            raise self._full(segment_id, size, name, str(error)) from error

    def _make_room(self, segment_id: bytes, size: int, name: str) -> bool:
        """Have the agent make room; return whether to write straight to disk."""
        __tracebackhide__ = True
        request_id = next(self._requests)
        self._post.tell_agent(MakeRoom(request_id, size))
        self._wait(lambda: request_id in self._rooms)
        self._uncounted_bytes = 0
        with self._lock:
            answer = self._rooms.pop(request_id)
        if answer.problem:
            raise self._full(segment_id, size, name, answer.problem)
        return answer.spill

    def _full(self, segment_id: bytes, size: int, name: str, problem: str) -> ObjectStoreFullError:
        # What is stored for another process is what a call of it has made here: the call has had its effects.
        is_ours = ids.owner_of(segment_id) == self._owner_id
        fate = _FATE if is_ours else _FATE_OF_A_RESULT
        return ObjectStoreFullError(
            f"{name} ({size / 1e6:.1f} MB) could not be stored: {problem}. {fate} {_WHAT_TO_DO}"
        )

    def hold(self, payload: Payload) -> Payload:
        """Have a payload keep its segment, if it has one that belongs to this process; return it."""
        stored = payload.stored
        if stored is not None and ids.owner_of(stored.segment_id) == self._owner_id:
            payload.holding(SegmentToken(self._free_soon, stored))
        return payload

    def _free_soon(self, stored: Stored) -> None:
        self.freed.append(stored)
        self._wake()

    # -- freeing ----------------------------------------------------------------------------------------------

    def free_dropped(self) -> None:
        """Free the segments whose last token has gone: their memory is for the next values."""
        dropped: list[Stored] = []
        while self.freed:
            dropped.append(self.freed.popleft())
        if not dropped:
            return
        segment_ids = tuple(stored.segment_id for stored in dropped)
        mapped: list[MappedFile] = []
        reused = self._arena.take_back(segment_ids, only_own=True, mapped=mapped)
        self._post.tell_agent(FreeSegments(segment_ids, reused, tuple(mapped)), news=self._pool_news)
        scattered = tuple(
            stored.segment_id for stored in dropped if not stored.locations or self._elsewhere.was_lost(stored)
        )
        if scattered:
            self._post.tell_head(ForgetSegments(scattered))
        for stored in dropped:
            for location in stored.locations:
                if location.node_id != self.location.node_id:
                    self._elsewhere.note(location.node_id, stored.segment_id)
                    self._post.tell_agent_at(location, FreeSegments((stored.segment_id,)))

    def _pool_news(self) -> tuple[PoolChanged, ...]:
        return () if self._arena.pool_bytes == self._pool_bytes else self._pool_after(())

    def _pool_after(
        self, taken_back: tuple[bytes, ...], mapped: tuple[MappedFile, ...] = ()
    ) -> tuple[PoolChanged, ...]:
        """Return what the agent is to hear of the pool; to be read where nothing else can be sent first."""
        self._pool_bytes = self._arena.pool_bytes
        return (PoolChanged(self._pool_bytes, taken_back, mapped),)

    # -- reading ----------------------------------------------------------------------------------------------

    def open(self, stored: Stored) -> Mapped | None:
        """Map a segment that is on this machine; None if it is not."""
        mapped = self._reader.open(stored.segment_id)
        if mapped is not None and mapped.is_spilled:
            self._post.tell_agent(SegmentMapped(stored.segment_id))
        return mapped

    def bring(self, payloads: Iterable[Payload], timeout_s: float | None = None) -> Brought:
        """Map the segments of these payloads, having those brought here that are elsewhere.

        Waits for that as long as ``timeout_s`` allows. What could not be had is ``missing`` in what is returned.
        """
        __tracebackhide__ = True
        brought = Brought()
        pulls: list[_Pull] = []
        for payload in payloads:
            stored = payload.stored
            if stored is None or stored.segment_id in brought.mapped:
                continue
            mapped = self.open(stored)
            if mapped is not None:
                brought.mapped[stored.segment_id] = mapped
                continue
            sources = tuple(place for place in stored.locations if place.node_id != self.location.node_id)
            if sources:
                pulls.append(self._pull(stored, sources))
            else:
                brought.missing.append(stored)
        if pulls and not self._wait(lambda: all(pull.is_over for pull in pulls), timeout_s):
            brought.in_time = False
        for pull in pulls:
            mapped = self.open(pull.stored) if pull.is_over else None
            if mapped is not None:
                brought.mapped[pull.stored.segment_id] = mapped
            elif pull.is_full:
                raise ObjectStoreFullError(f"a value on another machine could not be brought here: {pull.detail}")
            elif pull.is_over:
                brought.missing.append(pull.stored)
        return brought

    def _pull(self, stored: Stored, sources: tuple[Location, ...]) -> _Pull:
        with self._lock:
            pull = self._pulls.get(stored.segment_id)
            if pull is not None:
                return pull
            pull = self._pulls[stored.segment_id] = _Pull(stored)
        self._post.tell_agent(PullSegment(stored.segment_id, sources))
        return pull

    def copy_to(self, place: Location, stored: Stored) -> str:
        """Have another machine get a copy that its store keeps, and wait for it; return what went wrong, or nothing."""
        with self._lock:
            pull = self._pulls[stored.segment_id] = _Pull(stored)
        self._post.tell_agent_at(place, PullSegment(stored.segment_id, (self.location,), keep=True))
        self._wait(lambda: pull.is_over)
        return pull.detail

    def filled(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Return payloads with their bytes, mapped. Raises SegmentsMissing."""
        brought = self.bring(payloads)
        if brought.missing:
            raise SegmentsMissing(tuple(stored.segment_id for stored in brought.missing))
        return [filled(payload, brought.mapped) for payload in payloads]

    # -- what the agent says ----------------------------------------------------------------------------------

    def on_message(self, message: object) -> None:
        """Act on the agent's word; called in a turn, under the session's lock."""
        match message:
            case RoomMade():
                with self._lock:
                    self._rooms[message.request_id] = message
            case SegmentHere() | SegmentGone():
                with self._lock:
                    pull = self._pulls.pop(message.segment_id, None)
                if pull is not None:
                    if isinstance(message, SegmentGone):
                        pull.detail, pull.is_full = message.detail, message.is_full
                    pull.is_over = True
            case ReuseSegments():
                freed = self._still_freed(message.segment_ids)
                # Under one of these ids another process may have written since: that stays.
                mapped: list[MappedFile] = []
                self._arena.take_back(freed, only_own=True, mapped=mapped)
                self._post.tell_agent(news=lambda: self._pool_after(freed, tuple(mapped)))
            case TrimPool():
                self._arena.trim()
                self._post.tell_agent(news=self._pool_news)

    def _still_freed(self, segment_ids: tuple[bytes, ...]) -> tuple[bytes, ...]:
        """Return those segments that this process has not written again since."""
        freed: list[bytes] = []
        with self._lock:
            for segment_id in segment_ids:
                writings = self._written.pop(segment_id, 1)
                if writings > 1:
                    self._written[segment_id] = writings - 1
                else:
                    freed.append(segment_id)
        return tuple(freed)

    def close(self) -> None:
        """Let go of all memory but what is still mapped by somebody."""
        self._arena.close()


class _Pull:
    """A segment on its way. When it ``is_over``, ``detail`` says what went wrong, if anything did."""

    __slots__ = ("detail", "is_full", "is_over", "stored")

    def __init__(self, stored: Stored) -> None:
        self.stored = stored
        self.is_over = False
        self.is_full = False
        self.detail = ""


class Brought:
    """What :meth:`Storage.bring` could have: ``mapped`` by segment id, and what is ``missing`` everywhere."""

    __slots__ = ("in_time", "mapped", "missing")

    def __init__(self) -> None:
        self.mapped: dict[bytes, Mapped] = {}
        self.missing: list[Stored] = []
        self.in_time = True


def filled(payload: Payload, mapped: dict[bytes, Mapped]) -> Payload:
    """Return a payload whose bytes are those of its mapped segment; itself if it has no segment."""
    if payload.stored is None:
        return payload
    found = mapped[payload.stored.segment_id]
    return Payload(found.data, found.buffers)  # type: ignore[arg-type]  # pickle reads any buffer
