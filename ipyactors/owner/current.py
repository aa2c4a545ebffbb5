"""Which actor this process hosts, and which call the running code belongs to.

The call is a context variable, so that it is right in threads of a threaded actor and in coroutines of an async one.
The actor is a fact of the whole process, so threads that the user's code starts, which run no call, know it too.
"""

from __future__ import annotations

import contextvars
import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipyactors.wire.specs import ActorSpec

_actor: ActorSpec | None = None
_incarnation = 0


@dataclasses.dataclass(slots=True)
class CurrentCall:
    """The call that runs here. ``caller`` is the process id of who sent it, ``seq`` its number there.

    ``cancelled`` is set when the caller asked to cancel it, ``exit_detail`` when it has called ``exit_actor()``.
    ``is_changing``, ``seen`` and ``expected`` are of :mod:`ipyactors.worker.changes`.
    """

    caller: bytes
    seq: int
    task_id: bytes
    name: str
    actor_id: bytes = b""
    attempt: int = 0
    cancelled: bool = False
    exit_detail: str = ""
    is_changing: bool = False
    seen: int = -1
    expected: tuple[int, int] | None = None


call: contextvars.ContextVar[CurrentCall | None] = contextvars.ContextVar("ipyactors_call", default=None)


def actor() -> ActorSpec | None:
    """Return the actor that this process hosts, or None."""
    return _actor


def incarnation() -> int:
    """Return which incarnation of its actor this process is, from 0; 0 where it hosts none."""
    return _incarnation


def set_actor(spec: ActorSpec, incarnation: int) -> None:
    """Say which actor this process hosts; called by a worker before it runs the constructor."""
    global _actor, _incarnation
    _actor, _incarnation = spec, incarnation
