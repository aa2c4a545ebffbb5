"""What is written is what is read: any shape of value, in memory and on disk, for as long as a view of it lives."""

from __future__ import annotations

import ctypes
import fcntl
import gc
import os
import pathlib
import pickle
import resource
import shutil
import stat
import sys
import threading
import weakref
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ipyactors.store import layout, segment, sweep
from ipyactors.store import reader as reader_module
from ipyactors.store.usage import Usage
from tests.support import stores
from tests.support.forks import Forked
from tests.support.stores import MIB, Folders, numbers_in, pattern, segment_id


@pytest.fixture
def folders(tmp_path: pathlib.Path) -> Iterator[Folders]:
    with stores.folders(tmp_path) as made:
        yield made


A, B = segment_id(1001), segment_id(1002)


def is_locked(path: str) -> bool:
    """Whether somebody maps the file: it cannot be locked exclusively."""
    with open(path, "rb") as file:
        return not segment.lock(file.fileno(), fcntl.LOCK_EX)


pieces = st.binary(max_size=200) | st.integers(65_000, 140_000).map(lambda size: bytes([size % 256]) * size)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=pieces, buffers=st.lists(pieces, max_size=6), spill=st.booleans(), again=st.booleans())
def test_bytes_come_back(folders: Folders, data: bytes, buffers: list[bytes], spill: bool, again: bool) -> None:
    arena, reader = folders.arena(), folders.reader()
    if again:  # into memory that held something else
        arena.write(B, b"\xff" * 50_000, [b"\xff" * len(buffer) for buffer in buffers])
        arena.take_back([B])
    size = arena.write(A, data, buffers, spill=spill)
    assert size >= layout.size_of(data, [memoryview(buffer) for buffer in buffers])
    assert size == os.stat(folders.path(A, is_spilled=spill)).st_size
    mapped = reader.open(A)
    assert mapped is not None
    assert mapped.is_spilled is spill
    assert (bytes(mapped.data), [bytes(buffer) for buffer in mapped.buffers]) == (data, buffers)
    del mapped
    arena.take_back([A])
    segment.unlink(folders.path(A, is_spilled=True))
    arena.close()
    assert folders.names() == []


def test_arrays_are_views_read_only_and_aligned(folders: Folders) -> None:
    value = {
        "c": np.arange(30_000, dtype=np.float64).reshape(300, 100),
        "fortran": np.asfortranarray(np.arange(60_000, dtype=np.int32).reshape(200, 300)),
        "empty": np.empty((0, 5)),
        "bytes": bytes(100_000),
        "text": "x" * 100_000,
    }
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(value, 5, buffer_callback=buffers.append)
    arena = folders.arena()
    arena.write(A, data, buffers)
    mapped = folders.reader().open(A)
    assert mapped is not None
    loaded = pickle.loads(mapped.data, buffers=mapped.buffers)
    for name, expected in value.items():
        np.testing.assert_array_equal(loaded[name], expected)
    for name in ("c", "fortran"):
        assert not loaded[name].flags.writeable
        assert not loaded[name].flags.owndata
        assert loaded[name].ctypes.data % layout.ALIGNMENT == 0
    with pytest.raises(ValueError, match="read-only"):
        loaded["c"][0, 0] = 1
    assert all(buffer.readonly for buffer in mapped.buffers)
    assert mapped.data.readonly


def _writable(view: memoryview) -> ctypes.Array[ctypes.c_char]:
    """Return the memory of a view in the hands of code that cares for no flag."""
    return (ctypes.c_char * view.nbytes).from_address(np.frombuffer(view, "u1").ctypes.data)


@pytest.mark.parametrize("spill", [False, True])
def test_what_is_written_against_the_flag_is_seen_here_only(folders: Folders, spill: bool) -> None:
    folders.arena().write(A, b"", [b"x" * 100_000], spill=spill)

    def write() -> tuple[bytes, bytes, bool]:
        reader = folders.reader()
        mapped, other = reader.open(A), folders.reader().open(A)
        assert mapped is not None
        assert other is not None
        _writable(mapped.buffers[0])[0] = b"!"
        again = reader.open(A)  # the same mapping
        assert again is not None
        return bytes(again.buffers[0][:2]), bytes(other.buffers[0][:2]), mapped.buffers[0].readonly

    assert Forked(write).result() == (b"!x", b"xx", True)
    path = pathlib.Path(folders.path(A, is_spilled=spill))
    assert b"!" not in path.read_bytes()[-100_000:]


def test_a_private_mapping_holds_its_lock_and_shares_its_pages(folders: Folders) -> None:
    folders.arena().write(A, b"", [b"x" * 1_000_000])
    mapped = folders.reader().open(A)
    assert mapped is not None
    assert sum(mapped.buffers[0]) == 1_000_000 * ord("x")
    view = mapped.buffers[0][10:20]
    del mapped
    gc.collect()
    assert is_locked(folders.path(A))
    about = pathlib.Path("/proc/self/smaps")
    if about.exists():
        _, _, rest = about.read_text().partition(folders.path(A))
        (private,) = [line.split()[1] for line in rest.splitlines()[1:25] if line.startswith("Anonymous:")][:1]
        assert private == "0"
    del view
    assert not is_locked(folders.path(A))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts private mappings for this limit")
def test_where_what_could_be_written_is_counted_strictly_it_is_mapped_all_the_same(folders: Folders) -> None:
    folders.arena().write(A, b"", [b"x" * (64 * MIB)])

    def read() -> tuple[bool, bool, int, bool]:
        resource.setrlimit(resource.RLIMIT_DATA, (32 * MIB, 32 * MIB))
        mapped = folders.reader().open(A)
        assert mapped is not None
        (buffer,) = mapped.buffers
        return buffer.readonly, buffer.obj.is_write_fatal, buffer.nbytes, is_locked(folders.path(A))

    assert Forked(read).result() == (True, True, 64 * MIB, True)


def test_views_of_any_format_are_written_as_their_bytes(folders: Folders) -> None:
    array = np.arange(1000, dtype=np.int16)
    given_buffers = [memoryview(array), memoryview(array.reshape(10, 100)), bytearray(b"abc"), np.empty((3, 0)).data]
    folders.arena().write(A, b"", given_buffers)
    mapped = folders.reader().open(A)
    assert mapped is not None
    assert [bytes(view) for view in mapped.buffers] == [array.tobytes(), array.tobytes(), b"abc", b""]


def test_a_value_may_have_more_buffers_than_fit_beside_the_header(folders: Folders) -> None:
    buffers = [b"%d" % number for number in range(5000)]
    folders.arena().write(A, b"many", buffers)
    mapped = folders.reader().open(A)
    assert mapped is not None
    assert [bytes(view) for view in mapped.buffers] == buffers
    assert [found.segment_id for found in sweep.recover(folders.store, folders.spill)] == [A]


@pytest.mark.parametrize("size", [999, 1000, 1001, 25_000])
def test_long_values_are_written_and_copied_in_pieces(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(segment, "_COPY_BYTES", 1000)
    monkeypatch.setattr(segment, "_WRITE_BYTES", 1000)
    monkeypatch.setattr(reader_module, "_COPY_BYTES", 1000)
    arena = folders.arena()
    value = np.random.default_rng(size).bytes(size)
    for number in range(3):  # the first is fresh
        arena.write(segment_id(number), value, [value, value[::-1]])
        mapped = folders.reader().open(segment_id(number))
        assert mapped is not None
        assert [bytes(view) for view in (mapped.data, *mapped.buffers)] == [value, value, value[::-1]]
        del mapped
        reader = folders.reader()
        held = reader.open(segment_id(number))
        arena.write(B, value, [])
        with monkeypatch.context() as patched:
            patched.setattr(resource, "getrlimit", lambda _: (2, 2))  # of which one is mapped
            mapped = reader.open(B)
        assert mapped is not None
        assert not is_locked(folders.path(B))
        assert bytes(mapped.data) == value
        del held, mapped
        assert arena.take_back([segment_id(number)]) == (segment_id(number),)


def test_a_value_that_is_not_there_is_none(folders: Folders) -> None:
    assert folders.reader().open(A) is None


@pytest.mark.parametrize("content", [b"", b"noise", layout.MAGIC, bytes(10_000)])
def test_a_file_without_a_whole_segment_is_not_there(folders: Folders, content: bytes) -> None:
    for is_spilled in (False, True):
        pathlib.Path(folders.path(A, is_spilled=is_spilled)).write_bytes(content)
    assert folders.reader().open(A) is None


def test_a_file_that_holds_another_segment_is_not_there(folders: Folders) -> None:
    folders.arena().write(B, b"b", [])
    os.rename(folders.path(B), folders.path(A))
    assert folders.reader().open(A) is None


def test_files_are_for_this_user_alone(folders: Folders) -> None:
    arena = folders.arena()
    arena.write(A, b"a", [])
    arena.write(B, b"b", [], spill=True)
    assert stat.S_IMODE(os.stat(folders.path(A)).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(folders.path(B, is_spilled=True)).st_mode) == 0o600


# -- memory and disk -----------------------------------------------------------------------------------------------


def test_a_segment_is_looked_for_on_disk_and_then_in_memory_once_more(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    arena, reader = folders.arena(), folders.reader()
    arena.write(A, b"a", [pattern(1)], spill=True)
    mapped = reader.open(A)
    assert mapped is not None
    assert mapped.is_spilled
    del mapped
    looked = []

    def bring_back(path: str, *args: int) -> int:
        looked.append(path)
        if len(looked) == 2:  # between the first look into memory and the look onto the disk
            monkeypatch.undo()
            shutil.move(folders.path(A, is_spilled=True), folders.path(A))
        return really_open(path, *args)

    really_open = os.open
    monkeypatch.setattr(os, "open", bring_back)
    mapped = reader.open(A)
    assert mapped is not None
    assert not mapped.is_spilled
    assert looked == [folders.path(A), folders.path(A, is_spilled=True)]


def test_a_value_that_goes_to_disk_takes_the_place_of_the_one_in_memory(folders: Folders) -> None:
    arena = folders.arena()
    arena.write(A, b"first", [])
    arena.write(A, b"second", [], spill=True)
    assert not os.path.exists(folders.path(A))
    mapped = folders.reader().open(A)
    assert mapped is not None
    assert (bytes(mapped.data), mapped.is_spilled) == (b"second", True)


def test_a_segment_written_again_by_another_process_replaces_the_first(folders: Folders) -> None:
    arena, reader = folders.arena(), folders.reader()
    arena.write(A, b"first", [pattern(1)])
    first = reader.open(A)
    assert first is not None
    assert Forked(lambda: folders.arena().write(A, b"second", [pattern(2)])).result() > 0
    second = folders.reader().open(A)
    assert second is not None
    assert (numbers_in(first), numbers_in(second)) == ({1}, {2})
    assert arena.take_back([A]) == ()  # what this process wrote has no name any more
    assert folders.names() == []
    assert (numbers_in(first), numbers_in(second)) == ({1}, {2})


def test_a_segment_written_again_by_the_same_process_replaces_the_first(folders: Folders) -> None:
    arena = folders.arena()
    for number in (1, 2, 3):
        arena.write(B, b"", [pattern(9)])
        arena.take_back([B])
        arena.write(A, b"%d" % number, [pattern(number)])
    mapped = folders.reader().open(A)
    assert mapped is not None
    assert numbers_in(mapped) == {3}
    assert list(arena._mappings) == [A]
    arena.write(A, b"fresh", [bytes(300_000)])
    assert not arena._mappings, "of the one that was replaced"
    del mapped
    assert arena.take_back([A]) == (A,)


# -- lives ---------------------------------------------------------------------------------------------------------


def test_views_outlive_the_mapping_the_reader_and_the_file(folders: Folders) -> None:
    arena, reader = folders.arena(), folders.reader()
    arena.write(A, pickle.dumps("x"), [pattern(7)])
    mapped = reader.open(A)
    assert mapped is not None
    array = np.frombuffer(mapped.buffers[0], dtype=np.uint64)[5:10]
    view = mapped.data[2:]
    del mapped, reader
    gc.collect()
    assert is_locked(folders.path(A))
    assert arena.take_back([A]) == ()
    assert folders.names() == []
    for number in range(10):
        arena.write(B, b"other", [pattern(100 + number)])
        arena.take_back([B])
    assert array.tolist() == [7] * 5
    assert bytes(view) == pickle.dumps("x")[2:]


def test_the_lock_goes_with_the_last_view(folders: Folders) -> None:
    folders.arena().write(A, b"data", [pattern(7)])
    mapped = folders.reader().open(A)
    assert mapped is not None
    held: list[object] = [mapped, mapped.data, mapped.buffers[0]]
    del mapped
    while held:
        assert is_locked(folders.path(A))
        held.pop()
    assert not is_locked(folders.path(A))


def test_a_process_maps_a_segment_once_however_often_it_opens_it(folders: Folders) -> None:
    folders.arena().write(A, b"data", [pattern(7)])
    reader = folders.reader()
    first = reader.open(A)
    assert first is not None
    kept = first.buffers[0]
    mapping = weakref.ref(kept.obj)
    del first
    second = reader.open(A)  # the mapping lives on, by a view
    assert second is not None
    assert second.data.obj is kept.obj
    del second, kept
    assert mapping() is None
    assert reader.open(A) is not None


def test_many_threads_may_open_the_same_segment(folders: Folders) -> None:
    folders.arena().write(A, b"data", [pattern(7)])
    reader = folders.reader()
    start = threading.Barrier(4)
    seen: list[set[int]] = []

    def look() -> None:
        start.wait()
        for _ in range(200):
            mapped = reader.open(A)
            assert mapped is not None
            seen.append(numbers_in(mapped))

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 800
    assert set(map(frozenset, seen)) == {frozenset({7})}
    assert not is_locked(folders.path(A))


# -- descriptors ---------------------------------------------------------------------------------------------------


def use_up_descriptors() -> list[int]:
    used = []
    try:
        while True:
            used.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return used


def highest_descriptor() -> int:
    descriptor = os.open(os.devnull, os.O_RDONLY)
    os.close(descriptor)
    return max(descriptor, *map(int, os.listdir("/dev/fd")))


def test_when_half_of_the_descriptors_are_mappings_segments_are_copied(folders: Folders) -> None:
    half = highest_descriptor() + 20
    numbers = range(half + 10)
    arena = folders.arena()
    for number in numbers:
        arena.write(segment_id(number), b"", [pattern(number)])

    def open_all() -> int:
        reader = folders.reader()
        resource.setrlimit(resource.RLIMIT_NOFILE, (2 * half, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        opened = [reader.open(segment_id(number)) for number in numbers]
        assert all(mapped is not None and numbers_in(mapped) == {number} for number, mapped in enumerate(opened))
        assert all(mapped is not None and mapped.buffers[0].readonly for mapped in opened)
        return sum(is_locked(folders.path(segment_id(number))) for number in numbers)

    assert Forked(open_all).result() == half


def test_with_no_descriptor_left_segments_are_copied_and_can_still_be_taken_back(folders: Folders) -> None:
    arena = folders.arena()
    for number in range(3):
        arena.write(segment_id(number), b"", [pattern(number)])

    def open_all() -> list[set[int]]:
        own, reader = folders.arena(), folders.reader()
        own.write(B, b"", [])
        used = use_up_descriptors()
        opened = [reader.open(segment_id(number)) for number in range(3)]
        assert own.take_back([B, segment_id(0)]) == ()
        for descriptor in used:
            os.close(descriptor)
        return [numbers_in(mapped) for mapped in opened if mapped is not None]

    assert Forked(open_all).result() == [{0}, {1}, {2}]
    assert not os.path.exists(folders.path(B))
    assert not os.path.exists(folders.path(segment_id(0)))


def test_what_is_kept_for_later_makes_way_when_a_file_cannot_be_opened(folders: Folders) -> None:
    def write_all() -> int:
        arena = folders.arena()
        for number in range(8):
            arena.write(segment_id(number), b"", [pattern(number)])
        arena.take_back([segment_id(number) for number in range(8)])
        used = use_up_descriptors()
        arena.write(A, b"", [pattern(1, 1_000_000)])  # of another class than what is kept
        for descriptor in used:
            os.close(descriptor)
        return arena.pool_bytes

    assert Forked(write_all).result() == 0
    assert folders.names() == [layout.name_of(A)]


# -- how full it is ------------------------------------------------------------------------------------------------


def test_everyone_reads_what_the_agent_writes_about_its_store(folders: Folders) -> None:
    with pytest.raises(FileNotFoundError):
        Usage(folders.store)
    agent = Usage(folders.store, create=True)
    assert (agent.used_bytes, agent.limit_bytes) == (0, 0)
    process = Usage(folders.store)
    agent.limit_bytes, agent.used_bytes = 2**40, 123
    assert (process.used_bytes, process.limit_bytes) == (123, 2**40)
    assert Forked(lambda: Usage(folders.store).limit_bytes).result() == 2**40
    with pytest.raises(TypeError):
        process.used_bytes = 1
    successor = Usage(folders.store, create=True)
    assert successor.limit_bytes == 2**40
    successor.used_bytes = 7
    assert process.used_bytes == 7
    assert sweep.recover(folders.store, folders.spill) == []
    assert folders.names() == ["usage"]
