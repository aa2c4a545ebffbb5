"""What :mod:`ipyactors.durable.fsck` finds in an actor's folder, as facts for programs and sentences for people.

Ids are text, as people see them: hexadecimal; those of processes begin with the letter that tells their kind.
"""

from __future__ import annotations

import enum
from typing import Any

import msgspec

#: So many lost calls are told one by one.
_SHOWN = 12

_ENDS = {
    "returned": "which had returned",
    "raised": "which had raised",
    "aborted": "which was given up and had no effect",
    "unfinished": "of which no end can be read",
}


class Status(enum.IntEnum):
    """What all findings come to; also the exit status of the command."""

    CLEAN = 0
    """Nothing is wrong. A torn end is nothing wrong: nobody had been told of it."""
    RECOVERABLE = 1
    """Something is wrong, and no call is lost."""
    LOST = 2
    """Something is lost."""
    UNREADABLE = 3
    """It is no actor's folder, or cannot be read."""


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong: what, and what it means.

    ``position`` counts the log's bytes, ``offset`` those of the file; both are None where it is not about a place.
    """

    status: Status
    file: str
    problem: str
    meaning: str = ""
    position: int | None = None
    offset: int | None = None
    lsn: int | None = None

    @property
    def weight(self) -> str:
        """In a word, whether it costs anything."""
        return "lost" if self.status is Status.LOST else "wrong"

    @property
    def sentence(self) -> str:
        """The finding as a text."""
        place = f" at byte {self.offset:,} (position {self.position:,} of the log)" if self.offset is not None else ""
        lsn = f", behind lsn {self.lsn}" if self.lsn is not None else ""
        return f"{self.file}{place}{lsn}: {self.problem}.{' ' * bool(self.meaning)}{self.meaning}"


class SegmentFacts(msgspec.Struct, frozen=True):
    """One file of the log. ``torn_bytes`` at its end were never safe. ``end`` is where its records end in the log."""

    file: str
    start: int
    end: int
    records: int
    used_bytes: int
    allocated_bytes: int
    torn_bytes: int = 0


class IncarnationFacts(msgspec.Struct, frozen=True):
    """An incarnation that has written. ``interrupted`` is the lsn that was running when the one before it ended."""

    incarnation: int
    lsn: int
    level: str
    host: str
    python: str
    interrupted: int
    definition_id: str


class CheckpointFacts(msgspec.Struct, frozen=True):
    """One manifest. ``data`` is ``right``, ``missing``, ``damaged``, ``not looked at``, or ``its own``: the actor's.

    ``problem`` tells what of it does not fit the log; empty where all does.
    ``wall_s`` is when it was made, in seconds since 1970.
    """

    file: str
    number: int
    checkpoint_id: str
    lsn: int
    position: int
    incarnation: int
    wall_s: float
    size: int
    locator: str
    data: str
    problem: str = ""


class CallFacts(msgspec.Struct, frozen=True):
    """A call that can be read. ``outcome``: ``returned``, ``raised``, ``aborted``; ``unfinished`` if no end is seen."""

    lsn: int
    method: str
    caller: str
    counter: int
    outcome: str

    @property
    def words(self) -> str:
        """The call in a few words."""
        method = f"{self.method}()" if self.method else "a call that never came"
        return f"lsn {self.lsn}, {method} from {self.caller} number {self.counter}"


class RecordFacts(msgspec.Struct, frozen=True):
    """One record. ``is_safe`` is False for what is behind a torn end, and was never answered for."""

    lsn: int
    type: str
    what: str
    caller: str
    size: int
    incarnation: int
    file: str
    offset: int
    is_safe: bool = True


class BlobFacts(msgspec.Struct, frozen=True):
    """The large values that are in files of their own. ``waste`` are files that nothing names; ``wrong`` tells why."""

    referenced: int = 0
    size: int = 0
    wrong: dict[str, str] = {}
    waste: tuple[str, ...] = ()


class Saved(msgspec.Struct, frozen=True):
    """How far the state can be had: up to and with the call ``lsn``, from a checkpoint (empty: from the constructor).

    ``replayed`` calls follow it; those ``again`` are in the log without an end, and are executed for real then.
    ``position`` is up to where the log is used, ``since`` from where. ``is_all``: nothing is lost. ``by_itself``: the
    actor's next start comes to it without help.
    """

    lsn: int
    checkpoint_id: str
    checkpoint_lsn: int
    checkpoint_file: str
    replayed: int
    since: int
    position: int
    is_all: bool
    by_itself: bool
    again: tuple[CallFacts, ...] = ()


class FsckReport(msgspec.Struct, frozen=True):
    """All that is known of one actor's folder.

    ``held_by`` is the process that has the actor now (0: none, -1: not known which); then this is a moment's view.
    ``saved`` is None where no state can be had at all. ``lost`` are calls whose effect is lost and that can be read;
    ``unreadable`` are ranges of lsns (first, last) of which nothing can be read. ``lsn`` is the last one that is known
    of, ``begun`` the one that was begun last, None where that is not noted. ``waste`` is data that no checkpoint names:
    the actor's next start removes it. ``unborn`` tells why there never was an actor, if that is so: its constructor
    failed.
    """

    actor_id: str
    status: Status
    class_name: str = ""
    name: str = ""
    level: str = ""
    held_by: int = 0
    lsn: int = 0
    begun: int | None = None
    segments: tuple[SegmentFacts, ...] = ()
    records: dict[str, int] = {}
    calls: dict[str, int] = {}
    incarnations: tuple[IncarnationFacts, ...] = ()
    checkpoints: tuple[CheckpointFacts, ...] = ()
    blobs: BlobFacts = BlobFacts()
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    saved: Saved | None = None
    lost: tuple[CallFacts, ...] = ()
    unreadable: tuple[tuple[int, int], ...] = ()
    listing: tuple[RecordFacts, ...] = ()
    waste: tuple[str, ...] = ()
    unborn: str = ""

    def to_dict(self, path: str = "DIR") -> dict[str, Any]:
        """Return the same facts as plain values, for JSON, and the sentences."""
        made: dict[str, Any] = msgspec.to_builtins(self)
        said = {"verdict": self.verdict, "explanation": self.explanation(), "advice": self.advice(path)}
        return made | said

    @property
    def verdict(self) -> str:
        """What it comes to, in one sentence."""
        if self.status is Status.UNREADABLE:
            return "This is no actor's folder, or it cannot be read."
        if self.saved is None:
            return "Something is lost: no state can be had from this folder."
        if self.unborn and self.status is Status.CLEAN:
            return f"Clean: there is no state, for the actor never came to be: {self.unborn.rstrip('.')}."
        state = "the state before the first call"
        if self.saved.lsn:
            state = f"the state up to lsn {self.saved.lsn}"
        match self.status:
            case Status.CLEAN:
                return f"Clean: {state} is there."
            case Status.RECOVERABLE:
                return f"Something is wrong, and no call is lost: {state}, which is all of it, can be had."
            case _:
                return f"Something is lost: {state} can be had."

    def explanation(self) -> list[str]:
        """Return sentences that tell how the state is had, and what is lost."""
        said: list[str] = []
        if self.saved is not None and self.status is not Status.UNREADABLE:
            if not self.unborn:
                said.append(_how(self.saved))
            if self.saved.again:
                calls = "; ".join(call.words for call in self.saved.again)
                said.append(f"Executed for real after that, because the log has no end of them: {calls}.")
        for first, last in self.unreadable:
            what = f"lsn {first}" if first == last else f"lsn {first} to {last}"
            said.append(f"Lost: {what}, of which nothing can be read.")
        said += [f"Lost: {call.words}, {_ENDS[call.outcome]}." for call in self.lost[:_SHOWN]]
        if len(self.lost) > _SHOWN:
            said.append(f"Lost: {len(self.lost) - _SHOWN} more calls, up to lsn {self.lost[-1].lsn}.")
        if self.status is Status.LOST and not self.lost and not self.unreadable:
            said.append("Which calls are lost, if any, cannot be told: nothing of them can be read.")
        return said

    def advice(self, path: str) -> list[str]:
        """Return what to do next about the folder at ``path``, a command where there is one."""
        if self.status is Status.CLEAN or self.status is Status.UNREADABLE:
            return []
        if self.saved is None:
            return ["Nothing here helps: bring the folder back from a copy. Keep this one until then."]
        said = []
        if self.status is Status.LOST:
            said.append("A copy of the folder from before the damage, if there is one, has what is lost here.")
        if self.saved.by_itself:
            rest = "What is lost stays lost." if self.status is Status.LOST else "Nothing has to be done."
            said.append(f"The actor's next start comes to this state by itself. {rest}")
        else:
            said.append(
                "The actor's next start does not come to this state from the folder as it is. This writes what can be "
                f"saved into a new one, and changes nothing here: ipyactors fsck {path} --save-to NEW"
            )
        return said


def _how(saved: Saved) -> str:
    source = "From the constructor"
    if saved.checkpoint_file:
        source = f"From checkpoint {saved.checkpoint_id} (lsn {saved.checkpoint_lsn}, {saved.checkpoint_file})"
    count = (
        "no call is" if not saved.replayed else "1 call is" if saved.replayed == 1 else f"{saved.replayed} calls are"
    )
    return f"{source}, {count} replayed."
