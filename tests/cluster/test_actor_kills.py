"""Many kills, and kills of actors that call each other: nothing is lost, nothing hangs, the order stays."""

from __future__ import annotations

import os
import pathlib
import signal
import threading
from typing import Any

import pytest

import ipyactors as ia
from tests.support.actors import PATIENCE_S, Log, get

pytestmark = pytest.mark.usefixtures("shared_runtime")


def test_thirty_kills_under_load_from_three_threads_lose_nothing_and_keep_the_order(tmp_path: pathlib.Path) -> None:
    """Each call runs at least once, and within one incarnation each caller's calls run in order and once."""
    kills, calls_at_once = 30, 40

    @ia.remote(max_restarts=-1, max_task_retries=-1)
    class Recorder:
        def __init__(self, path: pathlib.Path) -> None:
            self.file = path.open("a", buffering=1)

        def record(self, who: int, number: int) -> tuple[int, int]:
            self.file.write(f"{who} {number} {os.getpid()}\n")
            return who, number

        def pid(self) -> int:
            return os.getpid()

    recorder = Recorder.remote(tmp_path / "record")
    killed: set[int] = set()
    over = threading.Event()
    made = [0, 0, 0]

    def load(who: int) -> None:
        while not over.is_set():
            numbers = range(made[who], made[who] + calls_at_once)
            assert get([recorder.record.remote(who, number) for number in numbers]) == [(who, n) for n in numbers]
            made[who] += calls_at_once

    threads = [threading.Thread(target=load, args=(who,)) for who in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(kills):
            pid = get(recorder.pid.remote())
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
    finally:
        over.set()
        for thread in threads:
            thread.join(2 * PATIENCE_S)
    assert not any(thread.is_alive() for thread in threads)
    lines = [tuple(map(int, line.split())) for line in (tmp_path / "record").read_text().splitlines()]
    for who in range(3):
        assert made[who] >= calls_at_once
        runs: dict[int, list[int]] = {}
        for caller, number, pid in lines:
            if caller == who:
                runs.setdefault(pid, []).append(number)
        assert {number for run in runs.values() for number in run} == set(range(made[who])), "every call ran"
        for run in runs.values():
            assert run == list(range(run[0], run[0] + len(run))), "in the order in which they were made"
    assert get(recorder.pid.remote()) not in killed
    [row] = [row for row in ia.list_actors() if row["class_name"] == "Recorder"]
    assert row["incarnation"] == len(killed) == kills


def test_calls_of_an_actor_to_an_actor_survive_both_their_crashes() -> None:
    """The inner one is killed while the outer waits for it; then the outer with all that it holds."""

    @ia.remote(max_restarts=1, max_task_retries=1)
    class Outer:
        def __init__(self, log: Any) -> None:
            self.log = log

        def tell(self, entry: str) -> str:
            return str(ia.get(self.log.add.remote(entry)))

        def pid(self) -> int:
            return os.getpid()

    log = Log.options(max_restarts=1, max_task_retries=1).remote()
    outer = Outer.remote(log)
    assert get(outer.tell.remote("one")) == "one"
    os.kill(get(log.pid.remote()), signal.SIGKILL)
    assert get(outer.tell.remote("two")) == "two"
    os.kill(get(outer.pid.remote()), signal.SIGKILL)
    assert get(outer.tell.remote("three")) == "three"
    assert get(log.read.remote()) == ["two", "three"]
