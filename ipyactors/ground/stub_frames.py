"""Frames that claim to be elsewhere: what a rebuilt traceback is made of.

Such a frame never ran and has no caller (``f_back`` is None). One that has run would keep its caller alive, and that
one its own caller, each with its variables: down to the code that has caught the very exception which the frame belongs
to, a circle that only the garbage collector could free. The variables of a stub are texts and plain values.
"""

from __future__ import annotations

import ast
import functools
import linecache
import types
from collections.abc import Iterator, Mapping
from typing import Any

#: One line of a traceback: ``(filename, line, name)``.
Frame = tuple[str, int, str]

_HIDDEN = "__hidden_frames__"


def stub_frame(
    frame: Frame, variables: Mapping[str, Any], arguments: int = 0, hidden: tuple[Frame, ...] = ()
) -> types.FrameType:
    """Return a frame that is at ``frame`` and has these local variables, of which the first ``arguments`` are such.

    ``hidden`` are the frames that led there and are not shown; :func:`hidden_before` tells them.
    """
    names = list(variables)[:arguments]
    facts = {"__name__": "remote", "__file__": frame[0], _HIDDEN: hidden}
    make = types.FunctionType(_stub_code(frame, tuple(names)), facts)
    made: types.FrameType = make(*[variables[name] for name in names]).gi_frame
    # What is not in the code's own table of names stays in this dict for as long as the frame lives.
    made.f_locals.update({name: value for name, value in variables.items() if name not in names})
    return made


def is_stub(frame: types.FrameType) -> bool:
    """Return whether :func:`stub_frame` has made it."""
    return _HIDDEN in frame.f_globals


def hidden_before(frame: types.FrameType) -> tuple[Frame, ...]:
    """Return the frames that led to a frame and are not shown; none for one that is no stub."""
    hidden: tuple[Frame, ...] = frame.f_globals.get(_HIDDEN, ())
    return hidden


def _stub() -> Iterator[None]:
    """Lend its code; it never runs. A generator, since its frame is there before it runs."""
    yield


_STUB = _stub.__code__


def _stub_code(frame: Frame, arguments: tuple[str, ...]) -> types.CodeType:
    """Return code that claims to be at ``frame``.

    Its table of positions says "this line, no columns" throughout (kind 13 of the location table, at most eight
    instructions per entry), so that nobody underlines the columns of the stub in the user's line.
    """
    filename, line, name = frame
    first_line = _first_line(frame)
    table = bytearray()
    left = len(_STUB.co_code) // 2
    step = max(line, 1) - first_line
    while left > 0:
        units = min(left, 8)
        table += bytes((0x80 | 13 << 3 | units - 1, *_varint(step << 1)))
        left -= units
        step = 0
    return _STUB.replace(
        co_filename=filename,
        co_name=name,
        co_qualname=name,
        co_firstlineno=first_line,
        co_linetable=bytes(table),
        co_argcount=len(arguments),
        co_nlocals=len(arguments),
        co_varnames=arguments,
    )


def _varint(value: int) -> Iterator[int]:
    """Yield a number as a location table holds it: six bits at a time, the lowest first."""
    while value >= 64:
        yield 64 | value & 63
        value >>= 6
    yield value


def _first_line(frame: Frame) -> int:
    """Return the line on which the code of ``frame`` begins; where that cannot be told, the line that it is at.

    Tools that show a function's source number its lines from there (IPython does so with every cell).
    """
    filename, line, name = frame
    if name == "<module>":
        return 1
    try:
        found = _functions("".join(linecache.getlines(filename)))
    except SystemError:  # two threads parse: before Python 3.11.9 and 3.12.3 each may spoil it for the other
        found = []
    starts = (first for known, first, begin, end in found if known == name and begin <= line <= end)
    return max(starts, default=max(line, 1))


@functools.lru_cache(maxsize=32)  # a traceback goes through the same file again and again
def _functions(source: str) -> list[tuple[str, int, int, int]]:
    """Return each function in ``source``: its name, its first line with decorators, its first and its last line."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    return [
        (
            node.name,
            min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)]),
            node.lineno,
            node.end_lineno or node.lineno,
        )
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
