"""The head's one entrance for messages: from the peer's id and the message to the function that decides.

``on_message`` is called for each message in the order in which they arrived, ``on_turn`` once after each turn of the
shell (some messages, or none for a while); only ``on_turn`` hands out resources, so a burst of a thousand requests is
weighed once. Both are pure but for what they change in ``tables`` and put in ``out``.

Nothing that a peer says makes the head raise: what does not fit the tables is late, or mistaken, and is answered
with how things are, or ignored.
"""

from __future__ import annotations

from ipyactors.head import (
    actors,
    census,
    claims,
    copies,
    describe,
    detached,
    durable,
    faults,
    handles,
    kv,
    leases,
    members,
    nodes,
    settling,
    waiting,
)
from ipyactors.head.out import Out
from ipyactors.head.tables import Owner, Tables
from ipyactors.wire import census_messages as counted
from ipyactors.wire import chaos_messages as ordered
from ipyactors.wire import durable_messages as durably
from ipyactors.wire import head_messages as said
from ipyactors.wire import kv_messages as kept
from ipyactors.wire import node_messages as reported
from ipyactors.wire import store_messages as stored
from ipyactors.wire.codec import Message

#: What agents say; all else is said by owners.
FromNode = reported.NodeToHead | stored.StoreToHead | counted.NodeToCensus

#: How often the shell takes a turn when nothing happens (for what only time brings about).
IDLE_TURN_S = 1.0


class Reactor:
    """Holds the messages that must wait until all machines are there; everything else is in ``tables``."""

    def __init__(self, tables: Tables, out: Out) -> None:
        self.tables = tables
        self.out = out
        self._early: list[tuple[bytes, Message]] = []

    def on_message(self, peer: bytes, message: Message, now_s: float, wall_s: float) -> None:
        """Act on one message. ``now_s`` is monotonic and for intervals, ``wall_s`` is for people."""
        if isinstance(message, FromNode):
            on_node_message(self.tables, self.out, peer, message, now_s, wall_s)
            self._hear_early(now_s, wall_s)
        elif not self.tables.knows_all_nodes:
            # Without its machines, demands would look as if they could never be met, and a head that was started
            # again would deny actors that live, and names that are taken.
            self._early.append((peer, message))
        else:
            on_owner_message(self.tables, self.out, peer, message, now_s, wall_s)

    def _hear_early(self, now_s: float, wall_s: float) -> None:
        if self.tables.knows_all_nodes and self._early:
            early, self._early = self._early, []
            for peer, message in early:
                on_owner_message(self.tables, self.out, peer, message, now_s, wall_s)

    def on_turn(self, now_s: float, wall_s: float) -> float:
        """Serve who waits, do what is due, report events; return the seconds to the next turn at the latest."""
        tables, out = self.tables, self.out
        settling.give_up(tables, out, now_s, wall_s)
        self._hear_early(now_s, wall_s)
        if settling.is_to_settle(tables, now_s):
            settling.settle(tables, out, wall_s)
        leases.trim_idle(tables, out, now_s)
        if tables.needs_placing or (tables.look_again_s is not None and now_s >= tables.look_again_s):
            waiting.place_waiting(tables, out, now_s, wall_s)
        nodes.dismiss_leaving(tables, out)
        detached.tell_agent(tables, out)
        for watcher_id, events in tables.events.take_unreported():
            out.to_owner(watcher_id, said.EventsReported(events))
        waits_s = [IDLE_TURN_S]
        census_s = census.answer_complete(tables, out, now_s)
        faults_s = faults.serve_early(tables, out, now_s, wall_s)
        waits_s += [wait_s for wait_s in (census_s, faults_s) if wait_s is not None]
        if tables.look_again_s is not None:
            waits_s.append(max(0.0, tables.look_again_s - now_s))
        return min(waits_s)

    def on_agent_gone(self, node_id: bytes, now_s: float, wall_s: float) -> None:
        """Act on the end of a further machine's agent and of its workers."""
        nodes.on_agent_gone(self.tables, self.out, node_id, now_s, wall_s)
        self._hear_early(now_s, wall_s)


def on_node_message(
    tables: Tables,
    out: Out,
    node_id: bytes,
    message: FromNode,
    now_s: float,
    wall_s: float,
) -> None:
    """Act on what an agent says. Only a registration is heard from an agent that has not registered."""
    if isinstance(message, reported.RegisterNode):
        nodes.on_register_node(tables, out, node_id, message, now_s, wall_s)
        return
    node = tables.nodes.get(node_id)
    if node is None:
        return
    match message:
        case reported.WorkerStarted():
            members.on_worker_started(tables, node_id, message, wall_s)
        case reported.WorkerDied():
            members.on_worker_died(tables, out, node_id, message, now_s, wall_s)
        case reported.WorkerSignalled():
            faults.on_noted(tables, out, message.ticket)
        case reported.ProcessGone():
            members.on_process_gone(tables, out, message.process_id, wall_s)
        case reported.NodeLeaving():
            nodes.on_node_leaving(tables, out, node)
        case reported.ObjectEvents():
            for event in message.events:
                tables.events.add(event)
        case stored.SegmentsFound():
            copies.on_segments_found(tables, out, node, message)
        case counted.StoreReported():
            census.on_store_reported(tables, node_id, message)


def on_owner_message(tables: Tables, out: Out, peer: bytes, message: Message, now_s: float, wall_s: float) -> None:
    """Act on what a driver or a worker's session says.

    Only three things are heard from a process that has not registered: its registration, the wish for a census, and
    that it lends a handle (said to a head that died meanwhile, perhaps, and the borrower's count must not be lost).
    """
    if isinstance(message, said.RegisterOwner):
        members.on_register_owner(tables, out, peer, message, now_s)
        return
    if isinstance(message, counted.TakeCensus):
        census.on_take_census(tables, out, peer, message, now_s)
        return
    owner = tables.owners.get(peer)
    if owner is not None and owner.is_registered:
        _on_registered(tables, out, owner, message, now_s, wall_s)
    elif isinstance(message, said.LendActor) and peer not in tables.gone:
        handles.on_lend_actor(tables, out, message)


def _on_registered(tables: Tables, out: Out, owner: Owner, message: Message, now_s: float, wall_s: float) -> None:
    match message:
        case said.WantLeases():
            leases.on_want_leases(tables, owner, message)
        case said.ReturnLease():
            leases.on_return_lease(tables, out, owner, message, now_s)
        case said.WorkerBlocked():
            leases.on_worker_blocked(tables, owner)
        case said.WorkerUnblocked():
            leases.on_worker_unblocked(tables, owner)
        case said.KillLeasedWorker():
            leases.on_kill_leased_worker(tables, out, owner, message)
        case said.DropWorker():
            leases.on_drop_worker(tables, out, message)
        case said.OwnsObjects():
            leases.on_owns_objects(tables, owner, message)
        case said.WatchOwner():
            members.on_watch_owner(tables, out, owner, message)
        case said.AskBorrower():
            members.on_ask_borrower(tables, out, owner, message)
        case said.OwnerLeaving():
            members.on_process_gone(tables, out, owner.owner_id, wall_s)
        case said.DescribeCluster():
            describe.on_describe_cluster(tables, out, owner, message, wall_s)
        case said.WatchEvents():
            tables.events.watch(owner.owner_id)
        case stored.FindCopies():
            copies.on_find_copies(tables, out, owner, message)
        case stored.ForgetSegments():
            copies.on_forget_segments(tables, out, owner, message)
        case stored.ObjectsClaimed():
            claims.on_objects_claimed(tables, out, owner, message)
        case stored.ReleaseClaims():
            claims.on_release_claims(tables, out, owner, message)
        case counted.ObjectsReported():
            census.on_objects_reported(tables, owner, message)
        case kept.KvPut() | kept.KvGet() | kept.KvDelete():
            kv.on_request(out, owner, message)
        case _ if isinstance(message, ordered.OwnerToChaos):
            faults.on_message(tables, out, owner, message, wall_s)
        case _:
            _on_actor_word(tables, out, owner, message, wall_s)


def _on_ready(tables: Tables, out: Out, owner: Owner, message: said.ActorReady, wall_s: float) -> None:
    """An actor is ready; it may have said so before, to this head or to the one before."""
    actor = actors.on_actor_ready(tables, out, owner, message, wall_s)
    if actor is not None:
        durable.hand_over_created(tables, actor)


def _on_actor_word(tables: Tables, out: Out, owner: Owner, message: Message, wall_s: float) -> None:
    match message:
        case said.CreateActor():
            handles.on_create_actor(tables, out, owner, message, wall_s)
        case said.GetActor():
            handles.on_get_actor(tables, out, owner, message)
        case said.HoldActor():
            handles.on_hold_actor(tables, out, owner, message)
        case said.LendActor():
            handles.on_lend_actor(tables, out, message)
        case said.ReleaseActor():
            handles.on_release_actor(tables, out, owner, message, wall_s)
        case said.KillActor():
            handles.on_kill(tables, out, owner, message, wall_s)
        case said.ActorReady():
            _on_ready(tables, out, owner, message, wall_s)
        case durably.ConfirmReady():
            _on_ready(tables, out, owner, said.ActorReady(message.actor_id, message.incarnation), wall_s)
            out.to_owner(owner.owner_id, durably.ConfirmReadyReply(message.request_id))
        case durably.ActorProgressed():
            durable.on_progressed(tables, owner, message)
        case durably.ActorCaughtUp():
            durable.on_caught_up(tables, out, owner, message, wall_s)
        case durably.ActorBusy():
            durable.on_busy(tables, owner, message)
        case durably.CheckpointMade():
            durable.on_checkpoint_made(tables, owner, message, wall_s)
        case durably.ActorUpgraded():
            durable.on_upgraded(tables, owner, message, wall_s)
        case said.ActorInitFailed():
            actors.on_actor_init_failed(tables, out, owner, message, wall_s)
        case said.ActorExited():
            actors.on_actor_exited(tables, owner, message)
