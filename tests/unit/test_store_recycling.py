"""Memory that was freed is used again by who wrote it, and never while anybody maps it."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from ipyactors.ground import faultpoints
from ipyactors.store import layout, segment, sweep
from ipyactors.store.reader import Mapped, Reader
from ipyactors.wire.store_messages import MappedFile
from tests.support import stores
from tests.support.forks import Forked
from tests.support.stores import Folders, numbers_in, pattern, segment_id


@pytest.fixture
def folders(tmp_path: pathlib.Path) -> Iterator[Folders]:
    with stores.folders(tmp_path) as made:
        yield made


A, B, C = segment_id(1001), segment_id(1002), segment_id(1003)


def inode(folders: Folders, wanted: bytes) -> int:
    return os.stat(folders.path(wanted)).st_ino


def read(reader: Reader, wanted: bytes) -> Mapped:
    mapped = reader.open(wanted)
    assert mapped is not None
    return mapped


def overtake(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Have ``act`` happen right after the next file is opened."""
    really_open = os.open

    def opened(path: str, *args: int) -> int:
        descriptor = really_open(path, *args)
        monkeypatch.undo()
        act()
        return descriptor

    monkeypatch.setattr(os, "open", opened)


# -- what is used again --------------------------------------------------------------------------------------------


def test_freed_memory_is_the_next_values_memory(folders: Folders) -> None:
    arena, reader = folders.arena(), folders.reader()
    size = arena.write(A, b"first", [pattern(1)])
    files = {inode(folders, A)}
    for number in range(2, 6):
        assert arena.take_back([A]) == (A,)
        assert arena.pool_bytes == size
        assert folders.names() == ["tmp"]
        assert reader.open(A) is None
        assert arena.write(A, b"next", [pattern(number)]) == size
        assert arena.pool_bytes == 0
        assert numbers_in(read(reader, A)) == {number}
        files.add(inode(folders, A))
    assert len(files) == 1
    assert folders.names() == [layout.name_of(A)]


def test_a_value_takes_memory_of_its_own_size_class_only(folders: Folders) -> None:
    arena = folders.arena()
    arena.write(A, b"", [bytes(300_000)])
    arena.write(B, b"", [bytes(900_000)])
    small, large = inode(folders, A), inode(folders, B)
    assert arena.take_back([A, B]) == (A, B)
    arena.write(C, b"", [bytes(500_000)])
    assert inode(folders, C) not in (small, large)
    arena.write(A, b"", [bytes(890_000)])
    assert inode(folders, A) == large
    arena.write(B, b"", [bytes(290_000)])
    assert inode(folders, B) == small
    assert arena.pool_bytes == 0


def test_a_file_grows_for_a_longer_value_and_keeps_its_length_for_a_shorter_one(folders: Folders) -> None:
    arena, reader = folders.arena(), folders.reader()
    lengths = [270_000, 320_000, 280_000, 300_000, 326_000]
    files, sizes = set(), []
    for number, length in enumerate(lengths):
        sizes.append(arena.write(A, b"", [np.full(length // 8, number, dtype=np.uint64)]))
        files.add(inode(folders, A))
        assert numbers_in(read(reader, A)) == {number}
        assert os.stat(folders.path(A)).st_size == sizes[-1]
        assert arena.take_back([A]) == (A,)
    assert len({layout.size_class(length) for length in lengths}) == len(files) == 1
    assert sizes == sorted(sizes)
    assert sizes[1] == sizes[2] == sizes[3] < sizes[4]


def test_what_is_kept_is_bounded_and_the_oldest_goes_first(folders: Folders) -> None:
    arena = folders.arena(keep_bytes=350_000)
    for number in range(5):
        arena.write(segment_id(number), b"", [pattern(number)])
    files = [inode(folders, segment_id(number)) for number in range(5)]
    assert arena.take_back([segment_id(number) for number in range(5)]) == (segment_id(2), segment_id(3), segment_id(4))
    assert folders.names() == ["tmp"] * 3
    assert 300_000 < arena.pool_bytes <= 350_000
    for number in (4, 3, 2):
        arena.write(A, b"", [pattern(9)])
        assert inode(folders, A) == files[number]


def test_what_is_too_large_to_keep_is_unlinked_and_displaces_nothing(folders: Folders) -> None:
    arena = folders.arena(keep_bytes=350_000)
    arena.write(A, b"", [pattern(1)])
    arena.write(B, b"", [bytes(500_000)])
    assert arena.take_back([A, B]) == (A,)
    assert folders.names() == ["tmp"]


def test_trimming_gives_everything_back_and_the_arena_goes_on(folders: Folders) -> None:
    arena = folders.arena()
    for wanted in (A, B):
        arena.write(wanted, b"", [pattern(1)])
    arena.take_back([A])
    arena.write(C, b"", [pattern(2)])  # with a mapping that is kept
    arena.take_back([B])
    arena.trim()
    assert arena.pool_bytes == 0
    assert folders.names() == [layout.name_of(C)]
    assert numbers_in(read(folders.reader(), C)) == {2}
    assert arena.take_back([C]) == (C,)


def test_a_closed_arena_keeps_nothing(folders: Folders) -> None:
    arena = folders.arena()
    arena.write(A, b"", [pattern(1)])
    arena.write(B, b"", [pattern(2)])
    arena.take_back([A])
    arena.close()
    assert folders.names() == [layout.name_of(B)]
    assert arena.take_back([B]) == ()
    assert folders.names() == []


def test_memory_whose_name_others_have_removed_is_let_go(folders: Folders) -> None:
    arena = folders.arena()
    arena.write(A, b"", [pattern(1)])
    for number in range(5):  # A and C are used in turn, so that C is mapped by its writer
        arena.take_back([A if number % 2 == 0 else C])
        arena.write(C if number % 2 == 0 else A, b"", [pattern(number)])
    assert len(arena._mappings) == 1
    os.unlink(folders.path(C))
    assert arena.take_back([C]) == ()
    assert len(arena._mappings) == 0
    arena.write(A, b"", [pattern(1)])
    arena.take_back([A])
    arena.write(A, b"", [pattern(1)])
    os.unlink(folders.path(A))  # and nobody says so
    for number in range(3):
        arena.write(B, b"", [pattern(number)])
        arena.take_back([B])
    arena.write(B, b"", [pattern(1)])
    assert set(arena._mappings) == {B}


# -- what is not ---------------------------------------------------------------------------------------------------


def test_memory_that_this_process_maps_is_never_used_again(folders: Folders) -> None:
    arena, reader = folders.arena(), folders.reader()
    views = []
    for number in range(20):
        arena.write(A, b"", [pattern(number)])
        if number % 3 == 0:
            views.append((number, read(reader, A).buffers[0]))
            assert arena.take_back([A]) == ()
            assert not os.path.exists(folders.path(A))
        else:
            assert arena.take_back([A]) == (A,)
        reader = folders.reader()
    for number, view in views:
        assert set(np.frombuffer(view, dtype=np.uint64)) == {number}


def test_what_is_mapped_is_set_aside_for_the_agent_to_count(folders: Folders) -> None:
    arena, reader = folders.arena(), folders.reader()
    views, mapped = [], []
    for number in range(2):
        size = arena.write(A, b"", [pattern(number)])
        views.append(read(reader, A).buffers[0])
        mapped.append(MappedFile(A, segment.inode_of(folders.path(A)), size))
        found: list[MappedFile] = []
        assert arena.take_back([A, B], only_own=True, mapped=found) == ()
        assert found == [mapped[-1]]
        reader = folders.reader()
    assert folders.names() == sorted(layout.mapped_name(A, file.inode) for file in mapped)
    assert sweep.mappers(folders.store) == {}
    if os.path.exists("/proc/locks"):
        assert sweep.freed_mappers(folders.store) == dict.fromkeys(mapped, (os.getpid(),))
    assert sweep.published(folders.store, folders.spill) == []
    assert [set(np.frombuffer(view, dtype=np.uint64)) for view in views] == [{0}, {1}]
    assert sweep.recover(folders.store, folders.spill) == []
    assert folders.names() == [], "an agent that starts anew counts none of it"
    assert set(np.frombuffer(views[0], dtype=np.uint64)) == {0}


def test_what_is_written_again_is_not_set_aside_in_the_place_of_what_is_mapped(folders: Folders) -> None:
    folders.arena().write(A, b"", [pattern(1)])
    with open(folders.path(A), "rb") as file:
        folders.arena().write(A, b"", [pattern(2)])
        assert segment.set_aside(file.fileno(), folders.path(A), A) is None
        assert numbers_in(read(folders.reader(), A)) == {2}
        os.unlink(folders.path(A))
        assert segment.set_aside(file.fileno(), folders.path(A), A) is None
    assert folders.names() == []


def test_memory_that_another_process_maps_is_never_used_again(folders: Folders) -> None:
    arena = folders.arena()
    arena.write(A, b"", [pattern(1)])
    mapped_r, mapped_w = os.pipe()
    freed_r, freed_w = os.pipe()

    def hold() -> set[int]:
        os.close(freed_w)
        mapped = read(folders.reader(), A)
        os.write(mapped_w, b"x")
        os.read(freed_r, 1)
        return numbers_in(mapped)

    child = Forked(hold)
    os.read(mapped_r, 1)
    assert arena.take_back([A]) == ()
    for number in range(5):
        arena.write(B, b"", [pattern(100 + number)])
        arena.take_back([B])
    os.write(freed_w, b"x")
    assert child.result() == {1}
    for descriptor in (mapped_r, mapped_w, freed_r, freed_w):
        os.close(descriptor)


@pytest.mark.parametrize("is_written", [False, True])
def test_a_reader_that_opened_the_file_before_it_was_used_again_finds_nothing(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, is_written: bool
) -> None:
    arena, reader = folders.arena(), folders.reader()
    arena.write(A, b"", [pattern(1)])

    def use_again() -> None:
        assert arena.take_back([A]) == (A,)
        if is_written:
            arena.write(B, b"", [pattern(2)])

    overtake(monkeypatch, use_again)
    assert reader.open(A) is None
    assert not is_written or numbers_in(read(reader, B)) == {2}


def test_a_reader_that_is_late_finds_nothing_in_memory_whose_next_value_failed(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    arena, reader = folders.arena(), folders.reader()
    arena.write(A, b"", [pattern(1)])

    def fail() -> None:
        arena.take_back([A])
        faultpoints.arm("store.write.before_header", "raise")
        with pytest.raises(faultpoints.InjectedError):
            arena.write(B, b"", [pattern(2)])
        faultpoints.disarm()

    overtake(monkeypatch, fail)
    assert reader.open(A) is None
    assert folders.names() == []


def test_a_file_that_is_replaced_while_it_is_taken_back_is_removed(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    arena = folders.arena()
    arena.write(A, b"", [pattern(1)])
    overtake(monkeypatch, lambda: Forked(lambda: folders.arena().write(A, b"", [pattern(2)])).result())
    assert arena.take_back([A]) == ()
    assert (folders.names(), arena.pool_bytes) == ([], 0)


def test_a_file_that_is_removed_while_it_is_taken_back_is_let_go(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    arena = folders.arena()
    arena.write(A, b"", [pattern(1)])
    overtake(monkeypatch, lambda: os.unlink(folders.path(A)))
    assert arena.take_back([A]) == ()
    assert (folders.names(), arena.pool_bytes) == ([], 0)


def test_two_arenas_of_a_process_may_write_the_same_segment(folders: Folders) -> None:
    one, other = folders.arena(), folders.arena()
    one.write(A, b"", [pattern(1)])
    one.take_back([A])
    one.write(A, b"", [pattern(2)])  # with a mapping that is kept
    other.write(A, b"", [pattern(3)])
    assert one.take_back([A]) == (A,)
    one.write(B, b"", [pattern(4)])
    assert numbers_in(read(folders.reader(), B)) == {4}


def test_what_other_processes_wrote_is_unlinked_or_left_to_them(folders: Folders) -> None:
    arena = folders.arena()
    Forked(lambda: [folders.arena().write(wanted, b"", [pattern(1)]) for wanted in (A, B)]).result()
    assert arena.take_back([A, C], only_own=True) == ()
    assert len(folders.names()) == 2
    assert numbers_in(read(folders.reader(), A)) == {1}
    assert arena.take_back([A, B, C]) == ()
    assert folders.names() == []
    assert arena.pool_bytes == 0


def test_what_went_to_disk_is_not_touched(folders: Folders) -> None:
    arena = folders.arena()
    arena.write(A, b"on disk", [], spill=True)
    assert arena.take_back([A]) == ()
    assert bytes(read(folders.reader(), A).data) == b"on disk"


# -- forks ---------------------------------------------------------------------------------------------------------


def test_a_forked_child_never_writes_into_its_parents_pool(folders: Folders) -> None:
    arena = folders.arena()
    for wanted in (A, B):
        arena.write(wanted, b"", [pattern(1)])
    arena.take_back([A])
    arena.write(A, b"", [pattern(2)])  # with a mapping that is kept
    arena.take_back([B])
    kept = [name for name in os.listdir(folders.store) if layout.is_temporary(name)]

    def use() -> tuple[int, tuple[bytes, ...], tuple[bytes, ...]]:
        before = arena.pool_bytes
        arena.write(C, b"", [pattern(3)])
        own = arena.take_back([C])
        parents = arena.take_back([A], only_own=True)
        arena.write(C, b"", [pattern(4)])
        return before, own, parents

    assert Forked(use).result() == (0, (C,), ())
    assert [name for name in os.listdir(folders.store) if layout.is_temporary(name)] == kept
    reader = folders.reader()
    assert numbers_in(read(reader, A)) == {2}
    assert numbers_in(read(reader, C)) == {4}
    del reader
    assert arena.pool_bytes > 0
    arena.write(B, b"", [pattern(5)])
    assert not [name for name in os.listdir(folders.store) if layout.is_temporary(name)]
    assert arena.take_back([B, A, C]) == (B, A)


def test_a_child_that_lives_on_does_not_lock_readers_out(folders: Folders) -> None:
    arena = folders.arena()
    arena.write(A, b"", [pattern(1)])
    arena.take_back([A])
    held_r, held_w = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(held_r, 1)
        os._exit(0)
    arena.write(A, b"", [pattern(2)])
    assert numbers_in(read(folders.reader(), A)) == {2}
    os.write(held_w, b"x")
    os.waitpid(child, 0)
    for descriptor in (held_r, held_w):
        os.close(descriptor)


def test_a_view_in_a_forked_child_protects_the_memory_when_the_parent_has_let_go(folders: Folders) -> None:
    arena = folders.arena()
    arena.write(A, b"", [pattern(1)])
    mapped: Mapped | None = read(folders.reader(), A)
    go_r, go_w = os.pipe()

    def look() -> set[int]:
        os.read(go_r, 1)
        assert mapped is not None
        return numbers_in(mapped)

    child = Forked(look)
    mapped = None
    assert arena.take_back([A]) == ()
    arena.write(B, b"", [pattern(2)])
    os.write(go_w, b"x")
    assert child.result() == {1}
    for descriptor in (go_r, go_w):
        os.close(descriptor)
