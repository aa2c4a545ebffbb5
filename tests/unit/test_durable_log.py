"""The log of a durable actor: what is written can be read, a torn end is cut, and damage is never silent."""

from __future__ import annotations

import errno
import pathlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipyactors.durable import log, record, segment
from ipyactors.durable.disk import Disk
from ipyactors.durable.folder import Folder
from ipyactors.durable.log import LogSealedError, LogWriter
from ipyactors.durable.record import Abort, Body, Call, Checkpoint, Done, Open, Outcome, Value, ValueKind
from ipyactors.ground.exceptions import LogDamagedError, StorageFullError
from ipyactors.wire.specs import Payload
from tests.support.sim_disk import ProcessDied, SimDisk

ACTOR = b"a" * 16


@pytest.fixture(autouse=True, scope="module")
def small_segments() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segment, "SEGMENT_BYTES", 64 * 1024)
        patch.setattr(log, "RESERVE_BYTES", 4 * 1024)
        yield


def a_call(number: int, size: int = 20) -> Call:
    return Call(b"c%019d" % number, b"driver00", number, "append", Payload(bytes([number % 256]) * size))


def open_log(disk: Disk, *, incarnation: int = 0, syncs: bool = False) -> LogWriter:
    return LogWriter(disk, ACTOR, incarnation, log.read(disk, ACTOR), syncs=syncs)


def bodies(disk: Disk) -> list[Body]:
    return [one.body for one in log.read(disk, ACTOR).records]


EVERY_KIND: list[Body] = [
    Open(b"d" * 16, "host", "gpu-3", "boot", "3.11.7", "0"),
    Call(b"c" * 20, b"driver00", 7, "deposit", Payload(b"pickle"), (Payload(b"arg"),), 2, "key", b"digest"),
    Value(0, ValueKind.RANDOM, b"8 bytes!"),
    Done(b"c" * 20, Outcome.RAISED, b"answer", 0.25),
    Abort(b"c" * 20, "it killed the worker 4 times"),
    Checkpoint("0001"),
]


@pytest.mark.parametrize("on", ["memory", "disk"])
def test_every_kind_of_record_comes_back_with_its_place(on: str, tmp_path: pathlib.Path) -> None:
    disk: Disk = SimDisk() if on == "memory" else Folder(tmp_path / "log")
    writer = open_log(disk, incarnation=3)
    for lsn, body in enumerate(EVERY_KIND):
        writer.make_room(0)
        writer.append(body, lsn)
    writer.write()
    found = log.read(disk, ACTOR).records
    assert [one.body for one in found] == EVERY_KIND
    assert [(one.lsn, one.incarnation) for one in found] == [(lsn, 3) for lsn in range(len(EVERY_KIND))]
    assert log.read(disk, ACTOR).end == writer.end


def test_the_numbers_of_the_kinds_are_for_good() -> None:
    """Old logs are read by new versions."""
    assert [record.encode(body, 1, 0, 0)[8] for body in EVERY_KIND] == [1, 2, 3, 4, 5, 6]


def test_a_log_that_was_never_written_is_empty() -> None:
    contents = log.read(SimDisk(), ACTOR)
    assert (contents.records, contents.end, contents.torn) == ([], 0, 0)


def test_nothing_reaches_the_disk_before_it_is_written() -> None:
    disk = SimDisk()
    writer = open_log(disk)
    writer.make_room(0)
    writer.append(a_call(1), 1)
    assert bodies(disk) == []
    writer.write()
    assert bodies(disk) == [a_call(1)]


def test_a_full_segment_is_followed_by_another() -> None:
    disk = SimDisk()
    writer = open_log(disk)
    for lsn in range(1, 150):
        writer.make_room(1000)
        writer.append(a_call(lsn, 1000), lsn)
    writer.write()
    assert len(log.segments_of(disk)) == 3
    assert bodies(disk) == [a_call(lsn, 1000) for lsn in range(1, 150)]


def test_a_record_larger_than_a_segment_gets_one_of_its_size() -> None:
    disk = SimDisk()
    writer = open_log(disk)
    large = a_call(1, 200_000)
    writer.append(large, 1)
    writer.append(a_call(2), 2)
    writer.write()
    assert bodies(disk) == [large, a_call(2)]


def test_the_next_incarnation_goes_on_where_the_last_has_stopped() -> None:
    disk = SimDisk()
    for incarnation in range(5):
        writer = open_log(disk, incarnation=incarnation)
        writer.make_room(0)
        writer.append(a_call(incarnation), incarnation)
        writer.write()
    assert bodies(disk) == [a_call(number) for number in range(5)]


# -- torn ends -------------------------------------------------------------------------------------------------


def written(count: int, *, syncs: bool = False) -> tuple[SimDisk, str, list[int]]:
    """Return a disk with a log of ``count`` calls, its segment, and where in it each record ends."""
    disk = SimDisk()
    writer = open_log(disk, syncs=syncs)
    ends = [segment.HEAD_BYTES]
    for lsn in range(1, count + 1):
        writer.make_room(0)
        writer.append(a_call(lsn), lsn)
        writer.secure()
        ends.append(segment.HEAD_BYTES + writer.end)
    return disk, segment.name_at(0), ends


def test_a_log_that_is_torn_at_any_byte_is_cut_there_and_goes_on() -> None:
    whole, name, ends = written(3)
    content = whole.read(name)
    for cut in range(segment.HEAD_BYTES, ends[-1] + 1):
        disk = SimDisk()
        disk.allocate(name, len(content), content[:cut])
        kept = sum(end <= cut or not any(content[cut:end]) for end in ends) - 1  # zeros are there anyway
        assert bodies(disk) == [a_call(lsn) for lsn in range(1, kept + 1)], cut
        writer = open_log(disk, incarnation=1)
        writer.make_room(0)
        writer.append(a_call(9), kept + 1)
        writer.write()
        contents = log.read(disk, ACTOR)
        assert [one.body for one in contents.records] == [*(a_call(lsn) for lsn in range(1, kept + 1)), a_call(9)], cut
        assert contents.torn == 0


def test_what_a_torn_end_leaves_behind_never_comes_back() -> None:
    """The old end is longer than the new one, and cut in its first record: the second must not be found again."""
    disk, name, ends = written(1)
    writer = open_log(disk)
    writer.append(a_call(2, 100), 2)
    writer.append(a_call(3, 100), 3)
    writer.write()
    disk.damage(name, ends[1] + 12)
    assert bodies(disk) == [a_call(1)]
    again = open_log(disk, incarnation=1)
    assert log.read(disk, ACTOR).torn == 0
    again.append(a_call(4), 2)
    again.write()
    assert bodies(disk) == [a_call(1), a_call(4)]


@given(
    seed=st.integers(0, 2**32), sizes=st.lists(st.integers(0, 9000), min_size=1, max_size=12), synced=st.integers(0, 12)
)
def test_a_loss_of_power_costs_nothing_that_was_synced(seed: int, sizes: list[int], synced: int) -> None:
    disk = SimDisk(seed)
    writer = open_log(disk, syncs=True)
    calls = [a_call(lsn, size) for lsn, size in enumerate(sizes, 1)]
    for lsn, call in enumerate(calls, 1):
        writer.make_room(0)
        writer.append(call, lsn)
        writer.write()
        if lsn == synced:
            writer.sync()
    disk.cut_power()
    found = bodies(disk)
    assert found == calls[: len(found)]
    assert len(found) >= min(synced, len(calls)) if synced <= len(calls) else True


@given(seed=st.integers(0, 2**32))
def test_what_a_dead_process_had_not_synced_may_be_lost_while_the_next_writes(seed: int) -> None:
    """The next one must not take it for safe, or the loss would pass for damage."""
    disk = SimDisk(seed)
    for incarnation in range(3):
        writer = open_log(disk, incarnation=incarnation, syncs=True)
        writer.make_room(0)
        writer.append(a_call(incarnation, 300), incarnation)
        writer.write()
    disk.cut_power()
    found = bodies(disk)
    assert found == [a_call(incarnation, 300) for incarnation in range(len(found))]
    assert len(found) >= 2


# -- damage ----------------------------------------------------------------------------------------------------


def test_a_flipped_bit_in_what_was_whole_is_damage_wherever_it_is() -> None:
    _, name, ends = written(4)
    for offset in range(segment.HEAD_BYTES, ends[3]):
        disk, _, _ = written(4)
        disk.damage(name, offset, 1 << offset % 8)
        before = disk.read(name)
        with pytest.raises(LogDamagedError) as caught:
            log.read(disk, ACTOR)
        lsn = sum(end <= offset for end in ends) - 1
        assert (caught.value.file, caught.value.lsn) == (name, lsn), offset
        assert segment.HEAD_BYTES + caught.value.position == ends[lsn]
        assert disk.read(name) == before


def test_the_error_for_damage_says_where_and_what_to_do() -> None:
    disk, name, ends = written(4)
    disk.damage(name, ends[1] + 3)
    with pytest.raises(
        LogDamagedError, match=rf"damaged in {name} at position .*lsn 1\. Nothing was changed"
    ) as caught:
        log.read(disk, ACTOR)
    assert caught.value.actor_id == ACTOR.hex()


def test_a_damaged_head_is_damage() -> None:
    for offset in range(segment.HEAD_BYTES):
        disk, name, _ = written(1)
        disk.damage(name, offset)
        with pytest.raises(LogDamagedError):
            log.read(disk, ACTOR)


def in_three_segments() -> tuple[SimDisk, list[int]]:
    disk = SimDisk()
    writer = open_log(disk)
    for lsn in range(1, 150):
        writer.make_room(1000)
        writer.append(a_call(lsn, 1000), lsn)
    writer.write()
    return disk, log.segments_of(disk)


def test_a_segment_that_is_missing_or_too_short_is_damage() -> None:
    disk, starts = in_three_segments()
    disk.remove([segment.name_at(starts[1])])
    with pytest.raises(LogDamagedError, match=f"should go on to {starts[2]}"):
        log.read(disk, ACTOR)
    disk, starts = in_three_segments()
    first = disk.files[segment.name_at(starts[0])]
    last = starts[1] - 1000
    first.cached[last:] = bytes(len(first.cached) - last)
    with pytest.raises(LogDamagedError) as caught:
        log.read(disk, ACTOR)
    assert caught.value.file == segment.name_at(starts[0])


def test_the_log_of_another_actor_is_not_read() -> None:
    disk, _, _ = written(1)
    with pytest.raises(LogDamagedError, match="belongs to actor"):
        log.read(disk, b"b" * 16)


# -- what the disk refuses -------------------------------------------------------------------------------------


def test_a_full_disk_refuses_the_call_before_it_is_logged_and_takes_the_next_when_there_is_room() -> None:
    disk = SimDisk()
    disk.fails["allocate"] = errno.ENOSPC
    writer = open_log(disk)
    with pytest.raises(StorageFullError, match="has no effect"):
        writer.make_room(100)
    del disk.fails["allocate"]
    writer.make_room(100)
    writer.append(a_call(1), 1)
    writer.write()
    assert bodies(disk) == [a_call(1)]


def test_what_was_begun_finds_room_on_a_full_disk() -> None:
    disk = SimDisk()
    writer = open_log(disk)
    lsn = 0
    with pytest.raises(StorageFullError):  # until there is no more room, however many that are
        while True:
            writer.make_room(1000)
            disk.fails["allocate"] = errno.ENOSPC
            lsn += 1
            writer.append(a_call(lsn, 1000), lsn)
    writer.append(Done(b"c" * 20, Outcome.RETURNED, bytes(log.RESERVE_BYTES - 200)), lsn)
    writer.write()
    assert len(bodies(disk)) == lsn + 1


@pytest.mark.parametrize("step", ["write_at", "sync"])
def test_after_a_failed_write_or_sync_nothing_is_written_any_more(step: str) -> None:
    disk = SimDisk()
    writer = open_log(disk, syncs=True)
    writer.make_room(0)
    writer.append(a_call(1), 1)
    disk.fails[step] = errno.EIO
    with pytest.raises(LogSealedError, match="could not be written"):
        writer.sync()
    del disk.fails[step]
    for again in (writer.write, writer.sync, writer.secure):
        with pytest.raises(LogSealedError):
            again()
    assert writer.stable == 0


def test_segments_that_no_checkpoint_needs_are_removed_and_the_rest_is_read_from_there() -> None:
    disk, starts = in_three_segments()
    writer = open_log(disk)
    writer.drop_before(starts[2] + 5000)
    assert log.segments_of(disk) == [starts[2]]
    found = log.read(disk, ACTOR, since=starts[2] + 5000)
    assert found.end == writer.end
    with pytest.raises(LogDamagedError, match="is not there"):
        log.read(disk, ACTOR, since=starts[1])


@pytest.mark.parametrize("syncs", [False, True])
def test_whoever_dies_at_any_step_leaves_a_log_that_goes_on(syncs: bool) -> None:
    for dies_at in range(1, 40):
        for seed in range(5):
            disk = SimDisk(seed)
            disk.dies_at = dies_at
            safe = 0
            try:
                writer = open_log(disk, syncs=syncs)
                for lsn in range(1, 30):
                    writer.make_room(9000)
                    writer.append(a_call(lsn, 9000), lsn)
                    writer.secure()
                    safe = lsn
            except ProcessDied:
                if syncs:
                    disk.cut_power()
            disk.dies_at = 0
            found = bodies(disk)
            assert found == [a_call(lsn, 9000) for lsn in range(1, len(found) + 1)]
            assert len(found) >= safe
            writer = open_log(disk, incarnation=1, syncs=syncs)
            writer.make_room(10)
            writer.append(a_call(100), len(found) + 1)
            writer.secure()
            assert bodies(disk) == [*found, a_call(100)]
