"""What the constructors of an actor took from outside: one row of values, of each class that was constructed a stretch.

The row begins with what the class took that the actor was made of. An actor that keeps its checkpoints itself is
constructed before it loads one, and so is that of a class that it was upgraded to, for the first time in a recovery. So
the row goes on with a value that names that class, what its constructor takes, and a value that says that it has
returned: all in the log as they come, so that the next recovery can give them again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from ipyactors.durable.record import NewClass, Value, ValueKind

_decode = msgspec.msgpack.Decoder(NewClass).decode
_encode = msgspec.msgpack.Encoder().encode

_BOUNDS = ValueKind.NEW_CLASS, ValueKind.CONSTRUCTED


class Stretch(NamedTuple):
    """What one class has taken: ``values``, the first of which is at ``start`` in the row; all, if it ``is_over``.

    The constructor has run ``after`` the calls up to this lsn, which counts its own calls to others: see
    :class:`~ipyactors.owner.current.Submission`.
    """

    values: Sequence[Value] = ()
    start: int = 0
    is_over: bool = True
    after: int = 0


def first_of(row: Sequence[Value]) -> Stretch:
    """Return what the class took that the actor was made of; whether its constructor has returned is not in the row."""
    return _from(row, 0)


def find(row: Sequence[Value], definition_id: bytes) -> Stretch | None:
    """Return what a class took that the actor was upgraded to; None if its constructor has never run."""
    for index in range(len(row) - 1, -1, -1):
        if row[index].kind is ValueKind.NEW_CLASS:
            new = _decode(row[index].data)
            if new.definition_id == definition_id:
                stretch = _from(row, index + 1)
                end = index + 1 + len(stretch.values)
                if end == len(row):
                    return stretch._replace(is_over=False, after=new.after)
                if row[end].kind is ValueKind.CONSTRUCTED:
                    return stretch._replace(after=new.after)
                return None  # another has begun: this one was given up, and its values can have no more behind them
    return None


def beginning(row: Sequence[Value], definition_id: bytes, last_lsn: int) -> Value:
    """Return what the row gets before the constructor of a class runs for the first time, after ``last_lsn``."""
    return Value(len(row), ValueKind.NEW_CLASS, _encode(NewClass(definition_id, last_lsn)))


def end(row: Sequence[Value]) -> Value:
    """Return what the row gets when that constructor has returned."""
    return Value(len(row), ValueKind.CONSTRUCTED, b"")


def _from(row: Sequence[Value], start: int) -> Stretch:
    stop = start
    while stop < len(row) and row[stop].kind not in _BOUNDS:
        stop += 1
    return Stretch(row[start:stop], start)
