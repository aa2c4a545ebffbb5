"""The head is killed: what runs goes on, what is new works again, and nothing is lost, leaked or forgotten."""

from __future__ import annotations

import os
from typing import Any

import ipyactors as ia
from tests.support.gates import Gate


@ia.remote(max_retries=0)
def pass_gate(gate: Gate, value: Any) -> Any:
    """Run once: a second attempt would be an error."""
    gate.note_begun()
    gate.wait()
    return value


@ia.remote
def add(one: int, other: int) -> int:
    return one + other


@ia.remote
class Counter:
    def __init__(self, start: int = 0) -> None:
        self.value = start

    def add(self, amount: int = 1) -> int:
        self.value += amount
        return self.value

    def pid(self) -> int:
        return os.getpid()

    def pass_gate(self, gate: Gate) -> int:
        gate.note_begun()
        gate.wait()
        return self.add()
