"""What the store's reactor may cause, and how the keeper of the store and its transfers work for each other."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from ipyactors.wire.events import Event
from ipyactors.wire.store_messages import (
    DropCopies,
    MappedFile,
    PullSegment,
    ReadSegment,
    SegmentChunk,
    SegmentGone,
    SegmentHere,
    StoreToHead,
    StoreToProcess,
    StoreToStore,
)


class StoreOut(Protocol):
    """The shell's side of each decision. Nothing here answers; what comes of it arrives as a fact later."""

    def tell_process(self, process_id: bytes, message: StoreToProcess) -> None:
        """Send to a driver or worker of this machine; dropped if it is gone."""
        ...

    def tell_head(self, message: StoreToHead) -> None:
        """Send to the head; dropped while it cannot be reached."""
        ...

    def report(self, event: Event) -> None:
        """Have the drivers hear of something."""
        ...

    def spill(self, segment_id: bytes) -> None:
        """Copy a segment to disk, then let its memory go; a fact tells how that went."""
        ...

    def restore(self, segment_id: bytes) -> None:
        """Copy a segment from disk to memory, then remove it there; a fact tells how that went."""
        ...

    def remove(self, segment_id: bytes, size: int) -> None:
        """Take a segment's names away, now; ``size`` bytes of memory follow, and then a fact says so."""
        ...

    def remove_mapped(self, file: MappedFile) -> None:
        """Remove the file of a freed segment that nobody maps any more; its memory follows, and then a fact says so."""
        ...

    def remove_spilled(self, segment_id: bytes) -> None:
        """Take the name away that a segment has on disk, where memory has a newer writing of it."""
        ...

    def answer_transfer(self, number: int, *, spill: bool, problem: str) -> None:
        """Tell the transfers what became of their wish for room."""
        ...


class TransferHost(Protocol):
    """What the keeper does for the transfers. ``number`` names a pull, and the room that it was given."""

    def make_room(self, number: int, segment_id: bytes, size: int) -> None:
        """Make room for a segment that is about to come; it is kept until :meth:`on_pulled` or :meth:`give_back`.

        Answered by :meth:`Transfers.on_room`, after this has returned.
        """
        ...

    def give_back(self, number: int) -> None:
        """Take the room, or the wish for it, back: nothing will come. Harmless if there is none."""
        ...

    def on_pulled(self, number: int, segment_id: bytes, size: int, *, is_spilled: bool, keep: bool) -> None:
        """Count a copy that was just published; its file takes ``size`` bytes. ``keep``: its owner counts on it."""
        ...

    def on_drop_copies(self, segment_ids: Collection[bytes]) -> None:
        """Remove copies of what another store says was freed; :meth:`Transfers.on_freed` follows, but for originals."""
        ...

    def tell(self, process_id: bytes, message: SegmentHere | SegmentGone) -> None:
        """Send to a process of this machine; dropped if it is gone."""
        ...

    def send(self, reader_id: bytes, message: SegmentChunk | DropCopies) -> bool:
        """Send to a store that has connected to this machine's agent. Return False if it is not connected."""
        ...


class Transfers(Protocol):
    """Fetching from other machines, and serving them. All is called by the agent's one thread.

    ``now`` is monotonic, everywhere.
    """

    def pull(self, process_id: bytes, message: PullSegment, now: float) -> None:
        """Fetch a segment that is not here, and tell the process what became of it."""
        ...

    def on_room(self, number: int, spill: bool, problem: str, now: float) -> None:
        """Begin to write, in memory or straight to disk; or give up: neither has room."""
        ...

    def on_sealed(self, segment_id: bytes, now: float) -> None:
        """Learn that a process of this machine has made the segment itself."""
        ...

    def on_freed(self, segment_ids: Sequence[bytes], now: float) -> None:
        """Learn that their owner has freed these: who had them from here is told, what is under way is not wanted."""
        ...

    def on_forgotten(self, segment_ids: Sequence[bytes], now: float) -> None:
        """Learn that every store is told by the head to remove these."""
        ...

    def on_owner_gone(self, owner_id: bytes, keep: frozenset[bytes], now: float) -> None:
        """Learn that every store is told by the head to remove what that process owned, but for ``keep``."""
        ...

    def on_process_gone(self, process_id: bytes, now: float) -> None:
        """Learn that a process of this machine is gone: it waits for nothing any more."""
        ...

    def on_node_lost(self, node_id: bytes, detail: str, now: float) -> None:
        """Learn that a machine is gone."""
        ...

    def on_store_message(self, peer: bytes, message: StoreToStore | ReadSegment, now: float) -> None:
        """Act on the word of another machine's store that came through this agent's bound door."""
        ...

    def take_turn(self, now: float) -> bool:
        """Act on what has arrived by sockets and threads of its own; return whether anything had."""
        ...

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What to sleep on. Edge-triggered: :meth:`take_turn` until it returns False before sleeping."""
        ...

    @property
    def next_turn_s(self) -> float | None:
        """When to take a turn although nothing has arrived; None: never."""
        ...

    def close(self) -> None:
        """Let go of sockets, threads and files."""
        ...
