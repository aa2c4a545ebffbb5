"""Data that was saved for a checkpoint that never came to be, and what tells the next process of it."""

from __future__ import annotations

import pathlib

from ipyactors.durable import manifest, waste
from ipyactors.durable.begun import Begun
from ipyactors.durable.call_tables import Snapshot
from ipyactors.durable.folder import Folder
from ipyactors.durable.manifest import CheckpointData, Manifest

NAMED, OTHER, HALF = (f"data-63{letter * 30}" for letter in "abc")


def folder_with_data(path: pathlib.Path) -> Folder:
    disk = Folder(path)
    for name in (NAMED, OTHER, "data-mine", f"{OTHER}.csv", "notes.tmp"):
        (path / name).write_bytes(b"data")
    (path / f"{HALF}.tmp").write_bytes(b"da")
    manifest.write(disk, Manifest(1, CheckpointData("a", locator=NAMED), 0, 0, 0, Snapshot(0)))
    return disk


def test_only_data_of_our_own_that_no_checkpoint_names_is_removed(tmp_path: pathlib.Path) -> None:
    disk = folder_with_data(tmp_path)
    before = {path.name for path in tmp_path.iterdir()}
    waste.remove(disk, *manifest.read_all(disk))
    assert before - {path.name for path in tmp_path.iterdir()} == {OTHER, f"{HALF}.tmp"}


def test_nothing_is_removed_where_a_checkpoint_cannot_be_read(tmp_path: pathlib.Path) -> None:
    disk = folder_with_data(tmp_path)
    (tmp_path / manifest.name_of(2)).write_bytes(b"broken")
    before = set(tmp_path.iterdir())
    waste.remove(disk, *manifest.read_all(disk))
    assert set(tmp_path.iterdir()) == before


def test_what_cannot_be_removed_stays(tmp_path: pathlib.Path) -> None:
    disk = folder_with_data(tmp_path)
    (tmp_path / OTHER).unlink()
    (tmp_path / OTHER).mkdir()
    waste.remove(disk, *manifest.read_all(disk))
    assert (tmp_path / OTHER).exists()


def test_which_one_was_saved_is_known_to_the_next_process(tmp_path: pathlib.Path) -> None:
    first = Begun(tmp_path / "begun")
    assert first.unmade == ""
    first.note(7)
    with first.saving():
        first.note_unmade("63" * 16)
        after = Begun(tmp_path / "begun")
        assert (after.last, after.saving_deaths, after.unmade) == (7, 1, "63" * 16)
    assert [after.try_removing(), after.try_removing()] == [1, 2]
    after = Begun(tmp_path / "begun")
    assert (after.saving_deaths, after.unmade, after.try_removing()) == (0, "63" * 16, 3)
    after.note_unmade("64" * 16)
    assert after.try_removing() == 1, "of another one nobody has died"
    after.note_unmade("")
    assert Begun(tmp_path / "begun").unmade == ""


def test_a_file_that_was_shorter_is_made_longer(tmp_path: pathlib.Path) -> None:
    (tmp_path / "begun").write_bytes((7).to_bytes(8, "little"))
    begun = Begun(tmp_path / "begun")
    assert (begun.last, begun.saving_deaths, begun.unmade) == (7, 0, "")
