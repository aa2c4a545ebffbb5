"""Durable actors in tests: where their process is, how it is ended, what is in their folder."""

from __future__ import annotations

import contextlib
import os
import pathlib
import random
import signal
import threading
import time
from types import TracebackType
from typing import Any, Self

import ipyactors as ia
from ipyactors.durable import log
from ipyactors.durable.folder import Folder
from ipyactors.wire.specs import ActorState
from tests.support import anatomy
from tests.support.gates import LIMIT_S, until

#: So many deaths in a row that interrupt its first call are borne by any actor.
_FRUITLESS_AT_MOST = 3

#: An actor that has had nothing to do for this long is not given up for the deaths before.
_RESTED_S = 2.0


def get(refs: Any) -> Any:
    """Return what references refer to; nothing takes longer, on however busy a machine."""
    return ia.get(refs, timeout=LIMIT_S)


def actor_id(handle: Any) -> bytes:
    known: bytes = handle._ipyactors_client.actor_id
    return known


def status(handle: Any) -> Any:
    """Return what the head knows of an actor."""
    from ipyactors.api import runtime

    cluster = runtime.engine().describe_cluster()
    return next(one for one in cluster.actors if one.actor_id == actor_id(handle))


def pid_of(handle: Any) -> int:
    """Return the process of an actor; waits for it if the actor is coming back."""

    def look() -> int:
        now = status(handle)
        assert now.state is not ActorState.DEAD, now
        return now.pid if now.state is ActorState.ALIVE else 0

    return until(look, "a process of the actor")


def kill(handle: Any) -> None:
    """End the actor's process, and wait until it is gone."""

    def end() -> int:
        pid = pid_of(handle)
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:  # one that was killed before, and is not known to be gone yet
            return 0
        return pid

    pid = until(end, "a process to end")
    until(lambda: not pathlib.Path(f"/proc/{pid}").exists(), "its end")


def folder(handle: Any) -> pathlib.Path:
    """Return the folder with the actor's log."""
    return pathlib.Path(anatomy.paths().actor_dir(actor_id(handle)))


def records(handle: Any, kind: type) -> list[Any]:
    """Return the records of one kind that are in the actor's log, in their order."""
    contents = log.read(Folder(folder(handle)), actor_id(handle), 0)
    return [one.body for one in contents.records if isinstance(one.body, kind)]


def recoveries(handle: Any) -> list[str]:
    """Return how the actor came back, each time, in words."""
    own = actor_id(handle)
    return [one.detail for one in ia.events() if one.kind == "actor_recovered" and one.actor_id == own]


class Killer:
    """Ends processes of actors at random moments while its block runs; ``kills`` counts.

    An actor that was killed a few times without having ended a call is spared until it has: else it would be given up.
    """

    def __init__(self, *handles: Any, seed: int, at_least: int = 1) -> None:
        self._handles = handles
        self._random = random.Random(seed)
        self._at_least = at_least
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._begun = dict.fromkeys(handles, 0)
        self._fruitless = dict.fromkeys(handles, 0)
        self._killed_s = dict.fromkeys(handles, 0.0)
        self.kills = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._over.set()
        self._thread.join(LIMIT_S)
        assert not self._thread.is_alive()
        assert error is not None or self.kills >= self._at_least

    def wait_for_kills(self, count: int) -> None:
        until(lambda: self.kills >= count, f"{count} kills")

    def _run(self) -> None:
        while not self._over.wait(self._random.uniform(0.005, 0.08)):
            handle = self._random.choice(self._handles)
            now = status(handle)
            if now.state is ActorState.ALIVE and now.pid and self._may_kill(handle):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(now.pid, signal.SIGKILL)
                    self.kills += 1

    def _may_kill(self, handle: Any) -> bool:
        """Return whether the actor has begun a second call since its last death, or rested, or did not die often."""
        file = folder(handle) / "begun"
        begun = int.from_bytes(file.read_bytes()[:8], "little") if file.exists() else 0
        now_s = time.monotonic()
        if begun > self._begun[handle] + 1 or now_s > self._killed_s[handle] + _RESTED_S:
            self._begun[handle], self._fruitless[handle] = begun, 0
        if self._fruitless[handle] >= _FRUITLESS_AT_MOST:
            return False
        self._fruitless[handle] += 1
        self._killed_s[handle] = now_s
        return True
