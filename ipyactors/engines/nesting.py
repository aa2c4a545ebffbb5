"""Calls that are made inside of calls, where a durable actor is on either side.

A durable actor knows its callers by ids that stay the same when these do their work again: a task that is retried
makes the same calls under the same ids, and a durable actor that comes back makes those of each of its turns. So what
was done once is answered from the record.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Mapping
from typing import Any

from ipyactors.ground import ids
from ipyactors.ground.exceptions import OptionError
from ipyactors.owner import current
from ipyactors.owner.actors import MethodCall
from ipyactors.owner.current import CurrentCall, Submission, Turn
from ipyactors.owner.refs import ObjectRef
from ipyactors.owner.retriable import Unanswered
from ipyactors.owner.templates import STREAMING
from ipyactors.wire import serialize
from ipyactors.wire.worker_messages import CallIdentity

#: Before the id of a process: its calls that may be retried, as a caller of durable actors. As long as no other id.
RETRIED = b"retried"

#: The same for its calls of readonly methods of durable actors: they have numbers of their own.
READING = b"reading"


def digest_of(target: bytes, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
    """Return what tells a call from others (16 bytes): what is called, and with what.

    Of arguments that are more than scalars and small lists of them only the types count: equal values may be pickled to
    different bytes, and a call must never pass for another one because of that.
    """
    words = [name, *map(_word, args), *(f"{key}={_word(value)}" for key, value in kwargs.items())]
    return hashlib.blake2b("\0".join(words).encode("utf-8", "backslashreplace"), digest_size=16, key=target).digest()


def exact_digest_of(target: bytes, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
    """Return what tells a call with a key from others (16 bytes): what is called, and with which values.

    Equal sets and dicts count as equal in whatever order they are. Of references, and of what cannot be pickled for
    this, only the types count.
    """
    words = [name.encode(), *map(_exact_word, args)]
    words += [key.encode() + b"=" + _exact_word(value) for key, value in sorted(kwargs.items())]
    return hashlib.blake2b(b"\0".join(words), digest_size=16, key=target).digest()


def _exact_word(value: Any) -> bytes:
    try:
        return _content_of(value)
    except Exception:  # what pickling runs is the user's code
        return _word(value).encode("utf-8", "backslashreplace")


def _content_of(value: Any) -> bytes:
    """Return a digest of a value (16 bytes) in which it does not matter which of its parts are one object."""
    content = hashlib.blake2b(digest_size=16)
    pickling = _ByContent(content)
    pickling.dump(value)
    content.update(pickling.file.getbuffer())
    return content.digest()


class _ByContent(pickle.Pickler):
    """Pickles one value without its memo; large buffers go into ``content`` alone. What is cyclic cannot be pickled."""

    def __init__(self, content: Any) -> None:
        self.file = io.BytesIO()
        super().__init__(self.file, 5, buffer_callback=lambda buffer: content.update(buffer.raw()))
        self.fast = True

    def persistent_id(self, value: Any) -> Any:
        """Return what stands for a part of the value: what has no order is sorted by what is in it."""
        kind = type(value)
        if kind is dict:
            return "dict", sorted((_content_of(key), _content_of(one)) for key, one in value.items())
        if kind is set or kind is frozenset:
            return "set", sorted(map(_content_of, value))
        return "ref" if isinstance(value, ObjectRef) else None


def _word(value: Any) -> str:
    return repr(value) if serialize.is_plain(value) else type(value).__qualname__


def actor_id_of(submission: Submission) -> bytes:
    """Return the id of an actor that a durable actor creates: the same in every incarnation."""
    end = ids.numbered(0)
    return b"a" + hashlib.blake2b(submission.call_id, digest_size=ids.ACTOR_ID_BYTES - 1 - len(end)).digest() + end


def begin(turn: Turn, digest: bytes, name: str, returns: int) -> tuple[Turn, Submission]:
    """Note that a durable actor's turn makes a call. Raises OptionError for what it could not be given again."""
    if returns == STREAMING:
        raise OptionError(
            f"{name} streams its results, and a method of a durable actor cannot take them one by one: a replay could "
            "not give them again. It was not called. Call it with .options(num_returns=n), or have it return a list."
        )
    return turn, turn.submitting(digest)


def identify(
    call: MethodCall, parent: CurrentCall | None, nested: tuple[Turn, Submission] | None, digest: bytes
) -> None:
    """Say who makes a call to a durable actor, where it is not simply this process."""
    if call.template.is_readonly:
        return
    if nested is not None:
        submission = nested[1]
        call.identity = CallIdentity(submission.actor_id, submission.call_id, submission.counter, digest)
        call.caller_settled = submission.oldest
        call.may_be_known = submission.is_replayed
    elif parent is not None and parent.counter and parent.turn is None and not parent.is_over:
        if parent.notes is not None and parent.notes.is_inside_once:
            raise parent.notes.refuse(*current.CALL_INSIDE_ONCE)
        index, parent.nested = parent.nested, parent.nested + 1
        call_id = parent.task_id + index.to_bytes(4, "big")
        here = current.actor()
        kind = RETRIED if here is None or here.durability is None else READING
        call.identity = CallIdentity(kind + ids.owner_of(parent.task_id), call_id, parent.counter, digest)
        call.caller_settled = parent.settled
        call.may_be_known = parent.attempt > 0
        if parent.unanswered is None:
            parent.unanswered = Unanswered()
        parent.unanswered.add(call)
    elif call.template.key:
        call.identity = CallIdentity(ids.owner_of(call.task_id), call.task_id, 0, digest)
    if call.template.key:
        call.may_be_known = True
