"""The memory of numpy arrays in the state of an actor: shared after a checkpoint as it was before.

Pickle writes each array for itself, and dense. An actor that goes on and one that is brought back would then compute
other things: ``self.flat += 1`` shows in ``self.weights = self.flat[:4]`` in the one and not in the other, and a sum
over an array with gaps adds in another order. So a state's arrays are written as places in spans of memory:

* Arrays whose memory overlaps are in one span, from the first byte that one of them needs to the last. What they are
  views of need not be in the state, and is not kept for their sake.
* Each has its shape, strides, dtype and writeable flag. Only an array alone in its span whose elements are so far
  apart that the span has more than four times their bytes comes back dense, in C order.

One pass does it. Which arrays overlap is known when all have been met, so the pickle has only their numbers, and the
memory is written behind it. A pass to look for them first would have to pickle everything, and run the user's
``__getstate__``, twice.

As pickle has them, each for itself: arrays of objects, and subclasses other than ``matrix`` and ``recarray``. The
arrays inside of a pandas frame or series share with nobody outside: pandas counts who does, and copies before it
writes, but that count is not in a pickle.
"""

from __future__ import annotations

import io
import pickle
import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

#: A lone array whose elements are so far apart that its span has more than so many times their bytes is made dense.
_SPAN_AT_MOST = 4

#: How hard it is tried to find out whether two arrays that lie in each other have elements in common.
_WORK_AT_MOST = 10_000
_SPLIT_AT_MOST = 64

#: Places in memory are kept modulo this, so that what was aligned is, and what was not is not.
_ALIGNMENT = 16

#: What is smaller is copied sooner than viewed.
_SMALL_BYTES = 4096

#: Kinds of dtypes whose elements are their bytes and nothing else.
_KINDS = frozenset("biufcmMSUV")

_END = struct.Struct("<Q")


def numbered(number: int, dtype: Any) -> Any:  # noqa: ARG001  # what stands for another has its signature
    """Stand in pickles for :meth:`Restored.array`."""
    raise pickle.UnpicklingError("an array cannot be had without the memory of its state")


class _Place(NamedTuple):
    """Where an array is. Without strides: in C order, dense, the only one in its span."""

    span: int
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None
    is_writeable: bool
    is_owner: bool


class _Span(NamedTuple):
    """Memory of arrays. ``is_fixed``: no array in it can be made writeable."""

    size: int
    pad: int
    is_fixed: bool


class _Met(NamedTuple):
    """An array, and the bytes of memory that it lies in."""

    number: int
    array: Any
    low: int
    high: int


# -- out -----------------------------------------------------------------------------------------------------------


class Met:
    """The arrays that were met in a state while it is pickled. They live until it is written: so do their addresses."""

    def __init__(self) -> None:
        self._arrays: list[_Met] = []
        self._apart: list[_Met] = []
        self._depth = 0

    def reducers(self) -> dict[type, Callable[[Any], Any]]:
        """Return how types are taken apart; for what is not imported there is nothing to do."""
        found: dict[type, Callable[[Any], Any]] = {}
        numpy: Any = sys.modules.get("numpy")
        if hasattr(numpy, "ndarray"):
            found[numpy.ndarray] = self._reduce_array
        if hasattr(numpy, "matrix") and hasattr(numpy, "recarray"):
            found[numpy.matrix] = _reduce_matrix
            found[numpy.recarray] = _reduce_records
        managers = sys.modules.get("pandas.core.internals.managers")
        for name in ("BlockManager", "SingleBlockManager"):
            if hasattr(managers, name):
                found[getattr(managers, name)] = self._reduce_manager
        return found

    def _reduce_array(self, array: Any) -> Any:
        dtype = array.dtype
        if dtype.hasobject or dtype.kind not in _KINDS or not dtype.itemsize:
            return array.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
        low = array.__array_interface__["data"][0]
        high = low + array.nbytes
        if not array.flags.forc:
            high = low + array.itemsize
            for length, stride in zip(array.shape, array.strides, strict=True):
                low += min(0, (length - 1) * stride)
                high += max(0, (length - 1) * stride)
        number = len(self._arrays) + len(self._apart)
        (self._apart if self._depth or not array.size else self._arrays).append(_Met(number, array, low, high))
        return numbered, (number, dtype)

    def _reduce_manager(self, value: Any) -> Any:
        """Have what is pickled between two marks be apart."""
        build, args, *rest = value.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
        enter, leave = _Mark(self, 1), _Mark(self, -1)
        state = rest[0] if rest else None
        if state is None:
            return _built, (enter, build, args, leave)
        return build, args, (enter, state, leave), None, None, _set_state

    def enter(self, step: int) -> None:
        """Go into (1) or out of (-1) what shares memory with nobody."""
        self._depth += step

    def write(self, file: io.BytesIO) -> None:
        """Write the arrays behind the pickle in ``file``."""
        begin = file.tell()
        if self._arrays or self._apart:
            spans: list[_Span] = []
            places: dict[int, _Place] = {}
            memory = [_lay_out(members, spans, places) for members in self._groups()]
            table = [tuple(places[number]) for number in range(len(places))]
            pickle.dump((list(map(tuple, spans)), table), file, pickle.HIGHEST_PROTOCOL)
            for one in memory:
                file.write(one)
        file.write(_END.pack(begin))

    def _groups(self) -> Iterator[list[_Met]]:
        for one in self._apart:
            yield [one]
        group: list[_Met] = []
        high = 0
        for one in sorted(self._arrays, key=lambda one: one.low):
            if group and one.low >= high:
                yield from _split(group)
                group = []
            high = max(high, one.high) if group else one.high
            group.append(one)
        if group:
            yield from _split(group)


class _Mark:
    """Tells, by being pickled, how far the pickler is."""

    def __init__(self, met: Met, step: int) -> None:
        self._met, self._step = met, step

    def __reduce__(self) -> tuple[Any, ...]:
        self._met.enter(self._step)
        return tuple, ()


def _reduce_matrix(value: Any) -> Any:
    numpy = sys.modules["numpy"]
    return _as_kind, (value.view(numpy.ndarray), "matrix")


def _reduce_records(value: Any) -> Any:  # makes records of the plain type again by itself
    numpy = sys.modules["numpy"]
    return _as_kind, (value.view(numpy.dtype((numpy.void, value.dtype)), numpy.ndarray), "recarray")


def _split(group: list[_Met]) -> Iterable[list[_Met]]:
    """Return the arrays of a group, apart if they only lie in each other, as columns of one matrix do.

    They may stay together, and cost less so, unless there is much between them that none of them needs.
    """
    size = max(one.high for one in group) - group[0].low
    is_wasteful = size > _SPAN_AT_MOST * sum(one.array.nbytes for one in group)
    if len(group) == 1 or not is_wasteful or len(group) > _SPLIT_AT_MOST:
        return [group]
    parts: list[list[_Met]] = []
    for one in group:
        sharing = [part for part in parts if any(_shares(one.array, other.array) for other in part)]
        parts = [part for part in parts if part not in sharing]
        parts.append([*(other for part in sharing for other in part), one])
    return parts


def _shares(one: Any, other: Any) -> bool:
    numpy = sys.modules["numpy"]
    try:
        return bool(numpy.shares_memory(one, other, max_work=_WORK_AT_MOST))
    except numpy.exceptions.TooHardError:
        return True


def _lay_out(members: list[_Met], spans: list[_Span], places: dict[int, _Place]) -> Any:
    """Give arrays their places in one more span, and return its memory."""
    if len(members) == 1 and _lay_out_owner(members[0], spans, places):
        array = members[0].array
        return array.tobytes("A") if array.nbytes < _SMALL_BYTES else array.ravel(order="K").view("u1")
    low = min(one.low for one in members)
    size = max(one.high for one in members) - low
    is_fixed = not any(_can_write(one.array) for one in members)
    number, array, _, _ = members[0]
    if len(members) == 1 and size > _SPAN_AT_MOST * array.nbytes:
        places[number] = _Place(len(spans), 0, array.shape, None, array.flags.writeable, True)
        spans.append(_Span(array.nbytes, 0, is_fixed))
        return array.tobytes()
    for number, array, _, _ in members:
        offset = array.__array_interface__["data"][0] - low
        places[number] = _Place(len(spans), offset, array.shape, array.strides, array.flags.writeable, False)
    spans.append(_Span(size, low % _ALIGNMENT, is_fixed))
    return sys.modules["numpy"].asarray(_Memory(low, size))


def _lay_out_owner(one: _Met, spans: list[_Span], places: dict[int, _Place]) -> bool:
    """Do so, at less cost, if it is an array that has its memory for itself; return whether it is."""
    array = one.array
    flags = array.flags
    if not (flags.owndata and flags.forc and flags.aligned):
        return False
    places[one.number] = _Place(len(spans), 0, array.shape, array.strides, flags.writeable, True)
    spans.append(_Span(array.nbytes, 0, False))
    return True


def _can_write(array: Any) -> bool:
    """Return whether an array is writeable, or may be made so."""
    if array.flags.writeable or array.flags.owndata:
        return True
    try:
        array.view().flags.writeable = True
    except (ValueError, Warning):
        return False
    return True


class _Memory:
    """Bytes at an address, to numpy."""

    def __init__(self, address: int, size: int) -> None:
        self.__array_interface__ = {"data": (address, True), "shape": (size,), "typestr": "|u1", "version": 3}


# -- back ----------------------------------------------------------------------------------------------------------


class Restored:
    """The arrays of a state that was written."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._spans: list[tuple[int, _Span]] = []
        self._places: list[_Place] = []
        self._memory: dict[int, Any] = {}
        (begin,) = _END.unpack_from(data, len(data) - _END.size)
        if begin != len(data) - _END.size:
            file = io.BytesIO(data)
            file.seek(begin)
            spans, places = pickle.load(file)
            start = file.tell()
            for span in map(_Span._make, spans):
                self._spans.append((start, span))
                start += span.size
            self._places = [_Place._make(place) for place in places]

    def array(self, number: int, dtype: Any) -> Any:
        """Return the array with this number."""
        import numpy as np

        place = self._places[number]
        start, span = self._spans[place.span]
        if place.is_owner:  # so it is again: it can be resized
            array = np.ndarray(place.shape, dtype, self._data, start, place.strides).copy(order="K")
            if place.strides in (None, array.strides):
                array.flags.writeable = place.is_writeable
                return array
        memory = self._memory.get(place.span)
        if memory is None:
            memory = self._memory[place.span] = np.empty(span.pad + span.size, "u1")
            memory[span.pad :] = np.frombuffer(self._data, "u1", span.size, start)
            memory.flags.writeable = not span.is_fixed
        array = np.ndarray(place.shape, dtype, memory, span.pad + place.offset, place.strides)
        if not place.is_writeable:
            array.flags.writeable = False
        return array


def _as_kind(array: Any, name: str) -> Any:
    return array.view(getattr(sys.modules["numpy"], name))


def _built(_enter: object, build: Callable[..., Any], args: tuple[Any, ...], _leave: object) -> Any:
    return build(*args)


def _set_state(value: Any, state: tuple[Any, Any, Any]) -> None:
    value.__setstate__(state[1])
