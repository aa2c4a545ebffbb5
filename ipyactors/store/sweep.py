"""What is in a machine's store, as the files and the kernel say: after a crash, and while everything runs."""

from __future__ import annotations

import os
from typing import NamedTuple

from ipyactors.store import layout, segment
from ipyactors.wire import liveness
from ipyactors.wire.liveness import Identity
from ipyactors.wire.store_messages import MappedFile

_LOCKS = "/proc/locks"


class Found(NamedTuple):
    """A whole segment; ``size`` is what its file takes, in bytes."""

    segment_id: bytes
    size: int
    is_spilled: bool


def recover(store_dir: str, spill_dir: str) -> list[Found]:
    """Remove what is no whole segment, and return what is, each once.

    For an agent that starts: what another one was copying is removed too, and so are the names of freed segments that
    are still mapped. Files that live processes write or keep for later stay. Of a segment that is in memory and on
    disk, as a crash can leave it, the file on disk goes.
    """
    remove_unfinished(store_dir, spill_dir, unknown=True)
    for file in mapped_files(store_dir):
        segment.unlink(f"{store_dir}/{layout.mapped_name(file.segment_id, file.inode)}")
    in_memory = _whole_segments(store_dir)
    on_disk = _whole_segments(spill_dir)
    for segment_id in in_memory.keys() & on_disk.keys():
        segment.unlink(f"{spill_dir}/{layout.name_of(segment_id)}")
        del on_disk[segment_id]
    found = [Found(segment_id, size, False) for segment_id, size in in_memory.items()]
    return found + [Found(segment_id, size, True) for segment_id, size in on_disk.items()]


def remove_unfinished(store_dir: str, spill_dir: str, *, unknown: bool = False) -> int:
    """Remove the temporary files of processes that are gone; return how many bytes they took in shared memory.

    At any time, from any process. With ``unknown``, temporary files whose names do not say whose they are go too.
    """
    is_alive: dict[tuple[int, int] | None, bool] = {None: not unknown}
    freed = 0
    for folder in (store_dir, spill_dir):
        for entry in _entries(folder):
            if not layout.is_temporary(entry.name):
                continue
            writer = layout.writer_of(entry.name)
            if writer is not None and writer not in is_alive:
                is_alive[writer] = liveness.is_running(Identity(*writer))
            if not is_alive[writer]:
                size = _size_of(entry)
                if segment.unlink(entry.path) and folder == store_dir:
                    freed += size
    return freed


def published(store_dir: str, spill_dir: str) -> list[Found]:
    """Return the segments that are there, by their names; one that is being moved may be named twice, memory last."""
    return [
        Found(segment_id, _size_of(entry), folder == spill_dir)
        for folder in (spill_dir, store_dir)
        for entry in _entries(folder)
        if (segment_id := layout.segment_id_of(entry.name)) is not None
    ]


def mapped_files(store_dir: str) -> list[MappedFile]:
    """Return the files of freed segments that were set aside, for somebody mapped them."""
    return [
        MappedFile(*whose, _size_of(entry))
        for entry in _entries(store_dir)
        if (whose := layout.mapped_of(entry.name)) is not None
    ]


def mappers(store_dir: str) -> dict[bytes, tuple[int, ...]]:
    """Return who maps which segment: the pids of the processes that opened it. Empty where the system does not say.

    A child that was forked since is not named, though it maps the segment too; nor are processes of other containers.
    """
    by_inode = {
        entry.inode(): segment_id
        for entry in _entries(store_dir)
        if (segment_id := layout.segment_id_of(entry.name)) is not None
    }
    pids = _mappers(store_dir) if by_inode else {}
    return {by_inode[inode]: pids[inode] for inode in by_inode.keys() & pids.keys()}


def freed_mappers(store_dir: str) -> dict[MappedFile, tuple[int, ...]]:
    """Return who maps which freed segment that was set aside, as :func:`mappers`; those of nobody that is known too."""
    files = mapped_files(store_dir)
    pids = _mappers(store_dir) if files else {}
    return {file: pids.get(file.inode, ()) for file in files}


def _mappers(store_dir: str) -> dict[int, tuple[int, ...]]:
    """Return who maps which file of the store, by inode."""
    device = os.stat(store_dir).st_dev
    where = f"{os.major(device):02x}:{os.minor(device):02x}"
    found: dict[int, set[int]] = {}
    for pid, place, inode in _shared_locks():
        if place == where and pid > 0:
            found.setdefault(inode, set()).add(pid)
    return {inode: tuple(sorted(pids)) for inode, pids in found.items()}


def _shared_locks() -> list[tuple[int, str, int]]:
    """Return the shared ``flock`` locks that are held: pid, device as ``major:minor`` in hexadecimal, inode."""
    try:
        with open(_LOCKS, encoding="ascii") as file:
            lines = [line.split() for line in file]
    except OSError:
        return []
    found = []
    for fields in lines:  # 1: FLOCK  ADVISORY  READ 25934 00:1b:2278716 0 EOF;  who waits has "->" second
        if fields[1:4] == ["FLOCK", "ADVISORY", "READ"]:
            place, _, inode = fields[5].rpartition(":")
            found.append((int(fields[4]), place, int(inode)))
    return found


def _whole_segments(folder: str) -> dict[bytes, int]:
    """Return the segments in a folder with their files' sizes; remove files that only have the name of one."""
    found = {}
    for entry in _entries(folder):
        segment_id = layout.segment_id_of(entry.name)
        if segment_id is None:
            continue
        try:
            descriptor = os.open(entry.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            header = segment.read_header(descriptor)
            size = os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)
        if header is not None and header.segment_id == segment_id:
            found[segment_id] = size
        else:
            segment.unlink(entry.path)
    return found


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []


def _size_of(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except FileNotFoundError:
        return 0
