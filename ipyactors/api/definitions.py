"""Functions and classes by value: pickled once, at first use, with every remote thing that they refer to.

A remote function may refer to itself, to other remote functions and to remote classes, in circles. Therefore each
is pickled as a *part* of its own, in which the others are only named by their tokens; what is sent is a bundle: the
part and all that it needs, directly or not. A worker that unpickles a bundle gets objects that hold their parts, so
what runs there submits nested calls with the very same bytes and the very same definition ids: nothing is pickled
twice, and a change of a global in a worker never leaks into what other workers run.
"""

from __future__ import annotations

import contextlib
import linecache
import os
import pickle
import threading
from collections.abc import Iterator
from typing import Any, ClassVar, Self

import msgspec

from ipyactors.api.faces import make_face
from ipyactors.ground import tracebacks
from ipyactors.ground.exceptions import DirectCallError, OptionError, SerializationError
from ipyactors.ground.option_values import why_no_text
from ipyactors.owner import process
from ipyactors.owner.refs import adopt
from ipyactors.wire import serialize
from ipyactors.wire.specs import Definition, Payload, RefSpec, SourceText

TOKEN_BYTES = 8

#: Of definitions that are larger, in bytes, the user is warned: they go to each worker in a message, and live in it.
LARGE_BYTES = 1 << 20


class Part(msgspec.Struct, array_like=True, frozen=True):
    """One function or class. ``needs`` are the tokens of the remote things that its pickle refers to.

    ``face`` is the pickle of what can be known without unpickling the thing itself: its options, its signature.
    """

    token: bytes
    kind: str
    name: str
    data: bytes
    face: bytes
    needs: tuple[bytes, ...] = ()
    refs: tuple[RefSpec, ...] = ()
    actor_ids: tuple[bytes, ...] = ()
    sources: tuple[SourceText, ...] = ()
    source_digest: bytes = b""


#: Parts by token; the first one is what the bundle is about.
Bundle = dict[bytes, Part]

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[Part, ...])


class _Making(threading.local):
    """What this thread pickles or unpickles as a part just now."""

    needs: list[Defined] | None = None
    bundle: Bundle | None = None
    known: dict[bytes, Defined] | None = None


_making = _Making()
_lock = threading.RLock()


def label_of_file(filename: str) -> str:
    """Return the name that people know a file of source code by, such as ``Cell In[5]``."""
    return tracebacks.label_of(filename) or os.path.basename(filename)


class Defined:
    """Something remote that is defined by value. Subclasses: remote functions and remote classes."""

    _kind: ClassVar[str]
    _kinds: ClassVar[dict[str, type[Defined]]] = {}

    def __init_subclass__(cls) -> None:
        if "_kind" in vars(cls):  # else it is a face of one of these: see ``api/faces.py``
            cls._kinds[cls._kind] = cls

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self:
        """Make an instance with a face of its own. The class is not changed later: that would slow its attributes."""
        return object.__new__(make_face(cls))

    def __init__(self, target: Any, name: str) -> None:
        if problem := why_no_text(name):
            raise OptionError(f"the {self._kind} {name!r} cannot be made remote under this name: {problem}.")
        self._token = os.urandom(TOKEN_BYTES)
        self._name = name
        self._target = target
        self._part: Part | None = None
        self._needs: tuple[Defined, ...] = ()
        self._bundle: Bundle | None = None
        self._held: tuple[object, ...] = ()  # what keeps the objects alive that its parts refer to
        self._definition: Definition | None = None
        #: See :class:`~ipyactors.wire.specs.Definition`; set by who has the code, before the first use.
        self.source_digest = b""

    # -- what subclasses say ---------------------------------------------------------------------------------------

    def _make_face(self) -> Any:
        """Return what :meth:`_take_face` needs in another process; must be picklable."""
        raise NotImplementedError

    def _take_face(self, face: Any) -> None:
        """Set up an instance that was made from a part."""
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(explain_missing(self, name))

    @property
    def _full_name(self) -> str:
        """The name by which what was called is known from one process to the next: its bytes may differ there."""
        return f"{self.__module__}.{self._name}"

    @property
    def definition_id(self) -> bytes:
        """The id of its definition; empty as long as it has not been sent, by itself or inside another's."""
        if self._part is None:
            return b""
        try:
            return self._get_definition().definition_id
        except SerializationError:  # so it has not been sent, since something that it needs cannot be
            return b""

    # -- pickling --------------------------------------------------------------------------------------------------

    def _get_definition(self) -> Definition:
        """Return the definition; the first call pickles it. Raises SerializationError, naming the culprit."""
        if self._definition is None:
            with _lock:
                is_new = self._part is None  # and no other process or definition had it before
                bundle = self._get_bundle()
                data = pickle.dumps(_Bundled(_encode(bundle)), 5)
                refs, actor_ids = _carried(bundle)
                sources = {source.filename: source for part in bundle.values() for source in part.sources}
                self._definition = Definition(
                    serialize.definition_id(data),
                    self._name,
                    Payload(data, (), refs, actor_ids).holding(*self._held),
                    tuple(sources.values()),
                    self.source_digest,
                )
                if is_new and len(data) > LARGE_BYTES:
                    self._warn_of_size(len(data))
        return self._definition

    def _warn_of_size(self, size: int) -> None:
        from ipyactors.api import large_definitions  # hardly anybody needs it

        things = {self._token: self}
        waiting = [self]
        while waiting:
            waiting = [thing for one in waiting for thing in one._needs if thing._token not in things]
            things |= {thing._token: thing for thing in waiting}
        large_definitions.warn(self._kind, self._name, size, [thing._target for thing in things.values()])

    def _get_bundle(self) -> Bundle:
        with _lock:
            if self._bundle is None:
                bundle: Bundle = {}
                held: list[object] = []
                waiting: list[Defined] = [self]
                while waiting:
                    thing = waiting.pop()
                    if thing._token not in bundle:
                        bundle[thing._token] = thing._get_part()
                        held += thing._held
                        waiting.extend(thing._needs)
                        if thing._bundle is not None:
                            bundle.update({token: part for token, part in thing._bundle.items() if token not in bundle})
                self._bundle, self._held = bundle, tuple(held)
        return self._bundle

    def _get_part(self) -> Part:
        if self._part is None:
            what = f"remote {self._kind} {self._name!r}"
            with _naming_others() as needs:
                face = serialize.dumps(self._make_face(), what=f"the options of {what}", in_band=True)
                payload = serialize.dumps(self._target, what=what, in_band=True)
            self._needs = tuple({thing._token: thing for thing in needs if thing is not self}.values())
            self._held = face.held + payload.held
            self._part = Part(
                self._token,
                self._kind,
                self._name,
                payload.data,
                face.data,
                tuple(thing._token for thing in self._needs),
                payload.refs,
                payload.actor_ids,
                tuple(_sources_of(self._target)),
                self.source_digest,
            )
        return self._part

    def _get_target(self) -> Any:
        """Return the function or class itself; unpickled now if this came from another process."""
        if self._target is None and self._part is not None and self._bundle is not None:
            with _lock:
                self._target = _load_part(self._part, self._bundle, {self._token: self})
        return self._target

    def __reduce__(self) -> tuple[Any, ...]:
        if _making.needs is not None:
            _making.needs.append(self)
            return _refer, (self._token,)
        bundle = self._get_bundle()
        refs, actor_ids = _carried(bundle)
        for spec in refs:
            serialize.note_ref(spec, self)
        for actor_id in actor_ids:
            serialize.note_handle(actor_id)
        return _load_face, (_encode(bundle),)

    def __call__(self, *_args: Any, **_kwargs: Any) -> Any:
        """Raise DirectCallError, whatever the arguments."""
        __tracebackhide__ = True
        name = self._name.rpartition("<locals>.")[2]
        raise DirectCallError(
            f"the remote {self._kind} {name} cannot be called directly: use {name}.remote(...). Nothing was run."
        )


def explain_missing(thing: object, name: str) -> str:
    """Return the text of the AttributeError for an attribute that something remote does not have."""
    if name == "bind":
        return "graphs of calls (.bind) are not supported. Call .remote, and pass the references on to further calls."
    return f"{thing!r} has no attribute {name!r}"


class _Bundled:
    """Pickles as the call that unpickles a bundle's first part."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __reduce__(self) -> tuple[Any, ...]:
        return load_bundle, (self._data,)


@contextlib.contextmanager
def _naming_others() -> Iterator[list[Defined]]:
    outer, _making.needs = _making.needs, []
    try:
        yield _making.needs
    finally:
        _making.needs = outer


def _encode(bundle: Bundle) -> bytes:
    """Return the bytes of a bundle: its first part, then the others in one fixed order, so that equal means equal."""
    first, *others = bundle.values()
    return _encoder.encode((first, *sorted(others, key=lambda part: part.token)))


def _carried(bundle: Bundle) -> tuple[tuple[RefSpec, ...], tuple[bytes, ...]]:
    refs = dict.fromkeys(spec for part in bundle.values() for spec in part.refs)
    return tuple(refs), tuple(actor_id for part in bundle.values() for actor_id in part.actor_ids)


# -- unpickling ------------------------------------------------------------------------------------------------


def load_bundle(data: bytes) -> Any:
    """Return the function or class that a definition's payload is about. Called by ``pickle``."""
    return _load_face(data)._get_target()


def _load_face(data: bytes) -> Defined:
    """Return the remote thing of a bundle, without unpickling its function or class. Called by ``pickle``."""
    parts = _decoder.decode(data)
    bundle = {part.token: part for part in parts}
    return _from_part(parts[0], bundle, {})


def _refer(token: bytes) -> Defined:
    """Return the remote thing that a part names. Called by ``pickle``."""
    bundle, known = _making.bundle, _making.known
    assert bundle is not None
    assert known is not None
    return known.get(token) or _from_part(bundle[token], bundle, known)


def _from_part(part: Part, bundle: Bundle, known: dict[bytes, Defined]) -> Defined:
    kind = Defined._kinds[part.kind]
    thing = kind.__new__(kind)
    Defined.__init__(thing, None, part.name)
    thing._token, thing._part, thing.source_digest = part.token, part, part.source_digest
    thing._bundle = _reachable(part, bundle)
    if process.session() is not None:
        thing._held = tuple(map(adopt, _carried(thing._bundle)[0]))
    known[part.token] = thing
    with _loading(bundle, known):
        thing._take_face(pickle.loads(part.face))
    return thing


def _load_part(part: Part, bundle: Bundle, known: dict[bytes, Defined]) -> Any:
    with _loading(bundle, known):
        return pickle.loads(part.data)


@contextlib.contextmanager
def _loading(bundle: Bundle, known: dict[bytes, Defined]) -> Iterator[None]:
    outer = _making.bundle, _making.known
    _making.bundle, _making.known = bundle, known
    try:
        yield
    finally:
        _making.bundle, _making.known = outer


def _reachable(first: Part, bundle: Bundle) -> Bundle:
    """Return the part of ``bundle`` that ``first`` needs, itself first."""
    found: Bundle = {}
    waiting = [first]
    while waiting:
        part = waiting.pop()
        if part.token not in found:
            found[part.token] = part
            waiting.extend(bundle[token] for token in part.needs)
    return found


# -- sources ---------------------------------------------------------------------------------------------------

_FILES_AT_MOST = 64


def _sources_of(target: Any) -> Iterator[SourceText]:
    """Yield the source of every cell whose code ``target`` runs: a worker has no such file to show lines from."""
    seen: set[int] = set()
    files: dict[str, None] = {}
    waiting = [target]
    while waiting and len(files) < _FILES_AT_MOST:
        thing = waiting.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, type):
            waiting.extend(vars(thing).values())
            waiting.extend(base for base in thing.__bases__ if base.__module__ == "__main__")
            continue
        thing = getattr(thing, "__func__", None) or getattr(thing, "fget", None) or thing
        code = getattr(thing, "__code__", None)
        if code is None:
            continue
        files.setdefault(code.co_filename)
        scope = getattr(thing, "__globals__", {})
        if scope.get("__name__") == "__main__":
            waiting.extend(scope[name] for name in code.co_names if isinstance(scope.get(name), (type, _FUNCTION)))
    for filename in files:
        if not os.path.exists(filename) and (lines := linecache.getlines(filename)):
            yield SourceText(filename, "".join(lines), label_of_file(filename))


_FUNCTION = type(_encode)
