"""What happened, for people: one event type, many kinds, each stamped with wall time.

Owners record what becomes of their tasks and calls; the head records what becomes of processes and actors and
reports it to every driver. A driver merges both into one log, which plots and tables read.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

import msgspec


class EventKind(enum.StrEnum):
    """What an event says."""

    TASK_ATTEMPT = "task_attempt"
    """A task's attempt ended well; ``duration_s`` ends at ``wall_s``."""
    TASK_RETRY = "task_retry"
    """An attempt failed and the task will run again; ``detail`` says why, ``attempt`` which one failed."""
    TASK_FAILED = "task_failed"
    """A task's last attempt failed."""
    TASK_STRANDED = "task_stranded"
    """A task that has run, or could have, fits on no machine that is left, and waits for one to join."""
    CALL_ATTEMPT = "call_attempt"
    """A method call ended well."""
    CALL_RETRY = "call_retry"
    """A method call was interrupted by a death and will be sent again."""
    CALL_FAILED = "call_failed"
    """A method call failed for good, by an exception or by a death."""
    ACTOR_CREATED = "actor_created"
    ACTOR_ALIVE = "actor_alive"
    """The constructor of an incarnation returned."""
    ACTOR_RECOVERED = "actor_recovered"
    """A durable actor is back as it was; ``detail`` says from which checkpoint, and how many calls were replayed."""
    CHECKPOINT_MADE = "checkpoint_made"
    """A durable actor has made a checkpoint; ``detail`` says after which call, and how large."""
    ACTOR_UPGRADED = "actor_upgraded"
    """A durable actor runs another class from now on."""
    ACTOR_DIED = "actor_died"
    """An incarnation ended; ``detail`` says how."""
    ACTOR_RESTARTING = "actor_restarting"
    ACTOR_STRANDED = "actor_stranded"
    """An actor that has lived, or could have, fits on no machine that is left, and waits for one to join."""
    ACTOR_DEAD = "actor_dead"
    """The actor will not come back."""
    WORKER_STARTED = "worker_started"
    WORKER_DIED = "worker_died"
    HEAD_RESTARTED = "head_restarted"
    """A head that was started again knows everything again; ``detail`` says whom it waited for in vain."""
    NODE_ADDED = "node_added"
    NODE_LOST = "node_lost"
    """A machine is gone, with its workers and what its store held; ``detail`` says how it was noticed."""
    INJECTED = "injected"
    """``ipyactors.chaos`` did something, to the process or actor that is named; ``detail`` says what."""
    OBJECT_SPILLED = "object_spilled"
    """A value was moved from shared memory to disk; ``task_id`` is its object id, ``detail`` its size and why."""
    OBJECT_RESTORED = "object_restored"
    """A spilled value was brought back to shared memory."""
    OBJECT_LOST = "object_lost"
    """A value's data is gone from every machine; ``detail`` says what follows: a copy, a rebuild, or an error."""
    OBJECT_REBUILT = "object_rebuilt"
    """The task that had made a lost value has made it again."""


class Became(enum.StrEnum):
    """What is known of a call that failed for good, besides its error."""

    NOT_KNOWN = ""
    BEGUN = "begun"
    """It had begun when its process ended."""
    NOT_RUN = "not run"
    """It had not begun, this time, and will not run any more."""
    NO_EFFECT = "no effect"
    """It was given up, and has changed nothing on its actor."""

    @classmethod
    def of(cls, *, started: bool | None) -> Became:
        """Return it of a call that had begun, or had not, or of which that is not known."""
        if started is None:
            return cls.NOT_KNOWN
        return cls.BEGUN if started else cls.NOT_RUN


CALL_KINDS = frozenset({EventKind.CALL_ATTEMPT, EventKind.CALL_RETRY, EventKind.CALL_FAILED})

#: What every actor is asked besides the methods of its class: what begins with this (to tell its attributes, to make a
#: checkpoint), and whether it is there.
_SYSTEM = "__ipyactors_"
_READY = "__ray_ready__"
_ON = "__ray_call__"

#: The functions of the package that call some of these for the user, who knows the calls by their names.
_FUNCTIONS = {_ON: "on", "__ipyactors_restore__": "restore"}


#: Those that errors tell of though their events are not the user's calls.
_SPOKEN = {"__ipyactors_checkpoint__": "checkpoint()", "__ipyactors_upgrade__": "upgrade()"}


def spoken(name: str) -> str:
    """Return the name of a call as errors have it: ``Account.checkpoint()`` for what ``checkpoint()`` calls."""
    class_name, _, method = name.rpartition(".")
    return f"{class_name}.{_SPOKEN[method]}" if method in _SPOKEN else name


def name_of_call(class_name: str, method: str) -> str:
    """Return ``Class.method`` as people know it: what ``on`` and ``restore`` call has their names."""
    return f"{class_name}.{_FUNCTIONS.get(method, method)}"


#: Characters of an event's detail that its text has.
_DETAIL_AT_MOST = 80


class Event(msgspec.Struct, array_like=True, frozen=True):
    """One thing that happened. Ids are empty where they do not apply; ``attempt`` and ``incarnation`` start at 0."""

    kind: EventKind
    wall_s: float
    name: str = ""
    actor_id: bytes = b""
    worker_id: bytes = b""
    node_id: bytes = b""
    task_id: bytes = b""
    attempt: int = 0
    incarnation: int = 0
    duration_s: float = 0.0
    detail: str = ""
    injected: bool = False
    count: int = 0
    """Of an ``ACTOR_RECOVERED``: how many calls were replayed. Of an ``ACTOR_CREATED``: its ``max_concurrency``."""
    became: Became = Became.NOT_KNOWN
    """Of a ``CALL_FAILED`` or ``TASK_FAILED``."""

    def __repr__(self) -> str:
        """Return what happened to whom: one line, without times and ids. People count attempts from 1."""
        words = [self.kind.value, self.name]
        words += [f"attempt {self.attempt + 1}"] * (self.attempt > 0)
        words += [f"incarnation {self.incarnation}"] * (self.incarnation > 0)
        detail = self.detail
        if len(detail) > _DETAIL_AT_MOST:
            detail = f"{detail[: _DETAIL_AT_MOST - 1]}…"
        return f"Event({', '.join(filter(None, words))}{f': {detail!r}' if detail else ''})"


def users(events: Iterable[Event]) -> list[Event]:
    """Return events without those of calls that only the system knows of; calls by ``on`` are named so."""
    return [_as_known(event) for event in events if not is_internal(event)]


def is_internal(event: Event) -> bool:
    """Whether an event is of a call that the system has made for itself, of which no user knows."""
    method = event.name.rpartition(".")[2]
    return event.kind in CALL_KINDS and (method == _READY or method.startswith(_SYSTEM))


def _as_known(event: Event) -> Event:
    if event.kind in CALL_KINDS and event.name.endswith(f".{_ON}"):
        return msgspec.structs.replace(event, name=f"{event.name.removesuffix(_ON)}on")
    return event
