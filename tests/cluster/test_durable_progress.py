"""A durable actor that is killed again and again gets on: what it has done is done, also while nobody waits for it."""

from __future__ import annotations

import pathlib
from typing import Any

from tests.support import durable
from tests.support.gates import Gate, Tally


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
