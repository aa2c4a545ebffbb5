"""Transfers over real sockets, threads and files, all in this process."""

from __future__ import annotations

import fcntl
import os
import pathlib
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import zmq

from ipyactors.ground import faultpoints, ids
from ipyactors.node import transfer_files
from ipyactors.node.hands import Hands, Results
from ipyactors.node.pulls import CHUNK_BYTES, WINDOW
from ipyactors.node.transfer_files import FileFailed, FilePublished, Incoming, Outgoing, PieceRead
from ipyactors.store import layout
from ipyactors.wire.codec import encode
from ipyactors.wire.specs import Location
from ipyactors.wire.store_messages import PullSegment, ReadSegment, SegmentChunk, SegmentGone, SegmentHere
from tests.support.exchange_machine import Machine
from tests.support.turns import run_until

OWNER = ids.new_driver_id()
SEG = ids.object_id(OWNER, 1)
P1, P2 = ids.new_worker_id(), ids.new_worker_id()
MakeMachine = Callable[[], Machine]


@pytest.fixture
def make_machine(tmp_path: pathlib.Path) -> Iterator[MakeMachine]:
    made: list[Machine] = []
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()

    def make() -> Machine:
        made.append(Machine(context, tmp_path / f"m{len(made)}"))
        return made[-1]

    yield make
    for machine in made:
        machine.close()
    context.destroy(linger=0)


def value(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.mark.parametrize("size", [70_000, CHUNK_BYTES - 200, 5 * CHUNK_BYTES + 12_345])
@pytest.mark.parametrize("spill", [False, True])
def test_a_value_arrives_as_it_was_written(make_machine: MakeMachine, size: int, spill: bool) -> None:
    here, there = make_machine(), make_machine()
    content = value(size)
    there.write(SEG, b"pickle", [content], spill=spill)
    here.pull(P1, SEG, there)
    here.pull(P2, SEG, there)
    run_until(lambda: len(here.answers) == 2, here, there)
    assert here.answers == [(P1, SegmentHere(SEG)), (P2, SegmentHere(SEG))]
    mapped = here.reader.open(SEG)
    assert mapped is not None
    assert mapped.data == b"pickle"
    assert mapped.buffers[0] == content
    assert not mapped.is_spilled
    assert here.copies[SEG] == (layout.size_of(b"pickle", [memoryview(content)]), False)
    assert here.files() == [SEG.hex()]
    assert not here.rooms


def test_it_goes_to_disk_if_memory_has_no_room(make_machine: MakeMachine) -> None:
    here, there = make_machine(), make_machine()
    there.write(SEG, b"pickle", [value(3 * CHUNK_BYTES)])
    here.room = (True, "")
    here.pull(P1, SEG, there)
    run_until(lambda: bool(here.answers), here, there)
    mapped = here.reader.open(SEG)
    assert mapped is not None
    assert mapped.is_spilled
    assert here.copies[SEG][1]


def test_a_full_file_system_is_tried_only_as_long_as_there_is_another(make_machine: MakeMachine) -> None:
    here, there = make_machine(), make_machine()
    there.write(SEG, b"pickle", [value(3 * CHUNK_BYTES)])
    faultpoints.arm("transfer.before_write", "enospc", 0)
    try:
        here.pull(P1, SEG, there)
        run_until(lambda: bool(here.answers), here, there)
    finally:
        faultpoints.disarm()
    ((_, answer),) = here.answers
    assert isinstance(answer, SegmentGone)
    assert answer.is_full
    run_until(lambda: not here.files(), here, there)
    assert not here.rooms


@pytest.mark.parametrize("step", ["before_open", "before_write", "before_publish", "after_publish"])
def test_nothing_is_left_of_what_fails_at_any_step(make_machine: MakeMachine, step: str) -> None:
    here, there = make_machine(), make_machine()
    there.write(SEG, b"pickle", [value(3 * CHUNK_BYTES)])
    faultpoints.arm(f"transfer.{step}", "raise", 1)
    try:
        here.pull(P1, SEG, there)
        run_until(lambda: bool(here.answers), here, there)
    finally:
        faultpoints.disarm()
    assert isinstance(here.answers[0][1], SegmentGone)
    run_until(lambda: not here.files(), here, there)
    here.pull(P1, SEG, there)
    run_until(lambda: len(here.answers) == 2, here, there)
    assert here.answers[1] == (P1, SegmentHere(SEG))


def test_a_file_that_cannot_be_read_is_as_good_as_none(make_machine: MakeMachine) -> None:
    here, there, other = make_machine(), make_machine(), make_machine()
    for machine in (there, other):
        machine.write(SEG, b"pickle", [value(3 * CHUNK_BYTES)])
    faultpoints.arm("transfer.before_read", "raise", 2)
    try:
        here.pull(P1, SEG, there, other)
        run_until(lambda: bool(here.answers), here, there, other)
    finally:
        faultpoints.disarm()
    assert here.answers == [(P1, SegmentHere(SEG))]


def test_a_machine_that_went_is_left_at_once_for_another(make_machine: MakeMachine) -> None:
    here, there, other = make_machine(), make_machine(), make_machine()
    content = value(40 * CHUNK_BYTES)
    for machine in (there, other):
        machine.write(SEG, b"pickle", [content])
    here.pull(P1, SEG, there, other)
    run_until(lambda: there.exchange._lending.serving.reading > 0, here, there)
    there.bound.close()
    run_until(lambda: bool(here.answers), here, other, within_s=8.0)
    mapped = here.reader.open(SEG)
    assert mapped is not None
    assert mapped.buffers[0] == content


def test_another_machine_sends_only_what_has_not_come(
    make_machine: MakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there, other = make_machine(), make_machine(), make_machine()
    content = value(40 * CHUNK_BYTES)
    for machine in (there, other):
        machine.write(SEG, b"pickle", [content])
    read, reads = transfer_files._read, []

    def counted(*piece: Any) -> bytes:
        reads.append(piece)
        return read(*piece)

    monkeypatch.setattr(transfer_files, "_read", counted)
    here.pull(P1, SEG, there, other)
    run_until(lambda: len(reads) >= 30, here, there)
    there.bound.close()
    before = len(reads)
    run_until(lambda: bool(here.answers), here, other, within_s=8.0)
    mapped = here.reader.open(SEG)
    assert mapped is not None
    assert mapped.buffers[0] == content
    assert len(reads) - before <= 41 - 30 + 2 * WINDOW, "what was under way and what came after; it is 41 in all"


def test_a_machine_that_was_never_there_is_left_at_once_too(make_machine: MakeMachine) -> None:
    here, there, other = make_machine(), make_machine(), make_machine()
    other.write(SEG, b"pickle", [value(CHUNK_BYTES)])
    there.bound.close()
    os.unlink(f"{there.paths.run_dir}/agent")
    here.pull(P1, SEG, there, other)
    run_until(lambda: bool(here.answers), here, other, within_s=8.0)
    assert here.answers == [(P1, SegmentHere(SEG))]


@pytest.mark.parametrize("address", ["", "ipc://" + 200 * "x", "nonsense"])
def test_an_address_that_is_none_harms_nobody(make_machine: MakeMachine, address: str) -> None:
    here, there = make_machine(), make_machine()
    there.write(SEG, b"pickle", [value(CHUNK_BYTES)])
    sources = (Location(ids.new_node_id(), address), there.location)
    here.exchange.pull(P1, PullSegment(SEG, sources), time.monotonic())
    run_until(lambda: bool(here.answers), here, there, within_s=8.0)
    assert here.answers == [(P1, SegmentHere(SEG))]


def test_a_machine_that_is_said_to_be_lost_ends_what_only_it_had(make_machine: MakeMachine) -> None:
    here, there = make_machine(), make_machine()
    here.pull(P1, SEG, there)
    here.exchange.on_node_lost(there.node_id, "its agent ended", time.monotonic())
    ((_, answer),) = here.answers
    assert isinstance(answer, SegmentGone)
    assert "its agent ended" in answer.detail
    here.pull(P1, SEG, there)
    assert len(here.answers) == 2
    run_until(lambda: True, here)


def test_copies_go_when_the_original_is_freed(make_machine: MakeMachine) -> None:
    first, second, third = make_machine(), make_machine(), make_machine()
    first.write(SEG, b"pickle", [value(2 * CHUNK_BYTES)])
    second.pull(P1, SEG, first)
    run_until(lambda: bool(second.answers), first, second)
    third.pull(P1, SEG, second)
    run_until(lambda: bool(third.answers), first, second, third)
    first.exchange.on_freed((SEG,), time.monotonic())
    first.unlink(SEG)
    run_until(lambda: not second.files() and not third.files(), first, second, third)


def test_the_file_of_a_local_process_is_not_replaced(make_machine: MakeMachine) -> None:
    """It was published while the copy was on its way; its writer goes on to count on its memory."""
    here, there = make_machine(), make_machine()
    there.write(SEG, b"pickle", [value(2 * CHUNK_BYTES)])
    here.pull(P1, SEG, there)
    here.write(SEG, b"pickle", [value(2 * CHUNK_BYTES, seed=2)])
    inode = os.stat(f"{here.paths.store_dir}/{SEG.hex()}").st_ino
    run_until(lambda: bool(here.answers), here, there)
    run_until(lambda: here.files() == [SEG.hex()], here, there)
    assert here.answers == [(P1, SegmentHere(SEG))]
    assert os.stat(f"{here.paths.store_dir}/{SEG.hex()}").st_ino == inode
    assert not here.copies
    assert not here.rooms


def test_two_writings_of_a_segment_have_different_versions_and_copies_the_same(make_machine: MakeMachine) -> None:
    here, there = make_machine(), make_machine()
    there.write(SEG, b"pickle", [value(CHUNK_BYTES)])

    def version_at(machine: Machine) -> int:
        outgoing = Outgoing(machine.paths.store_dir, machine.paths.spill_dir)
        (fact,) = outgoing.read(b"", ReadSegment(SEG, 0, 100))
        outgoing.close()
        assert isinstance(fact, PieceRead)
        return fact.chunk.version

    here.pull(P1, SEG, there)
    run_until(lambda: bool(here.answers), here, there)
    first = version_at(there)
    assert version_at(here) == first
    there.write(SEG, b"pickle", [value(CHUNK_BYTES, seed=2)])
    assert version_at(there) != first


def test_a_reader_without_a_connection_does_no_harm(make_machine: MakeMachine) -> None:
    there = make_machine()
    there.write(SEG, b"pickle", [value(CHUNK_BYTES)])
    there.exchange.on_store_message(b"tnobody", ReadSegment(SEG, 0, CHUNK_BYTES), time.monotonic())
    run_until(lambda: not there.exchange._lending.serving.files or not there.exchange._lending.serving.reading, there)
    there.exchange.on_freed((SEG,), time.monotonic())
    run_until(lambda: True, there)
    assert there.exchange.next_turn_s is not None
    there.exchange.on_node_lost(b"nnobody", "", time.monotonic())
    assert there.exchange.next_turn_s is None


# -- files -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path: pathlib.Path) -> tuple[str, str]:
    (tmp_path / "store").mkdir()
    (tmp_path / "spill").mkdir()
    return str(tmp_path / "store"), str(tmp_path / "spill")


def test_what_is_served_is_locked_against_reuse_until_it_is_forgotten(make_machine: MakeMachine) -> None:
    there = make_machine()
    there.write(SEG, b"pickle", [value(CHUNK_BYTES)])
    outgoing = Outgoing(there.paths.store_dir, there.paths.spill_dir)
    outgoing.read(b"", ReadSegment(SEG, 0, 100))
    with open(f"{there.paths.store_dir}/{SEG.hex()}", "rb") as file:
        with pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        outgoing.forget(SEG)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_file_that_is_spilled_or_freed_while_it_is_served_is_served_on(make_machine: MakeMachine) -> None:
    there = make_machine()
    there.write(SEG, b"pickle", [value(2 * CHUNK_BYTES)])
    outgoing = Outgoing(there.paths.store_dir, there.paths.spill_dir)
    outgoing.read(b"", ReadSegment(SEG, 0, CHUNK_BYTES))
    there.unlink(SEG)
    (fact,) = outgoing.read(b"", ReadSegment(SEG, CHUNK_BYTES, CHUNK_BYTES))
    assert isinstance(fact, PieceRead)
    assert len(fact.chunk.data) == CHUNK_BYTES
    outgoing.close()
    (fact,) = outgoing.read(b"", ReadSegment(SEG, 0, CHUNK_BYTES))
    assert isinstance(fact, PieceRead)
    assert fact.chunk.total == -1


def test_files_that_were_not_asked_for_lately_are_closed(make_machine: MakeMachine) -> None:
    there = make_machine()
    outgoing = Outgoing(there.paths.store_dir, there.paths.spill_dir)
    for at in range(40):
        segment_id = ids.object_id(OWNER, at)
        there.write(segment_id, b"pickle", [value(70_000)])
        outgoing.read(b"", ReadSegment(segment_id, 0, 10))
    assert len(outgoing._files) == 32
    outgoing.close()


def test_a_published_file_that_nobody_wants_any_more_is_removed(folders: tuple[str, str]) -> None:
    incoming = Incoming(*folders)
    incoming.create(7, SEG, spill=False)
    incoming.write(7, 0, memoryview(b"x" * 5000))
    (fact,) = incoming.publish(7)
    assert isinstance(fact, FilePublished)
    assert (fact.size, fact.is_ours) == (8192, True)
    assert os.listdir(folders[0]) == [SEG.hex()]
    incoming.abandon(7)
    assert not os.listdir(folders[0])
    assert not incoming.write(7, 0, memoryview(b"late"))
    assert not incoming.publish(7)


def test_a_folder_that_is_not_there_is_a_failure_like_any_other(tmp_path: pathlib.Path) -> None:
    incoming = Incoming(str(tmp_path / "none"), str(tmp_path / "none"))
    (fact,) = incoming.create(1, SEG, spill=False)
    assert isinstance(fact, FileFailed)
    assert not fact.is_full


def test_what_is_half_received_goes_at_the_end(folders: tuple[str, str]) -> None:
    incoming = Incoming(*folders)
    incoming.create(1, SEG, spill=False)
    incoming.create(2, SEG, spill=True)
    incoming.close()
    assert not os.listdir(folders[0]) + os.listdir(folders[1])


def test_hands_do_one_thing_after_the_other() -> None:
    results: Results[int] = Results()
    hands = Hands(results, "test")
    for number in range(1_000):
        hands.do(lambda number=number: [number] * (number % 3))
    hands.close()
    assert results.take() == [number for number in range(1_000) for _ in range(number % 3)]
    assert not results.take()
    results.close()


def test_a_piece_is_sent_without_being_copied_more_than_once() -> None:
    """The encoder makes the frame, and the frame is what is sent: a guard against an accidental detour."""
    data = memoryview(value(CHUNK_BYTES))
    assert len(encode([SegmentChunk(SEG, 0, CHUNK_BYTES, 0, data)])) < CHUNK_BYTES + 100
