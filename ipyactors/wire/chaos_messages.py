"""What is to go wrong on purpose: who wants it to the head, and the head to the worker that is to do it.

The head keeps what is left of the orders for an actor, and hands it to each of its processes; a process notes what it
does of them in a file (``wire/chaos_ledger.py``) before it does it, from which its agent learns when it has ended.
"""

from __future__ import annotations

import msgspec

from ipyactors.wire.chaos_words import Act, Order, Progress


class _Word(msgspec.Struct, array_like=True, tag=True):
    """Base of this file's messages."""


# -- owner to head ---------------------------------------------------------------------------------------------


class InjectFault(_Word):
    """Have this done; the head gives the order its number. Answered by :class:`ChaosReply`.

    An answer with no ``error`` comes when the worker knows of it; when it is to end its process now, once that has
    ended; for tasks, at once. With ``waits``, what is to be done now to an actor that has no process yet is done to its
    next one, which is waited for some time.
    """

    request_id: int
    order: Order
    waits: bool = False


class ClearFaults(_Word):
    """Forget all orders for an actor, or these, or with ``all`` every one. Answered by :class:`ChaosReply`."""

    request_id: int
    actor_id: bytes = b""
    order_ids: tuple[int, ...] = ()
    all: bool = False


class ListFaults(_Word):
    """Which orders are left, as their processes say? Answered by :class:`ChaosReply`."""

    request_id: int


class EndNode(_Word):
    """End this machine, as a power failure would. Answered by :class:`ChaosReply` when all owners were told."""

    request_id: int
    node_id: bytes


class ChaosNoted(_Word):
    """Sent by a worker: what came with this ticket is known here. ``progress`` is how far its orders are."""

    ticket: int
    progress: tuple[Progress, ...] = ()


class ChaosActed(_Word):
    """Sent by a worker: this was done."""

    acts: tuple[Act, ...]


OwnerToChaos = InjectFault | ClearFaults | ListFaults | EndNode | ChaosNoted | ChaosActed


# -- head to owner ---------------------------------------------------------------------------------------------


class ChaosReply(_Word):
    """What became of a request. ``error`` says why nothing was done; empty if all is well.

    ``progress`` are the orders that it is about: the one that was given, those that were forgotten, or that are left.
    """

    request_id: int
    error: str = ""
    progress: tuple[Progress, ...] = ()


class ArmFaults(_Word):
    """To a worker: do these, from where they are. Those that it has already go on. Answered by :class:`ChaosNoted`."""

    ticket: int
    progress: tuple[Progress, ...]


class DisarmFaults(_Word):
    """To a worker: forget these, or all if none is named. Answered by :class:`ChaosNoted`."""

    ticket: int
    order_ids: tuple[int, ...] = ()


ChaosToOwner = ChaosReply | ArmFaults | DisarmFaults
