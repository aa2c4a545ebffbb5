"""What is left when the power goes at level ``process``, where nothing of the log is synced."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ipyactors.durable import blobs, manifest, segment
from ipyactors.durable.actor_log import read_remains
from ipyactors.durable.blobs import BlobDamagedError
from ipyactors.durable.fsck import check
from ipyactors.durable.fsck_report import Status
from ipyactors.durable.record import Blob
from ipyactors.exceptions import LogDamagedError
from ipyactors.testing.history import check_history
from tests.support import simulations
from tests.support.actor_folder import ACTOR, Life
from tests.support.durable_world import SimCaller, World
from tests.support.sim_disk import SimDisk

WORLDS = 2000


@pytest.fixture(autouse=True, scope="module")
def _small_segments() -> Iterator[None]:
    with simulations.small_segments():
        yield


class DarkWorld(World):
    """Its actor is of level ``process``. With the power go all callers; others come afterwards."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.actor.level = "process"
        self.faults = min(self.faults, 3)
        self.losses = 0
        self.lsns: dict[str, int] = {}

    def step(self) -> None:
        super().step()
        self.note_lsns()

    def note_lsns(self) -> None:
        """Look which call has which place in the order: it never gets another, and no other gets that."""
        process = self.actor.process
        for call_id, one in process.log.tables.recorded.items() if process is not None else ():
            assert self.lsns.setdefault(call_id.hex(), one.lsn) == one.lsn
        assert len(set(self.lsns.values())) == len(self.lsns)

    def lose_power(self) -> None:
        actor = self.actor
        self.note_lsns()
        done = list(self.done)
        made, _ = manifest.read_all(actor.disk)
        kept = actor.data[made[0].data.checkpoint_id] if made else []
        actor.process = None
        actor.cut_power()
        report = check(actor.disk, actor.actor_id, boot_id=actor.boot_id, load=lambda _: b"")
        for one in report.findings:
            assert "No crash" not in one.meaning, one
        while (process := self.process()) is None:
            pass
        there = process.state.entries
        assert there[: len(kept)] == kept
        uids = [uid for uid, _ in there]
        assert uids == done[: len(uids)] or uids[:-1] == done[: len(uids) - 1]  # the one that was begun, and no other
        self.history = [one for one in self.history if one.uid in uids]
        for one in self.history:
            if one.outcome == "failed":  # that it was given up may have gone with the power, too
                one.outcome = "unknown"
        self.losses += 1
        self.callers = [SimCaller(b"other%d-%d" % (self.losses, number)) for number in range(len(self.callers))]

    @property
    def done(self) -> list[str]:
        """What the actor has done, as far as anybody can know; of a process that died, as the next one says."""
        process = self.process()
        while process is None:
            process = self.process()
        return [uid for uid, _ in process.state.entries]


def live(seed: int) -> DarkWorld:
    world = DarkWorld(seed)
    for _ in range(world.random.randrange(1, 4)):
        for _ in range(world.random.randrange(5, 40)):
            world.step()
        world.actor.disk.fails.clear()
        world.lose_power()
    for _ in range(world.random.randrange(5, 20)):
        world.step()
    final = world.heal()
    world.note_lsns()
    report = check_history(world.history, final)
    assert report.is_valid, report
    return world


def test_a_loss_of_power_takes_no_more_than_it_may() -> None:
    incarnations = calls = 0
    for world in simulations.lived(live, file=__file__, worlds=WORLDS):
        incarnations += world.actor.incarnation + 1
        calls += len(world.history)
    print(f"{calls} calls, {incarnations} incarnations")


# -- what is said ----------------------------------------------------------------------------------------------


def cut_behind(position: int, level: str = "process") -> Life:
    """Return an actor that has a checkpoint after 20 calls and 5 more, and of whose log only the beginning is left."""
    life = Life(SimDisk(), level)
    life.calls(20)
    life.checkpoint(settle=False)
    life.calls(5)
    life.add_files()
    for name in life.disk.names():
        if (start := segment.start_of(name)) is not None:
            for content in (life.disk.files[name].cached, life.disk.files[name].stored):
                at = max(segment.HEAD_BYTES, segment.HEAD_BYTES + position - start)
                content[at:] = bytes(len(content) - at)
    return life


def test_a_checkpoint_that_is_further_than_the_log_is_gone_on_from() -> None:
    life = cut_behind(500)
    with pytest.raises(LogDamagedError):  # of this boot: then it was there, and something else has taken it
        read_remains(life.disk, ACTOR, "boot")
    report = check(life.disk, ACTOR, boot_id="another boot")
    assert (report.status, report.saved and report.saved.lsn, report.saved and report.saved.by_itself) == (
        Status.LOST,
        20,
        True,
    )
    assert "The actor's next start goes on behind lsn 20; nothing up to there is lost." in " ".join(report.notes)
    assert "No crash leaves this behind" not in " ".join(one.meaning for one in report.findings)
    life.boot = "another boot"
    life.start()
    life.calls(3)
    remains = read_remains(life.disk, ACTOR, life.boot)
    lsns = [one.lsn for one in remains.contents.records]
    assert min(lsns[1:]) > 25
    assert list(remains.since(remains.checkpoints[0]).past) == [*range(lsns[0] + 1, lsns[0] + 4)]
    report = check(life.disk, ACTOR, boot_id=life.boot)
    assert (report.status, report.findings) == (Status.CLEAN, ())
    assert "A loss of power has taken calls once" in " ".join(report.notes)


def test_what_was_synced_is_taken_by_no_loss_of_power() -> None:
    life = cut_behind(500, "host")
    assert "The actor's next start" not in " ".join(check(life.disk, ACTOR, boot_id="another boot").notes)
    with pytest.raises(LogDamagedError):
        read_remains(life.disk, ACTOR, "another boot")


def test_checkpoints_that_went_with_the_power_are_no_use() -> None:
    life = cut_behind(500)
    remains = read_remains(life.disk, ACTOR, "another boot", is_lasting=False)
    assert remains.checkpoints == ()
    past = remains.since(None).past
    assert 0 < len(past) < 20
    life.disk.remove([segment.name_at(0)])  # then there is no beginning, and that is not what a loss of power takes
    with pytest.raises(LogDamagedError):
        read_remains(life.disk, ACTOR, "another boot", is_lasting=False)


def test_where_a_checkpoint_is_damaged_too_it_is_all_taken_for_damage() -> None:
    life = cut_behind(500)
    life.disk.damage(manifest.name_of(1), 20)
    with pytest.raises(LogDamagedError):
        read_remains(life.disk, ACTOR, "another boot")


@pytest.mark.parametrize("level", ["process", "host"])
def test_a_log_that_ends_before_its_newest_checkpoint_is_refused_where_no_power_was_lost(level: str) -> None:
    """Without it an older state would come back, and what is written behind that would not fit the checkpoint."""
    life = Life(SimDisk(), level)
    life.calls(3)
    end = life.log.position
    life.checkpoint(settle=False)
    for content in (life.disk.files[segment.name_at(0)].cached, life.disk.files[segment.name_at(0)].stored):
        at = segment.HEAD_BYTES + end - 30
        content[at:] = bytes(len(content) - at)
    with pytest.raises(LogDamagedError, match="the log ends before the checkpoint"):
        read_remains(life.disk, ACTOR, "boot")


# -- large values ----------------------------------------------------------------------------------------------


def lived_with_large_values(seed: int, level: str = "process") -> Life:
    life = Life(SimDisk(seed), level)
    for number in range(6):
        life.calls(1)
        life.end(life.begin(size=70_000 + number), size=70_000)
        if number == 1:
            life.checkpoint(settle=False)
    life.begin(size=80_000)
    return life


def problem_of(disk: SimDisk, blob: Blob) -> str:
    try:
        blobs.read(disk, blob)
    except BlobDamagedError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("level", ["process", "host"])
def test_a_large_value_that_the_power_has_taken_is_no_damage(level: str) -> None:
    ends = set()
    for seed in range(60):
        life = lived_with_large_values(seed, level)
        before = life.log.tables.last_lsn
        life.log.secure()
        names = sorted(life.disk.names())
        for name in [*names[: seed % 12], *(name for name in names if name.startswith("log-") and seed >= 12)]:
            life.disk.sync(name)  # some of what was written long ago is there
        life.disk.cut_power()
        remains = read_remains(life.disk, ACTOR, "another boot")
        newest = remains.checkpoints[0]
        history = remains.since(newest)
        for past in history.past.values():
            assert not any(problem_of(life.disk, blob) for blob in past.call.blobs), "it can be done again"
        for recorded in newest.tables.recorded:
            assert not any(problem_of(life.disk, blob) for blob in blobs.blobs_of(recorded.answer)), "it is synced"
        ends.add(history.tables.last_lsn)
        report = check(life.disk, ACTOR, boot_id="another boot")
        if history.tables.last_lsn < before:
            assert any("The actor's next start goes on behind lsn" in note for note in report.notes)
            assert report.saved is not None
            is_whole = all(one.file.startswith("blob-") for one in report.findings)  # else there may be more behind it
            assert (report.saved.lsn, report.saved.by_itself) == (history.tables.last_lsn, True) or not is_whole
        life.boot = "another boot"
        life.start()
        life.calls(2)
        lsns = [one.lsn for one in read_remains(life.disk, ACTOR, life.boot).contents.records]
        assert lsns == sorted(lsns)
        assert lsns[-1] > before, "no lsn is given again"
    assert ends == {before} if level == "host" else len(ends) > 3, ends


def test_a_large_value_that_is_gone_is_damage_where_no_power_was_lost() -> None:
    life = lived_with_large_values(0)
    name = sorted(name for name in life.disk.names() if name.startswith("blob-"))[-1]
    life.disk.remove([name])
    last = life.log.tables.last_lsn
    assert read_remains(life.disk, ACTOR, "boot").since(None).tables.last_lsn == last, "the replay says so"
    assert read_remains(life.disk, ACTOR, "another boot").since(None).tables.last_lsn == last - 1


def test_a_checkpoint_is_made_without_an_answer_that_is_gone() -> None:
    life = Life(SimDisk())
    life.end(life.begin(), size=70_000)
    life.disk.remove([name for name in life.disk.names() if name.startswith("blob-")])
    life.checkpoint(settle=False)
    assert len(read_remains(life.disk, ACTOR, "boot").checkpoints) == 1
