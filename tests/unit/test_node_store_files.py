"""Moving and removing a store's files, with processes that read, write and take back at the worst moment."""

from __future__ import annotations

import fcntl
import mmap
import os
import pathlib
import time
from collections.abc import Callable, Iterator

import pytest

from ipyactors.ground import faultpoints
from ipyactors.node.store_disk import Disk, DiskFact, Moved, NotMoved, Removed
from ipyactors.node.store_files import NotMovedError, StoreFiles
from ipyactors.node.store_moves import Failure
from ipyactors.node.store_table import Shelf
from ipyactors.store import layout, segment
from ipyactors.wire.store_messages import MappedFile
from tests.support import stores
from tests.support.gates import LIMIT_S
from tests.support.stores import Folders, segment_id

A, B = segment_id(1), segment_id(2)
ONE, OTHER = bytes(300_000), b"x" * 300_000


@pytest.fixture
def folders(tmp_path: pathlib.Path) -> Iterator[Folders]:
    with stores.folders(tmp_path) as made:
        yield made


@pytest.fixture
def files(folders: Folders) -> StoreFiles:
    return StoreFiles(folders.store, folders.spill)


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[[], object]], None]:
    """Have something happen when a move comes to a point."""

    def arrange(point: str, act: Callable[[], object]) -> None:
        def hit(name: str) -> None:
            if name == point:
                monkeypatch.undo()
                act()

        monkeypatch.setattr(faultpoints, "hit", hit)

    return arrange


def content(folders: Folders, wanted: bytes = A) -> bytes | None:
    """Return what any reader finds; None if there is no such segment."""
    mapped = folders.reader().open(wanted)
    return None if mapped is None else bytes(mapped.data)


def why(act: Callable[[bytes], int], wanted: bytes = A) -> Failure:
    with pytest.raises(NotMovedError) as caught:
        act(wanted)
    return caught.value.failure


def test_to_disk_and_back(folders: Folders, files: StoreFiles) -> None:
    size = folders.arena().write(A, ONE, [OTHER])
    assert files.places(A) == (Shelf.ORIGINAL,)
    assert files.spill(A) == size
    assert files.places(A) == (Shelf.DISK,)
    mapped = folders.reader().open(A)
    assert mapped is not None
    assert mapped.is_spilled
    assert (bytes(mapped.data), bytes(mapped.buffers[0])) == (ONE, OTHER)
    del mapped
    assert files.restore(A) == size
    assert files.places(A) == (Shelf.ORIGINAL,)
    assert content(folders) == ONE
    assert folders.names() == [layout.name_of(A)]


def test_a_reader_finds_it_at_every_step(folders: Folders, files: StoreFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each opens it as a process of its own would, and nobody is refused."""
    folders.arena().write(A, ONE, [])
    seen = []
    monkeypatch.setattr(faultpoints, "hit", lambda name: seen.append((name, content(folders) == ONE)))
    files.spill(A)
    files.restore(A)
    assert [name for name, _ in seen] == [
        "store.move.before_name",
        "store.spill.after_copy",
        "store.spill.after_unlink",
        "store.move.before_name",
        "store.restore.after_copy",
        "store.restore.after_unlink",
    ]
    assert all(found for _, found in seen)


def test_a_mapping_of_what_was_moved_stays_whole(folders: Folders, files: StoreFiles) -> None:
    folders.arena().write(A, ONE, [])
    files.spill(A)
    on_disk = folders.reader().open(A)
    files.restore(A)
    assert on_disk is not None
    assert bytes(on_disk.data) == ONE


def test_what_is_mapped_is_busy(folders: Folders, files: StoreFiles) -> None:
    folders.arena().write(A, ONE, [])
    mapped = folders.reader().open(A)
    assert why(files.spill) is Failure.BUSY
    del mapped
    assert files.spill(A)
    assert content(folders) == ONE


def test_somebody_maps_it_while_it_is_copied(folders: Folders, files: StoreFiles, at: Callable[..., None]) -> None:
    folders.arena().write(A, ONE, [])
    readers = []
    at("store.move.before_name", lambda: readers.append(folders.reader().open(A)))
    assert why(files.spill) is Failure.BUSY
    assert folders.names() == [layout.name_of(A)]
    assert files.places(A) == (Shelf.ORIGINAL,)
    assert bytes(readers[0].data) == ONE


def test_its_writer_cannot_use_the_memory_again_while_it_is_copied(
    folders: Folders, files: StoreFiles, at: Callable[..., None]
) -> None:
    arena = folders.arena()
    arena.write(A, ONE, [])
    at("store.move.before_name", lambda: arena.take_back([A]))
    assert why(files.spill) is Failure.GONE
    assert folders.names() == []
    assert content(folders) is None


def test_it_is_written_again_while_it_is_copied(folders: Folders, files: StoreFiles, at: Callable[..., None]) -> None:
    arena = folders.arena()
    for point in ("store.move.before_name", "store.spill.after_copy"):
        arena.write(A, ONE, [])
        at(point, lambda: arena.write(A, OTHER, []))
        assert why(files.spill) is Failure.GONE
        assert files.places(A) == (Shelf.ORIGINAL,)
        assert content(folders) == OTHER
    assert folders.names() == [layout.name_of(A)]


def test_it_is_set_aside_while_it_is_copied(folders: Folders, files: StoreFiles, at: Callable[..., None]) -> None:
    aside: list[str] = []
    for point in ("store.move.before_name", "store.spill.after_copy", "store.spill.after_unlink"):
        folders.arena().write(A, ONE, [])
        at(point, lambda: aside.extend(files.set_aside(A)))
        if point == "store.spill.after_unlink":
            assert files.spill(A)
        else:
            assert why(files.spill) is Failure.GONE
        assert files.places(A) == ()
        for path in aside:
            assert files.remove(path, A) is None
        assert folders.names() == []
        aside.clear()


def test_it_is_freed_or_written_again_while_it_is_restored(
    folders: Folders, files: StoreFiles, at: Callable[..., None]
) -> None:
    arena = folders.arena()
    for point in ("store.move.before_name", "store.restore.after_copy"):
        arena.write(A, ONE, [], spill=True)
        at(point, lambda: [files.remove(path, A) for path in files.set_aside(A)])
        assert why(files.restore) is Failure.GONE
        assert folders.names() == []
    arena.write(A, ONE, [], spill=True)
    at("store.move.before_name", lambda: arena.write(A, OTHER, []))
    assert why(files.restore) is Failure.GONE
    assert files.places(A) == (Shelf.ORIGINAL, Shelf.DISK)
    assert content(folders) == OTHER


def test_it_is_written_to_disk_again_while_it_is_restored(
    folders: Folders, files: StoreFiles, at: Callable[..., None]
) -> None:
    arena = folders.arena()
    arena.write(A, ONE, [], spill=True)
    at("store.restore.after_copy", lambda: arena.write(A, OTHER, [], spill=True))
    assert why(files.restore) is Failure.GONE
    assert content(folders) == OTHER
    assert folders.names() == [layout.name_of(A)]


def test_what_is_not_there_is_gone(folders: Folders, files: StoreFiles) -> None:
    assert why(files.spill) is Failure.GONE
    assert why(files.restore) is Failure.GONE
    pathlib.Path(folders.path(A)).write_bytes(bytes(100_000))
    assert why(files.spill) is Failure.GONE
    assert files.set_aside(B) == []


@pytest.mark.parametrize("point", ["store.move.before_name", "store.spill.after_copy"])
def test_a_disk_that_fails_loses_nothing(folders: Folders, files: StoreFiles, point: str) -> None:
    folders.arena().write(A, ONE, [])
    faultpoints.arm(point, "enospc")
    try:
        with pytest.raises((NotMovedError, OSError)):
            files.spill(A)
    finally:
        faultpoints.disarm()
    assert content(folders) == ONE
    assert "tmp" not in folders.names()


def test_the_memory_of_what_its_writer_still_has_mapped_is_given_back(folders: Folders, files: StoreFiles) -> None:
    """A writer keeps the mapping of what it wrote over used memory; that must not keep the memory."""
    for act in (files.spill, lambda wanted: [files.remove(path, A) for path in files.set_aside(wanted)]):
        folders.arena().write(A, ONE, [])
        descriptor = os.open(folders.path(A), os.O_RDWR)
        with mmap.mmap(descriptor, 0):
            act(A)
            assert os.fstat(descriptor).st_blocks == 0
        os.close(descriptor)


def test_what_a_reader_has_mapped_is_set_aside_until_its_last_view_goes(folders: Folders, files: StoreFiles) -> None:
    size = folders.arena().write(A, ONE, [])
    mapped = folders.reader().open(A)
    assert mapped is not None
    inode = segment.inode_of(folders.path(A))
    (kept,) = [files.remove(path, A) for path in files.set_aside(A)]
    assert kept == MappedFile(A, inode, size)
    assert folders.names() == [layout.mapped_name(A, inode)]
    assert folders.reader().open(A) is None
    assert segment.is_mapped(files.path_of(kept))
    assert files.remove(files.path_of(kept), A) == kept, "not yet"
    assert bytes(mapped.data) == ONE
    view = mapped.data[:1]
    del mapped
    assert segment.is_mapped(files.path_of(kept))
    del view
    assert not segment.is_mapped(files.path_of(kept))
    assert files.remove(files.path_of(kept), A) is None
    assert folders.names() == []
    assert not segment.is_mapped(files.path_of(kept)), "it is not there"


def test_a_session_that_ends_does_not_wait_for_a_copy(folders: Folders, files: StoreFiles) -> None:
    folders.arena().write(A, ONE, [])
    files.close()
    assert why(files.spill) is Failure.FULL
    assert content(folders) == ONE


def test_the_lock_of_a_move_is_gone_with_it(folders: Folders, files: StoreFiles) -> None:
    folders.arena().write(A, ONE, [])
    reading = folders.reader().open(A)
    why(files.spill)
    del reading
    descriptor = os.open(folders.path(A), os.O_RDWR)
    assert segment.lock(descriptor, fcntl.LOCK_EX)
    os.close(descriptor)


# -- the threads -------------------------------------------------------------------------------------------------------


def facts_of(disk: Disk, count: int) -> list[DiskFact]:
    facts: list[DiskFact] = []
    deadline = time.monotonic() + LIMIT_S
    while len(facts) < count:
        assert time.monotonic() < deadline
        facts += disk.take_facts()
    return facts


def test_threads_move_and_remove(folders: Folders) -> None:
    pathlib.Path(folders.store, "of an earlier agent").touch()
    disk = Disk(folders.store, folders.spill)
    assert folders.names() == []
    size = folders.arena().write(A, ONE, [])
    disk.spill(A)
    disk.spill(B)
    assert facts_of(disk, 2) == [Moved(A, size), NotMoved(B, Failure.GONE, "gone")]
    disk.restore(A)
    assert facts_of(disk, 1) == [Moved(A, size)]
    disk.remove(A, size)
    assert disk.places(A) == (), "at once"
    assert facts_of(disk, 1) == [Removed(size)]
    disk.remove(B, 0)
    disk.remove(B, 7)
    assert facts_of(disk, 1) == [Removed(7)]
    folders.arena().write(A, ONE, [])
    view = folders.reader().open(A)
    disk.remove(A, size)
    (fact,) = facts_of(disk, 1)
    assert isinstance(fact, Removed)
    (kept,) = fact.mapped
    assert (fact.size, kept.segment_id, kept.size) == (size, A, size)
    assert disk.is_mapped(kept)
    assert disk.freed_mappers() == {kept: (os.getpid(),) if os.path.exists("/proc/locks") else ()}
    disk.remove_unfinished()
    assert facts_of(disk, 1) == [Removed(0, (kept,))], "somebody may have told nobody of it"
    del view
    assert not disk.is_mapped(kept)
    disk.remove_mapped(kept)
    assert facts_of(disk, 1) == [Removed(size)]
    in_memory, on_disk = disk.free_bytes()
    assert in_memory > 0
    assert on_disk > 0
    disk.close()
    assert folders.names() == []


def test_whatever_goes_wrong_in_a_thread_is_a_fact(folders: Folders) -> None:
    disk = Disk(folders.store, folders.spill)
    folders.arena().write(A, ONE, [])
    faultpoints.arm("store.spill.after_copy", "raise")
    try:
        disk.spill(A)
        (fact,) = facts_of(disk, 1)
    finally:
        faultpoints.disarm()
        disk.close()
    assert isinstance(fact, NotMoved)
    assert fact.failure is Failure.FULL
    assert "store.spill.after_copy" in fact.detail
    assert content(folders) == ONE
