"""Calls that a durable actor has made to others and that had no answer when a checkpoint of it was made.

They may not have arrived. What is before a checkpoint is not done again, and so nobody would make them again: the
checkpoint has them, and a recovery that begins with it sends them. Those that had arrived are known there by their ids.
"""

from __future__ import annotations

import msgspec

from ipyactors.durable.record import Blob
from ipyactors.wire.specs import Payload


class CarriedCall(msgspec.Struct, frozen=True):
    """What it takes to make a call of the method of an actor again.

    ``caller_id``, ``call_id``, ``counter`` and ``digest`` are its
    :class:`~ipyactors.wire.worker_messages.CallIdentity`, and the options are as in
    :class:`~ipyactors.owner.templates.MethodTemplate`. ``attempt`` is how often it was tried before, ``retries_left``
    how often it may be again. ``args`` and ``arg_values`` name no references; actors that they name are to be held by
    who makes the call. Large ones are in files beside the log, of which ``blobs`` tells as in
    :class:`~ipyactors.durable.record.Call`, and have no bytes here.
    """

    actor_id: bytes
    class_name: str
    method: str
    args: Payload
    arg_values: tuple[Payload, ...]
    caller_id: bytes
    call_id: bytes
    counter: int
    digest: bytes
    num_returns: int = 1
    retry_on: bytes = b""
    is_persist: bool = False
    key: str = ""
    max_task_retries: int = 0
    attempt: int = 0
    retries_left: int = 0
    blobs: tuple[Blob, ...] = ()
