"""Tracebacks that travel: taken apart in one process, put together in another, without our own frames.

A frame travels as ``(filename, line, name)``. The receiving side makes real traceback objects of them, so that every
tool (the interpreter, IPython, a debugger's post-mortem, ``logging``) shows the remote lines as if they had run here.
Source that lies in no file, such as a notebook's cell, travels as text and is put into :mod:`linecache`. What more
there is, local variables above all, travels beside it, for it may be left out: a log does not keep it.
"""

from __future__ import annotations

import itertools
import linecache
import os
import re
import sys
import traceback
import types
from collections.abc import Iterable, Iterator

import msgspec

from ipyactors.ground.exception_parts import Chain, chain_of, members_of, set_chain, set_trace, trace_of, type_name
from ipyactors.ground.stub_frames import Frame, stub_frame
from ipyactors.ground.value_texts import value_of

_OWN_FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_ASYNCIO_FOLDER = os.path.join(os.path.dirname(os.__file__), "asyncio") + os.sep
_LINKS_AT_MOST = 100

#: One line of the stack that faulthandler writes when a process crashes in native code.
_NATIVE_FRAME = re.compile(r'\s+File "(.*)", line \d+ in ')

_labels: dict[str, str] = {}


def is_own(filename: str) -> bool:
    """Return whether the code of this file belongs to this package."""
    return filename.startswith(_OWN_FOLDER)


def without_our_frames(lines: Iterable[str]) -> Iterator[str]:
    """Leave out of what a process has written how a worker came to run the user's code that has crashed."""
    after_ours = False
    for line in lines:
        frame = _NATIVE_FRAME.match(line)
        # Below our lowest frame is the command that the process was started with.
        after_ours = frame is not None and (is_own(frame[1]) or (after_ours and frame[1] == "<string>"))
        if not after_ours:
            yield line


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
    """Return ``text`` as plain text fit for UTF-8: a lone surrogate becomes an escape."""
    text = str.__str__(text)  # a user's __str__ may return text of a class of his own
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def message_of(error: BaseException) -> str:
    """Return ``str(error)``, and what is wrong with it where it has none. Raises KeyboardInterrupt alone."""
    try:
        return clean(str(error))
    except KeyboardInterrupt:  # the stop button, most likely
        raise
    except BaseException as problem:  # a user's __str__ may raise anything
        return f"(its __str__ raised {type_name(problem)})"


def in_words(error: BaseException) -> str:
    """Return ``error`` in one line: ``'ValueError: no such thing'``, or its type alone if that is all.

    Raises KeyboardInterrupt alone.
    """
    message = message_of(error)
    return f"{type_name(error)}: {message}" if message else type_name(error)


def users_entries(trace: types.TracebackType | None) -> list[types.TracebackType]:
    """Return the entries of a traceback, outermost first, whose frames are the user's."""
    entries: list[types.TracebackType] = []
    while trace is not None:
        entries.append(trace)
        trace = trace.tb_next
    return list(itertools.compress(entries, _are_users(entry.tb_frame.f_code.co_filename for entry in entries)))


def _are_users(filenames: Iterable[str]) -> Iterator[bool]:
    """Tell of each file, outermost first, whether a frame there is the user's.

    That is neither ours nor of the event loop in which ours run the user's coroutine.
    """
    is_begun = is_after_ours = False
    for filename in filenames:
        if is_own(filename):
            is_after_ours = True
            yield False
        else:
            is_begun = is_begun or not (is_after_ours and filename.startswith(_ASYNCIO_FOLDER))
            yield is_begun


def describe(trace: types.TracebackType | None) -> list[Frame]:
    """Return the user's frames of a traceback, outermost first."""
    entries = [(entry.tb_frame.f_code, entry.tb_lineno or 0) for entry in users_entries(trace)]
    return [(str.__str__(code.co_filename), line, str.__str__(code.co_name)) for code, line in entries]


def format_text(error: BaseException) -> str:
    """Return the traceback of ``error`` and of its causes as text, without our frames.

    Raises KeyboardInterrupt alone.
    """
    try:
        story = traceback.TracebackException.from_exception(error)
        _strip(story)
        return clean("".join(story.format()))
    except KeyboardInterrupt:  # the stop button, most likely
        raise
    except BaseException as problem:  # a user's __str__ may raise anything
        return f"{type_name(error)} (its traceback could not be formatted: {type_name(problem)})\n"


def _strip(story: traceback.TracebackException) -> None:
    seen: set[int] = set()
    waiting: list[traceback.TracebackException | None] = [story]
    while waiting:
        part = waiting.pop()
        if part is None or id(part) in seen:
            continue
        seen.add(id(part))
        users = itertools.compress(part.stack, _are_users(frame.filename for frame in part.stack))
        kept = [_labelled(frame) for frame in users]
        part.stack = traceback.StackSummary.from_list(kept)
        waiting += (part.__cause__, part.__context__, *(part.exceptions or ()))


def _labelled(frame: traceback.FrameSummary) -> traceback.FrameSummary:
    label = _labels.get(frame.filename)
    if not label:
        return frame
    return traceback.FrameSummary(label, frame.lineno or 0, frame.name, line=frame.line or "")


# -- putting together --------------------------------------------------------------------------------------------


class Variable(msgspec.Struct, array_like=True, frozen=True):
    """A local variable as it travels: see :func:`ipyactors.ground.value_texts.value_of`."""

    name: str
    text: str
    is_exact: bool = False


class FrameDetails(msgspec.Struct, array_like=True, frozen=True):
    """What more is known of the ``index``-th frame of a traceback: its local variables, the arguments first.

    ``arguments`` is how many of them are such, ``hidden`` are the frames of the worker that led there.
    """

    index: int
    variables: tuple[Variable, ...] = ()
    arguments: int = 0
    hidden: tuple[Frame, ...] = ()


class TraceDetails(msgspec.Struct, array_like=True, frozen=True):
    """What more is known of a traceback that has ``length`` frames."""

    length: int
    frames: tuple[FrameDetails, ...] = ()


def rebuild(
    frames: Iterable[Frame], inner: types.TracebackType | None = None, details: Iterable[FrameDetails] = ()
) -> types.TracebackType | None:
    """Return a traceback that shows ``frames`` (outermost first) and then ``inner``; None if there is nothing."""
    known = {one.index: one for one in details}
    trace = inner
    for index, frame in reversed(list(enumerate(frames))):
        more = known.get(index) or FrameDetails(index)
        variables = {one.name: value_of(one.text, one.is_exact) for one in more.variables}
        stub = stub_frame(frame, variables, more.arguments, more.hidden)
        trace = types.TracebackType(trace, stub, stub.f_lasti, max(frame[1], 1))
    return trace


def add_details(error: BaseException, details: Iterable[TraceDetails]) -> None:
    """Rebuild the tracebacks of ``error`` and of :func:`its links <links_of>` with what is known of their frames."""
    for link, more in zip(links_of(error), details, strict=False):
        frames = describe(trace_of(link))
        # Another length is that of another exception: one that did not travel, and something stands for it.
        if more.frames and more.length == len(frames):
            set_trace(link, rebuild(frames, details=more.frames))


def links_of(error: BaseException) -> list[BaseException]:
    """Return ``error``, what is in it if it is a group, and what it was raised from or during, and so on; each once."""
    links: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting and len(links) < _LINKS_AT_MOST:
        link = waiting.pop(0)
        if link is None or any(link is known for known in links):
            continue
        links.append(link)
        chain = chain_of(link)
        waiting += (chain.cause, chain.shown_context, *members_of(link))
    return links


def rejoin(
    error: BaseException,
    cause: BaseException | None,
    context: BaseException | None,
    suppress_context: bool,
    frames: tuple[Frame, ...],
    _members: tuple[BaseException, ...] = (),
) -> BaseException:
    """Return ``error`` with what pickling drops: its cause, its context, its traceback. Called by unpickling.

    The members of a group are in it; that they have been made whole in the same way is what they are named for.
    """
    set_chain(error, Chain(cause, context, suppress_context))
    set_trace(error, rebuild(frames))
    return error


def revive(kind: type[BaseException], args: tuple[object, ...], attributes: dict[str, object]) -> BaseException:
    """Return an exception made without its ``__init__``. Called by unpickling.

    For the commonest exception that pickle cannot make again: an ``__init__`` whose parameters are not its ``args``.
    """
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(attributes)
    return error
