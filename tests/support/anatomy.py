"""Who is who among the processes of the session that this process has started, for tests that end one of them."""

from __future__ import annotations

import os
import pathlib

import psutil

from ipyactors.engines.local import LocalEngine
from ipyactors.ground.config import SessionPaths
from tests.support.gates import until


def _engine() -> LocalEngine:
    from ipyactors.api import runtime

    engine = runtime.live_engine()
    assert isinstance(engine, LocalEngine), "there is no session"
    return engine


def paths() -> SessionPaths:
    """Return the folders of the session."""
    return _engine().session.paths


def agent() -> psutil.Process:
    """Return the agent."""
    started = _engine()._agent
    assert started is not None
    return psutil.Process(started.pid)


def head() -> psutil.Process:
    """Return the head; waits for it if it is being started again."""
    return _child_with_log("head.log")


def zygote() -> psutil.Process:
    """Return the zygote; waits for it if it is being started again."""
    return _child_with_log("zygote.log")


def workers() -> list[psutil.Process]:
    """Return the children of the zygote."""
    return zygote().children()


def _child_with_log(name: str) -> psutil.Process:
    """Return the agent's child that writes to the log ``name``; forks of one interpreter do not differ in title."""
    log = pathlib.Path(paths().state_dir, "logs", name)

    def look() -> psutil.Process | None:
        return next((child for child in agent().children() if _output_of(child.pid) == str(log)), None)

    return until(look, f"a process that writes to {log}")


def _output_of(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/fd/1")
    except OSError:
        return ""
