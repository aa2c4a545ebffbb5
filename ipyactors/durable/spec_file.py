"""What an actor was made from, beside its log: so that the log can be replayed by somebody else, and much later."""

from __future__ import annotations

import zlib
from typing import TypeVar

import msgspec

from ipyactors.durable.disk import Disk
from ipyactors.wire.specs import ActorSpec, Definition

_NAME = "spec"

_Struct = TypeVar("_Struct", ActorSpec, Definition)


def is_there(disk: Disk) -> bool:
    """Return whether the actor's specification was written."""
    return _NAME in disk.names()


def write(disk: Disk, spec: ActorSpec) -> None:
    """Write the actor's specification. Raises OSError."""
    disk.replace(_NAME, _checked(msgspec.msgpack.encode(spec)))


def read(disk: Disk) -> ActorSpec:
    """Return the actor's specification. Raises OSError, ValueError."""
    return _read(disk, _NAME, ActorSpec)


def write_class(disk: Disk, definition: Definition) -> None:
    """Write a class that the actor runs, or ran. Raises OSError."""
    disk.replace(class_name(definition.definition_id), _checked(msgspec.msgpack.encode(definition)))


def read_class(disk: Disk, definition_id: bytes) -> Definition:
    """Return a class that the actor ran once. Raises OSError, ValueError."""
    return _read(disk, class_name(definition_id), Definition)


def class_name(definition_id: bytes) -> str:
    """Return the name of the file that such a class is in."""
    return f"class-{definition_id.hex()}"


def _checked(data: bytes) -> bytes:
    return data + b"\n%08x\n" % zlib.crc32(data)


def _read(disk: Disk, name: str, kind: type[_Struct]) -> _Struct:
    content = disk.read(name)
    data, end = content[:-10], content[-10:]
    if end != b"\n%08x\n" % zlib.crc32(data):
        raise ValueError(f"{name} is not whole: its checksum does not fit")
    return msgspec.msgpack.decode(data, type=kind)
