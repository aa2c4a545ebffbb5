"""Owner and head: a few values that the head keeps on disk, by key, for as long as the session's folder is there.

Meant for checkpoints of small actors. Every request may be repeated to a head that was started again: doing it twice
is the same as doing it once.
"""

from __future__ import annotations

import msgspec

#: The longest value, in bytes. The head has one thread, and while it writes a value everybody else waits.
MAX_VALUE_BYTES = 8 * 1024 * 1024

#: The longest key, in bytes of UTF-8.
MAX_KEY_BYTES = 1024


class _Word(msgspec.Struct, array_like=True, tag=True):
    """Base of this file's messages."""


class KvPut(_Word):
    """Keep this value, instead of the one that has the key now. Answered when a loss of power could not undo it."""

    request_id: int
    key: str
    value: bytes


class KvGet(_Word):
    """Which value has this key? Answered with it, or with None."""

    request_id: int
    key: str


class KvDelete(_Word):
    """Forget the key; it is no error that there is no such key."""

    request_id: int
    key: str


class KvReply(_Word):
    """What became of a request. ``value`` is what was asked for, None where the key is not known.

    ``error`` is empty when all went well, else in words what did not, with its number in ``errno`` (0: none); then
    everything is as it was before.
    """

    request_id: int
    value: bytes | None = None
    error: str = ""
    errno: int = 0


#: What owners say to the head about kept values (beside ``head_messages.OwnerToHead``), and what it says to them.
OwnerToKv = KvPut | KvGet | KvDelete
KvToOwner = KvReply


def explain_refusal(key: str, size: int = 0) -> str:
    """Return why a value of ``size`` bytes cannot be kept under this key, and what to do; empty if it can."""
    if not key or len(key.encode(errors="replace")) > MAX_KEY_BYTES:
        return f"the key {key[:40]!r}… was refused: a key has from 1 to {MAX_KEY_BYTES:,} bytes"
    if size > MAX_VALUE_BYTES:
        return (
            f"the head keeps values of up to {MAX_VALUE_BYTES:,} bytes ({MAX_VALUE_BYTES >> 20} MiB), and {key!r} has "
            f"{size:,}. Nothing was kept. Have data of this size in a folder: leave checkpoint_store away, or give it "
            "a URL such as checkpoint_store='file:///path/of/a/folder'"
        )
    return ""
