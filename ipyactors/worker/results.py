"""What a call takes and gives as payloads: its arguments, its results, the items of a generator."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from ipyactors.ground import ids
from ipyactors.ground.exceptions import SerializationError
from ipyactors.ground.tracebacks import in_words
from ipyactors.owner.current import CurrentCall
from ipyactors.wire import serialize
from ipyactors.wire.outside import OUT_OF_BAND_BYTES
from ipyactors.wire.specs import Payload
from ipyactors.wire.worker_messages import ItemYielded
from ipyactors.worker.answers import Answers
from ipyactors.worker.changes import Changes
from ipyactors.worker.mailbox import Call


class Values(Protocol):
    """Where large values are."""

    def keep(self, payload: Payload, segment_id: bytes, name: str) -> Payload:
        """Return a fresh payload as it travels. Raises ObjectStoreFullError."""
        ...

    def bring(self, payloads: Sequence[Payload]) -> Sequence[Payload]:
        """Return payloads with their bytes; may wait for another machine. Raises SegmentsMissing."""
        ...


class _InMessages:
    """No store: everything travels in messages."""

    def keep(self, payload: Payload, segment_id: bytes, name: str) -> Payload:  # noqa: ARG002
        """Copy what is the user's."""
        return serialize.owned(payload)

    def bring(self, payloads: Sequence[Payload]) -> Sequence[Payload]:
        """Return them as they are."""
        return payloads


IN_MESSAGES = _InMessages()


class Results:
    """Pickles what calls return; what is large goes to ``values``, named by the object that it is."""

    def __init__(self, values: Values) -> None:
        self._values = values

    def first(self, value: Any, call: Call, name: str) -> Payload:
        """Return the payload of the only result."""
        payload = serialize.dumps_result(value, name)
        if payload.buffers or len(payload.data) > OUT_OF_BAND_BYTES:
            return self._keep(payload, call, 0, f"the result of {name}")
        return payload

    def split(self, value: Any, call: Call, name: str) -> tuple[Payload, ...]:
        """Return one payload for each result of what a call returned. Raises TypeError if there are not that many."""
        count = call.num_returns
        if count == 1:
            return (self.first(value, call, name),)
        if count <= 0:
            return ()
        parts = parts_of(value, count, name)
        return tuple(self.part(item, call, index, name, f"result {index + 1}") for index, item in enumerate(parts))

    def part(self, value: Any, call: Call, index: int, name: str, part: str) -> Payload:
        """Return the payload of the ``index``-th result or item; ``part`` is what errors call it."""
        payload = serialize.dumps_result(value, name, part)
        if serialize.is_large(payload):
            return self._keep(payload, call, index, f"{part} of {name}")
        return payload

    def _keep(self, payload: Payload, call: Call, index: int, what: str) -> Payload:
        first = call.task_id
        object_id = ids.object_id(ids.owner_of(first), ids.counter_of(first), index)
        return self._values.keep(payload, object_id, what)


def parts_of(value: Any, count: int, name: str) -> Sequence[Any]:
    """Return the results that a call returned together. Raises TypeError if there are not ``count``."""
    if isinstance(value, Iterator):
        value = list(value)
    if not isinstance(value, (tuple, list)):
        raise TypeError(
            f"{name} has num_returns={count}, so it must return {count} values as a tuple or list; "
            f"it returned a {type(value).__qualname__}"
        )
    if len(value) != count:
        raise TypeError(f"{name} has num_returns={count}, but it returned {len(value)} values")
    return value


class Items:
    """Sends the items of a generator; those that the caller has from an earlier attempt are only counted."""

    __slots__ = ("_answers", "_call", "_changes", "_lend", "_results", "_running", "count")

    def __init__(
        self,
        answers: Answers,
        lend: Callable[..., object],
        results: Results,
        running: CurrentCall,
        call: Call,
        changes: Changes | None = None,
    ) -> None:
        self._answers = answers
        self._lend = lend
        self._results = results
        self._running = running
        self._call = call
        self._changes = changes
        self.count = 0

    def send(self, item: Any, name: str) -> None:
        """Send the next item."""
        index = self.count
        if index >= self._call.skip_items:
            caller, version = self._running.caller, None
            if self._changes is not None:
                self._changes.check(self._running)
            # Its object is numbered from 1: 0 is that of the task. So are they in words.
            payload = self._results.part(item, self._call, index + 1, name, f"item {index + 1}")
            if self._changes is not None:
                version = self._changes.seen_by(self._running)
            if payload.names_any:
                self._lend(caller, payload)
            self._answers.add(caller, ItemYielded(self._call.seq, index, payload, version))
        self.count = index + 1

    @property
    def is_enough(self) -> bool:
        """Whether the caller wants no more: the generator is to be closed."""
        return self.count == self._call.until_item


def items_of(value: Any, name: str) -> Iterator[Any]:
    """Return the items of what a call returned that streams its results. Raises TypeError if it has none."""
    if not isinstance(value, Iterator):
        raise TypeError(
            f"{name} streams its results, so it must return a generator or an iterator; "
            f"it returned a {type(value).__qualname__}"
        )
    return value


def not_unpickled(name: str, error: Exception) -> SerializationError:
    """Return what a call is answered with whose arguments cannot be unpickled."""
    return SerializationError(
        f"The arguments of {name} could not be unpickled in the worker: {in_words(error)}. The call was not run. "
        "What they are made of must be importable there, or defined in the notebook."
    )


def load_args(payload: Payload, arg_values: tuple[Payload, ...]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return ``(args, kwargs)`` with every slot at their top level filled."""
    args, kwargs = serialize.loads(payload)
    if arg_values:
        values = [serialize.loads(value) for value in arg_values]
        slot = serialize.ArgSlot
        args = tuple(values[arg.index] if type(arg) is slot else arg for arg in args)
        kwargs = {key: values[arg.index] if type(arg) is slot else arg for key, arg in kwargs.items()}
    return args, kwargs
