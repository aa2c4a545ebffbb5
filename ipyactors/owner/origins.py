"""What made an object, and on which line of the user's code.

It is noted at every call, so it must cost next to nothing (0.3 µs): the template, the code object and the instruction
that it is at are kept as they are, and become a name, a file, a line and a function only when somebody asks. When an
object was made is told by its number, see :mod:`ipyactors.owner.ages`.
"""

from __future__ import annotations

import types
from sys import _getframe

from ipyactors.ground import tracebacks
from ipyactors.owner.templates import ActorTemplate, MethodTemplate, TaskFacts
from ipyactors.wire.census_messages import SiteRecord

#: What makes an object: None is ``put``; a borrowed one has the name of the call with which it came; that of an actor
#: has made the arguments of its constructor.
Maker = TaskFacts | MethodTemplate | ActorTemplate | str | None

#: What made it, code and instruction. A plain tuple: making one is a seventh of the price of making an object.
Origin = tuple[Maker, types.CodeType | None, int]


#: Whether a file belongs to this package, or to IPython between a cell and its magics, by its name. A plain dict, and
#: not one that fills itself: it is read at every call, and the interpreter reads that kind twice as fast.
_passed_over: dict[str, bool] = {}

#: The modules of IPython whose functions call the magics.
_CALLERS_OF_MAGICS = ("IPython.core.interactiveshell", "IPython.core.magic")


def note(maker: Maker, depth: int) -> Origin:
    """Return the origin of something that is being made: the frame ``depth`` above this one, or the next above ours.

    ``depth`` counts the frames of this package that are certainly there; more of them are passed over, and so are
    those of IPython between a cell and a magic of ours.
    """
    try:
        frame = _getframe(depth)
        code = frame.f_code
        if not _passed_over[code.co_filename]:
            return maker, code, frame.f_lasti
    except KeyError:  # a file that nothing was called from yet
        pass
    except ValueError:  # called by no Python code at all: as the function of a raw thread, say
        return maker, None, 0
    return _note_above(maker, frame)


def _note_above(maker: Maker, below: types.FrameType) -> Origin:
    frame: types.FrameType | None = below
    while frame is not None:
        filename = frame.f_code.co_filename
        passed = tracebacks.is_own(filename) or frame.f_globals.get("__name__") in _CALLERS_OF_MAGICS
        _passed_over[filename] = passed
        if not passed:
            return maker, frame.f_code, frame.f_lasti
        frame = frame.f_back
    return maker, None, 0


def site_of(origin: Origin) -> SiteRecord | None:
    """Return the line of the user's code in words; None if there was none."""
    _, code, instruction = origin
    if code is None:
        return None
    lines = (line for start, end, line in code.co_lines() if start <= instruction < end)
    function = code.co_qualname.rpartition("<locals>.")[2]
    return SiteRecord(
        tracebacks.label_of(code.co_filename) or code.co_filename,
        next(lines, None) or code.co_firstlineno,
        "" if function == "<module>" else function,
    )
