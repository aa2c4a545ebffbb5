"""The shell of transfers between stores: a connecting channel, two threads for files, and the two reactors.

What is fetched comes over a channel of its own, under a name of its own (``ids.transfer_id_of``), and not over the
agent's connection to the head: a turn takes a few messages of a channel at a time, and a word of the head's must not
wait until sixty-four pieces are checked and written; that connection is opened anew when a head is started again, which
would cut every transfer; and the machine at the other end can tell readers from everyone else. What is served leaves by
the agent's bound channel, where every reader has a queue to itself.

A piece is checked here and written by a thread; it is read and summed by another, so that a disk that is slow to write
does not hold up readers. A turn takes at most a few pieces, however many have come.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence

import zmq

from ipyactors.ground import ids
from ipyactors.ground.config import SessionPaths
from ipyactors.node import serving, transfer
from ipyactors.node.hands import Hands, Results
from ipyactors.node.pulls import MAX_PULLS, WINDOW, Pulls
from ipyactors.node.serving import Serving
from ipyactors.node.store_out import TransferHost
from ipyactors.node.transfer_files import (
    FileFact,
    FileFailed,
    FilePublished,
    Incoming,
    Outgoing,
    PieceRead,
    PieceWritten,
)
from ipyactors.store import layout
from ipyactors.wire.specs import Location
from ipyactors.wire.store_messages import (
    DropCopies,
    PullSegment,
    ReadSegment,
    SegmentChunk,
    SegmentGone,
    SegmentHere,
    StoreToStore,
)
from ipyactors.wire.zmq_channel import ZmqChannel

_log = logging.getLogger(__name__)

#: How many pieces a turn takes. Each costs its checksum here, 0.2 ms.
_BATCHES_PER_TURN = 2

#: A machine that cannot be reached is tried again at least this often.
_RETRY_AT_MOST_MS = 1_000

_FREED = "its owner freed it"
_FORGOTTEN = "its owner took it back"


class Exchange:
    """See the head of this file, and :class:`ipyactors.node.store_out.Transfers`."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], paths: SessionPaths, node_id: bytes, host: TransferHost
    ) -> None:
        self._host = host
        self._results: Results[FileFact] = Results()
        self._fetching = _Fetching(context, paths, node_id, host, self._results)
        self._lending = _Lending(paths, host, self._results)
        self._taken = 0  # batches, since the last look for silence

    # -- what processes and the store say ------------------------------------------------------------------------

    def pull(self, process_id: bytes, message: PullSegment, now: float) -> None:
        """Fetch a segment that is not here."""
        transfer.on_pull(self._fetching.pulls, self._fetching, process_id, message, now)

    def on_room(self, number: int, spill: bool, problem: str, now: float) -> None:
        """Begin to write, or give up."""
        transfer.on_room(self._fetching.pulls, self._fetching, number, spill, problem, now)

    def on_sealed(self, segment_id: bytes, now: float) -> None:
        """Stop fetching what was made here."""
        serving.on_sealed_here(self._lending.serving, segment_id)
        transfer.on_sealed_here(self._fetching.pulls, self._fetching, segment_id, now)

    def on_freed(self, segment_ids: Sequence[bytes], now: float) -> None:
        """Stop fetching and serving these, and tell who has read them here."""
        transfer.on_freed(self._fetching.pulls, self._fetching, segment_ids, _FREED, now)
        serving.on_freed(self._lending.serving, self._lending, segment_ids)

    def on_forgotten(self, segment_ids: Sequence[bytes], now: float) -> None:
        """Stop fetching and serving these."""
        transfer.on_freed(self._fetching.pulls, self._fetching, segment_ids, _FORGOTTEN, now)
        serving.on_forgotten(self._lending.serving, self._lending, segment_ids)

    def on_owner_gone(self, owner_id: bytes, keep: frozenset[bytes], now: float) -> None:
        """Stop fetching and serving what that process owned, but for ``keep``."""
        transfer.on_owner_gone(self._fetching.pulls, self._fetching, owner_id, now, keep)
        serving.on_owner_gone(self._lending.serving, self._lending, owner_id, keep)

    def on_process_gone(self, process_id: bytes, now: float) -> None:
        """Stop fetching what only that process waited for."""
        transfer.on_process_gone(self._fetching.pulls, self._fetching, process_id, now)

    def on_node_lost(self, node_id: bytes, detail: str, now: float) -> None:
        """Ask that machine for nothing more, and forget what it had from here."""
        transfer.on_node_lost(self._fetching.pulls, self._fetching, node_id, detail, now)
        self._fetching.disconnect(node_id)
        serving.on_reader_lost(self._lending.serving, self._lending, ids.transfer_id_of(node_id))

    def on_store_message(self, peer: bytes, message: StoreToStore | ReadSegment, now: float) -> None:
        """Act on the word of another machine's store."""
        match message:
            case ReadSegment():
                serving.on_read(self._lending.serving, self._lending, peer, message, now)
            case SegmentChunk():
                transfer.on_chunk(self._fetching.pulls, self._fetching, peer, message, now)
            case DropCopies():
                self._host.on_drop_copies(message.segment_ids)

    # -- turns ---------------------------------------------------------------------------------------------------

    def take_turn(self, now: float) -> bool:
        """Act on some of what has arrived; return whether anything had."""
        facts = self._results.take()
        for fact in facts:
            self._on_file_fact(fact, now)
        batches, changes = self._fetching.receive()
        for peer, messages in batches:
            for message in messages:
                self.on_store_message(peer, message, now)
        for node_id, has_come in changes:
            react = transfer.on_connected if has_come else transfer.on_cut
            react(self._fetching.pulls, self._fetching, node_id, now)
        self._look_for_silence(len(batches), now)
        serving.on_turn(self._lending.serving, self._lending, now)
        self._lending.report_unreachable(now)
        self._fetching.flush()
        return bool(facts or batches or changes)

    def _look_for_silence(self, taken: int, now: float) -> None:
        """Look who has been silent for too long, but only once all is read that has arrived before the last such look.

        An agent that was stopped for a while must not take others for silent whose pieces wait here. No more can wait
        than were asked for.
        """
        self._taken += taken
        if taken < _BATCHES_PER_TURN or self._taken >= WINDOW * MAX_PULLS:
            self._taken = 0
            transfer.on_turn(self._fetching.pulls, self._fetching, now)

    def _on_file_fact(self, fact: FileFact, now: float) -> None:
        """Act on what a thread has done."""
        pulls, out = self._fetching.pulls, self._fetching
        match fact:
            case PieceWritten():
                transfer.on_written(pulls, out, fact.number, fact.offset, now)
            case FileFailed():
                transfer.on_file_failed(pulls, out, fact.number, fact.detail, fact.is_full, now)
            case FilePublished():
                self._on_published(fact, now)
            case PieceRead():
                serving.on_piece(self._lending.serving, self._lending, fact.reader_id, fact.chunk)

    def _on_published(self, fact: FilePublished, now: float) -> None:
        """Have the copy counted, then told of; or removed, if nobody wants it any more."""
        pull = self._fetching.pulls.by_number.get(fact.number)
        if pull is not None and fact.is_ours:
            self._host.on_pulled(fact.number, fact.segment_id, fact.size, is_spilled=fact.is_spilled, keep=pull.keep)
        else:
            self._host.give_back(fact.number)
        if transfer.on_published(self._fetching.pulls, self._fetching, fact.number, now):
            serving.on_sealed_here(self._lending.serving, fact.segment_id)
            self._fetching.finish(fact.number)
        else:
            self._fetching.abandon(fact.number)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What to sleep on."""
        return (self._results.fileno(), *self._fetching.descriptors)

    @property
    def next_turn_s(self) -> float | None:
        """When to take a turn although nothing has arrived."""
        moments = (transfer.next_turn_s(self._fetching.pulls), serving.next_turn_s(self._lending.serving))
        return min((moment for moment in moments if moment is not None), default=None)

    def close(self) -> None:
        """End threads, remove what is half-received, close the channel."""
        have_ended = [self._fetching.close(), self._lending.close()]
        if all(have_ended):
            self._results.close()


class _Fetching:
    """The ``PullOut`` of this machine's pulls, with the channel that they come over."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        paths: SessionPaths,
        node_id: bytes,
        host: TransferHost,
        results: Results[FileFact],
    ) -> None:
        self.pulls = Pulls(node_id)
        self._host = host
        name = ids.transfer_id_of(node_id)
        self._channel = ZmqChannel(context, name, StoreToStore, retry_at_most_ms=_RETRY_AT_MOST_MS)
        self._links = self._channel.watch_links()
        self._addresses: dict[bytes, str] = {}
        self._asked: dict[bytes, list[ReadSegment]] = {}
        self._unconnected: list[bytes] = []
        self._incoming = Incoming(paths.store_dir, paths.spill_dir)
        self._hands = Hands(results, "store-receive")

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What to sleep on."""
        return (self._channel.fileno(), self._links.fileno())

    def receive(self) -> tuple[list[tuple[bytes, list[StoreToStore]]], list[tuple[bytes, bool]]]:
        """Return a few batches of what has arrived, and which machines' connections have changed."""
        batches = self._channel.receive(_BATCHES_PER_TURN)
        changes = [
            (node_id, has_come)
            for address, has_come in self._links.take()
            for node_id, known in self._addresses.items()
            if known == address
        ]
        changes += [(node_id, False) for node_id in self._unconnected]
        self._unconnected.clear()
        return batches, changes

    def ask(self, source: Location, message: ReadSegment) -> None:
        """Queue a question; a machine is connected to when it is asked for the first time."""
        if source.node_id not in self._addresses:
            self._addresses[source.node_id] = source.address
            try:
                self._channel.connect(source.node_id, source.address)
            except zmq.ZMQError:
                _log.warning("machine %s cannot be at %r", ids.short(source.node_id), source.address, exc_info=True)
                self._unconnected.append(source.node_id)
        self._asked.setdefault(source.node_id, []).append(message)

    def flush(self) -> None:
        """Send what is queued, to each machine in one batch."""
        asked, self._asked = self._asked, {}
        for node_id, messages in asked.items():
            if not self._channel.send(node_id, messages):
                _log.warning("machine %s was not asked for %d pieces: it is gone", ids.short(node_id), len(messages))

    def disconnect(self, node_id: bytes) -> None:
        """Close the connection to a machine that is gone."""
        self._addresses.pop(node_id, None)
        self._asked.pop(node_id, None)
        self._channel.disconnect(node_id)

    def make_room(self, number: int, segment_id: bytes, size: int) -> None:
        """Ask the keeper of the store for whole pages."""
        self._host.make_room(number, segment_id, layout.file_bytes_for(size))

    def create(self, number: int, segment_id: bytes, *, spill: bool) -> None:
        """Begin a file."""
        self._hands.do(lambda: self._incoming.create(number, segment_id, spill=spill))

    def write(self, number: int, offset: int, data: memoryview) -> None:
        """Write a piece."""
        self._hands.do(lambda: self._incoming.write(number, offset, data))

    def publish(self, number: int) -> None:
        """Give a file its name."""
        self._hands.do(lambda: self._incoming.publish(number))

    def finish(self, number: int) -> None:
        """Leave a published file to the keeper."""
        self._hands.do(lambda: self._incoming.finish(number))

    def abandon(self, number: int) -> None:
        """Remove a file, and give its room back."""
        self._host.give_back(number)
        self._hands.do(lambda: self._incoming.abandon(number))

    def tell(self, process_id: bytes, message: SegmentHere | SegmentGone) -> None:
        """Pass a message on."""
        self._host.tell(process_id, message)

    def close(self) -> bool:
        """Close the channel and let nothing half-received be left. Return False if the thread has not ended in time."""
        self._hands.forget()
        self._hands.do(self._remove_all)
        self._links.close()
        self._channel.close()
        return self._hands.close()

    def _remove_all(self) -> list[FileFact]:
        self._incoming.close()
        return []


class _Lending:
    """The ``ServeOut`` of what is served from here."""

    def __init__(self, paths: SessionPaths, host: TransferHost, results: Results[FileFact]) -> None:
        self.serving = Serving()
        self._host = host
        self._outgoing = Outgoing(paths.store_dir, paths.spill_dir)
        self._hands = Hands(results, "store-serve")
        self._unreachable: deque[tuple[bytes, SegmentChunk | DropCopies]] = deque()

    def read(self, reader_id: bytes, message: ReadSegment) -> None:
        """Read a piece."""
        self._hands.do(lambda: self._outgoing.read(reader_id, message))

    def forget(self, segment_id: bytes) -> None:
        """Close a file."""
        self._hands.do(lambda: self._outgoing.forget(segment_id))

    def send(self, reader_id: bytes, message: SegmentChunk | DropCopies) -> None:
        """Send to a reader, by the agent's bound channel."""
        if not self._host.send(reader_id, message):
            self._unreachable.append((reader_id, message))

    def report_unreachable(self, now: float) -> None:
        """Tell the reactor what could not be sent."""
        for _ in range(len(self._unreachable)):
            serving.on_unreachable(self.serving, self, *self._unreachable.popleft(), now)

    def close(self) -> bool:
        """End the thread; the files close with it. Return False if it has not ended in time."""
        self._hands.forget()
        self._hands.do(self._close_all)
        return self._hands.close()

    def _close_all(self) -> list[FileFact]:
        self._outgoing.close()
        return []
