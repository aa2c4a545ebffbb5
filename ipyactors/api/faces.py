"""What ``help``, ``?`` and completion show of a ``.remote``: the signature and the words of what it calls.

Python asks the function under a bound method for both, and that is one for a whole class. So a thing that can be called
gets a class of its own, its *face*, with a copy of that function. A call finds the copy as it would find the original:
it costs nothing more.
"""

from __future__ import annotations

import inspect
import types
from typing import Any, TypeVar, cast

_T = TypeVar("_T")

#: Stands for ``self``, which inspect leaves out; no parameter of the user's has this name.
_ITSELF = inspect.Parameter("_ipyactors_self", inspect.Parameter.POSITIONAL_ONLY)


def make_face(base: type[_T]) -> type[_T]:
    """Return a class that is as ``base``, for one thing alone."""
    body = {name: vars(base)[name] for name in ("__doc__", "__module__")}
    face = type(base.__name__, (base,), {**body, "__slots__": (), "__qualname__": base.__qualname__})
    return cast("type[_T]", face)


def show(face: type, signature: inspect.Signature, doc: str | None) -> None:
    """Have the ``remote`` of a face show this signature and these words; without ``doc`` its own."""
    shared = cast("Any", face).remote
    # The interpreter notes in the code which class it has met there; each copy meets one.
    own: Any = types.FunctionType(shared.__code__.replace(), shared.__globals__, shared.__name__)
    own.__qualname__, own.__module__, own.__doc__ = shared.__qualname__, shared.__module__, doc or shared.__doc__
    own.__signature__ = signature.replace(parameters=[_ITSELF, *signature.parameters.values()])
    cast("Any", face).remote = own


def face_of(base: type[_T], signature: inspect.Signature, doc: str | None) -> type[_T]:
    """Return a class that is as ``base``, but for what its ``remote`` shows."""
    face = make_face(base)
    show(face, signature, doc)
    return face


def face_like(base: type[_T], other: Any) -> type[_T]:
    """Return a class that is as ``base``, but that its ``remote`` shows what that of ``other`` does."""
    return face_of(base, inspect.signature(other.remote), other.remote.__doc__)
