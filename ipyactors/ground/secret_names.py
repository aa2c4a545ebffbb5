"""Names that look like a secret's, whose values are told nobody: not in a traceback, not in a debugger."""

from __future__ import annotations

import functools
import re
from typing import Any

#: What is told instead of the value.
SECRET = "<not shown: the name looks like a secret's>"

_ALWAYS = frozenset({"password", "passwords", "passwd", "pwd", "passphrase", "secret", "secrets", "credentials"})
_OF_TEXT = frozenset({"token", "tokens", "auth", "authorization", "cookie", "apikey"})
_OF_LONG_TEXT = frozenset({"key", "keys"})
_LONG = 16
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_TEXTS = (str, bytes, bytearray)
_CONTAINERS = (list, tuple, set, frozenset, dict)


def is_secret(name: str, value: Any) -> bool:
    """Return whether ``value`` is not to be told, because of its name; runs no code of its class.

    A ``password`` never is. A ``token`` may be a number, and a ``key`` a short text, as in a loop over a dict.
    """
    words = _words(name[:100])
    kind = type(value)
    if not words or kind is bool or value is None:
        return False
    if words & _ALWAYS:
        return True
    base = next((base for base in _TEXTS if issubclass(kind, base)), None)
    if words & _OF_TEXT and (base is not None or issubclass(kind, _CONTAINERS)):
        return True
    return base is not None and bool(words & _OF_LONG_TEXT) and base.__len__(value) >= _LONG


@functools.lru_cache(maxsize=1024)  # the same names again and again
def _words(name: str) -> frozenset[str]:
    """Return which words in a name are of interest."""
    return frozenset(word.lower() for word in _WORD.findall(name)) & (_ALWAYS | _OF_TEXT | _OF_LONG_TEXT)
