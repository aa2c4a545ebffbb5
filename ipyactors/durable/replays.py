"""From where a durable actor's calls can be done again, and how far: decided from what its folder says.

A replay begins with what the constructor makes, if the log reaches back to it, or with a checkpoint. It cannot pass a
call of a ``persist`` method, which need not do the same again: only the checkpoint that was made when it ended has what
it did, and a replay from there goes on.
"""

from __future__ import annotations

import dataclasses

from ipyactors.durable import log, manifest, recovery
from ipyactors.durable.actor_log import Remains
from ipyactors.durable.disk import Disk
from ipyactors.durable.log import Contents
from ipyactors.durable.manifest import Manifest
from ipyactors.durable.record import Call, Done, Open
from ipyactors.durable.recovery import Switch
from ipyactors.ground.exceptions import LogDamagedError

#: An actor that runs makes and removes files while they are read.
_READINGS = 5


@dataclasses.dataclass(frozen=True, slots=True)
class Start:
    """A state from which calls can be done again: that of ``checkpoint``, or what the constructor makes (None).

    ``until`` is the last lsn that can be come to; ``because`` tells why no later one can, empty if that is the last.
    ``switches`` are the checkpoints and upgrades on the way.
    """

    checkpoint: Manifest | None
    until: int
    because: str = ""
    switches: tuple[Switch, ...] = ()

    @property
    def lsn(self) -> int:
        """The last call that the state has."""
        return 0 if self.checkpoint is None else self.checkpoint.lsn

    @property
    def checkpoint_id(self) -> str:
        """The checkpoint's id; empty for the constructor."""
        return "" if self.checkpoint is None else self.checkpoint.data.checkpoint_id

    def __str__(self) -> str:
        if self.checkpoint is None:
            return "the constructor"
        return f"checkpoint {self.checkpoint_id[:10]} (after lsn {self.lsn})"


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """All that can be replayed. ``starts`` are in the order of their lsns; ``end`` is the last lsn that is known.

    ``persist`` are the calls that no replay does again, ``ended`` all calls that have ended; ``opened`` is the last
    OPEN.
    """

    remains: Remains
    starts: tuple[Start, ...]
    end: int
    persist: tuple[int, ...]
    ended: frozenset[int]
    opened: Open | None

    def choose(self, until: int | None = None, *, from_oldest: bool = True) -> Start:
        """Return the oldest start, or the newest, from which the state after ``until`` can be had (None: the last).

        Raises ValueError: there is none.
        """
        wanted = self.end if until is None else until
        if not 0 <= wanted <= self.end:
            raise ValueError(f"there is no call at lsn {wanted}: the log ends at {self.end}")
        before = [one for one in self.starts if one.lsn <= wanted]
        fitting = [one for one in before if one.until >= wanted]
        if fitting:
            return fitting[0 if from_oldest else -1]
        if before:
            raise ValueError(f"no replay comes to lsn {wanted}: {before[-1].because}")
        if self.starts:
            raise ValueError(f"the state after lsn {wanted} is gone: what is kept begins with {self.starts[0]}")
        raise ValueError("no checkpoint is there, and the log does not reach back to the beginning")

    def find(self, checkpoint_id: str) -> Start:
        """Return the start of this name: a checkpoint's id, or nothing for the constructor. Raises ValueError.

        What the id of only one begins with will do: people are shown no more.
        """
        begin_so = [one for one in self.starts if checkpoint_id and one.checkpoint_id.startswith(checkpoint_id)]
        exact = [one for one in self.starts if one.checkpoint_id == checkpoint_id]
        for found in (exact, begin_so):
            if len(found) == 1:
                return found[0]
        if begin_so:
            raise ValueError(f"the ids of {len(begin_so)} checkpoints begin with {checkpoint_id}")
        raise ValueError(
            f"{f'checkpoint {checkpoint_id}' if checkpoint_id else 'the beginning'} is not there (any more)"
        )

    def left_out(self) -> tuple[int, ...]:
        """Return the ended calls behind the oldest start that no start comes to, persist methods aside."""
        since = self.starts[0].lsn if self.starts else self.end
        covered = {lsn for one in self.starts for lsn in range(one.lsn + 1, one.until + 1)}
        return tuple(
            sorted(lsn for lsn in self.ended if lsn > since and lsn not in covered and lsn not in self.persist)
        )


def read(disk: Disk, actor_id: bytes) -> Remains:
    """Read all of an actor's folder, as far back as it reaches. Raises LogDamagedError, OSError; changes nothing."""
    for left in reversed(range(_READINGS)):
        names = disk.names()
        try:
            checkpoints, problems = manifest.read_all(disk)
            contents = log.read(disk, actor_id, min(log.segments_of(disk), default=0))
        except (LogDamagedError, OSError):
            if left and set(names) != set(disk.names()):
                continue
            raise
        return Remains(actor_id, tuple(checkpoints), contents, problems)
    raise AssertionError("the last reading returns or raises")


def plan(remains: Remains) -> Plan:
    """Return from where an actor's calls can be done again."""
    records = remains.contents.records
    calls = {one.lsn: one.body for one in records if isinstance(one.body, Call)}
    ended = {one.lsn for one in records if isinstance(one.body, Done)}
    by_checkpoint = {done.call_id for one in remains.checkpoints for done in one.ended}
    persist = {
        lsn: call.method
        for lsn, call in calls.items()
        if call.is_persist and (lsn in ended or call.call_id in by_checkpoint)
    }
    manifests = sorted(remains.checkpoints, key=lambda one: one.number)
    end = max([0, *(one.lsn for one in records), *(one.lsn for one in manifests)])
    reaches_back = bool(remains.contents.segments) and remains.contents.segments[0].start == 0
    begun: list[Manifest | None] = [None, *manifests] if reaches_back else [*manifests]
    starts = tuple(_start(one, remains, persist, end) for one in begun)
    opened = next((one.body for one in reversed(records) if isinstance(one.body, Open)), None)
    return Plan(remains, starts, end, tuple(persist), frozenset(ended), opened)


def truncated(contents: Contents, until: int) -> Contents:
    """Return a log without the calls behind ``until``."""
    return dataclasses.replace(
        contents,
        segments=tuple(
            dataclasses.replace(part, records=tuple(one for one in part.records if one.lsn <= until))
            for part in contents.segments
        ),
    )


def _start(checkpoint: Manifest | None, remains: Remains, persist: dict[int, str], end: int) -> Start:
    since = 0 if checkpoint is None else checkpoint.lsn
    until, because = end, ""
    for lsn, method in sorted(persist.items()):
        if lsn > since:
            until, because = lsn - 1, f"lsn {lsn} is a call of {method}, a persist method, which is not done again"
            break
    switches = recovery.switches_after(checkpoint, remains.contents, remains.checkpoints)
    return Start(checkpoint, until, because, tuple(one for one in switches if one.lsn <= until))
