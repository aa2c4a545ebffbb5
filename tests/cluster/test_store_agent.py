"""A machine's store in a real session: what it spills and brings back, what it gives back, what it survives."""

from __future__ import annotations

import contextlib
import gc
import os
import pathlib
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import psutil
import pytest

import ipyactors
from ipyactors.exceptions import ObjectStoreFullError, SessionError
from ipyactors.ground import faultpoints
from ipyactors.node.store_table import HIGH_SHARE, LOW_SHARE
from ipyactors.store import layout
from ipyactors.store.usage import Usage
from ipyactors.wire.events import Event, EventKind
from tests.support import anatomy
from tests.support.drivers import Driver, clean_folders
from tests.support.gates import LIMIT_S, Gate, until

LIMIT_BYTES = 32_000_000
MB = 1_000_000


@pytest.fixture
def ia() -> Iterator[Any]:
    """A session whose store holds 32 MB."""
    ipyactors.shutdown()
    ipyactors.init(num_cpus=2, object_store_memory=LIMIT_BYTES)
    yield ipyactors
    ipyactors.shutdown()


def array(number: int, size: int = 2 * MB) -> np.ndarray:
    return np.full(size, number % 256, dtype=np.uint8)


def is_whole(found: np.ndarray, number: int, size: int = 2 * MB) -> bool:
    return found.shape == (size,) and bool((found == number % 256).all())


def in_memory() -> dict[str, int]:
    """What is in the store's folder, with sizes; the page with numbers is left out."""
    found = {}
    for entry in os.scandir(anatomy.paths().store_dir):
        with contextlib.suppress(FileNotFoundError):  # it went meanwhile
            found[entry.name] = entry.stat().st_size
    del found["usage"]
    return found


def spilled() -> set[str]:
    return {name for name in os.listdir(anatomy.paths().spill_dir) if not layout.is_temporary(name)}


def used_bytes() -> int:
    return Usage(anatomy.paths().store_dir).used_bytes


def events(kind: EventKind) -> list[Event]:
    return [event for event in ipyactors.events() if event.kind is kind]


def settled() -> bool:
    """Whether the accounts say what the folder says."""
    return used_bytes() == sum(in_memory().values())


# -- spilling ------------------------------------------------------------------------------------------------------


def test_more_values_than_memory(ia: Any) -> None:
    refs = [ia.put(array(number)) for number in range(40)]
    assert sum(in_memory().values()) <= LIMIT_BYTES
    assert all(is_whole(ia.get(ref, timeout=LIMIT_S), number) for number, ref in enumerate(refs))
    until(lambda: len(events(EventKind.OBJECT_SPILLED)) >= 24, "the driver hears of it")
    (first, *_) = events(EventKind.OBJECT_SPILLED)
    assert first.task_id == refs[0].binary(), "the least recently used goes first"
    assert "2.0 MB" in first.detail
    assert len(refs) * 2 * MB > LIMIT_BYTES * 2
    until(settled, "the accounts are right")
    refs.clear()
    gc.collect()
    ia.put(array(0))
    until(lambda: not spilled(), "what was freed is gone from disk")
    until(settled, "the accounts are right")


def test_what_is_used_again_comes_back_when_there_is_room(ia: Any) -> None:
    refs = [ia.put(array(number)) for number in range(16)]
    until(spilled, "something was spilled")
    until(settled, "the spilling is over")
    (name, *_) = spilled()
    (wanted,) = (ref for ref in refs if ref.hex() == name)
    number = refs.index(wanted)
    del refs
    gc.collect()
    ia.put(array(0))
    assert is_whole(ia.get(wanted), number)
    until(lambda: name in in_memory() and name not in spilled(), "it is back")
    assert is_whole(ia.get(wanted), number)
    (event,) = until(lambda: events(EventKind.OBJECT_RESTORED), "the driver hears of it")
    assert event.task_id == wanted.binary()


def test_a_value_larger_than_the_store_goes_straight_to_disk(ia: Any) -> None:
    ref = ia.put(array(7, 50 * MB))
    assert ref.hex() in spilled()
    assert is_whole(ia.get(ref), 7, 50 * MB)
    (event,) = until(lambda: events(EventKind.OBJECT_SPILLED), "the driver hears of it")
    assert "straight to disk" in event.detail
    assert used_bytes() < MB


def test_what_is_mapped_stays_and_what_is_written_goes_to_disk(ia: Any) -> None:
    refs = [ia.put(array(number)) for number in range(12)]
    arrays = ia.get(refs)
    more = [ia.put(array(number)) for number in range(12, 30)]
    assert all(is_whole(ia.get(ref), number) for number, ref in enumerate(more, 12))
    assert all(is_whole(found, number) for number, found in enumerate(arrays))
    assert not {ref.hex() for ref in refs} & spilled()


def test_a_value_that_is_read_again_and_again_changes_places_with_one_that_is_not(ia: Any) -> None:
    refs = [ia.put(array(number)) for number in range(12)]
    until(lambda: not spilled(), "all are in memory")
    refs += [ia.put(array(number)) for number in range(12, 14)]
    until(lambda: refs[0].hex() in spilled(), "the first one is spilled")
    while used_bytes() + 2 * MB < LIMIT_BYTES * HIGH_SHARE:
        refs.append(ia.put(array(len(refs))))
        until(settled, "it is counted")
    assert used_bytes() > LIMIT_BYTES * LOW_SHARE, "nothing comes back only because there is plenty of room"
    until(lambda: is_whole(ia.get(refs[0]), 0) and refs[0].hex() in in_memory(), "it is back")
    until(lambda: events(EventKind.OBJECT_RESTORED) != [], "the event says so")
    assert used_bytes() <= LIMIT_BYTES * HIGH_SHARE
    assert all(is_whole(ia.get(ref), number) for number, ref in enumerate(refs))


# -- a full disk ---------------------------------------------------------------------------------------------------


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The agent cannot spill, and this process cannot write to disk."""
    monkeypatch.setenv(faultpoints.VARIABLE, "store.move.before_name:enospc:0")
    yield
    faultpoints.disarm()


def test_a_full_disk_is_an_error_that_loses_nothing(full_disk: None, ia: Any) -> None:
    refs = [ia.put(array(number)) for number in range(12)]
    faultpoints.arm("store.write.before_fallocate", "enospc", 0)
    with pytest.raises(ObjectStoreFullError, match=r"50\.0 MB.*could not be stored") as caught:
        ia.put(array(0, 50 * MB))
    assert "nothing else is lost" in str(caught.value)
    faultpoints.disarm()
    refs += [ia.put(array(number)) for number in range(12, 20)]
    assert all(is_whole(ia.get(ref), number) for number, ref in enumerate(refs))
    until(lambda: not any(map(layout.is_temporary, os.listdir(anatomy.paths().spill_dir))), "nothing is left of spills")


# -- memory that comes back --------------------------------------------------------------------------------------------


def test_a_stream_of_results_takes_no_more_than_a_few_of_them(ia: Any) -> None:
    """What workers write and the driver frees is used again by them, or removed."""
    make = ia.remote(array)
    for number in range(60):
        assert is_whole(ia.get(make.remote(number), timeout=LIMIT_S), number)
    assert not events(EventKind.OBJECT_SPILLED)
    assert sum(in_memory().values()) < 20 * MB
    until(settled, "the accounts are right")


def test_a_worker_that_dies_takes_its_memory_along(ia: Any, tmp_path: pathlib.Path) -> None:
    """Its pool, what it was writing, and what only it could reach."""

    @ia.remote(max_retries=0)
    def fill_and_hang(gate: Gate) -> None:
        kept = [ipyactors.put(array(number)) for number in range(3)]
        del kept[0]
        ipyactors.put(array(9))
        gate.open()
        signal.pause()

    mine = ia.put(array(1))
    gate = Gate(tmp_path / "gate")
    ref = fill_and_hang.remote(gate)
    gate.wait()
    (worker,) = (worker for worker in anatomy.workers() if _has_written(worker.pid))
    worker.kill()
    with pytest.raises(ipyactors.exceptions.WorkerCrashedError):
        ia.get(ref, timeout=LIMIT_S)
    until(lambda: set(in_memory()) == {mine.hex()}, "everything of it is gone")
    until(settled, "the accounts are right")
    assert is_whole(ia.get(mine), 1)


def _has_written(pid: int) -> bool:
    return any(name.startswith(f"{pid}-") for name in in_memory())


def test_a_process_that_hangs_does_not_keep_others_from_writing(ia: Any, tmp_path: pathlib.Path) -> None:
    """A stopped process gives no pool back when it is told to; the others write to memory or to disk meanwhile."""

    @ia.remote(max_retries=0)
    def fill_and_stop(gate: Gate) -> None:
        ref = ipyactors.put(array(0, 3 * MB))
        del ref
        ipyactors.put(array(1, 3 * MB))
        gate.open()
        os.kill(os.getpid(), signal.SIGSTOP)

    gate = Gate(tmp_path / "gate")
    hanging = fill_and_stop.remote(gate)
    gate.wait()
    (worker,) = until(_stopped, "it stands still")
    try:
        refs = [ia.put(array(number)) for number in range(40)]
        assert all(is_whole(ia.get(ref, timeout=LIMIT_S), number) for number, ref in enumerate(refs))
    finally:
        worker.resume()
    assert ia.get(hanging, timeout=LIMIT_S) is None


def _stopped() -> list[psutil.Process]:
    return [worker for worker in anatomy.workers() if worker.status() == psutil.STATUS_STOPPED]


# -- the end -------------------------------------------------------------------------------------------------------


def test_nothing_is_left_of_a_full_store(ia: Any) -> None:
    refs = [ia.put(array(number)) for number in range(40)]
    until(spilled, "something was spilled")
    paths = anatomy.paths()
    ia.shutdown()
    assert not os.path.exists(paths.store_dir)
    assert not os.path.exists(paths.spill_dir)
    assert refs


_FILL = """
import numpy as np
ia.init(num_cpus=1, object_store_memory=8_000_000)
refs = [ia.put(np.zeros(1_000_000, np.uint8)) for _ in range(20)]
make = ia.remote(lambda: np.ones(1_000_000, np.uint8))
refs += [make.remote() for _ in range(10)]
ia.get(refs[-1])
say("ready")
listen()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_driver_that_is_killed_leaves_nothing_of_its_store(number: signal.Signals) -> None:
    with clean_folders() as folders, Driver(folders, _FILL) as driver:
        driver.hear("ready")
        assert list(folders.memory.rglob("usage"))
        assert list(folders.home.rglob("spill/*"))
        driver.end(number)


@pytest.mark.parametrize(
    "point",
    ["store.move.before_name", "store.spill.after_copy", "store.spill.after_unlink", "store.restore.after_copy"],
)
def test_an_agent_that_dies_while_it_moves_values_leaves_nothing(monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    ipyactors.shutdown()
    monkeypatch.setenv(faultpoints.VARIABLE, f"{point}:kill:3")
    ipyactors.init(num_cpus=1, object_store_memory=LIMIT_BYTES)
    paths = anatomy.paths()

    def fill_and_empty() -> bool:
        refs = [ipyactors.put(array(number)) for number in range(16)]
        kept = refs[:4]
        refs.clear()
        gc.collect()
        ipyactors.get(kept)
        return False

    with pytest.raises(SessionError, match="ended unexpectedly"):
        until(fill_and_empty, "the agent dies")
    ipyactors.shutdown()
    assert not os.path.exists(paths.store_dir)
    assert not os.path.exists(paths.spill_dir)


def test_a_store_that_is_smaller_than_wished_is_said_in_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    ipyactors.shutdown()
    ipyactors.init(num_cpus=1, object_store_memory=1 << 60)
    try:
        paths = anatomy.paths()
        assert Usage(paths.store_dir).limit_bytes < 1 << 60
        log = pathlib.Path(paths.role_log_path("agent")).read_text()
        assert "--shm-size" in log
    finally:
        ipyactors.shutdown()
