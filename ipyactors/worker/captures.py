"""What the user's frames held when a call raised: their local variables, as short texts, for a debugger elsewhere.

Taken while the exception is still at hand, innermost frames first, within bounds: a name's text has at most 200
characters, a frame 50 names, an exception with all that it was raised from 32 KiB and 50 ms. No code of the values'
classes runs (:mod:`ipyactors.ground.value_texts`). ``IPYACTORS_CAPTURE_LOCALS=0`` in the environment, where the
session is started, leaves all of them out.
"""

from __future__ import annotations

import inspect
import os
import time
import types

from ipyactors.ground.exception_parts import trace_of
from ipyactors.ground.secret_names import SECRET, is_secret
from ipyactors.ground.stub_frames import Frame, hidden_before
from ipyactors.ground.tracebacks import (
    FrameDetails,
    TraceDetails,
    Variable,
    clean,
    is_own,
    links_of,
    users_entries,
)
from ipyactors.ground.value_texts import text_of

OPT_OUT = "IPYACTORS_CAPTURE_LOCALS"

_NAMES_PER_FRAME = 50
_CHARACTERS_PER_VALUE = 200
_CHARACTERS_AT_MOST = 32 * 1024
_AT_MOST_S = 0.050


def details_of(error: BaseException) -> tuple[TraceDetails, ...]:
    """Return what :func:`ipyactors.ground.tracebacks.add_details` adds, for each exception that is in ``error``."""
    budget = _Budget()
    return tuple(_details_of_trace(trace_of(link), budget) for link in links_of(error))


class _Budget:
    """What is left of what one exception may take."""

    __slots__ = ("characters", "until_s")

    def __init__(self) -> None:
        self.characters = 0 if os.environ.get(OPT_OUT) == "0" else _CHARACTERS_AT_MOST
        self.until_s = time.monotonic() + _AT_MOST_S

    @property
    def is_left(self) -> bool:
        return self.characters > 0 and time.monotonic() < self.until_s


def _details_of_trace(trace: types.TracebackType | None, budget: _Budget) -> TraceDetails:
    entries = users_entries(trace)
    found: list[FrameDetails] = []
    for index in range(len(entries) - 1, -1, -1):
        frame = entries[index].tb_frame
        variables, arguments = _variables(frame, budget) if budget.is_left else ((), 0)
        hidden = hidden_before(frame)
        if index == 0:
            hidden = (*_frames_before(trace, entries[0]), *hidden)
        if variables or hidden:
            found.append(FrameDetails(index, variables, arguments, hidden))
    return TraceDetails(len(entries), tuple(found))


def _frames_before(trace: types.TracebackType | None, first: types.TracebackType) -> tuple[Frame, ...]:
    """Return our frames that led to the user's first one."""
    frames: list[Frame] = []
    while trace is not None and trace is not first:
        code = trace.tb_frame.f_code
        if is_own(code.co_filename):
            frames.append((code.co_filename, trace.tb_lineno or 0, code.co_name))
        trace = trace.tb_next
    return tuple(frames)


def _variables(frame: types.FrameType, budget: _Budget) -> tuple[tuple[Variable, ...], int]:
    """Return the local variables of a frame, its arguments first, and how many of them are arguments."""
    code, flags = frame.f_code, frame.f_code.co_flags
    is_function = bool(flags & inspect.CO_OPTIMIZED)
    if not is_function and type(frame.f_locals) is not dict:
        return (), 0  # exec() was given a mapping of the user's
    local = frame.f_locals
    count = code.co_argcount + code.co_kwonlyargcount
    count += bool(flags & inspect.CO_VARARGS) + bool(flags & inspect.CO_VARKEYWORDS)
    arguments = [name for name in code.co_varnames[:count] if name in local]
    others = [name for name in local if type(name) is str and (is_function or not name.startswith("__"))]
    names = dict.fromkeys([*arguments, *others])
    found: list[Variable] = []
    for name in list(names)[:_NAMES_PER_FRAME]:
        if not budget.is_left:
            break
        value = local[name]
        text, is_exact = (SECRET, False) if is_secret(name, value) else text_of(value, _CHARACTERS_PER_VALUE)
        budget.characters -= len(name) + len(text)
        found.append(Variable(clean(name), clean(text), is_exact))
    return tuple(found), min(len(arguments), len(found))
