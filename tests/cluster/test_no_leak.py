"""A hundred thousand values come and go, and nothing grows with their number: no segment, entry, descriptor, memory."""

from __future__ import annotations

import gc
import os
import pathlib
from collections import Counter, deque
from typing import Any

import numpy as np
import pytest

import ipyactors as ia
from ipyactors.wire.store_messages import TrimPool
from tests.support import anatomy
from tests.support.gates import until

PUTS = 100_000
WARM_PUTS = 20_000
ROUND = 10_000

#: So many references are held at a time; the oldest goes for the next.
WINDOW = 200

#: Far less than an entry of a table takes for each of the puts between the two looks, and more than memory wavers by.
GROWTH_BYTES = 12 << 20

SMALL = (7, "text", b"x" * 100, {"a": [1.0]})
LARGE = bytes(70_000)  # just over what travels in messages
ARRAY = np.arange(250_000.0)  # 2 MB


def value_of(number: int) -> Any:
    if number % 500 == 0:
        return ARRAY
    return LARGE if number % 10 == 0 else SMALL[number % len(SMALL)]


def put_many(first: int, last: int) -> None:
    """Put values, and let go of them in rounds: so the agent has the same to catch up with, however slow it is."""
    for begin in range(first, last, ROUND):
        put_round(begin, min(begin + ROUND, last))
        let_everything_go()


def put_round(first: int, last: int) -> None:
    """Put values, get some of them, keep each for a while, some views of arrays for longer."""
    refs: deque[ia.ObjectRef] = deque(maxlen=WINDOW)
    views: deque[Any] = deque(maxlen=5)
    for number in range(first, last):
        refs.append(ia.put(value_of(number)))
        if number % 50 == 0:
            value = ia.get(refs[-1])
            if number % 500 == 0:
                assert value[-1] == ARRAY[-1]
                views.append(value[10:20])
            else:
                assert value == LARGE
    assert all(view.tolist() == ARRAY[10:20].tolist() for view in views)


def let_everything_go() -> None:
    """Have what was dropped freed here and at the agent, and the memory given back that is kept for other values."""
    session = anatomy._engine().session
    gc.collect()
    session.turn()
    assert session.storage is not None
    assert published() == []
    session.storage.on_message(TrimPool())
    until(lambda: store_files() == ["usage"], "the agent has removed all files")
    until(lambda: ia.memory().nodes[0].used_bytes == 0, "the agent counts nothing")


def store_files() -> list[str]:
    return sorted(os.listdir(anatomy.paths().store_dir))


def published() -> list[str]:
    return [name for name in store_files() if len(name) == 40]


def tables() -> dict[str, int]:
    """Return how much is in each of the owner's tables."""
    session = anatomy._engine().session
    state, storage, objects = session.state, session.storage, session.state.objects
    assert storage is not None
    state.lineage.forget_gone()
    state.check_invariants()
    return {
        "exported": len(objects.exported),
        "named": len(objects.named),
        "borrowed": len(objects.borrowed),
        "lent": len(objects.lent),
        "pinned": len(objects.pinned),
        "loans": len(objects.loans),
        "gone": len(objects.gone),
        "fetching": len(objects.fetching),
        "lost or needed": len(state.lineage.entries),
        "records": len(state.lineage.records()),
        "bytes of records": state.lineage.bytes,
        "calls": state.unanswered + len(state.waiting) + len(state.children),
        "requests": len(state.requests) + len(state.replies),
        "freed": len(storage.freed),
        "pulls": len(storage._pulls) + len(storage._rooms) + len(storage._written),
    }


def entries_alive() -> Counter[str]:
    """Return how many of the things there are in this process that stand for objects."""
    names = {"Entry", "BorrowedEntry", "SegmentToken", "Record", "ObjectRef", "Mapped", "PendingCall", "TaskCall"}
    return Counter(
        type(thing).__name__
        for thing in gc.get_objects()
        if type(thing).__name__ in names and type(thing).__module__.startswith("ipyactors.")
    )


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def mappings() -> int:
    """Return how many files of the store are mapped here."""
    maps = pathlib.Path("/proc/self/maps").read_text(encoding="utf-8")
    return sum(anatomy.paths().store_dir in line for line in maps.splitlines())


def memory_bytes() -> dict[str, int]:
    """Return what the driver and the agent have written to, and their share of shared memory.

    Neither changes when other processes of the machine come and go, as their share of libraries does.
    """
    return {"driver": written_bytes(os.getpid()), "agent": written_bytes(anatomy.agent().pid)}


def written_bytes(pid: int) -> int:
    rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
    kilobytes = {words[0]: int(words[1]) for line in rollup.splitlines()[1:] if (words := line.split())}
    return (kilobytes["Anonymous:"] + kilobytes["Pss_Shmem:"]) * 1024


@pytest.mark.usefixtures("runtime")
@pytest.mark.skipif(
    not os.path.exists("/proc/self/smaps_rollup"), reason="memory is measured as the kernel of Linux tells it"
)
def test_nothing_is_left_of_a_hundred_thousand_puts() -> None:
    put_many(0, 1_000)  # whatever is opened on first use
    before = descriptors(), mappings(), tables(), entries_alive()
    assert not any(before[2].values()), before[2]

    put_many(0, WARM_PUTS)
    warm = memory_bytes()

    put_many(WARM_PUTS, PUTS)
    after = memory_bytes()

    report = ia.memory()
    assert list(report) == []
    assert report.left_out == 0
    assert report.nodes[0].objects == 0
    assert (descriptors(), mappings(), tables(), entries_alive()) == before
    grown = {name: after[name] - warm[name] for name in warm}
    assert all(growth < GROWTH_BYTES for growth in grown.values()), f"{grown} more after {PUTS - WARM_PUTS} more puts"
