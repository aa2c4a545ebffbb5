"""From what is in the folder to what is to be done: which checkpoint, which calls again, which one is unfinished."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import NamedTuple

from ipyactors.durable import call_tables
from ipyactors.durable.call_tables import CallTables
from ipyactors.durable.log import Contents
from ipyactors.durable.manifest import Manifest
from ipyactors.durable.record import Abort, Call, Checkpoint, Done, Open, Record, Value


class HistoryError(ValueError):
    """Raised when whole records contradict each other, which no crash can bring about; ``lsn`` tells where.

    ``position`` is where in the log the record begins that does not fit what comes before it.
    """

    position: int = 0

    def __init__(self, problem: str, lsn: int) -> None:
        super().__init__(f"{problem} (lsn {lsn})")
        self.lsn = lsn


@dataclasses.dataclass(slots=True)
class Past:
    """One call that is in the log: what it took from outside, and how it ended (None: it did not)."""

    lsn: int
    call: Call
    values: list[Value] = dataclasses.field(default_factory=list)
    end: Done | Abort | None = None


@dataclasses.dataclass(slots=True)
class History:
    """What the log tells after a checkpoint, or from the beginning.

    ``past`` has the calls to replay, by lsn; those without an end come last, and are executed for real. ``tables`` are
    the tables as they are after it. ``crashes`` names, by lsn, the incarnations that have died while that call ran.
    ``opened`` is the last OPEN, None of an empty log. ``construction`` is what the constructor took from outside.
    ``owed`` are the ends, by call id, of calls that are over by the checkpoint and that the log lacks; ``unnoted`` is
    the record of the checkpoint itself, if the log lacks that. ``switches`` are the later checkpoints, in their order;
    ``definition_id`` is the class that the actor was of last, empty where nothing says.
    """

    tables: CallTables
    past: dict[int, Past] = dataclasses.field(default_factory=dict)
    crashes: dict[int, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    incarnation: int = -1
    opened: Open | None = None
    construction: list[Value] = dataclasses.field(default_factory=list)
    owed: dict[bytes, Done] = dataclasses.field(default_factory=dict)
    unnoted: Checkpoint | None = None
    switches: list[Switch] = dataclasses.field(default_factory=list)
    definition_id: bytes = b""


def made_of(contents: Contents) -> bytes:
    """Return the class whose constructor made the actor; empty if the log does not reach back to that."""
    if not contents.segments or contents.segments[0].start:
        return b""
    return next((one.body.definition_id for one in contents.records if isinstance(one.body, Open)), b"")


class Switch(NamedTuple):
    """A checkpoint was made after ``lsn``, at ``position``: from there on the actor was the copy that it has.

    That is of the class ``definition_id``, which may be another one than before.
    """

    position: int
    lsn: int
    definition_id: bytes
    checkpoint_id: str


def switches_of(contents: Contents, checkpoints: Iterable[Manifest]) -> list[Switch]:
    """Return at which places the actor has gone on as the copy that a checkpoint has, in their order.

    The log may lack a checkpoint whose process ended before it was noted: ``checkpoints`` tell of that.
    """
    found = {
        one.body.checkpoint_id: Switch(position, one.lsn, one.body.definition_id, one.body.checkpoint_id)
        for position, one in contents.positioned()
        if type(one.body) is Checkpoint and one.body.definition_id
    }
    for made in checkpoints:
        data = made.data
        if data.definition_id and data.checkpoint_id not in found:
            found[data.checkpoint_id] = Switch(made.position, made.lsn, data.definition_id, data.checkpoint_id)
    return sorted(found.values())


def switches_after(checkpoint: Manifest | None, contents: Contents, checkpoints: Iterable[Manifest]) -> list[Switch]:
    """Return those behind a checkpoint, or all."""
    switches = switches_of(contents, checkpoints)
    if checkpoint is None:
        return switches
    since, own_id = checkpoint.position, checkpoint.data.checkpoint_id
    return [one for one in switches if one.position >= since and one.checkpoint_id != own_id]


def has_progressed(contents: Contents, newest: Manifest | None) -> bool:
    """Return whether the incarnation that wrote last has ended a call, by its log or by a checkpoint."""
    for part in reversed(contents.segments):
        for one in reversed(part.records):
            if type(one.body) is Done or type(one.body) is Abort:
                return True
            if type(one.body) is Open:
                return newest is not None and bool(newest.ended) and newest.incarnation == one.incarnation
    return False


def follow(checkpoint: Manifest | None, contents: Contents) -> History:
    """Return what became of an actor since a checkpoint, or since the beginning. Raises HistoryError."""
    history, error = trace(checkpoint, contents)
    if error is not None:
        raise error
    return history


def trace(
    checkpoint: Manifest | None, contents: Contents, until: int | None = None
) -> tuple[History, HistoryError | None]:
    """Follow the log as :func:`follow` does, as far as it agrees with itself; return what does not agree as well.

    ``until``: not further than this position.
    """
    history = History(call_tables.restore(checkpoint.tables) if checkpoint is not None else CallTables())
    history.definition_id = made_of(contents)
    if checkpoint is not None:
        history.owed = {done.call_id: done for done in checkpoint.ended}
        history.definition_id = checkpoint.data.definition_id
        if checkpoint.construction is not None:
            history.construction = list(checkpoint.construction.values)
        history.unnoted = Checkpoint(checkpoint.data.checkpoint_id, checkpoint.data.definition_id)
    since = checkpoint.position if checkpoint is not None else 0
    if contents.end < since:
        return history, HistoryError("the log ends before the checkpoint", history.tables.last_lsn)
    if since < (contents.segments[0].start if contents.segments else contents.end):
        lost = HistoryError("what the log begins with was dropped after a checkpoint", history.tables.last_lsn)
        return history, lost
    for position, one in contents.positioned():
        if position >= since and (until is None or position < until):
            try:
                _apply(history, one)
            except HistoryError as error:
                error.position = position
                return history, error
    return history, None


def _apply(history: History, one: Record) -> None:
    body, lsn, tables = one.body, one.lsn, history.tables
    if one.incarnation < history.incarnation:
        raise HistoryError(f"incarnation {one.incarnation} wrote after {history.incarnation}", lsn)
    before, history.incarnation = history.incarnation, one.incarnation
    match body:
        case Call():
            if lsn != tables.last_lsn + 1:
                raise HistoryError(f"a call follows lsn {tables.last_lsn}", lsn)
            if call_tables.judge(tables, body, may_be_known=False) is not call_tables.Verdict.NEW:
                raise HistoryError(f"call {body.call_id.hex()} is there twice", lsn)
            call_tables.begin(tables, lsn, body)
            history.past[lsn] = Past(lsn, body)
        case Value(index):
            values = _open_at(history, lsn).values if lsn else history.construction
            if index != len(values):
                raise HistoryError(f"value {index} follows {len(values)} values", lsn)
            values.append(body)
        case Done(call_id) if call_id in history.owed:
            del history.owed[call_id]
        case Done(call_id):
            past = _open_at(history, lsn)
            if past.call.call_id != call_id:
                raise HistoryError(f"the end of call {call_id.hex()} is not at its place", lsn)
            call_tables.finish(tables, body)
            past.end = body
        case Abort(call_id):
            if call_id in tables.open:
                past = _open_at(history, lsn)
                if past.call.call_id != call_id:
                    raise HistoryError(f"the end of call {call_id.hex()} is not at its place", lsn)
                past.end = body
            elif lsn != tables.last_lsn + 1:
                raise HistoryError(f"a call that was given up follows lsn {tables.last_lsn}", lsn)
            call_tables.abort(tables, lsn, body)
        case Open(interrupted=interrupted, beside=beside):
            history.opened = body
            tables.last_lsn = max(tables.last_lsn, lsn)  # what the power has taken may have had some
            for lsn in (interrupted, *beside) if interrupted else ():
                history.crashes[lsn] = (*history.crashes.get(lsn, ()), before)
        case Checkpoint():
            if history.unnoted is not None and body.checkpoint_id == history.unnoted.checkpoint_id:
                history.unnoted = None


def _open_at(history: History, lsn: int) -> Past:
    past = history.past.get(lsn)
    if past is None or past.end is not None:
        raise HistoryError("a record belongs to no call that is open", lsn)
    return past
