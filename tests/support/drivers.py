"""Drivers in processes of their own: what they run, how they are ended, and what is left of their sessions then."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from tests.support.leaks import RunFolders, find_leaks

_ROOT = pathlib.Path(__file__).parents[2]

#: What every driver can use. ``say`` tells the test that a point is reached; ``listen`` waits for the test's answer.
_PRELUDE = """
import ctypes, os, signal, subprocess, sys, time
import ipyactors as ia

def say(*words):
    print(*words, flush=True)

def listen():
    return sys.stdin.readline().strip()

@ia.remote
def add(one, other):
    return one + other

@ia.remote(max_retries=-1)
def hang(path):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    open(path, "w").close()
    time.sleep(1000)

@ia.remote
def hold_the_interpreter(path):
    open(path, "w").close()
    ctypes.PyDLL(None).sleep(1000)

@ia.remote
def leave_children(path):
    subprocess.Popen(["sleep", "1000"])
    # Out of reach of a signal to the worker's process group, and an orphan when this ends.
    subprocess.run(["sh", "-c", "setsid sleep 1000 & echo"], stdout=subprocess.DEVNULL)
    open(path, "w").close()

@ia.remote(max_restarts=-1)
class Counter:
    def __init__(self):
        self.count = 0
    def add(self):
        self.count += 1
        return self.count
    def hang(self, path):
        open(path, "w").close()
        time.sleep(1000)

def wait_for(*paths):
    while not all(os.path.exists(path) for path in paths):
        time.sleep(0.002)
"""


class Driver:
    """A process that runs ``body`` after the prelude, in a folder and an environment of its own."""

    def __init__(self, folders: RunFolders, body: str) -> None:
        self.folders = folders
        self.process = subprocess.Popen(
            [sys.executable, "-c", _PRELUDE + body],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folders.top,
            env={**os.environ, **folders.environment(), "PYTHONPATH": str(_ROOT), "PYTHONFAULTHANDLER": ""},
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.process.kill()
        self.process.communicate()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def hear(self, word: str) -> str:
        """Wait until it says ``word`` as the first word of a line; return the rest of that line."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            first, _, rest = line.strip().partition(" ")
            if first == word:
                return rest
        assert self.process.stderr is not None
        raise AssertionError(f"the driver ended before it said {word!r}:\n{self.process.stderr.read()}")

    def tell(self, line: str) -> None:
        """Answer its ``listen()``."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def end(self, number: signal.Signals | None = None) -> tuple[int, str]:
        """Send it a signal, if any, and wait; return its exit status (negative: a signal) and its standard error."""
        if number is not None:
            self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=60)
        return self.process.returncode, errors


@contextlib.contextmanager
def clean_folders() -> Iterator[RunFolders]:
    """Folders for drivers' sessions; at the end of the block nothing of them may be left."""
    folders = RunFolders.make()
    yield folders
    assert find_leaks(folders) == []
    assert list(folders.sockets.iterdir()) == []
    folders.remove()
