"""What a value is, as a short text, found out without running any code of its class.

For what is described because something has gone wrong. A ``__repr__`` may raise, hang, print, ask a database, wait for
a lock, or change what it tells of; of a durable actor that would be a change that no log knows. So none is called:
built-in values are written out, containers are walked, an object is told by its attributes as they lie in it, arrays
and tables of well-known libraries by their shape. What has a name that looks like a secret's is not told.
"""

from __future__ import annotations

import ast
import enum
import math
import sys
import types
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from ipyactors.ground.secret_names import SECRET, is_secret

_DEPTH_AT_MOST = 6
#: Where less room than this is left, a container ends with how many items there are (characters).
_ROOM_FOR_COUNT = 40
_BITS_AT_MOST = 512

#: Types of the standard library, and of ours, whose repr() is short and runs no other code; by their modules.
_SAFE = {
    "datetime": {"date", "time", "datetime", "timedelta", "timezone"},
    "decimal": {"Decimal"},
    "fractions": {"Fraction"},
    "ipyactors.api.actor": {"ActorClass"},
    "ipyactors.api.handles": {"ActorHandle", "ActorMethod"},
    "ipyactors.api.remote": {"RemoteFunction"},
    "ipyactors.owner.refs": {"ObjectRef", "ObjectRefGenerator"},
    "pathlib": {"PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath"},
    "uuid": {"UUID"},
    "zoneinfo": {"ZoneInfo"},
}
#: Libraries whose arrays and tables tell their ``shape`` without being computed.
_WITH_SHAPES = frozenset({"cupy", "jax", "jaxlib", "numpy", "pandas", "polars", "pyarrow", "scipy", "torch"})
_SMALL_ARRAY = 12

_STAYED = "the value itself stayed in the worker; here is only what it was"


class Captured:
    """Stands for a value that stayed in the worker. Its repr is what the value was, in short."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f".{name}: {_STAYED}: {self._text}")

    def __getitem__(self, index: object) -> Any:
        raise TypeError(f"[{index!r}]: {_STAYED}: {self._text}")


def text_of(value: Any, at_most: int = 200) -> tuple[str, bool]:
    """Return ``value`` in at most about so many characters, and whether :func:`value_of` makes it again from them.

    Never raises, and runs no code of the value's class.
    """
    writer = _Writer(at_most)
    try:
        writer.write(value)
    except _FullError:
        writer.parts.append("...")
    except (Exception, SystemExit, GeneratorExit):  # a library's code, or a class that is not what it seems
        return f"<{_name(type(value))}>", False
    return "".join(writer.parts), writer.is_exact


def value_of(text: str, is_exact: bool) -> Any:
    """Return a value from its text: the value itself if that is ``is_exact``, else what has that text as its repr."""
    if not is_exact:
        return Captured(text)
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return Captured(text)


class _FullError(Exception):
    """Raised when there is no room left."""


class _Writer:
    """Writes one value, from left to right, until there is no room left."""

    def __init__(self, at_most: int) -> None:
        self.parts: list[str] = []
        self.is_exact = True
        self._left = at_most
        self._outer: list[int] = []

    def write(self, value: Any) -> None:
        """Write a value. Raises _FullError."""
        kind = type(value)
        if kind in _PLAIN:
            self._put(repr(value))
        elif kind is float:
            self.is_exact &= math.isfinite(value)
            self._put(repr(value))
        elif kind in (int, str, bytes):
            self._write_scalar(value, kind)
        elif len(self._outer) >= _DEPTH_AT_MOST or id(value) in self._outer:
            self._tell("...")
        else:
            self._outer.append(id(value))
            if kind in _WALKED:
                self.is_exact &= kind is not frozenset
                self._write_items(value, kind)
            elif kind is dict:
                self._write_dict(value)
            else:
                self.is_exact = False
                self._write_object(value, kind)
            self._outer.pop()

    def _put(self, text: str) -> None:
        if len(text) > self._left:
            self.parts.append(text[: self._left])
            self._left = 0
            self.is_exact = False
            raise _FullError
        self.parts.append(text)
        self._left -= len(text)

    def _tell(self, text: str) -> None:
        self.is_exact = False
        self._put(text)

    # -- built-in values -----------------------------------------------------------------------------------------

    def _write_scalar(self, value: Any, kind: Any) -> None:
        if kind is int:
            bits = int.bit_length(value)
            if bits > _BITS_AT_MOST:  # longer ones take long to become digits
                self._tell(f"<int of {bits} bits>")
            else:
                self._put(int.__repr__(value))
            return
        length = kind.__len__(value)
        text = kind.__repr__(kind.__getitem__(value, slice(0, self._left)))
        if length <= self._left and len(text) <= self._left:
            self._put(text)
            return
        end = f"... ({length} {'characters' if kind is str else 'bytes'})"
        self._tell(text[: max(0, self._left - len(end))] + end)

    def _write_items(self, value: Any, kind: Any) -> None:
        count = kind.__len__(value)
        if not count:
            self._put(repr(kind()))
            return
        start, stop = _BRACKETS[kind]
        self._put(start)
        # The items of a dict, as headers and parameters are often given: the first names the second.
        pair_name = _name_of_key(tuple.__getitem__(value, 0)) if kind is tuple and count == 2 else ""
        for index, item in enumerate(kind.__iter__(value)):
            if index and not self._comma(count):
                break
            self._write_named(pair_name if index else "", item)
        self._put(",)" if kind is tuple and count == 1 else stop)

    def _write_dict(self, value: Any) -> None:
        self._put("{")
        for index, (key, item) in enumerate(dict.items(value)):
            if index and not self._comma(dict.__len__(value)):
                break
            self.write(key)
            self._put(": ")
            self._write_named(_name_of_key(key), item)
        self._put("}")

    def _comma(self, count: int) -> bool:
        """Go on to the next of ``count`` items; return whether there is room for it."""
        if self._left >= _ROOM_FOR_COUNT:
            self._put(", ")
            return True
        self._tell(f", ... {count} in all")
        return False

    def _write_named(self, name: str, value: Any) -> None:
        if name and is_secret(name, value):
            self._tell(SECRET)
        else:
            self.write(value)

    # -- objects -------------------------------------------------------------------------------------------------

    def _write_object(self, value: Any, kind: type) -> None:
        known = _well_known(kind)
        if kind is Captured or _is_safe(value, kind):
            self._put(repr(value))
        elif known is not None:
            self._write_library(value, kind, known)
        elif short := _in_short(value, kind):
            self._put(short)
        elif issubclass(kind, BaseException):
            self._put(_name(kind))
            self._write_items(_ARGS.__get__(value), tuple)
        else:
            self._write_instance(value, kind)

    def _write_library(self, value: Any, kind: type, known: type) -> None:
        shape, dtype = _attribute(value, known, "shape"), _attribute(value, known, "dtype")
        is_numbers = kind is known and known.__module__ == "numpy" and dtype is not None and dtype.kind in "biufc"
        if is_numbers and shape == ():
            self._put(repr(value))
        elif is_numbers and value.size <= _SMALL_ARRAY:
            self._put("array(")
            self.write(value.tolist())
            self._put(")")
        else:
            of_what = "" if dtype is None else f" dtype={dtype}"
            self._put(f"<{_name(kind)} shape={tuple(shape)}{of_what}>")

    def _write_instance(self, value: Any, kind: type) -> None:
        """Write what is derived from a built-in type as that, and anything by its attributes."""
        base = next((base for base in _BASES if issubclass(kind, base)), None)
        fields = _in_class(kind, "_fields")
        is_record = _in_class(kind, "__dataclass_fields__") is not None or (base is tuple and type(fields) is tuple)
        self._put(f"{_name(kind)}(" if is_record or base is not None else f"<{_name(kind)}")
        if base is tuple and is_record:
            parts: Iterable[tuple[Any, Any]] = zip(fields, tuple.__iter__(value), strict=False)
        elif base is not None:
            self._write_base(value, base)
            parts = ()
        else:
            parts = attributes_of(value)
        for index, (name, part) in enumerate(parts):
            if index and self._left < _ROOM_FOR_COUNT:
                self._put(", ...")
                break
            self._put(f"{', ' if index else '' if is_record else ' '}{name}=")
            self._write_named(name, part)
        self._put(")" if is_record or base is not None else ">")

    def _write_base(self, value: Any, base: type) -> None:
        if base is dict:
            self._write_dict(value)
        elif base in _BRACKETS:
            self._write_items(value, base)
        elif base is float:
            self._put(float.__repr__(value))
        elif base is bytearray:
            self._write_scalar(bytes(bytearray.__getitem__(value, slice(0, self._left + 1))), bytes)
        else:
            self._write_scalar(value, base)


_PLAIN = frozenset({type(None), bool})
_WALKED = frozenset({list, tuple, set, frozenset})
_BRACKETS: dict[type, tuple[str, str]] = {
    list: ("[", "]"), tuple: ("(", ")"), set: ("{", "}"), frozenset: ("frozenset({", "})"), deque: ("[", "]"),
}  # fmt: skip
_BASES = (int, float, str, bytes, bytearray, list, tuple, set, frozenset, dict, deque)
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType)

_QUALNAME: Any = type.__dict__["__qualname__"]
_CLASS_DICT: Any = type.__dict__["__dict__"]
_MRO: Any = type.__dict__["__mro__"]
_MODULE: Any = type.__dict__["__module__"]
_ARGS: Any = BaseException.__dict__["args"]


def _name_of_key(key: Any) -> str:
    return key if type(key) is str else key.decode("ascii", "replace") if type(key) is bytes else ""


def _name(kind: type) -> str:
    name = str.__str__(_QUALNAME.__get__(kind))  # not as an attribute: a metaclass might answer
    return name.rpartition("<locals>.")[2]


def _in_class(kind: type, name: str) -> Any:
    """Return what a class, or one that it is derived from, has under a name, as it lies there; None if nothing."""
    for base in _MRO.__get__(kind):
        facts = _CLASS_DICT.__get__(base)
        if name in facts:
            return facts[name]
    return None


def attributes_of(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the attributes that lie in an object itself, with their names; nothing is computed."""
    kind = type(value)
    for base in _MRO.__get__(kind):
        for name, slot in list(_CLASS_DICT.__get__(base).items()):
            if type(slot) is types.MemberDescriptorType and not name.startswith("__"):
                try:
                    yield name, slot.__get__(value)
                except AttributeError:  # it has not been set
                    continue
    kept = _in_class(kind, "__dict__")
    if type(kept) is types.GetSetDescriptorType:  # and nothing of the user's under that name
        yield from [(name, part) for name, part in kept.__get__(value).items() if type(name) is str]


def _in_short(value: Any, kind: type) -> str:
    """Return what there is to say of a function, a class, a module, or a member of an enumeration; else nothing."""
    if issubclass(kind, type):
        return f"<class {_name(value)}>"
    if kind in _FUNCTIONS:
        return f"<function {value.__name__}>"
    if kind is types.MethodType:
        return f"<method {_name(type(value.__self__))}.{getattr(value.__func__, '__name__', '')}>"
    if kind is types.ModuleType:
        return f"<module {types.ModuleType.__getattribute__(value, '__name__')}>"
    if issubclass(kind, enum.Enum):
        return f"{_name(kind)}.{dict(attributes_of(value)).get('_name_')}"
    return ""


def _is_safe(value: Any, kind: type) -> bool:
    """Return whether repr() of it runs no code that is not known."""
    if kind in (complex, range, type(...)):
        return True
    module = _MODULE.__get__(kind)
    if type(module) is not str or _name(kind) not in _SAFE.get(module, ()) or not _is_there(kind, module):
        return False
    zone = value.tzinfo if module == "datetime" and hasattr(kind, "tzinfo") else None
    return zone is None or _is_safe(zone, type(zone))


def _well_known(kind: type) -> type | None:
    """Return the class of a well-known library that ``kind`` is, or is derived from, if its objects have a shape."""
    for base in _MRO.__get__(kind):
        module = _MODULE.__get__(base)
        if type(module) is str and module.partition(".")[0] in _WITH_SHAPES and _is_there(base, module):
            return base if hasattr(base, "shape") else None
    return None


def _is_there(kind: type, module: str) -> bool:
    """Return whether a class is what its module has under its name: anybody may claim to be of another module."""
    loaded = sys.modules.get(module)
    return loaded is not None and vars(loaded).get(_name(kind)) is kind


def _attribute(value: Any, kind: type, name: str) -> Any:
    """Return an attribute of ``value`` as its base class ``kind`` tells it; None if there is none."""
    found = getattr(kind, name, None)
    return found.__get__(value, type(value)) if found is not None else None
