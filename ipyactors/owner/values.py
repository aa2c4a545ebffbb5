"""Entries that are done, into values and exceptions for the user.

An exception of the user's code is raised as an instance of its own type and of TaskError, by a class made for the
pair; its traceback continues with the remote frames, so that it reads as if the code had run here.
"""

from __future__ import annotations

import contextlib
import copy
import weakref
from typing import Any

from ipyactors.ground import tracebacks
from ipyactors.ground.exception_parts import chain_of, is_a, set_chain, set_trace, trace_of, type_name
from ipyactors.ground.exceptions import SerializationError, TaskError
from ipyactors.owner import unasked
from ipyactors.owner.objects import Entry
from ipyactors.wire import serialize
from ipyactors.wire.specs import Payload, RemoteError


def value_of(entry: Entry) -> Any:
    """Return the value of an entry that is done, a fresh copy each time; raise its failure if it has one."""
    __tracebackhide__ = True
    failure = entry.failure
    if failure is None:
        assert entry.payload is not None, "the entry is not done"
        return load(entry.object_id, entry.payload)
    unasked.mark_seen(entry)
    if isinstance(failure, RemoteError):
        raise exception_of(failure)  # and not "from None": it has the causes that it had there
    error = copy.copy(failure)  # several threads may raise it, and what is raised keeps its frames alive
    if failure.__cause__ is not None:
        error.__cause__ = failure.__cause__
    try:
        raise error
    finally:
        del error  # or this frame, which its traceback has, would keep it alive


def load(object_id: bytes, payload: Payload) -> Any:
    """Return the value of a payload that has its bytes. Raises SerializationError."""
    __tracebackhide__ = True
    try:
        return serialize.loads(payload)
    except (Exception, SystemExit, GeneratorExit) as error:  # what it runs is the sender's code
        raise SerializationError(
            f"the value of {object_id.hex()} arrived but cannot be unpickled here: "
            f"{tracebacks.in_words(error)}. The value is not lost; a process that can import what it needs "
            "can still get it."
        ) from error


def exception_of(remote: RemoteError) -> BaseException:
    """Return what to raise for an exception of the user's code."""
    for source in remote.sources:
        tracebacks.remember_source(source.filename, source.text, source.label)
    cause, problem = _original(remote)
    if cause is None:
        error: BaseException = TaskError(_as_text(remote, problem), cause=None)
        frames = [(frame.filename, frame.line, frame.name) for frame in remote.frames]
        error.__traceback__ = tracebacks.rebuild(frames)
        tracebacks.add_details(error, remote.details)
    else:
        tracebacks.add_details(cause, remote.details)
        error = cause if remote.is_local or is_a(cause, TaskError) else _both(cause, remote)
    _describe(error, remote, cause)
    return error


def _original(remote: RemoteError) -> tuple[BaseException | None, str]:
    """Return the exception itself, or None and why it cannot be had here."""
    if remote.payload is None:
        return None, remote.pickling_problem
    try:
        cause = serialize.loads(remote.payload)
    except (Exception, SystemExit, GeneratorExit) as problem:  # what it runs is the user's code
        return None, tracebacks.in_words(problem)
    return (cause, "") if is_a(cause, BaseException) else (None, f"it unpickles as a {type_name(cause)}")


def _as_text(remote: RemoteError, problem: str) -> str:
    why = f" ({problem})" if problem else ""
    return (
        f"{remote.function_name} raised {remote.words}\n"
        f"The exception itself could not be brought here{why}. As text:\n{remote.traceback_text}"
    )


_classes: weakref.WeakKeyDictionary[type, type[BaseException]] = weakref.WeakKeyDictionary()


def _class_of_both(kind: type[BaseException]) -> type[BaseException]:
    made = _classes.get(kind)
    if made is None:
        facts = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
        bases = (TaskError,) if issubclass(TaskError, kind) else (kind, TaskError)
        made = _classes[kind] = type(kind.__name__, bases, facts)
    return made


def _both(cause: BaseException, remote: RemoteError) -> BaseException:
    """Return a copy of ``cause`` that is a TaskError too; TaskError alone where the type cannot be combined."""
    kind = type(cause)
    try:
        error: BaseException = _copy_into(_class_of_both(kind), cause)
        _note_facts(error, remote, cause)  # it may mean something else by these names
    except (Exception, SystemExit, GeneratorExit):  # what it runs is the user's code
        error = TaskError(tracebacks.in_words(cause))
    set_trace(error, trace_of(cause))
    set_chain(error, chain_of(cause))
    return error


def _copy_into(kind: type[BaseException], cause: BaseException) -> BaseException:
    # Built-in types keep facts outside their dict (OSError.filename, say). Their __init__ sets them, from what their
    # __reduce__ tells.
    reduced = cause.__reduce__()
    args = reduced[1] if isinstance(reduced, tuple) and reduced[0] is type(cause) else cause.args
    error = kind.__new__(kind, *args)
    for base in reversed(kind.__mro__):
        if base.__module__ == "builtins" and issubclass(base, BaseException):
            with contextlib.suppress(TypeError):  # a subclass may have other arguments
                base.__init__(error, *args)
    if isinstance(reduced, tuple) and len(reduced) > 2 and isinstance(reduced[2], dict):
        for name, value in reduced[2].items():  # an ImportError has a name, and not in its dict
            setattr(error, name, value)
    error.args = cause.args
    error.__dict__.update(cause.__dict__)
    return error


def _describe(error: BaseException, remote: RemoteError, cause: BaseException | None) -> None:
    if is_a(error, TaskError) and (cause is None or not remote.is_local):
        _note_facts(error, remote, cause)
    for note in filter(None, (remote.place, *remote.notes)):
        with contextlib.suppress(Exception):  # a class of the user's may have no room for one
            BaseException.add_note(error, note)


def _note_facts(error: Any, remote: RemoteError, cause: BaseException | None) -> None:
    error.cause = cause
    error.remote_traceback = remote.traceback_text
    error.function_name = remote.function_name
