"""Large values beside the log: into files, back, and what is told when a file is not what was written."""

from __future__ import annotations

import errno

import msgspec
import pytest

from ipyactors.durable import blobs
from ipyactors.durable.blobs import BlobDamagedError, Namer
from ipyactors.durable.call_tables import Recorded, Snapshot
from ipyactors.durable.carried import CarriedCall
from ipyactors.durable.record import Answer, Blob, Outcome
from ipyactors.wire.outside import OUT_OF_BAND_BYTES
from ipyactors.wire.specs import Payload, RefSpec
from tests.support.sim_disk import SimDisk

LARGE = bytes(range(256)) * (OUT_OF_BAND_BYTES // 256) + b"!"


def whole(payload: Payload) -> tuple[bytes, list[bytes], tuple[RefSpec, ...], tuple[bytes, ...]]:
    return payload.data, [bytes(view) for view in payload.buffers], payload.refs, payload.actor_ids


def test_only_what_is_large_is_put_aside() -> None:
    disk = SimDisk()
    small = Payload(LARGE[:-1])
    kept, made = blobs.put_aside(disk, [small, Payload(LARGE)], Namer(12))
    assert kept[0] is small
    assert kept[1].data == b""
    assert [(blob.index, blob.name) for blob in made] == [(1, "blob-000000000000000c-1")]
    assert disk.names() == ["blob-000000000000000c-1"]
    assert made[0].size == len(disk.read(made[0].name))


def test_values_come_back_as_they_were_in_their_places() -> None:
    disk = SimDisk()
    refs = (RefSpec(b"o" * 20, "mem://owner"),)
    payloads = [
        Payload(b"small"),
        Payload(b"array", (memoryview(b"buffer one"), memoryview(b"two"))),
        Payload(b"another"),
        Payload(LARGE, (), refs, (b"a" * 16,)),
    ]
    kept, made = blobs.put_aside(disk, payloads, Namer(1))
    assert [blob.index for blob in made] == [1, 3]
    assert len({blob.name for blob in made}) == 2
    assert list(map(whole, blobs.bring_back(disk, kept, made))) == list(map(whole, payloads))


def test_what_is_put_aside_still_says_what_it_refers_to() -> None:
    """Whoever reads the record, and not the file, must know which objects and actors are in it."""
    refs = (RefSpec(b"o" * 20, "mem://owner"),)
    (kept,), _ = blobs.put_aside(SimDisk(), [Payload(LARGE, (), refs, (b"a" * 16,))], Namer(1))
    assert (kept.refs, kept.actor_ids, kept.buffers) == (refs, (b"a" * 16,), ())


def test_names_go_on_where_they_were() -> None:
    namer = Namer(3, 2)
    assert [namer.next(), namer.next()] == ["blob-0000000000000003-3", "blob-0000000000000003-4"]


def test_a_blob_is_safe_before_it_is_named() -> None:
    disk = SimDisk()
    kept, made = blobs.put_aside(disk, [Payload(LARGE)], Namer(1))
    disk.cut_power()
    assert blobs.bring_back(disk, kept, made)[0].data == LARGE


def test_one_that_need_not_be_is_told_when_a_loss_of_power_has_torn_it() -> None:
    whole_ones = 0
    for seed in range(200):
        disk = SimDisk(seed)
        kept, made = blobs.put_aside(disk, [Payload(LARGE)], Namer(1), syncs=False)
        assert blobs.bring_back(disk, kept, made)[0].data == LARGE, "the death of a process takes nothing"
        if seed % 2:
            disk.sync(made[0].name)
            disk.replace("checkpoint", b"")
        disk.cut_power()
        try:
            assert blobs.bring_back(disk, kept, made)[0].data == LARGE
            whole_ones += 1
        except BlobDamagedError:
            assert seed % 2 == 0
    assert whole_ones == 100


def test_one_whose_middle_is_not_digested_is_always_synced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blobs, "_DIGESTED_BYTES", 1000)
    disk = SimDisk()
    kept, made = blobs.put_aside(disk, [Payload(LARGE)], Namer(1), syncs=False)
    disk.cut_power()
    assert blobs.bring_back(disk, kept, made)[0].data == LARGE


@pytest.mark.parametrize("step", ["put", "replace"])
def test_no_room_is_an_oserror(step: str) -> None:
    disk = SimDisk()
    disk.fails[step] = errno.ENOSPC
    with pytest.raises(OSError, match="No space"):
        blobs.put_aside(disk, [Payload(LARGE)], Namer(1), syncs=step == "replace")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("missing", "cannot be read"),
        ("short", "has 65,5"),
        ("flipped", "does not hold what was written"),
        ("rewritten", "cannot be understood"),
    ],
)
def test_a_file_that_is_not_what_was_written_is_refused(damage: str, words: str) -> None:
    disk = SimDisk()
    _, (blob,) = blobs.put_aside(disk, [Payload(LARGE)], Namer(1))
    content = disk.read(blob.name)
    if damage == "missing":
        disk.remove([blob.name])
    elif damage == "short":
        disk.replace(blob.name, content[:-1])
    elif damage == "flipped":
        disk.damage(blob.name, len(content) - 1)
    else:
        disk.replace(blob.name, b"\xc1" + content[1:])
        blob = msgspec.structs.replace(blob, digest=blobs.digest(b"\xc1" + content[1:]))
    with pytest.raises(BlobDamagedError, match=rf"blob-0000000000000001-1 .*{words}"):
        blobs.read(disk, blob)


def test_the_digest_is_of_both_ends_and_of_the_length() -> None:
    content = bytearray(5 * 1024 * 1024)
    made = blobs.digest(content)
    assert len(made) == 16
    for place in (0, 1024 * 1024 - 1, len(content) - 1024 * 1024, len(content) - 1):
        content[place] ^= 1
        assert blobs.digest(content) != made
        content[place] ^= 1
    assert blobs.digest(bytes(len(content) + 1)) != made
    small = bytearray(2 * 1024 * 1024)
    whole_small = blobs.digest(small)
    small[1024 * 1024] ^= 1
    assert blobs.digest(small) != whole_small, "of what is not that large, all is digested"


def test_a_snapshot_tells_which_files_its_answers_need() -> None:
    def recorded(number: int, answer: bytes, outcome: Outcome = Outcome.RETURNED) -> Recorded:
        return Recorded(b"%d" % number, b"caller", number, number, outcome, answer, b"")

    aside = Answer((Payload(b""),), blobs=(Blob(0, "blob-1-1", 7, b""), Blob(1, "blob-1-2", 7, b"")))
    snapshot = Snapshot(
        3,
        recorded=(
            recorded(1, msgspec.msgpack.encode(aside)),
            recorded(2, msgspec.msgpack.encode(Answer((Payload(b"1"),)))),
            recorded(3, b"it was given up", Outcome.ABORTED),
        ),
    )
    assert blobs.needed_by(snapshot) == {"blob-1-1", "blob-1-2"}
    carried = CarriedCall(b"a", "A", "f", Payload(b""), (), b"", b"", 1, b"", blobs=(Blob(-1, "blob-2-1", 7, b""),))
    assert blobs.needed_by(snapshot, [carried]) == {"blob-1-1", "blob-1-2", "blob-2-1"}


def test_the_last_name_of_a_call_is_found_though_others_were_removed() -> None:
    disk = SimDisk()
    for name in ("blob-0000000000000009-2", "blob-0000000000000009-11", "blob-000000000000000a-12"):
        disk.replace(name, b"")
    assert (blobs.last_of(disk, 9), blobs.last_of(disk, 8)) == (11, 0)


def test_files_are_found_by_the_call_that_they_belong_to() -> None:
    disk = SimDisk()
    for name in ("blob-0000000000000009-1", "blob-000000000000000a-2", "blob-000000000000000b-1", "blob-x", "log-1"):
        disk.replace(name, b"")
    assert sorted(blobs.names_up_to(disk, 10)) == ["blob-0000000000000009-1", "blob-000000000000000a-2"]
