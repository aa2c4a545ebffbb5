"""Values that nobody can reach any more, and that are still looked at: they take up memory, so they count."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import ipyactors
from ipyactors.store import layout
from ipyactors.store.usage import Usage
from ipyactors.wire.events import EventKind
from tests.support import anatomy
from tests.support.gates import until

LIMIT_BYTES = 32_000_000
MB = 1_000_000


@pytest.fixture
def ia() -> Iterator[Any]:
    """A session whose store holds 32 MB."""
    ipyactors.shutdown()
    ipyactors.init(num_cpus=1, object_store_memory=LIMIT_BYTES)
    yield ipyactors
    ipyactors.shutdown()


def used_bytes() -> int:
    return Usage(anatomy.paths().store_dir).used_bytes


def set_aside() -> list[str]:
    return [name for name in os.listdir(anatomy.paths().store_dir) if layout.mapped_of(name) is not None]


def view(ia: Any, number: int, size: int = 2 * MB) -> np.ndarray:
    """A view whose reference is gone."""
    found: np.ndarray = ia.get(ia.put(np.full(size, number, dtype=np.uint8)))
    return found


def freed_rows(ia: Any) -> list[Any]:
    return [row for row in ia.memory() if row.kind == "freed"]


def test_views_count_and_are_shown_until_the_last_one_goes(ia: Any) -> None:
    views = [view(ia, number) for number in range(3)]
    others = views[0][10:20]
    until(lambda: len(freed_rows(ia)) == 3, "each is shown")
    until(lambda: used_bytes() >= 6 * MB, "each counts")
    report = ia.memory()
    for row in freed_rows(ia):
        assert row.size_bytes >= 2 * MB
        assert [place.medium for place in row.places] == ["memory"]
        assert [str(holder) for holder in row.holders] == ["mapped by driver"]
    assert report.nodes[0].mapped_bytes >= 6 * MB
    text = repr(report)
    assert "6.0 MB of it freed and still mapped" in text
    [line, *_] = [line for line in text.splitlines() if "mapped by" in line]
    assert line.split()[2:4] == ["freed", "memory"]
    assert line.endswith("mapped by driver")
    del views
    gc.collect()
    until(lambda: len(freed_rows(ia)) == 1, "a part of one is left")
    assert (others == 0).all()
    del others
    until(lambda: freed_rows(ia) == [], "nothing is left")
    until(lambda: used_bytes() == 0 and set_aside() == [], "the memory is given back")


def test_a_store_that_is_full_of_views_sends_new_values_to_disk_and_says_why(ia: Any) -> None:
    views = [view(ia, number, 4 * MB) for number in range(12)]
    assert all((found == number).all() for number, found in enumerate(views))
    in_memory = sum(os.stat(f"{anatomy.paths().store_dir}/{name}").st_size for name in set_aside())
    assert in_memory <= LIMIT_BYTES
    until(
        lambda: any(
            event.kind is EventKind.OBJECT_SPILLED and "freed values that views still map" in event.detail
            for event in ia.events()
        ),
        "the event says why",
    )
    del views
    gc.collect()
    # Room is needed: what is mapped no more is noticed at once, and the value goes to memory.
    ref = ia.put(np.ones(16 * MB, dtype=np.uint8))
    assert os.path.exists(f"{anatomy.paths().store_dir}/{layout.name_of(bytes.fromhex(ref.hex()))}")


def test_views_of_a_worker_are_given_back_when_it_dies(ia: Any) -> None:
    @ia.remote
    class Keeper:
        def keep(self, value: Any) -> int:
            self.value = value
            return os.getpid()

    keeper = Keeper.remote()
    ref = ia.put(np.ones(2 * MB, dtype=np.uint8))
    pid = ia.get(keeper.keep.remote(ref))
    del ref
    until(lambda: len(freed_rows(ia)) == 1, "it is shown")
    [row] = freed_rows(ia)
    assert [holder.process.pid for holder in row.holders] == [pid]
    until(lambda: used_bytes() >= 2 * MB, "it counts")
    ia.kill(keeper)
    until(lambda: used_bytes() == 0 and set_aside() == [], "the memory is given back")


def test_a_steady_stream_of_views_does_not_pile_up(ia: Any) -> None:
    found = None
    for number in range(40):
        found = view(ia, number)
    assert found is not None
    assert not [event for event in ia.events() if event.kind is EventKind.OBJECT_SPILLED]
    until(lambda: used_bytes() <= 4 * MB, "only the last one counts")
