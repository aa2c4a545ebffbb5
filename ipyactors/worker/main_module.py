"""Makes what a notebook or script has defined findable in the worker as ``__main__.Name``.

A class of ``__main__`` arrives by value, so the worker's own ``__main__`` does not know it, and plain ``pickle`` in
the user's code ("save my state to a file") could not name it. So the classes and functions that a definition uses
can be had from there too; of two with the same name, the one that arrived last. They are only known there, and not
kept: what a caller has the worker forget is gone, with all that it has captured.
"""

from __future__ import annotations

import sys
import types
import weakref
from typing import Any

_exposed: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()


def expose(thing: Any) -> None:
    """Have ``thing``, and what it uses of ``__main__``, found in this process's ``__main__``."""
    main = sys.modules["__main__"]
    if vars(main).get("__getattr__") is not _find:
        main.__getattr__ = _find  # type: ignore[method-assign]
    seen: set[int] = set()
    waiting = [thing]
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, type):
            waiting += part.__bases__
            waiting += vars(part).values()
        else:
            part = getattr(part, "__func__", None) or getattr(part, "fget", None) or part
        if getattr(part, "__module__", None) != "__main__":
            continue
        if isinstance(part, types.FunctionType):
            waiting += [value for value in part.__globals__.values() if isinstance(value, (type, types.FunctionType))]
        if isinstance(part, (type, types.FunctionType)) and "." not in part.__qualname__:
            _exposed[part.__qualname__] = part


def _find(name: str) -> Any:
    """Return what was exposed under a name; called for those that ``__main__`` itself does not have."""
    try:
        return _exposed[name]
    except KeyError:
        raise AttributeError(f"module '__main__' has no attribute {name!r}") from None
