"""The state of an actor as bytes, and back: its instance pickled, its own class only named.

The class is left out so that a state can be brought back under a later version of it; and because a class that came by
value would come a second time, as another one.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

import cloudpickle

from ipyactors.ground.exceptions import SerializationError
from ipyactors.ground.tracebacks import in_words
from ipyactors.wire import serialize

_PROTOCOL = 5
_CLASS = "class of the actor"

_FATE = "No checkpoint was made; the log has everything, and a recovery replays it. Keep it out of the actor's state."


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle is not typed
    def __init__(self, file: io.BytesIO, cls: type) -> None:
        super().__init__(file, protocol=_PROTOCOL)
        self._cls = cls

    def persistent_id(self, value: object) -> str | None:
        return _CLASS if value is self._cls else None


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, cls: type) -> None:
        super().__init__(file)
        self._cls = cls

    def persistent_load(self, name: object) -> type:
        if name != _CLASS:
            raise pickle.UnpicklingError(f"{name!r} is not known here")
        return self._cls


def dumps(instance: object, cls: type) -> bytes:
    """Return an instance of ``cls`` as bytes.

    Raises SerializationError, also for a state with references to objects in it: their owner may be gone when it is
    needed.
    """
    file = io.BytesIO()
    with serialize.collecting() as found:
        try:
            _Pickler(file, cls).dump(instance)
        except (Exception, SystemExit, GeneratorExit) as error:  # what pickling runs is the user's code
            what = f"the state of {cls.__qualname__}"
            raise serialize.explain_failure(instance, what, error, serialize.parts_of, _FATE) from error
        if found.refs:
            raise SerializationError(
                f"the state of {cls.__qualname__} has {len(found.refs)} references to objects in it, which may be gone "
                f"when it is needed. {_FATE} get() them, and keep the values."
            )
        return file.getvalue()


def loads(data: bytes, cls: type) -> Any:
    """Return the instance, of ``cls``. Raises SerializationError."""
    try:
        return _Unpickler(io.BytesIO(data), cls).load()
    except Exception as error:
        raise SerializationError(
            f"the state of {cls.__qualname__} could not be unpickled: {in_words(error)}. "
            "What it is made of must be importable here, or defined in the notebook."
        ) from error
