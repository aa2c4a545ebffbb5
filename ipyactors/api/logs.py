"""The logs of workers: all that the user's code and its libraries have printed, whatever was shown of it."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Iterable

from ipyactors.api import runtime
from ipyactors.api.handles import ActorHandle, handle_of
from ipyactors.ground.exceptions import OptionError
from ipyactors.ground.tracebacks import without_our_frames
from ipyactors.owner import process
from ipyactors.owner.actors import ActorClient
from ipyactors.owner.refs import ObjectRef, ObjectRefGenerator
from ipyactors.wire.events import EventKind
from ipyactors.wire.interrupts import deferred

#: A log is read from its end in steps of this size, and no further than that.
_STEP_BYTES = 64 * 1024
_READ_AT_MOST_BYTES = 16 * 1024 * 1024

#: So many lines of a stack faulthandler writes, once, when the process crashes in native code; many are ours.
_OF_CRASH_AT_MOST = 100


@dataclasses.dataclass(frozen=True, slots=True)
class WorkerLog:
    """The end of one worker's log.

    ``what`` tells whose process it was: an incarnation of an actor, an attempt of a task. ``number`` is that
    incarnation's or attempt's, from 0. ``path`` is the file, which lasts as long as the session's folder.
    ``is_whole``: there is nothing before these ``lines``.
    """

    what: str
    number: int
    lines: tuple[str, ...]
    path: str = dataclasses.field(repr=False)
    is_whole: bool

    def __str__(self) -> str:
        count = len(self.lines)
        which = "the last " if not self.is_whole else "all " if count > 1 else ""
        title = f"{self.what}, {which}{count} line{'s' * (count != 1)}:" if count else f"{self.what}: no lines"
        return "\n".join([title, *(f"    {line}" for line in self.lines)])


class WorkerLogs(tuple[WorkerLog, ...]):
    """The logs of the processes that an actor or a call has had, oldest first; its text is theirs."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "\n".join(map(str, self)) or "No worker has had it, so there is no log."


def logs(subject: ActorHandle | str | ObjectRef | ObjectRefGenerator, lines: int = 100) -> WorkerLogs:
    """Return the last ``lines`` lines of what the processes of an actor have printed, one log for each incarnation.

    An actor is given by its handle, or by its name in this process's namespace while it lives (``describe_actor`` also
    shows the log of one that is dead). For a reference, they are those of the workers that its call's attempts ran on:
    a worker runs many tasks, one after the other, and has one log. Progress bars are there as they were at last.
    Processes are found that this one has heard of: a driver that came to a session later finds an actor's present one,
    and those since.

    Raises TypeError for other things, OptionError if ``lines`` is not a number from 1 on, ActorNotFoundError for a
    name that no live actor has, SessionError without a session.
    """
    __tracebackhide__ = True
    if not isinstance(lines, int) or isinstance(lines, bool) or lines < 1:
        raise OptionError(f"lines={lines!r}: takes a number of lines, at least 1. Nothing was read.", option="lines")
    runtime.engine_for("logs")
    if isinstance(subject, (ActorHandle, str)):
        handle = handle_of(subject, "logs")
        return logs_of_actor(handle._ipyactors_client, lines)
    if isinstance(subject, (ObjectRef, ObjectRefGenerator)):
        return _read_all(_workers_of_call(subject), lines)
    raise TypeError(f"logs takes an actor's handle or name, or a reference, not {type(subject).__name__}.")


def logs_of_actor(client: ActorClient, lines: int) -> WorkerLogs:
    """Return the logs of an actor of which there may be no handle: see :func:`logs`."""
    return _read_all(_workers_of_actor(client), lines)


def _read_all(workers: _Workers, lines: int) -> WorkerLogs:
    session = process.session()
    assert session is not None, "an engine has a session"
    found = ((what, number, session.paths.log_path(worker_id)) for worker_id, (what, number) in workers.items())
    return WorkerLogs(_read(*one, lines) for one in found if os.path.exists(one[2]))


#: What tells which process an incarnation was.
_OF_INCARNATIONS = {EventKind.ACTOR_ALIVE, EventKind.ACTOR_DIED, EventKind.ACTOR_DEAD}

#: By worker id: whose process it is, in words, and its number.
_Workers = dict[bytes, tuple[str, int]]


def _workers_of_actor(client: ActorClient) -> _Workers:
    engine = runtime.engine()
    about = [
        (event.incarnation, event.worker_id)
        for event in engine.events()
        if event.actor_id == client.actor_id and event.kind in _OF_INCARNATIONS
    ]
    about += [
        (status.incarnation, status.worker_id)
        for status in engine.describe_cluster().actors
        if status.actor_id == client.actor_id
    ]
    return _named(about, f"{client.label}, incarnation")


def _workers_of_call(ref: ObjectRef | ObjectRefGenerator) -> _Workers:
    task_id = ref.call.task_id if isinstance(ref, ObjectRefGenerator) else bytes.fromhex(ref.task_id())
    events = [event for event in runtime.engine().events() if event.task_id == task_id]
    about = [(event.attempt, event.worker_id) for event in events]
    name = events[0].name if events else ""
    session = process.session()
    assert session is not None, "an engine has a session"
    with deferred(), session.lock:
        for worker_id, holder in session.state.holders.items():
            for running in holder.in_flight.values():
                if running.task_id == task_id:
                    about.append((running.attempt, worker_id))
                    name = running.name
    return _named(about, f"{name}, attempt", first=1)


def _named(about: Iterable[tuple[int, bytes]], what: str, first: int = 0) -> _Workers:
    """Return workers by id. People count incarnations from 0, and attempts from 1."""
    return {worker_id: (f"{what} {number + first}", number) for number, worker_id in sorted(about) if worker_id}


def _read(what: str, number: int, path: str, count: int) -> WorkerLog:
    """Return the last ``count`` lines of a file, without stack frames of ours after a crash in native code."""
    with pathlib.Path(path).open("rb") as file:
        start = end = file.seek(0, os.SEEK_END)
        tail = b""
        while start and tail.count(b"\n") <= count + _OF_CRASH_AT_MOST and end - start < _READ_AT_MOST_BYTES:
            size = min(_STEP_BYTES, start)
            start -= size
            file.seek(start)
            tail = file.read(size) + tail
    lines = tail.decode("utf-8", "replace").split("\n")
    if not lines[-1]:
        lines.pop()
    lines = list(without_our_frames(lines))
    is_whole = not start and len(lines) <= count
    seen = (line.rstrip("\r").rpartition("\r")[2] for line in lines[-count:])  # of a bar, its last state
    return WorkerLog(what, number, tuple(seen), path, is_whole)
