"""What lies in an exception, read and set without running any code of its class.

A class of the user's may mean something else by ``__cause__`` or ``__class__``, or raise when it is asked for them.
"""

from __future__ import annotations

import types
from typing import Any, NamedTuple, TypeGuard, TypeVar

_E = TypeVar("_E")

_CAUSE: Any = BaseException.__dict__["__cause__"]
_CONTEXT: Any = BaseException.__dict__["__context__"]
_SUPPRESS_CONTEXT: Any = BaseException.__dict__["__suppress_context__"]
_TRACEBACK: Any = BaseException.__dict__["__traceback__"]
_MEMBERS: Any = BaseExceptionGroup.__dict__["exceptions"]
_QUALNAME: Any = type.__dict__["__qualname__"]


class Chain(NamedTuple):
    """What an exception was raised from, what it was raised during, and whether the latter is not to be shown."""

    cause: BaseException | None
    context: BaseException | None
    suppress_context: bool

    @property
    def shown_context(self) -> BaseException | None:
        """What it was raised during, if anybody is to be shown that."""
        return None if self.suppress_context else self.context


def chain_of(error: BaseException) -> Chain:
    """Return what ``error`` was raised from and during."""
    return Chain(_CAUSE.__get__(error), _CONTEXT.__get__(error), _SUPPRESS_CONTEXT.__get__(error))


def set_chain(error: BaseException, chain: Chain) -> None:
    """Have ``error`` tell that it was raised from and during these."""
    _CAUSE.__set__(error, chain.cause)
    _CONTEXT.__set__(error, chain.context)
    _SUPPRESS_CONTEXT.__set__(error, chain.suppress_context)


def trace_of(error: BaseException) -> types.TracebackType | None:
    """Return the traceback of ``error``."""
    trace: types.TracebackType | None = _TRACEBACK.__get__(error)
    return trace


def set_trace(error: BaseException, trace: types.TracebackType | None) -> None:
    """Give ``error`` a traceback."""
    _TRACEBACK.__set__(error, trace)


def members_of(error: BaseException) -> tuple[BaseException, ...]:
    """Return the exceptions in a group; nothing of one that is no group."""
    return _MEMBERS.__get__(error) if is_a(error, BaseExceptionGroup) else ()


def is_a(error: object, kinds: type[_E] | tuple[type[_E], ...]) -> TypeGuard[_E]:
    """Return whether ``error`` is of one of these classes; what it says of its class does not count."""
    return issubclass(type(error), kinds)


def type_name(error: object) -> str:
    """Return the name of the class of ``error``, as plain text."""
    return str.__str__(_QUALNAME.__get__(type(error)))
