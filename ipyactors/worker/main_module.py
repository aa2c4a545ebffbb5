"""Makes what a notebook or script has defined findable in the worker as ``__main__.Name``.

A class of ``__main__`` arrives by value, so the worker's own ``__main__`` does not know it, and plain ``pickle`` in
the user's code ("save my state to a file") could not name it. So the classes and functions that a definition uses
are put there too; of two with the same name, the one that arrived last.
"""

from __future__ import annotations

import sys
import types
from typing import Any


def expose(thing: Any) -> None:
    """Put ``thing``, and what it uses of ``__main__``, into this process's ``__main__``."""
    main = sys.modules["__main__"]
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
            setattr(main, part.__qualname__, part)
