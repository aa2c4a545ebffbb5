"""Tracebacks that travel: taken apart in one process, put together in another, without our own frames.

A frame travels as ``(filename, line, name)``. The receiving side makes real traceback objects of them, so that every
tool (the interpreter, IPython, a debugger's post-mortem, ``logging``) shows the remote lines as if they had run here.
Source that lies in no file, such as a notebook's cell, travels as text and is put into :mod:`linecache`.
"""

from __future__ import annotations

import ast
import functools
import linecache
import os
import sys
import traceback
import types
from collections.abc import Iterable, Iterator

#: One line of a traceback: ``(filename, line, name)``.
Frame = tuple[str, int, str]

_OWN_FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep

_labels: dict[str, str] = {}


def is_own(filename: str) -> bool:
    """Return whether the code of this file belongs to this package."""
    return filename.startswith(_OWN_FOLDER)


def frames_of_ours() -> int:
    """Return the ``stacklevel`` with which a warning of the caller's is one of the user's line that has led there."""
    frame: types.FrameType | None = sys._getframe(1)
    count = 1
    while frame is not None and is_own(frame.f_code.co_filename):
        frame, count = frame.f_back, count + 1
    return count


def remember_source(filename: str, text: str, label: str = "") -> None:
    """Make tracebacks in this process show ``text`` as the source of ``filename``, a name that no file has.

    ``label`` is what people read instead of the name, such as ``Cell In[5]``.
    """
    # No modification time: linecache.checkcache() then leaves the entry alone.
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    if label:
        _labels[filename] = label


def source_of(filename: str) -> tuple[str, str] | None:
    """Return ``(text, label)`` of code that lies in no file, if its source is known here; None for a real file."""
    if os.path.exists(filename):
        return None
    lines = linecache.getlines(filename)
    return ("".join(lines), label_of(filename)) if lines else None


def label_of(filename: str) -> str:
    """Return what people call this source, or an empty string: ``Cell In[5]``, here or where it came from."""
    return _labels.get(filename) or _label_of_cell(filename)


def _label_of_cell(filename: str) -> str:
    """Return ``Cell In[5]`` for a name that IPython has given to a cell of this process, or an empty string."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    found = shell.compile.format_code_name(filename) if shell is not None else None
    return " ".join(found) if found else ""


def clean(text: str) -> str:
    """Return ``text`` fit for UTF-8: a lone surrogate becomes an escape."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def message_of(error: BaseException) -> str:
    """Return ``str(error)``, and what is wrong with it where it has none. Never raises."""
    try:
        return clean(str(error))
    except Exception as problem:  # a user's __str__ may raise anything
        return f"(its __str__ raised {type(problem).__qualname__})"


def in_words(error: BaseException) -> str:
    """Return ``error`` in one line: ``'ValueError: no such thing'``, or its type alone if that is all. Never raises."""
    message = message_of(error)
    return f"{type(error).__qualname__}: {message}" if message else type(error).__qualname__


def describe(trace: types.TracebackType | None) -> list[Frame]:
    """Return the frames of a traceback, outermost first, without ours."""
    frames: list[Frame] = []
    while trace is not None:
        code = trace.tb_frame.f_code
        if not is_own(code.co_filename):
            frames.append((code.co_filename, trace.tb_lineno or 0, code.co_name))
        trace = trace.tb_next
    return frames


def format_text(error: BaseException) -> str:
    """Return the traceback of ``error`` and of its causes as text, without our frames. Never raises."""
    try:
        story = traceback.TracebackException.from_exception(error)
        _strip(story)
        return clean("".join(story.format()))
    except Exception as problem:  # a user's __str__ may raise anything
        return f"{type(error).__qualname__} (its traceback could not be formatted: {type(problem).__qualname__})\n"


def _strip(story: traceback.TracebackException) -> None:
    seen: set[int] = set()
    waiting: list[traceback.TracebackException | None] = [story]
    while waiting:
        part = waiting.pop()
        if part is None or id(part) in seen:
            continue
        seen.add(id(part))
        kept = [_labelled(frame) for frame in part.stack if not is_own(frame.filename)]
        part.stack = traceback.StackSummary.from_list(kept)
        waiting += (part.__cause__, part.__context__, *(part.exceptions or ()))


def _labelled(frame: traceback.FrameSummary) -> traceback.FrameSummary:
    label = _labels.get(frame.filename)
    if not label:
        return frame
    return traceback.FrameSummary(label, frame.lineno or 0, frame.name, line=frame.line or "")


# -- putting together --------------------------------------------------------------------------------------------


def _stub() -> Iterator[None]:
    """Lend its code to frames that claim to be elsewhere; it never runs.

    A generator, since its frame is there before it runs. Such a frame has no caller (``f_back`` is None). One that has
    run would keep its caller alive, and that one its own caller, each with its variables: down to the code that has
    caught the very exception which the frame belongs to, a circle that only the garbage collector could free.
    """
    yield


_STUB = _stub.__code__


def _stub_code(frame: Frame) -> types.CodeType:
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
    found = _functions("".join(linecache.getlines(filename)))
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


def rebuild(frames: Iterable[Frame], inner: types.TracebackType | None = None) -> types.TracebackType | None:
    """Return a traceback that shows ``frames`` (outermost first) and then ``inner``; None if there is nothing."""
    trace = inner
    for frame in reversed(list(frames)):
        stub = types.FunctionType(_stub_code(frame), {"__name__": "remote", "__file__": frame[0]})().gi_frame
        trace = types.TracebackType(trace, stub, stub.f_lasti, max(frame[1], 1))
    return trace


def rejoin(
    error: BaseException,
    cause: BaseException | None,
    context: BaseException | None,
    suppress_context: bool,
    frames: tuple[Frame, ...],
) -> BaseException:
    """Return ``error`` with what pickling drops: its cause, its context, its traceback. Called by unpickling."""
    error.__cause__ = cause
    error.__context__ = context
    error.__suppress_context__ = suppress_context
    return error.with_traceback(rebuild(frames))


def revive(kind: type[BaseException], args: tuple[object, ...], attributes: dict[str, object]) -> BaseException:
    """Return an exception made without its ``__init__``. Called by unpickling.

    For the commonest exception that pickle cannot make again: an ``__init__`` whose parameters are not its ``args``.
    """
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(attributes)
    return error
