"""What makes a checkpoint one: a small file that says of which moment it is and that its data is there.

It is written when the data is safe, and names what recovery needs besides: from where on to read the log, and the
tables of :mod:`~ipyactors.durable.call_tables`. Several are kept, and the log back to the oldest, so that one that
turns out bad costs a longer replay and no state.
"""

from __future__ import annotations

import re
import zlib

import msgspec

from ipyactors.durable.call_tables import Snapshot
from ipyactors.durable.carried import CarriedCall
from ipyactors.durable.disk import Disk
from ipyactors.durable.record import Done, Value

#: How many checkpoints are kept when nothing else was asked for.
KEPT = 3

_NAME = re.compile(r"checkpoint-([0-9]{12})\.json")


class CheckpointData(msgspec.Struct, frozen=True):
    """The data of a checkpoint, which is safe before anything says that it exists.

    ``locator`` tells the store where it is, ``size`` how many bytes, ``digest`` what they are (BLAKE2b, 16 bytes); all
    empty where the actor keeps its data itself. ``definition_id`` names the class; ``wall_s`` is for people.
    ``carried`` are calls to others that a recovery which begins here has to make again, in their order.
    """

    checkpoint_id: str
    definition_id: bytes = b""
    locator: str = ""
    size: int = 0
    digest: bytes = b""
    wall_s: float = 0.0
    python: str = ""
    carried: tuple[CarriedCall, ...] = ()


class Construction(msgspec.Struct, frozen=True):
    """What constructors took from outside, also when the log has dropped it: ``values``, in their order.

    ``definition_id`` names the class that the actor was made of; those that it was upgraded to follow in ``values``
    (see :mod:`~ipyactors.durable.constructions`).
    """

    definition_id: bytes
    values: tuple[Value, ...] = ()


class Manifest(msgspec.Struct, frozen=True):
    """The checkpoint with this number, of the state after the call ``lsn``.

    ``position`` is where the log goes on after it, ``tables`` which calls were over then. ``ended`` are the ends of the
    calls that were over by the checkpoint only; the log has them behind ``position``, or not all of them if the process
    ended in between. ``boot_id`` and ``level`` are as in :class:`~ipyactors.durable.record.Open`. ``construction`` is
    None where it is not needed.
    """

    number: int
    data: CheckpointData
    lsn: int
    position: int
    incarnation: int
    tables: Snapshot
    ended: tuple[Done, ...] = ()
    boot_id: str = ""
    level: str = ""
    construction: Construction | None = None


def name_of(number: int) -> str:
    """Return the name of the file of the checkpoint with this number."""
    return f"checkpoint-{number:012d}.json"


def encode(manifest: Manifest) -> bytes:
    """Return the file's content: JSON in one line, and the crc32 of that line in another."""
    line = msgspec.json.encode(manifest)
    return line + b"\n%08x\n" % zlib.crc32(line)


def decode(content: bytes) -> Manifest:
    """Return what a file says. Raises ValueError where it is not whole."""
    line, _, rest = content.partition(b"\n")
    if rest != b"%08x\n" % zlib.crc32(line):
        raise ValueError("its checksum does not fit")
    return msgspec.json.decode(line, type=Manifest)


def write(disk: Disk, manifest: Manifest) -> None:
    """Make the checkpoint one: from here on it can be recovered from. Raises OSError."""
    disk.replace(name_of(manifest.number), encode(manifest))


def names_before(disk: Disk, number: int) -> list[str]:
    """Return the names of all checkpoints before the one with this number, oldest first; whole or not."""
    return sorted(name for name in disk.names() if (found := _NAME.fullmatch(name)) and int(found.group(1)) < number)


def read_all(disk: Disk) -> tuple[list[Manifest], dict[str, str]]:
    """Return the checkpoints that are whole, newest first, and what is wrong with the others, by file name."""
    found: list[Manifest] = []
    problems: dict[str, str] = {}
    for name in sorted(filter(_NAME.fullmatch, disk.names()), reverse=True):
        try:
            one = decode(disk.read(name))
        except (OSError, ValueError, RecursionError) as error:
            problems[name] = str(error)
            continue
        if name == name_of(one.number):
            found.append(one)
        else:
            problems[name] = f"it says that it is checkpoint {one.number}"
    return found, problems
