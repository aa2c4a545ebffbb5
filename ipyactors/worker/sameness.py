"""Whether two pickles are of the same value, whichever parts of it are one object, and however its sets came to be."""

from __future__ import annotations

import io
import pickle
from typing import Any

from ipyactors.owner.refs import ObjectRef
from ipyactors.wire import serialize
from ipyactors.wire.specs import Payload


def same(was: Payload, now: Payload) -> bool:
    """Return whether two pickles are of the same value: which parts of it are one object may differ."""
    data = _with_refs_of(now, was)
    if data == now.data and [bytes(view) for view in was.buffers] == [bytes(view) for view in now.buffers]:
        return True
    try:
        one, other = serialize.loads(was), serialize.loads(now)
    except Exception:  # the user's unpickling
        return False
    try:
        if type(one) is type(other) and (one == other) is True:
            return True
    except Exception:  # arrays have no truth value
        pass
    return _flat(one) is not None and _flat(one) == _flat(other)


def _with_refs_of(now: Payload, was: Payload) -> bytes:
    """Return a pickle with the references of another one in their places: each incarnation makes its own."""
    data = was.data
    for old, new in zip(was.refs, now.refs, strict=False):
        data = data.replace(old.object_id, new.object_id)
        data = data.replace(old.owner_address.encode(), new.owner_address.encode())
    return data


class _FlatPickler(pickle.Pickler):
    def persistent_id(self, thing: Any) -> object:
        if isinstance(thing, ObjectRef):
            return "reference"
        if type(thing) in (set, frozenset):  # the order of equal sets depends on how they came to be
            parts = [_flat(part) for part in thing]
            return None if None in parts else (type(thing).__name__, sorted(filter(None, parts)))
        return None


def _flat(value: Any) -> bytes | None:
    """Return a pickle that does not tell which parts are one object; None for what refers to itself."""
    file = io.BytesIO()
    pickler = _FlatPickler(file, protocol=5)
    pickler.fast = True
    try:
        pickler.dump(value)
    except Exception:  # too deep, or of a class that cannot be imported
        return None
    return file.getvalue()


def shown(value: Any) -> str:
    """Return a value as a reader of an error has room for."""
    try:
        text = repr(value)
    except Exception:  # the user's code
        text = f"a {type(value).__qualname__}"
    return text if len(text) <= 200 else f"{text[:197]}..."
