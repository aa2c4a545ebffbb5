"""Signatures, checked on the caller's side before anything is sent.

A signature travels as the text of its parameters, such as ``x, /, y=None, *, key``. From that text each process
compiles an empty function of the same shape; calling it with the arguments is the check. So the interpreter itself
does the work, at the price of an empty call (some 50 ns), and the error's words are Python's own.
"""

from __future__ import annotations

import functools
import inspect
import math
import types
from collections.abc import Callable
from typing import Any, cast

from ipyactors.ground.secret_names import is_secret

#: Takes the arguments of a call and returns None, or raises the TypeError that the function itself would raise.
Check = Callable[..., None]

#: The parameters of something whose signature cannot be had, such as a builtin: all is let through.
ANYTHING = "*args, **kwargs"

#: The types of the defaults that travel, if their text is no longer than this.
_LITERALS = frozenset({bool, bytes, float, int, str, type(None)})
_DEFAULT_AT_MOST = 40


def signature_of(function: Callable[..., Any], *, skip_first: bool = False) -> inspect.Signature:
    """Return the signature, or of what has none that takes anything. ``skip_first`` leaves out ``self`` or ``cls``."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return inspect.signature(make_check("", ANYTHING))
    parameters = list(signature.parameters.values())
    if skip_first and parameters and parameters[0].kind is not inspect.Parameter.VAR_POSITIONAL:
        del parameters[0]
    return signature.replace(parameters=parameters)


def describe(signature: inspect.Signature) -> str:
    """Return the text of the parameters.

    A default that is a short number, text or None is in it, any other becomes ``...``: it stays where the function is.
    """
    parameters = list(signature.parameters.values())
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
    if parameter.default is inspect.Parameter.empty:
        return parameter.name
    return f"{parameter.name}={_default(parameter.name, parameter.default)}"


def _default(name: str, value: object) -> str:
    """Return a default as it travels: no code of the user's runs for it, and Python reads it as a literal."""
    if type(value) not in _LITERALS or is_secret(name, value):
        return "..."
    if isinstance(value, float) and not math.isfinite(value):
        return "..."
    if isinstance(value, int) and value.bit_length() > 64:  # the interpreter may refuse to write a long one
        return "..."
    text = repr(value)
    return text if len(text) <= _DEFAULT_AT_MOST and text.isascii() else "..."


class _Elsewhere:
    """Stands for a default that has not travelled."""

    def __repr__(self) -> str:
        return "..."


_ELSEWHERE = _Elsewhere()


def _shown(default: object) -> object:
    return _ELSEWHERE if default is ... else default


@functools.lru_cache(maxsize=4096)
def make_check(name: str, parameters: str) -> Check:
    """Return the function that checks a call of ``name``, which is how the error's text calls it."""
    scope: dict[str, Any] = {}
    exec(f"def check({parameters}): pass", scope)
    check: Check = scope["check"]
    function = cast("types.FunctionType", check)
    function.__defaults__ = tuple(map(_shown, function.__defaults__ or ())) or None
    keywords = function.__kwdefaults__ or {}
    function.__kwdefaults__ = {key: _shown(value) for key, value in keywords.items()} or None
    check.__name__ = check.__qualname__ = name
    return check
