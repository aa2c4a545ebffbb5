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
    """Return the children of the zygote; none if it is gone."""
    try:
        return zygote().children()
    except psutil.NoSuchProcess:
        return []


def _child_with_log(name: str) -> psutil.Process:
    """Return the agent's child that writes to the log ``name``; forks of one interpreter do not differ in title."""

    def look() -> psutil.Process | None:
        return next((child for child in agent().children() if writes_to(child.pid, name)), None)

    return until(look, f"a child of the agent that writes to {name}")


def writes_to(pid: int, log: str) -> bool:
    """Return whether the standard output of a process goes to the session's log of that name."""
    return output_of(pid) == str(pathlib.Path(paths().state_dir, "logs", log))


def output_of(pid: int) -> str:
    """Return the file to which the standard output of a process goes; empty if it is gone."""
    try:
        return os.readlink(f"/proc/{pid}/fd/1")
    except OSError:
        return ""
