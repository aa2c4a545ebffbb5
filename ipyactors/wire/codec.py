"""Batches of messages to and from bytes.

One frame carries a list of messages; whatever was queued for a peer since the last send travels together. A
:class:`Codec` is made once for each door with the union of what may come through it; anything else is a
:class:`ProtocolError`, raised before any of it is acted upon.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

_encoder = msgspec.msgpack.Encoder()

Message = msgspec.Struct


class ProtocolError(Exception):
    """Raised when a frame does not hold a list of the messages that this door admits."""


def encode(messages: Sequence[Message]) -> bytes:
    """Return one frame with all of ``messages``, in order."""
    return _encoder.encode(messages)


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
