"""A durable actor that is killed again and again gets on: what it has done is done, also while nobody waits for it."""

from __future__ import annotations

import os
import pathlib
import signal
import threading
from typing import Any

import pytest

import ipyactors as ia
from tests.support import durable
from tests.support.durable import get, kill
from tests.support.gates import Gate, Tally, until


def test_calls_that_are_taken_up_again_are_done_one_by_one(shared_runtime: Any, tmp_path: pathlib.Path) -> None:
    @shared_runtime.remote(durable=True)
    class Steps:
        def take(self, number: int, gate: Gate, tally: Tally) -> int:
            tally.add(f"{number} began")
            gate.wait()
            return number

    gates = [Gate(tmp_path / f"gate-{number}") for number in range(3)]
    tally = Tally(tmp_path / "tally")
    steps = Steps.remote()
    refs = [steps.take.remote(number, gate, tally) for number, gate in enumerate(gates)]
    durable.until(lambda: tally.lines().count("0 began") == 1, "the first step, in line with the others")
    durable.kill(steps)
    gates[0].open()
    durable.until(lambda: "1 began" in tally.lines(), "the second step")
    durable.kill(steps)
    gates[1].open()
    durable.until(lambda: "2 began" in tally.lines(), "the third step")
    gates[2].open()
    assert durable.get(refs) == [0, 1, 2]
    assert "0 calls replayed" not in durable.recoveries(steps)[1]


def wait_while(file: pathlib.Path) -> None:
    while file.exists():
        threading.Event().wait(0.01)


@ia.remote(durable=True, max_task_retries=1)
class Held:
    """Comes back, and has its work done, no sooner than nothing holds it; tells its process, and that work began."""

    def __init__(self, place: pathlib.Path) -> None:
        self.place = place

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        (self.place / "comes back").write_text(str(os.getpid()))
        wait_while(self.place / "hold back")

    @ia.method(effect="persist")
    def work(self) -> str:
        with (self.place / "began").open("a") as file:
            file.write(".")
        wait_while(self.place / "hold work")
        return "done"


@pytest.mark.parametrize("max_concurrency", [1, 2])
@pytest.mark.usefixtures("shared_runtime")
def test_a_death_on_the_way_back_is_not_blamed_on_a_call_that_did_not_run(
    max_concurrency: int, tmp_path: pathlib.Path
) -> None:
    held = Held.options(max_concurrency=max_concurrency).remote(tmp_path)
    get(held.checkpoint())
    for name in ("hold work", "hold back"):
        (tmp_path / name).touch()
    work, comes_back = held.work.remote(), tmp_path / "comes back"
    until((tmp_path / "began").exists, "the call to begin")
    kill(held)
    pid = int(until(lambda: comes_back.exists() and comes_back.read_text(), "the actor to come back"))
    os.kill(pid, signal.SIGKILL)
    until(lambda: not pathlib.Path(f"/proc/{pid}").exists(), "its end")
    for name in ("hold work", "hold back"):
        (tmp_path / name).unlink()
    assert get(work) == "done"
    assert (tmp_path / "began").read_text() == ".."
