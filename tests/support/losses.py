"""What tests of lost data share: a count of what ran, and where; a way to lose a value."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
from typing import Any

from tests.support import anatomy
from tests.support.gates import until


class Runs:
    """Counts what ran, and in which processes, in a file that every process appends to."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        path.touch()

    def note(self, name: str) -> None:
        with open(self.path, "a", encoding="ascii") as file:
            file.write(f"{name} {os.getpid()}\n")

    def counts(self) -> dict[str, int]:
        names = [name for name, _ in self._lines()]
        return {name: names.count(name) for name in sorted(set(names))}

    def kill(self, name: str) -> None:
        """End the process that ran ``name`` last, and wait until it is gone."""
        pid = [int(pid) for ran, pid in self._lines() if ran == name][-1]
        os.kill(pid, signal.SIGKILL)
        until(lambda: not pathlib.Path(f"/proc/{pid}").exists(), "its end")

    def _lines(self) -> list[list[str]]:
        return [line.split() for line in self.path.read_text(encoding="ascii").splitlines()]


def lose(ref: Any) -> None:
    """Remove the data of a value from this machine, as a fault would."""
    paths = anatomy.paths()
    for folder in (paths.store_dir, paths.spill_dir):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{folder}/{ref.hex()}")
