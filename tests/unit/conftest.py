"""What unit tests have: a process to look at and to end; and they run in no call, whatever ran before them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from ipyactors.owner import current, scopes


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that sleeps until it is killed, in a process group of its own."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


@pytest.fixture(autouse=True)
def _in_no_call(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tests of workers run calls in this thread, and leave their marks; so do those of a notebook's cells."""
    monkeypatch.setattr(current, "_actor", None)
    monkeypatch.setattr(current, "_incarnation", 0)
    monkeypatch.setattr(scopes, "_latest", 0)
    current.call.set(None)
    scopes._scope.set(0)
    yield
    current.call.set(None)
    scopes._scope.set(0)
