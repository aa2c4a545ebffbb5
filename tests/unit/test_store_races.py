"""Writers, freers and readers at once, in threads and in processes: nobody ever sees another value's bytes."""

from __future__ import annotations

import os
import pathlib
import random
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from ipyactors.store import layout
from ipyactors.store.arena import Arena
from ipyactors.store.reader import Mapped
from tests.support import stores
from tests.support.forks import Forked
from tests.support.gates import LIMIT_S
from tests.support.stores import MIB, Folders, numbers_in, pattern, segment_id


@pytest.fixture
def folders(tmp_path: pathlib.Path) -> Iterator[Folders]:
    with stores.folders(tmp_path) as made:
        yield made


def test_threads_that_write_free_and_read_see_their_own_values(folders: Folders) -> None:
    arena, reader = folders.arena(keep_bytes=MIB), folders.reader()
    wrong: list[str] = []

    def use(thread: int) -> None:
        choose = random.Random(thread)
        live: dict[int, memoryview | None] = {}
        for step in range(300):
            number = thread * 1000 + step
            arena.write(segment_id(number), b"", [pattern(number, choose.choice((70_000, 100_000, 200_000)))])
            mapped = reader.open(segment_id(number)) if choose.random() < 0.3 else None
            live[number] = mapped.buffers[0] if mapped is not None else None
            while len(live) > 4:
                old = choose.choice(list(live))
                view = live.pop(old)
                reused = arena.take_back([segment_id(old)])
                if view is not None and (reused or set(np.frombuffer(view, dtype=np.uint64).tolist()) != {old}):
                    wrong.append(f"{old} was used again")
        arena.take_back([segment_id(number) for number in live])

    threads = [threading.Thread(target=use, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert set(folders.names()) <= {"tmp"}
    arena._pool.check_invariants()
    arena.close()
    assert folders.names() == []


def write_and_free(folders: Folders, writer: int, rounds: int) -> int:
    """Write values, free some, write some of another writer's again; return how often memory was used again."""
    arena: Arena = folders.arena(keep_bytes=MIB)
    choose = random.Random(writer)
    live: list[int] = []
    reused = 0
    for step in range(rounds):
        number = writer * 10_000 + step
        if choose.random() < 0.1:  # a retried attempt of what another process has written
            number = choose.randrange(3) * 10_000 + step
        arena.write(segment_id(number), b"%d" % number, [pattern(number, choose.choice((70_000, 100_000)))])
        live.append(number)
        while len(live) > 5:
            freed = live.pop(choose.randrange(len(live)))
            reused += len(arena.take_back([segment_id(freed)]))
    arena.take_back([segment_id(number) for number in live])
    arena.close()
    return reused


def look_around(folders: Folders, seed: int, done_r: int) -> int:
    """Open whatever is there, and look again later; return how many segments were opened."""
    reader = folders.reader()
    choose = random.Random(seed)
    held: list[tuple[int, Mapped]] = []
    opened = 0
    os.set_blocking(done_r, False)
    until_s = time.monotonic() + LIMIT_S
    while time.monotonic() < until_s:  # till the writers are done: on a busy machine they begin late
        for name in os.listdir(folders.store):
            found = layout.segment_id_of(name)
            mapped = reader.open(found) if found is not None and choose.random() < 0.5 else None
            if found is not None and mapped is not None:
                number = int.from_bytes(found[8:16], "big")
                assert numbers_in(mapped) == {number}
                assert bytes(mapped.data) == b"%d" % number
                held.append((number, mapped))
                opened += 1
        while len(held) > 4:
            number, mapped = held.pop(choose.randrange(len(held)))
            assert numbers_in(mapped) == {number}
        try:
            if os.read(done_r, 1) == b"":
                break
        except BlockingIOError:
            continue
    return opened


def test_readers_that_race_with_writers_never_see_another_values_bytes(folders: Folders) -> None:
    done_r, done_w = os.pipe()

    def look(seed: int) -> int:
        os.close(done_w)
        return look_around(folders, seed, done_r)

    readers = [Forked(lambda seed=seed: look(seed)) for seed in range(2)]  # type: ignore[misc]

    def write(writer: int) -> int:
        os.close(done_w)
        return write_and_free(folders, writer, 600)

    writers = [Forked(lambda writer=writer: write(writer)) for writer in range(3)]  # type: ignore[misc]
    reused = [child.result() for child in writers]
    os.close(done_w)
    opened = [child.result() for child in readers]
    os.close(done_r)
    assert all(reused)
    assert all(opened)
    assert folders.names() == []
