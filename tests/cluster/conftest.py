"""What most tests of whole sessions have: a gate to hold tasks at, a tally of what was done, a few remote functions."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.gates import Gate, Tally


@pytest.fixture
def gate(tmp_path: pathlib.Path) -> Iterator[Gate]:
    """A gate; it is open at the latest when the test ends, so that whatever a failed one left waiting ends."""
    made = Gate(tmp_path / "gate")
    yield made
    made.open()


@pytest.fixture
def tally(tmp_path: pathlib.Path) -> Tally:
    return Tally(tmp_path / "tally")


@pytest.fixture
def tasks(shared_runtime: Any) -> Any:
    """Remote functions: one that echoes, one that waits for a gate, one that raises."""
    remote = shared_runtime.remote

    class Tasks:
        @staticmethod
        @remote
        def echo(value: Any) -> Any:
            return value

        @staticmethod
        @remote(num_cpus=0)
        def wait_for(gate: Gate, value: Any = None) -> Any:
            gate.wait()
            return value

        @staticmethod
        @remote
        def fail(text: str) -> None:
            raise ValueError(text)

    return Tasks


@pytest.fixture
def seen(capfd: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Return all that was shown so far, standard output first."""
    shown = ["", ""]

    def read() -> str:
        out, err = capfd.readouterr()
        shown[0] += out
        shown[1] += err
        return "".join(shown)

    return read
