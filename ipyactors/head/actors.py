"""The life of an actor, from the wish for it to its death report.

An actor is one identity with a row of processes: *incarnations* 0, 1, 2 … The head alone moves it from state to
state, and tells every holder of a handle at each step, so that no two processes argue about where an actor is.

Four things can happen to it:

* READY: the constructor of the present incarnation returned.
* STARTED: it was given a process (after it waited for resources).
* LOST: its process died and the policy allows another. Holders keep their calls until it is ready again, which is
  why RESTARTING lasts to READY and has no STARTING in between: for them nothing changes when the process exists.
* ENDED: it is dead for good: by a death that the policy does not forgive, an exception in the constructor, or an
  intended end.

An intended end of an actor that has a process is in two steps: the process is told to die (``Actor.ending`` says
why), and ENDED follows when its agent reports the death, since only that report says which calls had begun. Its name
is free from the first step on: who kills an actor may at once create another of that name.
"""

from __future__ import annotations

import enum

import msgspec

from ipyactors.ground import ids
from ipyactors.ground.quantities import describe_lack
from ipyactors.head import leases, placement
from ipyactors.head.machine import Node
from ipyactors.head.out import Out
from ipyactors.head.restarts import Verdict, decide
from ipyactors.head.tables import Actor, Ending, Owner, Tables, Worker, WorkerUse
from ipyactors.wire.deaths import TRY_AGAIN, describe_death
from ipyactors.wire.events import Event, EventKind
from ipyactors.wire.head_messages import ActorChanged, ActorExited, ActorInitFailed, ActorReady, KillActor
from ipyactors.wire.node_messages import StartWorker
from ipyactors.wire.specs import ActorSpec, ActorState, ActorStatus, Death, LossReason, Payload


class Step(enum.Enum):
    """What can happen to an actor; see above."""

    STARTED = "started"
    READY = "ready"
    LOST = "lost"
    ENDED = "ended"


_STEPS: dict[ActorState, dict[Step, ActorState]] = {
    ActorState.PENDING: {
        Step.STARTED: ActorState.STARTING,
        Step.ENDED: ActorState.DEAD,
    },
    ActorState.STARTING: {
        Step.READY: ActorState.ALIVE,
        Step.LOST: ActorState.RESTARTING,
        Step.ENDED: ActorState.DEAD,
    },
    ActorState.ALIVE: {
        Step.LOST: ActorState.RESTARTING,
        Step.ENDED: ActorState.DEAD,
    },
    ActorState.RESTARTING: {
        Step.STARTED: ActorState.RESTARTING,
        Step.READY: ActorState.ALIVE,
        Step.LOST: ActorState.RESTARTING,
        Step.ENDED: ActorState.DEAD,
    },
    ActorState.DEAD: {},
}


def take_step(actor: Actor, step: Step) -> None:
    """Move ``actor`` on. Callers check first what peers may get wrong; a step that is not in the table is our bug."""
    actor.state = _STEPS[actor.state][step]
    actor.is_told = False


# -- what the actor's own worker says ----------------------------------------------------------------------------


def on_actor_ready(tables: Tables, out: Out, owner: Owner, message: ActorReady, wall_s: float) -> Actor | None:
    """Learn that the constructor returned; return the actor. Ignored from another incarnation, and after its end."""
    actor = speaking(tables, owner, message.actor_id)
    if actor is None or message.incarnation != actor.incarnation or actor.is_ended:
        return None
    is_adopted, actor.is_adopted = actor.is_adopted, False
    if Step.READY not in _STEPS[actor.state]:
        if is_adopted:  # and was taken for alive
            _note_ready(tables, actor, message, wall_s)
        return None
    take_step(actor, Step.READY)
    actor.unready = 0
    actor.busy_with = ""
    if actor.spec.durability is None:  # one that is durable brings its calls along, and may die of them again
        actor.fruitless_s.clear()
    _note_ready(tables, actor, message, wall_s)
    tell(tables, out, actor)
    return actor


def _note_ready(tables: Tables, actor: Actor, message: ActorReady, wall_s: float) -> None:
    if message.recovered:
        what, count, replay_s = message.recovered, message.replayed, message.duration_s
        note(tables, actor, EventKind.ACTOR_RECOVERED, wall_s, detail=what, duration_s=replay_s, count=count)
    note(tables, actor, EventKind.ACTOR_ALIVE, wall_s)


def on_actor_init_failed(tables: Tables, out: Out, owner: Owner, message: ActorInitFailed, wall_s: float) -> None:
    """Learn that the constructor raised: final. Holders are told at once, since no call can have begun."""
    actor = speaking(tables, owner, message.actor_id)
    if actor is None or message.incarnation != actor.incarnation:
        return
    if message.is_recovery:
        reason, detail = LossReason.RECOVERY_FAILED, f"its state could not be brought back: {message.error.words}"
    else:
        reason, detail = LossReason.INIT_FAILED, f"its constructor raised {message.error.words}"
    worker = tables.workers[actor.worker_id]
    leases.kill_worker(tables, out, worker, detail, final=True)
    death = Death(
        reason, detail=detail, worker_id=worker.worker_id, node_id=worker.node_id, wall_s=wall_s,
        incarnation=actor.incarnation, init_error=message.error,
    )  # fmt: skip
    conclude(tables, out, actor, death, wall_s)


def on_actor_exited(tables: Tables, owner: Owner, message: ActorExited) -> None:
    """Learn that it is about to end on purpose. That is final; its agent's report will follow."""
    actor = speaking(tables, owner, message.actor_id)
    if actor is not None and message.incarnation == actor.incarnation and not actor.is_ended:
        actor.ending = Ending(LossReason.INTENDED, message.detail or "it ended itself")
        _free_name(tables, actor)


def on_kill_actor(tables: Tables, out: Out, message: KillActor, wall_s: float) -> None:
    """End the actor for good, or only its process. An unknown actor is the caller's to hear of (see ``handles.py``)."""
    actor = tables.actors[message.actor_id]
    detail = message.detail or "killed by kill()"
    if message.no_restart:
        end(tables, out, actor, Ending(LossReason.INTENDED, detail), wall_s)
    elif not actor.is_ended and actor.worker_id:
        leases.kill_worker(tables, out, tables.workers[actor.worker_id], detail)


# -- decisions -----------------------------------------------------------------------------------------------------


def queue(tables: Tables, actor: Actor, ticket: int) -> None:
    """Put the actor in the line for resources."""
    actor.ticket, actor.is_told = ticket, False
    tables.pending[actor.actor_id] = None
    tables.needs_placing = True


def start_process(tables: Tables, out: Out, actor: Actor, node: Node) -> None:
    """Give the actor a process on ``node``, which has room."""
    tables.pending.pop(actor.actor_id, None)
    worker = Worker(tables.new_worker_id(), node.node_id, WorkerUse.ACTOR, actor_id=actor.actor_id)
    worker.claim = tables.claim(node, actor.spec.demand)
    leases.add_worker(tables, node, worker)
    actor.worker_id = worker.worker_id
    was_stranded, actor.is_stranded = actor.is_stranded, False
    take_step(actor, Step.STARTED)
    left = tables.faults.left_for(actor.actor_id)
    out.to_node(node.node_id, StartWorker(worker.worker_id, actor.spec, actor.incarnation, left))
    if was_stranded or actor.state is ActorState.STARTING:
        tell(tables, out, actor)


def refuse(tables: Tables, out: Out, actor: Actor, wall_s: float) -> None:
    """No node could ever hold it: dead, with what exists."""
    actor.unplaceable = placement.nearest_total(tables.open_nodes(), actor.spec.demand)
    detail = f"no machine can hold it: {describe_lack(actor.spec.demand, actor.unplaceable)}"
    conclude(tables, out, actor, Death(LossReason.START_FAILED, detail=detail, wall_s=wall_s), wall_s)


def end(tables: Tables, out: Out, actor: Actor, ending: Ending, wall_s: float) -> None:
    """End the actor for good: at once if it has no process, else when its process is dead.

    The first reason stays. An actor that said it would end itself, and does not, can thus still be killed.
    """
    if actor.state is ActorState.DEAD:
        return
    if actor.worker_id:
        actor.ending = actor.ending or ending
        _free_name(tables, actor)
        leases.kill_worker(tables, out, tables.workers[actor.worker_id], ending.detail, final=True)
    else:
        death = Death(ending.reason, detail=ending.detail, incarnation=actor.incarnation, wall_s=wall_s)
        conclude(tables, out, actor, death, wall_s)


def on_process_died(tables: Tables, out: Out, actor: Actor, death: Death, now_s: float, wall_s: float) -> None:
    """Restart or conclude an actor whose process is gone. ``death`` passes through as reported."""
    actor.worker_id, actor.busy_with, actor.is_adopted = b"", "", False
    if death.was_leaving:  # its word to the head may have been lost with it
        actor.ending = actor.ending or Ending(LossReason.INTENDED, death.detail or "it ended itself")
    death = msgspec.structs.replace(death, incarnation=actor.incarnation)
    if actor.ending is not None:
        death = msgspec.structs.replace(death, reason=actor.ending.reason, detail=actor.ending.detail)
    actor.death = death
    note(tables, actor, EventKind.ACTOR_DIED, wall_s, death)
    verdict = _judge(actor, death, now_s) if actor.ending is None else None
    if verdict is None or not verdict.is_restart:
        if verdict is not None and verdict.why:
            death = _given_up(death, verdict, actor.unready)
        conclude(tables, out, actor, death, wall_s)
        return
    take_step(actor, Step.LOST)
    actor.is_caught_up = False
    actor.incarnation += 1
    if death.reason is not LossReason.INTENDED:  # who kills it on purpose means to have it back
        actor.fruitless_s.append(now_s)
    note(tables, actor, EventKind.ACTOR_RESTARTING, wall_s, death)
    tell(tables, out, actor)
    queue(tables, actor, ticket=0)


def _judge(actor: Actor, death: Death, now_s: float) -> Verdict:
    """Return whether the actor comes back after a death, which is counted."""
    is_blameless = death.reason in (LossReason.INTENDED, LossReason.NODE_LOST) or death.exit_code == TRY_AGAIN
    actor.unready += actor.state is not ActorState.ALIVE and not is_blameless
    return decide(
        actor.policy,
        actor.incarnation,
        actor.fruitless_s,
        now_s,
        unready=actor.unready,
        is_durable=actor.spec.durability is not None,
    )


def _given_up(death: Death, verdict: Verdict, unready: int) -> Death:
    """Return the death of an actor that was given up, which tells why, and how the last of its processes ended."""
    if not verdict.is_recovery:
        return msgspec.structs.replace(death, detail="; ".join(filter(None, (death.detail, verdict.why))))
    detail = f"its state could not be brought back: {verdict.why}; the last time it {describe_death(death)}"
    return msgspec.structs.replace(death, reason=LossReason.RECOVERY_FAILED, detail=detail, unready=unready)


def conclude(tables: Tables, out: Out, actor: Actor, death: Death, wall_s: float) -> None:
    """Declare the actor dead for good. If a process of it still ends, that concerns its resources only."""
    take_step(actor, Step.ENDED)
    tables.detached.discard(actor.actor_id)
    tables.pending.pop(actor.actor_id, None)
    actor.death, actor.worker_id, actor.busy_with, actor.is_stranded = death, b"", "", False
    owner = tables.owners.get(actor.owner_id)
    if owner is not None:
        owner.owned.discard(actor.actor_id)
    _free_name(tables, actor)
    tables.faults.clear(actor.actor_id, (), is_all=False)
    note(tables, actor, EventKind.ACTOR_DEAD, wall_s, death)
    tell(tables, out, actor)
    let_go, created = carried(actor.spec) | actor.kept, actor.created
    tables.bury(actor)
    for created_id in created:
        end_orphan(tables, out, created_id, f"actor {actor.spec.name or actor.spec.class_name}", wall_s)
    for carried_id in let_go:
        carry_no_longer(tables, out, carried_id, actor.actor_id, wall_s)


def carried(spec: ActorSpec) -> set[bytes]:
    """Return the ids of the actors whose handles are among the constructor's arguments, or in the class itself."""
    return {actor_id for payload in _payloads(spec) for actor_id in payload.actor_ids}


def _payloads(spec: ActorSpec) -> tuple[Payload, ...]:
    return (spec.definition.payload, spec.args, *spec.arg_values)


def carry_no_longer(tables: Tables, out: Out, carried_id: bytes, carrier_id: bytes, wall_s: float) -> None:
    """Note that an actor does not need another one any more; that ends, if nobody else holds it."""
    carriers = tables.carriers.get(carried_id, set())
    carriers.discard(carrier_id)
    if carriers:
        return
    tables.carriers.pop(carried_id, None)
    other = tables.actors.get(carried_id)
    if other is not None and tables.is_settled:
        end_if_unheld(tables, out, other, wall_s)


def is_held(tables: Tables, actor: Actor) -> bool:
    """Return whether a process has a handle of the actor, or another actor's constructor needs one."""
    return actor.actor_id in tables.carriers or any(count > 0 for count in actor.holders.values())


def end_if_unheld(tables: Tables, out: Out, actor: Actor, wall_s: float) -> None:
    """End the actor if nobody has a handle of it and it is not detached."""
    if not actor.spec.detached and not is_held(tables, actor):
        end(tables, out, actor, Ending(LossReason.INTENDED, "its last handle went"), wall_s)


def end_orphan(tables: Tables, out: Out, actor_id: bytes, who: str, wall_s: float) -> None:
    """End an actor whose owner is gone, unless it is detached, or has been forgotten."""
    actor = tables.actors.get(actor_id)
    if actor is not None and not actor.spec.detached:
        ending = Ending(LossReason.OWNER_DIED, f"{who}, which owned it, is gone")
        end(tables, out, actor, ending, wall_s)


# -- telling ---------------------------------------------------------------------------------------------------------


def changed(tables: Tables, actor: Actor) -> ActorChanged:
    """Return what a holder is told about the actor as it is now."""
    return ActorChanged(status_of(tables, actor), actor.unplaceable, actor.spec.demand if actor.unplaceable else {})


def tell(tables: Tables, out: Out, actor: Actor) -> None:
    """Tell every holder how the actor is, and its creator if that keeps references for its constructor."""
    actor.is_told = True
    message = changed(tables, actor)
    for holder_id in actor.holders:
        out.to_owner(holder_id, message)
    spec = actor.spec
    if (
        spec.owner_id not in actor.holders
        and spec.owner_id in tables.owners
        and any(payload.refs for payload in _payloads(spec))
    ):
        out.to_owner(spec.owner_id, message)


def status_of(tables: Tables, actor: Actor) -> ActorStatus:
    """Return the actor as it is now. ``address`` is empty until it is known, ``death`` is the last incarnation's."""
    worker = tables.workers.get(actor.worker_id)
    spec = actor.spec
    is_waiting = actor.actor_id in tables.pending
    return ActorStatus(
        actor.actor_id,
        actor.state,
        incarnation=actor.incarnation,
        restarts_left=actor.policy.restarts_left(actor.incarnation),
        worker_id=actor.worker_id,
        node_id=worker.node_id if worker else b"",
        address=worker.address if worker else "",
        pid=worker.pid if worker else 0,
        death=actor.death,
        waiting_for=placement.explain_waiting(tables.open_nodes(), spec.demand) if is_waiting else "",
        class_name=spec.class_name,
        name=spec.name,
        namespace=spec.namespace,
        detached=spec.detached,
        definition_id=spec.definition.definition_id,
        level="" if spec.durability is None else spec.durability.level,
        busy_with=actor.busy_with,
        is_stranded=actor.is_stranded,
        source_digest=spec.definition.source_digest,
    )


def note(
    tables: Tables,
    actor: Actor,
    kind: EventKind,
    wall_s: float,
    death: Death | None = None,
    *,
    detail: str = "",
    duration_s: float = 0.0,
    count: int = 0,
) -> None:
    """Record an event of this actor: about the process that ``death`` reports, else about its present one."""
    worker = tables.workers.get(actor.worker_id)
    tables.events.add(
        Event(
            kind,
            wall_s,
            name=actor.spec.name or actor.spec.class_name,
            actor_id=actor.actor_id,
            worker_id=death.worker_id if death else actor.worker_id,
            node_id=death.node_id if death else worker.node_id if worker else b"",
            incarnation=actor.incarnation,
            detail=describe_death(death) if death else detail,
            duration_s=duration_s,
            count=count,
            injected=death is not None and death.injected,
        )
    )


def owner_words(owner: Owner) -> str:
    """Return an owner as people know it."""
    return f"{'driver' if owner.is_driver else 'worker'} {ids.short(owner.owner_id)}"


def speaking(tables: Tables, owner: Owner, actor_id: bytes) -> Actor | None:
    """Return the actor if ``owner`` is the session of its present worker, else None."""
    actor = tables.actors.get(actor_id)
    return actor if actor is not None and actor.worker_id == owner.owner_id else None


def _free_name(tables: Tables, actor: Actor) -> None:
    key = (actor.spec.namespace, actor.spec.name)
    if tables.names.get(key) == actor.actor_id:
        del tables.names[key]
