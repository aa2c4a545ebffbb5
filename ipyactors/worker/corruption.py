"""Damages the newest checkpoint of a durable actor, as a bad disk would: what a recovery then does is to be seen."""

from __future__ import annotations

import pathlib

import msgspec

from ipyactors.durable import manifest
from ipyactors.durable.folder import Folder
from ipyactors.wire.chaos_words import Order
from ipyactors.worker import chaos


def damage_newest(path: pathlib.Path, order: bytes) -> str:
    """Turn a byte of the newest checkpoint around; return the checkpoint's id. ``order`` is an encoded :class:`Order`.

    That is a byte of its data, where it is in the actor's folder ``path``, and else one of its manifest. Returns an
    empty text if there is no checkpoint.
    """
    whole, _ = manifest.read_all(Folder(path))
    if not whole:
        return ""
    newest = whole[0]
    data = path / newest.data.locator
    file = data if newest.data.locator and data.is_file() else path / manifest.name_of(newest.number)
    chaos.tell_damaged(msgspec.msgpack.decode(order, type=Order))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    return newest.data.checkpoint_id
