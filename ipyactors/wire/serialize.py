"""Values to payloads and back: pickle protocol 5, by value for what a notebook defines.

Two ways, the faster if it is right: plain scalars and flat containers of them are pickled by the C pickler; all else
goes through cloudpickle, which sends functions and classes of ``__main__`` by value (``wire/pickler.py``). The buffers
of large values stay out of band. A fresh payload has them as views of the user's memory, which may change at any time:
whoever made it copies them at once, into the store or (:func:`owned`) into the payload. Unpickling copies nothing, so
a large array arrives as a read-only view.

References and handles announce themselves while they are being pickled (:func:`note_ref`, :func:`note_handle`), so
that the payload can name what it carries.
"""

from __future__ import annotations

import contextlib
import hashlib
import pickle
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any

import cloudpickle

from ipyactors.ground.exceptions import SerializationError
from ipyactors.ground.tracebacks import message_of
from ipyactors.wire import pickler
from ipyactors.wire.outside import OUT_OF_BAND_BYTES, BeginAgain
from ipyactors.wire.specs import Payload, RefSpec

_SCALARS = frozenset({type(None), bool, int, float, complex, str, bytes})
_FLAT_CONTAINERS = frozenset({tuple, list})
_FLAT_AT_MOST = 16

_PROTOCOL = 5

#: Takes a value apart into what pickling it would have to pickle, each part with its name.
Parts = Callable[[Any], Iterator[tuple[str, Any]]]

_FATE = "Nothing was sent. Create it inside the remote function or actor instead, or keep it out of what is sent."
_FATE_OF_A_RESULT = (
    "The call ran to its end; what it returned is lost. Return what can be pickled, or keep it in an actor."
)
_FATE_OF_AN_ERROR = "Only its text arrives. Keep what cannot be pickled out of its attributes, or give it a __reduce__."


class ArgSlot:
    """Stands for a top-level reference in pickled arguments; the worker puts the value of slot ``index`` there."""

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index = index

    def __reduce__(self) -> tuple[type[ArgSlot], tuple[int]]:
        return ArgSlot, (self.index,)


class _Found(threading.local):
    """What the pickling under way on this thread has come across; None while nothing is being collected."""

    refs: dict[RefSpec, None] | None = None
    actor_ids: list[bytes] | None = None
    keepers: list[object] | None = None


_found = _Found()


def note_ref(spec: RefSpec, keeper: object) -> None:
    """Take note of a reference that is being pickled; ``keeper`` keeps its object, and the payload keeps ``keeper``."""
    if _found.refs is not None and _found.keepers is not None:
        _found.refs[spec] = None
        _found.keepers.append(keeper)


def note_handle(actor_id: bytes) -> None:
    """Take note of an actor handle that is being pickled."""
    if _found.actor_ids is not None:
        _found.actor_ids.append(actor_id)


def is_collecting() -> bool:
    """Return whether a payload is being made on this thread (and not, say, a file written by the user)."""
    return _found.refs is not None


@contextlib.contextmanager
def collecting() -> Iterator[_Found]:
    """Note what is pickled on this thread meanwhile: ``refs``, ``actor_ids``."""
    outer = _found.refs, _found.actor_ids, _found.keepers
    _found.refs, _found.actor_ids, _found.keepers = {}, [], []
    try:
        yield _found
    finally:
        _found.refs, _found.actor_ids, _found.keepers = outer


def is_plain(value: Any) -> bool:
    """Return whether a value is a scalar, or a small flat tuple or list of scalars."""
    kind = type(value)
    if kind in _SCALARS:
        return kind is not bytes or len(value) <= OUT_OF_BAND_BYTES
    return kind in _FLAT_CONTAINERS and len(value) <= _FLAT_AT_MOST and all(type(item) in _SCALARS for item in value)


def dumps(value: Any, *, what: str = "value", in_band: bool = False) -> Payload:
    """Return ``value`` as a payload.

    ``what`` names it in the :class:`~ipyactors.ground.exceptions.SerializationError` that is raised when it cannot
    be pickled; the error also names the path to the part that cannot. With ``in_band`` all of it is in ``data``,
    for what is kept as plain bytes.
    """
    if is_plain(value):
        return Payload(pickle.dumps(value, _PROTOCOL))
    return _dumps_any(value if in_band else _beside(value), what, in_band=in_band)


def dumps_call(args: tuple[Any, ...], kwargs: dict[str, Any], *, what: str) -> Payload:
    """Return a call's arguments as one payload of ``(args, kwargs)``."""
    is_flat = len(args) <= _FLAT_AT_MOST and len(kwargs) <= _FLAT_AT_MOST
    if is_flat and all(map(is_plain, args)) and (not kwargs or all(map(is_plain, kwargs.values()))):
        return Payload(pickle.dumps((args, kwargs), _PROTOCOL))
    args = tuple(map(_beside, args))
    if kwargs:
        kwargs = {key: _beside(arg) for key, arg in kwargs.items()}
    return _dumps_any((args, kwargs), what, parts=_argument_parts)


def dumps_result(value: Any, name: str, part: str = "the result") -> Payload:
    """Return what the call of ``name`` returned as a payload; ``part`` says which of several values it is."""
    if is_plain(value):
        return Payload(pickle.dumps(value, _PROTOCOL))
    return _dumps_any(_beside(value), f"{part} of {name}", fate=_FATE_OF_A_RESULT)


def dumps_error(error: Any) -> Payload:
    """Return an exception that the user's code raised, or what stands for one, as a payload."""
    return owned(_dumps_any(error, "the exception", fate=_FATE_OF_AN_ERROR))


class _Bytes:
    """Large bytes. Pickle would copy them into itself; as a buffer they are copied where they are to be only."""

    __slots__ = ("value",)

    def __init__(self, value: bytes | bytearray) -> None:
        self.value = value

    def __reduce__(self) -> tuple[type[bytes | bytearray], tuple[pickle.PickleBuffer]]:
        return type(self.value), (pickle.PickleBuffer(self.value),)


def _beside(value: Any) -> Any:
    """Return what to pickle in the place of a value that is not part of another one."""
    kind = type(value)
    if (kind is bytes or kind is bytearray) and len(value) > OUT_OF_BAND_BYTES:
        return _Bytes(value)
    return value


def _dumps_any(
    value: Any, what: str, *, in_band: bool = False, parts: Parts | None = None, fate: str = _FATE, again: bool = False
) -> Payload:
    with collecting() as found:
        try:
            data, buffers = pickler.dumps_inside(value) if in_band else pickler.dumps(value, is_large=again)
        except BeginAgain:
            return _dumps_any(value, what, parts=parts, fate=fate, again=True)
        except (Exception, SystemExit, GeneratorExit) as error:  # what pickling runs is the user's code
            raise explain_failure(value, what, error, parts or parts_of, fate) from _users_part(error)
        refs, actor_ids, keepers = tuple(found.refs or ()), tuple(found.actor_ids or ()), found.keepers or ()
    return Payload(data, tuple(buffers), refs, actor_ids).holding(*keepers)


def is_large(payload: Payload) -> bool:
    """Return whether a fresh payload is to be kept in a store and not in messages: more than 64 KiB."""
    return bool(payload.buffers) or len(payload.data) > OUT_OF_BAND_BYTES


def owned(payload: Payload) -> Payload:
    """Return a payload with copies of its buffers: the sender may change its array before a retry sends it again."""
    if not payload.buffers:
        return payload
    buffers = tuple(memoryview(view.tobytes()) for view in payload.buffers)
    return payload.with_bytes(payload.data, buffers)


def loads(payload: Payload) -> Any:
    """Return the value of a payload. What was out of band is a read-only view of the memory that it came in."""
    if payload.buffers:
        return pickle.loads(payload.data, buffers=[view.toreadonly() for view in payload.buffers])
    return pickle.loads(payload.data)


def definition_id(data: bytes) -> bytes:
    """Return the name by content of a pickled definition (16 bytes)."""
    return hashlib.blake2b(data, digest_size=16).digest()


def can_pickle(value: Any) -> BaseException | None:
    """Return None if ``value`` can be pickled by value, else the error."""
    try:
        with collecting():
            cloudpickle.dumps(value, protocol=_PROTOCOL)
    except (Exception, SystemExit, GeneratorExit) as error:
        return error
    return None


def explain_failure(
    value: Any, what: str, error: BaseException, parts: Parts, fate: str, cannot: str = "be sent to another process"
) -> SerializationError:
    """Return the error for a ``value`` that did not pickle and so ``cannot``; name the shortest path to the culprit."""
    path = find_culprit(value, what, parts)
    kind = type(path[-1][1]).__qualname__
    where = " -> ".join(step for step, _ in path[1:]) or "it"
    why = message_of(error).strip("()") or type(error).__qualname__
    return SerializationError(
        f"{what} cannot {cannot}: {where} is a {kind}, which cannot be pickled ({why}). {fate}",
        path=tuple(step for step, _ in path),
        type_name=kind,
    )


#: Packages whose lines say nothing to someone whose value does not pickle.
_MACHINERY = frozenset({__name__.partition(".")[0], "cloudpickle", "pickle", "copyreg"})


def _users_part(error: BaseException) -> BaseException | None:
    """Return ``error`` with the lines of the user's own pickling code only; None if it was not raised in any."""
    kept: list[types.TracebackType] = []
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_globals.get("__name__", "").partition(".")[0] not in _MACHINERY:
            kept.append(trace)
        trace = trace.tb_next
    inner: types.TracebackType | None = None
    for entry in reversed(kept):
        inner = types.TracebackType(inner, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return error.with_traceback(inner) if kept else None


_DEPTH_AT_MOST = 8


def find_culprit(value: Any, name: str, parts: Parts) -> list[tuple[str, Any]]:
    """Return the path from ``value`` to the innermost part that does not pickle: ``[(step, part), ...]``.

    ``parts`` takes the value itself apart.
    """
    path: list[tuple[str, Any]] = [(name, value)]
    seen = {id(value)}
    while len(path) <= _DEPTH_AT_MOST:
        for step, part in (parts if len(path) == 1 else parts_of)(path[-1][1]):
            if id(part) not in seen and can_pickle(part) is not None:
                seen.add(id(part))
                path.append((step, part))
                break
        else:
            break
    return path


def _argument_parts(value: Any) -> Iterator[tuple[str, Any]]:
    args, kwargs = value
    for index, arg in enumerate(args):
        yield f"argument {index + 1}", arg
    for key, arg in kwargs.items():
        yield f"argument {key!r}", arg


def parts_of(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the named parts that pickling ``value`` would have to pickle."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield f"[{key!r}]", item
    elif isinstance(value, (list, tuple, set, frozenset)):
        for index, item in enumerate(value):
            yield f"[{index}]", item
    elif isinstance(value, type):
        for key, item in vars(value).items():
            if not key.startswith("__") or key == "__init__":
                yield f"attribute {key!r}", item
        for base in value.__bases__:
            if base is not object:
                yield f"base class {base.__qualname__}", base
    elif hasattr(value, "__code__"):
        yield from _function_parts(value)
    elif hasattr(value, "__func__"):
        yield "method", value.__func__
        yield "self", value.__self__
    elif hasattr(value, "__dict__") and not isinstance(type(value).__reduce__, types.FunctionType):
        for key, item in vars(value).items():  # what says in Python how it is pickled is not looked into
            yield f"attribute {key!r}", item


def _function_parts(function: Any) -> Iterator[tuple[str, Any]]:
    code = function.__code__
    for key, cell in zip(code.co_freevars, function.__closure__ or (), strict=False):
        with contextlib.suppress(ValueError):
            yield f"variable {key!r} (from the enclosing function)", cell.cell_contents
    for key in _names_used(code):
        if key in function.__globals__:
            yield f"global variable {key!r}", function.__globals__[key]
    for index, default in enumerate(function.__defaults__ or ()):
        yield f"default value {index}", default
    for key, default in (function.__kwdefaults__ or {}).items():
        yield f"default value of {key!r}", default


def _names_used(code: Any) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if hasattr(constant, "co_names"):
            names |= _names_used(constant)
    return names
