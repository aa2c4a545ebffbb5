"""The plain facts of an actor's folder: whose it is, what is in it, and what may be missing without harm."""

from __future__ import annotations

import dataclasses
import struct
from collections import Counter
from collections.abc import Iterable

from ipyactors.durable import segment, spec_file
from ipyactors.durable.disk import Disk
from ipyactors.durable.fsck_report import CallFacts, IncarnationFacts, RecordFacts, SegmentFacts
from ipyactors.durable.record import Abort, Body, Call, Checkpoint, Done, Open, Outcome, Value
from ipyactors.durable.stretches import Reading
from ipyactors.wire.specs import ActorSpec

_LSN = struct.Struct("<Q")

_TYPES = (Open, Call, Value, Done, Abort, Checkpoint)
_OUTCOMES = ("returned", "raised", "aborted", "unfinished")


def spec_of(disk: Disk, names: Iterable[str]) -> tuple[ActorSpec | None, str]:
    """Return what the folder's specification says, None if there is none, and what is wrong with it."""
    if "spec" not in names:
        return None, ""
    try:
        return spec_file.read(disk), ""
    except (OSError, ValueError, RecursionError) as error:
        return None, f"it cannot be used: {error}"


def begun_of(disk: Disk, names: Iterable[str]) -> int | None:
    """Return the lsn that was begun last, as the mark says; None where there is none."""
    if "begun" not in names:
        return None
    try:
        content = disk.read("begun")
    except OSError:
        return None
    return int(_LSN.unpack_from(content)[0]) if len(content) >= _LSN.size else None


def whose(disk: Disk, names: Iterable[str], spec: ActorSpec | None) -> bytes | None:
    """Return whose folder it is, as most of its files say."""
    votes: Counter[bytes] = Counter()
    for name in names:
        if segment.start_of(name) is not None:
            try:
                head = segment.head_of(disk.read(name))
            except OSError:
                continue
            if head is not None:
                votes[head[0]] += 1
    if votes:
        return votes.most_common(1)[0][0]
    return spec.actor_id if spec is not None else None


def shown(identifier: bytes) -> str:
    """Return an id as people see it."""
    letter = identifier[:1]
    return letter.decode() + identifier[1:].hex() if letter.isalpha() and letter.isascii() else identifier.hex()


def call_facts(lsn: int, call: Call, outcome: str = "unfinished") -> CallFacts:
    """Return what people are told of a call."""
    return CallFacts(lsn, call.method, shown(call.caller_id), call.counter, outcome)


def _outcome(body: Done | Abort) -> str:
    if isinstance(body, Abort):
        return "aborted"
    return {Outcome.RETURNED: "returned", Outcome.RAISED: "raised"}.get(body.outcome, "aborted")


def calls_in(reading: Reading) -> tuple[dict[int, CallFacts], int]:
    """Return all calls that can be read, by lsn, and the greatest lsn of any record."""
    ends: dict[int, str] = {}
    calls: dict[int, CallFacts] = {}
    highest = 0
    for _, _, one in reading.located():
        highest = max(highest, one.lsn)
        if isinstance(one.body, (Done, Abort)):
            ends[one.lsn] = _outcome(one.body)
        if isinstance(one.body, Abort):
            never = CallFacts(one.lsn, "", shown(one.body.caller_id), one.body.counter, "aborted")
            calls.setdefault(one.lsn, never)
    for _, _, one in reading.located():
        if isinstance(one.body, Call):
            calls[one.lsn] = call_facts(one.lsn, one.body, ends.get(one.lsn, "unfinished"))
    return calls, highest


@dataclasses.dataclass(frozen=True, slots=True)
class Facts:
    """What a folder says of its actor."""

    class_name: str
    name: str
    level: str
    segments: tuple[SegmentFacts, ...]
    records: dict[str, int]
    calls: dict[str, int]
    incarnations: tuple[IncarnationFacts, ...]
    listing: tuple[RecordFacts, ...]


def tell(reading: Reading, spec: ActorSpec | None, *, with_listing: bool) -> Facts:
    """Return what the log and the specification say."""
    records = Counter(type(one.body) for _, _, one in reading.located())
    calls, _ = calls_in(reading)
    outcomes = Counter(call.outcome for call in calls.values())
    incarnations = tuple(
        IncarnationFacts(
            one.incarnation,
            one.lsn,
            one.body.level,
            one.body.host,
            one.body.python,
            one.body.interrupted,
            one.body.definition_id.hex(),
        )
        for _, _, one in reading.located()
        if isinstance(one.body, Open)
    )
    level = incarnations[-1].level if incarnations else ""
    if not level and spec is not None and spec.durability is not None:
        level = spec.durability.level
    return Facts(
        spec.class_name if spec is not None else "",
        spec.name if spec is not None else "",
        level,
        _segments(reading),
        {kind.__name__.upper(): records[kind] for kind in _TYPES},
        {outcome: outcomes[outcome] for outcome in _OUTCOMES},
        incarnations,
        _listing(reading) if with_listing else (),
    )


def _segments(reading: Reading) -> tuple[SegmentFacts, ...]:
    return tuple(
        SegmentFacts(piece.name, piece.start, piece.start, 0, 0, 0)
        if (part := piece.part) is None
        else SegmentFacts(piece.name, piece.start, part.end, len(part.records), part.used, part.size, piece.torn)
        for piece in reading.pieces
    )


def _listing(reading: Reading) -> tuple[RecordFacts, ...]:
    callers = {one.lsn: one.body.caller_id for _, _, one in reading.located() if isinstance(one.body, Call)}
    listed = []
    for file, stretch, one in reading.located(unsafe=True):
        what, caller = _words(one.body)
        caller = caller or (callers.get(one.lsn, b"") if isinstance(one.body, (Value, Done, Abort)) else b"")
        kind = type(one.body).__name__.upper()
        size = one.end - one.start
        listed.append(
            RecordFacts(one.lsn, kind, what, shown(caller), size, one.incarnation, file, one.start, stretch.is_safe)
        )
    return tuple(listed)


def _words(body: Body) -> tuple[str, bytes]:
    """Return what a record is about, in a word or two, and who called, where it says so."""
    match body:
        case Open():
            lsns = ", ".join(f"lsn {lsn}" for lsn in (body.interrupted, *body.beside))
            were = "were" if body.beside else "was"
            return body.level + (f", {lsns} {were} interrupted" if body.interrupted else ""), b""
        case Call():
            return f"{body.method}()" + (f" key={body.key!r}" if body.key else ""), body.caller_id
        case Value():
            return f"{body.index}: {body.kind.name.lower()}", b""
        case Done():
            return _outcome(body), b""
        case Abort():
            return body.reason, body.caller_id
        case Checkpoint():
            return body.checkpoint_id, b""


def notes(reading: Reading, names: Iterable[str], begun: int | None, held_by: int) -> list[str]:
    """Return what is worth knowing, and no harm."""
    said: list[str] = []
    names = set(names)
    if held_by:
        who = f"process {held_by}" if held_by > 0 else "a living process"
        said.append(f"In use by {who}: this is a moment's view, and a torn end means that it was writing.")
    torn = next((piece.torn for piece in reading.pieces if piece.torn), 0)
    if torn:
        name, offset = reading.place_of(reading.pieces[-1].position)
        said.append(
            f"{name} has a torn end from byte {offset:,} on ({torn:,} bytes): who wrote it died on the way. Nobody had "
            "been told of what is there, and the next start cuts it off."
        )
    absent = [name for name in ("spec", "begun", "lock") if name not in names]
    if absent:
        said.append(f"Not there: {', '.join(absent)}. An actor that has been running has all three.")
    if not reading.pieces:
        said.append("There is no log.")
    last = max((one.lsn for _, _, one in reading.located()), default=0)
    if begun is None and "begun" in names:
        said.append("The mark of the call that was begun last cannot be read; after a crash, no call is blamed for it.")
    if begun is not None and begun > last:
        said.append(
            f"Lsn {begun} was begun, and the log goes to lsn {last}. After a loss of power that is nothing wrong; "
            "otherwise the end of the log is missing."
        )
    return said
