"""Where two values differ that are not the same, for people: an attribute, an index, the text around the place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ipyactors.wire import serialize
from ipyactors.worker.equality import are_alike, facts_of, parts_of, settled, shown

_DEPTH_AT_MOST = 20

#: So many characters before and after the first that differs.
_AROUND = 20


class _Absent:
    """Stands for a part that one of two values does not have."""

    def __repr__(self) -> str:
        return "not there"


_ABSENT = _Absent()


def told(one: Any, other: Any) -> tuple[str, str]:
    """Return what two values are that are not the same, in a few words that are not the same either."""
    first, second = shown(one), shown(other)
    if first != second:
        return first, second
    place, this, that = _place("", one, other, 0)
    place = place.lstrip(".")
    if this == that:
        return f"{first}{f', where {place} is {this}' if place else ''}", f"{second}, which is not equal to that"
    if not place:
        return f"{first} ({this})", f"{second} ({that})"
    return f"{first}, where {place} is {this}", f"{second}, where {place} is {that}"


def _place(path: str, one: Any, other: Any, depth: int) -> tuple[str, str, str]:
    """Return where the two differ, and in words what they are there; of texts a piece."""
    if type(one) is not type(other):
        if one is _ABSENT or other is _ABSENT:
            return path, shown(one), shown(other)
        return path, f"{shown(one)}, a {_full_name(one)}", f"{shown(other)}, a {_full_name(other)}"
    if isinstance(one, (str, bytes)):
        return path, *_pieces(one, other)
    if depth < _DEPTH_AT_MOST:
        for name, this, that in _parts(one, other):
            if not are_alike(this, that):
                return _place(path + name, this, that, depth + 1)
    return path, shown(one), shown(other)


def _parts(one: Any, other: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield the parts of two values of one type, with what leads to them."""
    if isinstance(one, (list, tuple)):
        for index, (this, that) in enumerate(zip(one, other, strict=False)):
            yield f"[{index}]", this, that
        yield ".__len__()", len(one), len(other)
    elif isinstance(one, Mapping):
        yield from _values(one, other, "[{!r}]")
        yield ".keys()", list(one), list(other)
    elif isinstance(one, (set, frozenset, type)) or serialize.is_plain(one):
        return
    elif isinstance(one, BaseException):
        yield from _values(facts_of(one), facts_of(other), ".{}")
    else:
        yield from _values(parts_of(one), parts_of(other), ".{}")


def _values(one: Mapping[Any, Any], other: Mapping[Any, Any], form: str) -> Iterator[tuple[str, Any, Any]]:
    for key in [*one, *(key for key in other if key not in one)]:
        yield form.format(key), one.get(key, _ABSENT), other.get(key, _ABSENT)


def _pieces(one: Any, other: Any) -> tuple[str, str]:
    """Return the pieces of two texts around the first place where they differ."""
    if isinstance(one, str):
        one, other = settled(one), settled(other)
    index = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    begin, end = max(0, index - _AROUND), index + _AROUND
    return f"{one[begin:end]!r} around character {index}", f"{other[begin:end]!r} around character {index}"


def _full_name(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"
