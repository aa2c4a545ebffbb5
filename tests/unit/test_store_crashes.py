"""A process may die, and a file system may be full, at any step of a write: only whole segments are left."""

from __future__ import annotations

import errno
import os
import pathlib
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from ipyactors.ground import faultpoints
from ipyactors.store import arena as arena_module
from ipyactors.store import layout, segment, sweep
from ipyactors.store.arena import Arena, NoRoomError
from ipyactors.store.sweep import Found
from tests.support import stores
from tests.support.forks import Forked
from tests.support.stores import MIB, Folders, numbers_in, pattern, segment_id


@pytest.fixture
def folders(tmp_path: pathlib.Path) -> Iterator[Folders]:
    with stores.folders(tmp_path) as made:
        yield made


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    faultpoints.disarm()


A, B, C = segment_id(1001), segment_id(1002), segment_id(1003)

#: Every fault point in the code of writing and taking back.
POINTS = sorted(
    {
        name
        for module in (arena_module, segment)
        for name in re.findall(r'faultpoints\.hit\("([^"]+)"\)', pathlib.Path(module.__file__ or "").read_text())
    }
)

#: Ways of writing; each begins with B published, and something kept for ``again`` and ``longer``.
WAYS: dict[str, Callable[[Arena], object]] = {
    "fresh": lambda arena: arena.write(A, b"fresh", [pattern(1, 400_000)]),
    "again": lambda arena: arena.write(A, b"again", [pattern(1)]),
    "longer": lambda arena: arena.write(A, b"longer", [pattern(1, 110_000)]),
    "replaced": lambda arena: arena.write(B, b"replaced", [pattern(1, 400_000)]),
    "spilled": lambda arena: arena.write(A, b"spilled", [pattern(1)], spill=True),
    "taken back": lambda arena: arena.take_back([B]),
}


def prepare(folders: Folders) -> Arena:
    """Return an arena with one segment kept and another one published."""
    arena = folders.arena()
    for wanted in (C, B):
        arena.write(wanted, b"before", [pattern(2)])
    arena.take_back([C])
    return arena


def check_only_whole(folders: Folders) -> set[bytes]:
    """Recover, check that nothing but whole segments is left, and return which."""
    found = sweep.recover(folders.store, folders.spill)
    names = sorted(layout.name_of(each.segment_id) for each in found)
    assert folders.names() == names
    for each in found:
        mapped = folders.reader().open(each.segment_id)
        assert mapped is not None
        assert mapped.is_spilled is each.is_spilled
        assert os.stat(folders.path(each.segment_id, is_spilled=each.is_spilled)).st_size == each.size
        assert numbers_in(mapped) == {2 if bytes(mapped.data) == b"before" else 1}
    return {each.segment_id for each in found}


def points_of(way: str, folders: Folders) -> list[str]:
    """Return the fault points that a way of writing comes by."""
    passed = []
    for point in POINTS:
        arena = prepare(folders)
        faultpoints.arm(point, "raise", 10**9)
        WAYS[way](arena)
        if faultpoints._armed[point].hits:
            passed.append(point)
        faultpoints.disarm()
        arena.close()
        for name in os.listdir(folders.store):
            os.unlink(f"{folders.store}/{name}")
    return passed


def test_the_ways_come_by_every_fault_point(folders: Folders) -> None:
    assert len(POINTS) >= 12
    passed = {way: set(points_of(way, folders)) for way in WAYS}
    assert set().union(*passed.values()) == set(POINTS)
    assert "store.write.before_open" not in passed["again"]
    assert "store.write.before_fallocate" not in passed["again"]
    assert "store.write.before_fallocate" in passed["longer"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("point", POINTS)
def test_death_at_any_step_leaves_whole_segments_only(folders: Folders, way: str, point: str) -> None:
    def die() -> None:
        arena = prepare(folders)
        faultpoints.arm(point, "kill")
        WAYS[way](arena)

    # It may also survive, where this way does not come by that point.
    assert Forked(die).wait() in (-signal.SIGKILL, 0)
    left = check_only_whole(folders)
    if way != "taken back":
        assert B in left, "what was there before is still there"
    assert left <= {A, B}
    # What is left can be used, and the folder too.
    arena = folders.arena()
    assert arena.write(A, b"before", [pattern(2)]) > 0
    arena.take_back([A, B])
    arena.close()


@pytest.mark.parametrize("action", ["raise", "enospc"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("point", POINTS)
def test_an_error_at_any_step_leaves_nothing_behind(folders: Folders, way: str, point: str, action: str) -> None:
    arena = prepare(folders)
    descriptors = len(os.listdir("/dev/fd"))
    faultpoints.arm(point, action)
    caught: Exception | None = None
    try:
        WAYS[way](arena)
    except (faultpoints.InjectedError, OSError) as error:
        caught = error
    faultpoints.disarm()
    arena.trim()
    assert len(os.listdir("/dev/fd")) <= descriptors
    assert "tmp" not in folders.names()
    left = check_only_whole(folders)
    assert left <= {A, B}
    if caught is not None and way != "taken back":
        assert isinstance(caught, faultpoints.InjectedError if action == "raise" else NoRoomError)
        assert A not in left
    arena.take_back([A, B])
    arena.trim()
    arena.write(C, b"before", [pattern(2)])
    assert arena.take_back([C]) == (C,)


def test_the_environment_kills_a_process_while_it_writes(folders: Folders) -> None:
    code = (
        "import sys; from ipyactors.store.arena import Arena; arena = Arena(sys.argv[1], sys.argv[2], 0)\n"
        "for number in range(5): arena.write(b'downer00' + number.to_bytes(12, 'big'), b'', [bytes(100000)])"
    )
    environment = {**os.environ, faultpoints.VARIABLE: "store.write.before_rename:kill:3"}
    done = subprocess.run([sys.executable, "-c", code, folders.store, folders.spill], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    assert folders.names().count("tmp") == 1
    assert len(sweep.recover(folders.store, folders.spill)) == 2
    assert "tmp" not in folders.names()


# -- recovery ------------------------------------------------------------------------------------------------------


def test_what_live_processes_write_or_keep_is_left_alone(folders: Folders) -> None:
    arena = prepare(folders)
    assert [found.segment_id for found in sweep.recover(folders.store, folders.spill)] == [B]
    assert folders.names().count("tmp") == 1
    arena.write(A, b"before", [pattern(2)])
    assert check_only_whole(folders) == {A, B}


def test_the_files_of_a_process_are_removed_when_it_is_gone_whoever_has_its_pid_now(folders: Folders) -> None:
    earlier = layout.temporary_name((os.getpid(), 1), 1)
    for folder in (folders.store, folders.spill):
        pathlib.Path(folder, earlier).write_bytes(bytes(1000))
        pathlib.Path(folder, f"{A.hex()}.tmp").write_bytes(b"copied by an agent that is gone")
    assert sweep.remove_unfinished(folders.store, folders.spill) == 1000
    assert folders.names() == ["tmp", "tmp"]
    assert sweep.recover(folders.store, folders.spill) == []
    assert folders.names() == []


def test_files_that_are_no_whole_segments_are_removed_and_others_stay(folders: Folders) -> None:
    folders.arena().write(A, b"", [pattern(1)])
    os.truncate(folders.path(A), 50_000)
    pathlib.Path(folders.path(B)).write_bytes(b"noise")
    pathlib.Path(folders.path(C, is_spilled=True)).write_bytes(b"")
    pathlib.Path(folders.store, "usage").write_bytes(bytes(4096))
    assert sweep.recover(folders.store, folders.spill) == []
    assert folders.names() == ["usage"]


def test_of_a_segment_that_is_in_memory_and_on_disk_the_one_in_memory_stays(folders: Folders) -> None:
    arena = folders.arena()
    arena.write(A, b"before", [pattern(2)], spill=True)
    size = arena.write(A, b"before", [pattern(2)])
    on_disk = arena.write(B, b"before", [pattern(2)], spill=True)
    found = sweep.recover(folders.store, folders.spill)
    assert sorted(found) == [Found(A, size, False), Found(B, on_disk, True)]
    assert check_only_whole(folders) == {A, B}


def test_folders_that_do_not_exist_hold_nothing() -> None:
    assert sweep.recover("/nowhere/at/all", "/nowhere/either") == []
    assert sweep.mappers("/nowhere/at/all") == {}


@pytest.mark.skipif(not os.path.exists("/proc/locks"), reason="the system does not say who locks what")
def test_who_maps_what_is_known(folders: Folders) -> None:
    arena, reader = prepare(folders), folders.reader()
    arena.write(A, b"", [pattern(1)])
    assert sweep.mappers(folders.store) == {}
    mapped = reader.open(A)
    mapped_r, mapped_w = os.pipe()
    go_r, go_w = os.pipe()

    def hold() -> None:
        mine = [folders.reader().open(wanted) for wanted in (A, B, A)]
        os.write(mapped_w, b"x")
        os.read(go_r, 1)
        assert all(mine)

    child = Forked(hold)
    os.read(mapped_r, 1)
    assert sweep.mappers(folders.store) == {A: tuple(sorted((os.getpid(), child.pid))), B: (child.pid,)}
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert sweep.mappers(folders.store) == {A: (os.getpid(),)}
    del mapped
    assert sweep.mappers(folders.store) == {}
    assert arena.take_back([A, B]) == (A, B)  # the dead process's locks went with it
    for descriptor in (mapped_r, mapped_w, go_r, go_w):
        os.close(descriptor)


def test_where_the_system_does_not_say_who_maps_what_nobody_does(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders.arena().write(A, b"", [pattern(1)])
    mapped = folders.reader().open(A)
    monkeypatch.setattr(sweep, "_LOCKS", "/nowhere")
    assert sweep.mappers(folders.store) == {}
    assert mapped is not None


# -- a full file system --------------------------------------------------------------------------------------------


@pytest.fixture
def tiny(tmp_path: pathlib.Path) -> Iterator[Folders]:
    """A store in shared memory of 1 MiB, where this user may mount such a thing."""
    store, spill = tmp_path / "tiny", tmp_path / "spill"
    store.mkdir()
    spill.mkdir()
    mounted = sys.platform == "linux" and os.geteuid() == 0
    if mounted:
        command = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", str(store)]
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    if not mounted:
        pytest.skip("a file system cannot be mounted here")
    try:
        yield Folders(str(store), str(spill))
    finally:
        subprocess.run(["umount", "-l", str(store)], check=True)


def test_a_full_store_is_an_error_that_leaves_nothing_behind(tiny: Folders) -> None:
    arena, reader = tiny.arena(), tiny.reader()
    arena.write(A, b"before", [pattern(2, 600_000)])
    for _ in range(3):
        with pytest.raises(NoRoomError, match="no room for 600,") as caught:
            arena.write(B, b"", [pattern(1, 600_000)])
        assert caught.value.errno == errno.ENOSPC
        assert tiny.names() == [layout.name_of(A)]
    arena.write(B, b"", [pattern(1, 600_000)], spill=True)
    mapped = reader.open(B)
    assert mapped is not None
    assert (numbers_in(mapped), mapped.is_spilled) == ({1}, True)
    assert check_only_whole(tiny) == {A, B}


def test_memory_that_is_used_again_may_not_grow_beyond_what_there_is(tiny: Folders) -> None:
    arena = tiny.arena()
    for wanted, size in ((A, 600_000), (B, 400_000)):
        arena.write(wanted, b"before", [pattern(2, size)])
    arena.take_back([B])
    arena.write(B, b"before", [pattern(2, 400_000)])  # with a mapping that is kept
    arena.take_back([B])
    with pytest.raises(NoRoomError):
        arena.write(B, b"", [pattern(1, 455_000)])  # the same class, but there is no memory for it
    assert tiny.names() == [layout.name_of(A)]
    arena.write(B, b"before", [pattern(2, 400_000)])
    assert check_only_whole(tiny) == {A, B}


def test_a_full_store_has_room_again_once_memory_is_given_back(tiny: Folders) -> None:
    arena = tiny.arena()
    arena.write(A, b"", [bytes(600_000)])
    arena.take_back([A])
    with pytest.raises(NoRoomError):
        arena.write(B, b"", [bytes(800_000)])
    arena.trim()
    arena.write(B, b"before", [pattern(2, 800_000)])
    assert check_only_whole(tiny) == {B}


def test_a_system_without_fallocate_writes_zeros_and_finds_a_full_store_too(
    tiny: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "posix_fallocate")
    arena = tiny.arena()
    arena.write(A, b"before", [pattern(2, 600_000)])
    with pytest.raises(NoRoomError):
        arena.write(B, b"", [bytes(MIB)])
    arena.take_back([A])
    arena.write(A, b"before", [pattern(2, 610_000)])
    assert check_only_whole(tiny) == {A}


def test_a_file_system_that_cannot_allocate_is_written_to(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "no such thing")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    assert folders.arena().write(A, b"before", [pattern(2)]) == os.stat(folders.path(A)).st_size
    assert check_only_whole(folders) == {A}
