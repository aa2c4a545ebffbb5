"""What fsck says of actors' folders: right of those in order, true of damaged ones, and never an exception."""

from __future__ import annotations

import dataclasses
import errno
import functools
import hashlib
import random
from collections.abc import Callable, Iterator

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ipyactors.durable import blobs, log, manifest, salvage, segment, spec_file
from ipyactors.durable.actor_log import read_remains
from ipyactors.durable.blobs import Namer
from ipyactors.durable.call_tables import Recorded, Snapshot
from ipyactors.durable.fsck import check
from ipyactors.durable.fsck_report import FsckReport, Status
from ipyactors.durable.log import LogWriter
from ipyactors.durable.manifest import CheckpointData, Manifest
from ipyactors.durable.record import Answer, Done, Outcome, Record, Value, ValueKind
from ipyactors.durable.recovery import History
from ipyactors.wire.specs import Definition, Payload
from tests.support.actor_folder import ACTOR, CALLER, Life
from tests.support.sim_disk import SimDisk


@pytest.fixture(autouse=True, scope="module")
def small_segments() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segment, "SEGMENT_BYTES", 4096)
        patch.setattr(log, "RESERVE_BYTES", 512)
        yield


Files = dict[str, bytes]


def disk_of(files: Files) -> SimDisk:
    disk = SimDisk()
    for name, content in files.items():
        disk.replace(name, content)
    return disk


def files_of(disk: SimDisk) -> Files:
    return {name: disk.read(name) for name in sorted(disk.names())}


def lived(level: str = "process") -> Life:
    """Three incarnations, three checkpoints, five segments, 44 calls, the last of which is not over."""
    life = Life(SimDisk(), level)
    life.calls(7)
    life.checkpoint()
    life.calls(20)
    life.abort()
    life.start()
    life.checkpoint()
    life.calls(6)
    life.end(life.begin("pay", key="invoice 7"))
    life.start()
    life.checkpoint()
    life.calls(8)
    life.begin("audit")
    life.add_files()
    return life


@functools.cache
def template(kind: str = "checkpoints") -> tuple[Files, dict[int, Recorded]]:
    """Return the files of such an actor, or of one with large values, and what is true of its calls that are over."""
    life = lived() if kind == "checkpoints" else lived_with_large_values()
    whole = read_remains(life.disk, ACTOR).since(None)
    return files_of(life.disk), {one.lsn: one for one in whole.tables.recorded.values()}


def flipped(files: Files, name: str, offset: int, bits: int = 1) -> Files:
    content = bytearray(files[name])
    content[offset] ^= bits
    return files | {name: bytes(content)}


def without(files: Files, *names: str) -> Files:
    return {name: content for name, content in files.items() if name not in names}


def logs(files: Files) -> list[str]:
    return [name for name in files if name.startswith("log-")]


def manifests(files: Files) -> list[str]:
    return [name for name in files if name.startswith("checkpoint-")]


def located(files: Files) -> list[tuple[str, Record]]:
    found = log.read(disk_of(files), ACTOR)
    return [(segment.name_at(part.start), one) for part in found.segments for one in part.records]


def end_of(history: History) -> int:
    """Return the last lsn of which, and of all before it, the end is known."""
    return min((past.lsn - 1 for past in history.past.values() if past.end is None), default=history.tables.last_lsn)


def recover(disk: SimDisk) -> History:
    """Recover as an actor's next start does: from the newest checkpoint whose data is what was saved."""
    remains = read_remains(disk, ACTOR)
    chosen = None
    for one in reversed(remains.checkpoints):
        data = disk.read(one.data.locator) if one.data.locator in disk.names() else b""
        if hashlib.blake2b(data, digest_size=16).digest() == one.data.digest:
            chosen = one
    history = remains.since(chosen)
    for past in history.past.values():
        for blob in past.call.blobs:
            blobs.read(disk, blob)  # or it cannot be run again
    return history


# -- folders that are in order ---------------------------------------------------------------------------------


def test_a_folder_that_is_in_order_is_clean_and_told_in_full() -> None:
    files, _ = template()
    report = check(disk_of(files), ACTOR)
    assert report.status is Status.CLEAN
    assert not report.findings
    assert not report.notes
    assert (report.class_name, report.name, report.level) == ("Account", "acct", "process")
    assert report.records == {"OPEN": 3, "CALL": 43, "VALUE": 12, "DONE": 42, "ABORT": 1, "CHECKPOINT": 3}
    assert report.calls == {"returned": 35, "raised": 7, "aborted": 1, "unfinished": 1}
    assert [one.incarnation for one in report.incarnations] == [0, 1, 2]
    assert [(one.number, one.lsn, one.data, one.problem) for one in report.checkpoints] == [
        (3, 35, "right", ""),
        (2, 28, "right", ""),
        (1, 7, "right", ""),
    ]
    assert (report.lsn, report.begun) == (44, 44)
    assert report.saved is not None
    assert (report.saved.lsn, report.saved.checkpoint_lsn, report.saved.replayed) == (43, 35, 8)
    assert [call.method for call in report.saved.again] == ["audit"]
    assert report.verdict == "Clean: the state up to lsn 43 is there."
    assert not report.advice("here")


def test_nothing_is_changed() -> None:
    files, _ = template()
    disk = disk_of(files)
    steps = disk.steps
    check(disk, ACTOR, with_listing=True)
    assert disk.steps == steps
    assert files_of(disk) == files


def test_whose_folder_it_is_is_found_in_the_files() -> None:
    files, _ = template()
    assert check(disk_of(files)).actor_id == ACTOR.hex()
    assert check(disk_of({"spec": files["spec"]})).actor_id == ACTOR.hex()


def test_segments_tell_what_is_used_of_them() -> None:
    files, _ = template()
    report = check(disk_of(files), ACTOR)
    assert [one.file for one in report.segments] == logs(files)
    assert all(one.allocated_bytes == 4096 > one.used_bytes > one.records > 0 for one in report.segments)
    assert [one.end for one in report.segments[:-1]] == [one.start for one in report.segments[1:]]


def test_every_record_is_listed_with_its_place() -> None:
    files, _ = template()
    report = check(disk_of(files), ACTOR, with_listing=True)
    assert [(one.file, one.offset, one.lsn) for one in report.listing] == [
        (name, one.start, one.lsn) for name, one in located(files)
    ]
    assert {one.what for one in report.listing if one.type == "CALL"} >= {
        "deposit()",
        "audit()",
        "pay() key='invoice 7'",
    }


@pytest.mark.parametrize("level", ["process", "host"])
def test_what_stands_beside_the_log_may_be_absent(level: str) -> None:
    files = without(files_of(lived(level).disk), "spec", "begun", "lock")
    report = check(disk_of(files), ACTOR)
    assert (report.status, report.level, report.class_name) == (Status.CLEAN, level, "")
    assert report.notes == ("Not there: spec, begun, lock. An actor that has been running has all three.",)


def test_a_folder_of_something_else_is_none() -> None:
    for files in ({}, {"notes.txt": b"hello"}, {"log-0000000000000000": b""}):
        report = check(disk_of(files))
        assert report.status is Status.UNREADABLE
        assert report.notes


def test_a_folder_that_cannot_be_read_says_why() -> None:
    class Unreadable(SimDisk):
        def names(self) -> list[str]:
            raise PermissionError(errno.EACCES, "Permission denied")

    report = check(Unreadable(), ACTOR)
    assert (report.status, report.notes) == (Status.UNREADABLE, ("The folder cannot be read: Permission denied.",))


def test_an_actor_that_has_no_log_yet_is_clean() -> None:
    files, _ = template()
    report = check(disk_of({"spec": files["spec"], "lock": b""}), ACTOR)
    assert report.status is Status.CLEAN
    assert report.verdict == "Clean: the state before the first call is there."


def test_what_a_living_process_holds_is_a_moments_view() -> None:
    files, _ = template()
    report = check(disk_of(files), ACTOR, held_by=4711)
    assert report.held_by == 4711
    assert "process 4711" in report.notes[0]


def test_a_call_that_was_begun_and_is_not_in_the_log_is_told() -> None:
    files, _ = template()
    report = check(disk_of(files | {"begun": (99).to_bytes(8, "little")}), ACTOR)
    assert any(note.startswith("Lsn 99 was begun, and the log goes to lsn 44.") for note in report.notes)
    assert check(disk_of(files | {"begun": b"short"}), ACTOR).begun is None


def test_a_checkpoint_that_ended_a_call_fits_the_log_with_and_without_its_record() -> None:
    life = Life(SimDisk())
    life.calls(2)
    call = life.begin()
    done = Done(call.call_id, Outcome.RETURNED, b"answer")
    data = CheckpointData("p1")
    life.log.add_checkpoint(data, ended=[done])
    life.log.secure()
    assert check(life.disk, ACTOR).status is Status.CLEAN
    made, _ = manifest.read_all(life.disk)
    cut = {name: bytes(content) for name, content in files_of(life.disk).items()}
    start = segment.HEAD_BYTES + made[0].position
    name = segment.name_at(0)
    cut[name] = cut[name][:start] + bytes(len(cut[name]) - start)
    report = check(disk_of(cut), ACTOR)
    assert report.status is Status.CLEAN
    assert report.saved is not None
    assert report.saved.lsn == 3


def test_a_checkpoint_fits_the_log_though_callers_are_gone() -> None:
    life = Life(SimDisk())
    life.calls(5)
    life.log.forget_process(CALLER)
    life.checkpoint(settle=False)
    life.calls(2)
    life.checkpoint(settle=False)
    report = check(life.disk)
    assert (report.status, report.findings) == (Status.CLEAN, ())


def test_what_changes_while_it_is_read_is_read_again() -> None:
    """An actor that runs makes a checkpoint, which removes what was about to be read."""

    class Moving(SimDisk):
        moves: Callable[[], None] | None = None

        def read(self, name: str) -> bytes:
            if self.moves is not None and name.startswith("log-"):
                moves, self.moves = self.moves, None
                moves()
            return super().read(name)

    disk = Moving()
    life = Life(disk)
    life.calls(30)
    life.checkpoint()
    life.checkpoint()
    life.calls(10)
    assert segment.name_at(0) in disk.names()
    disk.moves = life.checkpoint  # type: ignore[assignment]
    report = check(disk, ACTOR, held_by=1)
    assert segment.name_at(0) not in disk.names()
    assert report.status is Status.CLEAN
    assert report.saved is not None
    assert (report.saved.lsn, report.saved.checkpoint_lsn) == (40, 40)


# -- torn ends -------------------------------------------------------------------------------------------------


def test_a_log_that_is_torn_at_any_byte_is_clean_up_to_there() -> None:
    life = Life(SimDisk())
    life.calls(3)
    name = segment.name_at(0)
    content = life.disk.read(name)
    records = [one for _, one in located({name: content})]
    ends = {one.lsn: one.end for one in records if isinstance(one.body, Done)}
    for cut in range(segment.HEAD_BYTES, records[-1].end + 1):
        torn = content[:cut] + bytes(len(content) - cut)
        report = check(disk_of({name: torn}), ACTOR)
        assert report.status is Status.CLEAN, cut
        assert report.saved is not None
        assert report.saved.by_itself
        expected = sum(end <= cut or not any(content[cut:end]) for end in ends.values())
        assert report.saved.lsn == expected, cut
        whole = [one.end for one in records if one.end <= cut or not any(content[cut : one.end])]
        is_torn = any(torn[whole[-1] if whole else segment.HEAD_BYTES :])
        assert any("has a torn end" in note for note in report.notes) == is_torn, cut


# -- damage ----------------------------------------------------------------------------------------------------


def only(report: FsckReport) -> str:
    assert len(report.findings) == 1, [one.sentence for one in report.findings]
    return report.findings[0].sentence


def test_a_broken_record_that_a_newer_checkpoint_makes_up_for_costs_nothing() -> None:
    files, _ = template()
    name = logs(files)[1]
    report = check(disk_of(flipped(files, name, 700)), ACTOR)
    assert report.status is Status.RECOVERABLE
    assert "a record is broken that had been whole" in only(report)
    assert "The state does not depend on it." in only(report)
    assert report.saved is not None
    assert (report.saved.lsn, report.saved.is_all, report.saved.by_itself) == (43, True, False)
    assert "ipyactors fsck 'a b' --save-to NEW" in report.advice("'a b'")[-1]


def test_a_broken_record_behind_the_newest_checkpoint_loses_what_follows_and_says_which() -> None:
    files, _ = template()
    name, one = next((name, one) for name, one in located(files) if one.lsn == 40)
    report = check(disk_of(flipped(files, name, one.start + 30)), ACTOR)
    assert report.status is Status.LOST
    assert report.saved is not None
    assert (report.saved.lsn, report.saved.checkpoint_lsn, report.saved.replayed) == (39, 35, 4)
    found = report.findings[0]
    assert (found.file, found.offset, found.lsn) == (name, one.start, 39)
    assert [call.lsn for call in report.lost] == [41, 42, 43, 44]
    assert report.unreadable == ((40, 40),)
    assert "Lost: lsn 40, of which nothing can be read." in report.explanation()
    said = "Lost: lsn 41, deposit() from d07070707070707 number 41, which had returned."
    assert said in report.explanation()


def test_a_missing_segment_loses_what_is_in_it_and_behind_it() -> None:
    files, _ = template()
    report = check(disk_of(without(files, logs(files)[-2])), ACTOR)
    assert report.status is Status.LOST
    assert "should go on to" in only(report)
    assert report.saved is not None
    assert (report.saved.lsn, report.saved.checkpoint_lsn) == (35, 35)


def test_without_a_log_there_is_still_the_newest_checkpoint() -> None:
    files, _ = template()
    report = check(disk_of(without(files, *logs(files))), ACTOR)
    assert report.status is Status.LOST
    assert "there is no log, and there was one" in only(report)
    assert report.saved is not None
    assert (report.saved.lsn, report.saved.replayed) == (35, 0)


def test_a_log_that_ends_before_a_checkpoint_has_lost_its_end() -> None:
    files, _ = template()
    report = check(disk_of(without(files, *logs(files)[-2:])), ACTOR)
    assert report.status is Status.LOST
    assert "and checkpoint 3 was made at" in only(report)
    assert report.saved is not None
    assert report.saved.lsn == 35


@pytest.mark.parametrize("damage", ["flipped", "another's"])
def test_a_broken_manifest_costs_a_longer_replay(damage: str) -> None:
    files, _ = template()
    oldest, _, newest = manifests(files)
    files = flipped(files, newest, 30) if damage == "flipped" else files | {newest: files[oldest]}
    report = check(disk_of(files), ACTOR)
    assert report.status is Status.RECOVERABLE
    assert report.saved is not None
    assert (report.saved.lsn, report.saved.checkpoint_lsn, report.saved.replayed) == (43, 28, 15)
    assert report.saved.by_itself
    assert "by a longer replay" in only(report)
    assert report.advice("here") == ["The actor's next start comes to this state by itself. Nothing has to be done."]


@pytest.mark.parametrize("damage", ["missing", "damaged"])
def test_checkpoint_data_that_is_not_right_costs_a_longer_replay(damage: str) -> None:
    files, _ = template()
    name = [name for name in files if name.startswith("data-")][-1]
    report = check(disk_of(without(files, name) if damage == "missing" else flipped(files, name, 3)), ACTOR)
    assert report.status is Status.RECOVERABLE
    assert damage in only(report)
    assert report.checkpoints[0].data == damage
    assert report.saved is not None
    assert report.saved.checkpoint_lsn == 28


def changed(files: Files, change: Callable[[Manifest], Manifest]) -> Files:
    """Return the files with the newest manifest changed, and whole."""
    name = manifests(files)[-1]
    return files | {name: manifest.encode(change(manifest.decode(files[name])))}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda one: msgspec.structs.replace(one, position=one.position + 1), "no record begins at its position"),
        (lambda one: msgspec.structs.replace(one, lsn=34), "it is of lsn 34, and its tables are of lsn 35"),
        (
            lambda one: msgspec.structs.replace(
                one, lsn=34, tables=Snapshot(34, one.tables.settled, one.tables.recorded)
            ),
            "it is of lsn 34, and the log has come to lsn 35",
        ),
        (lambda one: msgspec.structs.replace(one, tables=Snapshot(35)), "it lacks the call with lsn"),
        (lambda one: msgspec.structs.replace(one, incarnation=9), "incarnation 2 wrote just before it"),
        (lambda one: msgspec.structs.replace(one, position=-1), "its numbers make no sense"),
    ],
)
def test_a_manifest_that_contradicts_the_log_is_not_used(change: Callable[[Manifest], Manifest], says: str) -> None:
    files, _ = template()
    report = check(disk_of(changed(files, change)), ACTOR)
    assert report.status is Status.RECOVERABLE
    assert says in only(report)
    assert report.saved is not None
    assert (report.saved.lsn, report.saved.checkpoint_lsn) == (43, 28)
    assert not report.saved.by_itself


def test_records_that_contradict_each_other_end_what_can_be_had() -> None:
    life = lived()
    disk = life.disk
    writer = LogWriter(disk, ACTOR, 7, log.read(disk, ACTOR), syncs=False)
    writer.append(Done(b"nobody", Outcome.RETURNED, b""), 44)
    writer.write()
    report = check(disk, ACTOR)
    assert report.status is Status.LOST
    assert "the end of call 6e6f626f6479 is not at its place (lsn 44)" in only(report)
    assert report.saved is not None
    assert report.saved.lsn == 43


def test_a_damaged_head_alone_loses_nothing() -> None:
    files, _ = template()
    report = check(disk_of(flipped(files, logs(files)[-1], 12)), ACTOR)
    assert report.status is Status.RECOVERABLE
    assert report.saved is not None
    assert (report.saved.lsn, report.saved.by_itself) == (43, False)
    assert "its head is damaged" in only(report)


def test_a_specification_that_is_broken_is_wrong_but_costs_nothing() -> None:
    files, _ = template()
    report = check(disk_of(flipped(files, "spec", 20)), ACTOR)
    assert report.status is Status.RECOVERABLE
    assert "its checksum does not fit" in only(report)
    assert not report.class_name


def test_a_class_that_a_checkpoint_needs_is_looked_for() -> None:
    disk = disk_of(template()[0])
    name = manifests(template()[0])[-1]
    made = manifest.decode(disk.read(name))
    other = msgspec.structs.replace(made, data=msgspec.structs.replace(made.data, definition_id=b"new"))
    disk.replace(name, manifest.encode(other))
    report = check(disk, ACTOR)
    assert report.status is Status.RECOVERABLE
    assert only(report).startswith("class-6e6577: it is not there. Without this class, checkpoint 3 can only be loaded")
    spec_file.write_class(disk, Definition(b"new", "Account", Payload(b"")))
    assert check(disk, ACTOR).status is Status.CLEAN


def test_a_class_that_only_the_log_names_is_looked_for() -> None:
    life = lived()
    life.log = life.start(b"new")
    life.calls(2)
    files = files_of(life.disk)
    report = check(disk_of(files), ACTOR)
    assert report.status is Status.RECOVERABLE
    assert only(report).startswith(
        "class-6e6577: it is not there. Without this class, what the log has behind lsn 44 can"
    )
    spec_file.write_class(life.disk, Definition(b"new", "Account", Payload(b"")))
    assert check(life.disk, ACTOR).status is Status.CLEAN
    life.disk.remove(["spec", "class-6e6577"])  # then it may be that of the specification
    assert check(life.disk, ACTOR).status is Status.CLEAN


def test_data_that_no_checkpoint_names_is_told_as_waste() -> None:
    files, _ = template()
    named = next(name for name in files if name.startswith("data-"))
    waste = f"data-63{'0' * 30}"
    report = check(disk_of(files | {waste: b"of none", "data-mine": b""}), ACTOR)
    assert (report.status, report.waste) == (Status.CLEAN, (waste,))
    assert named not in report.waste
    broken = flipped(files, manifests(files)[0], 20)  # it may be the one that names it
    assert check(disk_of(broken | {waste: b""}), ACTOR).waste == ()


# -- large values ----------------------------------------------------------------------------------------------


def lived_with_large_values() -> Life:
    life = Life(SimDisk())
    life.calls(3)
    life.end(life.begin(size=70_000))
    life.end(life.begin(), size=80_000)
    life.calls(2)
    life.disk.replace("blob-0000000000000063-1", b"nobody needs it")
    life.add_files()
    return life


def with_large_values() -> Files:
    return template("large values")[0]


def test_large_values_are_read_and_waste_is_listed() -> None:
    report = check(disk_of(with_large_values()), ACTOR)
    assert report.status is Status.CLEAN
    assert report.blobs.referenced == 2
    assert report.blobs.size > 150_000
    assert report.blobs.waste == ("blob-0000000000000063-1",)


@pytest.mark.parametrize("damage", ["missing", "flipped", "short"])
def test_a_lost_argument_ends_the_replay_before_its_call(damage: str) -> None:
    files = with_large_values()
    name = "blob-0000000000000004-1"
    damaged = {
        "missing": without(files, name),
        "flipped": flipped(files, name, 5000),
        "short": files | {name: files[name][:-1]},
    }[damage]
    report = check(disk_of(damaged), ACTOR)
    assert report.status is Status.LOST
    assert report.saved is not None
    assert (report.saved.lsn, report.saved.by_itself) == (3, False)
    assert [call.lsn for call in report.lost] == [4, 5, 6, 7]
    assert name in report.blobs.wrong
    assert "It is an argument of lsn 4, which cannot be executed again without it" in only(report)


@pytest.mark.parametrize("kind", [ValueKind.RECEIVED, ValueKind.ONCE])
def test_a_large_value_that_a_call_took_is_needed_to_do_it_again(kind: ValueKind) -> None:
    life = Life(SimDisk())
    life.calls(3)
    call = life.begin()
    payloads, made = blobs.put_aside(life.disk, (Payload(bytes(80_000)),), Namer(4))
    life.log.add_value(4, Value(0, kind, msgspec.msgpack.encode(Answer(payloads, blobs=made))))
    life.end(call)
    life.add_files()
    report = check(life.disk, ACTOR)
    assert (report.status, report.blobs.referenced, report.blobs.waste) == (Status.CLEAN, 1, ())
    report = check(disk_of(without(files_of(life.disk), made[0].name)), ACTOR)
    assert (report.status, report.saved and report.saved.lsn) == (Status.LOST, 3)
    assert "of lsn 4, which cannot be executed again without it" in only(report)


def test_a_lost_answer_is_lost_to_its_caller_alone() -> None:
    files = with_large_values()
    report = check(disk_of(without(files, "blob-0000000000000005-11")), ACTOR)
    assert report.status is Status.LOST
    assert "It is the answer of lsn 5, which a caller that asks again cannot be given" in only(report)
    assert report.saved is not None
    assert report.saved.lsn == 7


def test_what_a_checkpoint_has_made_dispensable_is_not_missed() -> None:
    life = lived_with_large_values()
    for _ in range(manifest.KEPT):
        assert "blob-0000000000000004-1" in life.disk.names(), "till then the log can stand in for a checkpoint"
        life.checkpoint()
    assert "blob-0000000000000004-1" not in life.disk.names()
    assert any(one.lsn == 4 for _, one in located(files_of(life.disk)))
    report = check(life.disk, ACTOR)
    assert report.status is Status.CLEAN
    assert not report.blobs.wrong


def lived_with_a_call_of_its_own() -> tuple[Life, str]:
    life = Life(SimDisk())
    life.calls(3)
    life.checkpoint()
    life.calls(2)
    carried = life.carried()
    life.checkpoint(carried=(carried,))
    life.calls(1)
    life.checkpoint(carried=(carried,))
    life.calls(1)
    life.add_files()
    return life, carried.blobs[0].name


def test_arguments_of_calls_that_checkpoints_have_are_no_waste() -> None:
    life, name = lived_with_a_call_of_its_own()
    report = check(life.disk, ACTOR)
    assert report.status is Status.CLEAN
    assert (report.blobs.referenced, report.blobs.waste) == (1, ())
    life.checkpoint()
    life.checkpoint()
    assert name in life.disk.names(), "an older checkpoint still has the call"
    life.checkpoint()
    assert name not in life.disk.names()
    assert check(life.disk, ACTOR).status is Status.CLEAN


@pytest.mark.parametrize("damage", ["missing", "flipped"])
def test_a_lost_argument_of_such_a_call_costs_a_longer_replay(damage: str) -> None:
    life, name = lived_with_a_call_of_its_own()
    files = files_of(life.disk)
    report = check(disk_of(without(files, name) if damage == "missing" else flipped(files, name, 5000)), ACTOR)
    assert report.status is Status.RECOVERABLE
    assert "Checkpoint 3 has a call to another actor that it is an argument of, and is not used" in only(report)
    assert [one.data for one in report.checkpoints] == ["damaged", "damaged", "right"]
    assert report.saved is not None
    assert (report.saved.checkpoint_lsn, report.saved.lsn, report.saved.by_itself) == (3, 7, True)


# -- whatever happens to a folder ------------------------------------------------------------------------------


@dataclasses.dataclass
class Vandal:
    """Damages a folder as a seed says, in up to so many steps."""

    seed: int
    steps: int

    def damage(self, files: Files) -> Files:
        chance = random.Random(self.seed)
        files = dict(files)
        places = [(name, offset) for name, one in located(files) for offset in (one.start, one.end)]
        for _ in range(self.steps):
            ways = (
                self._flip,
                self._fill,
                self._cut,
                self._remove,
                self._copy_file,
                self._swap_files,
                self._copy_bytes,
            )
            chance.choice(ways)(files, chance, places)
        return files

    def _place(self, files: Files, chance: random.Random, places: list[tuple[str, int]]) -> tuple[str, int]:
        """Return a place in a file: anywhere, or where a record begins or ends."""
        name, offset = chance.choice(places)
        if chance.random() < 0.5 or name not in files:
            name = chance.choice(sorted(files))
            offset = chance.randrange(len(files[name].rstrip(b"\0")) + 1)
        return name, offset

    def _flip(self, files: Files, chance: random.Random, places: list[tuple[str, int]]) -> None:
        name, offset = self._place(files, chance, places)
        if offset < len(files[name]):
            files.update(flipped(files, name, offset, 1 << chance.randrange(8)))

    def _fill(self, files: Files, chance: random.Random, places: list[tuple[str, int]]) -> None:
        name, offset = self._place(files, chance, places)
        length = chance.choice((1, 8, 60, 500))
        content = files[name]
        filling = bytes(length) if chance.random() < 0.5 else chance.randbytes(length)
        files[name] = (content[:offset] + filling + content[offset + length :])[: len(content)]

    def _cut(self, files: Files, chance: random.Random, places: list[tuple[str, int]]) -> None:
        name, offset = self._place(files, chance, places)
        zeros = bytes(max(0, len(files[name]) - offset)) if chance.random() < 0.5 else b""
        files[name] = files[name][:offset] + zeros

    def _remove(self, files: Files, chance: random.Random, places: list[tuple[str, int]]) -> None:
        if len(files) > 1:
            del files[chance.choice(sorted(files))]

    def _copy_file(self, files: Files, chance: random.Random, places: list[tuple[str, int]]) -> None:
        files[chance.choice(sorted(files))] = files[chance.choice(sorted(files))]

    def _swap_files(self, files: Files, chance: random.Random, places: list[tuple[str, int]]) -> None:
        one, other = chance.choice(sorted(files)), chance.choice(sorted(files))
        files[one], files[other] = files[other], files[one]

    def _copy_bytes(self, files: Files, chance: random.Random, places: list[tuple[str, int]]) -> None:
        """Copy some bytes, perhaps whole records, elsewhere: over what is there, or in between."""
        name, offset = self._place(files, chance, places)
        source, start = self._place(files, chance, places)
        length = chance.choice((1, 30, 125, 300))
        ends = [end for file, end in places if file == source and end > start]
        if ends and chance.random() < 0.7:
            length = chance.choice(ends[:6]) - start
        taken, content = files[source][start : start + length], files[name]
        after = offset + len(taken) if chance.random() < 0.5 else offset
        files[name] = (content[:offset] + taken + content[after:])[: len(content)]


def check_truth(history: History, truth: dict[int, Recorded]) -> None:
    """Assert that a history is the beginning of the true one."""
    for one in history.tables.recorded.values():
        assert truth[one.lsn] == one


@settings(max_examples=400, deadline=None)
@given(kind=st.sampled_from(["checkpoints", "large values"]), seed=st.integers(0, 2**32), steps=st.integers(0, 4))
@example(kind="checkpoints", seed=0, steps=0)
@example(kind="large values", seed=0, steps=0)
def test_whatever_happened_to_a_folder_what_is_said_of_it_is_true(kind: str, seed: int, steps: int) -> None:
    files, truth = template(kind)
    damaged = Vandal(seed, steps).damage(files)
    disk = disk_of(damaged)
    report = check(disk, ACTOR, with_listing=True)
    assert report.verdict
    assert report.explanation() or report.saved is None
    report.to_dict()
    check(disk)
    if report.status is Status.UNREADABLE:
        assert not set(damaged) & set(files) - {name for name in files if name.startswith("data-")}
        return
    if not steps:
        assert report.status is Status.CLEAN
    if report.status is Status.CLEAN:
        history = recover(disk)
        check_truth(history, truth)
        assert report.saved is not None
        assert end_of(history) == report.saved.lsn
        remains = read_remains(disk, ACTOR)
        for one in remains.checkpoints:
            assert end_of(remains.since(one)) == report.saved.lsn
    assert (report.status is Status.LOST) or (report.saved is not None and report.saved.is_all)
    if report.saved is not None:
        saved = disk_of(dict(salvage.save(disk, report)))
        history = recover(saved)
        check_truth(history, truth)
        assert end_of(history) == report.saved.lsn
        again = check(saved, ACTOR)
        assert again.saved is not None
        assert (again.saved.lsn, again.saved.by_itself) == (report.saved.lsn, True)
        if report.saved.by_itself:
            assert end_of(recover(disk)) == report.saved.lsn


NAMES = [
    *("log-0000000000000000", "log-00000000000000ff", "checkpoint-000000000001.json", "spec", "begun", "lock"),
    *("class-00", "blob-0000000000000001-1", "data-1", "something"),
]


@settings(max_examples=150, deadline=None)
@given(files=st.dictionaries(st.sampled_from(NAMES), st.binary(max_size=200)))
def test_garbage_never_raises(files: Files) -> None:
    for actor_id in (ACTOR, None):
        report = check(disk_of(files), actor_id, with_listing=True)
        assert report.verdict
        report.to_dict()
