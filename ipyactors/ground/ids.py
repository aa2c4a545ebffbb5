"""Identifiers: short random bytes that name processes, actors, nodes and objects.

A process id doubles as a ZeroMQ routing id, which must not start with a zero byte; every id therefore starts
with a letter that also tells a reader of a log what kind of thing it names.
"""

from __future__ import annotations

import os

PROCESS_ID_BYTES = 8
ACTOR_ID_BYTES = 16
OBJECT_ID_BYTES = 20

#: So much of an id is shown to people: the letter, and four bytes that tell it from others.
SHORT_BYTES = 5

#: Routing ids of the two processes that every other process knows by role.
HEAD_ID = b"head"
AGENT_ID = b"agent"

_DRIVER = b"d"
_NUMBER_BYTES = 4
_COUNTER_BYTES = 8
_INDEX_BYTES = OBJECT_ID_BYTES - PROCESS_ID_BYTES - _COUNTER_BYTES


def new_driver_id() -> bytes:
    """Return a fresh id for a driver process (8 bytes)."""
    return _DRIVER + os.urandom(PROCESS_ID_BYTES - 1)


def new_worker_id() -> bytes:
    """Return a fresh id for a worker process (8 bytes)."""
    return b"w" + os.urandom(PROCESS_ID_BYTES - 1)


def new_node_id() -> bytes:
    """Return a fresh id for a node (8 bytes)."""
    return b"n" + os.urandom(PROCESS_ID_BYTES - 1)


def transfer_id_of(node_id: bytes) -> bytes:
    """Return the id of the socket over which that node's store reads from others."""
    return b"t" + node_id[1:]


def link_id_of(node_id: bytes) -> bytes:
    """Return the id of the socket over which that node's agent hears from the first machine's."""
    return b"j" + node_id[1:]


def new_visitor_id() -> bytes:
    """Return a fresh id for a process that looks at a session and has no part in it (8 bytes)."""
    return b"v" + os.urandom(PROCESS_ID_BYTES - 1)


def new_actor_id(number: int = 0) -> bytes:
    """Return a fresh id for an actor (16 bytes); it stays the same through every restart.

    It ends with ``number``, by which people tell the actors of a driver apart; 0 for one that has none.
    """
    return b"a" + os.urandom(ACTOR_ID_BYTES - 1 - _NUMBER_BYTES) + numbered(number)


def numbered(number: int) -> bytes:
    """Return the last bytes of an actor's id, see :func:`new_actor_id`."""
    return (number % (1 << 8 * _NUMBER_BYTES)).to_bytes(_NUMBER_BYTES, "big")


def number_of_actor(actor_id: bytes) -> int:
    """Return the number that an actor's id ends with; 0 if it has none."""
    return int.from_bytes(actor_id[ACTOR_ID_BYTES - _NUMBER_BYTES :], "big")


def is_driver(process_id: bytes) -> bool:
    """Return whether an id is that of a driver."""
    return process_id.startswith(_DRIVER)


def new_checkpoint_id() -> bytes:
    """Return a fresh id for a checkpoint (16 bytes)."""
    return b"c" + os.urandom(15)


def object_id(owner_id: bytes, counter: int, index: int = 0) -> bytes:
    """Return the id of the ``index``-th result of the ``counter``-th thing that ``owner_id`` submitted (20 bytes)."""
    return owner_id + counter.to_bytes(_COUNTER_BYTES, "big") + index.to_bytes(_INDEX_BYTES, "big")


def owner_of(an_object_id: bytes) -> bytes:
    """Return the id of the process that owns the object."""
    return an_object_id[:PROCESS_ID_BYTES]


def counter_of(an_object_id: bytes) -> int:
    """Return the submission counter in an object's id."""
    return int.from_bytes(an_object_id[PROCESS_ID_BYTES : PROCESS_ID_BYTES + _COUNTER_BYTES], "big")


def index_of(an_object_id: bytes) -> int:
    """Return which of the results of what was submitted an object is, as its id says."""
    return int.from_bytes(an_object_id[PROCESS_ID_BYTES + _COUNTER_BYTES :], "big")


def short(an_id: bytes) -> str:
    """Return the first ten hex digits, for people to read: they are also found in the whole id."""
    return an_id[:SHORT_BYTES].hex()
