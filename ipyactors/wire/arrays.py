"""Arrays of numpy and Arrow that would not be pickled as their own memory and nothing else.

numpy gives pickle the memory of contiguous arrays of most types. Others it copies into the pickle: arrays with gaps
(these are made dense, once), dates and other types that the buffer protocol cannot name (these go as bytes and their
type), and a few subclasses (these go as the array that they are a view of). A slice of an Arrow array would take the
memory of all of that array along; it is made dense too.

Nothing is imported here: who has such a value has its module.
"""

from __future__ import annotations

import sys
from typing import Any

from ipyactors.wire.outside import SMALLEST_BUFFER_BYTES, Outside

# -- numpy ---------------------------------------------------------------------------------------------------------


def reduce_numpy(value: Any, outside: Outside) -> Any:
    """Return how a value of one of numpy's types is rebuilt; NotImplemented if numpy may say so."""
    numpy = sys.modules["numpy"]
    kind = type(value)
    if kind is numpy.ndarray:
        return NotImplemented if value.nbytes < SMALLEST_BUFFER_BYTES else _reduce_array(value, outside)
    if not isinstance(value, numpy.ndarray) or value.nbytes < SMALLEST_BUFFER_BYTES:
        return NotImplemented
    if kind is numpy.recarray:  # makes records of the plain type again by itself
        return _as_kind, (value.view(numpy.dtype((numpy.void, value.dtype)), numpy.ndarray), "recarray")
    if kind in (numpy.matrix, numpy.memmap):
        return _as_kind, (value.view(numpy.ndarray), kind.__name__)
    if kind is numpy.ma.MaskedArray and value._baseclass is numpy.ndarray and not value._optinfo:
        mask = None if value._mask is numpy.ma.nomask else value._mask
        return _as_masked, (value._data, mask, value._fill_value, value._hardmask)
    return NotImplemented


def _reduce_array(array: Any, outside: Outside) -> Any:
    dtype = array.dtype
    if dtype.hasobject:
        return NotImplemented
    if array.flags.forc:
        if _has_buffer(array):
            return NotImplemented
    else:
        # Of an array that was only transposed all memory is there, in another order.
        axes = sorted(range(array.ndim), key=lambda axis: -array.strides[axis])
        dense = array.transpose(axes)
        if dense.flags.c_contiguous:
            return _transposed, (dense, tuple(axes.index(axis) for axis in range(array.ndim)))
        outside.expect(array.nbytes)
        array = array.copy(order="C")
        if _has_buffer(array):
            return array.__reduce_ex__(5)
    order = "C" if array.flags.c_contiguous else "F"
    return _of_dtype, (array.ravel(order="K").view("u1"), dtype, array.shape, order)


def _has_buffer(array: Any) -> bool:
    """Return whether numpy can export a contiguous array: not dates, and not what other packages add."""
    if array.dtype.isbuiltin == 1:
        return array.dtype.kind not in "mM"
    try:
        memoryview(array)
    except (ValueError, BufferError, NotImplementedError):
        return False
    return True


def _as_kind(array: Any, name: str) -> Any:
    return array.view(getattr(sys.modules["numpy"], name))


def _as_masked(array: Any, mask: Any, fill_value: Any, is_hard: bool) -> Any:
    ma = sys.modules["numpy"].ma
    mask = ma.nomask if mask is None else mask
    return ma.MaskedArray(array, mask=mask, fill_value=fill_value, hard_mask=is_hard, copy=False)


def _transposed(array: Any, axes: tuple[int, ...]) -> Any:
    return array.transpose(axes)


def _of_dtype(memory: Any, dtype: Any, shape: tuple[int, ...], order: str) -> Any:
    return memory.view(dtype).reshape(shape, order=order)


# -- Arrow ---------------------------------------------------------------------------------------------------------

#: An array is made dense if it would take along more than this part of its own size (and a page) for nothing.
_WASTED_AT_MOST = 1 / 8


def reduce_arrow(value: Any, outside: Outside) -> Any:
    """Return how a value of one of pyarrow's types is rebuilt; NotImplemented if pyarrow may say so.

    Tables, batches and chunked arrays consist of arrays, which come here one by one.
    """
    arrow = sys.modules["pyarrow"]
    if not isinstance(value, arrow.Array):
        return NotImplemented
    try:
        size = value.nbytes
        if value.get_total_buffer_size() - size <= max(SMALLEST_BUFFER_BYTES, size * _WASTED_AT_MOST):
            return NotImplemented
        outside.expect(size)
        return arrow.concat_arrays([value]).__reduce__()
    except arrow.ArrowException:  # of a type for which it cannot be done
        return NotImplemented
