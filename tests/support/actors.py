"""Actors that many tests need, and how long a test waits."""

from __future__ import annotations

import os
import pathlib
import time
from collections.abc import Callable
from typing import Any

import psutil

import ipyactors as ia

#: No answer takes longer than this, on however busy a machine.
PATIENCE_S = 60


@ia.remote
class Log:
    """Remembers what it was told, in the order in which it was told."""

    def __init__(self) -> None:
        self.entries: list[Any] = []

    def add(self, entry: Any) -> Any:
        self.entries.append(entry)
        return entry

    def read(self) -> list[Any]:
        return self.entries

    def pid(self) -> int:
        return os.getpid()


@ia.remote
class Keeper:
    """Holds a handle in its state."""

    def __init__(self, held: Any = None) -> None:
        self.held = held

    def keep(self, held: Any) -> None:
        self.held = held

    def give(self) -> Any:
        return self.held

    def tell(self, entry: Any) -> Any:
        return ia.get(self.held.add.remote(entry))


def get(refs: Any) -> Any:
    return ia.get(refs, timeout=PATIENCE_S)


def wait_for(path: pathlib.Path) -> None:
    """Return when the file is there; the one way in which tests make code wait for the test."""
    _wait_until(path.exists, f"{path} never came")


def wait_until_gone(pid: int) -> None:
    """Return when the process has ended."""
    _wait_until(lambda: not psutil.pid_exists(pid), f"process {pid} does not end")


def _wait_until(is_so: Callable[[], bool], complaint: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, complaint
        time.sleep(0.002)
