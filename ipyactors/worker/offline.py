"""The log of a durable actor done again without the actor: no session, no cluster, and its folder is only read.

The methods run as in a recovery: each with the arguments that it had, given what the log says that it took from
outside; and each must come to the end that the log says. What they do besides that no log knows of (files that they
write, say) is done again: there is no dry run of somebody's code.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import pathlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

from ipyactors.durable import replays, spec_file, store_url
from ipyactors.durable.disk import Disk
from ipyactors.durable.folder import Folder
from ipyactors.durable.replays import Plan
from ipyactors.ground.exceptions import LogDamagedError, RecoveryFailedError, SessionError
from ipyactors.owner import current, process
from ipyactors.wire.specs import ActorSpec
from ipyactors.worker.offline_replayer import FSCK, Loops, OfflineReplayer, Replayed, ReplayedCall, failed
from ipyactors.worker.offline_session import OfflineSession

__all__ = ["Replayed", "ReplayedCall", "plan", "replay"]


def plan(path: pathlib.Path) -> Plan:
    """Return from where the calls of the actor in this folder can be done again. Runs nothing of the user's.

    Raises RecoveryFailedError, LogDamagedError.
    """
    disk = Folder(path)
    return _plan(disk, _read_spec(disk, path))


def replay(
    path: pathlib.Path,
    *,
    until: int | None = None,
    from_oldest: bool = True,
    since: str | None = None,
    on_call: Callable[[ReplayedCall], None] | None = None,
    on_begin: Callable[[int], None] | None = None,
    on_checkpoint: Callable[[str, Any], None] | None = None,
) -> Replayed:
    """Do the calls in the log of a durable actor again, and compare how they end; return what they have come to.

    ``path`` is the actor's folder, in which nothing is written or locked. ``until``: the lsn of the last call; without
    it, the end of the log. The replay begins as far back as possible, which is the constructor if the log reaches back
    to it; ``from_oldest=False``: with the newest checkpoint that will do; ``since``: with the checkpoint of this id
    (empty: the constructor). ``on_call`` is called after each call, ``on_begin`` before each with its lsn, and
    ``on_checkpoint`` with the instance where it has come to the state of a checkpoint that is kept, and the id of that.

    The actor's methods run in this process, in the calling thread, and do again what they do outside of the actor,
    files that they write included. What they import must be importable here. Methods marked ``effect="persist"`` are
    never run again: a replay cannot pass them.

    The process must have no session, and has none afterwards; what belongs to the actor is of no use then.

    Raises ReplayDivergenceError: a call does not do again what it did. Raises RecoveryFailedError, LogDamagedError,
    SerializationError: it cannot be replayed, the text tells why. Raises SessionError in a process with a session.
    """
    if process.session() is not None:
        raise SessionError(
            "replay: this process has a session, and what the actor's code does would become part of it. Nothing was "
            "run. Use `ipyactors replay`, or call it in another process."
        )
    disk = Folder(path)
    spec = _read_spec(disk, path)
    planned = _plan(disk, spec)
    # As a worker does: definitions are of what is up there, and cannot be unpickled before.
    importlib.import_module("ipyactors.api.actor")
    importlib.import_module("ipyactors.api.remote")
    try:
        start = planned.choose(until, from_oldest=from_oldest) if since is None else planned.find(since)
    except ValueError as error:
        raise failed(spec, f"it cannot be replayed: {error}") from error
    wanted = planned.end if until is None else until
    if since is not None:
        wanted = min(wanted, start.until)
    with _session(path, spec) as session, contextlib.closing(Loops()) as loops:
        again = OfflineReplayer(spec, disk, path, planned, session, loops, on_call or _ignore, on_begin or _ignore)
        again.on_checkpoint = on_checkpoint or _ignore
        replayed = again.run(start, wanted)
    replayed.notes = (*_notes(planned, spec), *replayed.notes)
    return replayed


def _ignore(*_: object) -> None:
    """Do nothing."""


def _read_spec(disk: Disk, path: pathlib.Path) -> ActorSpec:
    try:
        spec = spec_file.read(disk)
    except (OSError, ValueError, RecursionError) as error:
        raise RecoveryFailedError(
            f"the actor's specification at {path / 'spec'} cannot be read: {error}. {FSCK}."
        ) from error
    if spec.durability is None:
        raise failed(spec, "its specification is not that of a durable actor")
    return spec


def _plan(disk: Disk, spec: ActorSpec) -> Plan:
    try:
        planned = replays.plan(replays.read(disk, spec.actor_id))
    except LogDamagedError as error:
        raise LogDamagedError(f"{error} {FSCK}.", actor_id=spec.actor_id.hex()) from error
    except OSError as error:
        raise failed(spec, f"its folder cannot be read: {error}") from error
    if not _has_lasting_checkpoints(spec):
        planned = dataclasses.replace(planned, starts=tuple(one for one in planned.starts if one.checkpoint is None))
    return planned


def _has_lasting_checkpoints(spec: ActorSpec) -> bool:
    return spec.durability is None or not spec.durability.store.lower().startswith(f"{store_url.MEMORY}:")


@contextlib.contextmanager
def _session(path: pathlib.Path, spec: ActorSpec) -> Iterator[OfflineSession]:
    """Give this process what stands for a session, and the actor."""
    folder = path.resolve().parent
    name = folder.parent.name if folder.name == "actors" else "replay"
    with tempfile.TemporaryDirectory(prefix="ipyactors-") as run_dir:
        session = OfflineSession(name, run_dir, spec.namespace)
        process.set_session(session)
        current.set_actor(spec, 0)
        try:
            yield session
        finally:
            process.leave_session()
            session.close()


def _notes(planned: Plan, spec: ActorSpec) -> Iterator[str]:
    yield from (f"{name} is no use: {problem}" for name, problem in planned.remains.problems.items())
    version = sys.version.partition(" ")[0]
    if planned.opened is not None and planned.opened.python not in ("", version):
        yield f"The log was written by Python {planned.opened.python}; this is {version}."
    if not _has_lasting_checkpoints(spec) and planned.remains.checkpoints:
        yield "Its checkpoints were in the memory of its process. The log is kept from the beginning on."
    if spec.durability is not None and spec.durability.by_itself:
        yield "The actor loads its checkpoints itself: they are taken for what they were."
