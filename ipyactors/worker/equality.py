"""Whether two values are equal that came to be in different processes: results, and states attribute by attribute.

Equal values may be pickled to different bytes: which parts of a value are one object, and in which order a set has its
elements, depends on how it came to be. So values are the same if they compare as equal, or if they are pickled to the
same bytes when neither of that is told. Exceptions are the same if they are of one type and say the same, texts if they
differ in nothing but where an object lies in memory. What can neither be compared nor pickled so is not known to be the
same or not.
"""

from __future__ import annotations

import functools
import hashlib
import io
import pickle
import re
import reprlib
import types
from typing import Any, NamedTuple

import cloudpickle
import msgspec

from ipyactors.owner.refs import ObjectRef
from ipyactors.wire import serialize
from ipyactors.wire.specs import Payload

_REFERENCE = "reference"

#: In texts that Python makes of what has no words of its own: ``<Account object at 0x7f...>``.
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")

_shown = reprlib.Repr()
_shown.maxlevel, _shown.maxstring, _shown.maxother, _shown.maxlong = 4, 120, 120, 60
for _many in ("maxdict", "maxlist", "maxtuple", "maxset", "maxfrozenset", "maxdeque", "maxarray"):
    setattr(_shown, _many, 12)


class Difference(NamedTuple):
    """An attribute that is not the same in both, and what it is there (bounded); empty where it is not there."""

    attribute: str
    first: str
    second: str


class Compared(NamedTuple):
    """What is different, and the attributes of which it is not known."""

    differences: tuple[Difference, ...] = ()
    unknown: tuple[str, ...] = ()


class _Kept(msgspec.Struct, array_like=True):
    """An attribute for another process: pickled, and the digest of what does not depend on how it came to be."""

    shown: str
    pickled: bytes
    digest: bytes


_decode = msgspec.msgpack.Decoder(dict[str, _Kept]).decode


def shown(value: Any) -> str:
    """Return what a value is, in a few words."""
    try:
        text = _shown.repr(value)
    except Exception:  # the user's code
        text = f"a {type(value).__qualname__}"
    return text if len(text) <= 400 else f"{text[:397]}..."


def same(was: Payload, now: Payload) -> bool:
    """Return whether two pickles are of the same value: which parts of it are one object may differ."""
    data = _with_refs_of(now, was)
    if data == now.data and [bytes(view) for view in was.buffers] == [bytes(view) for view in now.buffers]:
        return True
    try:
        one, other = serialize.loads(was), serialize.loads(now)
    except Exception:  # the user's unpickling
        return False
    return are_alike(one, other)


def are_alike(one: Any, other: Any) -> bool:
    """Return whether two values are the same, however they came to be."""
    digest = _digest(one)
    return (digest is not None and digest == _digest(other)) or _are_equal(one, other)


def settled(text: str) -> str:
    """Return a text without what is another one in each process: where objects lie in memory."""
    return _ADDRESS.sub("", text) if " at 0x" in text else text


def facts_of(error: BaseException) -> dict[str, Any]:
    """Return what tells an exception from others of its type: what it says, and its plain attributes."""
    plain = {name: value for name, value in vars(error).items() if serialize.is_plain(value)}
    return {"args": error.args, **dict(sorted(plain.items())), "__notes__": list(getattr(error, "__notes__", ()))}


def _with_refs_of(now: Payload, was: Payload) -> bytes:
    """Return a pickle with the references of another one in their places: each incarnation makes its own."""
    data = was.data
    for old, new in zip(was.refs, now.refs, strict=False):
        data = data.replace(old.object_id, new.object_id)
        data = data.replace(old.owner_address.encode(), new.owner_address.encode())
    return data


def _are_equal(one: Any, other: Any) -> bool:
    """Return whether two values say that they are equal."""
    try:
        return type(one) is type(other) and ((one == other) is True or one.equals(other) is True)
    except Exception:  # arrays have no truth value, few things an equals(), and it is all the user's code
        return False


def parts_of(instance: Any) -> dict[str, Any]:
    """Return what an instance is made of, as pickle sees it: its attributes, and the contents of a container.

    Without what ``functools.cached_property`` has kept: that follows from the rest, and readonly methods fill it too.
    """
    try:
        reduced: list[Any] = [*instance.__reduce_ex__(4), None, None, None]
        _, args, state, items, entries, *_ = reduced
        parts: dict[str, Any] = {}
        if len(args) > 1:
            parts["(arguments)"] = args[1:]
        if isinstance(state, tuple) and len(state) == 2 and all(isinstance(one, (dict, type(None))) for one in state):
            parts |= {**(state[0] or {}), **(state[1] or {})}
        elif isinstance(state, dict):
            parts |= state
        elif state is not None:
            parts["(state)"] = state
        if items is not None:
            parts["(items)"] = list(items)
        if entries is not None:
            parts["(entries)"] = dict(entries)
    except Exception:  # what cannot be pickled, or does so in a way of its own
        parts = dict(getattr(instance, "__dict__", {}))
    cls = type(instance)
    return {
        str(name): value
        for name, value in parts.items()
        if not isinstance(getattr(cls, str(name), None), functools.cached_property)
    }


def keep(instance: Any) -> bytes:
    """Return the state of an instance for :func:`compare` in another process. Never raises for what is in it."""
    kept = {
        name: _Kept(shown(value), _pickled(value) or b"", _digest(value) or b"")
        for name, value in parts_of(instance).items()
    }
    return msgspec.msgpack.encode(kept)


def compare(kept: bytes, instance: Any) -> Compared:
    """Compare the state of an instance with one that was kept."""
    first, second = _decode(kept), parts_of(instance)
    differences: list[Difference] = []
    unknown: list[str] = []
    for name in sorted({*first, *second}):
        if name not in first:
            differences.append(Difference(name, "", shown(second[name])))
        elif name not in second:
            differences.append(Difference(name, first[name].shown, ""))
        else:
            is_same = _is_same(first[name], second[name])
            if is_same is None:
                unknown.append(name)
            elif not is_same:
                differences.append(Difference(name, first[name].shown, shown(second[name])))
    return Compared(tuple(differences), tuple(unknown))


def _is_same(kept: _Kept, value: Any) -> bool | None:
    digest = _digest(value)
    if digest is not None and kept.digest == digest:
        return True
    if kept.pickled:
        try:
            other = _Loader(io.BytesIO(kept.pickled)).load()
        except Exception:  # the user's code
            return False if digest is not None and kept.digest else None
        if _are_equal(other, value):
            return True
    return False if digest is not None and kept.digest else None


class _Dumper(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle is not typed
    def persistent_id(self, value: object) -> str | None:
        return _REFERENCE if isinstance(value, ObjectRef) else None


class _Loader(pickle.Unpickler):
    def persistent_load(self, name: object) -> str:
        return str(name)


def _pickled(value: Any) -> bytes | None:
    file = io.BytesIO()
    try:
        _Dumper(file, protocol=5).dump(value)
    except Exception:  # a lock, a socket
        return None
    return file.getvalue()


class _FlatPickler(pickle.Pickler):
    """Tells neither what is one object, nor the order of a set, nor what is in a class or function, nor addresses."""

    def persistent_id(self, value: Any) -> object:
        kind = type(value)
        if isinstance(value, ObjectRef):
            return _REFERENCE
        if kind is set or kind is frozenset:
            return kind.__name__, *sorted(map(_flat, value))
        if kind is str:
            return ("text", settled(value)) if " at 0x" in value else None
        if isinstance(value, type) or kind is types.FunctionType:
            return value.__module__, value.__qualname__
        if isinstance(value, BaseException):
            return kind.__module__, kind.__qualname__, _flat(facts_of(value))
        return None


def _flat(value: Any) -> bytes:
    file = io.BytesIO()
    pickler = _FlatPickler(file, protocol=5)
    pickler.fast = True
    pickler.dump(value)
    return file.getvalue()


def _digest(value: Any) -> bytes | None:
    """Return what tells a value from others; None for one that cannot be pickled, or refers to itself."""
    try:
        return hashlib.blake2b(_flat(value), digest_size=16).digest()
    except Exception:  # the user's code
        return None
