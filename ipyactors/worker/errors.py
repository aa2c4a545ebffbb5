"""What the user's code raised, made fit for travel.

An exception travels as itself where that is possible, and always as text too. Pickling drops an exception's causes
and tracebacks; they travel beside it and are joined again by unpickling (:func:`ipyactors.ground.tracebacks.rejoin`),
so the receiver gets it whole from one ``loads``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ipyactors.ground import tracebacks
from ipyactors.ground.exception_parts import chain_of, is_a, members_of, set_chain, set_trace, trace_of, type_name
from ipyactors.ground.exceptions import TaskError
from ipyactors.wire import serialize
from ipyactors.wire.specs import FrameSpec, Payload, RemoteError, SourceText
from ipyactors.worker.captures import details_of

_CAUSES_AT_MOST = 20

#: How numpy's refusals to write end: of an assignment, of ``out=``, of ``sort()`` and its like.
_READ_ONLY = ("destination is read-only", "array is read-only")


def describe_error(error: BaseException, *, function_name: str, with_details: bool = False) -> RemoteError:
    """Return ``error`` as it travels, with the local variables of its frames if it is to have ``details``.

    Never raises, whatever the exception's own methods do: each of them may raise anything, a KeyboardInterrupt too.
    """
    _explain_read_only(error)
    name = tracebacks.clean(type_name(error))
    payload, problem = _pickle(error)
    try:
        message, text = tracebacks.message_of(error), tracebacks.format_text(error)
    except KeyboardInterrupt:
        message = "(its __str__ raised KeyboardInterrupt)"
        text = f"{name}: {message}\n"
    return RemoteError(
        type_name=name,
        message=message,
        traceback_text=text,
        payload=payload,
        frames=tuple(FrameSpec(*frame) for frame in tracebacks.describe(trace_of(error))),
        sources=_sources(_all_files(error)),
        function_name=function_name,
        pickling_problem=problem,
        details=details_of(error) if with_details else (),
    )


def _explain_read_only(error: BaseException) -> None:
    """Tell who has written to an array from a store why that is refused; numpy only says that it is."""
    if type(error) is not ValueError or len(error.args) != 1 or hasattr(error, "__notes__"):
        return
    words = error.args[0]
    if type(words) is str and words.endswith(_READ_ONLY):
        error.add_note(
            "In a call, large arrays of arguments and references are shared, and read-only: use array.copy()"
        )


def _all_files(error: BaseException) -> list[str]:
    files: dict[str, None] = {}
    for link in tracebacks.links_of(error):
        files.update((frame[0], None) for frame in tracebacks.describe(trace_of(link)))
    return list(files)


def _sources(filenames: Iterable[str]) -> tuple[SourceText, ...]:
    found = ((filename, tracebacks.source_of(filename)) for filename in filenames)
    return tuple(SourceText(filename, *source) for filename, source in found if source is not None)


# -- pickling ----------------------------------------------------------------------------------------------------


class _Link:
    """Pickles as one exception of a chain, joined with what it was raised from."""

    __slots__ = ("error", "is_bare", "parts")

    def __init__(self, error: BaseException, parts: tuple[Any, ...], is_bare: bool) -> None:
        self.error = error
        self.parts = parts
        self.is_bare = is_bare

    def __reduce__(self) -> tuple[Any, ...]:
        inner: Any = _Bare(self.error) if self.is_bare else self.error
        return tracebacks.rejoin, (inner, *self.parts)


class _Bare:
    """Pickles as an exception that is made again without its ``__init__``."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> tuple[Any, ...]:
        return tracebacks.revive, (type(self.error), self.error.args, dict(vars(self.error)))


def _pickle(error: BaseException) -> tuple[Payload | None, str]:
    """Return the payload, proven to unpickle again, or None and why there is none."""
    try:
        is_bare, problem = _travels(error)
        if is_bare is None:
            return None, problem
        payload = serialize.dumps_error(_link(error, is_bare, depth=0))
        serialize.loads(payload)
    except BaseException as failure:  # whatever a user's pickling code raises
        return None, _reason(failure)
    return payload, ""


def _travels(error: BaseException) -> tuple[bool | None, str]:
    """Return how ``error`` alone pickles: False as it is, True without its ``__init__``, None not at all, and why."""
    problem = _trial(error)
    if not problem:
        return False, ""
    # A class with a pickling of its own is left to it; only the default one is worked around.
    if type(error).__reduce__ is BaseException.__reduce__ and not _trial(_Bare(error)):
        return True, ""
    return None, problem


def _trial(value: Any) -> str:
    try:
        copy = serialize.loads(serialize.dumps_error(value))
    except BaseException as failure:  # whatever a user's pickling code raises
        return _reason(failure)
    return "" if is_a(copy, BaseException) else f"it unpickles as a {type_name(copy)}"


def _reason(failure: BaseException) -> str:
    """Return why something does not travel."""
    try:
        return tracebacks.in_words(failure)
    except KeyboardInterrupt:  # from its __str__
        return type_name(failure)


def _link(error: BaseException, is_bare: bool, *, depth: int) -> _Link:
    chain = chain_of(error)
    parts = (
        _next_link(chain.cause, depth),
        # A context that nobody would be shown stays behind; it also keeps the chain a line and not a tree.
        _next_link(chain.shown_context, depth),
        chain.suppress_context,
        tuple(tracebacks.describe(trace_of(error))),
        _members(error, depth),
    )
    return _Link(error, parts, is_bare)


def _members(error: BaseException, depth: int) -> tuple[_Link, ...]:
    """Return what makes the members of a group whole: pickled once more, each is the same object as in the group."""
    if depth >= _CAUSES_AT_MOST:
        return ()
    found = members_of(error)
    return tuple(_link(member, False, depth=depth + 1) for member in found if _travels(member)[0] is False)


def _next_link(error: BaseException | None, depth: int) -> _Link | None:
    if error is None or depth >= _CAUSES_AT_MOST:
        return None
    is_bare, problem = _travels(error)
    if is_bare is None:
        stand_in = TaskError(f"{_reason(error)} (it could not be pickled: {problem})")
        set_chain(stand_in, chain_of(error))
        set_trace(stand_in, trace_of(error))
        error, is_bare = stand_in, False
    return _link(error, is_bare, depth=depth + 1)
