"""Functions that name the nearest argument when they are given one that they do not take, and that show all."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from ipyactors.ground.exceptions import OptionTypeError
from ipyactors.ground.options import Place, nearest, options_of

_Function = TypeVar("_Function", bound=Callable[..., Any])
_P = ParamSpec("_P")
_R = TypeVar("_R")


def checked(label: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Decorate a function, called ``label`` in messages, that starts something.

    A keyword that it does not take raises OptionTypeError, which is a TypeError as Python's own would be.
    """

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        code = function.__code__
        takes = [name for name in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount] if name != "self"]

        @functools.wraps(function)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            __tracebackhide__ = True
            for name in kwargs:
                if name not in takes:
                    raise OptionTypeError(
                        f"{label} takes no {name!r}.{nearest(name, takes)} It takes: {', '.join(takes)}. "
                        "Nothing was started.",
                        option=name,
                    )
            return function(*args, **kwargs)

        return call

    return decorate


def of_options(place: Place) -> Callable[[_Function], _Function]:
    """Decorate a method that takes ``**given``: help and completion show the options that ``place`` has."""
    names = (option.name for option in options_of(place))
    keywords = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None) for name in names]
    itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)

    def decorate(function: _Function) -> _Function:
        function.__signature__ = inspect.Signature([itself, *keywords])  # type: ignore[attr-defined]
        return function

    return decorate
