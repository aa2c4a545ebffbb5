"""What the agent decides: which worker is forked or ended, who hears of it, what is started again.

Pure: each ``on_<fact>(state, out, ..., now)`` changes the state and tells ``out`` what to do. ``now`` is monotonic.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Mapping

from ipyactors.ground.config import SessionPaths
from ipyactors.ground.quantities import Units
from ipyactors.node.children import Child, Evidence, compose_death, start_failed
from ipyactors.node.out import Out
from ipyactors.wire.deaths import without_words
from ipyactors.wire.node_messages import (
    AttachProcess,
    DeadWorker,
    ForkFailed,
    ForkWorker,
    HeadRestarted,
    HoldsDetached,
    KillWorker,
    KillWorkerAt,
    NodeLeaving,
    NodeRecord,
    ProcessGone,
    RegisterNode,
    SessionStopping,
    SignalWorker,
    StartWorker,
    StopSession,
    WorkerDied,
    WorkerForked,
    WorkerRecord,
    WorkerSignalled,
    WorkerStarted,
)
from ipyactors.wire.specs import Death

#: Head and zygote are started again at most this often ...
MAX_RESTARTS = 5
#: ... within this many seconds; the next death ends the session. Counted for each of them alone.
RESTART_WINDOW_S = 60.0


#: How many deaths are repeated to a head that was started again: of workers, and of drivers.
KEPT_DEATHS = 256


@dataclasses.dataclass(slots=True)
class RestartWindow:
    """When something was last started again; the rule is OTP's restart intensity."""

    moments: deque[float] = dataclasses.field(default_factory=deque)

    def admits(self, now: float) -> bool:
        """Return whether one more restart is within the rule, and count it."""
        while self.moments and now - self.moments[0] > RESTART_WINDOW_S:
            self.moments.popleft()
        if len(self.moments) >= MAX_RESTARTS:
            return False
        self.moments.append(now)
        return True


@dataclasses.dataclass(slots=True)
class Further:
    """A machine that has joined, as the first one's agent knows it: its agent's ``link`` here, and pid (0: gone).

    ``gone_epoch`` is the number of the head that there was when it went.
    """

    link: bytes
    pid: int
    gone_epoch: int = 0


@dataclasses.dataclass(slots=True)
class NodeState:
    """Everything that the agent knows.

    ``processes`` are those that want to hear of a new head, by process id; ``dead`` are the latest deaths of workers,
    ``gone`` those of drivers, oldest first, for that head. The first machine's agent knows of the ``further`` ones, by
    node id; theirs ``joins``. ``is_leaving``: this machine was asked to leave the session; ``moving`` are the segments
    that another one fetches before it goes. ``killed_head``: a fault was injected there, and the next has not come yet.
    The session ``outlives_driver`` if it ``holds_detached`` actors then; ``is_deserted``: it has done so.
    """

    paths: SessionPaths
    node_id: bytes
    hostname: str
    total: Units
    worker_limit: int
    dead: dict[bytes, DeadWorker] = dataclasses.field(default_factory=dict)
    children: dict[bytes, Child] = dataclasses.field(default_factory=dict)
    processes: dict[bytes, AttachProcess] = dataclasses.field(default_factory=dict)
    head_epoch: int = 0
    head_restarts: RestartWindow = dataclasses.field(default_factory=RestartWindow)
    zygote_restarts: RestartWindow = dataclasses.field(default_factory=RestartWindow)
    stopping: str = ""
    pid: int = 0
    joins: bool = False
    store_limit_bytes: int = 0
    gone: dict[bytes, None] = dataclasses.field(default_factory=dict)
    further: dict[bytes, Further] = dataclasses.field(default_factory=dict)
    is_leaving: bool = False
    killed_head: bool = False
    outlives_driver: bool = False
    holds_detached: bool = False
    is_deserted: bool = False
    moving: set[bytes] = dataclasses.field(default_factory=set)

    def check_invariants(self) -> None:
        """Raise AssertionError if the tables contradict each other."""
        pids = [child.pid for child in self.children.values() if child.pid]
        assert len(pids) == len(set(pids)), f"two workers have one pid: {pids}"
        assert all(worker_id == child.worker_id for worker_id, child in self.children.items())


# -- the machine joins -----------------------------------------------------------------------------------------


def greet_head(state: NodeState, out: Out, _now: float) -> None:
    """Make this machine known to the head, for the first time or after it was started again."""
    workers = tuple(
        WorkerRecord(
            child.worker_id,
            child.pid,
            state.paths.process_address(child.worker_id),
            child.order.actor,
            child.order.incarnation,
        )
        for child in state.children.values()
    )
    for node_id in [node_id for node_id, further in state.further.items() if _is_old_news(state, further)]:
        del state.further[node_id]
    drivers = tuple(process_id for process_id, attached in state.processes.items() if attached.is_driver)
    out.tell_head(
        RegisterNode(
            state.hostname,
            state.total,
            workers,
            tuple(state.dead.values()),
            drivers,
            address=state.paths.agent_address,
            pid=state.pid,
            joins=state.joins,
            nodes=tuple(NodeRecord(node_id, further.pid) for node_id, further in state.further.items()),
            store_limit_bytes=state.store_limit_bytes,
            holds_detached=state.holds_detached,
            killed_head=state.killed_head,
        )
    )
    state.killed_head = False
    for process_id in state.gone:
        out.tell_head(ProcessGone(process_id))
    if state.is_leaving:
        out.tell_head(NodeLeaving())


# -- what the head wants ---------------------------------------------------------------------------------------


def on_start_worker(state: NodeState, out: Out, message: StartWorker, _now: float) -> None:
    """Have a worker forked. A repeated order does nothing."""
    if message.worker_id in state.children:
        return
    if message.actor is not None:
        _forget_deaths(state, message.actor.actor_id)
    order = ForkWorker(message.worker_id, message.actor, message.incarnation, message.faults)
    if len(state.children) >= state.worker_limit:
        detail = f"this machine runs {len(state.children)} workers, which is its limit (worker_limit)"
        _report(state, out, order, start_failed(order, detail, state.node_id))
        return
    state.children[message.worker_id] = Child(order)
    out.fork(order)


def on_kill_worker(state: NodeState, out: Out, message: KillWorker, _now: float) -> None:
    """End a worker; one that is being forked is ended as soon as it exists. The first wish is the one reported."""
    child = state.children.get(message.worker_id)
    if child is None:
        return
    child.kill = child.kill or message
    if child.pid:
        out.kill(child)


def on_signal_worker(state: NodeState, out: Out, message: SignalWorker, _now: float) -> None:
    """Send a worker a signal, as an injected fault; one that has no process yet, or none any more, gets none."""
    child = state.children.get(message.worker_id)
    if child is not None and child.pid:
        child.signalled = message
        out.signal(child, message.number, continue_after_s=message.seconds)
    if message.ticket:
        out.tell_head(WorkerSignalled(message.ticket))


def on_kill_head(state: NodeState, out: Out) -> None:
    """End the head, as an injected fault: the next one is told so."""
    state.killed_head = True
    out.kill_head()


def on_kill_worker_at(
    state: NodeState, out: Out, message: KillWorkerAt, started: Mapping[bytes, int], now: float
) -> None:
    """End a worker for the sake of one call, and no other's. ``started`` are its marks, read just now.

    If a later call of that caller has begun, the one to be ended is over, and its answer is on the way. What begins in
    the few microseconds between that look and the kill is lost with the worker, as in any crash.
    """
    if started.get(message.caller_id) == message.seq:
        on_kill_worker(state, out, KillWorker(message.worker_id, detail=message.detail), now)


# -- what the zygote reports -----------------------------------------------------------------------------------


def on_worker_forked(state: NodeState, out: Out, message: WorkerForked, _now: float) -> None:
    """Note the pid, and pass the news on."""
    child = state.children.get(message.worker_id)
    if child is None:
        return
    child.pid = message.pid
    out.tell_head(WorkerStarted(message.worker_id, message.pid))
    if child.kill is not None:
        out.kill(child)


def on_fork_failed(state: NodeState, out: Out, message: ForkFailed, _now: float) -> None:
    """Report a worker that never was."""
    child = state.children.pop(message.worker_id, None)
    if child is not None:
        _report(state, out, child.order, start_failed(child.order, message.detail, state.node_id))


def on_worker_exited(state: NodeState, out: Out, worker_id: bytes, evidence: Evidence, _now: float) -> None:
    """Report a death. The process has certainly ended."""
    child = state.children.pop(worker_id, None)
    state.processes.pop(worker_id, None)
    if child is not None:
        _report(state, out, child.order, compose_death(child, evidence, state.node_id))


def on_zygote_lost(state: NodeState, out: Out, now: float) -> None:
    """Start another zygote. The workers of the old one go with it; those that it had not forked yet come from the new.

    Each worker's death is still to be reported, by :func:`on_worker_exited`.
    """
    if state.stopping:
        return
    if not state.zygote_restarts.admits(now):
        stop(state, out, f"the zygote died more than {MAX_RESTARTS} times in {RESTART_WINDOW_S:g} s", failed=True)
        return
    out.start_zygote()
    for child in state.children.values():
        if child.pid:
            child.orphaned = True
            out.kill(child)
        else:
            out.fork(child.order)


def _report(state: NodeState, out: Out, order: ForkWorker, death: Death) -> None:
    """Tell the head of a death, and keep it for the next head: this one may die before it has told anybody."""
    state.dead[order.worker_id] = DeadWorker(order.worker_id, without_words(death), order.actor)
    while len(state.dead) > KEPT_DEATHS:
        del state.dead[next(iter(state.dead))]
    out.tell_head(WorkerDied(order.worker_id, death))


def _forget_deaths(state: NodeState, actor_id: bytes) -> None:
    """Drop the deaths of an actor that comes back: whoever starts it has heard of them."""
    for worker_id in [key for key, dead in state.dead.items() if dead.actor and dead.actor.actor_id == actor_id]:
        del state.dead[worker_id]


# -- the head --------------------------------------------------------------------------------------------------


def on_head_lost(state: NodeState, out: Out, now: float) -> None:
    """Start the head again, greet it with what lives here, and have everyone else do the same."""
    if state.stopping:
        return
    if not state.head_restarts.admits(now):
        stop(state, out, f"the head died more than {MAX_RESTARTS} times in {RESTART_WINDOW_S:g} s", failed=True)
        return
    state.head_epoch += 1
    out.start_head(state.head_epoch)
    pass_on_new_head(state, out, now)


def pass_on_new_head(state: NodeState, out: Out, now: float) -> None:
    """Greet a head that was started again, and have everyone do the same who hears of it from here."""
    greet_head(state, out, now)
    for process_id in _listeners(state):
        out.tell_process(process_id, HeadRestarted(state.head_epoch))


def _is_old_news(state: NodeState, further: Further) -> bool:
    """Return whether a head before the present one has told of a machine's end: as it was greeted, if not before.

    The head that there was when the machine went may have died before it noticed.
    """
    return not further.pid and further.gone_epoch < state.head_epoch - 1


def _listeners(state: NodeState) -> list[bytes]:
    """Return who hears of the head and of the session's end from this agent."""
    return [*state.processes, *(further.link for further in state.further.values() if further.pid)]


# -- drivers and workers ---------------------------------------------------------------------------------------


def on_attach(state: NodeState, out: Out, process_id: bytes, message: AttachProcess, _now: float) -> None:
    """Remember who wants to hear of a new head; tell at once if one has come that it may have missed."""
    state.processes[process_id] = message
    if message.is_driver:
        out.watch(process_id, message.pid)
    if state.stopping:
        out.tell_process(process_id, SessionStopping(state.stopping))
    elif state.head_epoch:
        out.tell_process(process_id, HeadRestarted(state.head_epoch))


def on_stop_session(state: NodeState, out: Out, process_id: bytes, _message: StopSession, _now: float) -> None:
    """End the session, if a driver asks; a worker's code may not end its own driver's session."""
    if process_id not in state.children:
        stop(state, out, "the driver called shutdown()")


def on_driver_gone(state: NodeState, out: Out, _now: float) -> None:
    """End the session: nobody is left who could want its results. That of a notebook may go on without a driver."""
    if state.is_deserted:
        return
    state.is_deserted = state.outlives_driver and (state.holds_detached or state.joins)
    if not state.is_deserted:
        stop(state, out, "the driver is gone")


def on_told_to_stop(state: NodeState, out: Out, _now: float) -> None:
    """End everything on this machine: its driver has let go of the agent, and lives."""
    stop(state, out, "its driver has let go of it")


def on_holds_detached(state: NodeState, out: Out, message: HoldsDetached, _now: float) -> None:
    """Learn whether there are actors for which the session outlives its driver."""
    state.holds_detached = message.holds_any
    end_if_deserted(state, out)


def end_if_deserted(state: NodeState, out: Out) -> None:
    """End a session that has gone on without the driver that started it, if there is nothing to go on for any more.

    A further machine ends with the first one.
    """
    is_wanted = state.holds_detached or any(attached.is_driver for attached in state.processes.values())
    if state.is_deserted and not state.joins and not is_wanted:
        stop(state, out, "no driver is there, and no detached actor any more")


def on_terminated(state: NodeState, out: Out, _now: float) -> None:
    """End the session in good order after SIGTERM; a further machine asks to leave it first. Asked twice, it goes."""
    if state.joins and not state.is_leaving:
        state.is_leaving = True
        out.tell_head(NodeLeaving())
        return
    stop(state, out, "the agent was told to end by SIGTERM")


def stop(state: NodeState, out: Out, detail: str, *, failed: bool = False) -> None:
    """End everything on this machine, once: with the first machine, the session."""
    if state.stopping:
        return
    state.stopping = detail
    for process_id in _listeners(state):
        out.tell_process(process_id, SessionStopping(detail))
    out.stop(detail, failed=failed)
