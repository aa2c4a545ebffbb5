"""What the agent decides about who belongs to the session: drivers that come and go, further machines, and itself.

The agent of a further machine makes itself known to the first machine's agent, and only when that has answered to the
head. So whichever head comes, it hears from the first machine's agent of every machine that a head before it can have
known. Pure, as ``reactor.py`` is.
"""

from __future__ import annotations

from collections.abc import Iterable

from ipyactors.ground import ids
from ipyactors.node import reactor
from ipyactors.node.out import Out
from ipyactors.node.reactor import KEPT_DEATHS, Further, NodeState
from ipyactors.wire.node_messages import (
    AttachProcess,
    DetachProcess,
    HeadRestarted,
    JoinSession,
    KillHead,
    NodeToProcess,
    ProcessGone,
    ProcessToNode,
    SessionJoined,
    SessionStopping,
    StopSession,
)
from ipyactors.wire.store_messages import SegmentGone, SegmentHere, StoreToProcess


def on_started(state: NodeState, out: Out, now: float) -> None:
    """The first machine is ready when it has greeted the head that it started; another when that has welcomed it."""
    if not state.joins:
        reactor.greet_head(state, out, now)
        out.say_ready()


def on_process_message(state: NodeState, out: Out, peer: bytes, message: ProcessToNode, now: float) -> None:
    """Act on the word of a driver, of a worker, or of the agent of a further machine."""
    match message:
        case AttachProcess():
            reactor.on_attach(state, out, peer, message, now)
        case StopSession():
            reactor.on_stop_session(state, out, peer, message, now)
        case DetachProcess():
            out.unwatch(peer)
            _forget_driver(state, out, peer)
        case JoinSession():
            on_join(state, out, peer, message)
        case KillHead():
            reactor.on_kill_head(state, out)


# -- the first machine's agent -----------------------------------------------------------------------------------------


def on_join(state: NodeState, out: Out, link: bytes, message: JoinSession) -> None:
    """Remember a further machine, and let its agent go on. One that joins what has joined itself is sent away."""
    if state.stopping or state.joins:
        out.tell_process(link, SessionStopping(state.stopping or "the first machine's agent is another one"))
        return
    state.further[message.node_id] = Further(link, message.pid)
    out.watch(link, message.pid)
    out.tell_process(link, SessionJoined(state.head_epoch))


def on_watched_gone(state: NodeState, out: Out, process_id: bytes) -> None:
    """A driver that had come to the session has ended, or the agent of a further machine."""
    _forget_driver(state, out, process_id)
    for node_id, further in state.further.items():
        if further.link == process_id and further.pid:
            further.pid, further.gone_epoch = 0, state.head_epoch
            out.clear_up(node_id)


def _forget_driver(state: NodeState, out: Out, process_id: bytes) -> None:
    attached = state.processes.get(process_id)
    if attached is None or not attached.is_driver:
        return
    del state.processes[process_id]
    state.gone[process_id] = None
    if len(state.gone) > KEPT_DEATHS:
        del state.gone[next(iter(state.gone))]
    out.tell_head(ProcessGone(process_id))
    reactor.end_if_deserted(state, out)


# -- the agent of a further machine ------------------------------------------------------------------------------------


def on_first_machine_message(state: NodeState, out: Out, message: NodeToProcess | StoreToProcess, now: float) -> None:
    """Act on the word of the first machine's agent."""
    match message:
        case SessionJoined():
            state.head_epoch = message.head_epoch
            reactor.greet_head(state, out, now)
        case HeadRestarted() if message.head_epoch > state.head_epoch:
            state.head_epoch = message.head_epoch
            reactor.pass_on_new_head(state, out, now)
        case SessionStopping():
            reactor.stop(state, out, message.detail)
        case SegmentHere() | SegmentGone():
            on_moved(state, out, message.segment_id)


def on_registered(_state: NodeState, out: Out) -> None:
    """The head knows this machine."""
    out.say_ready()


def on_session_over(state: NodeState, out: Out) -> None:
    """The first machine's agent is gone, and the head and the session with it."""
    reactor.stop(state, out, "the agent of the session's first machine is gone")


def on_leave(state: NodeState, out: Out, segment_ids: Iterable[bytes]) -> None:
    """Go, because this machine was asked to leave and has nothing to do any more, or because nobody counts on it.

    ``segment_ids`` are what its store has. What will still have an owner is moved to the first machine before.
    """
    if not state.is_leaving:
        reactor.stop(state, out, "the session has given this machine up for lost", failed=True)
        return
    state.moving = {segment_id for segment_id in segment_ids if ids.owner_of(segment_id) not in state.children}
    out.move_away(tuple(state.moving))
    _go_if_moved(state, out)


def on_moved(state: NodeState, out: Out, segment_id: bytes) -> None:
    """The first machine has a segment, or cannot have it."""
    state.moving.discard(segment_id)
    _go_if_moved(state, out)


def _go_if_moved(state: NodeState, out: Out) -> None:
    if not state.moving:
        reactor.stop(state, out, "this machine has left the session")
