"""What a worker does of the orders that it has: a file that outlives it, which its agent reads when it has ended.

Whoever ends a process says so before, in here: words that are sent are lost with it. The file is there only in workers
that had an order. It is a row of frames, each with its length before it; one that was cut off at the end is left out.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable

import msgspec

from ipyactors.wire.chaos_words import Act, Order, Progress, Report

_LENGTH = struct.Struct("<I")

#: When the file has grown so large it is written anew with what counts.
_COMPACT_AT_BYTES = 1 << 20


class _Armed(msgspec.Struct, array_like=True, tag=True):
    progress: Progress


class _Counted(msgspec.Struct, array_like=True, tag=True):
    """An order has counted so many calls."""

    order_id: int
    counted: int


class _Acted(msgspec.Struct, array_like=True, tag=True):
    act: Act


class _Cleared(msgspec.Struct, array_like=True, tag=True):
    """These are to be done no more; all, if none is named."""

    order_ids: tuple[int, ...]


_Frame = _Armed | _Counted | _Acted | _Cleared

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Frame).decode


class Ledger:
    """The worker's side. One thread at a time may write."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._size = 0

    def arm(self, progress: Progress) -> None:
        """Note an order."""
        self._write(_Armed(progress))

    def count(self, counted: tuple[Progress, ...], left: Callable[[], tuple[Progress, ...]]) -> None:
        """Note how many calls these orders have ``counted``; ``left`` returns all that there are."""
        if self._size > _COMPACT_AT_BYTES:
            self._compact(left())
        for one in counted:
            self._write(_Counted(one.order.order_id, one.counted))

    def act(self, act: Act) -> None:
        """Note what is about to be done."""
        self._write(_Acted(act))

    def clear(self, order_ids: tuple[int, ...]) -> None:
        """Note that these orders are to be done no more; none at all, if none is named."""
        self._write(_Cleared(order_ids))

    def _write(self, *frames: _Frame) -> None:
        data = b"".join(_LENGTH.pack(len(body)) + body for body in map(_encode, frames))
        self._size += os.write(self._descriptor, data)

    def _compact(self, progress: tuple[Progress, ...]) -> None:
        """Begin anew, with the orders that are left; what was done before has been told meanwhile."""
        unfinished = f"{self._path}.new"
        old, self._descriptor = self._descriptor, os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._size = 0
        self._write(*map(_Armed, progress))
        os.rename(unfinished, self._path)
        os.close(old)


def read_ledger(path: str) -> Report | None:
    """Return what a process has left; None if it had no orders."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return None
    orders: dict[int, tuple[Order, int, int]] = {}
    acts: list[Act] = []
    for frame in _frames(data):
        match frame:
            case _Armed(progress):
                orders[progress.order.order_id] = progress.order, progress.counted, progress.done
            case _Counted(order_id, counted) if order_id in orders:
                order, _, done = orders[order_id]
                orders[order_id] = order, counted, done
            case _Acted(act):
                acts.append(act)
                if act.order.order_id in orders:
                    order, counted, _ = orders[act.order.order_id]
                    orders[order.order_id] = order, counted, act.number - order.base
            case _Cleared(order_ids):
                for order_id in order_ids or tuple(orders):
                    orders.pop(order_id, None)
    return Report(tuple(Progress(*one) for one in orders.values() if not 0 < one[0].times <= one[2]), tuple(acts))


def _frames(data: bytes) -> list[_Frame]:
    frames: list[_Frame] = []
    at = 0
    while at + _LENGTH.size <= len(data):
        [length] = _LENGTH.unpack_from(data, at)
        end = at + _LENGTH.size + length
        if end > len(data):
            break
        frames.append(_decode(data[at + _LENGTH.size : end]))
        at = end
    return frames
