"""Batches of messages to and from bytes.

One frame carries a list of messages; whatever was queued for a peer since the last send travels together. A
:class:`Codec` is made once for each door with the union of what may come through it; anything else is a
:class:`ProtocolError`, raised before any of it is acted upon.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ipyactors.ground.tracebacks import clean

_encoder = msgspec.msgpack.Encoder()

Message = msgspec.Struct


class ProtocolError(Exception):
    """Raised when a frame does not hold a list of the messages that this door admits."""


def encode(messages: Sequence[Message]) -> bytes:
    """Return one frame with all of ``messages``, in order.

    Text that is not Unicode, such as a file's name with a lone surrogate, travels with an escape in its place.
    """
    try:
        return _encoder.encode(messages)
    except UnicodeEncodeError:
        return _encoder.encode(_escaped(msgspec.to_builtins(messages, builtin_types=_BINARY)))


_BINARY = (bytes, bytearray, memoryview)


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, (list, tuple)):
        return [_escaped(one) for one in value]
    if isinstance(value, dict):
        return {_escaped(key): _escaped(one) for key, one in value.items()}
    return value


class Codec:
    """The reading side of one door. ``words`` is the union of the messages it admits."""

    def __init__(self, words: Any) -> None:
        self._decoder = msgspec.msgpack.Decoder(list[words])

    def decode(self, frame: bytes | memoryview) -> list[Any]:
        """Return the messages of one frame."""
        try:
            return self._decoder.decode(frame)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise ProtocolError(f"not a batch of known messages: {error}") from error
