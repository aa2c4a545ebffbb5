"""The warning about a function or class that is large when it is pickled, since it has captured something large.

In a file of its own because hardly anybody needs it.
"""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

from ipyactors.ground import tracebacks

#: Of a container so many items are looked at, and so many captured things are named, if they take so many bytes.
_ITEMS_AT_MOST = 1000
_NAMED_AT_MOST = 3
_NAMED_BYTES = 128 << 10


def warn(kind: str, name: str, size: int, targets: Iterable[Any]) -> None:
    """Warn that the pickle of a remote function or class takes ``size`` bytes, and say why, if that is easily seen.

    ``targets`` are the functions and classes in it.
    """
    found = {where: (value, taken) for target in targets for where, value, taken in _captured(target)}
    largest = sorted(found.items(), key=lambda item: item[1][1], reverse=True)[:_NAMED_AT_MOST]
    shown = [
        f"{where} ({type(value).__qualname__}, {_words(taken)})"
        for where, (value, taken) in largest
        if taken >= _NAMED_BYTES
    ]
    why = f": it captures {', '.join(shown)}" if shown else ""
    method = "the constructor" if kind == "class" else "it"
    warnings.warn(
        f"the remote {kind} {name} is {_words(size)} large when pickled{why}. All of that is sent to each worker that "
        f"runs it, and kept there for as long as the {kind} can be called. Give what is large to {method} as an "
        "argument, or put() it once and give the reference.",
        UserWarning,
        stacklevel=tracebacks.frames_of_ours(),
    )


def _captured(target: Any) -> Iterator[tuple[str, Any, int]]:
    """Yield what a function or class has captured: what it is called, the thing, its size in bytes."""
    if isinstance(target, type):
        for name, value in vars(target).items():
            if name.startswith("__") and name != "__init__":
                continue
            function = getattr(value, "__func__", None) or getattr(value, "fget", None) or value
            if inspect.isfunction(function):
                yield from _captured(function)
            else:
                yield f"class attribute {name!r}", value, _size_of(value)
        return
    if hasattr(target, "func") and hasattr(target, "keywords"):  # functools.partial
        for index, value in enumerate(target.args):
            yield f"argument {index + 1} of the partial", value, _size_of(value)
        for name, value in target.keywords.items():
            yield f"argument {name!r} of the partial", value, _size_of(value)
        target = target.func
    function = getattr(target, "__func__", target)
    if not inspect.isfunction(function):
        return
    variables = inspect.getclosurevars(function)
    for name, value in variables.nonlocals.items():
        yield f"variable {name!r}", value, _size_of(value)
    for name, value in variables.globals.items():
        yield f"global variable {name!r}", value, _size_of(value)
    for index, value in enumerate(function.__defaults__ or ()):
        yield f"default value {index + 1}", value, _size_of(value)


def _size_of(value: Any) -> int:
    """Return about how many bytes a value takes; what is deep inside it is not looked for."""
    try:
        size = value.nbytes if isinstance(getattr(value, "nbytes", None), int) else sys.getsizeof(value)
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, (list, tuple)):
            size += sum(
                item.nbytes if isinstance(getattr(item, "nbytes", None), int) else sys.getsizeof(item)
                for item in value[:_ITEMS_AT_MOST]
            )
    except Exception:  # the user's own classes may answer anything
        return 0
    return int(size)


def _words(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
