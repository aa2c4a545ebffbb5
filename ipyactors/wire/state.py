"""The state of an actor as bytes, and back: its instance pickled, its own class only named.

The class is left out so that a state can be brought back under a later version of it; and because a class that came by
value would come a second time, as another one. The memory of numpy arrays is behind the pickle
(``wire/state_arrays.py``).
"""

from __future__ import annotations

import io
import pickle
from typing import Any

from ipyactors.ground.exceptions import SerializationError
from ipyactors.ground.tracebacks import in_words
from ipyactors.wire import by_value, serialize, state_arrays

_PROTOCOL = 5
_CLASS = "class of the actor"
_ARRAY = state_arrays.numbered.__module__, state_arrays.numbered.__qualname__

_REMEDY = "Leave it out in __getstate__, and make it anew in __setstate__."


class _Pickler(by_value.Pickler):
    def __init__(self, file: io.BytesIO, cls: type, arrays: state_arrays.Met) -> None:
        # By type, and not in reducer_override: then what is no array costs nothing.
        self.dispatch_table = {**by_value.Pickler.dispatch_table, **arrays.reducers()}
        super().__init__(file, protocol=_PROTOCOL)
        self._cls = cls

    def persistent_id(self, value: object) -> str | None:
        return _CLASS if value is self._cls else None


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, cls: type, arrays: state_arrays.Restored) -> None:
        super().__init__(file)
        self._cls, self._arrays = cls, arrays

    def persistent_load(self, name: object) -> type:
        if name != _CLASS:
            raise pickle.UnpicklingError(f"{name!r} is not known here")
        return self._cls

    def find_class(self, module: str, name: str) -> Any:
        return self._arrays.array if (module, name) == _ARRAY else super().find_class(module, name)


def dumps(instance: object, cls: type) -> bytes:
    """Return an instance of ``cls`` as bytes.

    Its numpy arrays will share memory as they do now, and have the same strides; a lone one will be dense if it lies
    scattered over more than four times its bytes (``wire/state_arrays.py``).

    Raises SerializationError, also for a state with references to objects in it: their owner may be gone when it is
    needed.
    """
    file = io.BytesIO()
    arrays = state_arrays.Met()
    with serialize.collecting() as found:
        try:
            _Pickler(file, cls, arrays).dump(instance)
            arrays.write(file)
        except (Exception, SystemExit, GeneratorExit) as error:  # what pickling runs is the user's code
            what = f"the state of {cls.__qualname__}"
            raise serialize.explain_failure(
                instance, what, error, serialize.parts_of, _REMEDY, cannot="be in a checkpoint"
            ) from error
        if found.refs:
            count = len(found.refs)
            has = "has a reference to an object" if count == 1 else f"has {count} references to objects"
            raise SerializationError(
                f"the state of {cls.__qualname__} {has} in it, and cannot be in a checkpoint: the objects may be gone "
                "when it is needed. get() them, and keep the values."
            )
        return file.getvalue()


def loads(data: bytes, cls: type) -> Any:
    """Return the instance, of ``cls``. Raises SerializationError."""
    try:
        return _Unpickler(io.BytesIO(data), cls, state_arrays.Restored(data)).load()
    except Exception as error:
        raise SerializationError(
            f"the state of {cls.__qualname__} could not be unpickled: {in_words(error)}. "
            "What it is made of must be importable here, or defined in the notebook."
        ) from error
