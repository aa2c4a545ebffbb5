"""Errors drawn without our frames, in every mode of ``%xmode``; ``%debug`` and ``%tb`` see them so too.

IPython hides a frame that has ``__tracebackhide__`` in its locals, but only in some modes, never the innermost one,
and it leaves a line that says how many it hid. So here the frames of this package are taken out before IPython sees
them, whatever the exception is: a user's own that comes back from a worker, a mistake in an option, an interrupt. The
drawing is still IPython's, in the mode and the colours that the user has chosen. In the mode ``Verbose`` the frames of
the worker that ran a call are drawn too, before those of the call.

A frame of ours whose ``__tracebackhide__`` is ``"__ipython_bottom__"`` says, as it does in IPython's own code, that
nothing above it is the user's either: so an error in a ``%%remote`` cell starts at the line of the cell. Where no line
of the cell has led to an error of ours, such as the crash of an actor, its magic line is shown.
"""

from __future__ import annotations

import ast
import codeop
import functools
import linecache
import sys
import types
from collections.abc import Callable
from typing import Any

from ipyactors.ground.exceptions import IpyactorsError
from ipyactors.ground.stub_frames import hidden_before
from ipyactors.ground.tracebacks import is_own, label_of, links_of, rebuild

_BOTTOM = "__ipython_bottom__"
_METHOD, _SHOW = "structured_traceback", "showtraceback"
_COMPILERS = frozenset({ast.__file__, codeop.__file__})


def install(shell: Any) -> None:
    """Have ``shell`` draw tracebacks without our frames."""
    for drawer, draw in ((shell.InteractiveTB, _draw), (shell.SyntaxTB, _draw_syntax_error)):
        setattr(drawer, _METHOD, functools.partial(draw, getattr(drawer, _METHOD)))
    setattr(shell, _SHOW, functools.partial(_show, getattr(shell, _SHOW)))


def uninstall(shell: Any) -> None:
    """Take :func:`install` back."""
    for drawer in (shell.InteractiveTB, shell.SyntaxTB):
        vars(drawer).pop(_METHOD, None)
    vars(shell).pop(_SHOW, None)


def without_ours(trace: types.TracebackType | None) -> tuple[types.TracebackType | None, bool]:
    """Return the traceback without the frames of this package, and whether it was cut off at the top."""
    kept: list[types.TracebackType] = []
    is_cut = False
    while trace is not None:
        if not is_own(trace.tb_frame.f_code.co_filename):
            kept.append(trace)
        elif trace.tb_frame.f_locals.get("__tracebackhide__") == _BOTTOM:
            kept, is_cut = [], True
        trace = trace.tb_next
    inner: types.TracebackType | None = None
    for entry in reversed(kept):
        inner = types.TracebackType(inner, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return inner, is_cut


def _magic_line(trace: types.TracebackType | None) -> types.TracebackType | None:
    """Return a traceback of the line of the cell's magic alone; None if there is no cell."""
    while trace is not None:
        filename = trace.tb_frame.f_code.co_filename
        if label_of(filename):
            lines = linecache.getlines(filename)
            first = next((number for number, line in enumerate(lines, start=1) if line.strip()), 1)
            return rebuild([(filename, first, "<module>")])
        trace = trace.tb_next
    return None


def with_workers(trace: types.TracebackType | None) -> types.TracebackType | None:
    """Return the traceback with the frames of workers that led to those of remote calls."""
    entries: list[types.TracebackType] = []
    while trace is not None:
        entries.append(trace)
        trace = trace.tb_next
    inner: types.TracebackType | None = None
    for entry in reversed(entries):
        inner = types.TracebackType(inner, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
        inner = rebuild(hidden_before(entry.tb_frame), inner)
    return inner


def _draw(
    draw: Callable[..., Any],
    kind: Any = None,
    error: Any = None,
    trace: Any = None,
    tb_offset: int | None = None,
    context: int = 5,
) -> Any:
    """Stand in for IPython's method of these arguments, which is ``draw``; the offset skips IPython's own frame."""
    links = links_of(error) if isinstance(error, BaseException) else []
    if isinstance(trace, types.TracebackType):
        inner, is_cut = without_ours(trace)
        if is_cut and inner is None and isinstance(error, IpyactorsError):
            inner = _magic_line(trace)
        if inner is not None or is_cut:
            trace, tb_offset = inner, 0 if is_cut else tb_offset
        # A debugger takes what the exceptions have, and so does the drawing of all but the first.
        for link in links:
            link.__traceback__ = without_ours(link.__traceback__)[0]
    if getattr(getattr(draw, "__self__", None), "mode", "") != "Verbose":
        return draw(kind, error, trace, tb_offset, context)
    before = [link.__traceback__ for link in links]
    try:
        for link in links:
            link.__traceback__ = with_workers(link.__traceback__)
        return draw(kind, error, with_workers(trace), tb_offset, context)
    finally:
        for link, known in zip(links, before, strict=True):
            link.__traceback__ = known


def _show(show: Callable[..., None], exc_tuple: Any = None, *args: Any, **kwargs: Any) -> None:
    """Stand in for the shell's method, which leaves groups of exceptions to the interpreter, with all their frames."""
    error = exc_tuple[1] if exc_tuple else sys.exc_info()[1]
    links = links_of(error) if isinstance(error, BaseException) else []
    if any(isinstance(link, BaseExceptionGroup) for link in links):
        for link in links:
            trace, _ = without_ours(link.__traceback__)
            is_shells = trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith("IPython.")
            link.__traceback__ = trace.tb_next if trace is not None and is_shells else trace
    show(exc_tuple, *args, **kwargs)


def _draw_syntax_error(
    draw: Callable[..., Any],
    kind: Any = None,
    error: Any = None,
    frames: Any = None,
    tb_offset: int | None = None,
    context: int = 5,
) -> Any:
    """Stand in for the method that draws a syntax error, which gets the frames as a list.

    In a cell of ours, the frames up to the compiler are no more the user's than they are in any other cell.
    """
    ours = [index for index, frame in enumerate(frames or ()) if is_own(frame.filename)]
    if ours:
        frames = [frame for frame in frames[ours[-1] + 1 :] if frame.filename not in _COMPILERS]
    return draw(kind, error, frames, tb_offset, context)
