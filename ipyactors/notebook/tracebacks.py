"""Errors drawn without our frames, in every mode of ``%xmode``.

IPython hides a frame that has ``__tracebackhide__`` in its locals, but only in some modes, never the innermost one,
and it leaves a line that says how many it hid. So here the frames of this package are taken out before IPython sees
them, whatever the exception is: a user's own that comes back from a worker, a mistake in an option, an interrupt. The
drawing is still IPython's, in the mode and the colours that the user has chosen.

A frame of ours whose ``__tracebackhide__`` is ``"__ipython_bottom__"`` says, as it does in IPython's own code, that
nothing above it is the user's either: so an error in a ``%%remote`` cell starts at the line of the cell.
"""

from __future__ import annotations

import ast
import codeop
import functools
import types
from collections.abc import Callable
from typing import Any

from ipyactors.ground.tracebacks import is_own

_BOTTOM = "__ipython_bottom__"
_METHOD = "structured_traceback"
_COMPILERS = frozenset({ast.__file__, codeop.__file__})


def install(shell: Any) -> None:
    """Have ``shell`` draw tracebacks without our frames."""
    for drawer, draw in ((shell.InteractiveTB, _draw), (shell.SyntaxTB, _draw_syntax_error)):
        setattr(drawer, _METHOD, functools.partial(draw, getattr(drawer, _METHOD)))


def uninstall(shell: Any) -> None:
    """Take :func:`install` back."""
    for drawer in (shell.InteractiveTB, shell.SyntaxTB):
        vars(drawer).pop(_METHOD, None)


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


def _draw(
    draw: Callable[..., Any],
    kind: Any = None,
    error: Any = None,
    trace: Any = None,
    tb_offset: int | None = None,
    context: int = 5,
) -> Any:
    """Stand in for IPython's method of these arguments, which is ``draw``; the offset skips IPython's own frame."""
    if isinstance(trace, types.TracebackType):
        inner, is_cut = without_ours(trace)
        if inner is not None:
            trace, tb_offset = inner, 0 if is_cut else tb_offset
        for link in _chain(error):
            link.__traceback__ = without_ours(link.__traceback__)[0]
    return draw(kind, error, trace, tb_offset, context)


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


def _chain(error: Any) -> list[BaseException]:
    """Return what ``error`` was raised from or during, nearest first."""
    links: list[BaseException] = []
    step = error
    while isinstance(step, BaseException):
        step = step.__cause__ or (None if step.__suppress_context__ else step.__context__)
        if step is None or step is error or step in links:
            break
        links.append(step)
    return links
