"""The pickler: cloudpickle, with the memory of large values beside the pickle and not in it (``wire/outside.py``).

Some types would copy their memory into the pickle, or would take along memory that is not theirs. How they are taken
apart instead is in ``wire/arrays.py`` and ``wire/tensors.py``.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from ipyactors.wire import arrays, by_value, tensors
from ipyactors.wire.outside import Outside

_PROTOCOL = 5

#: How values of types that these modules define are taken apart. The modules are not imported for that.
_REDUCERS: dict[str, Callable[[Any, Outside], Any]] = {
    "numpy": arrays.reduce_numpy,
    "numpy.ma": arrays.reduce_numpy,
    "numpy.ma.core": arrays.reduce_numpy,
    "numpy.rec": arrays.reduce_numpy,
    "pyarrow.lib": arrays.reduce_arrow,
    "torch": tensors.reduce,
    "torch.storage": tensors.reduce,
}


_by_value = by_value.Pickler.reducer_override


class _Pickler(by_value.Pickler):
    outside: Outside  # set after construction: the buffers' callback must not keep the pickler in a circle

    def reducer_override(self, value: Any) -> Any:
        reduce = _REDUCERS.get(type(value).__module__)
        if reduce is None:
            return _by_value(self, value)
        return reduce(value, self.outside)


def dumps(value: Any, *, is_large: bool = False) -> tuple[bytes, list[memoryview]]:
    """Return the pickle of a value, and its buffers as views of the value's own memory.

    Raises :class:`BeginAgain` if it is to be called again with ``is_large``.
    """
    file = io.BytesIO()
    outside = Outside(is_large)
    pickler = _Pickler(file, protocol=_PROTOCOL, buffer_callback=outside.keep_inside)
    pickler.outside = outside
    pickler.dump(value)
    return file.getvalue(), outside.buffers


def dumps_inside(value: Any) -> tuple[bytes, list[memoryview]]:
    """Return the pickle of a value with all its memory inside, and no buffers."""
    file = io.BytesIO()
    by_value.Pickler(file, protocol=_PROTOCOL).dump(value)
    return file.getvalue(), []
