"""Functions that travel by value: they take along the global names that a class inside them reads, too.

cloudpickle looks for global names where functions read them. The body of a class reads its names by another
instruction, which looks in the class first and then in the globals: ``class Point: size = SIZE``.
"""

from __future__ import annotations

import dis
import inspect
import types
from collections.abc import Iterator
from typing import Any

import cloudpickle


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle is not typed
    """A pickler of cloudpickle for functions with classes in them."""

    def _dynamic_function_reduce(self, function: types.FunctionType) -> Any:
        # cloudpickle's own name. A version that does not call it has functions travel as it alone would have them.
        reduced = super()._dynamic_function_reduce(function)
        names = set(_read_by_classes(function.__code__)) - {"__name__"}  # which goes with every function
        if names:
            _attributes, slots = reduced[2]
            known = slots["__globals__"]
            known |= {name: function.__globals__[name] for name in sorted(names) if name in function.__globals__}
        return reduced


def _read_by_classes(code: types.CodeType) -> Iterator[str]:
    """Yield the names that the bodies of classes inside a function read before they give them a value themselves."""
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            if not inner.co_flags & inspect.CO_OPTIMIZED:
                yield from _read_by_class(inner)
            yield from _read_by_classes(inner)


def _read_by_class(body: types.CodeType) -> Iterator[str]:
    written = set()
    for instruction in dis.get_instructions(body):
        if instruction.opname == "STORE_NAME":
            written.add(instruction.argval)
        elif instruction.opname == "LOAD_NAME" and instruction.argval not in written:
            yield instruction.argval
