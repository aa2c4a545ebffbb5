"""Signatures, checked on the caller's side before anything is sent.

A signature travels as the text of its parameters, such as ``x, /, y=None, *, key``. From that text each process
compiles an empty function of the same shape; calling it with the arguments is the check. So the interpreter itself
does the work, at the price of an empty call (some 50 ns), and the error's words are Python's own.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

#: Takes the arguments of a call and returns None, or raises the TypeError that the function itself would raise.
Check = Callable[..., None]

#: The parameters of something whose signature cannot be had, such as a builtin: all is let through.
ANYTHING = "*args, **kwargs"


def describe(function: Callable[..., Any], *, skip_first: bool = False) -> str:
    """Return the text of the parameters; a default becomes ``None``. ``skip_first`` leaves out ``self`` or ``cls``."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return ANYTHING
    if skip_first and parameters and parameters[0].kind is not inspect.Parameter.VAR_POSITIONAL:
        del parameters[0]
    words: list[str] = []
    kinds = [parameter.kind for parameter in parameters]
    for index, parameter in enumerate(parameters):
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and not _has_star_before(kinds, index):
            words.append("*")
        words.append(_word(parameter))
        is_last_positional_only = kinds[index : index + 2].count(inspect.Parameter.POSITIONAL_ONLY) == 1
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY and is_last_positional_only:
            words.append("/")
    return ", ".join(words)


def _has_star_before(kinds: list[Any], index: int) -> bool:
    return any(kind in {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.KEYWORD_ONLY} for kind in kinds[:index])


def _word(parameter: inspect.Parameter) -> str:
    if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
        return f"*{parameter.name}"
    if parameter.kind is inspect.Parameter.VAR_KEYWORD:
        return f"**{parameter.name}"
    return parameter.name if parameter.default is inspect.Parameter.empty else f"{parameter.name}=None"


@functools.lru_cache(maxsize=4096)
def make_check(name: str, parameters: str) -> Check:
    """Return the function that checks a call of ``name``, which is how the error's text calls it."""
    scope: dict[str, Any] = {}
    exec(f"def check({parameters}): pass", scope)
    check: Check = scope["check"]
    check.__name__ = check.__qualname__ = name
    return check
