"""Agent with head, with its zygote, and with the drivers and workers of its machine."""

from __future__ import annotations

import msgspec

from ipyactors.ground.quantities import Units
from ipyactors.wire.chaos_words import Progress
from ipyactors.wire.events import Event
from ipyactors.wire.specs import ActorSpec, Death


class _Word(msgspec.Struct, array_like=True, tag=True):
    """Base of this file's messages."""


# -- agent to head ---------------------------------------------------------------------------------------------


class WorkerRecord(msgspec.Struct, array_like=True, frozen=True):
    """A live worker, as an agent tells a new head about it. ``actor`` is set when it hosts one."""

    worker_id: bytes
    pid: int
    address: str
    actor: ActorSpec | None = None
    incarnation: int = 0


class DeadWorker(msgspec.Struct, array_like=True, frozen=True):
    """A worker that died lately, for a new head: the one before may have died before it told anybody."""

    worker_id: bytes
    death: Death
    actor: ActorSpec | None = None


class NodeRecord(msgspec.Struct, array_like=True, frozen=True):
    """The agent of a further machine, as the first machine's agent tells a new head about it. ``pid`` 0: it is gone."""

    node_id: bytes
    pid: int


class RegisterNode(_Word):
    """A machine joins, or an agent greets a restarted head with the processes that live, and the latest deaths.

    Each of ``workers`` and of ``drivers`` is about to register with that head too, or is reported dead. ``address`` is
    where the agent listens; ``pid`` is given where the head runs on the same machine, so that it can watch the agent.
    ``joins`` is set by all but the first machine, whose agent started the head; that one names in ``nodes`` all that
    have joined. Who joins is answered with :class:`NodeRegistered`. ``killed_head``: the head before was ended by an
    injected fault. ``holds_detached`` is what a head has told last (:class:`HoldsDetached`).
    """

    hostname: str
    total: Units
    workers: tuple[WorkerRecord, ...] = ()
    dead: tuple[DeadWorker, ...] = ()
    drivers: tuple[bytes, ...] = ()
    address: str = ""
    pid: int = 0
    joins: bool = False
    nodes: tuple[NodeRecord, ...] = ()
    store_limit_bytes: int = 0
    killed_head: bool = False
    holds_detached: bool = False


class WorkerStarted(_Word):
    """The process exists; it will register itself when its socket is bound."""

    worker_id: bytes
    pid: int


class WorkerDied(_Word):
    """The process ended."""

    worker_id: bytes
    death: Death


class WorkerSignalled(_Word):
    """The signal was sent that came with this ticket, if there was a process to send it to."""

    ticket: int


class ProcessGone(_Word):
    """A driver on this machine is gone (its alive pipe closed)."""

    process_id: bytes


class NodeLeaving(_Word):
    """This machine is to leave: start nothing here any more. Answered by :class:`LeaveSession` when it may go."""


class ObjectEvents(_Word):
    """What happened to values in this machine's store, for those who watch events."""

    events: tuple[Event, ...]


NodeToHead = RegisterNode | WorkerStarted | WorkerDied | WorkerSignalled | ProcessGone | NodeLeaving | ObjectEvents


# -- head to agent ---------------------------------------------------------------------------------------------


class StartWorker(_Word):
    """Start a worker with this id: it hosts ``actor`` as ``incarnation`` (from 0), or it runs tasks.

    ``faults`` are to go wrong there on purpose.
    """

    worker_id: bytes
    actor: ActorSpec | None = None
    incarnation: int = 0
    faults: tuple[Progress, ...] = ()


class KillWorker(_Word):
    """End the worker now. ``intended`` and ``detail`` go into its death report.

    ``final``: the actor that it hosts is not to return, whichever head hears of its death.
    """

    worker_id: bytes
    intended: bool = True
    detail: str = ""
    final: bool = False


class KillWorkerAt(_Word):
    """End the worker if what ``caller_id`` had it begin last is its call ``seq`` (a forced cancel); else do nothing."""

    worker_id: bytes
    caller_id: bytes
    seq: int
    detail: str


class SignalWorker(_Word):
    """Send the worker this signal, as an injected fault; with ``seconds``, have it continued (SIGCONT) after these.

    With a ``ticket`` it is answered with :class:`WorkerSignalled`.
    """

    worker_id: bytes
    number: int
    seconds: float = 0.0
    ticket: int = 0


class DieNow(_Word):
    """End at once, as an injected fault: all that is on this machine ends with you."""


class NodeRegistered(_Word):
    """Welcome, further machine: the head may start workers on you from now on."""

    head_epoch: int


class LeaveSession(_Word):
    """No task runs on you any more, as you wished: go. What else is on you ends with you."""


class HoldsDetached(_Word):
    """Whether the session holds actors that are detached; said to the first machine when it changes, at first no."""

    holds_any: bool


HeadToNode = (
    StartWorker | KillWorker | KillWorkerAt | SignalWorker | DieNow | NodeRegistered | LeaveSession | HoldsDetached
)


# -- zygote (over a socketpair, length-prefixed frames) ----------------------------------------------------------


class ForkWorker(_Word):
    """Fork, and become this worker in the child. The fields are as in :class:`StartWorker`."""

    worker_id: bytes
    actor: ActorSpec | None = None
    incarnation: int = 0
    faults: tuple[Progress, ...] = ()


class WorkerForked(_Word):
    """The child exists."""

    worker_id: bytes
    pid: int


class WorkerExited(_Word):
    """The child ended; ``status`` is the wait status, ``max_rss_bytes`` its peak resident memory."""

    worker_id: bytes
    pid: int
    status: int
    max_rss_bytes: int


class ForkFailed(_Word):
    """The fork itself failed; ``detail`` is the system's words."""

    worker_id: bytes
    detail: str


class ZygoteReady(_Word):
    """Everything is imported; said once, before anything else."""


AgentToZygote = ForkWorker
ZygoteToAgent = WorkerForked | WorkerExited | ForkFailed | ZygoteReady


# -- drivers and workers with the agent of their machine ---------------------------------------------------------


class AttachProcess(_Word):
    """I live on this machine; tell me when the head restarts."""

    is_driver: bool
    pid: int


class StopSession(_Word):
    """End everything on this machine and go (``shutdown()``)."""


class DetachProcess(_Word):
    """I leave the session, which goes on without me (a driver that had come to a running session)."""


class KillHead(_Word):
    """End the head at once, as an injected fault. You hear of the next one as of any other."""


class JoinSession(_Word):
    """I am the agent of a further machine: tell me when the head restarts, and when the session ends.

    Said to the agent of the first machine, under a name of its own; answered by :class:`SessionJoined`.
    """

    node_id: bytes
    pid: int


ProcessToNode = AttachProcess | StopSession | DetachProcess | JoinSession | KillHead


class HeadRestarted(_Word):
    """The head died and a new one listens at the same address: register again."""

    head_epoch: int


class SessionStopping(_Word):
    """The session ends; ``detail`` says why."""

    detail: str = ""


class SessionJoined(_Word):
    """Any head that comes will hear of you from me: register with the one that there is."""

    head_epoch: int


NodeToProcess = HeadRestarted | SessionStopping | SessionJoined
