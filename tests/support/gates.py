"""Files by which the code of tests and the code of tasks wait for each other. Light: workers import it."""

from __future__ import annotations

import os
import pathlib
import time
from collections.abc import Callable
from typing import TypeVar

#: Far beyond what a loaded machine needs; reached only when something hangs.
LIMIT_S = 60.0

Found = TypeVar("Found")


def until(look: Callable[[], Found], what: str) -> Found:
    """Look until something is found; the pause only spares the processor."""
    deadline = time.monotonic() + LIMIT_S
    while not (found := look()):
        assert time.monotonic() < deadline, f"not seen in {LIMIT_S} s: {what}"
        time.sleep(0.002)
    return found


class Gate:
    """A file that one side makes and the other waits for; travels as an argument."""

    def __init__(self, path: pathlib.Path | str) -> None:
        self.path = str(path)

    def open(self) -> None:
        """Let everybody pass who waits, now or later."""
        with open(self.path, "a"):
            pass

    def is_open(self) -> bool:
        """Return whether it was opened."""
        return os.path.exists(self.path)

    def wait(self) -> None:
        """Wait until it is open."""
        until(self.is_open, f"the gate {self.path}")


class Tally:
    """Counts what was done, in whichever process, however it ended after."""

    def __init__(self, path: pathlib.Path | str) -> None:
        self.path = str(path)

    def add(self, line: str = "x") -> int:
        """Note a line; return how many there are with it."""
        with open(self.path, "a") as file:
            file.write(f"{line}\n")
        return len(self.lines())

    def lines(self) -> list[str]:
        """Return what was noted."""
        try:
            with open(self.path) as file:
                return file.read().splitlines()
        except FileNotFoundError:
            return []
